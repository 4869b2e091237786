"""Choice of frames of a clip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def uniform_indices(frames: int, count: int) -> NDArray[np.int64]:
    """``count`` frame indices uniform in time: the middles of equal segments; all frames for count 0 or >= frames."""
    if count == 0 or count >= frames:
        return np.arange(frames, dtype=np.int64)
    return ((np.arange(count) + 0.5) * frames / count).astype(np.int64)
