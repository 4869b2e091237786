"""What somebody did when: stretches of a video with an action. Pure functions; nothing here touches a disk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BACKGROUND = "background"
"""Name of the stretches in which none of the actions happens."""


@dataclass(frozen=True)
class Event:
    """One action of one person, in the half-open stretch [start_s, end_s) of a video.

    Attributes:
        start_s, end_s: seconds from the video's first frame.
        action: name of the class.
        probability: how sure the recogniser is; 1 for labels.
        person: number of the person or track; None if the event is of the video as a whole.
    """

    start_s: float
    end_s: float
    action: str
    probability: float = 1.0
    person: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start_s) and math.isfinite(self.end_s) and self.start_s < self.end_s):
            raise ValueError(f"event {self.action!r} is from {self.start_s} to {self.end_s} s; expected start < end")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"event {self.action!r} has probability {self.probability}; expected 0 to 1")

    @property
    def duration_s(self) -> float:
        """Length, seconds."""
        return self.end_s - self.start_s


def overlap_s(first: Event, second: Event) -> float:
    """Seconds that two events share; actions and persons do not matter."""
    return max(0.0, min(first.end_s, second.end_s) - max(first.start_s, second.start_s))


def tiou(first: Event, second: Event) -> float:
    """Temporal intersection over union of two events, 0 to 1; actions and persons do not matter."""
    shared_s = overlap_s(first, second)
    return shared_s / (first.duration_s + second.duration_s - shared_s)


def tiou_matrix(first: Sequence[Event], second: Sequence[Event]) -> Floats:
    """:func:`tiou` of each of A events with each of B -> (A, B)."""
    values = [[tiou(a, b) for b in second] for a in first]
    return np.array(values, dtype=np.float64).reshape(len(first), len(second))


def actions_at(events: Sequence[Event], times_s: Sequence[float]) -> list[str]:
    """The action at each time, :data:`BACKGROUND` where there is none; of several events the most probable one.

    Args:
        events: of one person, or of the video as a whole.
    """
    times = np.asarray(times_s, np.float64)
    found = np.full(len(times), BACKGROUND, dtype=object)
    for event in sorted(events, key=lambda e: e.probability):
        found[(times >= event.start_s) & (times < event.end_s)] = event.action
    return [str(action) for action in found]


def gaps(events: Sequence[Event], duration_s: float) -> list[tuple[float, float]]:
    """The stretches (start_s, end_s) of [0, duration_s) that no event covers, in order; persons do not matter."""
    found, end_s = [], 0.0
    for event in sorted(events, key=lambda e: e.start_s):
        if event.start_s > end_s:
            found.append((end_s, min(event.start_s, duration_s)))
        end_s = max(end_s, event.end_s)
        if end_s >= duration_s:
            break
    if end_s < duration_s:
        found.append((end_s, duration_s))
    return [(start, end) for start, end in found if start < end]
