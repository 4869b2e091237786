"""The graph of a project as data: its stages, their inputs and outputs, and their parameters.

The repository's dvc.yaml and those of ``hpnet init`` are made from it (:mod:`hpnet.project.dvc_yaml`), and ``hpnet
ablate`` plans with it. Every stage depends only on the identity of its own code, ``code/NAME.txt``, which the stage
``code`` writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from ..core.streams import MULTIMODAL, STREAMS, TOPOLOGY_STREAMS

Each = Mapping[str, Mapping[str, str]] | tuple[str, ...]
"""The items of a stage that runs several times: names, with or without values."""
CODE = "code"
"""The stage that writes the identities of code."""


def code_file(name: str) -> str:
    """File with the identity of a stage's code in a project."""
    return f"code/{name}.txt"


@dataclass(frozen=True)
class Stage:
    """A stage of DVC.

    Attributes:
        deps: files and folders that it reads, without its own code.
        outs: outputs in DVC's cache.
        loose: outputs outside the cache.
        params: parameters of the stage, by dotted name.
        metrics: metrics files that `dvc metrics diff` compares, outside the cache; other figures are in ``loose``.
        each: items, if it runs once for each; ``${item}``, ``${key}`` and ``${item.VALUE}`` refer to them.
        code: NAME of ``code/NAME.txt``, the identity of its code; empty if it depends on none.
        always: it runs at every ``dvc repro``, because DVC cannot see what it depends on.
        note: a comment above it.
    """

    name: str
    cmd: str
    deps: tuple[str, ...] = ()
    outs: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    each: Each = ()
    code: str = ""
    always: bool = False
    note: str = ""

    @property
    def written(self) -> tuple[str, ...]:
        """All its outputs."""
        return (*self.outs, *self.loose, *self.metrics)

    @property
    def command(self) -> str:
        """Its name in seconds.json: 'train hpj' for train@hpj."""
        return self.name.replace("@", " ")

    def for_each(self) -> Iterator[Stage]:
        """The stage itself, or one stage for each of its items (``train@hpj``) with the item's values filled in."""
        if not self.each:
            yield self
            return
        for key in self.each:
            known = {"item": key, "key": key}
            known |= {f"item.{name}": value for name, value in _values(self.each, key).items()}
            yield replace(self.filled(known), name=f"{self.name}@{key}", each=())

    def filled(self, values: Mapping[str, object]) -> Stage:
        """With ``${NAME}`` replaced by its value, if ``values`` has one."""

        def text(entry: str) -> str:
            for name, value in values.items():
                entry = entry.replace(f"${{{name}}}", str(value))
            return entry

        def texts(entries: Iterable[str]) -> tuple[str, ...]:
            return tuple(map(text, entries))

        return replace(
            self,
            cmd=text(self.cmd),
            deps=texts(self.deps),
            outs=texts(self.outs),
            loose=texts(self.loose),
            params=texts(self.params),
            metrics=texts(self.metrics),
            code=text(self.code),
        )


def _values(each: Each, key: str) -> Mapping[str, str]:
    return each[key] if isinstance(each, Mapping) else {}


@dataclass(frozen=True)
class Kind:
    """The kind of project of a graph.

    Attributes:
        here: the package's own repository: ``code`` depends on the folder ``hpnet/``, which DVC can see.
        videos: the clips are a folder of videos, not rendered.
        table: a CSV has their labels.
        weights: networks are read from the project's folder ``weights``.
        takes: there are untrimmed videos, in which events are found.
        poses: command that imports 3-D poses, instead of data, detect, estimate and pool; empty: none.
        poses_from: the input file of this command.
        streams: streams that are trained.
        variants: of the comparison.
    """

    here: bool = False
    videos: bool = False
    table: bool = False
    weights: bool = False
    takes: bool = False
    poses: str = ""
    poses_from: str = ""
    streams: tuple[str, ...] = STREAMS
    variants: tuple[str, ...] = ()


@dataclass(frozen=True)
class Graph:
    """The stages of a project, upstream first.

    Attributes:
        curves: the streams with training curves in ``dvc plots``. A graph with a report has its confusion matrix too.
    """

    stages: tuple[Stage, ...]
    curves: tuple[str, ...] = ()

    def each(self) -> dict[str, Stage]:
        """Name -> stage, one for each item: ``train@hpj``."""
        return {one.name: one for stage in self.stages for one in stage.for_each()}


CHOOSING = (
    "data.source", "data.protocol", "detect.model", "detect.backend", "estimate.model", "estimate.backend",
    "estimate.int8", "pool.operator", "train.topology.graph.model",
    f"train.{MULTIMODAL}.graph.model", f"train.{MULTIMODAL}.video", f"train.{MULTIMODAL}.fusion",
    f"train.{MULTIMODAL}.text",
)  # fmt: skip
"""The parameters that choose a module, packaged weights or a file: the code of a stage depends on them."""
CHOOSING_OF_POSES = ("train.topology.graph.model",)
"""The same for a project of 3-D poses."""
DATA = "artifacts/data"
"""The clips."""
VIDEOS = "artifacts/data/videos.csv"
"""Input of detect and estimate; it has the digest of every video."""
RENDERED = ("artifacts/data/videos", "artifacts/data/truth.parquet")
"""Their further input if the clips are rendered."""
LABELS = ("artifacts/data/clips.csv", "artifacts/data/classes.csv")
"""Input of training and later stages."""
HEADLINE = "metrics/headline.json"
"""The few figures that are compared first."""
TRAINING = ("train.seed", "train.refit", "train.validation_folds", "train.measure")
"""Parameters of every training, beside the section of its stream."""
PAGE = "The page is not an output of DVC, because its git revisions, bytes and seconds change with every run."


