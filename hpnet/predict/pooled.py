"""What is kept of a person: joints, and features that are pooled already, so that windows can slide over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..artifacts.poses import ClipPoses
from ..pool.params import PoolParams
from ..pool.pooling import pool_windows

Rows = dict[str, NDArray[Any]]
"""Of one person on n frames: frame (n,), time_s (n,), keypoints_px (n, V, 2), scores (n, V), valid (n,), the vectors
(n, V, L) where there are any, and for every tap (n, V, C), pooled."""
TAP = "tap "
"""Names of taps in :data:`Rows` begin with this."""


def already_pooled(params: PoolParams) -> PoolParams:
    """The parameters with which clips of :func:`pooled_clip` are pooled: their maps have one cell."""
    return params.model_copy(update={"region": 1, "operator": "mean"})


def pooled_taps(windows: Mapping[str, NDArray[np.float16]], params: PoolParams) -> Rows:
    """The rows (n, V, C) of taps, of their windows (n, V, W, W, C)."""
    return {
        # (n, V, W, W, C) -> (n, 1, V, W, W, C)
        TAP + tap: pool_windows(windows[tap][:, None], params.region, params.operator)[:, 0]
        for tap in params.readings
    }


def pooled_clip(people: list[Rows], frames: tuple[int, int] | None = None) -> ClipPoses | None:
    """Rows of some people in a window as a clip whose maps are pooled already; None without a row.

    Args:
        frames: the window's first frame and the number of its frames; None: from the first row to the last.
    """
    numbers = np.concatenate([rows["frame"] for rows in people])
    if not len(numbers):
        return None
    first, count = frames or (int(numbers.min()), int(np.ptp(numbers)) + 1)

    def filled(name: str) -> NDArray[Any]:
        values = people[0][name]
        whole = np.zeros((count, len(people), *values.shape[1:]), values.dtype)  # (T, M, ...)
        for m, rows in enumerate(people):
            whole[rows["frame"] - first, m] = rows[name]
        return whole

    taps = {name.removeprefix(TAP): filled(name)[:, :, :, None, None] for name in people[0] if name.startswith(TAP)}
    affines = np.zeros((count, len(people), 2, 3), np.float32)
    vectors = filled("vectors") if "vectors" in people[0] else None
    return ClipPoses("window", filled("keypoints_px"), filled("scores"), affines, filled("valid"), taps, vectors)
