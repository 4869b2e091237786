"""Windows -> features: Eq. (3) of the paper, temporal resampling, and the non-pooled kinds of the baselines.

Pure functions on arrays; axes (T, M, V, C), one person (T, V, C).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.skeleton import Skeleton

Floats = NDArray[np.float32]
OPERATORS: dict[str, Callable[..., NDArray[np.float32]]] = {"mean": np.mean, "max": np.max}


def pool_windows(window: NDArray[np.floating], region: int, operator: str = "mean") -> Floats:
    """Pool the central ``region`` x ``region`` samples of cached windows (Eq. 3).

    Args:
        window: (T, M, V, W, W, C).
        region: R, odd, in cells of the tapped map; 1 is the bilinear sample at the joint.
        operator: mean or max.

    Returns:
        (T, M, V, C) float32.

    Raises:
        ValueError: the region is even, or larger than the cached window; names the parameter to change.
    """
    if operator not in OPERATORS:
        raise ValueError(f"pool.operator: {operator!r} is unknown; choose from {', '.join(OPERATORS)}")
    size = window.shape[3]
    if region < 1 or region % 2 == 0:
        raise ValueError(f"pool.region is {region}; expected an odd number from 1")
    if region > size:
        raise ValueError(
            f"pool.region is {region}, but only windows of {size} were cached: set estimate.window to {region} or more "
            "and run `hpnet estimate` again"
        )
    low = (size - region) // 2
    centre = window[:, :, :, low : low + region, low : low + region].astype(np.float32)
    pooled: Floats = OPERATORS[operator](centre, axis=(3, 4))
    return pooled


def resample(values: ArrayLike, frames: int) -> Floats:
    """Linear resampling along the first axis, (T, ...) -> (frames, ...), as ``align_corners=False``; T -> T is exact.

    Frame i of n covers an equal share of the clip, its centre at (i + 1/2) / n; beyond the outermost centres the
    border value is held.

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

    Before the first and after the last valid frame its value is held. With no valid frame everything is zero.
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
            By default gaps are bridged, so that zeros stand only where nobody was found at all.
    """
    series = np.asarray(values, dtype=np.float32)
    if smear_zeros:
        masked = series * valid.reshape(-1, *[1] * (series.ndim - 1))
        return resample(masked, frames)
    return resample(fill_gaps(series, valid), frames)


def people_seen(scores: NDArray[np.floating], valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where a person is there (T, M), of scores (T, M, V) and mask (T, M): with no joint above score 0 nobody is."""
    return valid & (scores > 0).any(-1)


def pose2d(
    keypoints_px: NDArray[np.floating], scores: NDArray[np.floating], valid: NDArray[np.bool_], skeleton: Skeleton
) -> Floats:
    """2-D poses as features (x, y, score), the baseline of Table III.

    The whole clip shares one origin and one scale, so that motion through the frame and the distance between people
    survive: the origin is the first person's median hip centre (the mean of all joints where a skeleton has no hips, or
    where none is ever seen), the scale the median over its frames of the longer side of the joints' bounding box. Both
    are medians, so a few frames with bad joints move neither.

    A joint with score 0 was not seen, wherever it is said to be: it counts neither for origin nor for scale, and takes
    the mean of its person's seen joints in that frame.

    Args:
        keypoints_px: (T, M, V, 2), frame pixels.
        scores: (T, M, V).
        valid: (T, M).

    Returns:
        (T, M, V, 3) float32; zeros where not valid, and where none of a person's joints was seen.
    """
    features = np.zeros((*scores.shape, 3), np.float32)
    present = people_seen(scores, valid)
    frames_seen = present.sum(0)
    if not frames_seen.any():
        return features
    seen = present[..., None] & (scores > 0)  # (T, M, V)
    reference = 0 if frames_seen[0] else int(np.argmax(frames_seen > 0))
    joints = keypoints_px[present[:, reference], reference].astype(np.float32)  # (T', V, 2)
    shown = seen[present[:, reference], reference]  # (T', V)
    names = skeleton.joints
    hips = [names.index(n) for n in ("left_hip", "right_hip") if n in names]
    if not shown[:, hips].any():
        hips = list(range(len(names)))
    framed = shown[:, hips].any(1)
    origin = np.median(_mean_of_seen(joints[framed][:, hips], shown[framed][:, hips]), axis=0)
    where = shown[..., None]
    sides = joints.max(1, where=where, initial=-np.inf) - joints.min(1, where=where, initial=np.inf)
    extent = float(np.median(sides.max(1)))
    centre = np.zeros((*present.shape, 1, 2), keypoints_px.dtype)
    centre[present, 0] = _mean_of_seen(keypoints_px[present], seen[present])
    features[..., :2] = (np.where(seen[..., None], keypoints_px, centre) - origin) / max(extent, 1.0)
    features[..., 2] = np.where(seen, scores, 0)
    features[~present] = 0
    return features


def _mean_of_seen(joints: NDArray[np.floating], seen: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Joints (N, V, 2) of which (N, V) were seen, at least one of each N -> their means (N, 2)."""
    mean: NDArray[np.floating] = joints.mean(1, where=seen[..., None])
    return mean
