"""The top of the page: the answer, what was run, what is missing, how to read the numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..artifacts.scores import Scores
from ..core.streams import STREAMS
from .collect import Project, Run, flatten
from .figures import (
    percent,
    signed_points,
)
from .naming import STREAM_TITLES
from .results import (
    Group,
    Judge,
    Variant,
    correct,
    evaluated,
    feature_runs,
    pooled_name,
)
from .tables import Measured


def answer_section(project: Project, judge: Judge, test: Scores | None) -> dict[str, str]:
    """The one sentence at the top: ``before``, ``number``, ``after``."""
    if test is None:
        why = (
            "the streams have not been fused"
            if project.fused is None
            else "no clip of the test split has both a label and a score"
        )
        return {"before": f"No accuracy can be given: {why}.", "number": "", "after": ""}
    score = judge.accuracy(correct(test))
    classes = test.logits.shape[1]
    return {
        "before": "All streams fused recognise ",
        "number": f"{score.text} %",
        "after": (
            f" of {score.n:,} test clips (95 % interval {score.interval}) among {classes} actions, "
            f"where guessing gives {percent(1 / classes)} %."
        ).replace(",", " ", 1 if score.n >= 1000 else 0),
    }


def keys_section(
    project: Project, judge: Judge, test: Scores | None, compared: Mapping[str, tuple[Group, list[Variant]]]
) -> list[dict[str, str]]:
    """The large numbers under it."""
    keys = []
    if test is not None:
        right = correct(test)
        by_clip, by_subject = judge.accuracy(right), judge.accuracy_by_subject(right, test.clip_ids)
        subjects = f"{by_subject.interval} resampling subjects" if by_subject else "subjects unknown"
        keys.append(
            _key(
                "Fused accuracy", by_clip.text, "%", f"{by_clip.interval} resampling clips; {subjects}; n = {by_clip.n}"
            )
        )
    best = _best_stream(project, judge)
    if best is not None:
        name, score = best
        keys.append(
            _key(
                "Best single stream: "
                f"{STREAM_TITLES.get(name, name).lower() if name != 'hpnet' else STREAM_TITLES[name]}",
                score.text,
                "%",
                f"{score.interval}; n = {score.n}",
            )
        )
    for group_key, label in (
        ("overall", "Pooled features over 2-D pose"),
        ("object_pairs", "The same, on object pairs"),
    ):
        if group_key not in compared:
            continue
        _, rows = compared[group_key]
        pooled = pooled_name(project, feature_runs(project))
        row = next((row for row in rows if row.name == pooled and row.against is not None), None)
        if row is not None and row.against is not None:
            gain = row.against.difference
            ends = f"{signed_points(gain.low)} to {signed_points(gain.high)}; n = {gain.n}"
            keys.append(_key(label, signed_points(gain.value), "points", ends))
    return keys


def _key(label: str, value: str, unit: str, text: str) -> dict[str, str]:
    return {"label": label, "value": value, "unit": unit, "range": text}


def _best_stream(project: Project, judge: Judge) -> tuple[str, Measured] | None:
    scored = [(name, part) for name, run in project.runs.items() if (part := evaluated(run.scores)) is not None]
    measured = [(name, judge.accuracy(correct(part))) for name, part in scored]
    return max(measured, key=lambda item: item[1].value, default=None)


def flow_section(project: Project) -> list[dict[str, Any]]:
    """The stages with what they ran on."""
    params = project.params
    stages: list[dict[str, Any]] = []

    def add(name: str, *lines: str | None) -> None:
        stages.append({"name": name, "lines": [line for line in lines if line]})

    if project.clips is not None:
        table = project.clips.table
        splits = Counter(split or "unused" for split in table.split)
        counts = ", ".join(f"{splits[name]} {name}" for name in ("train", "val", "test", "unused") if splits[name])
        add("data", f"{len(table)} clips, {project.clips.num_classes} classes", counts)
    else:
        add("data", "not run")
    detect = flatten(project.metrics.get("detect", {}))
    add(
        "detect",
        params.detect.model if params.detect.enabled else "off: whole frames",
        _metric(detect, "ap50", "AP50 {:.3f}"),
    )
    estimate = flatten(project.metrics.get("estimate", {}))
    add(
        "estimate",
        params.estimate.model,
        _metric(estimate, "pck_torso", "PCK@0.2 torso {:.3f}"),
        f"taps {', '.join(params.estimate.taps)}",
    )
    if project.features is not None:
        meta, shape = project.features.meta, project.features.array.shape
        what = f"{meta.tap}, region {meta.region}, {meta.operator}" if meta.kind == "pooled" else meta.kind
        add("pool", what, f"{shape[1]} × {shape[2]} × {shape[3]} (T V C)")
    else:
        add("pool", "not run")
    trained = [name for name in STREAMS if name in project.runs and project.runs[name].scores is not None]
    add(
        "train",
        f"{len(trained)} of {len(STREAMS)} streams" if trained else "not run",
        trained_graphs(project) if trained else None,
        training_seeds([project.runs[name] for name in trained]) if trained else None,
    )
    add("fuse", *([params.fuse.rule, weights_in_words(project)] if project.fused is not None else ["not run"]))
    return stages


def weights_in_words(project: Project) -> str:
    """Where the fusion weights in use come from, as ``weights.json`` says."""
    chosen = project.weights.get(project.weights.get("chosen", ""), {})
    return {
        "validation": "weights from validation",
        "given": "given weights",
        "released": f"no validation clips: the released weights of {project.params.data.protocol}",
        "equal": "no validation clips: equal weights",
    }.get(chosen.get("origin", ""), "weights of unknown origin")


def _metric(values: Mapping[str, Any], name: str, form: str) -> str | None:
    """The first metric whose last part starts with ``name``, written out; None where there is none."""
    for key, value in values.items():
        if key.rpartition(".")[2].startswith(name) and isinstance(value, (int, float)):
            return form.format(value)
    return None


def facts_section(project: Project) -> list[tuple[str, str]]:
    """Revision, seeds, subjects, digests and versions, as name and value."""
    params = project.params
    facts = [
        ("Source", f"{params.data.source}, protocol {params.data.protocol}"),
        ("Git revision", project.revision or "not in a git repository with a commit"),
        ("Seeds", f"data {params.data.seed}, bootstrap {params.report.seed}"),
    ]
    if runs := [run for run in (*project.runs.values(), *project.variants.values()) if run.scores is not None]:
        facts.append(("Trained with", training_seeds(runs)))
    if project.clips is not None:
        table = project.clips.table
        for split in ("train", "val", "test"):
            subjects = sorted(set(table.source[table.split == split].astype(str)) - {""})
            if subjects:
                facts.append(
                    (
                        f"Subjects, {split}",
                        f"{len(subjects)}: {', '.join(subjects)}" if len(subjects) <= 24 else f"{len(subjects)}",
                    )
                )
    if project.poses is not None:
        meta = project.poses.meta
        facts.append(("Pose weights", f"{meta.model}, sha256 {meta.weights_digest[:16]}"))
        facts.append(("Parity mode", meta.parity))
    for name, value in _digests(project.metrics, project.runs):
        facts.append((name, value))
    trained = {rev[:12] for command, rev in project.revisions.items() if command.removeprefix("train ") in project.runs}
    if trained:
        facts.append(("Trained at revision", ", ".join(sorted(trained))))
    facts.append(("Versions", ", ".join(f"{name} {version}" for name, version in project.versions.items())))
    return facts


def trained_graphs(project: Project) -> str:
    """The graph networks that the streams' runs recorded: 'ctrgcn, 4 blocks × 16'; that of params.yaml without any."""
    graphs: list[Mapping[str, Any]] = []
    for run in project.runs.values():
        recorded = run.config.get("params")
        graph = recorded.get("graph") if isinstance(recorded, Mapping) else None
        if isinstance(graph, Mapping) and run.name != "hpnet" and graph not in graphs:
            graphs.append(graph)
    graphs = graphs or [project.params.train.topology.graph.model_dump()]
    return "; ".join(f"{graph['model']}, {graph['blocks']} blocks × {graph['base_channels']}" for graph in graphs)


