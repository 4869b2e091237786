"""Person frames, the input of the RGB stream: which frames of a clip are kept, and the part of each that is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..core.geometry import square_around, union_box
from ..core.sampling import sample_frames, uniform_indices
from .params import DetectParams
from .tracking import Track

JPEG_QUALITY = 90

Areas = NDArray[np.float64]
"""(n, 4): x, y, width, height of the part of each frame that is shown, frame pixels."""


@dataclass(frozen=True)
class PersonCuts:
    """Parts of a clip's frames.

    Attributes:
        frames: (n,) rising frame indices.
        areas_xywh_px: (n, 4), the part of each frame that is shown.
    """

    frames: NDArray[np.int64]
    areas_xywh_px: Areas

    def by_frame(self) -> dict[int, tuple[float, ...]]:
        """Frame -> the part that is shown."""
        return dict(zip(self.frames.tolist(), map(tuple, self.areas_xywh_px.tolist()), strict=True))

    def middle(self, wanted: int) -> PersonCuts:
        """The middle one of each of ``wanted`` segments, as validation and test see them; all if there are fewer."""
        chosen = np.unique(sample_frames(len(self.frames), wanted))
        return PersonCuts(self.frames[chosen], self.areas_xywh_px[chosen])


def person_cuts(
    tracks: Sequence[Track], count: int, frame_size_px: tuple[int, int], params: DetectParams
) -> PersonCuts:
    """The frames of a clip of ``count`` frames that are kept, and what is shown of them.

    ``params.frames`` segments of time have ``params.candidates`` frames each; the middle one is in the middle of its
    segment. With ``params.crop: box`` only frames in which somebody has a box are counted.

    Args:
        tracks: of the people to show; without people the whole frames are shown.
        frame_size_px: (width, height).
    """
    shape = own_boxes if params.crop == "box" else one_square
    shown, areas = shape(tracks if params.enabled else [], count, frame_size_px)
    chosen = uniform_indices(len(shown), params.frames * params.candidates)
    return PersonCuts(shown[chosen], areas[chosen])


def one_square(tracks: Sequence[Track], count: int, frame_size_px: tuple[int, int]) -> tuple[NDArray[np.int64], Areas]:
    """All frames, and one square for the whole clip around everybody in it.

    So the person moves in the picture and not the camera, and nothing is distorted.
    """
    if tracks:
        x, y, side = square_around(union_box(np.concatenate([t.boxes_xyxy_px for t in tracks])))
    else:
        x, y, side = square_around(np.array([0, 0, *frame_size_px], dtype=np.float32), padding=1.0)
    return np.arange(count), np.tile(np.array([x, y, side, side]), (count, 1))


def own_boxes(tracks: Sequence[Track], count: int, frame_size_px: tuple[int, int]) -> tuple[NDArray[np.int64], Areas]:
    """Eq. (10): the frames in which somebody has a box, and the box around everybody in that frame, without margin.

    The whole frames if nobody has a box. The boxes are stretched to squares when they are cut.
    """
    if not tracks:
        return np.arange(count), np.tile(np.array([0.0, 0.0, *frame_size_px]), (count, 1))
    corners = np.tile([np.inf, np.inf, -np.inf, -np.inf], (count, 1))
    for one in tracks:
        boxes = one.boxes_xyxy_px.astype(np.float64)
        corners[one.frames, :2] = np.minimum(corners[one.frames, :2], boxes[:, :2])
        corners[one.frames, 2:] = np.maximum(corners[one.frames, 2:], boxes[:, 2:])
    frames = np.flatnonzero(np.isfinite(corners[:, 0]))
    corners = corners[frames]
    return frames, np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def cut_out(frame: NDArray[np.uint8], area_xywh_px: Sequence[float], size: int) -> NDArray[np.uint8]:
    """Cut an area (x, y, width, height; frame pixels) out of an RGB frame (H, W, 3) and scale it to (size, size, 3).

    Pixels outside the frame are black. An area that is not square is stretched. A side that shrinks is averaged.
    """
    frame_height, frame_width = frame.shape[:2]
    left, top, width, height = (round(value) for value in area_xywh_px)
    width, height = max(1, width), max(1, height)
    cut = np.zeros((height, width, 3), dtype=np.uint8)
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + width, frame_width), min(top + height, frame_height)
    if x2 > x1 and y2 > y1:
        cut[y1 - top : y2 - top, x1 - left : x2 - left] = frame[y1:y2, x1:x2]
    shrunk = cv2.resize(cut, (min(width, size), min(height, size)), interpolation=cv2.INTER_AREA)
    scaled = cv2.resize(shrunk, (size, size), interpolation=cv2.INTER_LINEAR)
    return scaled.astype(np.uint8, copy=False)


def encode_jpeg(image: NDArray[np.uint8]) -> bytes:
    """RGB (H, W, 3) uint8 -> JPEG bytes."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return data.tobytes()
