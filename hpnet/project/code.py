"""The identity of the code of every stage, for the stage ``code`` and for ``hpnet ablate``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from ..core.choices import require
from ..core.streams import MULTIMODAL
from ..data.sets import SETS
from ..data.sources import IMPORTS
from ..params import Params
from ..work.identity import Code
from . import dvc_yaml
from .graph import Kind, graph

COMPARE = "hpnet.train.compare"
IMPORT = "import"
"""Only for projects with imported poses; it is written if it is named."""
EVERY_STAGE = (Kind(variants=("one",), takes=True), Kind(poses="hpnet import"))
"""Graphs that together have every stage."""


def codes(params: Params) -> dict[str, Code]:
    """Name of a code file -> the code that it identifies, for these parameters.

    This is ``code()`` of the stage's parameter section, with the defaults of parameters of other sections that the
    stage also reads.
    """
    topology = params.train.topology.code()
    pool = params.pool.code()
    own = {
        "data": params.data.code(),
        "detect": params.detect.code(),
        "estimate": params.estimate.code(),
        "pool": pool,
        "train-topology": topology,
        f"train-{MULTIMODAL}": params.train.multimodal.code(),
        "compare": Code(COMPARE, (*pool.chosen, *topology.chosen), topology.packaged, pool.defaults),
        "fuse": params.fuse.code(),
        "events": params.events.code(),
        "report": params.report.code(),
        IMPORT: Code("hpnet.data.feature_folder", _importing(), ("data/sets/*.csv", "data/sets/*.txt")),
    }
    defaults = Params().model_dump(mode="json")
    return {
        name: replace(code, defaults={**code.defaults, **{read: dvc_yaml.lookup(defaults, read) for read in reads}})
        for (name, code), reads in ((item, _read_by(item[0])) for item in own.items())
    }


def _importing() -> tuple[str, ...]:
    """The modules of ``hpnet import`` for poses and features; no parameter says which of them runs."""
    published = (module for module in SETS.values() if module not in (SETS["mannequin-xsub"], SETS["folder"]))
    return tuple(dict.fromkeys((*IMPORTS.values(), *published)))


@cache
def _read_by(code: str) -> tuple[str, ...]:
    """Parameters of the stages with this code, without parameters that depend on the project (a variant)."""
    stages = (stage for kind in EVERY_STAGE for stage in graph(kind).each().values() if stage.code == code)
    names = {name for stage in stages for name in stage.params if not name.startswith("compare.variants.")}
    return tuple(sorted(names))


def digests(params: Params, names: Iterable[str] = ()) -> dict[str, str]:
    """Name of a code file -> identity of the code under these parameters; all except ``import`` if none is named.

    Raises:
        ValueError: an unknown name; lists the choices.
    """
    known = codes(params)
    wanted = tuple(names) or tuple(name for name in known if name != IMPORT)
    for name in wanted:
        require(known, name, "code of")
    return {name: known[name].digest() for name in wanted}


def content(digest: str) -> str:
    """Content of a code file."""
    return f"{digest}\n"


def write_digests(folder: Path, found: Mapping[str, str]) -> None:
    """Write ``folder/NAME.txt`` for every name of :func:`digests`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, digest in found.items():
        (folder / f"{name}.txt").write_text(content(digest), encoding="utf-8")
