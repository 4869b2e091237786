"""CSPNeXt, the backbone of RTMDet and RTMPose (Lyu et al., arXiv 2212.07784), under the names of OpenMMLab's files.

A stem and four stages, each at half the size of the one before. A stage splits its channels in two: one half goes
through blocks with depthwise convolutions of 5 x 5, the other goes past them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEM = 64
"""Channels of the stem at width 1."""
STAGES = ((128, 3), (256, 6), (512, 6), (1024, 3))
"""Channels at width 1 and blocks at depth 1 of the four stages; the last one pools and has no residuals."""
NORM_EPS = 1e-5
"""Of RTMPose's batch norms, which are torch's own. RTMDet's have 1e-3."""


class ConvNorm(nn.Module):
    """A convolution that keeps the size at stride 1, batch norm and SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C', h / stride, w / stride)."""
        return F.silu(self.bn(self.conv(x)))


class SeparableConv(nn.Module):
    """A depthwise convolution and one of 1 x 1, each with its own norm and SiLU."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.depthwise_conv = ConvNorm(channels, channels, kernel, groups=channels)
        self.pointwise_conv = ConvNorm(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> the same shape."""
        y: Tensor = self.pointwise_conv(self.depthwise_conv(x))
        return y


class Block(nn.Module):
    """3 x 3, then 5 x 5 depthwise, around which the input may go past."""

    def __init__(self, channels: int, residual: bool) -> None:
        super().__init__()
        self.conv1 = ConvNorm(channels, channels, 3)
        self.conv2 = SeparableConv(channels, 5)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> the same shape."""
        y: Tensor = self.conv2(self.conv1(x))
        return x + y if self.residual else y


class ChannelAttention(nn.Module):
    """Weighs each channel in 0..1 by what all channels are on the mean over the map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> the same shape."""
        return x * F.hardsigmoid(self.fc(x.mean((2, 3), keepdim=True)))


class CspLayer(nn.Module):
    """A cross-stage partial layer: half of the channels through the blocks, half past them, joined by attention."""

    def __init__(self, channels: int, blocks: int, residual: bool) -> None:
        super().__init__()
        half = channels // 2
        self.main_conv = ConvNorm(channels, half, 1)
        self.short_conv = ConvNorm(channels, half, 1)
        self.final_conv = ConvNorm(2 * half, channels, 1)
        self.blocks = nn.Sequential(*(Block(half, residual) for _ in range(blocks)))
        self.attention = ChannelAttention(2 * half)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> the same shape."""
        both = torch.cat([self.blocks(self.main_conv(x)), self.short_conv(x)], dim=1)
        y: Tensor = self.final_conv(self.attention(both))
        return y


class PyramidPooling(nn.Module):
    """The map beside its maxima over 5 x 5, 9 x 9 and 13 x 13 cells (each the maximum over 5 x 5 of the one before)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(channels, channels // 2, 1)
        self.conv2 = ConvNorm(channels // 2 * 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> the same shape."""
        maps = [self.conv1(x)]
        for _ in range(3):
            maps.append(F.max_pool2d(maps[-1], 5, stride=1, padding=2))
        y: Tensor = self.conv2(torch.cat(maps, dim=1))
        return y


class CSPNeXt(nn.Module):
    """A stem (stride 2) and ``stage1`` to ``stage4`` (strides 4, 8, 16, 32).

    Args:
        width: factor of the channels.
        depth: factor of the blocks in a stage; each has at least one.
    """

    def __init__(self, width: float, depth: float) -> None:
        super().__init__()
        channels = int(STEM * width)
        half = int(STEM * width // 2)
        self.stem = nn.Sequential(ConvNorm(3, half, 3, stride=2), ConvNorm(half, half, 3), ConvNorm(half, channels, 3))
        for number, (full, count) in enumerate(STAGES, start=1):
            last = number == len(STAGES)
            inputs, channels = channels, int(full * width)
            pooling = [PyramidPooling(channels)] if last else []
            layer = CspLayer(channels, max(round(count * depth), 1), residual=not last)
            self.add_module(f"stage{number}", nn.Sequential(ConvNorm(inputs, channels, 3, stride=2), *pooling, layer))

    def forward(self, crops: Tensor) -> tuple[Tensor]:
        """Normalised crops (N, 3, height, width) -> the last stage's map (N, 1024 width, height / 32, width / 32)."""
        x = self.stem(crops)
        for number in range(1, len(STAGES) + 1):
            x = self.get_submodule(f"stage{number}")(x)
        return (x,)
