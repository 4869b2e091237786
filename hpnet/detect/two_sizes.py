"""A detector that looks at two sizes of the frame; what looks is given. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .detector import STRIDE_PX, Detection, check_frames, in_frame, letterbox, without_overlaps

SCALES = (0.5, 1.0)
"""Sizes of the input, as shares of ``image_size``: two, because MoveNet finds nobody who is very large or small."""
LARGEST_PX = 192
"""Longer side of a person in the input, up to which the larger size is believed; beyond, it sees parts of people."""
Look = Callable[[NDArray[np.uint8]], list[Detection]]
"""Frames (N, H', W', 3) uint8 RGB of sides that are multiples of 32 -> for each boxes (B, 4) xyxy in their pixels and
scores (B,), unlikely ones too."""


class TwoSizeDetector:
    """Looks at two sizes of the frame: the smaller finds large people, the larger small ones.

    Each size answers for people of a size that the network was trained on (Singh and Davis, CVPR 2018); of two boxes
    that overlap the better one stays.

    Args:
        image_size: longer side of the largest input, pixels.
        confidence: detections below this score are left out.
        iou: if two boxes overlap more than this, the one with the higher score is kept.
        at_once: frames of one look; 0: all that are given.
    """

    def __init__(self, look: Look, *, image_size: int, confidence: float, iou: float, at_once: int) -> None:
        self._look, self._at_once = look, at_once
        self._sizes = tuple(max(STRIDE_PX, round(image_size * scale)) for scale in SCALES)
        self._confidence, self._iou = confidence, iou

    def detect(self, frames: NDArray[np.uint8]) -> list[Detection]:
        """See :meth:`hpnet.detect.detector.Detector.detect`."""
        check_frames(frames)
        height, width = frames.shape[1:3]
        at_once = self._at_once or len(frames)
        found: list[Detection] = []
        for start in range(0, len(frames), at_once):
            part = frames[start : start + at_once]
            by_size = [self._at_size(part, size, size == self._sizes[0]) for size in self._sizes]
            for detections in zip(*by_size, strict=True):
                boxes, scores = (np.concatenate(parts) for parts in zip(*detections, strict=True))
                kept = without_overlaps(boxes, scores, self._iou)
                found.append(in_frame(boxes[kept], scores[kept], (width, height)))
        return found

    def _at_size(self, frames: NDArray[np.uint8], size: int, large: bool) -> list[Detection]:
        """Per frame boxes (B, 4) xyxy in frame pixels and scores (B,).

        Args:
            large: whether people beyond :data:`LARGEST_PX` count.
        """
        padded, scale, (left, top) = letterbox(frames, size)
        shift = np.array([left, top, left, top], np.float32)
        people = []
        for boxes, scores in self._look(padded):
            seen = scores > self._confidence
            if not large:
                seen &= (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0) <= LARGEST_PX
            people.append((((boxes - shift) / np.float32(scale))[seen], scores[seen]))
        return people
