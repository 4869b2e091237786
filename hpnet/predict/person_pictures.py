"""Person frames as the RGB stream reads them. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ..core.sampling import sample_frames
from .trained import Sample


def person_pictures(samples: Sequence[Sample], count: int, size_px: int) -> NDArray[np.uint8]:
    """The middle frame of each of ``count`` segments, (N, F, 3, S, S) RGB; black ones for a sample that has none.

    They were encoded as JPEG in this process, because those of training were.
    """
    clips = []
    for sample in samples:
        images = [_decoded(jpeg, size_px) for jpeg in sample.jpegs]
        pictures = np.stack(images) if images else np.zeros((1, size_px, size_px, 3), np.uint8)
        clips.append(pictures[sample_frames(len(pictures), count)])
    # (N, F, S, S, 3) -> (N, F, 3, S, S)
    return np.ascontiguousarray(np.stack(clips).transpose(0, 1, 4, 2, 3))


def _decoded(jpeg: bytes, size_px: int) -> NDArray[np.uint8]:
    """(S, S, 3) RGB."""
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    if image.shape[:2] != (size_px, size_px):
        method = cv2.INTER_AREA if image.shape[0] > size_px else cv2.INTER_LINEAR
        image = cv2.resize(image, (size_px, size_px), interpolation=method)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
