"""Videos of different sizes and rates -> one size and one rate, so that neither tells where a video comes from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

GREY = 114
_SAME_TIME_S = 1e-6


def at_rate(timed: Iterable[tuple[float, Image]], fps: float) -> Iterator[Image]:
    """The frame that is shown at 0, 1 / fps, 2 / fps, ... seconds after the first one, by timestamps.

    Args:
        timed: (seconds, frame), rising, as of :func:`hpnet.core.video.read_timed`.
        fps: frames per second of the result.
    """
    first_s = time_s = 0.0
    count, shown = 0, None
    for time_s, frame in timed:
        if shown is None:
            first_s = time_s
        while shown is not None and first_s + count / fps < time_s - _SAME_TIME_S:
            yield shown
            count += 1
        shown = frame
    while shown is not None and first_s + count / fps < time_s + _SAME_TIME_S:
        yield shown
        count += 1


def covered(image: Image, size_px: tuple[int, int]) -> Image:
    """An image (H, W, 3) scaled so that it covers (width, height), and cut at its centre to this size."""
    width, height = size_px
    factor = max(width / image.shape[1], height / image.shape[0])
    scaled = image
    if factor != 1:
        large = (max(width, round(image.shape[1] * factor)), max(height, round(image.shape[0] * factor)))
        scaled = np.asarray(cv2.resize(image, large, interpolation=cv2.INTER_LINEAR), np.uint8)
    left, top = (scaled.shape[1] - width) // 2, (scaled.shape[0] - height) // 2
    return np.ascontiguousarray(scaled[top : top + height, left : left + width])


def on_canvas(image: Image, size_px: tuple[int, int]) -> Image:
    """An image (H, W, 3) in the middle of a grey canvas (width, height), smaller only if it does not fit."""
    width, height = size_px
    factor = min(1.0, width / image.shape[1], height / image.shape[0])
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    shown = image if factor == 1 else np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    canvas = np.full((height, width, 3), GREY, np.uint8)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    canvas[top : top + size[1], left : left + size[0]] = shown
    return canvas
