"""A detector's network, to be written as a graph."""

from __future__ import annotations

import importlib
from pathlib import Path

import torch
from torch import nn

from ..weights.graph_files import write_graph
from .families import parse_model
from .params import DetectParams


def has_graph(params: DetectParams) -> bool:
    """Whether a detector runs; of a family without graphs it is refused.

    Raises:
        ValueError: detectors of this family cannot be written as graphs.
    """
    if not params.enabled:
        return False
    module, _ = parse_model(params.model)
    if not hasattr(importlib.import_module(module), "graph"):
        raise ValueError(
            f"detect.model: {params.model} runs in torch alone and cannot be in a bundle: use movenet-multipose, "
            "mannequin-yolo or a YOLO"
        )
    return True


def write_detector_graph(params: DetectParams, file: Path) -> tuple[str, int]:
    """Write the network of a detector for any size of frames.

    Returns:
        Its kind (:data:`hpnet.detect.exported.Kind`), and the number of its class person.

    Raises:
        ModuleNotFoundError: see :func:`hpnet.weights.graph_files.write_graph`.
    """
    module, source = parse_model(params.model)
    made: tuple[nn.Module, str, int] = importlib.import_module(module).graph(source)
    network, kind, person = made
    frames = torch.zeros(1 if kind == "movenet" else 2, 192, 256, 3, dtype=torch.uint8)
    free = {1: "height", 2: "width"} | ({} if kind == "movenet" else {0: "frames"})
    outputs = ("boxes", "scores") if kind == "movenet" else ("predictions",)
    write_graph(network, {"frames": frames}, outputs, file, {"frames": free})
    return kind, person
