"""The graph of a project as data: its stages, what they read and write, and which parameters decide them.

The repository's dvc.yaml and those of ``hpnet init`` are renderings of it (:func:`render`), and ``hpnet ablate`` plans
on it. Every stage depends on the identity of its own code alone, ``code/NAME.txt``, which the stage ``code`` writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..core.streams import MULTIMODAL, STREAMS, TOPOLOGY_STREAMS

Each = Mapping[str, Mapping[str, str]] | tuple[str, ...]
"""The items of a stage that runs several times: names, with values for each or without."""


@dataclass(frozen=True)
class Stage:
    """A stage of DVC.

    Attributes:
        deps: files and folders that it reads, its own code left out.
        outs: what it writes into the cache.
        loose: what it writes beside the cache: small text that git keeps, and the page.
        params: parameters that decide it, by dotted name.
        metrics: metrics files, beside the cache.
        each: items, where it runs once for each; ``${item}``, ``${key}`` and ``${item.VALUE}`` stand for them.
        code: whose code it runs, NAME of ``code/NAME.txt``; empty for its own name.
        always: it runs at every ``dvc repro``, because DVC cannot see what it depends on.
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

    @property
    def code_file(self) -> str:
        """Where the identity of its code stands."""
        return f"code/{self.code or self.name}.txt"


@dataclass(frozen=True)
class Kind:
    """What kind of project a graph is for.

    Attributes:
        here: the package's own repository: ``code`` depends on the folder ``hpnet/``, which DVC can see.
        videos: the clips are a folder of videos, not rendered.
        table: a CSV labels them.
        weights: networks are read from the project's folder ``weights``.
        poses: command that imports 3-D poses in place of data, detect, estimate and pool; empty: none.
        poses_from: the file that it reads.
        streams: which are trained.
        variants: of the comparison.
    """

    here: bool = False
    videos: bool = False
    table: bool = False
    weights: bool = False
    poses: str = ""
    poses_from: str = ""
    streams: tuple[str, ...] = STREAMS
    variants: tuple[str, ...] = ()


@dataclass(frozen=True)
class Graph:
    """Stages, upstream first, and the plots of ``dvc plots``."""

    stages: tuple[Stage, ...]
    curves: tuple[str, ...] = field(default=())

    @property
    def codes(self) -> tuple[str, ...]:
        """Whose code the stages run, each once, in order; ``train`` has one per kind of stream."""
        found: dict[str, None] = {}
        for stage in self.stages:
            if stage.name == "code":
                continue
            if stage.code and "${" in stage.code and isinstance(stage.each, Mapping):
                found |= {stage.code.replace("${item.section}", item["section"]): None for item in stage.each.values()}
            else:
                found[stage.code or stage.name] = None
        return tuple(found)


CHOOSING = (
    "data.source", "data.protocol", "detect.model", "estimate.model", "train.topology.graph.model",
    f"train.{MULTIMODAL}.graph.model", f"train.{MULTIMODAL}.video",
)  # fmt: skip
"""The parameters that choose a module or packaged weights: the code of a stage depends on them."""


def graph(kind: Kind) -> Graph:
    """The graph of a project of this kind."""
    made = _from_poses(kind) if kind.poses else _from_videos(kind)
    graph_of = Graph(made, tuple(kind.streams))
    choosing = tuple(name for name in CHOOSING if not kind.poses or name == "train.topology.graph.model")
    code = Stage(
        "code",
        "hpnet code",
        deps=("hpnet",) if kind.here else (),
        loose=tuple(f"code/{name}.txt" for name in graph_of.codes),
        params=choosing,
        always=not kind.here,
    )
    return Graph((code, *made), graph_of.curves)


def _from_videos(kind: Kind) -> tuple[Stage, ...]:
    weights = ("weights",) if kind.weights else ()
    read = ("${data.videos}",) if kind.videos else ()
    table = ("${data.table}",) if kind.table else ()
    videos, clips = "artifacts/data", ("artifacts/data/clips.csv", "artifacts/data/classes.csv")
    train = {stream: _stream(stream) for stream in kind.streams}
    stages = [
        _stage("data", deps=(*read, *table), params=("data",)),
        _stage("detect", deps=(videos, *weights), params=("detect", "data.max_failed")),
        _stage(
            "estimate",
            deps=(videos, "artifacts/detect/boxes.parquet", *weights),
            params=("estimate", "detect.persons", "data.max_failed"),
        ),
        _stage("pool", deps=("artifacts/estimate",), params=("pool",)),
        Stage(
            "train",
            "hpnet train ${key}",
            deps=("artifacts/data/clips.csv", "artifacts/pool", "${item.input}", *weights),
            outs=("artifacts/train/${key}",),
            params=("train.seed", "train.${item.section}"),
            metrics=("metrics/train/${key}.json",),
            each=train,
            code="train-${item.section}",
        ),
    ]
    if kind.variants:
        stages.append(
            Stage(
                "compare",
                "hpnet compare ${item}",
                deps=(*clips, "artifacts/estimate"),
                outs=("artifacts/compare/${item}",),
                params=(
                    "pool.kind", "pool.tap", "pool.operator", "pool.frames", "train.seed", "train.topology",
                    "compare.variants.${item}",
                ),
                metrics=("metrics/compare/${item}.json",),
                each=kind.variants,
            )
        )  # fmt: skip
    compare = ("artifacts/compare",) if kind.variants else ()
    shown = ("data", "detect", "estimate", "pool", "train")
    return (
        *stages,
        _fuse(kind, ("fuse", "data.protocol")),
        Stage(
            "report",
            "hpnet report",
            deps=(*(f"artifacts/{name}" for name in shown), *compare, "artifacts/fuse"),
            loose=("report/index.html", "report/figures", "report/plots"),
            params=("report",),
            metrics=("metrics/report.json",),
        ),
    )


