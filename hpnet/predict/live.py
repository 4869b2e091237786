"""Cameras, streams, and files played at their own speed, as windows of the newest frames."""

from __future__ import annotations

import gc
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
from av.error import ExitError, FFmpegError, InvalidDataError

from ..core.video import RGBConverter, VideoError, read_timed, shown_size
from ..work.console import note
from .sources import is_address, is_camera
from .windows import (
    UNKNOWN_FPS,
    UNUSABLE,
    WINDOW_BYTES,
    Cutting,
    HeldFrames,
    Image,
    Window,
    frame_scale,
    reduced,
    why,
)

NO_PICTURE_S = 15.0
"""A camera or stream without a picture for this time is an error, seconds."""
FIRST_PAUSE_S = 0.5
"""Before a camera or stream that broke off is opened again, seconds; each try without a picture doubles it."""
LEAVE_S = 1.0
"""Time to wait for a stopped reader, seconds; one that waits for the network ends with the process."""
FULL_SHARE = 0.9
"""The first window is cut when this share of it has passed."""
_OPTIONS = {"fpsprobesize": "0"}  # FFmpeg would wait for 20 pictures, a minute for a slow camera


class Clock:
    """The time, and waiting for it; `hpnet bench soak` has another."""

    def now_s(self) -> float:
        """Seconds from any beginning; never goes back."""
        return time.monotonic()

    def wait(self, changed: threading.Condition, seconds: float | None) -> None:
        """Wait for a change, which may come without a reason, or for the time; call with ``changed`` held."""
        changed.wait(seconds)

    def pause(self, stop: threading.Event, seconds: float) -> None:
        """Wait for the time, or until ``stop`` is set."""
        stop.wait(seconds)


@dataclass(frozen=True)
class _Captured:
    index: int
    at_s: float
    image: Image


