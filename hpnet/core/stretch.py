"""A part of a video: which of its frames."""

from __future__ import annotations

from dataclasses import dataclass

SAME_TIME_S = 1e-3
"""Differences of times that are only rounding, as of a table with milliseconds."""


@dataclass(frozen=True)
class Stretch:
    """The part [start_s, end_s) of a video: the frames that begin in it, to a millisecond.

    Attributes:
        start_s, end_s: seconds, on the clock of :func:`hpnet.core.video.read_timed`.
    """

    start_s: float
    end_s: float

    def holds(self, time_s: float) -> bool:
        """Whether a frame at this time belongs to it."""
        return self.start_s - SAME_TIME_S <= time_s < self.end_s - SAME_TIME_S
