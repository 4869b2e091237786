"""Compare two runs: this project and another folder, or this project and a git revision of it.

Git has the parameters and metrics of a revision. Its scores, which paired tests need, are read from DVC's cache by the
hashes in the revision's dvc.lock. The page says what is missing.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..artifacts.clips import Clips
from ..artifacts.files import parse_object, read_json_as, read_object
from ..artifacts.labelling import require_labelling
from ..artifacts.scores import Scores
from ..artifacts.yaml_text import (
    MOST_DVC_VALUES,
    MOST_VALUES,
    MOST_YAML_BYTES,
    read_yaml,
    require_lock,
    yaml_object,
)
from ..core.reading import require_at_most
from ..core.streams import STREAMS

FUSED = "fused"
_HASH = re.compile(r"[0-9a-f]{32}(\.dir)?")


@dataclass(frozen=True)
class Other:
    """The run that this one is compared with; ``scores``: stream or 'fused' -> scores, if they exist."""

    name: str
    params: dict[str, Any]
    metrics: dict[str, Any]
    scores: dict[str, Scores] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_other(root: Path, name: str) -> Other:
    """A project folder, or a git revision of the project in ``root``.

    Raises:
        ValueError: it is neither of them.
    """
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "params.yaml").is_file():
            raise ValueError(f"--compare {name}: the folder has no params.yaml, so it is not a project")
        return _from_folder(folder, name)
    done = _git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if done is None:
        raise ValueError(f"--compare {name}: neither a project folder nor a git revision of {root.resolve()}")
    return _from_revision(root, name, done.strip())


def _from_folder(folder: Path, name: str) -> Other:
    metrics = {
        file.relative_to(folder / "metrics").with_suffix("").as_posix().replace("/", "."): read_object(file)
        for file in sorted((folder / "metrics").rglob("*.json"))
    }
    files = {stream: folder / "artifacts" / "train" / stream / "scores.parquet" for stream in STREAMS}
    files[FUSED] = folder / "artifacts" / "fuse" / "scores.parquet"
    scores = {stream: Scores.load(file) for stream, file in files.items() if file.is_file()}
    data = folder / "artifacts" / "data"
    now = Clips.load(data).labelling() if (data / "clips.csv").is_file() else None
    for stream, found in scores.items():
        if now is not None and found.labelling is not None:  # runs of an earlier hpnet can be compared too
            command = "hpnet fuse" if stream == FUSED else f"hpnet train {stream}"
            require_labelling(files[stream], found.labelling, now, command)
    params = read_yaml(folder / "params.yaml")
    return Other(
        name, params, metrics, scores, () if scores else ("That run has no scores: only metrics are compared.",)
    )


def _from_revision(root: Path, name: str, commit: str) -> Other:
    def show(path: str) -> str | None:
        size = _git(root, "cat-file", "-s", f"{commit}:./{path}")
        if size is None:
            return None
        require_at_most(int(size), MOST_YAML_BYTES, "bytes", f"{commit[:10]}:{path}")
        return _git(root, "show", f"{commit}:./{path}")

    def parsed(path: str, most_values: int) -> dict[str, Any]:
        return yaml_object(show(path) or "", f"{commit[:10]}:{path}", most_values)

    listed = (_git(root, "ls-tree", "-r", "--name-only", commit, "--", "metrics") or "").splitlines()
    metrics = {}
    for path in listed:
        text = show(path)
        if path.endswith(".json") and text is not None:
            key = Path(path).relative_to("metrics").with_suffix("").as_posix().replace("/", ".")
            metrics[key] = parse_object(text, f"{commit[:10]}:{path}")
    lock = require_lock(parsed("dvc.lock", MOST_DVC_VALUES), f"{commit[:10]}:dvc.lock")
    scores = {}
    for stream, stage, out in [(s, f"train@{s}", f"artifacts/train/{s}") for s in STREAMS] + [
        (FUSED, "fuse", "artifacts/fuse")
    ]:
        file = cached_file(root / ".dvc" / "cache", lock, stage, out, "scores.parquet")
        if file is not None:
            scores[stream] = Scores.load(file)
    params = parsed("params.yaml", MOST_VALUES)
    notes = () if scores else ("The scores of that revision are not in DVC's cache: only metrics are compared.",)
    return Other(f"{name} ({commit[:10]})", params, metrics, scores, notes)


def cached_file(cache: Path, lock: Mapping[str, Any], stage: str, out: str, name: str) -> Path | None:
    """A file of a stage's output folder in DVC's cache, by the hashes of a dvc.lock; None if it is not there."""
    outs = lock.get("stages", {}).get(stage, {}).get("outs", [])
    folder = next((str(o.get("md5", "")) for o in outs if o["path"] == out), "")
    if not _HASH.fullmatch(folder) or not _blob(cache, folder).is_file():
        return None
    listing = _blob(cache, folder)
    entries = read_json_as(listing, list[dict[str, Any]], "run `dvc fetch`, or delete it")
    md5 = next((str(entry.get("md5")) for entry in entries if entry.get("relpath") == name), "")
    return _blob(cache, md5) if _HASH.fullmatch(md5) and _blob(cache, md5).is_file() else None


def _blob(cache: Path, md5: str) -> Path:
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:  # git is not installed
        return None
    return done.stdout if done.returncode == 0 else None
