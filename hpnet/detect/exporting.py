"""A detector whose network is written as a graph once and run by something else than torch; the graph is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..weights.graphs import device_for, open_graph
from ..weights.kept_graphs import kept_graph
from ..work.identity import Code
from .detector import Detector, weights_digest
from .exported import Kind, build_exported
from .families import parse_model
from .params import DetectParams


def build_for(params: DetectParams, device: str, precision: str, graphs: Path) -> Detector:
    """The detector of section ``detect`` as a graph; see :func:`hpnet.detect.detector.open_detector`."""
    device_for(params.backend, device)
    family, _ = parse_model(params.model)
    code = Code("hpnet.detect.graph", (family,)).digest()
    key = {"detect": params.model, "weights": weights_digest(params.model), "code": code}

    def write(file: Path) -> dict[str, Any]:
        from .graph import has_graph, write_detector_graph

        assert has_graph(params)  # asked for where a detector runs
        kind, person = write_detector_graph(params, file)
        return {"kind": kind, "person": person}

    file, card = kept_graph(graphs, key, write)
    kind: Kind = "yolo" if card["kind"] == "yolo" else "movenet"
    return build_exported(open_graph(file, params.backend, precision), kind, int(card["person"]), params)
