"""Times of the frames of a stream, from timestamps only. Pure: no file, no decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

_LEAST_STEP_S = 1e-4
"""Distance given to frames with the same timestamp, so that times rise, seconds."""
_GAP = 3.0
"""A frame shown longer than this number of median intervals is a gap."""


@dataclass(frozen=True)
class Timeline:
    """The frames of a stream in display order.

    Attributes:
        times_s: (T,) float64, never falling; seconds on the file's clock.
        end_s: end of the last frame.
        fps: frames per second, without gaps; 0 if unknown.
    """

    times_s: NDArray[np.float64]
    end_s: float
    fps: float

    @property
    def seconds(self) -> float:
        """From the first frame to the end of the last one."""
        return self.end_s - float(self.times_s[0]) if len(self.times_s) else 0.0


def timeline(times_s: Sequence[float], last_duration_s: float, coded_fps: float) -> Timeline:
    """The timeline of frames.

    Args:
        times_s: in any order.
        last_duration_s: duration of the last frame; 0 if unknown.
        coded_fps: the stream's own rate, for a stream of one frame; 0 if unknown.
    """
    times = np.sort(np.asarray(times_s, np.float64))
    if not len(times):
        return Timeline(times, 0.0, 0.0)
    interval = typical_interval_s(times)
    if not interval:
        interval = last_duration_s or (1 / coded_fps if coded_fps else 0.0)
    last = last_duration_s if last_duration_s >= interval / 2 else interval
    return Timeline(times, float(times[-1]) + last, _rate(interval))


def typical_interval_s(times_s: NDArray[np.float64]) -> float:
    """Mean time between frames, without gaps; 0 if there are fewer than two times."""
    steps = np.diff(times_s)
    steps = steps[steps > 2 * _LEAST_STEP_S]
    if not len(steps):
        return 0.0
    return float(steps[steps <= _GAP * np.median(steps)].mean())


class Clock:
    """Timestamps in file order -> times that always rise.

    A frame without a timestamp follows the previous one after one interval. If time jumps back, as in joined files, it
    continues from the previous time.

    Args:
        interval_s: time between frames, until two frames give it.

    Attributes:
        jumps: number of backward jumps so far.
        interval_s: time between the last two frames that did not jump.
    """

    def __init__(self, interval_s: float) -> None:
        self.jumps = 0
        self.interval_s = interval_s
        self._shift_s = 0.0
        self._last_s: float | None = None

    def __call__(self, time_s: float | None) -> float:
        """The next time, in seconds on the file's clock."""
        last = self._last_s
        if last is None:
            now = 0.0 if time_s is None else time_s
        elif time_s is None:
            now = last + self.interval_s
        else:
            now = time_s + self._shift_s
            if now < last - 1.5 * self.interval_s:
                self._shift_s += last + self.interval_s - now
                self.jumps += 1
                now = last + self.interval_s
            elif now < last + _LEAST_STEP_S:
                now = last + _LEAST_STEP_S
            else:
                self.interval_s = now - last
        self._last_s = now
        return now


class Stamps:
    """Choice of a timestamp for a decoded frame.

    The decoding time of its packet is used if the display time jumps back more often, and in formats that store only it
    (AVI).
    """

    def __init__(self, only_decoding: bool = False) -> None:
        self._faults = {"shown": 1 if only_decoding else 0, "decoded": 0}
        self._last: dict[str, int] = {}

    def __call__(self, shown: int | None, decoded: int | None) -> int | None:
        """The timestamp of the next frame in display order, in the stream's units; None if it has none."""
        for name, value in (("shown", shown), ("decoded", decoded)):
            if value is not None:
                self._faults[name] += value <= self._last.get(name, value - 1)
                self._last[name] = value
        if self._faults["shown"] <= self._faults["decoded"] and shown is not None:
            return shown
        return decoded


class PacketTimes:
    """Collects the display times of the frames in a stream's packets.

    Args:
        interval_s: time between frames at the stream's own rate, for packets without timestamps.

    Attributes:
        last_s: the latest time on the file's clock since the last backward jump; None at the start.
        untimed: packets without any timestamp.
    """

    def __init__(self, interval_s: float) -> None:
        self.last_s: float | None = None
        self.untimed = 0
        self._interval_s = interval_s
        self._times: list[float] = []
        self._decoding = Clock(interval_s)
        self._shift_s = 0.0

    def __len__(self) -> int:
        return len(self._times)

    def add(self, shown_s: float | None, decoded_s: float | None, tells: bool = True) -> None:
        """Add one packet, in file order, with its display and decoding times.

        A packet that may only repeat the previous frame (a very small one) does not change ``last_s``.
        """
        jumps = self._decoding.jumps
        stamp_s = shown_s if decoded_s is None else decoded_s
        if decoded_s is not None or shown_s is None:
            now_s = self._decoding(decoded_s)
            self._shift_s = 0.0 if decoded_s is None else now_s - decoded_s
            if self._decoding.jumps > jumps:
                self.last_s = None
        if stamp_s is None:
            self._times.append(now_s)
            self.untimed += 1
            return
        time_s = stamp_s if shown_s is None else shown_s
        self._times.append(time_s + self._shift_s)
        if tells:
            self.last_s = time_s if self.last_s is None else max(self.last_s, time_s)

    @property
    def times_s(self) -> list[float]:
        """All times so far, in file order."""
        return self._times


def _rate(interval_s: float) -> float:
    """Frames per second; rounded to a usual rate (whole, or in 1001ths) if the difference is only rounding."""
    if not interval_s:
        return 0.0
    fps = 1 / interval_s
    usual = float(Fraction(fps).limit_denominator(1001))
    return usual if abs(fps - usual) < 1e-7 * fps else fps
