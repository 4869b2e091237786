"""Two runs side by side: this project against another folder, or against a git revision of it.

Of a revision git holds parameters and metrics; scores are looked up in DVC's cache by the hashes of that revision's
dvc.lock, and paired tests need them. What is not there is said.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..artifacts.clips import Clips
from ..artifacts.files import read_json
from ..artifacts.labelling import require_labelling
from ..artifacts.scores import Scores
from ..core.statistics import per_class_changes
from ..core.streams import STREAMS
from .collect import Project, flatten
from .naming import STREAM_TITLES
from .output import Files
from .results import Judge, common, correct, evaluated
from .tables import Column, Table

FUSED = "fused"


@dataclass(frozen=True)
class Other:
    """The run that this one is set against; ``scores``: stream, or 'fused', -> scores, as far as they are there."""

    name: str
    params: dict[str, Any]
    metrics: dict[str, Any]
    scores: dict[str, Scores] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_other(root: Path, name: str) -> Other:
    """A project folder, or a git revision of the project in ``root``.

    Raises:
        ValueError: it is neither; says what was looked for.
    """
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "params.yaml").is_file():
            raise ValueError(f"--compare {name}: the folder holds no params.yaml, so it is no project")
        return _from_folder(folder, name)
    done = _git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if done is None:
        raise ValueError(f"--compare {name}: neither a project folder nor a git revision of {root.resolve()}")
    return _from_revision(root, name, done.strip())


def _from_folder(folder: Path, name: str) -> Other:
    metrics = {
        file.relative_to(folder / "metrics").with_suffix("").as_posix().replace("/", "."): read_json(file)
        for file in sorted((folder / "metrics").rglob("*.json"))
    }
    files = {stream: folder / "artifacts" / "train" / stream / "scores.parquet" for stream in STREAMS}
    files[FUSED] = folder / "artifacts" / "fuse" / "scores.parquet"
    scores = {stream: Scores.load(file) for stream, file in files.items() if file.is_file()}
    data = folder / "artifacts" / "data"
    now = Clips.load(data).labelling() if (data / "clips.csv").is_file() else None
    for stream, found in scores.items():
        if now is not None and found.labelling is not None:  # a run of an earlier hpnet may be compared with
            command = "hpnet fuse" if stream == FUSED else f"hpnet train {stream}"
            require_labelling(files[stream], found.labelling, now, command)
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8")) or {}
    return Other(name, params, metrics, scores, () if scores else ("That run has no scores: only metrics compare.",))


def _from_revision(root: Path, name: str, commit: str) -> Other:
    def show(path: str) -> str | None:
        return _git(root, "show", f"{commit}:./{path}")

    listed = (_git(root, "ls-tree", "-r", "--name-only", commit, "--", "metrics") or "").splitlines()
    metrics = {}
    for path in listed:
        text = show(path)
        if path.endswith(".json") and text is not None:
            key = Path(path).relative_to("metrics").with_suffix("").as_posix().replace("/", ".")
            metrics[key] = json.loads(text)
    lock = yaml.safe_load(show("dvc.lock") or "") or {}
    scores = {}
    for stream, stage, out in [(s, f"train@{s}", f"artifacts/train/{s}") for s in STREAMS] + [
        (FUSED, "fuse", "artifacts/fuse")
    ]:
        file = cached_file(root / ".dvc" / "cache", lock, stage, out, "scores.parquet")
        if file is not None:
            scores[stream] = Scores.load(file)
    params = yaml.safe_load(show("params.yaml") or "") or {}
    notes = () if scores else ("The scores of that revision are not in DVC's cache: only metrics compare.",)
    return Other(f"{name} ({commit[:10]})", params, metrics, scores, notes)


def cached_file(cache: Path, lock: Mapping[str, Any], stage: str, out: str, name: str) -> Path | None:
    """A file of a stage's output folder in DVC's cache, by the hashes of a dvc.lock; None where it is not there."""
    outs = lock.get("stages", {}).get(stage, {}).get("outs", [])
    folder = next((str(o.get("md5", "")) for o in outs if o["path"] == out), "")
    listing = _blob(cache, folder)
    if not folder or not listing.is_file():
        return None
    md5 = next((str(entry["md5"]) for entry in read_json(listing) if entry["relpath"] == name), "")
    return _blob(cache, md5) if md5 and _blob(cache, md5).is_file() else None


def _blob(cache: Path, md5: str) -> Path:
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:  # git is not installed
        return None
    return done.stdout if done.returncode == 0 else None


def against_section(project: Project, judge: Judge, other: Other, kept: Files) -> dict[str, Any]:
    """Parameters that differ, accuracies side by side with paired gains, metrics, and actions that changed."""
    part: dict[str, Any] = {"name": other.name, "tables": [], "notes": list(other.notes), "lead": ""}
    changed = _params_table(project, other)
    gains = _accuracy_rows(project, judge, other)
    fused = next((row for row in gains if row["stream"] == FUSED and row["gain"] is not None), None)
    count = len(changed.rows)
    what = {0: "No parameter differs", 1: "1 parameter differs"}.get(count, f"{count} parameters differ")
    part["lead"] = f"Before: {other.name}. After: this run. {what}."
    if fused is not None:
        gain = fused["gain"]
        sure = "" if gain.low > 0 or gain.high < 0 else ", which may be chance"
        part["lead"] += f" Fused accuracy: {fused['before'].text} % before, {fused['after'].text} % now{sure}."
    if changed.rows:
        part["tables"].append(kept.table(changed))
    if gains:
        columns = (
            Column("what", "What"),
            Column("before", "Before", "interval", "top-1 of the other run on the clips that both scored"),
            Column("after", "After", "interval", "top-1 of this run on the same clips"),
            Column("gain", "Gain", "gain", "paired bootstrap, resampling clips"),
            Column("changed", "Won / lost", "text", "clips that only this run, or only the other, gets right"),
            Column("p", "p", "p", "exact McNemar test"),
            Column("n", "n", "count", "test clips in both"),
        )
        part["tables"].append(kept.table(Table("against_accuracy", "Accuracy, before and after, %", columns, gains)))
    classes = _class_table(project, other)
    if classes is not None:
        part["tables"].append(kept.table(classes))
    metrics = _metric_table(project, other)
    if metrics.rows:
        part["tables"].append(kept.table(metrics))
    return part


def _params_table(project: Project, other: Other) -> Table:
    now = flatten_params(_params_of(project))
    before = flatten_params(other.params)
    rows = [
        {"name": name, "before": str(before.get(name, "–")), "after": str(now.get(name, "–"))}
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    columns = (Column("name", "Parameter", "code"), Column("before", "Before"), Column("after", "After"))
    return Table("against_params", "Parameters that differ", columns, rows)


def _params_of(project: Project) -> dict[str, Any]:
    """params.yaml as written, so that defaults on one side do not differ from silence on the other."""
    file = project.folder / "params.yaml"
    if file.is_file():
        found: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        return found
    return project.params.model_dump(mode="json")


def flatten_params(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters as dotted names -> leaves, lists kept whole."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, Mapping) and bool(value)
        flat |= flatten_params(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def _pairs(project: Project, other: Other) -> dict[str, tuple[Scores, Scores]]:
    """Stream or 'fused' -> scores of the other run and of this one on the labelled test clips that both scored."""
    ours = {name: run.scores for name, run in project.runs.items()} | {FUSED: project.fused}
    found = {}
    for name in (*STREAMS, FUSED):
        before, after = evaluated(other.scores.get(name)), evaluated(ours.get(name))
        if before is not None and after is not None and before.logits.shape[1] == after.logits.shape[1]:
            first, second = common([before, after])
            if first.clip_ids:
                found[name] = (first, second)
    return found


def _accuracy_rows(project: Project, judge: Judge, other: Other) -> list[dict[str, Any]]:
    rows = []
    for name, (before, after) in _pairs(project, other).items():
        paired = judge.paired(correct(before), correct(after), before.clip_ids)
        rows.append(
            {
                "stream": name,
                "what": STREAM_TITLES.get(name, "All streams, fused"),
                "before": judge.accuracy(correct(before)),
                "after": judge.accuracy(correct(after)),
                "gain": paired.difference,
                "changed": f"{paired.won} / {paired.lost}",
                "p": paired.p_value,
                "n": len(before.clip_ids),
            }
        )
    return rows


def _class_table(project: Project, other: Other) -> Table | None:
    pair = _pairs(project, other).get(FUSED)
    if pair is None or project.clips is None:
        return None
    changes = per_class_changes(correct(pair[0]), correct(pair[1]), pair[0].labels, project.clips.class_names)
    rows = [row for row in changes.to_dict("records") if not np.isclose(float(row["change"]), 0)]
    if not rows:
        return None
    columns = (
        Column("name", "Action"),
        Column("first", "Before, %", "percent"),
        Column("second", "After, %", "percent"),
        Column("change", "Gain", "points"),
        Column("q_value", "q", "p", "McNemar, Benjamini-Hochberg over the actions"),
        Column("clips", "n", "count"),
    )
    return Table("against_classes", "Actions whose fused accuracy changed", columns, rows)


def _metric_table(project: Project, other: Other) -> Table:
    now = flatten(_metrics_as_files(project.metrics))
    before = flatten(other.metrics)
    rows = [
        {"metric": name, "before": float(before[name]), "after": float(now[name])}
        for name in sorted(before.keys() & now.keys())
        if _is_number(before[name]) and _is_number(now[name]) and before[name] != now[name]
    ]
    columns = (
        Column("metric", "Metric", "code"),
        Column("before", "Before", "number"),
        Column("after", "After", "number"),
    )
    return Table("against_metrics", "Metrics that differ", columns, rows)


def _metrics_as_files(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metrics.items() if key != "report"}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
