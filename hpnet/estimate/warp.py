"""Person crops, warped out of a frame by OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray


def warp_crops(frame: NDArray[np.uint8], frame_to_crop: ArrayLike, input_size_px: tuple[int, int]) -> NDArray[np.uint8]:
    """Cut crops out of one frame: bilinear, zeros outside the frame.

    Args:
        frame: (H, W, 3) uint8 RGB.
        frame_to_crop: (N, 2, 3).
        input_size_px: (width, height).

    Returns:
        (N, height, width, 3) uint8 RGB.
    """
    affines = np.asarray(frame_to_crop, dtype=np.float64)
    crops = np.empty((len(affines), input_size_px[1], input_size_px[0], 3), dtype=np.uint8)
    for crop, affine in zip(crops, affines, strict=True):
        cv2.warpAffine(frame, affine, input_size_px, dst=crop, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return crops
