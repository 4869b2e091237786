"""The plain graph convolution of HP-Net's Eq. (4), in blocks with a convolution over frames.

F^{l+1} = sigma(D^-1/2 A D^-1/2 F^l W^l), with batch norm before sigma (Kipf and Welling, ICLR 2017); over frames as in
ST-GCN (Yan et al., AAAI 2018). Small and quick; CTR-GCN is the stronger network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..core.skeleton import Skeleton, adjacency
from .classifier import PeopleNetwork
from .ctrgcn import block_plan
from .persons import PersonNorm

TEMPORAL_KERNEL = 5


class GraphConv(nn.Module):
    """Eq. (4): every joint takes the normalised mean of itself and its neighbours, then a learned map and ReLU."""

    graph: Tensor

    def __init__(self, in_channels: int, out_channels: int, graph: Tensor) -> None:
        super().__init__()
        self.register_buffer("graph", graph, persistent=False)
        self.weight = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(P, C, T, V) -> (P, C', T, V)."""
        # (P, C', T, V) @ (V, V), symmetric -> (P, C', T, V)
        return torch.relu(self.norm(self.weight(x) @ self.graph))


class Block(nn.Module):
    """Eq. (4), a convolution over frames, and a shortcut where the shape stays."""

    def __init__(self, in_channels: int, out_channels: int, graph: Tensor, stride: int) -> None:
        super().__init__()
        self.spatial = GraphConv(in_channels, out_channels, graph)
        padding = TEMPORAL_KERNEL // 2
        self.temporal = nn.Conv2d(
            out_channels, out_channels, (TEMPORAL_KERNEL, 1), (stride, 1), (padding, 0), bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels)
        self.same = in_channels == out_channels and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """(P, C, T, V) -> (P, C', ceil(T / stride), V)."""
        y = self.norm(self.temporal(self.spatial(x)))
        return torch.relu(y + x if self.same else y)


class GCN(PeopleNetwork):
    """Eq. (4) for clips of up to M people; the arguments and the two ``forward`` methods are those of ``CTRGCN``."""

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
        super().__init__()
        graph = torch.from_numpy(adjacency(skeleton))
        self.norm = PersonNorm(num_persons, skeleton.num_joints, in_channels)
        layers, channels = [], in_channels
        for width, stride in block_plan(blocks, base_channels):
            layers.append(Block(channels, width, graph, stride))
            channels = width
        self.blocks = nn.Sequential(*layers)
        self.feature_dim = channels
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels, num_classes)

    def encode_people(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """(N, C, T, V, M), mask (N, M) or None for all -> (P, D, T', V)."""
        people = self.norm(x, valid).contiguous()  # (P, C, T, V)
        if self.idle(people):
            return people.new_zeros(0, self.feature_dim, 1, people.shape[3])
        encoded: Tensor = self.blocks(people)
        return encoded
