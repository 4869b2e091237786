"""``hpnet bench soak``: live mode for a long time, from a source that stalls, drops and sends garbage.

The time is not waited for: the source moves a clock of its own on with every picture that it sends, and the reader and
the windows go by it. So half an hour passes in a minute or two, through the same reader, decoder and windows as of a
real stream.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import av
import numpy as np

from ..predict.live import NO_PICTURE_S, Clock, LiveReader, live_windows
from ..predict.windows import Cutting
from .machine import memory_bytes

FPS = 10
SIZE_PX = (320, 240)
LOOP = 20
"""Pictures of the recording that the source sends again and again."""
CUTTING = Cutting(2.0, 2.0, 0.5, max_fps=FPS)
FLAT_BYTES = 48 << 20
"""Memory may grow by so much after the first quarter of the time: a few windows, and what the allocator keeps."""
TAKEN_S = 0.02
"""The source waits for a window to be taken for so long after two seconds of pictures, seconds of real time."""


@dataclass
class Told:
    """What the source did and what came of it.

    Attributes:
        asked_s: how long the source was to be watched, and ``passed_s`` how long it was, by its own clock.
        pictures, garbage, stalls, drops: what the source sent, and how often it fell silent or closed the connection.
        reopened: how often the reader opened it again.
        windows, frames: that came out.
        memory_bytes: of the process, at each tenth of the time.
    """

    asked_s: float
    passed_s: float = 0.0
    pictures: int = 0
    garbage: int = 0
    stalls: int = 0
    drops: int = 0
    reopened: int = 0
    windows: int = 0
    frames: int = 0
    memory_bytes: list[int] = field(default_factory=list)

    @property
    def growth_bytes(self) -> int:
        """How much more memory was used at any later time than after the first quarter."""
        start = len(self.memory_bytes) // 4
        return max(self.memory_bytes[start:], default=0) - (self.memory_bytes[start] if self.memory_bytes else 0)

    def faults(self) -> list[str]:
        """What should not be, in words."""
        found = []
        if self.growth_bytes > FLAT_BYTES:
            found.append(f"memory grew by {self.growth_bytes >> 20} MiB")
        if self.reopened < self.drops - 1:
            found.append(f"{self.drops} connections ended, {self.reopened} were opened again")
        if not self.asked_s <= self.passed_s < self.asked_s + NO_PICTURE_S:
            found.append(f"it ended after {self.passed_s:.0f} s instead of {self.asked_s:.0f} s")
        if self.windows < self.asked_s / CUTTING.window_s / 4:
            found.append(f"there were {self.windows} windows alone")
        return found

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "growth_bytes": self.growth_bytes, "faults": self.faults()}


class MovedClock(Clock):
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def now_s(self) -> float:
        """Seconds since the beginning."""
        return self._now_s

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self._now_s += seconds

    def wait(self, changed: threading.Condition, seconds: float | None) -> None:
        """Look again soon, because the time may have been moved meanwhile."""
        changed.wait(0.002)

    def pause(self, stop: threading.Event, seconds: float) -> None:
        """Wait by letting the time pass."""
        self.move(seconds)


class Troubled:
    """Bytes of a stream, as a file: pictures in a loop, and now and then garbage, silence and an end."""

    def __init__(self, pictures: list[bytes], clock: MovedClock, told: Told, draw: random.Random) -> None:
        self._bytes = self._sent(pictures, draw)
        self._clock, self._told = clock, told
        self._left = b""
        self.taken = threading.Event()

    def _sent(self, pictures: list[bytes], draw: random.Random) -> Iterator[bytes]:
        for picture in itertools.cycle(pictures):
            yield picture
            self._told.pictures += 1
            self._clock.move(1 / FPS)
            if self._told.pictures % (FPS * 2) == 0:
                self.taken.clear()
                self.taken.wait(TAKEN_S)
            chance = draw.random()
            if chance < 0.004:  # every 25 s
                self._told.drops += 1
                return
            if chance < 0.008:
                self._told.stalls += 1
                self._clock.move(draw.uniform(0.2, 0.8) * NO_PICTURE_S)
            elif chance < 0.018:
                self._told.garbage += 1
                yield draw.randbytes(draw.randint(1, 5000))
            elif chance < 0.022:
                self._told.garbage += 1
                yield picture[: draw.randrange(len(picture))]

    def read(self, size: int) -> bytes:
        """The next bytes; none at the end."""
        if not self._left:
            self._left = next(self._bytes, b"")
        found, self._left = self._left[:size], self._left[size:]
        return found


class _Parts:
    """A file that gathers what is written."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.parts.append(bytes(data))
        return len(data)


def recording() -> list[bytes]:
    """A moving square in H.264 in an MPEG transport stream, the bytes of each picture."""
    out, found, before = _Parts(), [], 0
    with av.open(out, "w", format="mpegts", options={"flush_packets": "1"}) as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height = SIZE_PX
        stream.pix_fmt, stream.options = "yuv420p", {"preset": "ultrafast", "tune": "zerolatency", "g": "5"}
        for number in range(LOOP):
            image = np.zeros((SIZE_PX[1], SIZE_PX[0], 3), np.uint8)
            image[50:150, 10 * number : 10 * number + 80] = (200, 10 * number, 90)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            found.append(b"".join(out.parts[before:]))
            before = len(out.parts)
    return [picture for picture in found if picture]


def run(seconds: float, seed: int = 0) -> Told:
    """Watch the source for ``seconds`` of its own time.

    Raises:
        VideoError: the reader gave up.
    """
    clock, told, draw, pictures = MovedClock(), Told(seconds), random.Random(seed), recording()
    sources: list[Troubled] = []

    def opened() -> av.container.InputContainer:
        sources.append(Troubled(pictures, clock, told, draw))
        options = {"fpsprobesize": "0", "probesize": "20000"}
        return av.open(sources[-1], format="mpegts", options=options)

    with LiveReader("rtsp://soak", CUTTING.window_s, CUTTING.max_fps, clock, opened) as reader:
        for window in live_windows(reader, CUTTING, seconds):
            told.windows += 1
            told.frames += sum(1 for _ in window.frames)
            if clock.now_s() >= len(told.memory_bytes) * seconds / 10:
                told.memory_bytes.append(memory_bytes())
            sources[-1].taken.set()
        told.passed_s, told.reopened = clock.now_s(), reader.reopened
        for source in sources:
            source.taken.set()
    told.memory_bytes.append(memory_bytes())
    return told


def markdown(told: Told, command: str, machine: str) -> str:
    """The page."""
    steps = ", ".join(f"{found >> 20}" for found in told.memory_bytes)
    lines = [
        "# A long time of live video",
        "",
        f"`{command}`; {machine}.",
        "",
        f"A stream of {SIZE_PX[0]} x {SIZE_PX[1]} at {FPS} frames/s for {told.passed_s / 60:.1f} minutes of its own "
        f"time ({told.asked_s / 60:.1f} were asked for).",
        "",
        f"- sent: {told.pictures:,} pictures, {told.garbage} pieces of garbage, {told.stalls} silences of up to "
        f"{0.8 * NO_PICTURE_S:.0f} s, {told.drops} ends of the connection, after which it was opened again "
        f"{told.reopened} times",
        f"- came out: {told.windows:,} windows of {told.frames:,} frames",
        f"- memory at each tenth: {steps} MiB; it grew by {told.growth_bytes >> 20} MiB after the first quarter",
        f"- {'; '.join(told.faults()) or 'nothing was wrong'}",
        "",
    ]
    return "\n".join(lines)
