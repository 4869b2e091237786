"""Video files in and out, through PyAV. Frames are uint8 RGB (H, W, 3), in display orientation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

VIDEO_SUFFIXES = frozenset(
    (
        ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".divx", ".xvid", ".wmv", ".asf",
        ".flv", ".f4v", ".ogv", ".ogg", ".ogm", ".gif", ".apng", ".ts", ".mts", ".m2ts", ".m2t", ".mpg", ".mpeg",
        ".mpe", ".mp2", ".vob", ".mod", ".tod", ".trp", ".dav", ".dv", ".mxf", ".gxf", ".nut", ".nsv", ".wtv", ".amv",
        ".rm", ".rmvb", ".h264", ".264", ".avc", ".h265", ".265", ".hevc", ".h263", ".m1v", ".m2v", ".mjpeg", ".mjpg",
        ".y4m", ".ivf", ".obu", ".av1", ".vc1"
    )
)  # fmt: skip
"""Endings, in small letters, of the files that are looked for in a folder. What a file holds decides how it is read."""
_SMALL_FRAME_PX = 640 * 480  # below this, decoding threads cost more than they save


class VideoError(ValueError):
    """A video that cannot be used; the message says why, in words that fit a table of failures."""


@dataclass(frozen=True)
class VideoInfo:
    """What a container says about its first video stream; sizes in display orientation."""

    width: int
    height: int
    fps: float
    frames: int


def probe(path: str | Path) -> VideoInfo:
    """Size, rate and number of frames of a video, without decoding more than its first frame.

    Raises:
        VideoError: the file is missing, empty, no video, or its first frame cannot be decoded.
    """
    path = Path(path)
    with _open(path) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate or stream.guessed_rate or Fraction(0)
        count = stream.frames or 0
        stream.codec_context.thread_count = 1  # starting threads would take longer than one frame does
        try:
            first = next(container.decode(stream), None)
            if first is None:
                raise VideoError("holds no frame")
            if not count:
                container.seek(0)
                count = sum(1 for packet in container.demux(stream) if packet.size)
        except FFmpegError as error:
            raise VideoError(f"first frame cannot be decoded ({_reason(error)})") from None
        width, height = (first.width, first.height)[:: -1 if _turns(first) % 2 else 1]
    return VideoInfo(width, height, float(rate), int(count))


def read_frames(
    path: str | Path, max_frames: int | None = None, threads: int | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Decode a video frame by frame: uint8 RGB (H, W, 3).

    A stream that changes its frame size is rescaled to its first frame's. ``threads`` decode; by default as many as
    there are cores, and one for small frames.

    Raises:
        VideoError: nothing can be decoded, or the stream breaks off (the frames before it have been yielded).
    """
    path = Path(path)
    count = 0
    with _open(path) as container:
        stream = container.streams.video[0]
        expected = stream.frames or 0
        small = (stream.width or 0) * (stream.height or 0) < _SMALL_FRAME_PX
        stream.codec_context.thread_count = threads or (1 if small else 0)
        size: tuple[int, int] | None = None
        convert = RGBConverter()
        try:
            for frame in container.decode(stream):
                if max_frames is not None and count >= max_frames:
                    return
                if size is None:
                    size = (frame.width, frame.height)
                yield convert(frame, size)
                count += 1
        except FFmpegError as error:
            of = f" of {expected}" if expected else ""
            raise VideoError(f"breaks off after {count}{of} frames ({_reason(error)})") from None
    if count == 0:
        raise VideoError("holds no frame")
    if expected and count < 0.9 * expected and (max_frames is None or count < max_frames):
        raise VideoError(f"breaks off after {count} of {expected} frames")


def load_clip(path: str | Path, max_frames: int | None = None) -> NDArray[np.uint8]:
    """A whole video as uint8 RGB (T, H, W, 3). Raises as :func:`read_frames`."""
    return np.stack(list(read_frames(path, max_frames)))


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


def _open(path: Path) -> av.container.InputContainer:
    if not path.is_file():
        raise VideoError("file is missing")
    if path.stat().st_size == 0:
        raise VideoError("file is empty (0 bytes)")
    try:
        container = av.open(str(path))
    except (FFmpegError, UnicodeDecodeError) as error:
        raise VideoError(f"is no readable video ({_reason(error)})") from None
    if not container.streams.video:
        container.close()
        raise VideoError("holds no video stream")
    if container.streams.video[0].codec_context is None:
        container.close()
        raise VideoError("is coded in a way that is not known here")
    return container


def _turns(frame: av.VideoFrame) -> int:
    """Quarter turns, counter-clockwise, that put a frame upright."""
    return round(getattr(frame, "rotation", 0) / 90) % 4


class RGBConverter:
    """Decoded frames of one video -> RGB arrays, upright.

    It keeps one scaler with one thread. PyAV's own way makes a scaler for every frame, with as many threads as there
    are cores: on many cores that costs several times what decoding does.
    """

    def __init__(self) -> None:
        self._scaler = VideoReformatter()

    def __call__(self, frame: av.VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 of (width, height) = ``size``, before a turn."""
        rgb = self._scaler.reformat(frame, width=size[0], height=size[1], format="rgb24", threads=1)
        image = np.asarray(rgb.to_ndarray(), np.uint8)
        turns = _turns(frame)
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).strip()
