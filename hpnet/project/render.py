"""The files of a new project: params.yaml with comments, dvc.yaml, DVC's settings, .gitignore and README.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from ..params import Params
from .presets import Preset, Values

COMMENT_COLUMN = 40
HEADINGS = {
    "data": "what the clips are",
    "detect": "frames -> boxes, tracks and person frames",
    "estimate": "people -> joints and windows of feature maps",
    "pool": "windows -> features, Eq. (3)",
    "train": "features -> scores, one network per stream",
    "topology": "hpj, hpb, hpjm, hpbm",
    "hpnet": "pooled features + RGB + text",
    "fuse": "the streams' scores -> one",
    "compare": "the joint stream on other features, for the report",
    "report": "the page",
}
MANNEQUIN_ONLY = "mannequins: "
"""How descriptions of parameters begin that only the rendered benchmark reads."""
GITIGNORE = """/.work/
/artifacts/
/weights/
/code/
/report/index.html
/report/figures/
/report/run/
"""
DVCIGNORE = """.work
__pycache__
"""
DVC_CONFIG = """[core]
    analytics = false
    check_update = false
{scm}[cache]
    type = "reflink,hardlink,symlink,copy"
"""
DVC_GITIGNORE = """/config.local
/tmp
/cache
"""


def render_params(preset: Preset, values: Values) -> str:
    """params.yaml: every parameter of the sections in use, at ``values`` over its default, with its description."""
    params = Params.model_validate(values)
    lines = [f"# Parameters of this project ({preset.title}). Every value is also an option of its command, such as"]
    lines += ["# `hpnet pool --region 3`; unknown names are refused. After a change: `dvc repro`.", ""]
    for section in ("train", "fuse", "report") if preset.poses else tuple(Params.model_fields):
        lines += [*_section(section, getattr(params, section), 0, params.data.source == "mannequin"), ""]
    if preset.poses:
        skipped = ("  hpnet:",)
        lines = _without_block(lines, skipped[0])
    return "\n".join(lines).rstrip() + "\n"


def _section(name: str, model: BaseModel, depth: int, mannequins: bool) -> list[str]:
    pad = "  " * depth
    lines = [_line(f"{pad}{name}:", HEADINGS.get(name, ""))]
    for key, field in type(model).model_fields.items():
        value, note = getattr(model, key), field.description or ""
        if isinstance(value, BaseModel):
            lines += _section(key, value, depth + 1, mannequins)
        elif mannequins or not note.startswith(MANNEQUIN_ONLY):
            lines += _value(f"{pad}  {key}:", value, note)
    return lines


def _value(label: str, value: Any, note: str) -> list[str]:
    if isinstance(value, Mapping) and value:
        pad = " " * (len(label) - len(label.lstrip()) + 2)
        return [_line(label, note), *(f"{pad}{k}: {_plain(v)}" for k, v in value.items())]
    return [_line(f"{label} {_plain(list(value) if isinstance(value, tuple) else value)}", note)]


def _plain(value: Any) -> str:
    """A value as YAML on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=1 << 20, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def _line(text: str, note: str) -> str:
    return f"{text:<{COMMENT_COLUMN}}  # {note}" if note else text


def _without_block(lines: list[str], start: str) -> list[str]:
    """Leave out a nested section: its heading and every line indented below it."""
    first = next(n for n, line in enumerate(lines) if line.startswith(start))
    depth = len(start) - len(start.lstrip())
    last = first + 1
    while last < len(lines) and lines[last].strip() and len(lines[last]) - len(lines[last].lstrip()) > depth:
        last += 1
    return lines[:first] + lines[last:]


# --- dvc.yaml ---------------------------------------------------------------------------------------------------------

_HEAD = """# The graph of this project: {graph}.
# hpnet itself is installed, not part of this folder. So the stage `code` looks at it on every run and writes a digest
# of the source behind each stage into code/: after an upgrade of hpnet `dvc repro` runs what it touched, no more.
stages:
  code:
    cmd: hpnet code --out code
    always_changed: true
    outs:
{codes}
"""
_STAGE = """
  {name}:
{each}{pad}cmd: {cmd}
{pad}deps:
{deps}
{params}{pad}outs:
{pad}  - {out}
{metrics}"""
_REPORT = """
  # The page is no output of DVC: it shows git revisions, bytes and seconds, which the next run has others of.
  report:
    cmd: hpnet report
    deps:
{deps}
    params: [report]
    outs:
      - report/figures: {{cache: false}}
      - report/plots: {{cache: false}}
    metrics:
      - metrics/report.json: {{cache: false}}

plots:
  - report/plots/confusion.csv:
      template: confusion
      x: actual
      y: predicted
      title: Confusion of the fused scores on the test split
"""


