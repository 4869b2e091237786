"""Boxes of a clip -> tracks, with ultralytics' BYTETracker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .detector import LOW_SCORE, Detection
from .library import ultralytics
from .tracking import Track


@dataclass(frozen=True)
class TrackerOptions:
    """Arguments of ultralytics' BYTETracker."""

    track_high_thresh: float
    track_low_thresh: float
    new_track_thresh: float
    track_buffer: int
    match_thresh: float
    fuse_score: bool = True


def tracker_options(rate_fps: float, confidence: float) -> TrackerOptions:
    """Tracker settings for ``rate_fps`` detections per second.

    A lost person is kept for one second. At low rates boxes of successive steps overlap less. So the tracker's limit on
    1 - IoU x score is its published 0.8 at 30 per second and above, and rises linearly to 1 below.
    """
    return TrackerOptions(
        track_high_thresh=confidence,
        track_low_thresh=min(LOW_SCORE, confidence),
        new_track_thresh=confidence,
        track_buffer=max(1, round(rate_fps)),
        match_thresh=1 - 0.2 * min(1.0, rate_fps / 30),
    )


def track(detections: Sequence[Detection], frames: Sequence[int], *, rate_fps: float, confidence: float) -> list[Track]:
    """Join the detections of one clip into tracks with ultralytics' BYTETracker.

    The boxes of a track are the detections themselves, not the filter's estimates, from its very first detection on.
    A track that starts after the first step needs two detections in a row.

    Args:
        detections: one entry per step.
        frames: the frame index of each step, rising.
        rate_fps: steps per second.
        confidence: least score that starts a track; detections down to ``LOW_SCORE`` may continue one.

    Returns:
        Tracks in order of their first appearance, with gaps where the person was not detected.
    """
    parts = ultralytics()
    tracker = parts.BYTETracker(tracker_options(rate_fps, confidence))
    seen: dict[int, list[tuple[int, int]]] = {}  # track id -> (step, row of its detection)
    confirmed: set[int] = set()
    for step, (boxes, scores) in enumerate(detections):
        rows = np.concatenate([boxes, scores[:, None], np.zeros((len(boxes), 1), np.float32)], axis=1)  # (B, 6)
        tracker.update(parts.Boxes(rows.astype(np.float32).reshape(-1, 6), (1, 1)))
        for person in tracker.tracked_stracks:
            if person.frame_id == tracker.frame_id:
                seen.setdefault(person.track_id, []).append((step, int(person.idx)))
            if person.is_activated:
                confirmed.add(person.track_id)
    return [
        Track(
            frames=np.array([frames[step] for step, _ in where], dtype=np.int64),
            boxes_xyxy_px=np.stack([detections[step][0][row] for step, row in where]).astype(np.float32),
            scores=np.array([detections[step][1][row] for step, row in where], dtype=np.float32),
        )
        for identity, where in sorted(seen.items())
        if identity in confirmed
    ]
