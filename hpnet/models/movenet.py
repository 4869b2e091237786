"""MoveNet (Google): MobileNetV2, a feature pyramid down to stride 4, CenterNet's heads; and how its heads are read.

One structure at three widths: SinglePose Lightning (1.0), MultiPose Lightning (1.5), SinglePose Thunder (1.75). Batch
norms are folded into the convolutions, as in the published files. Sources: Sandler et al., "MobileNetV2", CVPR 2018;
Zhou et al., "Objects as Points", arXiv 1904.07850; Google's model pages of MoveNet, tfhub.dev.

Axes: N images, V joints, h x w cells of stride 4. Every pair of a head is y before x, in cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDE_PX = 4
"""Input pixels per cell of the heads' maps."""
MULTIPLE_PX = 32
"""Sides of the input are multiples of this."""
JOINTS = 17
GROUPS = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
"""MobileNetV2's channels at width 1, blocks, and stride of the first block (its Table 2)."""
EXPANSION = 6
LAST = 1280
BIAS_CELLS = 1.8
"""Added to distances that divide a score: the centre's own cell is not infinitely better than its neighbours."""
SPREAD = 0.300049
"""MultiPose: what a squared distance from the guess is divided by, in cells, as a share of the map's lesser side."""
JOINT_SEEN = 0.126953
"""MultiPose: joints above this score count in a person's score."""
SINGLE_HEADS = {"heatmap": JOINTS, "centre": 1, "regress": 2 * JOINTS, "offset": 2 * JOINTS}
BOX_HEADS = {"centre": 1, "box_scale": 2, "box_offset": 2}
MULTI_HEADS = {**SINGLE_HEADS, **BOX_HEADS}

Heads = dict[str, Tensor]
"""Head -> (N, channels, h, w) float; ``heatmap`` and ``centre`` in 0..1, the others in cells."""


class _Conv(nn.Module):
    """A convolution under the name that the files give it, with TensorFlow's SAME padding."""

    def __init__(
        self, channels: int, out: int, size: int = 1, *, stride: int = 1, groups: int = 1, bias: bool = True
    ) -> None:
        super().__init__()
        even = size == 3 and stride == 1
        self.conv = nn.Conv2d(channels, out, size, stride, padding=1 if even else 0, groups=groups, bias=bias)
        self.uneven = size == 3 and not even

    def forward(self, x: Tensor) -> Tensor:
        # SAME of even sides at stride 2: nothing above and left, one below and right
        y: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)) if self.uneven else x)
        return y