class LiveReader:
    """Reads a camera or a stream in a thread and keeps the newest ``window_s`` seconds; older frames are dropped.

    A camera or stream that breaks off after its first picture is opened again, until there was none for
    :data:`NO_PICTURE_S`. A recording at an address, which has a length, ends.

    Args:
        source: a camera's number, an address, or a file, which is then played at its own rate.
        opened: opens the camera or stream in another way.
    """

    def __init__(
        self,
        source: str,
        window_s: float,
        max_fps: float | None,
        clock: Clock | None = None,
        opened: Callable[[], av.container.InputContainer] | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.reopened = 0
        """How often the source was opened again."""
        self._opened = opened
        self.source = source
        self.window_s = window_s
        self.max_fps = max_fps
        self.error = ""
        self.ended = False
        self.changed = threading.Condition()
        self.began_s = self.newest_s = self.clock.now_s()
        """Start of reading, and time of the newest picture (or start of reading)."""
        self.first_s = math.inf
        """Time of the first picture."""
        self.size_px = (0, 0)
        self._camera = is_camera(source)
        self._played = not self._camera and not is_address(source)
        self._held: deque[_Captured] = deque()
        self._held_bytes = self._count = 0
        self._taken_s = -math.inf
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> LiveReader:
        self.began_s = self.newest_s = self.clock.now_s()
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._stop.set()
        self._thread.join(timeout=LEAVE_S)

    def held(self) -> list[_Captured]:
        """The newest frames, oldest first; call with :attr:`changed` held."""
        return list(self._held)

    @property
    def given_up_s(self) -> float:
        """Monotonic time at which the source has been silent for too long; a file may have gaps of any length."""
        return math.inf if self._played else self.newest_s + NO_PICTURE_S

    def silence(self, seconds: float) -> str:
        """The error of a source without a picture for ``seconds``."""
        return f"{self._name()}: no picture for {round(seconds, 1):g} s"

    def _read(self) -> None:
        try:
            if self._played:
                self._play()
            else:
                self._receive()
        except ExitError:  # FFmpeg was interrupted, because no picture arrived in time
            self.error = self.silence(NO_PICTURE_S)
        except (FFmpegError, *UNUSABLE) as error:
            self.error = self._explain(why(error))
        finally:
            with self.changed:
                self.ended = True
                self.changed.notify_all()

    def _receive(self) -> None:
        pause_s, before = FIRST_PAUSE_S, 0
        while not self._stop.is_set():
            try:
                with (self._opened or self._open)() as container:
                    self._take_frames(container)
                    has_end = container.duration is not None
                reason = "ended"
            except ExitError:
                raise
            except (FFmpegError, *UNUSABLE) as error:
                if not self._count:
                    raise
                has_end, reason = False, why(error)
            if has_end or not self._count or self._stop.is_set():
                return
            pause_s = FIRST_PAUSE_S if self._count > before else 2 * pause_s
            before = self._count
            if self.clock.now_s() + pause_s >= self.given_up_s:
                raise VideoError(f"broke off ({reason}), and gave no picture when it was opened again")
            self.reopened += 1
            gc.collect()  # a closed container and its streams hold each other, and megabytes that Python does not see
            note(f"{self._name()}: {reason}; it is opened again")
            self.clock.pause(self._stop, pause_s)

    def _name(self) -> str:
        return f"camera {self.source}, /dev/video{self.source}" if self._camera else self.source

    def _explain(self, reason: str) -> str:
        if self._played:
            return f"{self.source}: {reason}"
        if self._camera:
            here = ", ".join(sorted(str(device) for device in Path("/dev").glob("video*"))) or "none"
            return f"{self._name()}: {reason}; cameras here: {here}"
        return f"{self.source}: {reason}; expected a running stream, such as rtsp://HOST/PATH or http://HOST/PATH"

    def _open(self) -> av.container.InputContainer:
        return av.open(
            f"/dev/video{self.source}" if self._camera else self.source,
            format="v4l2" if self._camera else None,
            options=_OPTIONS,
            timeout=(NO_PICTURE_S, NO_PICTURE_S),
        )

    def _play(self) -> None:
        """A file stands in for a camera."""
        began_s, begin_s = self.clock.now_s(), None
        for seconds, image in read_timed(self.source):
            begin_s = seconds if begin_s is None else begin_s
            self.clock.pause(self._stop, max(0.0, began_s + seconds - begin_s - self.clock.now_s()))
            if self._stop.is_set():
                return
            if self._is_wanted():
                self._take(image)

    def _take_frames(self, container: av.container.InputContainer) -> None:
        if not container.streams.video or container.streams.video[0].codec_context is None:
            raise VideoError("has no video stream that can be decoded")
        stream = container.streams.video[0]
        convert = RGBConverter()
        size: tuple[int, int] | None = None
        for packet in container.demux(stream):
            if self._stop.is_set():
                return
            try:
                frames = packet.decode()
            except InvalidDataError:  # streams can lose packets; a source that sends only damaged ones counts as silent
                continue
            for frame in frames:
                size = size or shown_size(frame.width, frame.height, stream.sample_aspect_ratio)
                if self._is_wanted():
                    self._take(convert(frame, size))

    def _is_wanted(self) -> bool:
        return self.max_fps is None or self.clock.now_s() - self._taken_s >= 0.95 / self.max_fps

    def _take(self, image: Image) -> None:
        now = self._taken_s = self.clock.now_s()
        if self.size_px == (0, 0):
            self.size_px = (image.shape[1], image.shape[0])
        scale = frame_scale((image.shape[1], image.shape[0]), (self.max_fps or UNKNOWN_FPS) * self.window_s)
        captured = _Captured(self._count, now, reduced(image, scale))
        self._count += 1
        with self.changed:
            self.first_s, self.newest_s = min(self.first_s, now), now
            self._held.append(captured)
            self._held_bytes += captured.image.nbytes
            while self._held[0].at_s < now - self.window_s or (self._held_bytes > WINDOW_BYTES and len(self._held) > 1):
                self._held_bytes -= self._held.popleft().image.nbytes
            self.changed.notify_all()


def live_windows(reader: LiveReader, cutting: Cutting, seconds: float | None = None) -> Iterator[Window]:
    """Windows of the newest frames. A window is cut if ``1 - overlap`` of it is new and the previous one is answered.

    A slow machine skips windows and keeps to the newest; ``dropped`` counts the frames that are in no window. A source
    with less than one picture per window gives windows of one picture.

    Args:
        seconds: end after this wall-clock time.

    Raises:
        VideoError: the source cannot be opened, gives no picture for ``NO_PICTURE_S``, also when it is opened again, or
            none within ``seconds``.
    """
    hop_s = cutting.window_s * (1 - cutting.overlap)
    end_s = math.inf if seconds is None else reader.began_s + seconds
    number, newest, due_s = 0, -1, None
    while True:
        with reader.changed:
            while True:
                now = reader.clock.now_s()
                held = reader.held()
                fresh = sum(c.index > newest for c in held)
                due = reader.first_s + FULL_SHARE * cutting.window_s if due_s is None else due_s
                if reader.ended or now >= end_s or now >= reader.given_up_s or (fresh and now >= due):
                    break
                wake_s = min(end_s, reader.given_up_s, due if fresh else math.inf)
                reader.clock.wait(reader.changed, None if wake_s == math.inf else wake_s - now)
            ended, over, silent = reader.ended, now >= end_s, now >= reader.given_up_s
        if fresh and (not over or number == 0):
            dropped = held[-1].index - newest - fresh
            newest, due_s = held[-1].index, held[-1].at_s + hop_s
            yield _window(reader, number, held, dropped)
            number += 1
        if ended and reader.error:
            raise VideoError(reader.error)
        if newest < 0 and (ended or over):
            raise VideoError(reader.silence(now - reader.began_s))
        if ended or over:
            return
        if silent:
            raise VideoError(reader.silence(NO_PICTURE_S))


def _window(reader: LiveReader, number: int, held: Sequence[_Captured], dropped: int) -> Window:
    span_s = held[-1].at_s - held[0].at_s
    return Window(
        reader.source,
        number,
        held[0].index,
        (len(held) - 1) / span_s if span_s > 0 else UNKNOWN_FPS,
        HeldFrames(tuple((c.at_s - reader.first_s, c.image) for c in held)),
        reader.size_px,
        held[-1].at_s,
        dropped,
    )
