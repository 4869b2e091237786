"""Accuracy of estimated joints: PCK and OKS-AP over the people of an estimate folder."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ..artifacts.poses import ClipPoses
from ..core.metrics import iou_matrix, oks, oks_ap, pck
from ..core.sampling import uniform_indices
from ..core.skeleton import COCO_JOINTS

PCK_ALPHA = 0.2
AREA_SHARE = 0.53
"""Area of a person as a share of its box, the common stand-in for COCO's segment."""
_DIAGONALS = (
    (COCO_JOINTS.index("left_shoulder"), COCO_JOINTS.index("right_hip")),
    (COCO_JOINTS.index("right_shoulder"), COCO_JOINTS.index("left_hip")),
)

Floats = NDArray[np.float64]


def torso_px(keypoints_px: NDArray[np.floating]) -> Floats:
    """Torso diameter of COCO joints (..., 17, 2): the longer shoulder-to-opposite-hip diagonal, pixels (...)."""
    sides = [np.linalg.norm(keypoints_px[..., a, :] - keypoints_px[..., b, :], axis=-1) for a, b in _DIAGONALS]
    return np.asarray(np.maximum(*sides), dtype=np.float64)


def pose_figures(
    keypoints_px: NDArray[np.floating],
    scores: NDArray[np.floating],
    found: NDArray[np.bool_],
    truth_px: NDArray[np.floating],
    visible: NDArray[np.bool_],
    boxes_xyxy_px: NDArray[np.floating],
) -> dict[str, float]:
    """Figures for P true people, each paired with an estimate.

    Args:
        keypoints_px, scores: (P, 17, 2), (P, 17); any value for people who were not found.
        found: (P,), whether the person was estimated at all.
        truth_px, visible, boxes_xyxy_px: (P, 17, 2), (P, 17), (P, 4).

    Returns:
        pck_torso: share of the visible joints of found people within 0.2 torso diameters of the truth; pck_box: within
        0.2 of the true box's longer side; oks_ap: mean AP over OKS .50:.95, people not found counting as misses; found:
        share of the people that were found.
    """
    sides = boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]
    similarity = oks(keypoints_px, truth_px, visible, AREA_SHARE * sides.prod(-1))
    similarity = np.where(found | np.isnan(similarity), similarity, 0.0)
    confidence = np.where(found, scores.mean(-1), 0.0)
    estimate, truth, seen = keypoints_px[found], truth_px[found], visible[found]
    return {
        "pck_torso": pck(estimate, truth, seen, torso_px(truth), PCK_ALPHA) if seen.any() else 0.0,
        "pck_box": pck(estimate, truth, seen, sides[found].max(-1), PCK_ALPHA) if seen.any() else 0.0,
        "oks_ap": oks_ap(similarity, confidence),
        "found": float(found.mean()),
    }


def compare_with_truth(clips: Iterable[ClipPoses], truth: pd.DataFrame, frames: int = 0) -> dict[str, float]:
    """:func:`pose_figures` of clips against a truth table; in each frame people are paired by overlap.

    Args:
        clips: estimates; clips without truth are left out.
        truth: clip_id, frame, person, x1, y1, x2, y2, keypoints (34), visible (17).
        frames: number of frames used per clip, uniform in time; 0: all.

    Returns:
        The figures; empty if no clip has truth.
    """
    by_clip = {str(clip_id): rows for clip_id, rows in truth.groupby("clip_id")}
    parts: list[tuple[NDArray[np.floating], ...]] = []
    for clip in clips:
        rows = by_clip.get(clip.clip_id)
        if rows is not None:
            counted = uniform_indices(len(clip.valid), frames)
            parts += [_pair(clip, int(frame), people) for frame, people in rows.groupby("frame") if frame in counted]
    if not parts:
        return {}
    keypoints, scores, found, joints, visible, boxes = (np.concatenate(column) for column in zip(*parts, strict=True))
    shown = visible.any(1)
    if not shown.any():
        return {}
    found, visible = found.astype(bool), visible.astype(bool)
    return pose_figures(keypoints[shown], scores[shown], found[shown], joints[shown], visible[shown], boxes[shown])


def _pair(clip: ClipPoses, frame: int, people: pd.DataFrame) -> tuple[NDArray[np.floating], ...]:
    """One frame's true people, each with the estimate whose joints' extent overlaps its box most, if any does."""
    count = len(people)
    joints = np.stack(people.keypoints.to_list()).reshape(count, -1, 2).astype(np.float64)
    visible = np.stack(people.visible.to_list()).astype(bool)
    boxes = people[["x1", "y1", "x2", "y2"]].to_numpy(np.float64)
    keypoints, scores, found = np.zeros_like(joints), np.zeros(joints.shape[:2]), np.zeros(count, bool)
    present = np.flatnonzero(clip.valid[frame])
    if len(present):
        estimates = clip.keypoints_px[frame, present].astype(np.float64)  # (M', V, 2)
        extents = np.concatenate([estimates.min(1), estimates.max(1)], axis=-1)
        overlap = iou_matrix(boxes, extents)
        for person, estimate in zip(*linear_sum_assignment(-overlap), strict=True):
            if overlap[person, estimate] > 0:
                keypoints[person] = estimates[estimate]
                scores[person] = clip.scores[frame, present[estimate]]
                found[person] = True
    return keypoints, scores, found, joints, visible, boxes
