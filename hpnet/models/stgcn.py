"""ST-GCN: Yan, Xiong and Lin, "Spatial Temporal Graph Convolutional Networks for Skeleton-Based Action Recognition",
AAAI 2018.

Equation numbers are that paper's. Axes: P people, C channels, T frames, V joints, S subsets of the graph.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..core.skeleton import Skeleton, spatial_subsets
from .classifier import PersonClassifier, initialise
from .ctrgcn import block_plan

KERNEL = 9


class SpatialGraphConv(nn.Module):
    """Eq. (10) with the learned edge importance: f_out = sum_s (A_s * M_s) f_in W_s.

    Args:
        adjacency: (S, V, V), the subsets of Eq. (8), normalised; fixed.
    """

    adjacency: Tensor

    def __init__(self, in_channels: int, out_channels: int, adjacency: Tensor) -> None:
        super().__init__()
        self.register_buffer("adjacency", adjacency, persistent=False)
        self.importance = nn.Parameter(torch.ones_like(adjacency))
        self.weight = nn.Conv2d(in_channels, len(adjacency) * out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(P, C, T, V) -> (P, C', T, V)."""
        graph = self.adjacency * self.importance  # (S, V, V)
        values = torch.unflatten(self.weight(x), 1, (len(graph), -1)).flatten(
            2, 3
        )  # (P, S, C', T, V) -> (P, S, C' T, V)
        # (P, S, C' T, V) @ (S, V, V) -> (P, S, C' T, V) -> (P, C' T, V) -> (P, C', T, V)
        return torch.unflatten((values @ graph.transpose(1, 2)).sum(1), 1, (-1, x.shape[2]))


class Unit(nn.Module):
    """An ST-GCN unit: graph convolution, convolution over frames (Eq. 6 and 7), dropout, residual connection."""

    def __init__(
        self, in_channels: int, out_channels: int, adjacency: Tensor, stride: int, residual: bool, dropout: float
    ) -> None:
        super().__init__()
        self.spatial = nn.Sequential(
            SpatialGraphConv(in_channels, out_channels, adjacency), nn.BatchNorm2d(out_channels), nn.ReLU()
        )
        padding = (KERNEL // 2, 0)
        self.temporal = nn.Sequential(
            nn.Conv2d(out_channels, out_channels, (KERNEL, 1), (stride, 1), padding, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.Dropout(dropout),
        )
        self.residual: nn.Module | None = None
        if residual and in_channels == out_channels and stride == 1:
            self.residual = nn.Identity()
        elif residual:
            self.residual = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, (stride, 1), bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(P, C, T, V) -> (P, C', ceil(T / stride), V)."""
        y = self.temporal(self.spatial(x))
        return torch.relu(y if self.residual is None else y + self.residual(x))


class STGCN(PersonClassifier):
    """ST-GCN for clips of up to M people; the arguments are those of ``CTRGCN``.

    Ten units of 64, 128 and 256 channels are the released network (3.1 M parameters at 25 joints, 60 classes); the
    paper's text counts nine (``blocks=9``).

    Args:
        dropout: probability in every unit, as in the paper (there 0.5).
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        num_persons: int,
        skeleton: Skeleton,
        base_channels: int = 64,
        blocks: int = 10,
        dropout: float = 0.0,
    ) -> None:
        plan = block_plan(blocks, base_channels)
        super().__init__(
            in_channels=in_channels,
            num_classes=num_classes,
            num_persons=num_persons,
            num_joints=skeleton.num_joints,
            feature_dim=plan[-1][0],
        )
        adjacency = torch.from_numpy(spatial_subsets(skeleton))
        units, channels = [], in_channels
        for number, (width, stride) in enumerate(plan):
            units.append(Unit(channels, width, adjacency, stride, number > 0, dropout))
            channels = width
        self.units = nn.Sequential(*units)
        initialise(self)

    def encode(self, people: Tensor) -> Tensor:
        """(P, C, T, V) -> (P, D, T', V)."""
        encoded: Tensor = self.units(people)
        return encoded
