"""dvc.yaml: writing and reading the graph in DVC's format.

``python -m hpnet.project.dvc_yaml`` prints dvc.yaml of hpnet's own repository (``make graph``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from .graph import CODE, Graph, Kind, Stage, code_file, graph, upstream

REPOSITORY = Kind(here=True, takes=True, variants=("pose2d", "region3", "region5"))
"""The project of hpnet's own repository: the mannequins."""
HEADING = """The graph of this project: {stages}.
The stage `code` writes a digest of the code of each stage. So an edit reruns only the stages that it changes.
"""
OF_REPOSITORY = "Written by `make graph` from hpnet/project/graph.py."
OF_PROJECT = """hpnet is installed elsewhere and DVC cannot see it, so `code` runs every time.
After an upgrade of hpnet, `dvc repro` runs only the stages whose code changed."""
CODE_FILE = re.compile(r"code/([\w.${}-]+)\.txt")
WIDTH = 118


# --- written ----------------------------------------------------------------------------------------------------------


def render(kind: Kind) -> str:
    """The text of dvc.yaml of a project of this kind."""
    made = graph(kind)
    names = " -> ".join(stage.name for stage in made.stages if stage.name not in (CODE, "compare"))
    heading = HEADING.format(stages=names) + (OF_REPOSITORY if kind.here else OF_PROJECT)
    lines = [*(f"# {line}" for line in heading.splitlines()), "stages:"]
    for number, stage in enumerate(made.stages):
        lines += [*([""] if number else []), *_stage_lines(stage)]
    return "\n".join([*lines, *_plot_lines(made), ""])


def _stage_lines(stage: Stage) -> list[str]:
    pad = "    "
    lines = [*([f"  # {stage.note}"] if stage.note else []), f"  {stage.name}:"]
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
    lines += _list(pad, "deps", [*stage.deps, *([code_file(stage.code)] if stage.code else [])])
    if stage.params:
        lines += _wrapped(f"{pad}params: [", [f'"{name}"' if "${" in name else name for name in stage.params])
    lines += _list(pad, "outs", [*stage.outs, *map(_uncached, stage.loose)])
    return lines + _list(pad, "metrics", [*map(_uncached, stage.metrics)])


def _plot_lines(made: Graph) -> list[str]:
    drawn = [f"        artifacts/train/{name}/history/plots/metrics/val/accuracy.tsv: accuracy" for name in made.curves]
    confusion = [
        "  - report/plots/confusion.csv:",
        "      template: confusion",
        "      x: actual",
        "      y: predicted",
        "      title: Confusion of the fused scores on the test split",
    ]
    return [
        "",
        "plots:",
        *(confusion if any(stage.name == "report" for stage in made.stages) else []),
        "  - validation accuracy:",
        "      template: linear",
        "      x: step",
        "      x_label: epoch",
        "      y:",
        *drawn,
    ]


def _uncached(path: str) -> str:
    return f"{path}: {{cache: false}}"


def _flow(item: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in item.items()) + "}"


def _list(pad: str, name: str, entries: list[str]) -> list[str]:
    """A list on one line if it is short and simple, else one line per entry."""
    if not entries:
        return []
    plain = not any(mark in entry for entry in entries for mark in "{}:")
    if plain and len(entries) <= 3:
        return [f"{pad}{name}: [{', '.join(entries)}]"]
    return [f"{pad}{name}:", *(f"{pad}  - {entry}" for entry in entries)]


def _wrapped(start: str, words: list[str]) -> list[str]:
    """``start`` and a flow list of words, on as few lines as possible."""
    lines, line = [], start
    for number, word in enumerate(words):
        text = word + (", " if number + 1 < len(words) else "]")
        if len(line) + len(text.rstrip()) > WIDTH:
            lines.append(line.rstrip())
            line = " " * len(start)
        line += text
    return [*lines, line]


# --- read -------------------------------------------------------------------------------------------------------------


def read(raw: Mapping[str, Any], params: Mapping[str, Any] | None = None) -> dict[str, Stage]:
    """The stages of a parsed dvc.yaml by name, one for each item, upstream first. A project may have edited its
    dvc.yaml.

    Args:
        params: of params.yaml, nested, for references such as ``${data.videos}``.

    Raises:
        ValueError: the stages depend on each other in a circle.
    """
    entries = raw.get("stages") or {}
    named = {name: lookup(params or {}, name) for name in re.findall(r"\$\{([\w.]+)\}", json.dumps(entries))}
    values = {name: value for name, value in named.items() if isinstance(value, str | int | float)}
    stages = {
        one.name: one.filled(values) for name, body in entries.items() for one in _read_stage(name, body).for_each()
    }
    ordered: dict[str, Stage] = {}
    while len(ordered) < len(stages):
        ready = [s for n, s in stages.items() if n not in ordered and set(upstream(s, stages)) <= set(ordered)]
        if not ready:
            raise ValueError(f"dvc.yaml: stages {', '.join(set(stages) - set(ordered))} depend on each other")
        ordered |= {stage.name: stage for stage in ready}
    return ordered


def _read_stage(name: str, entry: Mapping[str, Any]) -> Stage:
    each = entry.get("foreach", ())
    body = entry["do"] if "foreach" in entry else entry
    deps = [_path(dep) for dep in body.get("deps", [])]
    codes = [match[1] for dep in deps if (match := CODE_FILE.fullmatch(dep))]
    outs = body.get("outs", [])
    kept = [_path(out) for out in outs if not (isinstance(out, Mapping) and out[_path(out)].get("cache") is False)]
    return Stage(
        name,
        str(body.get("cmd", "")),
        tuple(dep for dep in deps if not CODE_FILE.fullmatch(dep)),
        tuple(kept),
        tuple(path for path in map(_path, outs) if path not in kept),
        tuple(map(str, body.get("params", []))),
        tuple(map(_path, body.get("metrics", []))),
        {key: item or {} for key, item in each.items()} if isinstance(each, Mapping) else tuple(map(str, each)),
        codes[0] if codes else "",
        bool(body.get("always_changed", False)),
    )


def _path(entry: Any) -> str:
    """The path of an entry of deps, outs or metrics (a path, or a path with settings)."""
    return str(next(iter(entry))) if isinstance(entry, Mapping) else str(entry)


def lookup(params: Mapping[str, Any], dotted: str) -> Any:
    """The value of a dotted name; None if it is not set."""
    value: Any = params
    for part in dotted.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


if __name__ == "__main__":
    print(render(REPOSITORY), end="")
