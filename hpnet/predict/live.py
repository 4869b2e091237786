"""Cameras, streams, and files played at their own speed, as windows of the newest frames.

A thread reads. Frames wait for a moment, so that a short delay loses none. A machine that is slower than the source
leaves out frames at even distances.
"""

from __future__ import annotations

import gc
import math
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
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
SLACK_S = 0.15
"""Lateness up to this is kept: frames that the pose network reads come between cheap ones. What is later is left out,
and a window does not end with it."""
BACKLOG_S = 0.1
"""Waiting frames that need no more than this time in all are all taken."""
COSTS = 16
"""What a frame costs is the mean over so many. The first does not count, because networks are slow at first."""
EARLY_SHARE = 0.3
"""A frame may come early by this share of the least distance of frames, because capture is not quite regular."""
_NO_IMAGE: Image = np.zeros((0, 0, 3), np.uint8)
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
class Captured:
    """A frame: its number among all that were captured, the reader's time of its capture, and the picture, RGB."""

    index: int
    at_s: float
    image: Image


@dataclass(frozen=True)
class LiveFrame:
    """A frame that was taken to be looked at.

    Attributes:
        number: 0, 1, ... of those that were taken.
        seconds: since the first picture of the source.
        image: RGB (H, W, 3), reduced in size where a window of such frames would not fit into memory.
    """

    number: int
    seconds: float
    image: Image


@dataclass
class Pace:
    """Which frames are taken where there is no time for all: as many as there is time for, at even distances."""

    _costs: deque[float] = field(default_factory=lambda: deque(maxlen=COSTS))
    _first: bool = True
    _wanted_s: float = -math.inf

    def add(self, cost_s: float) -> None:
        """A frame took this time."""
        if not self._first:
            self._costs.append(cost_s)
        self._first = False

    def choose(self, waiting: Sequence[Captured], ended: bool) -> int | None:
        """Which of the waiting frames is next; those before it are dropped. None: wait for a later one.

        Args:
            waiting: oldest first, one or more.
            ended: no other frame will come.
        """
        chosen = next((n for n, frame in enumerate(waiting) if frame.at_s >= self._wanted_s), None)
        if chosen is None and ended:
            chosen = len(waiting) - 1
        if chosen is not None:
            cost_s = statistics.fmean(self._costs) if self._costs else 0.0
            late_s = waiting[-1].at_s - self._wanted_s if len(waiting) * cost_s > BACKLOG_S else 0.0
            made_up_s = max(0.0, late_s - SLACK_S)
            self._wanted_s = max(self._wanted_s + cost_s + made_up_s, waiting[chosen].at_s)
        return chosen


