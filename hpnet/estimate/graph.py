"""A pose network with its taps as a module whose inputs and outputs are plain arrays, to be written as a graph."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ..weights.graph_files import write_graph
from .estimator import PoseEstimator


class PoseGraph(nn.Module):
    """Crops (N, S, h, w, 3) uint8 -> joints, scores, the window of each tap, and vectors where they are read; see
    :meth:`hpnet.estimate.estimator.PoseEstimator.compute`."""

    def __init__(self, estimator: PoseEstimator) -> None:
        super().__init__()
        self.network, self.estimator = estimator.network, estimator
        self.outputs = ("joints", "scores", *estimator.meta.taps, *(("vectors",) if estimator.meta.vectors else ()))

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        joints, scores, windows, vectors = self.estimator.compute(crops)
        return joints, scores, *windows.values(), *(() if vectors is None else (vectors,))


def write_pose_graph(estimator: PoseEstimator, file: Path) -> None:
    """Write a pose network for any number of crops; errors as of :func:`hpnet.weights.graph_files.write_graph`."""
    pose = PoseGraph(estimator)
    width, height = estimator.spec.input_size_px
    crops = torch.zeros(3, len(estimator.widths), height, width, 3, dtype=torch.uint8)
    write_graph(pose, {"crops": crops}, pose.outputs, file, {"crops": {0: "crops"}})
