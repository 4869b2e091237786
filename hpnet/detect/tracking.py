"""Tracks of boxes: interpolating their gaps, and ranking people by how prominent they are. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_PRESENCE = 0.2
"""A track in a smaller share of its clip's frames counts as a false detection, unless it is the only one."""


@dataclass(frozen=True)
class Track:
    """One person's boxes.

    Attributes:
        frames: (n,) int64, rising frame indices, n >= 1.
        boxes_xyxy_px: (n, 4) float32, frame pixels.
        scores: (n,) float32 in 0..1.
    """

    frames: NDArray[np.int64]
    boxes_xyxy_px: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        count = len(self.frames)
        if count == 0 or self.boxes_xyxy_px.shape != (count, 4) or self.scores.shape != (count,):
            raise ValueError(
                f"track: {count} frames, boxes {self.boxes_xyxy_px.shape}, scores {self.scores.shape}; "
                "expected (n,), (n, 4) and (n,) with n >= 1"
            )
        if (np.diff(self.frames) <= 0).any():
            raise ValueError(f"track: frames must rise, got {self.frames.tolist()}")


def interpolate(track: Track) -> Track:
    """Fill every gap between a track's first and last frame with linearly interpolated boxes and scores."""
    frames = np.arange(track.frames[0], track.frames[-1] + 1, dtype=np.int64)
    columns = np.concatenate([track.boxes_xyxy_px, track.scores[:, None]], axis=1)  # (n, 5)
    dense = np.stack([np.interp(frames, track.frames, column) for column in columns.T], axis=1).astype(np.float32)
    known = np.searchsorted(frames, track.frames)
    dense[known] = columns  # exact where nothing was interpolated
    return Track(frames, dense[:, :4], dense[:, 4])


def presence(track: Track, clip_frames: int) -> float:
    """Share of the clip's frames in which the track has a box, 0..1."""
    return len(track.frames) / clip_frames


def size(track: Track, frame_size_px: tuple[int, int]) -> float:
    """Mean over frames of the square root of the box's share of the frame (width, height), about 0..1."""
    width, height = frame_size_px
    sides = np.clip(track.boxes_xyxy_px[:, 2:] - track.boxes_xyxy_px[:, :2], 0, None).astype(np.float64)  # (n, 2)
    return float(np.sqrt(sides.prod(1) / (width * height)).mean())


def motion(track: Track, fps: float) -> float:
    """Mean speed of the box's four sides in box diagonals per second, 0 for a track of one frame.

    Sides are used and not centres, because a raised arm moves one side of the box but hardly its centre.
    """
    if len(track.frames) < 2:
        return 0.0
    boxes = track.boxes_xyxy_px.astype(np.float64)
    diagonal = np.linalg.norm(boxes[:, 2:] - boxes[:, :2], axis=1)  # (n,)
    seconds = np.diff(track.frames) / fps
    shift = np.abs(np.diff(boxes, axis=0)).mean(1)  # (n - 1,)
    return float((shift / np.maximum(diagonal[1:], 1.0) / seconds).mean())


def prominence(track: Track, clip_frames: int, frame_size_px: tuple[int, int], fps: float) -> float:
    """How prominent a person is: presence x size x (1 + min(motion, 1)).

    A person who acts stays in view, is near the camera and moves. Each single factor can rank a bystander first. Motion
    at most doubles the value, so that jitter of a small box does not outrank a near person.
    """
    return presence(track, clip_frames) * size(track, frame_size_px) * (1 + min(motion(track, fps), 1.0))


def rank_tracks(tracks: Sequence[Track], clip_frames: int, frame_size_px: tuple[int, int], fps: float) -> list[Track]:
    """The persistent tracks of a clip, most prominent first; ties go to the earlier, then the more left one.

    Tracks in fewer than ``MIN_PRESENCE`` of the frames are left out; if no track is persistent, the most prominent one
    is kept.
    """
    ordered = sorted(
        tracks,
        key=lambda t: (
            -prominence(t, clip_frames, frame_size_px, fps),
            int(t.frames[0]),
            float(t.boxes_xyxy_px[0, 0]),
        ),
    )
    persistent = [t for t in ordered if presence(t, clip_frames) >= MIN_PRESENCE]
    return persistent or ordered[:1]
