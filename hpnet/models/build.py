"""Topology networks by name."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from ..core.choices import entry, load
from ..core.skeleton import Skeleton, of_joints
from . import FITTED_NETWORKS, HEATMAP_NETWORKS, TOPOLOGY_NETWORKS


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


def require_network(name: str) -> None:
    """Refuse a name that is no network of a topology stream.

    Raises:
        ValueError: lists the choices.
    """
    entry({**TOPOLOGY_NETWORKS, **HEATMAP_NETWORKS, **FITTED_NETWORKS}, name, "topology network")


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
) -> nn.Module:
    """A topology network for (N, ``in_channels``, T, ``num_joints``, ``num_persons``) clips, with new weights.

    Args:
        skeleton: the graph; None: :func:`hpnet.core.skeleton.of_joints` of ``num_joints``.

    Raises:
        ValueError: unknown name (lists the choices), one that is not trained by steps, a skeleton of another number of
            joints, or a size out of range.
    """
    if name in FITTED_NETWORKS:
        raise ValueError(
            f"graph.model {name!r} is fitted as a whole, expected a network that is trained by steps: choose from "
            f"{', '.join(TOPOLOGY_NETWORKS)}"
        )
    network = load({**TOPOLOGY_NETWORKS, **HEATMAP_NETWORKS}, name, "topology network")
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
    built: nn.Module = network(
        in_channels=in_channels,
        num_classes=num_classes,
        num_persons=num_persons,
        skeleton=skeleton,
        base_channels=base_channels,
        blocks=blocks,
        dropout=dropout,
    )
    return built