def render_dvc(preset: Preset, values: Values, poses_file: str = "") -> str:
    """dvc.yaml of a project outside hpnet's repository.

    Args:
        poses_file: the .npz of a project of 3-D poses.
    """
    variants = list(values.get("compare", {}).get("variants", {}))
    stages = ["import", "train", "fuse"] if preset.poses else ["data", "detect", "estimate", "pool", "train"]
    if not preset.poses:
        stages += [*(["compare"] if variants else []), "fuse", "report"]
    parts = [
        _HEAD.format(
            graph=" -> ".join(s for s in stages if s != "compare"),
            codes="\n".join(f"      - code/{stage}.txt: {{cache: false}}" for stage in stages),
        )
    ]
    weights = ["weights"] if values.get("estimate", {}).get("model") else []
    if preset.poses:
        imported = f"hpnet import nw-ucla {poses_file} --out artifacts/data --frames {preset.pose_frames}"
        parts.append(_stage("import", imported, [poses_file], "", "artifacts/data", None))
        train = "hpnet train ${item} --input artifacts/data"
        deps = ["artifacts/data"]
        params = "train.seed, train.topology"
        each = f" [{', '.join(preset.streams)}]"
        parts.append(
            _stage("train", train, deps, params, "artifacts/train/${item}", "metrics/train/${item}.json", each)
        )
    else:
        videos = values["data"].get("source") == "folder"
        table = ["${data.table}"] if values["data"].get("table") else []
        parts += [
            _stage("data", "hpnet data", ["${data.videos}", *table] if videos else [], "data", "artifacts/data"),
            _stage("detect", "hpnet detect", ["artifacts/data", *weights], "detect, data.max_failed"),
            _stage(
                "estimate",
                "hpnet estimate",
                ["artifacts/data", "artifacts/detect/boxes.parquet", *weights],
                "estimate, detect.persons, data.max_failed",
            ),
            _stage("pool", "hpnet pool", ["artifacts/estimate"], "pool"),
            _stage(
                "train",
                "hpnet train ${key}",
                ["artifacts/data/clips.csv", "artifacts/data/classes.csv", "artifacts/pool", "${item.input}", *weights],
                'train.seed, "train.${item.section}"',
                "artifacts/train/${key}",
                "metrics/train/${key}.json",
                _stream_table(preset.streams),
            ),
        ]
        if variants:
            parts.append(
                _stage(
                    "compare",
                    "hpnet compare ${item}",
                    ["artifacts/data/clips.csv", "artifacts/data/classes.csv", "artifacts/estimate"],
                    "pool.kind, pool.tap, pool.operator, pool.frames, train.seed, train.topology, "
                    '"compare.variants.${item}"',
                    "artifacts/compare/${item}",
                    "metrics/compare/${item}.json",
                    f" [{', '.join(variants)}]",
                )
            )
    scores = [f"artifacts/train/{stream}/scores.parquet" for stream in preset.streams]
    tables = ["artifacts/data/clips.csv", "artifacts/data/classes.csv"]
    reads = "fuse" if preset.poses else "fuse, data.protocol"  # the protocol names the released weights
    parts.append(_stage("fuse", "hpnet fuse", [*tables, *scores], reads))
    if not preset.poses:
        shown = [
            "artifacts/data",
            "artifacts/detect/boxes.parquet",
            "artifacts/estimate",
            "artifacts/pool",
            "artifacts/train",
            *(["artifacts/compare"] if variants else []),
            "artifacts/fuse",
            "code/report.txt",
        ]
        parts.append(_REPORT.format(deps="\n".join(f"      - {dep}" for dep in shown)))
    return "".join(parts)


def _stage(
    name: str, cmd: str, deps: list[str], params: str, out: str = "", metrics: str | None = "", foreach: str = ""
) -> str:
    """One stage; ``metrics`` is None where it writes none, and empty for ``metrics/NAME.json``."""
    pad = "      " if foreach else "    "
    listed, measured = [*deps, f"code/{name}.txt"], f"metrics/{name}.json"
    return _STAGE.format(
        name=name,
        each=f"    foreach:{foreach}\n    do:\n" if foreach else "",
        pad=pad,
        cmd=cmd,
        deps="\n".join(f"{pad}  - {dep}" for dep in listed),
        params=f"{pad}params: [{params}]\n" if params else "",
        out=out or f"artifacts/{name}",
        metrics="" if metrics is None else f"{pad}metrics:\n{pad}  - {metrics or measured}: {{cache: false}}\n",
    )


def _stream_table(streams: tuple[str, ...]) -> str:
    rows = []
    for stream in streams:
        section, reads = ("hpnet", "detect/frames") if stream == "hpnet" else ("topology", "pool/meta.json")
        rows.append(f"\n      {stream}: {{section: {section}, input: artifacts/{reads}}}")
    return "".join(rows)


# --- the rest ---------------------------------------------------------------------------------------------------------

_README = """# {title}

Made by `hpnet init --preset {name}`. Data: {data}.

```console
$ dvc repro                           # {graph}
```
{weights}
Change a value in `params.yaml` and run `dvc repro` again: only what depends on it runs. To compare runs by
`dvc exp run` and `dvc metrics diff`, the folder must be under git:

```console
{git}
```
{predict}
| path | what |
|---|---|
| `params.yaml` | every parameter, with its meaning |
| `dvc.yaml` | the graph; `code/` notices an upgrade of hpnet |
| `artifacts/`, `metrics/` | what each stage made, and its figures |
{report}"""
_PREDICT = """
Afterwards, for any other video, a camera or a stream:

```console
$ hpnet predict clip.mp4 --save annotated.mp4
```
"""
_WEIGHTS = """
Before the first run, get the networks' weights into `weights/` (where the network is closed, the command says which
files to fetch by hand), and see whether everything is there:

```console
$ hpnet weights fetch
$ hpnet doctor
```
"""


_GIT = """$ git init
$ dvc config --unset core.no_scm
$ git add -A
$ git commit -m "A new project\""""


def render_readme(name: str, preset: Preset, values: Values, under_git: bool) -> str:
    """README.md of the project."""
    fetched = bool(values.get("estimate", {}).get("model"))
    return _README.format(
        title=preset.title,
        name=name,
        data=preset.data,
        git="$ git add -A && git commit" if under_git else _GIT,
        graph="import, train, fuse" if preset.poses else "data, detect, estimate, pool, train, fuse, report",
        weights=_WEIGHTS if fetched else "",
        predict="" if preset.poses else _PREDICT,
        report="" if preset.poses else "| `report/index.html` | the page |\n",
    )