def _from_poses(kind: Kind) -> tuple[Stage, ...]:
    return (
        Stage("import", kind.poses, deps=(kind.poses_from,), outs=("artifacts/data",)),
        Stage(
            "train",
            "hpnet train ${item} --input artifacts/data",
            deps=("artifacts/data",),
            outs=("artifacts/train/${item}",),
            params=("train.seed", "train.topology"),
            metrics=("metrics/train/${item}.json",),
            each=kind.streams,
            code="train-topology",
        ),
        _fuse(kind, ("fuse",)),
    )


def _stage(name: str, deps: tuple[str, ...], params: tuple[str, ...]) -> Stage:
    return Stage(name, f"hpnet {name}", deps, (f"artifacts/{name}",), (), params, (f"metrics/{name}.json",))


def _fuse(kind: Kind, params: tuple[str, ...]) -> Stage:
    scores = (f"artifacts/train/{stream}/scores.parquet" for stream in kind.streams)
    return _stage("fuse", ("artifacts/data/clips.csv", *scores), params)


def _stream(stream: str) -> dict[str, str]:
    if stream in TOPOLOGY_STREAMS:
        return {"section": "topology", "input": "artifacts/data/classes.csv"}
    return {"section": stream, "input": "artifacts/detect/frames"}


# --- as dvc.yaml ------------------------------------------------------------------------------------------------------


def render(graph: Graph, heading: str) -> str:
    """dvc.yaml.

    Args:
        heading: comment lines above it, without ``#``.
    """
    parts = ["\n".join(f"# {line}" for line in heading.splitlines()), "stages:"]
    parts += ["\n".join(_rendered(stage)) + "\n" for stage in graph.stages]
    return "\n".join(parts) + _plots(graph)


def _rendered(stage: Stage) -> list[str]:
    lines, pad = [f"  {stage.name}:"], "    "
    if stage.each:
        if isinstance(stage.each, Mapping):
            lines += [f"{pad}foreach:", *(f"{pad}  {key}: {_flow(item)}" for key, item in stage.each.items())]
        else:
            lines.append(f"{pad}foreach: [{', '.join(stage.each)}]")
        lines.append(f"{pad}do:")
        pad += "  "
    lines.append(f"{pad}cmd: {stage.cmd}")
    if stage.always:
        lines.append(f"{pad}always_changed: true")
    deps = stage.deps if stage.name == "code" else (*stage.deps, stage.code_file)
    lines += _list(pad, "deps", deps)
    if stage.params:
        quoted = (f'"{name}"' if "${" in name else name for name in stage.params)
        lines += _wrapped(f"{pad}params: [", list(quoted))
    outs = [*stage.outs, *(f"{out}: {{cache: false}}" for out in stage.loose)]
    lines += _list(pad, "outs", outs)
    lines += _list(pad, "metrics", [f"{name}: {{cache: false}}" for name in stage.metrics])
    return lines


def _plots(graph: Graph) -> str:
    if not any(stage.name == "report" for stage in graph.stages):
        return ""
    curve = "history/plots/metrics/val/accuracy.tsv: accuracy"
    return "\n".join(
        [
            "",
            "plots:",
            "  - report/plots/confusion.csv:",
            "      template: confusion",
            "      x: actual",
            "      y: predicted",
            "      title: Confusion of the fused scores on the test split",
            "  - validation accuracy:",
            "      template: linear",
            "      x: step",
            "      x_label: epoch",
            "      y:",
            *(f"        artifacts/train/{stream}/{curve}" for stream in graph.curves),
            "",
        ]
    )


def _flow(item: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in item.items()) + "}"


def _list(pad: str, name: str, entries: list[str] | tuple[str, ...]) -> list[str]:
    """A list on one line where it is short and plain, else a line for each entry."""
    if not entries:
        return []
    plain = not any(mark in entry for entry in entries for mark in "{}:")
    if plain and len(entries) <= 3:
        return [f"{pad}{name}: [{', '.join(entries)}]"]
    return [f"{pad}{name}:", *(f"{pad}  - {entry}" for entry in entries)]


def _wrapped(start: str, words: list[str], width: int = 118) -> list[str]:
    """``start`` and a flow list of words, on as few lines as fit."""
    lines, line = [], start
    for number, word in enumerate(words):
        text = word + (", " if number + 1 < len(words) else "]")
        if len(line) + len(text.rstrip()) > width:
            lines.append(line.rstrip())
            line = " " * (len(start) - 1) + " "
        line += text
    return [*lines, line]
