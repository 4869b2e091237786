"""Person crops on the device: cut out of many frames at once, and normalised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.geometry import invert_affine, widen

Colour = tuple[float, float, float]


def bilinear_crops(frames: Tensor, which: Tensor, crop_to_frame: Tensor, input_size_px: tuple[int, int]) -> Tensor:
    """Cut crops out of many frames on their device, all at once: bilinear, zeros outside the frame.

    Within the rounding of OpenCV's fixed-point interpolation this equals :func:`hpnet.estimate.warp.warp_crops`.

    Args:
        frames: (F, H, W, 3) uint8 RGB.
        which: (N,) int64, the frame of each crop.
        crop_to_frame: (N, 2, 3) float32, the affine from crop to frame pixels.
        input_size_px: (width, height).

    Returns:
        (N, 3, height, width) float32 in 0..255, channels_last.
    """
    height, width = frames.shape[1:3]
    out_width, out_height = input_size_px
    xs = torch.arange(out_width, device=frames.device, dtype=torch.float32)
    ys = torch.arange(out_height, device=frames.device, dtype=torch.float32)
    affine = crop_to_frame.float()[:, :, :, None, None]  # (N, 2, 3, 1, 1)
    # (N, 2, h, w)
    points = affine[:, :, 0] * xs + affine[:, :, 1] * ys[:, None] + affine[:, :, 2]
    low = points.floor()
    share = points - low  # (N, 2, h, w)
    x0, y0 = low[:, 0].long(), low[:, 1].long()
    frame = which[:, None, None]
    total = torch.zeros((len(which), out_height, out_width, 3), device=frames.device)
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = x0 + dx, y0 + dy
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        along_x = share[:, 0] if dx else 1 - share[:, 0]
        along_y = share[:, 1] if dy else 1 - share[:, 1]
        pixels = frames[frame, y.clamp(0, height - 1), x.clamp(0, width - 1)]  # (N, h, w, 3)
        total += pixels * (along_x * along_y * inside)[..., None]
    return total.permute(0, 3, 1, 2)  # (N, h, w, 3) -> (N, 3, h, w)


def cut_on_device(
    frame: Tensor, frame_to_crop: NDArray[np.float64], input_size_px: tuple[int, int], widths: Sequence[float]
) -> Tensor:
    """The crops of the people in one frame, cut on its device, rounded as OpenCV rounds them.

    Args:
        frame: (H, W, 3) uint8 RGB.
        frame_to_crop: (N, 2, 3).
        input_size_px: (width, height).
        widths: S, how many times as wide as usual the crops of each person are.

    Returns:
        (N, S, height, width, 3) uint8 RGB.
    """
    backward = np.stack([invert_affine(widen(frame_to_crop, input_size_px, times)) for times in widths], 1)
    count = len(frame_to_crop) * len(widths)
    affines = torch.from_numpy(backward.reshape(count, 2, 3)).float().to(frame.device)
    which = torch.zeros(count, dtype=torch.int64, device=frame.device)
    cut = bilinear_crops(frame[None], which, affines, input_size_px).round_().to(torch.uint8)
    # (N S, 3, h, w) -> (N S, h, w, 3) -> (N, S, h, w, 3)
    return cut.permute(0, 2, 3, 1).contiguous().view(len(frame_to_crop), len(widths), *input_size_px[::-1], 3)


def normalise(crops: Tensor, mean: Colour, sd: Colour) -> Tensor:
    """0..255 RGB (N, 3, h, w) of any dtype -> float32 with the mean (of colours in 0..1) taken off, over the sd."""
    offset = torch.tensor(mean, device=crops.device)[:, None, None]
    deviation = torch.tensor(sd, device=crops.device)[:, None, None]
    return (crops.float() / 255 - offset) / deviation
