"""RGB frames -> a video file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

_TICKS = 90_000
"""Clock ticks per second for frames with their own times."""


def write_video(path: str | Path, frames: Iterable[NDArray[np.uint8]], fps: float, crf: int = 20) -> None:
    """Encode uint8 RGB frames (H, W, 3) as H.264 in an mp4; odd sizes are padded to even by repeating the edge.

    The same frames give the same bytes in every run.

    Raises:
        ValueError: no frames, or frames of different sizes.
    """
    rate = Fraction(fps).limit_denominator(1001)
    _encode(Path(path), (av.VideoFrame.from_ndarray(image, format="rgb24") for image in _even(path, frames)), rate, crf)


def write_timed(path: str | Path, timed: Iterable[tuple[float, NDArray[np.uint8]]], fps: float, crf: int = 20) -> None:
    """Encode frames with their own start times, in seconds, like :func:`write_video`.

    Args:
        fps: the usual rate; the last frame is shown for one of its intervals.

    Raises:
        ValueError: no frames, frames of different sizes, or times that do not rise.
    """
    ticks: list[int] = []

    def images() -> Iterator[NDArray[np.uint8]]:
        for seconds, image in timed:
            ticks.append(round(seconds * _TICKS))
            if len(ticks) > 1 and ticks[-1] <= ticks[-2]:
                raise ValueError(f"{path}: a frame at {seconds:.3f} s follows one at {ticks[-2] / _TICKS:.3f} s")
            yield image

    def frames() -> Iterator[av.VideoFrame]:
        for image in _even(path, images()):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.duration, frame.time_base = ticks[-1], round(_TICKS / fps), Fraction(1, _TICKS)
            yield frame

    _encode(Path(path), frames(), Fraction(fps).limit_denominator(1001), crf, Fraction(1, _TICKS))


def _even(path: str | Path, frames: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """The frames, all of one size, padded to even sizes."""
    shape: tuple[int, ...] | None = None
    for image in frames:
        shape = shape or image.shape
        if image.shape != shape:
            raise ValueError(f"{path}: a frame is {image.shape}, the first was {shape}")
        yield np.pad(image, ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0)), mode="edge")
    if shape is None:
        raise ValueError(f"{path}: no frames to write")


def _encode(
    path: Path, frames: Iterable[av.VideoFrame], rate: Fraction, crf: int, time_base: Fraction | None = None
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # it may be a hard link into DVC's cache
    # an absolute path after "file:" is never an address, for every file name
    with av.open(f"file:{path.absolute()}", "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.pix_fmt = "yuv420p"
        # x264's look-ahead (macroblock tree, B-frames) gives bytes that differ from run to run, even on one thread.
        deterministic = "bframes=0:no-mbtree=1:rc-lookahead=0"
        stream.options = {"crf": str(crf), "preset": "ultrafast", "x264-params": deterministic}
        stream.codec_context.thread_count = 1
        if time_base is not None:
            stream.codec_context.time_base = stream.time_base = time_base
        for number, frame in enumerate(frames):
            if number == 0:
                stream.height, stream.width = frame.height, frame.width
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
