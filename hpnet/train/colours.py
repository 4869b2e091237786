"""Colour jitter and grey frames, as in the training of X-CLIP (Ni et al., ECCV 2022). Pure functions.

Frames are (F, 3, S, S) float32 RGB in 0..1. Every change has one amount per frame, (F, 1, 1, 1).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in a grey value (ITU-R 601)."""


def to_grey(frames: Tensor) -> Tensor:
    """(F, 3, S, S) -> (F, 1, S, S)."""
    return (frames * frames.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def change_brightness(frames: Tensor, by: Tensor) -> Tensor:
    """``by`` from -1 (black); 0 changes nothing."""
    return (frames * (1 + by)).clamp(0, 1)


def change_contrast(frames: Tensor, by: Tensor) -> Tensor:
    """``by`` from -1 (the frame's mean grey everywhere); 0 changes nothing."""
    mean = to_grey(frames).mean((1, 2, 3), keepdim=True)
    return (mean + (frames - mean) * (1 + by)).clamp(0, 1)


def change_saturation(frames: Tensor, by: Tensor) -> Tensor:
    """``by`` from -1 (grey); 0 changes nothing."""
    grey = to_grey(frames)
    return (grey + (frames - grey) * (1 + by)).clamp(0, 1)


def change_hue(frames: Tensor, by: Tensor) -> Tensor:
    """``by`` in turns of the colour circle, in HSV; 0 and 1 change nothing."""
    red, green, blue = (frames[:, channel : channel + 1] for channel in range(3))
    value, least = frames.amax(1, keepdim=True), frames.amin(1, keepdim=True)
    chroma = value - least
    divisor = torch.where(chroma > 0, chroma, 1.0)
    hue = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )  # in sixths of a turn
    place = frames.new_tensor((5.0, 3.0, 1.0)).view(1, 3, 1, 1) + hue + 6 * by
    place = place % 6  # (F, 3, S, S)
    return value - chroma * torch.minimum(place, 4 - place).clamp(0, 1)


JITTER: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], float]] = {
    "brightness": (change_brightness, 0.4),
    "contrast": (change_contrast, 0.4),
    "saturation": (change_saturation, 0.2),
    "hue": (change_hue, 0.1),
}
"""What changes -> how, and the largest amount in X-CLIP's training."""


def recolour(frames: Tensor, draw: np.random.Generator, colour: float, grey: float) -> Tensor:
    """Colours of a training clip.

    With probability ``colour`` everything in :data:`JITTER` changes, in one random order for the clip and by amounts of
    its own for every frame. Then, with probability ``grey``, all frames of the clip become grey.

    Args:
        frames: (F, 3, S, S) float32 in 0..255, RGB.

    Returns:
        (F, 3, S, S) float32 in 0..255.
    """
    shown = frames / 255
    if draw.random() < colour:
        for name in draw.permutation(list(JITTER)):
            change, most = JITTER[str(name)]
            amounts = torch.tensor(draw.uniform(-most, most, len(shown)), dtype=shown.dtype, device=shown.device)
            shown = change(shown, amounts.view(-1, 1, 1, 1))
    if draw.random() < grey:
        shown = to_grey(shown).expand_as(shown)
    return shown * 255
