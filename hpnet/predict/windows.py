"""Video files and arrays of frames as windows of frames; a window gets one set of answers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ..core.video import VideoError, VideoInfo, probe, read_timed

Image = NDArray[np.uint8]
TimedImage = tuple[float, Image]
"""Seconds from the beginning of the video, and the picture at this time."""
OnFailure = Callable[[str, str], None]
"""Called with a video and the reason why it, or the rest of it, cannot be used."""
KEEP_BYTES = 128 << 20
"""Clips up to this total size stay decoded in memory; others are decoded again when needed."""
WINDOW_BYTES = 640 << 20
"""The frames of a window are reduced in size to fit into this number of bytes."""
PART_BYTES = 768 << 20
"""Maximum bytes of the windows that are processed together, unless it is a single window."""
LEAST_SIDE_PX = 320
"""Smallest longer side of reduced frames; windows that still do not fit are refused."""
UNKNOWN_FPS = 30.0
REST_SHARE = 0.1
"""The last window may be longer or shorter by this share of a window."""
UNUSABLE = (ValueError, OSError, MemoryError, cv2.error)
"""Errors of broken or hostile files; they fail the file, not the run."""
_CLOCK_S = 1e-3
"""Containers round times to this."""


@dataclass(frozen=True)
class Cutting:
    """How a long video is cut.

    Attributes:
        window_s: length of a window in seconds.
        whole_s: a file up to this length is one window, like a clip in training.
        overlap: share of a window that it shares with the next, 0 <= overlap < 1.
        max_fps: frames above this rate are left out; None: no frame is.
        stride: windows begin at multiples of this number of frames, so that detection runs once per frame.
    """

    window_s: float
    whole_s: float
    overlap: float = 0.5
    max_fps: float | None = None
    stride: int = 1

    def __post_init__(self) -> None:
        if not self.window_s > 0 or not 0 <= self.overlap < 1 or (self.max_fps is not None and not self.max_fps > 0):
            raise ValueError(
                f"window {self.window_s:g} s, overlap {self.overlap:g}, rate {self.max_fps}: "
                "expected a window above 0 s, an overlap from 0 to below 1 and a rate above 0"
            )


class Frames(Protocol):
    """A window's frames with their times; can be iterated several times until they are released."""

    def __iter__(self) -> Iterator[TimedImage]: ...

    def held(self) -> tuple[int, int]:
        """Number of frames in memory, and their bytes."""

    def release(self) -> None:
        """Release the memory."""


@dataclass(frozen=True)
class Window:
    """Consecutive frames of one video.

    Attributes:
        video: the name that the user gave.
        number: 0, 1, ... within the video.
        first: index of the first frame in the video, after frames are left out by ``max_fps``.
        fps: the usual number of frames a second.
        frames: RGB (H, W, 3) with their seconds.
        size_px: (width, height) of the video; its frames may be read at a reduced size.
        captured_s: monotonic clock when the last frame was captured; None for files.
        dropped: live frames since the previous window that are in no window.
    """

    video: str
    number: int
    first: int
    fps: float
    frames: Frames
    size_px: tuple[int, int]
    captured_s: float | None = None
    dropped: int = 0

    @property
    def keeps_frames(self) -> bool:
        """Whether its frames are there after the answer; those of a file are read again."""
        return self.captured_s is not None or isinstance(self.frames, ArrayFrames)


@dataclass
class HeldFrames:
    """Frames in memory."""

    timed: tuple[TimedImage, ...]

    def __iter__(self) -> Iterator[TimedImage]:
        return iter(self.timed)

    def held(self) -> tuple[int, int]:
        """Frames, bytes."""
        return len(self.timed), sum(image.nbytes for _, image in self.timed)

    def release(self) -> None:
        """Release the frames."""
        self.timed = ()


@dataclass(frozen=True)
class ArrayFrames:
    """Frames of an array that the caller holds."""

    timed: tuple[TimedImage, ...]

    def __iter__(self) -> Iterator[TimedImage]:
        return iter(self.timed)

    def held(self) -> tuple[int, int]:
        """Frames, and no bytes, because the array is the caller's."""
        return len(self.timed), 0

    def release(self) -> None:
        """Nothing, because the array is the caller's."""


