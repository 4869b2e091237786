"""The streams of a trained project as modules whose inputs and outputs are plain arrays, to be written as graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ..models.linear import Linear
from ..train.topology import TopologyModel

if TYPE_CHECKING:
    from ..models.multimodal import HPNet


class StreamGraph(nn.Module):
    """Features (N, C, T, V, M) and people (N, M) -> :data:`hpnet.predict.bundle.OUTPUTS`."""

    def __init__(self, model: TopologyModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, network = self.model.prepare(features, valid), self.model.network
        return self.model(features, valid), embedding(network, x, valid), network.forward_features(x, valid)  # type: ignore[operator]


class MultimodalGraph(nn.Module):
    """Features (N, C, T, V, M), people (N, M) and their frames (N, F, 3, S, S) -> logits (N, K)."""

    def __init__(self, model: HPNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, valid: Tensor, frames: Tensor) -> Tensor:
        logits: Tensor = self.model(features, valid, frames)["logits"]
        return logits


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
