"""2-D poses as features. Pure functions on arrays; axes (T, M, V, C)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .skeleton import Skeleton

Floats = NDArray[np.float32]


def people_seen(scores: NDArray[np.floating], valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mask (T, M) of visible people, from scores (T, M, V) and mask (T, M): a person needs a joint with score > 0."""
    return valid & (scores > 0).any(-1)


def pose2d(
    keypoints_px: NDArray[np.floating], scores: NDArray[np.floating], valid: NDArray[np.bool_], skeleton: Skeleton
) -> Floats:
    """2-D poses as features (x, y, score), our baseline of Table III; the paper's is :func:`raw_pose`.

    The whole clip has one origin and one scale, so motion through the frame and the distance between people are kept.
    The origin is the first person's median hip centre (or the mean of all joints, if the skeleton has no hips or they
    are never seen). The scale is the median over frames of the longer side of the joints' bounding box. Both are
    medians, so a few frames with bad joints do not change them.

    A joint with score 0 was not seen. It is not used for origin and scale, and gets the mean of its person's seen
    joints in that frame.

    Args:
        keypoints_px: (T, M, V, 2), frame pixels.
        scores: (T, M, V).
        valid: (T, M).

    Returns:
        (T, M, V, 3) float32; zeros where not valid, and where no joint of a person was seen.
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


def raw_pose(keypoints_px: NDArray[np.floating], scores: NDArray[np.floating], valid: NDArray[np.bool_]) -> Floats:
    """2-D poses as features (x, y), the baseline of the paper's Tables III to V: "the human skeleton data directly
    obtained from videos using pose estimation" (section IV-C).

    Nothing is centred or scaled, and there is no score: a network sees where in the frame a person is, how large, and
    every joint as sure as any other. The arguments are those of :func:`pose2d`.

    Returns:
        (T, M, V, 2) float32, frame pixels; zeros where not valid, and where no joint of a person was seen.
    """
    return np.where(people_seen(scores, valid)[..., None, None], keypoints_px, 0).astype(np.float32)


def _mean_of_seen(joints: NDArray[np.floating], seen: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Means (N, 2) of the seen joints of (N, V, 2), with mask (N, V) and at least one seen per row."""
    mean: NDArray[np.floating] = joints.mean(1, where=seen[..., None])
    return mean
