"""RGB frames -> a video file."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


def write_video(path: str | Path, frames: Iterable[NDArray[np.uint8]], fps: float, crf: int = 20) -> None:
    """Encode uint8 RGB frames (H, W, 3) as H.264 in an mp4; odd sizes are padded to even by repeating the edge.

    The same frames give the same bytes in every run.

    Raises:
        ValueError: no frames, or frames of different sizes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # it may be a hard link into DVC's cache
    shape: tuple[int, ...] | None = None
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.pix_fmt = "yuv420p"
        # x264's look-ahead (macroblock tree, B-frames) gives bytes that differ from run to run, even on one thread.
        deterministic = "bframes=0:no-mbtree=1:rc-lookahead=0"
        stream.options = {"crf": str(crf), "preset": "ultrafast", "x264-params": deterministic}
        stream.codec_context.thread_count = 1
        for image in frames:
            if shape is None:
                shape = image.shape
                stream.height, stream.width = shape[0] + shape[0] % 2, shape[1] + shape[1] % 2
            if image.shape != shape:
                raise ValueError(f"{path}: a frame is {image.shape}, the first was {shape}")
            padded = np.pad(image, ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0)), mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(padded, format="rgb24")))
        if shape is None:
            raise ValueError(f"{path}: no frames to write")
        container.mux(stream.encode())
