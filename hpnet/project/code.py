"""The identity of the code of every stage: what the stage ``code`` writes and ``hpnet ablate`` plans with."""

from __future__ import annotations

from pathlib import Path

from ..core.streams import MULTIMODAL
from ..params import Params
from ..work.identity import Code

IMPORT = "hpnet.data.importers"


def codes(params: Params) -> dict[str, Code]:
    """Name of a code file -> what it stands for, under these parameters."""
    topology = params.train.topology.code()
    return {
        "data": params.data.code(),
        "detect": params.detect.code(),
        "estimate": params.estimate.code(),
        "pool": params.pool.code(),
        "train-topology": topology,
        f"train-{MULTIMODAL}": params.train.hpnet.code(),
        "compare": Code("hpnet.train.compare", topology.chosen, topology.packaged, topology.defaults),
        "fuse": params.fuse.code(),
        "report": params.report.code(),
        "import": Code("hpnet.data.importers"),
    }


def write_digests(folder: Path, params: Params, names: tuple[str, ...] = ()) -> dict[str, str]:
    """Write ``folder/NAME.txt`` for every stage, or for those that are named; returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    known = codes(params)
    found = {name: known[name].digest() for name in names or known}
    for name, digest in found.items():
        (folder / f"{name}.txt").write_text(f"{digest}\n", encoding="utf-8")
    return found