class LiveReader:
    """Reads a camera or a stream in a thread; frames wait until they are taken, for ``window_s`` seconds at most.

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
        self._waiting: deque[Captured] = deque()
        self._waiting_bytes = self._count = 0
        self._wanted_s = -math.inf
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> LiveReader:
        self.began_s = self.newest_s = self.clock.now_s()
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._stop.set()
        self._thread.join(timeout=LEAVE_S)

    @property
    def captured(self) -> int:
        """Frames so far, whether they were taken or not; frames above ``max_fps`` do not count."""
        return self._count

    def take(self, pace: Pace) -> Captured | None:
        """The next frame, if one is to be taken now; call with :attr:`changed` held."""
        chosen = pace.choose(self._waiting, self.ended) if self._waiting else None
        if chosen is None:
            return None
        for _ in range(chosen):
            self._drop()
        return self._drop()

    def lag_s(self, at_s: float) -> float:
        """How much older a frame of that time is than the newest that waits; call with :attr:`changed` held."""
        return self._waiting[-1].at_s - at_s if self._waiting else 0.0

    def _drop(self) -> Captured:
        captured = self._waiting.popleft()
        self._waiting_bytes -= captured.image.nbytes
        return captured

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
        """Whether a frame of now is one of the at most ``max_fps`` a second."""
        if self.max_fps is None:
            return True
        now, least_s = self.clock.now_s(), 1 / self.max_fps
        if now < self._wanted_s - EARLY_SHARE * least_s:
            return False
        self._wanted_s = max(self._wanted_s, now - least_s) + least_s
        return True

    def _take(self, image: Image) -> None:
        now = self.clock.now_s()
        if self.size_px == (0, 0):
            self.size_px = (image.shape[1], image.shape[0])
        scale = frame_scale((image.shape[1], image.shape[0]), (self.max_fps or UNKNOWN_FPS) * self.window_s)
        captured = Captured(self._count, now, reduced(image, scale))
        with self.changed:
            self._count += 1
            self.first_s, self.newest_s = min(self.first_s, now), now
            self._waiting.append(captured)
            self._waiting_bytes += captured.image.nbytes
            while len(self._waiting) > 1 and (
                self._waiting[0].at_s < now - self.window_s or self._waiting_bytes > WINDOW_BYTES
            ):
                self._drop()
            self.changed.notify_all()


@dataclass
class _Held:
    """The frames of the newest window."""

    window_s: float
    keeps: bool
    frames: deque[LiveFrame] = field(default_factory=deque)
    size: int = 0

    def add(self, frame: LiveFrame) -> None:
        kept = frame if self.keeps else LiveFrame(frame.number, frame.seconds, _NO_IMAGE)
        self.frames.append(kept)
        self.size += kept.image.nbytes
        while self.frames[0].seconds < frame.seconds - self.window_s or (
            self.size > WINDOW_BYTES and len(self.frames) > 1
        ):
            self.size -= self.frames.popleft().image.nbytes


def live_windows(
    reader: LiveReader,
    cutting: Cutting,
    seconds: float | None = None,
    look: Callable[[LiveFrame], None] | None = None,
    keeps_frames: bool = True,
) -> Iterator[Window]:
    """Windows of the newest frames. A window ends when ``1 - overlap`` of it is new and the previous one is answered.

    A slow machine takes fewer frames, at even distances, and keeps to the newest; ``dropped`` of a window counts those
    that it left out. A source with less than one picture per window gives windows of one picture.

    Args:
        seconds: end after this wall-clock time.
        look: called with every frame as soon as it is taken, before its window ends.
        keeps_frames: windows have their frames; otherwise a frame is gone after ``look``.

    Raises:
        VideoError: the source cannot be opened, gives no picture for ``NO_PICTURE_S``, also when it is opened again, or
            none within ``seconds``.
    """
    end_s = math.inf if seconds is None else reader.began_s + seconds
    held, pace = _Held(cutting.window_s, keeps_frames), Pace()
    taken: Captured | None = None
    late_s = 0.0
    number = count = fresh = before = 0
    due_s = math.inf
    while True:
        with reader.changed:
            while True:
                now = reader.clock.now_s()
                over, silent = now >= end_s, now >= reader.given_up_s
                found = None if over else reader.take(pace)
                late_s = 0.0 if found is None else reader.lag_s(found.at_s)
                ended = reader.ended and found is None
                if found is not None or ended or over or silent or (fresh and now >= due_s):
                    break
                wake_s = min(end_s, reader.given_up_s, due_s if fresh else math.inf)
                reader.clock.wait(reader.changed, None if wake_s == math.inf else wake_s - now)
        if found is not None:
            due_s = reader.first_s + FULL_SHARE * cutting.window_s if taken is None else due_s
            taken = found
            began_s = reader.clock.now_s()
            frame = LiveFrame(count, found.at_s - reader.first_s, found.image)
            held.add(frame)
            if look is not None:
                look(frame)
            pace.add(reader.clock.now_s() - began_s)
            count, fresh = count + 1, fresh + 1
            if found.at_s < due_s or late_s > SLACK_S:
                continue
        if fresh and taken is not None and (not over or number == 0):
            dropped = taken.index + 1 - before - fresh
            before, fresh = taken.index + 1, 0
            due_s = taken.at_s + cutting.window_s * (1 - cutting.overlap)
            yield _window(reader, number, held.frames, taken.at_s, dropped)
            number += 1
        if found is not None:
            continue
        if ended and reader.error:
            raise VideoError(reader.error)
        if taken is None and (ended or over):
            raise VideoError(reader.silence(now - reader.began_s))
        if ended or over:
            return
        if silent:
            raise VideoError(reader.silence(NO_PICTURE_S))


def _window(reader: LiveReader, number: int, held: Sequence[LiveFrame], captured_s: float, dropped: int) -> Window:
    span_s = held[-1].seconds - held[0].seconds
    return Window(
        reader.source,
        number,
        held[0].number,
        (len(held) - 1) / span_s if span_s > 0 else UNKNOWN_FPS,
        HeldFrames(tuple((frame.seconds, frame.image) for frame in held if frame.image.size)),
        reader.size_px,
        captured_s,
        dropped,
    )