class Room:
    """Memory for decoded frames that the files of a run share."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Reserve this number of bytes; False if they are not free."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give(self, size: int) -> None:
        """Give bytes back."""
        with self._lock:
            self._left += size


@dataclass
class FileFrames:
    """Every frame of a file; decoded once if ``room`` is large enough, else again at each iteration."""

    footage: Footage
    room: Room
    _kept: list[TimedImage] | None = field(default=None, init=False, repr=False)

    def __iter__(self) -> Iterator[TimedImage]:
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[TimedImage] | None = []
        size = 0
        try:
            for seconds, frame in self.footage:
                if kept is not None and self.room.take(frame.nbytes):
                    kept.append((seconds, frame))
                    size += frame.nbytes
                else:
                    kept = None
                yield seconds, frame
            self._kept, size = kept, size if kept is None else 0
        finally:
            self.room.give(size)

    def held(self) -> tuple[int, int]:
        """Nothing, because ``room`` counts kept frames."""
        return 0, 0

    def release(self) -> None:
        """Release the frames; the next iteration decodes them again."""
        if self._kept is not None:
            self.room.give(sum(frame.nbytes for _, frame in self._kept))
            self._kept = None


@dataclass(frozen=True)
class Footage:
    """The frames of a file for windows: at most ``max_fps``, and reduced in size if they are large.

    Raises, when it is iterated:
        VideoError: the file cannot be read, or breaks off (the frames before it have been yielded).
    """

    path: Path
    max_fps: float | None
    scale: float = 1.0

    def __iter__(self) -> Iterator[TimedImage]:
        for seconds, frame in thinned(read_timed(self.path), self.max_fps):
            yield seconds, reduced(frame, self.scale)


def thinned(timed: Iterable[TimedImage], max_fps: float | None) -> Iterator[TimedImage]:
    """Frames, evenly left out to reach at most ``max_fps``."""
    if max_fps is None:
        yield from timed
        return
    before, begin_s = -1, None
    for seconds, frame in timed:
        begin_s = seconds if begin_s is None else begin_s
        place = int((seconds - begin_s + _CLOCK_S) * max_fps)
        if place != before:
            before = place
            yield seconds, frame


def reduced(frame: Image, scale: float) -> Image:
    """The frame at ``scale`` times its size; the same object if that is 1."""
    if scale >= 1:
        return frame
    height, width = frame.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def frame_scale(size_px: tuple[int, int], count: float) -> float:
    """The scale, at most 1, at which ``count`` frames of (width, height) fit into ``WINDOW_BYTES``.

    Raises:
        VideoError: they would become too small to see people in.
    """
    size = count * size_px[0] * size_px[1] * 3
    scale = min(1.0, (WINDOW_BYTES / max(size, 1)) ** 0.5)
    if scale < 1 and max(size_px) * scale < LEAST_SIDE_PX:
        raise VideoError(
            f"a window of {count:.0f} frames of {size_px[0]} x {size_px[1]} needs {size / 1e9:.1f} GB of memory: give "
            "a shorter --window or a lower --fps"
        )
    return scale


def file_windows(path: Path, cutting: Cutting, name: str | None = None, room: Room | None = None) -> Iterator[Window]:
    """Cut a file by the times of its frames.

    No window crosses a gap (see :func:`longest_step_s`). The last window before a gap, or before the end, ends there,
    so it may overlap the previous window more than usual.

    Args:
        room: memory for the frames of short files.

    Raises:
        VideoError: the file cannot be read, or breaks off (windows before that have been yielded), or a window of such
            frames would not fit into memory.
    """
    info = probe(path)
    fps, size_px = _rate(info, cutting), (info.width, info.height)
    name = name or str(path)
    if _is_whole(info, cutting):
        frames = FileFrames(Footage(path, cutting.max_fps), room or Room(KEEP_BYTES))
        yield Window(name, 0, 0, fps, frames, size_px)
        return
    length_s = cutting.whole_s if info.seconds <= cutting.whole_s else cutting.window_s
    found = Footage(path, cutting.max_fps, frame_scale(size_px, fps * (1 + REST_SHARE) * length_s))
    cutter = _Cutter(length_s, length_s * (1 - cutting.overlap), 1 / fps, cutting.stride)
    for number, (first, timed) in enumerate(cutter.cut(found, longest_step_s(length_s, fps))):
        yield Window(name, number, first, fps, HeldFrames(timed), size_px)


def array_windows(frames: Image, fps: float, cutting: Cutting, name: str = "frames") -> Iterator[Window]:
    """Cut an array of frames as a file of the same frames is cut; nothing is copied.

    Args:
        frames: (T, H, W, 3) uint8 RGB.
        fps: frames per second.

    Raises:
        ValueError: another shape or dtype, no frame, or no rate.
        VideoError: a window of such frames would not fit into memory.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
        raise ValueError(
            f"frames are {frames.dtype} {frames.shape}: expected uint8 RGB (T, H, W, 3) with a frame or more"
        )
    if not (np.isfinite(fps) and fps > 0):
        raise ValueError(f"fps is {fps:g}: expected the frames per second, above 0")
    rate_fps, size_px = min(fps, cutting.max_fps or fps), (frames.shape[2], frames.shape[1])
    timed = thinned(((index / fps, frame) for index, frame in enumerate(frames)), cutting.max_fps)
    seconds = len(frames) / fps
    if seconds <= cutting.whole_s + 0.5 / fps:
        yield Window(name, 0, 0, rate_fps, ArrayFrames(tuple(timed)), size_px)
        return
    length_s = cutting.window_s
    cutter = _Cutter(length_s, length_s * (1 - cutting.overlap), 1 / rate_fps, cutting.stride)
    for number, (first, part) in enumerate(cutter.cut(timed, longest_step_s(length_s, rate_fps))):
        yield Window(name, number, first, rate_fps, ArrayFrames(part), size_px)


