"""The files of a new project beside dvc.yaml: params.yaml with comments, DVC's settings, .gitignore, README.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from ..core.streams import MULTIMODAL
from ..data.preset import Preset, Values
from ..params import Params

COMMENT_COLUMN = 40
HEADINGS = {
    "data": "the clips",
    "detect": "frames -> boxes, tracks and person frames",
    "estimate": "person boxes -> joints and windows of feature maps",
    "pool": "windows -> features, Eq. (3)",
    "train": "features -> scores, one network per stream",
    "topology": "hpj, hpb, hpjm, hpbm",
    "multimodal": "pooled features + RGB + text",
    "fuse": "scores of all streams -> fused scores",
    "compare": "the joint stream on other features, for the report",
    "events": "untrimmed videos -> who does what from when to when",
    "report": "the report page",
}
MANNEQUIN_ONLY = "mannequins: "
"""Prefix of descriptions of parameters that only the rendered benchmark reads."""
GITIGNORE = """/.work/
/artifacts/
/weights/*
!/weights/README.txt
/code/
/report/index.html
/report/figures/
/report/run/
"""
WEIGHTS = """Networks of this project: `hpnet weights fetch` puts them here, and `hpnet weights list` names them.
Stages of DVC depend on this folder, so a new file here makes them run again.
"""
"""A file in the folder of weights: DVC warns of an empty folder at every stage that depends on it."""
DVCIGNORE = """.work
__pycache__
"""
DVC_CONFIG = """[core]
    analytics = false
    check_update = false
{scm}[cache]
    type = "reflink,hardlink,symlink,copy"
[plots]
    html_template = plots.html
"""
PLOTS_PAGE = Path(__file__).with_name("plots.html")
"""The page of `dvc plots`: DVC's own loads its scripts from the network."""
DVC_GITIGNORE = """/config.local
/tmp
/cache
"""


def render_params(preset: Preset, values: Values, takes: bool = False) -> str:
    """params.yaml: every parameter of the used sections with its value (``values`` or default) and description.

    Args:
        takes: there are untrimmed videos, so section ``events`` is used.
    """
    params = Params.model_validate(values)
    lines = [f"# Parameters of this project ({preset.title})."]
    lines += [
        "# Every value is also an option of its command, such as `hpnet pool --region 3`; unknown names are errors."
    ]
    lines += ["# After a change run `dvc repro`.", ""]
    used = [section for section in Params.model_fields if takes or section != "events"]
    for section in ("train", "fuse", "report") if preset.poses else used:
        lines += [*_section(section, getattr(params, section), 0, params.data.source == "mannequin"), ""]
    if preset.poses:
        skipped = (f"  {MULTIMODAL}:",)
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
    """Remove a nested section: its heading and every line indented below it."""
    first = next(n for n, line in enumerate(lines) if line.startswith(start))
    depth = len(start) - len(start.lstrip())
    last = first + 1
    while last < len(lines) and lines[last].strip() and len(lines[last]) - len(lines[last].lstrip()) > depth:
        last += 1
    return lines[:first] + lines[last:]


_README = """# {title}

Made by `hpnet init --preset {made_by}`. Data: {data}.

```console
$ dvc repro                           # {graph}
```
{weights}
Change a value in `params.yaml` and run `dvc repro` again: only stages that depend on it run. To compare runs with
`dvc exp run` and `dvc metrics diff`, the folder must be under git:

```console
{git}
```
{predict}
| path | what |
|---|---|
| `params.yaml` | every parameter, with its meaning |
| `dvc.yaml` | the graph; `code/` has digests of hpnet's code, so that an upgrade is noticed |
| `artifacts/`, `metrics/` | the outputs of each stage, and its metrics |
{report}"""
_PREDICT = """
Afterwards, predict on any other video, a camera or a stream:

```console
$ hpnet predict clip.mp4 --save annotated.mp4
```
"""
_WEIGHTS = """
Before the first run, download the networks' weights into `weights/` and check that everything is there. Without a
connection, the command says which files to download by hand:

```console
$ hpnet weights fetch
$ hpnet doctor
```
"""


_GIT = """$ git init
$ dvc config --unset core.no_scm
$ git add -A
$ git commit -m "A new project\""""


def render_readme(made_by: str, preset: Preset, values: Values, under_git: bool) -> str:
    """README.md of the project; ``made_by``: the preset, and the recipe if one was chosen."""
    fetched = bool(values.get("estimate", {}).get("model"))
    return _README.format(
        title=preset.title,
        made_by=made_by,
        data=preset.data,
        git="$ git add -A && git commit" if under_git else _GIT,
        graph="import, train, fuse" if preset.poses else "data, detect, estimate, pool, train, fuse, report",
        weights=_WEIGHTS if fetched else "",
        predict="" if preset.poses else _PREDICT,
        report="" if preset.poses else "| `report/index.html` | the page |\n",
    )