class _Block(nn.Module):
    """MobileNetV2's inverted residual."""

    def __init__(self, channels: int, out: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.expand = _Conv(channels, wide) if expansion > 1 else None
        self.depthwise = _Conv(wide, wide, 3, stride=stride, groups=wide)
        self.project = _Conv(wide, out)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class _Separable(nn.Module):
    """A depthwise convolution without a bias, a pointwise one, ReLU."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.depthwise = _Conv(channels, channels, 3, groups=channels, bias=False)
        self.pointwise = _Conv(channels, out)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.pointwise(self.depthwise(x)))


class _Head(nn.Module):
    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.hidden = _Separable(channels, 96)
        self.out = _Conv(96, out)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.hidden(x))
        return y


class _Backbone(nn.Module):
    """(N, 3, H, W) -> (N, 24, H / 4, W / 4)."""

    def __init__(self, width: float) -> None:
        super().__init__()
        channels = rounded(32 * width)
        self.stem = _Conv(3, channels, 3, stride=2)
        blocks: list[nn.Module] = []
        kept: dict[int, int] = {}
        for base, count, first_stride in GROUPS:
            out = rounded(base * width)
            for index in range(count):
                stride = first_stride if index == 0 else 1
                blocks.append(_Block(channels, out, stride, EXPANSION if blocks else 1))
                channels = out
            kept[base] = out
        self.blocks = nn.ModuleList(blocks)
        self.last = _Conv(channels, LAST)
        self.lateral5, self.lateral4 = _Conv(LAST, 64), _Conv(kept[64], 64)
        self.lateral3, self.lateral2 = _Conv(kept[32], 32), _Conv(kept[24], 24)
        self.p4, self.p3, self.p2 = _Separable(64, 32), _Separable(32, 24), _Separable(24, 24)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.stem(x))
        maps = []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        x = F.relu6(self.last(x))
        p4 = self.p4(_doubled(self.lateral5(x)) + self.lateral4(maps[9]))
        p3 = self.p3(_doubled(p4) + self.lateral3(maps[5]))
        p2: Tensor = self.p2(_doubled(p3) + self.lateral2(maps[2]))
        return p2


class MoveNet(nn.Module):
    """Normalised images (N, 3, H, W), RGB in -1..1, sides multiples of 32 -> :data:`Heads`.

    Args:
        width: of MobileNetV2.
        heads: head -> channels: :data:`SINGLE_HEADS`, :data:`MULTI_HEADS`, or :data:`BOX_HEADS` of the latter.
    """

    def __init__(self, width: float, heads: Mapping[str, int]) -> None:
        super().__init__()
        self.backbone = _Backbone(width)
        self.heads = tuple(heads)
        for name, channels in heads.items():
            self.add_module(name, _Head(24, channels))

    def forward(self, images: Tensor) -> Heads:
        p2 = self.backbone(images)
        found: Heads = {name: getattr(self, name)(p2) for name in self.heads}
        return {name: y.sigmoid() if name in ("heatmap", "centre") else y for name, y in found.items()}


def rounded(channels: float, divisor: int = 8) -> int:
    """Keras' rule for MobileNet: the nearest multiple of ``divisor``, never below 90 % of ``channels``."""
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * channels else nearest


def decode_single(heads: Heads) -> tuple[Tensor, Tensor]:
    """The joints of the person nearest to the middle of each image.

    Returns:
        joints (N, V, 2) float32 as x, y in pixels of the input, where pixel 0 has its centre at 0; scores (N, V)
        float32 in 0..1, not weighted.
    """
    heatmap = heads["heatmap"].float()
    height, width = heatmap.shape[2:]
    rows, columns = _cells(height, width, heatmap.device)
    middle = torch.sqrt((rows - height // 2) ** 2 + (columns - width // 2) ** 2) + BIAS_CELLS  # (h, w)
    best = (heads["centre"].float()[:, 0] / middle).flatten(1).argmax(1)  # (N, h, w) -> (N,)
    guesses = torch.unflatten(_at(heads["regress"], best[:, None])[:, 0], -1, (-1, 2))  # (N, 2 V) -> (N, V, 2) y, x
    guesses = guesses + torch.stack([best // width, best % width], -1)[:, None]
    away = torch.sqrt(
        (rows - guesses[..., 0, None, None]) ** 2 + (columns - guesses[..., 1, None, None]) ** 2
    )  # (N, V, h, w)
    cells = (heatmap / (away + BIAS_CELLS)).flatten(2).argmax(2)  # (N, V)
    points = torch.stack([cells // width, cells % width], -1) + _own_offsets(heads["offset"], cells)
    scores = heatmap.flatten(2).gather(2, cells[..., None])[..., 0]
    return _pixels(points), scores


@dataclass(frozen=True)
class People:
    """The P people of an image, best centre first; float32.

    Attributes:
        boxes_xyxy_px: (P, 4), pixels of the input in 0..width and 0..height.
        keypoints_px: (P, V, 2) as x, y, pixels of the input, where pixel 0 has its centre at 0.
        joint_scores: (P, V) in 0..1.
        centres: (P,), the centres' scores in 0..1.
        scores: (P,), the centre's, times the mean of the joints' above :data:`JOINT_SEEN`: the published person score.
    """

    boxes_xyxy_px: Tensor
    keypoints_px: Tensor
    joint_scores: Tensor
    centres: Tensor
    scores: Tensor


def decode_boxes(heads: Heads, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """The boxes of one image (N = 1) from :data:`BOX_HEADS`, best centre first: ``most`` at most, unlikely ones too.

    Returns:
        boxes (P, 4) xyxy in pixels of the input, the centres' scores (P,), and their flat cells (P,) int64.
    """
    centre = heads["centre"][0].float()
    height, width = centre.shape[1:]
    peaks = torch.where(F.max_pool2d(centre[None], 5, 1, 2)[0] == centre, centre, 0.0).flatten()
    found = peaks.topk(min(most, len(peaks)))
    values, best = found.values[found.values > 0], found.indices[found.values > 0]  # (P,)
    at = torch.stack([best // width, best % width], -1).float()  # (P, 2) y, x
    middle = at + _at(heads["box_offset"], best[None])[0]
    half = _at(heads["box_scale"], best[None])[0].clamp(min=0) / 2
    rows, columns = _cells(height, width, centre.device)
    limit = torch.stack([rows.amax(), columns.amax()]) + 1  # height and width, of any size where this is traced
    top_left, bottom_right = (middle - half).clamp(min=0).minimum(limit), (middle + half).clamp(min=0).minimum(limit)
    boxes = torch.cat([top_left.flip(-1), bottom_right.flip(-1)], -1) * STRIDE_PX  # y, x pairs -> x1, y1, x2, y2
    return boxes, values, best


def decode_people(heads: Heads, most: int) -> People:
    """The people of one image (N = 1) from :data:`MULTI_HEADS`, in the order of :func:`decode_boxes`."""
    boxes, centres, best = decode_boxes(heads, most)
    heatmap = heads["heatmap"][0].float()
    height, width = heatmap.shape[1:]
    rows, columns = _cells(height, width, heatmap.device)
    at = torch.stack([best // width, best % width], -1)  # (P, 2) y, x
    left, top, right, bottom = (boxes / STRIDE_PX).T[..., None, None]  # (P, 4) -> four of (P, 1, 1)
    guesses = at[:, None] + torch.unflatten(_at(heads["regress"], best[None])[0], -1, (-1, 2))  # (P, 2 V) -> (P, V, 2)
    squared = (rows - guesses[..., 0, None, None]) ** 2 + (columns - guesses[..., 1, None, None]) ** 2  # (P, V, h, w)
    weighted = heatmap * torch.exp(-squared / (SPREAD * min(height, width)))
    inside = (rows >= top) & (rows <= bottom) & (columns >= left) & (columns <= right)  # (P, h, w)
    cells = torch.where(inside[:, None], weighted, -1.0).flatten(2).argmax(2)  # (P, V)
    greatest = weighted.amax(0).flatten(1) if len(best) else heatmap.flatten(1)  # (V, h w), over all people
    scores = greatest.gather(1, cells.T).T  # (V, P) -> (P, V)
    points = torch.stack([cells // width, cells % width], -1) + _own_offsets(
        heads["offset"].expand(len(best), -1, -1, -1), cells
    )
    seen = scores > JOINT_SEEN
    people = centres * (scores * seen).sum(1) / seen.sum(1).clamp(min=1)
    return People(boxes, _pixels(points), scores, centres, people)


def _cells(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Row (h, 1) and column (w,) numbers of a map's cells."""
    rows = torch.arange(height, device=device, dtype=torch.float32)[:, None]
    return rows, torch.arange(width, device=device, dtype=torch.float32)


def _at(values: Tensor, cells: Tensor) -> Tensor:
    """Maps (N, C, h, w) at flat cells (N, P) -> (N, P, C) float32."""
    flat = values.float().flatten(2).transpose(1, 2)  # (N, C, h w) -> (N, h w, C)
    return flat.gather(1, cells[..., None].expand(-1, -1, flat.shape[2]))


def _own_offsets(offset: Tensor, cells: Tensor) -> Tensor:
    """Each joint's own pair of (N, 2 V, h, w) at its flat cell (N, V) -> (N, V, 2) y, x."""
    pairs = torch.unflatten(offset.float().flatten(2), 1, (-1, 2))  # (N, 2 V, h w) -> (N, V, 2, h w)
    return pairs.gather(3, cells[..., None, None].expand(-1, -1, 2, 1))[..., 0]


def _pixels(cells_yx: Tensor) -> Tensor:
    """Cells, where j covers [j, j + 1), as y, x -> pixels with the centre of pixel 0 at 0, as x, y."""
    return cells_yx.flip(-1) * STRIDE_PX - 0.5


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
