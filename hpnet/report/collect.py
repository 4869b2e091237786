"""Everything that a report reads from a project folder, in one object. Read-only; missing parts are None or empty.

A broken artifact is an error that names the file, because a report must not leave it out silently.
"""

from __future__ import annotations

import csv
import io
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from ..artifacts.boxes import Boxes
from ..artifacts.clips import Clips
from ..artifacts.combinations import Combinations
from ..artifacts.crossval import SCORES, CrossvalSummary, Curve, FoldScores, result_names
from ..artifacts.features import Features
from ..artifacts.files import read_json_as, read_object, typed
from ..artifacts.found_events import FoundEvents
from ..artifacts.frames import PersonFrames
from ..artifacts.labelling import Labelling, check_trained, require_labelling
from ..artifacts.poses import PoseStore
from ..artifacts.scores import Scores
from ..artifacts.takes import Takes
from ..artifacts.trained_features import TrainedFeatures
from ..artifacts.truth import load_people
from ..artifacts.unknown import Unknown
from ..core.reading import decoding, read_text, require_at_most
from ..core.streams import STREAMS
from ..data.params import DataParams
from ..detect.params import DetectParams
from ..estimate.params import EstimateParams
from ..fuse.params import FuseParams
from ..models import FITTED_NETWORKS
from ..pool.params import PoolParams
from ..train.params import CompareParams, TrainParams
from .params import ReportParams

PACKAGES = ("hpnet", "torch", "mmpose", "ultralytics", "transformers", "numpy", "opencv-python", "av", "dvc")
STAGES = ("data", "detect", "estimate", "pool", "train", "compare", "fuse", "events")

MOST_CURVE_BYTES = 16 << 20
MOST_CURVE_COLUMNS = 20
MOST_CLAIMS_BYTES = 4 << 20

Curves = dict[str, tuple[list[float], list[float]]]


class Parameters(Protocol):
    """The sections of params.yaml that the page shows. The report does not read params.yaml itself."""

    @property
    def data(self) -> DataParams: ...
    @property
    def detect(self) -> DetectParams: ...
    @property
    def estimate(self) -> EstimateParams: ...
    @property
    def pool(self) -> PoolParams: ...
    @property
    def train(self) -> TrainParams: ...
    @property
    def fuse(self) -> FuseParams: ...
    @property
    def compare(self) -> CompareParams: ...
    @property
    def report(self) -> ReportParams: ...

    def variant(self, name: str) -> PoolParams:
        """Section pool of a variant of the comparison."""

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """Everything, as plain values."""


@dataclass(frozen=True)
class Run:
    """One trained network: its scores, what config.json says and its training curves.

    ``history``: metric name (``train/loss``) -> steps, values. ``features``: the input of its classifier; None if it
    has none or was trained by another program.
    """

    name: str
    scores: Scores | None
    config: dict[str, Any]
    history: Curves
    metrics: dict[str, Any]
    features: TrainedFeatures | None = None

    @property
    def fitted(self) -> bool:
        """Whether the network was fitted as a whole, without epochs."""
        params = self.config.get("params")
        graph = params.get("graph") if isinstance(params, Mapping) else None
        return isinstance(graph, Mapping) and graph.get("model") in FITTED_NETWORKS

    @property
    def chosen_epoch(self) -> int | None:
        """The epoch (0-based) whose weights were kept, if config or metrics have it."""
        chosen = self.config.get("chosen")
        epoch = chosen.get("epoch") if isinstance(chosen, Mapping) else self.metrics.get("epoch")
        return epoch if isinstance(epoch, int) else None

    @property
    def seed(self) -> int | None:
        """The seed of this network, from its config.json; None if it is not recorded."""
        seed = self.config.get("seed")
        return seed if isinstance(seed, int) and not isinstance(seed, bool) else None

    @property
    def other_seeds(self) -> tuple[int, ...]:
        """Seeds of the other runs of this stream, of which only the metrics are kept."""
        several = self.metrics.get("seeds")
        seeds = several.get("seeds", ()) if isinstance(several, Mapping) else ()
        return tuple(seed for seed in seeds if seed != self.seed)

    @property
    def parameters(self) -> int | None:
        """Number of trained values, without statistics and other buffers, where config.json says so."""
        parameters = self.config.get("parameters")
        return parameters if isinstance(parameters, int) else None


