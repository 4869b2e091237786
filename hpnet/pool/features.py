"""A clip's poses -> its features of fixed length, and what their channels are. Pure functions; axes (T, M, V, C)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..artifacts.features import FeatureMeta
from ..artifacts.poses import ClipPoses, PoseMeta, mirrored_tap
from ..core.poses import people_seen, pose2d, raw_pose
from ..core.resampling import person_features
from . import pooling
from .params import PoolParams

POSE_CHANNELS = {"pose2d": 3, "both": 3, "xy": 2}
"""Kind -> how many of the last channels are a pose: x, y, score, or x, y."""


def feature_meta(params: PoolParams, poses: PoseMeta) -> FeatureMeta:
    """Description of the channels; checks that the estimate folder has the data for them.

    Raises:
        ValueError: the tap or the vectors were not cached, or the region is larger than the cached window; names the
            parameter to change.
    """
    for tap in params.maps:
        if tap not in poses.taps:
            raise ValueError(
                f"pool.tap: {tap!r} was not cached (cached: {', '.join(poses.taps)}): add it to estimate.taps "
                "and run `hpnet estimate` again"
            )
        if params.mirrored and mirrored_tap(tap) not in poses.taps:
            raise ValueError(
                f"pool.mirrored: {tap!r} was not cached of mirrored crops: set estimate.mirrored to true and run "
                "`hpnet estimate` again, or pool.mirrored to false"
            )
        empty = np.zeros((0, 1, 1, poses.window, poses.window, poses.taps[tap][0]), np.float16)
        pooling.pool_windows(empty, params.region, params.operator)
    if params.kind == "simcc" and not poses.vectors:
        raise ValueError(
            "pool.kind: simcc needs the coordinate vectors: set estimate.vectors to true and run `hpnet estimate` again"
        )
    return FeatureMeta(
        kind=params.kind,
        tap=params.tap if params.maps else "",
        region=params.region if params.maps else 1,
        operator=params.operator,
        skeleton=poses.skeleton,
        parts=(
            *(poses.taps[tap][0] for tap in params.readings),
            *([POSE_CHANNELS["both"]] if params.kind == "both" else []),
        ),
        mirrored=len(params.readings) - len(params.maps),
    )


def num_channels(params: PoolParams, poses: PoseMeta) -> int:
    """C of the features."""
    pooled = sum(poses.taps[tap][0] for tap in params.readings)
    return pooled + {"pooled": 0, "simcc": poses.vectors, **POSE_CHANNELS}[params.kind]


def people_valid(clip: ClipPoses, params: PoolParams) -> NDArray[np.bool_]:
    """Mask (T, M) of people with features of this kind: a 2-D pose needs a joint that was seen."""
    return people_seen(clip.scores, clip.valid) if params.kind in ("pose2d", "xy") else clip.valid


def clip_features(clip: ClipPoses, params: PoolParams, poses: PoseMeta) -> NDArray[np.float32]:
    """Features (M, frames, V, C) of one clip; a person who was never found is zeros."""
    parts = [pooling.pool_windows(clip.windows[tap], params.region, params.operator) for tap in params.readings]
    if params.kind in ("pose2d", "both"):
        parts.append(pose2d(clip.keypoints_px, clip.scores, clip.valid, poses.skeleton))
    if params.kind == "xy":
        parts.append(raw_pose(clip.keypoints_px, clip.scores, clip.valid))
    if params.kind == "simcc":
        assert clip.vectors is not None
        parts.append(clip.vectors.astype(np.float32))
    values = np.concatenate(parts, axis=-1)  # (T, M, V, C) each
    smear = poses.parity != "none"
    valid = people_valid(clip, params)
    return np.stack([person_features(values[:, m], valid[:, m], params.frames, smear) for m in range(valid.shape[1])])
