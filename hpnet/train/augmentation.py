"""Augmentation of training clips: transformed 3-D poses, time sampling, and mixtures of two clips. Pure functions.

Features are (N, C, T, V, M), zeros where there is no person. All random numbers are arguments. So the transformation of
a clip depends on the seed, the epoch and the clip only (:func:`clip_draws`), not on its batch or the number of
processes. Mixing uses clips of the same batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..models.streams import joints_at


def clip_draws(seed: int, epoch: int, clips: NDArray[np.int64], purpose: int) -> list[np.random.Generator]:
    """One generator per clip (n,); ``purpose`` keeps different uses apart."""
    return [np.random.default_rng([seed, epoch, int(clip), purpose]) for clip in clips]


def rotation_matrices(angles_rad: Tensor) -> Tensor:
    """Rotations about x, then y, then z: angles (N, 3), radians -> matrices (N, 3, 3) that act on columns."""
    (cx, cy, cz), (sx, sy, sz) = angles_rad.cos().unbind(1), angles_rad.sin().unbind(1)
    rows = (
        cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx,
        sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx,
        -sy, cy * sx, cy * cx,
    )  # fmt: skip
    return torch.stack(rows, 1).view(-1, 3, 3)


def rotate(features: Tensor, angles_rad: Tensor) -> Tensor:
    """Rotate the 3-D poses of each clip about their origin: (N, 3, T, V, M), (N, 3) -> (N, 3, T, V, M)."""
    if features.shape[1] != 3:
        raise ValueError(f"features have {features.shape[1]} channels, only 3-D poses (x, y, z) can be rotated")
    turned: Tensor = torch.einsum("ndc,nctvm->ndtvm", rotation_matrices(angles_rad).to(features), features)
    return turned


def from_behind(features: Tensor, chosen: Tensor, mirror: tuple[int, ...]) -> Tensor:
    """3-D poses as a depth camera gives them for a person seen from behind: (N, 3, T, V, M) -> the same shape.

    The tracker (for example Kinect's) expects people to face the camera. If a person shows the back, it swaps left and
    right. After alignment by the shoulders, such a body has made half a turn about the vertical axis (y), with left and
    right swapped.

    Args:
        chosen: (N,) bool, which clips.
        mirror: for each joint its counterpart on the other side.
    """
    x, y, z = features[:, :, :, joints_at(mirror, features)].unbind(1)
    turned = torch.stack([-x, y, -z], dim=1)
    return torch.where(chosen[:, None, None, None, None], turned, features)


def even_places(starts: Tensor, lengths: Tensor, frames: int) -> Tensor:
    """``frames`` evenly spaced times of the span [start, start + length] of each clip: (N,), (N,) -> (N, frames)."""
    return starts[:, None] + lengths[:, None] * torch.linspace(0, 1, frames, device=starts.device)


def random_places(starts: Tensor, lengths: Tensor, draws: Tensor) -> Tensor:
    """Random times of the span [start, start + length] of each clip, in order.

    The speed of the action then varies.

    Args:
        starts, lengths: (N,), as shares of the clip.
        draws: (N, T) uniform in 0..1.

    Returns:
        (N, T), rising.
    """
    return starts[:, None] + lengths[:, None] * draws.sort(1).values


def resample_time(features: Tensor, places: Tensor) -> Tensor:
    """Each clip (N, C, T, V, M) at times (N, T'), shares 0..1 of its length, linear between: (N, C, T', V, M)."""
    frames = features.shape[2]
    places = places * (frames - 1)
    before = places.floor().long().clamp(0, frames - 1)  # (N, T')
    after = (before + 1).clamp(max=frames - 1)
    share = (places - before).to(features.dtype)[:, None, :, None, None]  # (N, 1, T', 1, 1)
    clips = torch.arange(features.shape[0], device=features.device)[:, None]  # (N, 1)
    by_frame = features.transpose(1, 2)  # (N, T, C, V, M)
    # picked (N, T', C, V, M) -> (N, C, T', V, M)
    earlier, later = by_frame[clips, before].transpose(1, 2), by_frame[clips, after].transpose(1, 2)
    return earlier + share * (later - earlier)


@dataclass(frozen=True)
class Mixture:
    """How the clips of a batch are mixed; the same for all that is mixed, and for the targets.

    Mixup (Zhang et al., ICLR 2018) takes ``share`` of a clip and the rest of the other. CutMix (Yun et al., ICCV 2019)
    replaces a part by the other clip's: the span ``cut`` of time, so that frames and joints of one moment stay
    together, or the rectangle ``box_px`` of every frame, which joints have no part in.

    Attributes:
        order: (N,), the other clip of each clip.
        share: the clip's own part of the target, 0..1.
        cut: (start, stop) in 0..1 of the clip's length, or None.
        box_px: (top, left, bottom, right) in pixels of the frames, or None. Neither: mixup.
    """

    order: Tensor
    share: float
    cut: tuple[float, float] | None = None
    box_px: tuple[int, int, int, int] | None = None

    def values(self, x: Tensor, time_axis: int | None = None) -> Tensor:
        """Mix anything dense, batch first; ``time_axis`` is None for targets, which are mixed by ``share``."""
        other = x[self.order]
        if self.cut is None or time_axis is None:
            return self.share * x + (1 - self.share) * other
        return torch.where(self._in_cut(x, time_axis), other, x)

    def frames(self, frames: Tensor) -> Tensor:
        """Mix frames (N, F, 3, S, S) of a floating type."""
        if self.box_px is None:
            return self.values(frames, time_axis=1)
        top, left, bottom, right = self.box_px
        mixed = frames.clone()
        mixed[..., top:bottom, left:right] = frames[self.order][..., top:bottom, left:right]
        return mixed

    def people(self, features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Mix (N, C, T, V, M) and mask (N, M), which may be on the host. With mixup a person that only one of the clips
        has stays as it is."""
        other, both = features[self.order], valid | valid[self.order]
        if self.cut is not None:
            return torch.where(self._in_cut(features, 2), other, features), both
        paired = (valid & valid[self.order]).to(features.device, non_blocking=True)[:, None, None, None, :]
        # Missing people are zeros, so the sum is the person that exists.
        mixed = torch.where(paired, self.share * features + (1 - self.share) * other, features + other)
        return mixed, both

    def _in_cut(self, x: Tensor, axis: int) -> Tensor:
        assert self.cut is not None
        length = x.shape[axis]
        middles = (torch.arange(length, device=x.device) + 0.5) / length
        inside = (middles >= self.cut[0]) & (middles < self.cut[1])
        return inside.view([-1 if n == axis else 1 for n in range(x.ndim)])


def draw_mixture(
    draw: np.random.Generator, clips: int, mixup: float, cutmix: float, steps: int, size_px: int | None = None
) -> Mixture | None:
    """A mixture for ``clips`` clips; None if both alphas are 0. With both, each has probability 1/2.

    Args:
        mixup, cutmix: alpha of the Beta distribution of the share; 0: off.
        steps: a cut is a whole number of ``steps``-ths of the clip, so that it is the same for few and many frames.
        size_px: side of the frames, if CutMix replaces a rectangle of them; None: a span of time.
    """
    if not (mixup or cutmix) or clips < 2:
        return None
    cutting = bool(cutmix) and (not mixup or draw.random() < 0.5)
    alpha = cutmix if cutting else mixup
    share = float(draw.beta(alpha, alpha))
    order = torch.from_numpy(draw.permutation(clips))
    if not cutting:
        return Mixture(order, share)
    if size_px is not None:
        top, left, bottom, right = box = draw_box(draw, share, size_px)
        return Mixture(order, 1 - (bottom - top) * (right - left) / size_px**2, box_px=box)
    length = round((1 - share) * steps)
    start = int(draw.integers(0, steps - length + 1))
    return Mixture(order, 1 - length / steps, (start / steps, (start + length) / steps))


def draw_box(draw: np.random.Generator, share: float, size_px: int) -> tuple[int, int, int, int]:
    """CutMix's rectangle (top, left, bottom, right): of the frame's shape and 1 - ``share`` of its area, around a
    random pixel; the part outside the frame is cut off."""
    half = int(size_px * (1 - share) ** 0.5) // 2
    middle_y, middle_x = (int(value) for value in draw.integers(0, size_px, 2))
    return (
        max(0, middle_y - half),
        max(0, middle_x - half),
        min(size_px, middle_y + half),
        min(size_px, middle_x + half),
    )


def one_hot_targets(labels: Tensor, num_classes: int) -> Tensor:
    """Class probabilities (N, K) of labels (N,), zeros where a label is -1 (unknown)."""
    return F.one_hot(labels.clamp(min=0), num_classes).float() * (labels >= 0).unsqueeze(1)