@dataclass(frozen=True)
class _Fit:
    """What the page says of how weights were fitted."""

    split: str
    clips: int
    standard_error: dict[str, float | None] = field(default_factory=dict)
    alone: dict[str, float] = field(default_factory=dict)
    together: float = 1.0
    units: str = ""


@dataclass(frozen=True)
class _Rule:
    """What the page says of a rule of fusion."""

    weights: dict[str, float] = field(default_factory=dict)
    temperatures: dict[str, float] = field(default_factory=dict)
    fit: _Fit | None = None
    notes: list[str] = field(default_factory=list)
    origin: str = ""


@dataclass(frozen=True)
class _Mean:
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class _StreamOfFolds:
    top1: _Mean


@dataclass(frozen=True)
class _Folded:
    """What the page says of a result of cross-validation."""

    confusion: list[list[int]]
    units: int
    streams: dict[str, _StreamOfFolds]


@dataclass(frozen=True)
class Crossval:
    """A result of cross-validation: what it was made from, its fused scores, what its metrics file says, and accuracy
    against training clips where that was asked for."""

    summary: CrossvalSummary
    scores: FoldScores
    metrics: dict[str, Any]
    curve: Curve | None = None


@dataclass(frozen=True)
class Collected:
    """The artifacts and metrics of a project.

    ``people``: number of people detected in each clip, before the best ``detect.persons`` were kept; ``bytes_of``:
    bytes on disk per stage; ``seconds``, ``revisions``: wall time and git revision of each command's last run here
    (``.work/seconds.json``, ``revisions.json``), kept apart from artifacts and metrics, which must be the same for the
    same seed; ``claims``: verdicts of `hpnet ablate` on the paper's claims;
    ``crossval``: name -> result of `hpnet crossval`; ``takes``: the untrimmed videos; ``events``: what was found in
    those of the test split; ``unknown``: what `hpnet fuse` fitted for clips of none of the actions.
    """

    folder: Path
    params: Parameters
    clips: Clips | None = None
    truth: pd.DataFrame | None = None
    boxes: Boxes | None = None
    people: dict[str, int] = field(default_factory=dict)
    frames: PersonFrames | None = None
    poses: PoseStore | None = None
    features: Features | None = None
    runs: dict[str, Run] = field(default_factory=dict)
    variants: dict[str, Run] = field(default_factory=dict)
    fused: Scores | None = None
    combinations: Combinations | None = None
    weights: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    bytes_of: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)
    claims: list[dict[str, str]] = field(default_factory=list)
    crossval: dict[str, Crossval] = field(default_factory=dict)
    takes: Takes | None = None
    events: FoundEvents | None = None
    unknown: Unknown | None = None
    revision: str | None = None
    versions: dict[str, str] = field(default_factory=dict)


