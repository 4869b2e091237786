"""Cross-validation of a project: features once, one training per fold and stream, scores of all folds together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from ..artifacts.clips import Clips
from ..artifacts.crossval import (
    CURVE,
    FUSED,
    SCORES,
    STREAMS,
    CrossvalSummary,
    Curve,
    FoldScores,
    FoldSize,
    check_name,
    load_streams,
    result_names,
)
from ..artifacts.files import write_json
from ..artifacts.poses import PoseStore
from ..artifacts.scores import Scores
from ..core.streams import STREAMS as KNOWN_STREAMS
from ..core.streams import TOPOLOGY_STREAMS, refuse_former_name
from ..core.units import UnitName, Units, independent_units
from ..fuse.applied import subset_weights
from ..fuse.fusion import FusionResult, Options, fuse
from ..fuse.params import FuseParams
from ..params import Params
from ..pool.params import PoolParams
from ..pool.step import PoolOptions, pool, pool_items, pool_key
from ..project.folder import Project
from ..project.status import stale
from ..train.run import Folders, Machine
from ..work.console import note
from ..work.failures import refuse_many
from ..work.locks import held, locked
from . import training
from .curve import Part, Shares, draws, learning_curve
from .folds import Fold, Folding, fold_clips
from .measure import Measured, measure, pooled_confusion

SECTIONS = ("pool", "train", "fuse")
"""Sections of the parameters that a cross-validation may run with other values of than params.yaml has."""
DEFAULT = "default"
"""The name of a result that was given none."""


@dataclass(frozen=True)
class How:
    """How it is run.

    Attributes:
        streams: to train; empty: the project's own.
        jobs: trainings at a time.
        machine: that they run on.
        curve: shares of the training clips that are also trained on; None: none.
    """

    streams: tuple[str, ...] = ()
    jobs: int = 1
    machine: Machine = field(default_factory=Machine)
    curve: Shares | None = None


@dataclass(frozen=True)
class Result:
    """A finished cross-validation.

    Attributes:
        measured: stream -> its accuracies, ``fused`` last where there is more than one stream.
        curve: accuracy against training clips, where it was asked for.
    """

    name: str
    summary: CrossvalSummary
    measured: Mapping[str, Measured]
    curve: Curve | None = None

    @property
    def best(self) -> Measured:
        """What all streams together come to; the only stream, where there is one."""
        return list(self.measured.values())[-1]


def run(project: Project, params: Params, folding: Folding, name: str = DEFAULT, how: How = How()) -> Result:
    """Train and test every fold, and write ``artifacts/crossval/NAME`` and ``metrics/crossval/NAME.json``.

    Args:
        params: of the project, with overrides of :data:`SECTIONS`.
        folding: where the folds come from.

    Raises:
        FileNotFoundError: a stage before has not run.
        ValueError: features are not up to date, folds do not fit the clips or leak, a curve has no sources to draw, or
            as training and fusing.
        RuntimeError: a process died.
    """
    check_name(name)
    streams = how.streams or project_streams(project)
    require_streams(streams)
    features = features_folder(project, params)
    clips = Clips.load(project.data)
    folds = folding.folds(clips)
    drawn = [] if how.curve is None else draws(clips, folds, how.curve)
    units = independent_units(_as_tested(clips, folds))
    course = training.Course(
        tuple(streams),
        params.train,
        Folders(project.data, features, project.detect / "frames"),
        replace(how.machine, threads=how.machine.threads or (1 if how.jobs > 1 else None)),
        project.work / "crossval",
    )
    seeds, changes = params.train.seeds, changed(project, params)
    summary = CrossvalSummary((), folding.text, units.name, seeds, course.streams, changes)
    unit_of = dict(zip(clips.table.clip_id, map(str, units.numbers(clips.table.clip_id)), strict=True))
    with held([result_folder(project, name)], project.work / "locks"):
        tables = {fold.name: fold_clips(clips, fold, params.data.val_fraction, params.data.seed) for fold in folds}
        trainings = course.plan(tables)
        training.run(trainings, how.jobs)
        summary = replace(summary, folds=_sizes(tables))
        result = write(project, name, summary, _by_stream(trainings, unit_of), params)
        if not drawn:
            return result
        parts = [
            {
                fold: fold_clips(clips, part, params.data.val_fraction, params.data.seed)
                for fold, part in draw.folds.items()
            }
            for draw in drawn
        ]
        planned = [course.plan(part) for part in parts]
        training.run([one for each in planned for one in each], how.jobs)
        shares = [
            Part(
                draw.share,
                _sizes(part),
                _fused(_by_stream(each, unit_of), replace(summary, folds=_sizes(part)), params),
            )
            for draw, part, each in zip(drawn, parts, planned, strict=True)
        ]
        curve = learning_curve(shares, Part(1.0, summary.folds, load_scores(project, name)), params.report)
        curve.save(result_folder(project, name))
        return replace(result, curve=curve)


def _by_stream(trainings: Sequence[training.Training], unit_of: Mapping[str, str]) -> dict[str, FoldScores]:
    """The scores of finished trainings, by stream."""
    parts: dict[str, dict[tuple[str, int], Scores]] = {}
    for one in trainings:
        parts.setdefault(one.stream, {})[one.fold, one.seed] = one.scores()
    return {stream: FoldScores.join(scores, unit_of) for stream, scores in parts.items()}


def _fused(streams: Mapping[str, FoldScores], summary: CrossvalSummary, params: Params) -> FoldScores:
    return fuse_folds(streams, summary, params.fuse, params.data.protocol)[0]


def fuse_results(project: Project, params: Params, sources: Sequence[str], name: str) -> Result:
    """Fuse finished results of the same folds by the project's rule; weights of each fold from its validation clips.

    Args:
        sources: names of results, or NAME:STREAM for one stream of a result.

    Raises:
        FileNotFoundError: there is no such result.
        ValueError: fewer than two, or of different folds or seeds.
    """
    check_name(name)
    if len(set(sources)) < 2 or len(set(sources)) < len(sources):
        raise ValueError(f"--fuse {','.join(sources)}: expected two different results or more")
    if name in {source.partition(":")[0] for source in sources}:
        raise ValueError(f"--name {name} is one of the results that are fused: give another name")
    found: dict[str, FoldScores] = {}
    first: CrossvalSummary | None = None
    for source in sources:
        result, _, stream = source.partition(":")
        folder = result_folder(project, result)
        summary = CrossvalSummary.load(folder)
        found[source] = FoldScores.load(folder / STREAMS / f"{stream}.parquet" if stream else folder / SCORES)
        first = first or summary
        if (summary.seeds, summary.folds) != (first.seeds, first.folds):
            raise ValueError(
                f"{sources[0]} and {source} have other folds or seeds: run both with the same folds and --train-seed"
            )
    assert first is not None
    with held([result_folder(project, name)], project.work / "locks"):
        summary = replace(first, streams=tuple(sources), changed={}, fusion="")
        return write(project, name, summary, found, params)


def write(
    project: Project, name: str, summary: CrossvalSummary, streams: Mapping[str, FoldScores], params: Params
) -> Result:
    """Fuse, measure, and write a result's files; ``streams``: in order."""
    folder = result_folder(project, name)
    fused, fusion = fuse_folds(streams, summary, params.fuse, params.data.protocol)
    summary = replace(summary, fusion=fusion)
    old = set((folder / STREAMS).glob("*.parquet"))
    for stream, scores in streams.items():
        file = folder / STREAMS / f"{stream}.parquet"
        scores.save(file)
        old.discard(file)
    for file in old:
        file.unlink()
    fused.save(folder / SCORES)
    (folder / CURVE).unlink(missing_ok=True)  # of an earlier run
    summary.save(folder)
    resamples, seed = params.report.bootstrap, params.report.seed
    every = dict(streams) if len(streams) == 1 else {**streams, FUSED: fused}
    measured = {stream: measure(scores, resamples, seed) for stream, scores in every.items()}
    result = Result(name, summary, measured)
    write_json(metrics_file(project, name), to_json(result, pooled_confusion(fused)))
    return result