def graph(kind: Kind) -> Graph:
    """The graph of a project of this kind."""
    stages = _from_poses(kind) if kind.poses else _from_videos(kind)
    codes = tuple(dict.fromkeys(one.code for stage in stages for one in stage.for_each()))
    code = Stage(
        CODE,
        f"hpnet code {' '.join(codes)}" if kind.poses else "hpnet code",
        deps=("hpnet",) if kind.here else (),
        loose=tuple(map(code_file, codes)),
        params=CHOOSING_OF_POSES if kind.poses else CHOOSING,
        always=not kind.here,
    )
    return Graph((code, *stages), kind.streams)


def _from_videos(kind: Kind) -> tuple[Stage, ...]:
    weights = ("weights",) if kind.weights else ()
    videos = (VIDEOS, *([] if kind.videos else RENDERED))
    read = (*(["${data.videos}"] if kind.videos else []), *(["${data.table}"] if kind.table else []))
    stages = [
        _stage("data", read, ("data",)),
        _stage("detect", (*videos, *weights), ("detect", "data.max_failed")),
        _stage(
            "estimate",
            (*videos, "artifacts/detect/boxes.parquet", *weights),
            ("estimate", "detect.persons", "data.max_failed"),
        ),
        _stage("pool", ("artifacts/estimate",), ("pool", "data.max_failed")),
        Stage(
            "train",
            "hpnet train ${key}",
            deps=(*LABELS, "artifacts/pool", "${item.input}", *weights),
            outs=("artifacts/train/${key}",),
            params=(*TRAINING, "train.${item.section}"),
            loose=("metrics/train/${key}.json",),
            each={stream: _stream(stream) for stream in kind.streams},
            code="train-${item.section}",
        ),
    ]
    shown = ["artifacts/data", "artifacts/detect", "artifacts/estimate", "artifacts/pool", "artifacts/train"]
    if kind.variants:
        stages.append(_compare(kind.variants))
        shown.append("artifacts/compare")
    found = []
    if kind.takes:
        read = (DATA, "artifacts/pool", "artifacts/train", "artifacts/fuse/weights.json", *weights)
        made = _stage("events", read, ("events", "detect", "estimate", "pool"))
        found.append(replace(made, loose=made.metrics, metrics=()))
        shown.append("artifacts/events")
    report = Stage(
        "report",
        "hpnet report",
        deps=(*shown, "artifacts/fuse"),
        loose=("report/figures", "report/plots", "metrics/report.json"),
        params=("report",),
        code="report",
        note=PAGE,
    )
    return (*stages, _fuse(kind, ("fuse", "data.protocol")), *found, report)  # the protocol names the released weights


def _from_poses(kind: Kind) -> tuple[Stage, ...]:
    return (
        Stage("import", kind.poses, deps=(kind.poses_from,), outs=(DATA,), code="import"),
        Stage(
            "train",
            f"hpnet train ${{item}} --input {DATA}",
            deps=(DATA,),
            outs=("artifacts/train/${item}",),
            params=(*TRAINING, "train.topology"),
            loose=("metrics/train/${item}.json",),
            each=kind.streams,
            code="train-topology",
        ),
        _fuse(kind, ("fuse",)),
    )


def _stage(name: str, deps: tuple[str, ...], params: tuple[str, ...]) -> Stage:
    return Stage(
        name, f"hpnet {name}", deps, (f"artifacts/{name}",), params=params, metrics=(f"metrics/{name}.json",), code=name
    )


def _compare(variants: tuple[str, ...]) -> Stage:
    pooling = ("pool.kind", "pool.tap", "pool.operator", "pool.frames")  # pool.region is each variant's own
    return Stage(
        "compare",
        "hpnet compare ${item}",
        deps=(*LABELS, "artifacts/estimate"),
        outs=("artifacts/compare/${item}",),
        params=(
            *pooling,
            *TRAINING,
            "train.topology",
            "compare.variants.${item}",
        ),
        loose=("metrics/compare/${item}.json",),
        each=variants,
        code="compare",
    )


def _fuse(kind: Kind, params: tuple[str, ...]) -> Stage:
    read = (*LABELS, *(f"artifacts/train/{stream}/scores.parquet" for stream in kind.streams))
    made = _stage("fuse", read, params)
    return replace(made, loose=made.metrics, metrics=(HEADLINE,))


def _stream(stream: str) -> dict[str, str]:
    if stream in TOPOLOGY_STREAMS:
        return {"section": "topology", "input": "artifacts/pool/meta.json"}
    return {"section": stream, "input": "artifacts/detect/frames"}


# --- questions to a graph of single stages (:meth:`Graph.each`) -------------------------------------------------------


def touches(one: str, other: str) -> bool:
    """Whether two paths are the same, or one is inside the other."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def upstream(stage: Stage, stages: Mapping[str, Stage]) -> list[str]:
    """Names of the stages whose outputs ``stage`` reads, without the stage that writes its code."""
    return [
        other.name
        for other in stages.values()
        if other.name != stage.name and any(touches(dep, out) for dep in stage.deps for out in other.written)
    ]


def needed(targets: Iterable[str], stages: Mapping[str, Stage]) -> list[str]:
    """The targets and everything upstream of them, upstream first.

    Raises:
        ValueError: a target is not a stage of the graph.
    """
    wanted, waiting = set(), list(targets)
    while waiting:
        name = waiting.pop()
        if name not in stages:
            raise ValueError(f"dvc.yaml has no stage {name!r}; it has {', '.join(stages)}")
        if name not in wanted:
            wanted.add(name)
            waiting += upstream(stages[name], stages)
    return [name for name in stages if name in wanted]
