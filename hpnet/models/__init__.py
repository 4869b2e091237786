"""The networks. Topology networks are built by name with :func:`build`; a new one is a class and a line in the dict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from torch import Tensor

from ..core.skeleton import Skeleton, of_joints
from .ctrgcn import CTRGCN
from .gcn import GCN
from .heatmaps import HeatmapEvolution, HeatmapVolume, KeypointClassifier
from .mixformer import MixFormer
from .stgcn import STGCN
from .tdgcn import TDGCN
from .transformer import Transformer

__all__ = [
    "CTRGCN", "GCN", "HEATMAP_NETWORKS", "HeatmapEvolution", "HeatmapVolume", "MixFormer", "Network", "STGCN", "TDGCN",
    "TOPOLOGY_NETWORKS", "TopologyNetwork", "Transformer", "build", "require_network",
]  # fmt: skip

Network: TypeAlias = CTRGCN | GCN | MixFormer | STGCN | TDGCN | Transformer | KeypointClassifier


class TopologyNetwork(Protocol):
    """What every topology network offers: ``forward`` to logits and ``forward_features`` to (N, ``feature_dim``).

    Those of :data:`TOPOLOGY_NETWORKS` have ``forward_joints`` too (:class:`hpnet.models.classifier.PeopleNetwork`).
    """

    feature_dim: int

    def forward_features(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(N, C, T, V, M), mask (N, M) or None -> (N, feature_dim)."""
        ...

    def __call__(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(N, C, T, V, M), mask (N, M) or None -> logits (N, K)."""
        ...


TOPOLOGY_NETWORKS: dict[str, Callable[..., Network]] = {
    "ctrgcn": CTRGCN,
    "gcn": GCN,
    "mixformer": MixFormer,
    "stgcn": STGCN,
    "tdgcn": TDGCN,
    "transformer": Transformer,
}
"""Networks for any features of joints."""

HEATMAP_NETWORKS: dict[str, Callable[..., Network]] = {
    "heatmap_volume": HeatmapVolume,
    "heatmap_evolution": HeatmapEvolution,
}
"""Networks that draw heatmaps of 2-D keypoints (x, y, score): Table X's baselines."""


def require_network(name: str) -> None:
    """Refuse a name that :func:`build` does not know.

    Raises:
        ValueError: lists the choices.
    """
    choices = [*TOPOLOGY_NETWORKS, *HEATMAP_NETWORKS]
    if name not in choices:
        raise ValueError(f"unknown topology network {name!r}: choose from {', '.join(choices)}")


def build(
    name: str,
    *,
    in_channels: int,
    num_classes: int,
    num_joints: int,
    num_persons: int,
    skeleton: Skeleton | None = None,
    base_channels: int = 64,
    blocks: int = 10,
    dropout: float = 0.0,
) -> Network:
    """A topology network for (N, ``in_channels``, T, ``num_joints``, ``num_persons``) clips, with new weights.

    Args:
        skeleton: the graph; None: :func:`hpnet.core.skeleton.of_joints` of ``num_joints``.

    Raises:
        ValueError: unknown name (lists the choices), a skeleton of another number of joints, or a size out of range.
    """
    require_network(name)
    if num_joints < 1:
        raise ValueError(f"num_joints is {num_joints}, expected at least 1")
    skeleton = of_joints(num_joints) if skeleton is None else skeleton
    if skeleton.num_joints != num_joints:
        raise ValueError(
            f"skeleton {skeleton.name!r} has {skeleton.num_joints} joints, the features {num_joints}: "
            f"set graph.skeleton to 'model'"
        )
    sizes = {"in_channels": in_channels, "num_classes": num_classes, "num_persons": num_persons, "blocks": blocks}
    for size, value in sizes.items():
        if value < 1:
            raise ValueError(f"{size} is {value}, expected at least 1")
    return {**TOPOLOGY_NETWORKS, **HEATMAP_NETWORKS}[name](
        in_channels=in_channels,
        num_classes=num_classes,
        num_persons=num_persons,
        skeleton=skeleton,
        base_channels=base_channels,
        blocks=blocks,
        dropout=dropout,
    )
