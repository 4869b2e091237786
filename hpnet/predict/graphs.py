"""The networks of a trained project as modules whose inputs and outputs are plain arrays, to be written as graphs."""

from __future__ import annotations

import importlib
from typing import Any

from torch import Tensor, nn

from ..detect.families import parse_model
from ..detect.params import DetectParams
from ..estimate.estimator import PoseEstimator
from ..models.linear import Linear
from ..train.topology import TopologyModel


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


class StreamGraph(nn.Module):
    """Features (N, C, T, V, M) and people (N, M) -> :data:`hpnet.predict.bundle.OUTPUTS`."""

    def __init__(self, model: TopologyModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, network = self.model.prepare(features, valid), self.model.network
        return self.model(features, valid), embedding(network, x, valid), network.forward_features(x, valid)  # type: ignore[operator]


def embedding(network: Any, x: Tensor, valid: Tensor) -> Tensor:
    """What taught actions are told apart by, (N, D): a linear network's standardised statistics, else the inputs of the
    classifier.

    Args:
        x: (N, C, T, V, M), prepared for the network.
        valid: (N, M).
    """
    if isinstance(network, Linear):
        return network.standardised(*network.statistics(x, valid))
    found: Tensor = network.forward_features(x, valid)
    return found


def detector_graph(params: DetectParams) -> tuple[nn.Module, str, int] | None:
    """The detector's network, its kind and the number of its class person; None where it is switched off.

    Raises:
        ValueError: detectors of this family cannot be in a bundle.
    """
    if not params.enabled:
        return None
    module, source = parse_model(params.model)
    family: Any = importlib.import_module(module)
    if not hasattr(family, "graph"):
        raise ValueError(
            f"detect.model: {params.model} cannot be in a bundle: use movenet-multipose, mannequin-yolo or a YOLO"
        )
    found: tuple[nn.Module, str, int] = family.graph(source)
    return found