def to_json(result: Result, confusion: list[list[int]]) -> dict[str, Any]:
    """What the metrics file says of a result."""
    return {
        "folds": len(result.summary.folds),
        "clips": sum(fold.test for fold in result.summary.folds),
        "unit": result.summary.unit,
        "units": result.best.units,
        "seeds": list(result.summary.seeds),
        "streams": {stream: measured.to_json() for stream, measured in result.measured.items()},
        "confusion": confusion,
    }


def load(project: Project, name: str, params: Params) -> Result:
    """A finished result, measured again from its scores.

    Raises:
        FileNotFoundError: there is none of that name.
    """
    folder = result_folder(project, check_name(name))
    summary = CrossvalSummary.load(folder)
    found = load_streams(folder, summary.streams)
    if len(found) > 1:
        found[FUSED] = FoldScores.load(folder / SCORES)
    resamples, seed = params.report.bootstrap, params.report.seed
    measured = {stream: measure(scores, resamples, seed) for stream, scores in found.items()}
    return Result(name, summary, measured, Curve.load(folder))


def load_all(project: Project, params: Params) -> tuple[list[Result], dict[str, str]]:
    """The finished results, and those that cannot be read, such as those of an older hpnet: name -> why."""
    found: list[Result] = []
    unread: dict[str, str] = {}
    for name in names(project):
        try:
            found.append(load(project, name, params))
        except (ValueError, FileNotFoundError) as error:
            unread[name] = str(error)
    return found, unread


