"""Boxes, squares, and affine maps between frame and crop pixels.

Pixel i has its centre at coordinate i (OpenCV's convention).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def union_box(boxes_xyxy_px: NDArray[np.float32]) -> NDArray[np.float32]:
    """The smallest box around boxes (n, 4), n >= 1; shape (4,)."""
    return np.concatenate([boxes_xyxy_px[:, :2].min(0), boxes_xyxy_px[:, 2:].max(0)])


def square_around(box_xyxy_px: NDArray[np.float32], padding: float = 1.1) -> tuple[float, float, float]:
    """The square (x, y, side) in pixels with the centre of a box and ``padding`` times its longer side."""
    x1, y1, x2, y2 = (float(v) for v in box_xyxy_px)
    side = max(x2 - x1, y2 - y1, 1.0) * padding
    return (x1 + x2 - side) / 2, (y1 + y2 - side) / 2, side


def crop_affine(boxes_xyxy_px: ArrayLike, input_size_px: tuple[int, int], box_scale: float = 1.25) -> Floats:
    """The affine from frame pixels to crop pixels: the box, extended to the input's aspect, then padded.

    The padded box's edges fall on the crop's edges: a crop of w pixels covers coordinates -0.5 to w - 0.5.

    Args:
        boxes_xyxy_px: (N, 4), frame pixels. A side shorter than one pixel counts as one.
        input_size_px: (width, height) of the crop.
        box_scale: padding factor, applied after the aspect.

    Returns:
        (N, 2, 3).
    """
    boxes = _boxes(boxes_xyxy_px)
    width, height = input_size_px
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)  # (N, 2): w, h
    scale = np.minimum(width / sides[:, 0], height / sides[:, 1]) / box_scale
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    return _similarity(scale, centre, ((width - 1) / 2, (height - 1) / 2))


def widen(frame_to_crop: ArrayLike, input_size_px: tuple[int, int], times: float) -> Floats:
    """Affines (N, 2, 3) of crops ``times`` as wide and high around the same middle, of the same pixels."""
    middle = (np.asarray(input_size_px, dtype=np.float64) - 1) / 2
    affine = np.array(frame_to_crop, dtype=np.float64) / times
    affine[..., 2] += middle * (1 - 1 / times)
    return affine


def released_crop_affine(
    boxes_xyxy_px: ArrayLike, frame_size_px: tuple[int, int], input_size_px: tuple[int, int]
) -> Floats:
    """The released extractor's affine from frame to crop pixels, for parity only.

    Boxes are rounded to integers, the aspect is the *frame's* height / width (a mix-up of orders), the padding 1.25,
    and only the width sets the scale; the box centre goes to (width / 2, height / 2).

    Args:
        boxes_xyxy_px: (N, 4).
        frame_size_px: (width, height) of the frame.
        input_size_px: (width, height) of the crop.

    Returns:
        (N, 2, 3).
    """
    boxes = np.rint(_boxes(boxes_xyxy_px))
    aspect = frame_size_px[1] / frame_size_px[0]
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
    width = np.maximum(sides[:, 0], sides[:, 1] * aspect) * 1.25
    centre = boxes[:, :2] + (boxes[:, 2:] - boxes[:, :2]) / 2
    target = _three_points(np.array([input_size_px[0] / 2, input_size_px[1] / 2]), input_size_px[0] / 2)
    affines = [
        cv2.getAffineTransform(_three_points(middle, half), target)
        for middle, half in zip(centre, width / 2, strict=True)
    ]
    return np.asarray(affines, dtype=np.float64).reshape(-1, 2, 3)


def _three_points(centre: Floats, half: float) -> NDArray[np.float32]:
    """(3, 2): a centre, the point ``half`` above it and the point as far to the left of that.

    The affine must be solved from three float32 points, as in the released code. A direct formula differs by 1e-13.
    That moves OpenCV's fixed-point interpolation by 1/32 pixel if a coordinate is on a tie.
    """
    return np.array([centre, centre - (0, half), centre - (half, half)], dtype=np.float32)


def invert_affine(affine: ArrayLike) -> Floats:
    """The inverse of affines (..., 2, 3)."""
    forward = np.asarray(affine, dtype=np.float64)
    linear = np.linalg.inv(forward[..., :2])
    return np.concatenate([linear, -linear @ forward[..., 2:]], axis=-1)


def apply_affine(affine: ArrayLike, points: ArrayLike) -> Floats:
    """Map points (..., K, 2) by affines (..., 2, 3)."""
    matrix = np.asarray(affine, dtype=np.float64)
    return np.asarray(points, dtype=np.float64) @ matrix[..., :2].swapaxes(-1, -2) + matrix[..., None, :, 2]


def _boxes(boxes_xyxy_px: ArrayLike) -> Floats:
    boxes = np.asarray(boxes_xyxy_px, dtype=np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes are {boxes.shape}, expected (N, 4) as x1, y1, x2, y2")
    if not np.isfinite(boxes).all():
        raise ValueError(f"box {boxes[~np.isfinite(boxes).all(1)][0].tolist()} is not finite")
    return boxes


def _similarity(scale: Floats, source: Floats, target: tuple[float, float]) -> Floats:
    """(N, 2, 3): scale about ``source`` (N, 2), which goes to ``target``."""
    affine = np.zeros((len(scale), 2, 3))
    affine[:, 0, 0] = affine[:, 1, 1] = scale
    affine[:, :, 2] = np.asarray(target) - scale[:, None] * source
    return affine
