"""Videos, cameras and streams as windows of frames: what is recognised at once."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from ..video import RGBConverter, VideoError, VideoInfo, probe, read_frames

Image = NDArray[np.uint8]
OnFailure = Callable[[str, str], None]
"""Told a video and why it, or the rest of it, cannot be used."""
KEEP_BYTES = 128 << 20
"""A whole clip up to this size stays decoded in memory; a larger one is decoded again where it is needed."""
MAX_WINDOW_BYTES = 2 << 30
UNKNOWN_FPS = 30.0
OPEN_TIMEOUT_S, READ_TIMEOUT_S = 15.0, 15.0


@dataclass(frozen=True)
class Cutting:
    """How long footage is cut.

    Attributes:
        window_s: length of a window in seconds.
        whole_s: a file no longer than this is one window, as clips are in training.
        overlap: share of a window that the next one has in common with it, 0 <= overlap < 1.
        max_fps: frames beyond this rate are left out; None: none are.
        stride: steps between windows are multiples of so many frames, so that frames are detected on once.
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


@dataclass(frozen=True)
class Window:
    """Some consecutive frames of one video.

    Attributes:
        video: what the user named.
        number: 0, 1, ... within the video.
        first: index of the first frame in the footage (after thinning).
        fps: frames per second.
        frames: RGB (H, W, 3) each; can be iterated again.
        start_s: time of the first frame from the video's beginning.
        captured_s: monotonic clock when the last frame was captured; None for files.
        dropped: live frames since the window before that no window holds.
    """

    video: str
    number: int
    first: int
    fps: float
    frames: Iterable[Image]
    start_s: float
    captured_s: float | None = None
    dropped: int = 0


@dataclass
class FileFrames:
    """Every frame of a file; decoded once when they fit into ``KEEP_BYTES``, and again at each iteration otherwise."""

    path: Path
    rate: float
    max_fps: float | None
    _kept: list[Image] | None = field(default=None, init=False, repr=False)

    def __iter__(self) -> Iterator[Image]:
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Image] | None = []
        size = 0
        for frame in thinned(read_frames(self.path), self.rate, self.max_fps):
            size += frame.nbytes
            if size > KEEP_BYTES:
                kept = None
            elif kept is not None:
                kept.append(frame)
            yield frame
        self._kept = kept


def thinned(frames: Iterable[Image], fps: float, max_fps: float | None) -> Iterator[Image]:
    """The frames of footage at ``fps``, evenly thinned to at most ``max_fps``."""
    if max_fps is None or fps <= max_fps:
        yield from frames
        return
    before = -1
    for index, frame in enumerate(frames):
        place = int(index * max_fps / fps)
        if place != before:
            before = place
            yield frame


def file_windows(path: Path, cutting: Cutting, name: str | None = None) -> Iterator[Window]:
    """Cut a file. The last window ends with the file, so it may overlap the one before by more than the others.

    Raises:
        VideoError: the file cannot be read, or breaks off (windows before that have been yielded).
        ValueError: a window of such frames would not fit into memory.
    """
    info = probe(path)
    rate = info.fps or UNKNOWN_FPS
    fps = min(rate, cutting.max_fps or rate)
    name = name or str(path)
    if info.frames <= round(cutting.whole_s * rate):
        yield Window(name, 0, 0, fps, FileFrames(path, rate, cutting.max_fps), 0.0)
        return
    length = max(2, round(cutting.window_s * fps))
    _require_room(length, info, name)
    step = max(1, round(length * (1 - cutting.overlap)))
    step = min(length, max(cutting.stride, step - step % cutting.stride))  # no frame falls between two windows
    held: deque[Image] = deque(maxlen=length)
    number = fresh = count = 0
    for frame in thinned(read_frames(path), rate, cutting.max_fps):
        held.append(frame)
        count, fresh = count + 1, fresh + 1
        if len(held) == length and (fresh >= step or number == 0):
            yield Window(name, number, count - length, fps, tuple(held), (count - length) / fps)
            number, fresh = number + 1, 0
    if fresh:
        first = count - len(held)
        yield Window(name, number, first, fps, tuple(held), first / fps)


def every_window(files: Iterable[Path], cutting: Cutting, on_failure: OnFailure) -> Iterator[Window]:
    """The windows of files one after another; ``on_failure`` is told of those that cannot be read."""
    for file in files:
        try:
            yield from file_windows(file, cutting)
        except VideoError as error:
            on_failure(str(file), str(error))


def _require_room(length: int, info: VideoInfo, name: str) -> None:
    size = length * info.width * info.height * 3
    if size > MAX_WINDOW_BYTES:
        raise ValueError(
            f"{name}: a window of {length} frames of {info.width} x {info.height} takes {size / 1e9:.1f} GB of memory, "
            f"more than {MAX_WINDOW_BYTES / 1e9:.1f}: give a shorter --window or a lower --fps"
        )