def load_scores(project: Project, name: str) -> FoldScores:
    """The fused scores of a finished result."""
    return FoldScores.load(result_folder(project, check_name(name)) / SCORES)


def names(project: Project) -> list[str]:
    """The finished results."""
    return result_names(project.artifacts / "crossval")


def result_folder(project: Project, name: str) -> Path:
    """``artifacts/crossval/NAME``."""
    return project.artifacts / "crossval" / name


def metrics_file(project: Project, name: str) -> Path:
    """``metrics/crossval/NAME.json``."""
    return project.metrics / "crossval" / f"{name}.json"


def fuse_folds(
    streams: Mapping[str, FoldScores], summary: CrossvalSummary, params: FuseParams, protocol: str
) -> tuple[FoldScores, str]:
    """Fuse every fold and seed by itself, weights fitted on its clips that no network saw; and how, in a few words.

    One stream is left as it is.
    """
    if len(streams) == 1:
        return next(iter(streams.values())), ""
    each = {stream: scores.parts() for stream, scores in streams.items()}
    names, frequencies = tuple(streams), {fold.name: fold.frequencies for fold in summary.folds}
    units = _units(next(iter(streams.values())), summary)
    given = None if params.weights == "validation" else subset_weights(params.weights, names, names)
    found: dict[tuple[str, int], Scores] = {}
    results: list[FusionResult] = []
    for fold, seed in next(iter(each.values())):
        parts = {stream: scores[fold, seed] for stream, scores in each.items()}
        counts = np.array(frequencies[fold])
        options = Options(units=units)
        results.append(
            fuse(parts, params.rule, given or "validation", params.tau, counts, protocol=protocol, options=options)
        )
        found[fold, seed] = results[-1].scores
    for text in dict.fromkeys(text for result in results for text in result.notes):
        note(f"note: {text}")
    origins = " or ".join(dict.fromkeys(result.origin for result in results))
    return FoldScores.join(found, next(iter(streams.values())).units), f"{params.rule}, {origins} weights"


def _units(scores: FoldScores, summary: CrossvalSummary) -> Units:
    """What is independent, as the scores of a result say it."""
    numbers = np.unique(scores.table.unit.astype(str), return_inverse=True)[1].tolist()
    number_of = dict(zip(scores.table.clip_id, numbers, strict=True))
    return Units(cast(UnitName, summary.unit), "the unit of the result's intervals", number_of)


