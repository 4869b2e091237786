"""Choice of frames of a clip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def uniform_indices(frames: int, count: int) -> NDArray[np.int64]:
    """``count`` frame indices uniform in time: the middles of equal segments; all frames for count 0 or >= frames."""
    if count == 0 or count >= frames:
        return np.arange(frames, dtype=np.int64)
    return ((np.arange(count) + 0.5) * frames / count).astype(np.int64)


def sample_frames(count: int, wanted: int, draw: np.random.Generator | None = None) -> NDArray[np.int64]:
    """Choose from ``count`` frames: one from each of ``wanted`` equal segments, ascending.

    Args:
        draw: random numbers for a random frame of each segment (training); None: the middle frame.

    Returns:
        (wanted,) indices in 0..count - 1; frames repeat if count < wanted.
    """
    if count < 1 or wanted < 1:
        raise ValueError(f"cannot take {wanted} of {count} frames")
    within = np.full(wanted, 0.5) if draw is None else draw.random(wanted)
    chosen = ((np.arange(wanted) + within) * count / wanted).astype(np.int64)
    return np.minimum(chosen, count - 1)
