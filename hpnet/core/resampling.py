"""Series over time -> series of fixed length, with gaps interpolated. Pure functions; the first axis is T."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]


def resample(values: ArrayLike, frames: int) -> Floats:
    """Linear resampling along the first axis, (T, ...) -> (frames, ...), as ``align_corners=False``; T -> T is exact.

    Frame i of n covers an equal share of the clip, its centre at (i + 1/2) / n; beyond the outermost centres the border
    value is used.

    Raises:
        ValueError: T or ``frames`` is zero.
    """
    series = np.asarray(values, dtype=np.float32)
    count = len(series)
    if count < 1 or frames < 1:
        raise ValueError(f"cannot resample {count} frames to {frames}; expected at least one of each")
    position = np.clip((np.arange(frames) + 0.5) * count / frames - 0.5, 0, count - 1)
    before = np.floor(position).astype(int)
    after = np.minimum(before + 1, count - 1)
    share = (position - before).astype(np.float32).reshape(-1, *[1] * (series.ndim - 1))
    return series[before] * (1 - share) + series[after] * share


def fill_gaps(values: ArrayLike, valid: NDArray[np.bool_]) -> Floats:
    """Replace the frames of (T, ...) that are not valid (T,) by interpolating between the valid ones around them.

    Before the first and after the last valid frame, its value is repeated. Without a valid frame all values are zero.
    """
    series = np.asarray(values, dtype=np.float32)
    known = np.flatnonzero(valid)
    if len(known) == 0:
        return np.zeros_like(series)
    if len(known) == len(series):
        return series
    place = np.interp(np.arange(len(series)), known, np.arange(len(known)))  # position among the valid frames
    before = np.floor(place).astype(int)
    after = np.minimum(before + 1, len(known) - 1)
    share = (place - before).astype(np.float32).reshape(-1, *[1] * (series.ndim - 1))
    return series[known[before]] * (1 - share) + series[known[after]] * share


def person_features(values: ArrayLike, valid: NDArray[np.bool_], frames: int, smear_zeros: bool = False) -> Floats:
    """One person's (T, V, C) over time -> (frames, V, C).

    Args:
        valid: (T,), where the person was found.
        frames: length after resampling.
        smear_zeros: parity with the released code: frames without the person are zeros and blend into their neighbours.
            By default gaps are interpolated, so values are zero only if the person was never found.
    """
    series = np.asarray(values, dtype=np.float32)
    if smear_zeros:
        masked = series * valid.reshape(-1, *[1] * (series.ndim - 1))
        return resample(masked, frames)
    return resample(fill_gaps(series, valid), frames)