def longest_step_s(window_s: float, fps: float) -> float:
    """Pictures farther apart than this have a gap between them, which no window crosses."""
    return max(window_s / 2, 4 / fps)


def _rate(info: VideoInfo, cutting: Cutting) -> float:
    rate = info.fps or UNKNOWN_FPS
    return min(rate, cutting.max_fps or rate)


def _is_whole(info: VideoInfo, cutting: Cutting) -> bool:
    """Whether a file is one window: short enough, and without room for a gap between its frames."""
    rate = info.fps or UNKNOWN_FPS
    missing_s = info.seconds - info.frames / rate
    return info.seconds <= cutting.whole_s + 0.5 / rate and missing_s <= longest_step_s(cutting.whole_s, rate)


def _require_room(size: int, count: int) -> int:
    """Check that ``size`` bytes of ``count`` frames fit into memory, because the real rate may exceed the header's."""
    if size > 1.5 * WINDOW_BYTES:
        raise VideoError(
            f"{count} frames of one window need {size / 1e9:.1f} GB of memory: give a shorter --window or a lower --fps"
        )
    return size


def every_window(files: Iterable[Path], cutting: Cutting, on_failure: OnFailure) -> Iterator[Window]:
    """The windows of files one after another; ``on_failure`` is called for files that cannot be read."""
    room = Room(KEEP_BYTES)
    for file in files:
        try:
            yield from file_windows(file, cutting, room=room)
        except UNUSABLE as error:
            on_failure(str(file), why(error))


def in_parts(windows: Iterable[Window], most_bytes: int = PART_BYTES) -> Iterator[Iterator[Window]]:
    """Windows in groups whose frames fit into memory together; use all of a group before the next."""
    waiting = iter(windows)

    def part(window: Window | None) -> Iterator[Window]:
        size = 0
        video, covered = "", 0
        while window is not None:
            count, held = window.frames.held()
            shared = max(0, covered - window.first) if window.video == video else 0
            fresh = held * max(0, count - shared) // max(1, count)
            size += fresh
            video, covered = window.video, window.first + count
            yield window
            if size + fresh > most_bytes:
                return
            window = next(waiting, None)

    for first in waiting:
        yield part(first)


