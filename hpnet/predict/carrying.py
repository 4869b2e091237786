"""Boxes that are carried by joints from one frame to the next, where no detector looks. Pure functions.

MediaPipe and MoveNet's own demo do likewise: the next crop is made of the joints that were found before (Bazarevsky et
al., "BlazePose: On-device Real-time Body Pose tracking", arXiv 2006.10204). Here a box keeps the margins that the
detector's box has around the joints, because the pose network was trained on boxes of a detector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_JOINTS = 4
"""A box is carried by so many joints or more."""
SEEN_SHARE = 0.5
"""A joint carries a box if its score is at least this share of the person's mean."""
FALLEN_SHARE = 0.7
"""The detector looks again at once where the mean score of the joints falls to this share of what it was."""
MOST_GROWTH = 2.0
"""A box never becomes larger than this times the detector's, or smaller than its inverse, before the detector looks."""


@dataclass(frozen=True)
class Anchor:
    """What the detector and the pose network found of a person in the same frame.

    Attributes:
        box_xyxy_px: (4,) of the detector.
        keypoints_px: (V, 2).
        scores: (V,) in 0..1.
    """

    box_xyxy_px: NDArray[np.floating]
    keypoints_px: NDArray[np.float32]
    scores: NDArray[np.float32]

    def carried(self, keypoints_px: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.float64] | None:
        """The box (4,) around the same person's joints (V, 2) with scores (V,) in a later frame.

        None where too few joints were seen in both frames.
        """
        both = _seen(self.scores) & _seen(scores)
        if both.sum() < LEAST_JOINTS:
            return None
        before, now = self.keypoints_px[both].astype(np.float64), keypoints_px[both].astype(np.float64)
        box = np.asarray(self.box_xyxy_px, np.float64)
        growth = min(max(_spread(now) / max(_spread(before), 1.0), 1 / MOST_GROWTH), MOST_GROWTH)
        low = now.min(0) + growth * (box[:2] - before.min(0))
        high = now.max(0) + growth * (box[2:] - before.max(0))
        sides = box[2:] - box[:2]
        half = (high - low).clip(sides / MOST_GROWTH, sides * MOST_GROWTH) / 2
        middle = (low + high) / 2
        return np.concatenate([middle - half, middle + half])

    def has_fallen(self, scores: NDArray[np.float32]) -> bool:
        """Whether joints with scores (V,) are much less sure than they were."""
        return float(scores.mean()) < FALLEN_SHARE * float(self.scores.mean())


def _seen(scores: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(V,): the joints that are sure enough to say where a person is."""
    return np.asarray(scores >= SEEN_SHARE * scores.mean())


def _spread(points: NDArray[np.float64]) -> float:
    """How far points (n, 2) are from their middle, root mean square, pixels."""
    return float(np.sqrt(np.square(points - points.mean(0)).sum(1).mean()))
