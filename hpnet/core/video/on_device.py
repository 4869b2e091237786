"""Video files -> frames that are decoded on a device and stay there, through torchcodec (the extra ``gpu``).

On a GPU the decoder is NVDEC, where the driver exposes it; its colours may differ by a few levels of 255. A file is
read like this only if its frames are those of :func:`hpnet.core.video.read_frames`: as many, upright, of square pixels,
and no larger than it yields them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from av.error import FFmpegError
from torch import Tensor

from ..stretch import Stretch
from .opening import VideoError, open_video, reason
from .pixels import Upright, orientation, shown_size
from .reading import frame_times

BATCH = 16
"""Frames that are decoded at a time."""
OTHERWISE = "read it with --on-device crops"


def decoder_class() -> Any:
    """torchcodec's ``VideoDecoder``.

    Raises:
        ModuleNotFoundError: it is not installed, or finds no FFmpeg; says what to do.
    """
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, RuntimeError, OSError) as error:
        why = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise ModuleNotFoundError(
            f"--on-device decode needs torchcodec and FFmpeg's libraries ({why}): pip install hpnet[gpu], or use "
            "--on-device crops"
        ) from None
    return VideoDecoder


def read_frames_on(
    path: Path, device: torch.device, max_frames: int | None = None, stretch: Stretch | None = None
) -> Iterator[Tensor]:
    """The frames of a video, or of a stretch of it, as (H, W, 3) uint8 RGB on the device.

    Raises:
        VideoError: the file cannot be read, its frames would not be those of the reader on the host, or it breaks off
            (the frames before have been yielded).
        RuntimeError: the device decodes no video.
        ModuleNotFoundError: see :func:`decoder_class`.
    """
    make, index = decoder_class(), _plain_stream(path)
    times = frame_times(path)
    try:
        decoder = make(path, stream_index=index, dimension_order="NHWC", device=str(device), num_ffmpeg_threads=1)
        first = decoder[0] if len(times) else None
    except (RuntimeError, ValueError, IndexError) as error:
        raise RuntimeError(
            f"{device} does not decode {path.name} ({str(error).strip().splitlines()[0][:160]}): use --on-device crops"
        ) from None
    if first is None or len(decoder) != len(times):
        raise VideoError(f"has {len(times)} frames, of which {device} sees {len(decoder)}: {OTHERWISE}")
    wanted = [number for number, time in enumerate(times) if stretch is None or stretch.holds(time)][:max_frames]
    if not wanted:
        raise VideoError(f"holds no frame{'' if stretch is None else f' from {stretch.start_s:g} s'}")
    count = 0
    for start, stop in pairwise([*range(wanted[0], wanted[-1] + 1, BATCH), wanted[-1] + 1]):
        try:
            frames = decoder.get_frames_in_range(start, stop).data  # (n, H, W, 3)
        except (RuntimeError, IndexError) as error:
            raise VideoError(f"breaks off after {count} frames ({str(error).strip().splitlines()[0][:80]})") from None
        count += len(frames)
        yield from frames


def _plain_stream(path: Path) -> int:
    """Which stream of the file the reader chooses.

    Raises:
        VideoError: the file cannot be read, or the reader would turn or scale its frames.
    """
    container, stream = open_video(path)
    with closing(container):
        stream.codec_context.thread_count = 1
        try:
            frame = next(container.decode(stream), None)
        except (FFmpegError, MemoryError) as error:
            raise VideoError(f"first frame cannot be decoded ({reason(error)})") from None
        if frame is None:
            raise VideoError("holds no frame")
        if orientation(frame) != Upright():
            raise VideoError(f"has frames that are to be turned: {OTHERWISE}")
        size = shown_size(frame.width, frame.height, stream.sample_aspect_ratio)
        if size != (frame.width, frame.height):
            raise VideoError(f"has frames of {frame.width} x {frame.height} that are to be scaled: {OTHERWISE}")
        return int(stream.index)
