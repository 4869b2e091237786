"""Outputs of a pose head -> joints in crop pixels and scores, on the device."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def decode_simcc(x: Tensor, y: Tensor, split_ratio: float) -> Tensor:
    """Joints of SimCC coordinate vectors (Li et al., ECCV 2022): the bin of the maximum, in crop pixels.

    Args:
        x, y: (N, V, width * split_ratio) and (N, V, height * split_ratio).

    Returns:
        (N, V, 2) float32 as x, y.
    """
    return torch.stack([x.argmax(-1), y.argmax(-1)], dim=-1).float() / split_ratio


def simcc_maximum(x: Tensor, y: Tensor) -> Tensor:
    """mmpose's score of a joint, (N, V): the smaller of the two maxima, clipped to 0..1."""
    return torch.minimum(x.amax(-1), y.amax(-1)).float().clamp(0, 1)


def simcc_sharpness(x: Tensor, y: Tensor, sigma_bins: float) -> Tensor:
    """Score (N, V) in 0..1 of vectors trained as logits: the smaller peak probability, relative to the target's peak.

    A network trained with the Kullback-Leibler loss on Gaussians of ``sigma_bins`` gives logits up to a constant, so
    their raw maximum has no meaning. Here 1 means a peak as sharp as the target's.
    """
    peak = torch.minimum(x.float().softmax(-1).amax(-1), y.float().softmax(-1).amax(-1))
    return (peak * sigma_bins * math.sqrt(2 * math.pi)).clamp(0, 1)


def decode_heatmaps(heatmaps: Tensor, input_size_px: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Joints of heatmaps: the maximum, moved a quarter cell towards the greater neighbour on each axis, as in mmpose.

    Args:
        heatmaps: (N, V, h, w).
        input_size_px: (width, height) of the crop.

    Returns:
        joints (N, V, 2) float32 in crop pixels, scores (N, V) float32 in 0..1.
    """
    height, width = heatmaps.shape[2:]
    flat = heatmaps.float().flatten(2)  # (N, V, h * w)
    scores, index = flat.max(-1)
    x, y = index % width, index // width

    def value(column: Tensor, row: Tensor) -> Tensor:
        cell = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
        return flat.gather(2, cell[..., None])[..., 0]

    inside_x = (x > 1) & (x < width - 1) & (y > 0)
    inside_y = (y > 1) & (y < height - 1) & (x > 0)
    dx = torch.sign(value(x + 1, y) - value(x - 1, y)) * inside_x
    dy = torch.sign(value(x, y + 1) - value(x, y - 1)) * inside_y
    cells = torch.stack([x + 0.25 * dx, y + 0.25 * dy], dim=-1)
    stride = torch.tensor([input_size_px[0] / width, input_size_px[1] / height], device=heatmaps.device)
    return cells * stride, scores.clamp(0, 1)