def training_seeds(runs: Sequence[Run]) -> str:
    """The seeds that the runs themselves recorded: 'seed 1', or 'seed 1 (hpj), 2 (hpb), not recorded (hpnet)'.

    Seeds of further runs, of which the metrics give mean and deviation, are told apart.
    """
    of_seed: dict[str, list[str]] = {}
    further: dict[tuple[int, ...], list[str]] = {}
    for run in runs:
        of_seed.setdefault("not recorded" if run.seed is None else str(run.seed), []).append(run.name)
        if run.other_seeds:
            further.setdefault(run.other_seeds, []).append(run.name)
    alike = len(of_seed) == 1
    text = "seed " + ", ".join(seed if alike else f"{seed} ({', '.join(names)})" for seed, names in of_seed.items())
    for seeds, names in further.items():
        of_all = alike and len(names) == len(runs)
        whose = "" if of_all else f" ({', '.join(names)})"
        text += f"; also {', '.join(map(str, seeds))}{whose}, for mean and deviation"
    return text


def _digests(metrics: Mapping[str, Any], runs: Mapping[str, Run]) -> list[tuple[str, str]]:
    """Digests of weights that stages recorded: names that hold both 'weights' and 'digest'."""
    found: dict[str, str] = {}
    sources = [(stage, flatten(values)) for stage, values in metrics.items() if isinstance(values, Mapping)]
    sources += [(f"train {name}", flatten(run.config)) for name, run in runs.items()]
    for stage, values in sources:
        for key, value in values.items():
            if "digest" in key and "weights" in key and isinstance(value, str) and value:
                found.setdefault(f"{stage}: {key.replace('_', ' ').replace('.', ' ')}", value[:16])
    return list(found.items())


