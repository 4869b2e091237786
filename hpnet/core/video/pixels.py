"""Decoded frames -> RGB arrays for display: square pixels, upright, and limited in size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

MAX_SIDE_PX = 4096
"""Frames with a longer side are read at reduced size; all stages see the same reduced frames."""
_ODDEST_PIXEL = 4.0
_SQUARE_WITHIN = 0.005


@dataclass(frozen=True)
class Upright:
    """Transform to an upright frame: mirror left to right, then rotate counter-clockwise by quarter turns."""

    mirrored: bool = False
    quarter_turns: int = 0


def shown_size(width: int, height: int, sample_aspect_ratio: Fraction | None = None) -> tuple[int, int]:
    """(width, height) at which a coded frame is read, before rotation.

    Pixels become square by a change of width. An impossible sample aspect ratio, and one without a visible effect, are
    ignored. The longest side is then at most ``MAX_SIDE_PX``.
    """
    ratio = float(sample_aspect_ratio or 1)
    if not 1 / _ODDEST_PIXEL <= ratio <= _ODDEST_PIXEL or abs(ratio - 1) < _SQUARE_WITHIN:
        ratio = 1.0
    reduced = min(1.0, MAX_SIDE_PX / max(width * ratio, height, 1))
    return max(1, round(width * ratio * reduced)), max(1, round(height * reduced))


def orientation(frame: av.VideoFrame) -> Upright:
    """Transform to an upright frame, from its display matrix; other angles are rounded to quarter turns."""
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # side data of a kind that PyAV does not know
        return Upright(quarter_turns=round(frame.rotation / 90) % 4)
    if matrix is None:
        return Upright()
    # a pixel (x, y) is shown at (a x + c y, b x + d y); y goes down
    a, b, _, c, d, *_ = (int(v) for v in np.frombuffer(bytes(matrix), np.int32))
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    return Upright(mirrored, round(-2 * math.atan2(b, a) / math.pi) % 4)


class RGBConverter:
    """Decoded frames of one video -> RGB arrays, upright.

    It keeps one scaler with one thread. PyAV's own conversion makes a scaler for every frame, with one thread per core.
    On many cores this takes several times longer than decoding.
    """

    def __init__(self) -> None:
        self._scaler = VideoReformatter()

    def __call__(
        self, frame: av.VideoFrame, size: tuple[int, int], upright: Upright | None = None
    ) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 of (width, height) = ``size``, before it is put upright; by default as the frame says."""
        rgb = self._scaler.reformat(frame, width=size[0], height=size[1], format="rgb24", threads=1)
        image = np.asarray(rgb.to_ndarray(), np.uint8)
        way = orientation(frame) if upright is None else upright
        if way.mirrored:
            image = image[:, ::-1]
        if way.quarter_turns:
            image = np.rot90(image, way.quarter_turns)
        return np.ascontiguousarray(image)