def collect(folder: Path, params: Parameters) -> Collected:
    """Read a project folder.

    Raises:
        ValueError: an artifact cannot be read, or was not made from the labels, splits and classes of the tables; names
            the file.
    """
    artifacts = folder / "artifacts"
    clips = Clips.load(artifacts / "data") if (artifacts / "data" / "clips.csv").is_file() else None
    now = None if clips is None else clips.labelling()
    metrics = _metrics(folder / "metrics")
    trained = metrics.get("train", {})
    compared = metrics.get("compare", {})
    streams = [name for name in STREAMS if (artifacts / "train" / name).is_dir()]
    variants = _ordered_variants(artifacts / "compare")
    fuse = artifacts / "fuse"
    truth = artifacts / "data" / "truth.parquet"
    return Collected(
        folder=folder,
        params=params,
        clips=clips,
        truth=load_people(truth) if truth.is_file() else None,
        boxes=Boxes.load(artifacts / "detect") if (artifacts / "detect" / "boxes.parquet").is_file() else None,
        people=read_json_as(artifacts / "detect" / "people.json", dict[str, int], "run `hpnet detect` again")
        if (artifacts / "detect" / "people.json").is_file()
        else {},
        frames=PersonFrames(artifacts / "detect" / "frames")
        if params.report.examples and any((artifacts / "detect" / "frames").glob("frames-*.parquet"))
        else None,
        poses=PoseStore(artifacts / "estimate") if (artifacts / "estimate" / "index.parquet").is_file() else None,
        features=Features.load(artifacts / "pool") if (artifacts / "pool" / "features.npy").is_file() else None,
        runs={s: read_run(artifacts / "train" / s, s, trained.get(s, {}), now) for s in streams},
        variants={v: read_run(artifacts / "compare" / v, v, compared.get(v, {}), now) for v in variants},
        fused=_fused(fuse / "scores.parquet", now),
        combinations=Combinations.load(fuse / "combinations.parquet")
        if (fuse / "combinations.parquet").is_file()
        else None,
        weights=_fitted(fuse / "weights.json") if (fuse / "weights.json").is_file() else {},
        metrics=metrics,
        bytes_of={stage: folder_bytes(artifacts / stage) for stage in STAGES if (artifacts / stage).is_dir()},
        seconds={command: float(s) for command, s in _noted(folder / ".work" / "seconds.json", float).items()},
        revisions={
            command: str(r) for command, r in _noted(folder / ".work" / "revisions.json", str | None).items() if r
        },
        claims=_claims(folder / "report" / "tables" / "claims.csv"),
        crossval=read_crossval(artifacts / "crossval", metrics.get("crossval", {}), now),
        takes=Takes.load(artifacts / "data") if (artifacts / "data" / "takes.csv").is_file() else None,
        unknown=Unknown.load(fuse / "unknown.json"),
        events=FoundEvents.load(artifacts / "events") if (artifacts / "events" / "found.csv").is_file() else None,
        revision=git_revision(folder),
        versions=installed_versions(),
    )


def _fitted(file: Path) -> dict[str, Any]:
    """The rules of fusion as the stage wrote them: ``chosen``, and what was fitted by the name of each rule."""
    found = read_object(file)
    with decoding(file, "run `hpnet fuse` again", "is not what `hpnet fuse` writes"):
        typed(found.get(typed(found.get("chosen", ""), str), {}), _Rule)
    return found


def read_run(folder: Path, name: str, metrics: Mapping[str, Any], now: Labelling | None = None) -> Run:
    """One folder of train or compare: config.json, scores.parquet, trained_features.parquet and history/, where they
    exist.

    Args:
        now: labels, splits and classes of the tables; None if there are no tables.

    Raises:
        ValueError: it was made from other labels, splits or classes.
    """
    check_trained(folder, now, f"hpnet {folder.parent.name} {name}")
    config = read_object(folder / "config.json") if (folder / "config.json").is_file() else {}
    scores = Scores.load(folder / "scores.parquet") if (folder / "scores.parquet").is_file() else None
    seen = folder / "trained_features.parquet"
    features = TrainedFeatures.load(seen) if seen.is_file() else None
    return Run(name, scores, config, read_history(folder / "history"), dict(metrics), features)


def _fused(file: Path, now: Labelling | None) -> Scores | None:
    if not file.is_file():
        return None
    scores = Scores.load(file)
    if now is not None:
        require_labelling(file, scores.labelling, now, "hpnet fuse")
    return scores