def missing_section(project: Project) -> list[str]:
    """A sentence for everything that a whole project has and this one lacks."""
    notes = []
    if project.clips is None:
        notes.append("There is no clip table (artifacts/data): run `hpnet data`.")
    elif not (project.clips.table.label >= 0).any():
        notes.append("The clips have no labels: predictions are shown, but nothing can be scored.")
    elif not (project.clips.table.split == "val").any():
        notes.append(
            "There is no validation split: the epoch and the fusion weights could not be chosen on one; "
            "set data.val_fraction above 0."
        )
    absent = [name for name in STREAMS if name not in project.runs or project.runs[name].scores is None]
    if absent:
        notes.append(f"Not trained, and so left out of every table: {', '.join(absent)}.")
    if project.boxes is None:
        notes.append("There are no boxes (artifacts/detect): run `hpnet detect`.")
    if project.poses is None:
        notes.append("There are no poses (artifacts/estimate): run `hpnet estimate`.")
    if project.features is None:
        notes.append("There are no pooled features (artifacts/pool): run `hpnet pool`.")
    return notes


def method_section(project: Project) -> list[str]:
    """How the numbers were made."""
    report = project.params.report
    return [
        "Every accuracy is measured on the test split. Its interval holds the middle 95 % of "
        f"{report.bootstrap:,} bootstrap "
        "resamples, of single clips or of whole subjects with all of their clips; where every clip is right, "
        "or every one "
        "wrong, such an interval has no width, which is not certainty.",
        "Differences are paired: both classifiers see the same resampled clips. The p-value is McNemar's "
        "exact test on the "
        "clips that only one of the two gets right. q-values are p-values corrected for testing every action "
        "(Benjamini and Hochberg).",
        "Nothing is chosen on the test split. The epoch and the fusion weights come from the validation "
        "split, or, where "
        "there is none, the epoch is the last one and the weights are the released ones of the paper's protocol, or "
        "equal. Scores are joined by clip name.",
        "“Which of the two” asks only whether a clip's own action scores above its look-alike partner's; "
        "guessing gives 50 %.",
    ]


def footer_section(project: Project) -> str:
    """The last line."""
    version = project.versions.get("hpnet", "")
    return (
        f"Written by hpnet {version} from this project's artifacts. Figures and tables lie beside this page as files."
    )
