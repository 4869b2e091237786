"""CTR-GCN: Chen et al., "Channel-wise Topology Refinement Graph Convolution for Skeleton-Based Action Recognition",
ICCV 2021.

Equation numbers are that paper's. Axes: P people, C channels, V joints, T frames, S subsets of the graph. Arrays have
the frames last (:mod:`.fused` says why); the modules' weights have the usual order, frames before joints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..core.skeleton import Skeleton, spatial_subsets
from .classifier import PeopleNetwork
from .fused import batch_norm, convolve, graph_convolution, maximum_of_three, pointwise
from .persons import PersonNorm

DILATIONS = (1, 2)
KERNEL = 5


class ChannelTopologyGraphConv(nn.Module):
    """CTR-GC: every channel aggregates joints over a topology of its own, refined for every sample.

    One shared topology A per subset of the graph (self, inward, outward) and the same operations for each, here batched
    over the subsets and summed.

    Args:
        adjacency: (S, V, V); entry [s, i, j] weighs joint j where joint i collects. Learned from this start.
    """

    def __init__(self, in_channels: int, out_channels: int, adjacency: Tensor) -> None:
        super().__init__()
        self.subsets = subsets = adjacency.shape[0]
        reduced = max(8, in_channels // 8)
        self.psi = nn.Conv1d(in_channels, subsets * reduced, 1)
        self.phi = nn.Conv1d(in_channels, subsets * reduced, 1)
        xi_weight = torch.empty(subsets, out_channels, reduced).normal_(std=(2 / out_channels) ** 0.5)
        self.xi_weight = nn.Parameter(xi_weight)
        self.xi_bias = nn.Parameter(torch.zeros(subsets, out_channels, 1))
        self.transform = nn.Conv2d(in_channels, subsets * out_channels, 1)
        self.topology = nn.Parameter(adjacency.clone())
        self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(P, C, V, T) -> (P, C', V, T)."""
        channels = x.shape[1]
        pooled = x.mean(3)  # (P, C, V): correlations are of the whole clip
        psi, phi = (conv(pooled) for conv in (self.psi, self.phi))  # (P, S r, V)
        # Eq. (6): M(psi(x_i), phi(x_j)) = tanh(psi(x_i) - phi(x_j)), here [j, i]
        relation = torch.tanh(psi.unsqueeze(2) - phi.unsqueeze(3))  # (P, S r, V, V)
        relation = torch.unflatten(relation, 1, (self.subsets, -1)).flatten(3)  # (P, S, r, V V)
        # Eq. (5): X~ = X W, the rows of W in the order (C', S), so that a channel's subsets lie together
        weight = self.transform.weight.view(self.subsets, -1, channels).transpose(0, 1).reshape(-1, channels)
        assert self.transform.bias is not None
        bias = self.transform.bias.view(self.subsets, -1).t().reshape(-1)
        # Eq. (8): Q = xi(M); Eq. (9): R = A + alpha Q; Eq. (10): z_c = R_c x~_c for each channel c, summed over subsets
        xi, xi_bias = self.alpha * self.xi_weight, self.alpha * self.xi_bias
        topology = self.topology.transpose(1, 2).flatten(1)  # (S, V V), [j, i]
        return graph_convolution(x, weight, bias, relation, xi, xi_bias, topology)


class SpatialModule(nn.Module):
    """Spatial modelling of a block (Fig. 3): CTR-GC, batch norm and a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, adjacency: Tensor) -> None:
        super().__init__()
        self.graph = ChannelTopologyGraphConv(in_channels, out_channels, adjacency)
        self.norm = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(P, C, V, T) -> (P, C', V, T)."""
        z = batch_norm(self.norm, self.graph(x))
        return torch.relu_(z.add_(normed(self.shortcut, x)))


class TemporalModule(nn.Module):
    """Multi-scale temporal modelling of a block (Fig. 3): four branches of a quarter of the channels each.

    1x1 then a dilated convolution over frames (one branch per dilation), 1x1 then a maximum over 3 frames, and 1x1
    alone. The 1x1 convolutions of the first three branches are one convolution here, with one batch norm; without a
    stride the last branch's is a part of it too.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.width = width = channels // (len(DILATIONS) + 2)
        self.stride = stride
        self.reduced = reduced = (len(DILATIONS) + 1) * width
        self.reduce = nn.Sequential(nn.Conv2d(channels, reduced, 1), nn.BatchNorm2d(reduced), nn.ReLU())
        self.dilated = nn.ModuleList(_temporal_conv(width, width, KERNEL, stride, dilation) for dilation in DILATIONS)
        self.maximum = nn.Sequential(nn.MaxPool2d((3, 1), (stride, 1), (1, 0)), nn.BatchNorm2d(width))
        self.point = _temporal_conv(channels, width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(P, C, V, T) -> (P, C, V, ceil(T / stride))."""
        reduce, norm, _ = self.reduce
        point, point_norm = self.point
        if self.stride == 1:
            weight, bias = (torch.cat([getattr(conv, n) for conv in (reduce, point)]) for n in ("weight", "bias"))
            both = pointwise(x, weight.flatten(1), bias)
            reduced, last = torch.split(both, [self.reduced, self.width], dim=1)
        else:
            reduced, last = convolve(reduce, x), convolve(point, x)
        parts = torch.split(torch.relu_(batch_norm(norm, reduced)), self.width, dim=1)
        branches = [normed(branch, part) for branch, part in zip(self.dilated, parts[:-1], strict=True)]
        branches.append(batch_norm(self.maximum[1], maximum_of_three(parts[-1], self.stride)))
        return torch.cat([*branches, batch_norm(point_norm, last)], dim=1)