def read_crossval(folder: Path, metrics: Mapping[str, Any], now: Labelling | None) -> dict[str, Crossval]:
    """The results of cross-validation, by name.

    Raises:
        ValueError: one was made from other labels or classes, or its metrics file is missing.
    """
    found = {}
    for name in result_names(folder):
        scores = FoldScores.load(folder / name / SCORES)
        if now is not None:
            scores.require_labels(now, name)
        if name not in metrics:
            raise ValueError(f"metrics/crossval/{name}.json is missing: run `hpnet crossval --name {name}` again")
        file = folder.parents[1] / "metrics" / "crossval" / f"{name}.json"
        with decoding(file, f"run `hpnet crossval --name {name}` again", "is not what `hpnet crossval` writes"):
            matrix = typed(metrics[name], _Folded).confusion
            if {len(matrix), *(len(row) for row in matrix)} != {len(scores.classes)}:
                raise ValueError(f"its confusion is not of {len(scores.classes)} classes")
        summary, curve = CrossvalSummary.load(folder / name), Curve.load(folder / name)
        found[name] = Crossval(summary, scores, metrics[name], curve)
    return found


def read_history(folder: Path) -> Curves:
    """Curves of a dvclive folder (``plots/metrics/**/*.tsv``: step and one value column), by metric name."""
    root = folder / "plots" / "metrics"
    curves: Curves = {}
    for file in sorted(root.rglob("*.tsv")) if root.is_dir() else []:
        with decoding(file, "train that stream again"):
            text = read_text(file, MOST_CURVE_BYTES)
            require_at_most(text.lstrip().split("\n", 1)[0].count("\t"), MOST_CURVE_COLUMNS, "columns", file)
            table = pd.read_csv(io.StringIO(text), sep="\t", low_memory=False)
            steps = [float(s) for s in table.get("step", ())]
        if "step" not in table.columns or len(table.columns) < 2:
            raise ValueError(f"{file}: columns are {', '.join(map(str, table.columns))}; expected step and a value")
        value = next(column for column in reversed(table.columns) if column not in ("step", "timestamp"))
        name = file.relative_to(root).with_suffix("").as_posix()
        curves[name] = (steps, [float(v) for v in pd.to_numeric(table[value], errors="coerce")])
    return curves


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def git_revision(folder: Path) -> str | None:
    """Short revision of the work tree around ``folder``, '+' where code or parameters differ; None without a commit."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    revision = git("rev-parse", "--short=12", "HEAD")
    if not revision:
        return None
    return revision + ("+" if git("status", "--porcelain", "--untracked-files=no", "--", "*.py", "*.yaml") else "")


def installed_versions() -> dict[str, str]:
    """Versions of the packages that affect the results; packages that are not installed are left out."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def people_per_clip(table: pd.DataFrame) -> dict[str, int]:
    """Number of people in each clip, from boxes (column ``track``) or truth (column ``person``).

    Raises:
        ValueError: the table has neither column.
    """
    for column in ("track", "person"):
        if column in table.columns:
            return {str(clip): int(count) for clip, count in table.groupby("clip_id")[column].nunique().items()}
    raise ValueError(f"columns are {', '.join(map(str, table.columns))}; expected track or person, to count people")


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested metrics as dotted names -> leaves; lists are left out."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        elif not isinstance(value, list):
            flat[f"{prefix}{key}"] = value
    return flat


def _metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for file in sorted(folder.rglob("*.json")) if folder.is_dir() else []:
        *parents, name = file.relative_to(folder).with_suffix("").parts
        if name == "report":
            continue
        target = found
        for parent in parents:
            target = target.setdefault(parent, {})
        target[name] = read_object(file)
    return found


def _noted(file: Path, kind: Any) -> dict[str, Any]:
    """Values of a file of .work by command; empty if no stage ran here."""
    return read_json_as(file, dict[str, kind], "delete it") if file.is_file() else {}  # type: ignore[valid-type]


def _claims(file: Path) -> list[dict[str, str]]:
    if not file.is_file():
        return []
    with decoding(file, "run `hpnet report` again", also=(csv.Error,)):
        return list(csv.DictReader(io.StringIO(read_text(file, MOST_CLAIMS_BYTES), newline="")))


def _ordered_variants(folder: Path) -> list[str]:
    """pose2d first, then the others by name, so that charts start with the baseline."""
    names = [entry.name for entry in folder.iterdir() if entry.is_dir()] if folder.is_dir() else []
    return sorted(names, key=lambda name: (not name.startswith("pose2d"), name))