# --- live -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Captured:
    index: int
    at_s: float
    image: Image


class LiveReader:
    """Reads a camera or a stream in a thread and keeps the newest ``window_s`` seconds; what is older is dropped.

    Args:
        source: a camera's number, an address, or a file, which is then played at its own rate.
    """

    def __init__(self, source: str, window_s: float, max_fps: float | None) -> None:
        self.source = source
        self.window_s = window_s
        self.least_gap_s = 1 / max_fps if max_fps else 0.0
        self.error: str = ""
        self.ended = False
        self.changed = threading.Condition()
        self._held: deque[_Captured] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> LiveReader:
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._stop.set()
        self._thread.join(timeout=READ_TIMEOUT_S)

    def held(self) -> list[_Captured]:
        """The newest frames, oldest first; call with :attr:`changed` held."""
        return list(self._held)

    def _read(self) -> None:
        try:
            with self._open() as container:
                self._take_frames(container)
        except (FFmpegError, VideoError, OSError) as error:
            self.error = self._explain(str(getattr(error, "strerror", None) or error))
        finally:
            with self.changed:
                self.ended = True
                self.changed.notify_all()

    def _explain(self, reason: str) -> str:
        if Path(self.source).is_file():
            return f"{self.source}: {reason}"
        if self.source.isdecimal():
            here = ", ".join(sorted(str(device) for device in Path("/dev").glob("video*"))) or "none"
            return f"camera {self.source}, /dev/video{self.source}: {reason}; cameras here: {here}"
        return (
            f"{self.source}: {reason}; expected an address that plays now, such as rtsp://HOST/PATH or http://HOST/PATH"
        )

    def _open(self) -> av.container.InputContainer:
        if self.source.isdecimal():
            return av.open(f"/dev/video{self.source}", format="v4l2", timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S))
        return av.open(self.source, timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S))

    def _take_frames(self, container: av.container.InputContainer) -> None:
        if not container.streams.video or container.streams.video[0].codec_context is None:
            raise VideoError("holds no video stream that can be decoded")
        stream = container.streams.video[0]
        rate = float(stream.average_rate or UNKNOWN_FPS)
        played = Path(self.source).is_file()
        began, taken_s, index = time.monotonic(), float("-inf"), 0
        convert = RGBConverter()
        for number, frame in enumerate(container.decode(stream)):
            if self._stop.is_set():
                return
            if played:  # a file stands in for a camera
                self._stop.wait(max(0.0, began + number / rate - time.monotonic()))
            now = time.monotonic()
            if now - taken_s < 0.95 * self.least_gap_s:
                continue
            taken_s = now
            captured = _Captured(index, now, convert(frame, (frame.width, frame.height)))
            index += 1
            with self.changed:
                self._held.append(captured)
                while self._held[0].at_s < now - self.window_s:
                    self._held.popleft()
                if sum(c.image.nbytes for c in self._held) > MAX_WINDOW_BYTES:
                    self._held.popleft()
                self.changed.notify_all()


def live_windows(reader: LiveReader, cutting: Cutting) -> Iterator[Window]:
    """Windows of the newest frames, one whenever ``1 - overlap`` of a window is new and the one before is done.

    Who is slow gets fewer windows, never older ones; frames that no window holds are counted in ``dropped``.

    Raises:
        VideoError: the source cannot be opened or broke off.
    """
    due_s = cutting.window_s * (1 - cutting.overlap)
    number, newest, began, last_s = 0, -1, None, float("-inf")
    while True:
        with reader.changed:
            while not reader.ended and not _is_due(reader.held(), cutting.window_s, last_s, due_s):
                reader.changed.wait()
            held, ended = reader.held(), reader.ended
        fresh = [c for c in held if c.index > newest]
        if len(held) > 1 and fresh:
            began = held[0].at_s if began is None else began
            dropped = held[-1].index - newest - len(fresh)
            span_s = max(held[-1].at_s - held[0].at_s, 1e-3)
            newest, last_s = held[-1].index, held[-1].at_s
            yield Window(
                reader.source,
                number,
                held[0].index,
                (len(held) - 1) / span_s,
                tuple(c.image for c in held),
                held[0].at_s - began,
                last_s,
                dropped,
            )
            number += 1
        if ended:
            if reader.error:
                raise VideoError(reader.error)
            return


def _is_due(held: list[_Captured], window_s: float, last_s: float, due_s: float) -> bool:
    if len(held) < 2:
        return False
    full = held[0].index > 0 or held[-1].at_s - held[0].at_s >= 0.9 * window_s  # older frames have left, or nearly
    return full and held[-1].at_s - last_s >= due_s
