"""Makes small video files of many kinds, with PyAV alone."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition

MS = Fraction(1, 1000)


def images(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Frames that can be told apart: frame t is grey of 20 + 8 t (mod 200), with a moving square."""
    found = []
    for t in range(count):
        image = np.full((height, width, 3), 20 + 8 * t % 200, np.uint8)
        image[8:24, t % 32 : t % 32 + 16] = (220, 40, 10)
        found.append(image)
    return found


def encode(
    path: Path,
    frames: Sequence[np.ndarray],
    codec: str = "libx264",
    *,
    fps: int = 12,
    times_ms: Sequence[int] | None = None,
    container: dict[str, Any] | None = None,
    stream: dict[str, Any] | None = None,
) -> Path:
    """Write frames at a rate, or each at its time; ``container`` and ``stream`` set options and attributes."""
    asked = dict(container or {})
    with av.open(str(path), "w", **asked) as file:
        add_video(file, frames, codec, fps=fps, times_ms=times_ms, stream=stream)
    return path


def add_video(
    file: av.container.OutputContainer,
    frames: Sequence[np.ndarray],
    codec: str = "libx264",
    *,
    fps: int = 12,
    times_ms: Sequence[int] | None = None,
    stream: dict[str, Any] | None = None,
) -> None:
    """Add a video stream with its frames; several streams of a file are added by :func:`add_videos`."""
    add_videos(file, [(frames, codec, {**(stream or {}), "fps": fps, "times_ms": times_ms})])


def add_videos(
    file: av.container.OutputContainer, streams: Sequence[tuple[Sequence[np.ndarray], str, dict[str, Any]]]
) -> None:
    """Add streams (frames, codec, settings); settings are fps, times_ms, and attributes of the stream or its codec."""
    opened = []
    for frames, codec, settings in streams:
        asked = dict(settings)
        fps, times_ms = asked.pop("fps", 12), asked.pop("times_ms", None)
        made = file.add_stream(codec, rate=fps)
        made.height, made.width = frames[0].shape[:2]
        made.pix_fmt = asked.pop("pix_fmt", "yuv420p")
        made.disposition = asked.pop("disposition", Disposition.default)
        if times_ms is not None:
            made.codec_context.time_base = made.time_base = MS
        for name, value in asked.items():
            setattr(made.codec_context, name, value)
        opened.append((made, frames, times_ms))
    file.start_encoding()
    for made, frames, times_ms in opened:
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=made.pix_fmt)
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[number], MS
            file.mux(made.encode(frame))
        file.mux(made.encode())