def why(error: Exception) -> str:
    """Why a video cannot be used, in one line."""
    if isinstance(error, MemoryError):
        return "needs more memory than there is"
    return " ".join((getattr(error, "strerror", None) or str(error)).split()) or type(error).__name__


@dataclass
class _Cutter:
    """Cuts a video into windows: (index of the first frame, frames).

    Windows begin ``hop_s`` apart, each at the last frame before that whose index since the last gap is a multiple of
    ``stride``, and cover ``length_s``. ``step_s`` is the usual distance of frames.
    """

    length_s: float
    hop_s: float
    step_s: float
    stride: int

    def cut(self, timed: Iterable[TimedImage], gap_s: float) -> Iterator[tuple[int, tuple[TimedImage, ...]]]:
        """The windows of a video; none crosses a gap of more than ``gap_s``."""
        index = 0
        waiting = iter(timed)
        begin = next(waiting, None)
        while begin is not None:
            part = _Part(self, index, gap_s, waiting)
            yield from part.cut(begin)
            index, begin = part.end, part.following


@dataclass
class _Part:
    """A part of a video without a gap; ``following`` is the first frame after the gap."""

    cutter: _Cutter
    index: int
    gap_s: float
    waiting: Iterator[TimedImage]
    end: int = 0
    following: TimedImage | None = None

    def cut(self, begin: TimedImage) -> Iterator[tuple[int, tuple[TimedImage, ...]]]:
        cutter, step_s = self.cutter, min(self.cutter.step_s, self.cutter.length_s)
        half_s = step_s / 2
        # a frame after this time shows that the rest is long enough for another window
        settled_s = cutter.length_s + max(REST_SHARE * cutter.length_s - step_s, -half_s) + _CLOCK_S
        held: deque[tuple[int, float, Image]] = deque()
        size = 0
        start, start_s, hops, covered = self.index, begin[0], 1, self.index
        for index, (seconds, frame) in enumerate(self._frames(begin), self.index):
            held.append((index, seconds, frame))
            size = _require_room(size + frame.nbytes, len(held))
            self.end = index + 1
            while seconds > start_s + settled_s:
                stop_s = start_s + cutter.length_s - half_s
                next_start = self._next_start(held, start, begin[0] + hops * cutter.hop_s + half_s)
                if next_start is None:
                    break
                window = [h for h in held if h[0] >= start and (h[1] < stop_s or h[0] < next_start)]
                yield start, tuple((s, image) for _, s, image in window)
                covered = window[-1][0] + 1
                start = next_start
                start_s = next(s for i, s, _ in held if i == start)
                hops = max(hops, int((start_s - begin[0]) / cutter.hop_s)) + 1
            while held[0][0] < start and held[0][1] <= seconds - cutter.length_s - half_s:
                size -= held.popleft()[2].nbytes
        if self.end > covered:
            end_s = held[-1][1] + cutter.step_s
            if end_s - start_s < (1 - REST_SHARE) * cutter.length_s:
                begin_s = end_s - cutter.length_s - half_s
                start = next(i for i, s, _ in held if s >= begin_s)
            yield start, tuple((s, image) for i, s, image in held if i >= start)

    def _next_start(self, held: Iterable[tuple[int, float, Image]], start: int, latest_s: float) -> int | None:
        """The last frame up to ``latest_s`` that is on the stride and after ``start``, or else the first later one."""
        on_stride = [(i, s) for i, s, _ in held if i > start and (i - self.index) % self.cutter.stride == 0]
        early = [i for i, s in on_stride if s <= latest_s]
        return early[-1] if early else next((i for i, _ in on_stride), None)

    def _frames(self, begin: TimedImage) -> Iterator[TimedImage]:
        yield begin
        before_s = begin[0]
        for seconds, frame in self.waiting:
            if seconds - before_s > self.gap_s:
                self.following = seconds, frame
                return
            before_s = seconds
            yield seconds, frame
