"""A small spatio-temporal transformer: attention among the joints of a frame, then among the frames of a joint.

Attention is Eq. (1) of Vaswani et al., "Attention Is All You Need", NeurIPS 2017, in pre-norm blocks; divided into
space and time as in ST-TR (Plizzari et al., CVIU 2021) and TimeSformer (Bertasius et al., ICML 2021); the skeleton
enters as a bias per graph distance (Graphormer, Ying et al., NeurIPS 2021). Axes: P people, T frames, V joints,
D channels, h heads.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..core.skeleton import Skeleton
from .classifier import PersonClassifier

HEADS = 4
EXPANSION = 2


class SelfAttention(nn.Module):
    """Multi-head self-attention over the second last axis, with a bias of the scores where there is one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.to_query_key_value = nn.Linear(channels, 3 * channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """(B, L, D), bias (h, L, L) or None -> (B, L, D)."""
        rows, length, channels = x.shape
        # (B, L, 3 D) -> (B, L, 3, h, d) -> (3, B, h, L, d)
        heads = self.to_query_key_value(x).view(rows, length, 3, HEADS, channels // HEADS).permute(2, 0, 3, 1, 4)
        query, key, value = heads.unbind(0)
        scores = query @ key.transpose(2, 3) * (channels // HEADS) ** -0.5  # (B, h, L, L)
        if bias is not None:
            scores = scores + bias
        mixed = scores.softmax(-1) @ value  # Eq. (1): (B, h, L, d)
        # (B, h, L, d) -> (B, L, h, d) -> (B, L, D)
        attended: Tensor = self.out(mixed.transpose(1, 2).reshape(rows, length, channels))
        return attended


class Block(nn.Module):
    """Joints, frames, and a feed-forward network, each behind a layer norm and beside a residual connection."""

    def __init__(self, channels: int, num_distances: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.joints = SelfAttention(channels)
        self.frames = SelfAttention(channels)
        self.feed_forward = nn.Sequential(
            nn.Linear(channels, EXPANSION * channels), nn.GELU(), nn.Linear(EXPANSION * channels, channels)
        )
        self.distance_bias = nn.Parameter(torch.zeros(HEADS, num_distances))

    def forward(self, x: Tensor, distances: Tensor) -> Tensor:
        """(P, T, V, D), graph distances (V, V) -> (P, T, V, D)."""
        people, frames, joints, channels = x.shape
        bias = self.distance_bias[:, distances]  # (h, V, V)
        # (P, T, V, D) -> (P T, V, D) -> back
        x = x + self.joints(self.norms[0](x).view(-1, joints, channels), bias).view_as(x)
        # (P, T, V, D) -> (P, V, T, D) -> (P V, T, D) -> back
        along = self.norms[1](x).transpose(1, 2).reshape(-1, frames, channels)
        x = x + self.frames(along).view(people, joints, frames, channels).transpose(1, 2)
        result: Tensor = x + self.feed_forward(self.norms[2](x))
        return result


class Transformer(PersonClassifier):
    """The transformer for clips of up to M people; the arguments are those of ``CTRGCN``.

    Args:
        base_channels: the width, which all blocks share; a multiple of 4.
    """

    distances: Tensor

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
        if base_channels % HEADS:
            raise ValueError(f"base_channels is {base_channels}, expected a multiple of {HEADS}")
        channels = base_channels
        super().__init__(
            in_channels=in_channels,
            num_classes=num_classes,
            num_persons=num_persons,
            num_joints=skeleton.num_joints,
            feature_dim=channels,
            dropout=dropout,
        )
        distances = graph_distances(skeleton)
        self.register_buffer("distances", torch.from_numpy(distances), persistent=False)
        self.embedding = nn.Linear(in_channels, channels)
        self.joint_embedding = nn.Parameter(torch.empty(skeleton.num_joints, channels).normal_(std=0.02))
        self.blocks = nn.ModuleList(Block(channels, int(distances.max()) + 1) for _ in range(blocks))
        self.last_norm = nn.LayerNorm(channels)

    def encode(self, people: Tensor) -> Tensor:
        """(P, C, T, V) -> (P, D, T, V)."""
        x = self.embedding(people.permute(0, 2, 3, 1)) + self.joint_embedding  # (P, C, T, V) -> (P, T, V, D)
        x = x + frame_encoding(x.shape[1], x.shape[3], x.device).to(x)[:, None, :]
        for block in self.blocks:
            x = block(x, self.distances)
        encoded: Tensor = self.last_norm(x).permute(0, 3, 1, 2)  # (P, T, V, D) -> (P, D, T, V)
        return encoded


def frame_encoding(frames: int, channels: int, device: torch.device | None = None) -> Tensor:
    """Sines and cosines of the frame number, (T, D) for even D: section 3.5 of Vaswani et al."""
    rate = 10000.0 ** (-torch.arange(0, channels, 2, device=device) / channels)
    angle = torch.arange(frames, device=device)[:, None] * rate  # (T, D / 2)
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)


def graph_distances(skeleton: Skeleton) -> NDArray[np.int64]:
    """Steps between every two joints along the edges, (V, V); one more than the longest where no path is."""
    count = skeleton.num_joints
    linked = np.eye(count, dtype=bool)
    for child, parent in skeleton.edges:
        linked[child, parent] = linked[parent, child] = True
    distances = np.full((count, count), -1, dtype=np.int64)
    reached = np.eye(count, dtype=bool)
    for steps in range(count):
        distances[reached & (distances < 0)] = steps
        reached = reached @ linked
    distances[distances < 0] = distances.max() + 1
    return distances
