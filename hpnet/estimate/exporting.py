"""A pose network written as a graph once and run by something else than torch; the graph is kept."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..artifacts.calibration import CalibrationCrops
from ..artifacts.poses import PoseMeta
from ..weights.graphs import device_for, open_graph
from ..weights.kept_graphs import kept_graph
from ..weights.places import digest
from ..weights.quantising import METHOD, quantise
from ..work.identity import Code
from . import networks
from .backends import ON_DEVICE, Running
from .exported import BATCH, ExportedEstimator
from .params import EstimateParams

NOT_IN_A_GRAPH = ("weights", "backend", "int8", "frames", "box_scale", "parity")
"""Parameters that do not change the graph; weights count by their digest."""


def open_estimator(params: EstimateParams, running: Running) -> ExportedEstimator:
    """The pose network of section ``estimate`` as a graph; see :func:`hpnet.estimate.backends.open_estimator`."""
    device_for(params.backend, running.device)
    if running.compiled:
        raise ValueError(f"--compile is of the backend torch, not of {params.backend}")
    if running.on_device != ON_DEVICE[0]:
        raise ValueError(f"--on-device {running.on_device} is of the backend torch, not of {params.backend}")
    if params.parity != "none":
        raise ValueError(f"estimate.parity {params.parity!r} is computed by torch: set estimate.backend to torch")
    key = _key(params)
    file, card = kept_graph(running.graphs, key, functools.partial(_write, params))
    if params.int8 is not None:
        if not Path(params.int8).is_file():
            raise FileNotFoundError(f"estimate.int8: {params.int8} is missing: `hpnet weights calibrate` writes it")
        crops = CalibrationCrops.load(Path(params.int8)).for_network(params.model, card["shape"], params.int8)
        key |= {"int8": digest(params.int8), "method": METHOD}
        file, _ = kept_graph(running.graphs, key, functools.partial(_write_int8, file, crops, card))
    graph = open_graph(file, params.backend, running.precision)
    return ExportedEstimator(graph, params, card["widths"], PoseMeta.from_json(card["poses"]), running.batch or BATCH)


def _key(params: EstimateParams) -> dict[str, Any]:
    spec = params.spec()
    code = Code("hpnet.estimate.graph", (spec.family,), defaults={"network": spec.deciding()})
    return {
        "estimate": params.model_dump(mode="json", exclude=set(NOT_IN_A_GRAPH)),
        "weights": digest(networks.weights_file(spec, params.weights)),
        "code": code.digest(),
    }


def _write(params: EstimateParams, file: Path) -> dict[str, Any]:
    """Write the graph of a pose network; returns its card: ``poses``, ``widths``, and ``shape`` of a crop."""
    from .estimator import PoseEstimator
    from .graph import write_pose_graph

    made = PoseEstimator(params, "cpu", batch_size=1)
    write_pose_graph(made, file)
    width, height = made.spec.input_size_px
    return {"poses": made.meta.to_json(), "widths": made.widths, "shape": (len(made.widths), height, width, 3)}


def _write_int8(source: Path, crops: NDArray[np.uint8], card: dict[str, Any], file: Path) -> dict[str, Any]:
    quantise(source, crops, file)
    return card