class Block(nn.Module):
    """A basic block: spatial module, temporal module, residual connection."""

    def __init__(self, in_channels: int, out_channels: int, adjacency: Tensor, stride: int, residual: bool) -> None:
        super().__init__()
        self.spatial = SpatialModule(in_channels, out_channels, adjacency)
        self.temporal = TemporalModule(out_channels, stride)
        self.residual: nn.Module | None = None
        if residual:
            same = in_channels == out_channels and stride == 1
            self.residual = nn.Identity() if same else _temporal_conv(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(P, C, V, T) -> (P, C', V, ceil(T / stride))."""
        y = self.temporal(self.spatial(x))
        return torch.relu_(y if self.residual is None else y.add_(normed(self.residual, x)))


class CTRGCN(PeopleNetwork):
    """CTR-GCN for clips of up to M people.

    The defaults are the released sizes: ten blocks of 64, 128 and 256 channels, frames halved where the channels
    double. Fewer blocks keep the three widths (see :func:`block_plan`).

    Args:
        base_channels: width of the first blocks, a multiple of 4.
        skeleton: its graph is the start of the learned topologies.
        dropout: probability before the classifier.
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
        super().__init__()
        if base_channels % 4:
            raise ValueError(f"base_channels is {base_channels}, expected a multiple of 4")
        adjacency = torch.from_numpy(spatial_subsets(skeleton))
        self.norm = PersonNorm(num_persons, skeleton.num_joints, in_channels)
        layers, channels = [], in_channels
        for number, (width, stride) in enumerate(block_plan(blocks, base_channels)):
            layers.append(Block(channels, width, adjacency, stride, residual=number > 0))
            channels = width
        self.blocks = nn.Sequential(*layers)
        self.feature_dim = channels
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels, num_classes)
        self._initialise()

    def encode_people(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """(N, C, T, V, M), mask (N, M) or None for all -> (P, D, T', V)."""
        people = self.norm(x, valid).transpose(2, 3)  # (P, C, T, V) -> (P, C, V, T)
        if self.idle(people):
            return people.new_zeros(0, self.feature_dim, 1, people.shape[2])
        encoded: Tensor = self.blocks(people).transpose(2, 3)  # (P, D, V, T') -> (P, D, T', V)
        return encoded

    def _initialise(self) -> None:
        """He initialisation; the graph branch starts near zero, so that a block starts as its shortcut."""
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
            elif isinstance(module, SpatialModule):
                nn.init.constant_(module.norm.weight, 1e-6)
        nn.init.normal_(self.classifier.weight, 0, (2.0 / self.classifier.out_features) ** 0.5)
        nn.init.zeros_(self.classifier.bias)


def block_plan(blocks: int, base_channels: int) -> list[tuple[int, int]]:
    """(channels, stride) of each block: three stages of 1, 2 and 4 times the base, the first the longest.

    10 blocks are the released 4 + 3 + 3; 6 are 2 + 2 + 2; 1 or 2 have only the first width.
    """
    later = blocks // 3
    plan: list[tuple[int, int]] = []
    for stage, count in enumerate((blocks - 2 * later, later, later)):
        plan += [(base_channels * 2**stage, 2 if stage and not i else 1) for i in range(count)]
    return plan


def normed(layer: nn.Module, x: Tensor) -> Tensor:
    """The identity, or a convolution over frames and batch norm, of (P, C, V, T)."""
    if isinstance(layer, nn.Identity):
        return x
    conv, norm = layer.children()
    return batch_norm(norm, convolve(conv, x))


def _temporal_conv(in_channels: int, out_channels: int, kernel: int, stride: int, dilation: int = 1) -> nn.Sequential:
    """Convolution over frames that keeps T (or divides it by the stride, rounding up), then batch norm."""
    padding = dilation * (kernel - 1) // 2
    conv = nn.Conv2d(in_channels, out_channels, (kernel, 1), (stride, 1), (padding, 0), (dilation, 1))
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))
