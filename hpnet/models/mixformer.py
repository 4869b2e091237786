"""Skeleton MixFormer: Xin, Miao, Liu, Liu, Pun and Shi, "Skeleton MixFormer: Multivariate Topology Representation for
Skeleton-based Action Recognition", ACM MM 2023.

Modules carry the paper's names. Axes: P people, C channels, T frames, V joints, S subsets of the graph, G groups of
channels. Three things differ on purpose: attention is over the joints that a joint collects from (the rows of a softmax
sum to one), channels with the same learned graph stand together, and the learned maps over frames, of one length in the
release, are resampled to any length.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.skeleton import Skeleton, spatial_subsets
from .classifier import PersonClassifier, initialise
from .ctrgcn import block_plan

GROUPS = 4
"""Channel groups of the mix-attention."""
GRAPHS = 2 * GROUPS
"""Channel groups with a learned graph each."""
FRAMES = 64
"""Length of a clip for which the temporal transformer's maps are learned; halved with the frames."""
DILATIONS = (1, 2)
KERNEL = 5
BRANCHES = len(DILATIONS) + 3


class SpatialMixFormer(nn.Module):
    """Channel groups with attention among joints, mixed with the neighbouring group's; then channel reforming.

    Args:
        adjacency: (S, V, V); the fixed graph, and the start of the learned ones.
    """

    adjacency: Tensor

    def __init__(self, in_channels: int, out_channels: int, adjacency: Tensor) -> None:
        super().__init__()
        subsets, joints, _ = adjacency.shape
        self.subsets = subsets
        self.register_buffer("adjacency", adjacency, persistent=False)
        self.learned = nn.Parameter(adjacency[:, None].repeat(1, GRAPHS, 1, 1))  # (S, 2 G, V, V)
        self.transform = nn.Conv2d(in_channels, subsets * out_channels, 1)
        self.within = nn.Linear(joints, joints)
        self.between = nn.Linear(joints, joints)
        self.reform = nn.Conv1d(1, 1, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.shortcut = _match(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(P, C, T, V) -> (P, C', T, V)."""
        # (P, S C', T, V) -> (P, S, 2 G, C' / 2 G, T, V) -> (P, S, 2 G, C' / 2 G T, V)
        values = torch.unflatten(self.transform(x), 1, (self.subsets, GRAPHS, -1)).flatten(3, 4)
        # half of a group's channels is its query, the other half its key
        pooled = torch.unflatten(values.mean(3), 2, (GROUPS, 2))  # (P, S, G, 2, V)
        graph = 0.5 * self.mix_attention(pooled).repeat_interleave(2, dim=2)  # (P, S, 2 G, V, V)
        graph = graph + self.adjacency[:, None] + self.learned
        # (P, S, 2 G, C' / 2 G T, V) @ (P, S, 2 G, V, V) -> the same, summed over the subsets -> (P, C', T, V)
        y = torch.unflatten((values @ graph.transpose(3, 4)).sum(1), 2, (-1, x.shape[2])).flatten(1, 2)
        # channel reforming: y + y sigmoid(conv over channels of the mean)
        weight = self.reform(y.mean((2, 3)).unsqueeze(1)).squeeze(1)  # (P, C')
        y = y * (1 + torch.sigmoid(weight))[:, :, None, None]
        return torch.relu(self.norm(y) + self.shortcut(x))

    def mix_attention(self, pooled: Tensor) -> Tensor:
        """Queries and keys (P, S, G, 2, V) -> attention (P, S, G, V, V).

        A group's own attention counts a half; what a key and the next group's query say counts a quarter in both.
        """
        own = torch.relu(self.within(pooled))
        cross = torch.relu(self.between(pooled))
        inside = _attention(own[:, :, :, 0], own[:, :, :, 1])  # (P, S, G, V, V)
        across = _attention(cross[:, :, :-1, 1], cross[:, :, 1:, 0])  # (P, S, G - 1, V, V)
        # (P, S, G - 1, V, V) -> (P, S, G, V, V), zeros after the last group and before the first
        neighbours = F.pad(across, (0, 0, 0, 0, 0, 1)) + F.pad(across, (0, 0, 0, 0, 1, 0))
        return inside / 2 + neighbours / 4


class TemporalTransformer(nn.Module):
    """Attention among frames, from the mean of one half of the channels and the maximum of the other.

    Args:
        length: frames for which the map is learned.
    """

    def __init__(self, in_channels: int, out_channels: int, length: int, stride: int) -> None:
        super().__init__()
        self.length = length
        self.reduce = nn.Conv2d(in_channels, out_channels, 1, (stride, 1))
        self.map = nn.Linear(length, length)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(P, C, T, V) -> (P, C', ceil(T / stride), V)."""
        x = self.reduce(x)
        first, second = x.chunk(2, dim=1)
        query = self._mapped(first.mean((1, 3)))  # (P, T)
        key = self._mapped(second.amax((1, 3)))
        attention = torch.sigmoid(query[:, :, None] * key[:, None, :])  # (P, T, T): row from, column to
        # (P, C', V, T) @ (P, 1, T, T) -> (P, C', V, T) -> (P, C', T, V)
        mixed: Tensor = self.norm((x.transpose(2, 3) @ attention.unsqueeze(1)).transpose(2, 3))
        return mixed

    def _mapped(self, frames: Tensor) -> Tensor:
        """ReLU of the learned map, (P, T) -> (P, T), by way of the length L that it is learned for."""
        there, back = resampling(frames.shape[1], self.length, frames.device)
        return torch.relu(self.map(frames @ there.to(frames))) @ back.to(frames)


class SequentialHolding(nn.Module):
    """A gate for every frame, from its mean and its maximum over channels and joints."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, out_channels, 1, (stride, 1))
        self.combine = nn.Linear(2, 1)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(P, C, T, V) -> (P, C', ceil(T / stride), V)."""
        x = self.reduce(x)
        gate = torch.sigmoid(self.combine(torch.stack([x.mean((1, 3)), x.amax((1, 3))], dim=2)))  # (P, T, 1)
        gated: Tensor = self.norm(x * gate[:, None])
        return gated


class TemporalMixFormer(nn.Module):
    """Multiscale convolution (two dilations, a maximum), temporal transformer, sequential holding: a fifth each."""

    def __init__(self, channels: int, stride: int, length: int) -> None:
        super().__init__()
        width = channels // BRANCHES
        branches: list[nn.Module] = []
        for dilation in DILATIONS:
            padding = dilation * (KERNEL - 1) // 2
            conv = nn.Conv2d(width, width, (KERNEL, 1), (stride, 1), (padding, 0), (dilation, 1), bias=False)
            branches.append(nn.Sequential(_reduce(channels, width), conv, nn.BatchNorm2d(width)))
        maximum = nn.MaxPool2d((3, 1), (stride, 1), (1, 0))
        branches.append(nn.Sequential(_reduce(channels, width), maximum, nn.BatchNorm2d(width)))
        branches.append(TemporalTransformer(channels, width, length, stride))
        branches.append(SequentialHolding(channels, width, stride))
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """(P, C, T, V) -> (P, C, ceil(T / stride), V)."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class Block(nn.Module):
    """Spatial MixFormer, temporal MixFormer, residual connection."""

    def __init__(
        self, in_channels: int, out_channels: int, adjacency: Tensor, stride: int, length: int, residual: bool
    ) -> None:
        super().__init__()
        self.spatial = SpatialMixFormer(in_channels, out_channels, adjacency)
        self.temporal = TemporalMixFormer(out_channels, stride, length)
        self.residual = _match(in_channels, out_channels, stride) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        """(P, C, T, V) -> (P, C', ceil(T / stride), V)."""
        y = self.temporal(self.spatial(x))
        return torch.relu(y if self.residual is None else y + self.residual(x))


class MixFormer(PersonClassifier):
    """Skeleton MixFormer for clips of up to M people; the arguments are those of ``CTRGCN``.

    The defaults are the published sizes: ten blocks of 80, 160 and 320 channels, and the retrospect connections from
    the first two stages to the features. Published: 2.07 M parameters at 25 joints, 60 classes; 2.04 M here, without
    layers that the release declares and never uses, and without the biases and the joint embedding that a batch norm
    cancels.

    Args:
        base_channels: the first width is 5/4 of it, rounded up to a multiple of 40 (five temporal branches, eight
            graphs).
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
        step = BRANCHES * GRAPHS
        base = -(-5 * base_channels // (4 * step)) * step
        plan = block_plan(blocks, base)
        super().__init__(
            in_channels=in_channels,
            num_classes=num_classes,
            num_persons=num_persons,
            num_joints=skeleton.num_joints,
            feature_dim=plan[-1][0],
            norm_channels=base,
            dropout=dropout,
        )
        adjacency = torch.from_numpy(spatial_subsets(skeleton))
        self.embedding = nn.Linear(in_channels, base, bias=False)
        stages: list[nn.ModuleList] = []
        channels, length = base, FRAMES
        for number, (width, stride) in enumerate(plan):
            length //= stride
            if not stages or stride > 1:
                stages.append(nn.ModuleList())
            stages[-1].append(Block(channels, width, adjacency, stride, length, residual=number > 0))
            channels = width
        self.stages = nn.ModuleList(stages)
        widths = [base * 2**stage for stage in range(len(stages) - 1)]
        self.retrospect = nn.ModuleList(_reduce(width, channels) for width in widths)
        initialise(self)
        for module in self.modules():
            if isinstance(module, SpatialMixFormer):
                nn.init.constant_(module.norm.weight, 1e-6)

    def embed(self, x: Tensor) -> Tensor:
        """(N, C, T, V, M) -> (N, C', T, V, M): joints to vectors.

        The input norm that follows adds which joint it is: its shift has a value for every joint and channel. The
        release adds one before the norm as well, which takes it off again.
        """
        # (N, C, T, V, M) -> (N, M, T, V, C) -> (N, M, T, V, C') -> (N, C', T, V, M)
        return self.embedding(x.permute(0, 4, 2, 3, 1)).permute(0, 4, 2, 3, 1)  # type: ignore[no-any-return]

    def encode(self, people: Tensor) -> Tensor:
        """(P, C, T, V) -> (P, D, T', V); the retrospect connections add what the earlier stages saw."""
        x, ends = people, []
        for stage in self.stages:
            assert isinstance(stage, nn.ModuleList)
            for block in stage:
                x = block(x)
            ends.append(x)
        encoded = x
        for back, (end, connection) in enumerate(zip(ends[:-1], self.retrospect, strict=True)):
            for _ in range(len(ends) - 1 - back):
                end = F.avg_pool2d(end, (2, 1), ceil_mode=True)  # to the last stage's frames
            encoded = encoded + connection(end)
        return encoded


def resampling(frames: int, length: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Matrices that resample a sequence to a length and back, (T, L) and (L, T); identities where T = L.

    There by linear interpolation with the ends aligned, back by means of neighbours.
    """
    there = F.interpolate(torch.eye(frames, device=device)[None], size=length, mode="linear", align_corners=True)[0]
    return there, F.adaptive_avg_pool1d(torch.eye(length, device=device)[None], frames)[0]


def _attention(query: Tensor, key: Tensor) -> Tensor:
    """(..., V), (..., V) -> (..., V, V), row i: what joint i takes from every joint."""
    return (query.unsqueeze(-1) * key.unsqueeze(-2)).softmax(-1)


def _reduce(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU())


def _match(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The identity, or a 1x1 convolution where the shape changes."""
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    conv = nn.Conv2d(in_channels, out_channels, 1, (stride, 1), bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))
