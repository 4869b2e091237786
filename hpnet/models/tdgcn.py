"""TD-GCN: Liu, Wang, Wang, Gao and Liu, "Temporal Decoupling Graph Convolutional Network for Skeleton-Based Gesture
Recognition", IEEE Transactions on Multimedia 2024.

A graph of its own for every channel, as in CTR-GCN, and one for every frame beside it. Blocks, temporal modules and
widths are CTR-GCN's, frames last as there. Axes: P people, C channels, V joints, T frames, S subsets of the graph.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..core.skeleton import Skeleton, spatial_subsets
from .classifier import PersonClassifier, initialise
from .ctrgcn import TemporalModule, block_plan, normed
from .fused import batch_norm, pointwise


class TemporalDecouplingGraphConv(nn.Module):
    """The three steps of a TD-GC layer, here batched over the subsets of the graph and summed.

    1. High-level features X~ = X W.
    2. A channel-dependent graph, R = A + alpha xi(tanh(phi(x_i) - phi(x_j))) of the clip's mean features, and a
       temporal-dependent graph, F_t = tanh(m_t,i - m_t,j) of the mean m over the channels of X~ in frame t.
    3. Fusion: Z = beta R X~ + gamma F X~.

    Args:
        adjacency: (S, V, V); entry [s, i, j] weighs joint j where joint i collects. Learned from this start.
    """

    def __init__(self, in_channels: int, out_channels: int, adjacency: Tensor) -> None:
        super().__init__()
        self.subsets = subsets = len(adjacency)
        reduced = max(8, in_channels // 8)
        self.transform = nn.Conv2d(in_channels, subsets * out_channels, 1)
        self.phi = nn.Conv1d(in_channels, subsets * reduced, 1, bias=False)  # a bias would cancel in the difference
        xi_weight = torch.empty(subsets, out_channels, reduced).normal_(std=(2 / out_channels) ** 0.5)
        self.xi_weight = nn.Parameter(xi_weight)
        self.xi_bias = nn.Parameter(torch.zeros(subsets, out_channels, 1))
        self.topology = nn.Parameter(adjacency.clone())
        self.alpha = nn.Parameter(torch.zeros(1))
        self.beta = nn.Parameter(torch.tensor(0.5))
        self.gamma = nn.Parameter(torch.tensor(0.1))
        nn.init.kaiming_normal_(self.phi.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """(P, C, V, T) -> (P, C', V, T)."""
        joints = x.shape[2]
        # Step 1
        values = pointwise(x, self.transform.weight.flatten(1), self.transform.bias)
        values = torch.unflatten(values, 1, (self.subsets, -1))  # (P, S, C', V, T)
        # Step 2, for every channel
        mapped = self.phi(x.mean(3))  # (P, S r, V)
        relation = torch.tanh(mapped.unsqueeze(3) - mapped.unsqueeze(2))  # (P, S r, V, V)
        relation = torch.unflatten(relation, 1, (self.subsets, -1)).flatten(3)  # (P, S, r, V V)
        # (S, C', r) @ (P, S, r, V V) -> (P, S, C', V V)
        prior = self.topology.flatten(1).unsqueeze(1) + self.alpha * self.xi_bias  # (S, C', V V)
        channel_graph = torch.unflatten((self.alpha * self.xi_weight) @ relation + prior, 3, (joints, joints))
        # Step 2, for every frame
        mean = values.mean(2).transpose(2, 3)  # (P, S, V, T) -> (P, S, T, V)
        frame_graph = torch.tanh(mean.unsqueeze(4) - mean.unsqueeze(3))  # (P, S, T, V, V)
        # Step 3: (P, S, C', V, V) @ (P, S, C', V, T), and frame by frame
        # (P, S, T, V, V) @ (P, S, T, V, C') -> (P, S, T, V, C') -> (P, C', V, T)
        by_channel = (channel_graph @ values).sum(1)  # (P, C', V, T)
        by_frame = (frame_graph @ values.permute(0, 1, 4, 3, 2)).sum(1).permute(0, 3, 2, 1)
        return self.beta * by_channel + self.gamma * by_frame


class Block(nn.Module):
    """TD-GC with its shortcut, the temporal module, residual connection."""

    def __init__(self, in_channels: int, out_channels: int, adjacency: Tensor, stride: int, residual: bool) -> None:
        super().__init__()
        self.graph = TemporalDecouplingGraphConv(in_channels, out_channels, adjacency)
        self.norm = nn.BatchNorm2d(out_channels)
        self.shortcut = _match(in_channels, out_channels, 1)
        self.temporal = TemporalModule(out_channels, stride)
        self.residual = _match(in_channels, out_channels, stride) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        """(P, C, V, T) -> (P, C', V, ceil(T / stride))."""
        y = torch.relu(batch_norm(self.norm, self.graph(x)) + normed(self.shortcut, x))
        y = self.temporal(y)
        return torch.relu(y if self.residual is None else y + normed(self.residual, x))


class TDGCN(PersonClassifier):
    """TD-GCN for clips of up to M people; the arguments are those of ``CTRGCN``."""

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
        if base_channels % 4:
            raise ValueError(f"base_channels is {base_channels}, expected a multiple of 4")
        plan = block_plan(blocks, base_channels)
        super().__init__(
            in_channels=in_channels,
            num_classes=num_classes,
            num_persons=num_persons,
            num_joints=skeleton.num_joints,
            feature_dim=plan[-1][0],
            dropout=dropout,
        )
        adjacency = torch.from_numpy(spatial_subsets(skeleton))
        layers, channels = [], in_channels
        for number, (width, stride) in enumerate(plan):
            layers.append(Block(channels, width, adjacency, stride, residual=number > 0))
            channels = width
        self.blocks = nn.Sequential(*layers)
        initialise(self)
        for layer in layers:  # the graph branch starts near zero, so that a block starts as its shortcut
            nn.init.constant_(layer.norm.weight, 1e-6)

    def encode(self, people: Tensor) -> Tensor:
        """(P, C, T, V) -> (P, D, T', V)."""
        # (P, C, T, V) -> (P, C, V, T) -> (P, D, V, T') -> (P, D, T', V)
        encoded: Tensor = self.blocks(people.transpose(2, 3).contiguous()).transpose(2, 3)
        return encoded


def _match(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The identity, or a 1x1 convolution where the shape changes."""
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    conv = nn.Conv2d(in_channels, out_channels, 1, (stride, 1), bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))