def features_folder(project: Project, params: Params) -> Path:
    """The features of the project or, where ``params.pool`` is not params.yaml's, those pooled from its windows again.

    Raises:
        FileNotFoundError: a stage before has not run.
        ValueError: what it wrote is not up to date, or parameters of other sections were changed.
    """
    own = project.read_params() if project.params_file.is_file() else Params()
    if (project.data / "features.npy").is_file():
        _require(project, "import", project.data / "features.npy")
        if params.pool != own.pool:
            raise ValueError("this project's features were imported: there are no windows to pool in another way")
        return project.data
    if params.pool == own.pool:
        _require(project, "pool", project.pool / "features.npy")
        return project.pool
    _require(project, "estimate", project.estimate / "index.parquet")
    return pooled_again(project, params.pool)


def pooled_again(project: Project, params: PoolParams) -> Path:
    """Features pooled from the project's windows by other parameters, in ``.work/crossval/pool``; made once."""
    store = PoseStore(project.estimate)
    items = [(item.clip_id, item.digest) for item in pool_items(store)]
    text = json.dumps([pool_key(params, store.meta), items], sort_keys=True)
    folder = project.work / "crossval" / "pool" / hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    with locked(folder.parent / f"{folder.name}.lock", "another process is pooling the same features: waiting for it"):
        if not (folder / "meta.json").is_file():  # which is written last
            done = pool(params, project.estimate, folder, project.work, PoolOptions())
            refuse_many(done.failed, int(done.figures["clips"]), most=1.0)  # names them
    return folder


def _require(project: Project, stage: str, file: Path) -> None:
    remedy = f"run `dvc repro {stage}` first" if project.graph_file.is_file() else f"run `hpnet {stage}` first"
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: {remedy}")
    if why := stale(project, stage):
        raise ValueError(f"{file.parent} is not up to date ({why}): {remedy}")


def project_streams(project: Project) -> tuple[str, ...]:
    """The streams of the project's graph; the four of the joints where it has none."""
    stages = project.read_stages() if project.graph_file.is_file() else {}
    return tuple(stream for stream in KNOWN_STREAMS if f"train@{stream}" in stages) or TOPOLOGY_STREAMS


def require_streams(streams: Sequence[str]) -> None:
    """Refuse streams that do not exist, or are named twice.

    Raises:
        ValueError: names the first of them.
    """
    for stream in streams:
        refuse_former_name(stream, "--streams")
        if stream not in KNOWN_STREAMS or streams.count(stream) > 1:
            raise ValueError(f"--streams: {stream!r} is unknown or given twice; choose from {', '.join(KNOWN_STREAMS)}")


def changed(project: Project, params: Params) -> dict[str, Any]:
    """Parameters of :data:`SECTIONS` that are not those of params.yaml, by dotted name."""
    own = project.read_params() if project.params_file.is_file() else Params()
    before, after = (_flat(each.model_dump(mode="json", include=set(SECTIONS))) for each in (own, params))
    return {name: value for name, value in after.items() if before.get(name) != value}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def _as_tested(clips: Clips, folds: Sequence[Fold]) -> pd.DataFrame:
    """The usable clips, those that any fold tests as the test split: what units are chosen on."""
    table = clips.usable()
    tested = frozenset[str]().union(*(fold.test for fold in folds))
    return table.assign(split=np.where(table.clip_id.isin(tested), "test", ""))


def _sizes(tables: Mapping[str, Clips]) -> tuple[FoldSize, ...]:
    return tuple(_size(fold, table) for fold, table in tables.items())


def _size(fold: str, clips: Clips) -> FoldSize:
    usable = clips.usable()
    train, val, test = (int((usable.split == split).sum()) for split in ("train", "val", "test"))
    labels = usable.label[(usable.split == "train") & (usable.label >= 0)].to_numpy(dtype=np.int64)
    frequencies = tuple(np.bincount(labels, minlength=clips.num_classes).tolist())
    return FoldSize(fold, train, val, test, frequencies)
