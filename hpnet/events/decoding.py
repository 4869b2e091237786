"""Probabilities of labels over time -> segments, by a semi-Markov Viterbi pass. Pure functions.

Time is cut into T steps of equal length. Each step has log probabilities of K actions and, last, of the background.
That something happens is the evidence of every step. Which action it is, is that of the windows in the middle of a
segment, because the networks know whole actions: a window that holds the end of one and the beginning of the next looks
like a third. A segment costs its duration's log probability once; the background may last as long as it likes. The
search is that of a segmental model (Ostendorf, Digalakis and Kimball, 1996): the best of all ways to divide the steps,
in O(T D K) for durations of up to D steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .durations import Durations

Floats = NDArray[np.float64]
LEAST_LOG = -12.0
"""Log probabilities below this are this, so that one window rules out nothing."""


@dataclass(frozen=True)
class Segment:
    """Steps ``start`` to ``end`` (not included) of an action.

    Attributes:
        label: of K.
        probability: that something happens, mean over the steps, times that of the action by the window in the middle.
    """

    start: int
    end: int
    label: int
    probability: float


@dataclass(frozen=True)
class Decoder:
    """How segments are found.

    Attributes:
        durations: of the K actions.
        step_s: seconds of a step.
        weight: how much a step's evidence counts; below 1, because neighbouring windows share most of their frames.
        entry: what it costs to begin an action of its usual length, below 0; lower gives fewer events.
    """

    durations: Durations
    step_s: float
    weight: float
    entry: float

    def decode(self, log_probabilities: Floats) -> list[Segment]:
        """Segments of (T, K + 1) log probabilities, in order, without overlap; neighbours of one action are one."""
        count = log_probabilities.shape[1] - 1
        if count != len(self.durations.mean_log):
            raise ValueError(f"log probabilities of {count} actions, durations of {len(self.durations.mean_log)}")
        lasting = self.durations.log_probabilities(self.step_s)
        lasting = lasting - lasting.max(0, initial=-np.inf) + self.entry
        idle = log_probabilities[:, count]
        chances = 1 - np.exp(idle)
        acting = np.log(chances.clip(np.exp(LEAST_LOG)))
        names = _smooth((log_probabilities[:, :count] - acting[:, None]).clip(LEAST_LOG))
        ways = _best(self.weight * acting, self.weight * idle, self.weight * names, lasting)
        found = []
        for start, end, label in _joined(ways):
            if label < count:
                middle = names[(start + end - 1) // 2 : (start + end) // 2 + 1, label].mean()
                found.append(Segment(start, end, label, min(1.0, float(chances[start:end].mean() * np.exp(middle)))))
        return found


def _smooth(values: Floats) -> Floats:
    """(T, K), half of each step and a quarter of either neighbour."""
    padded = np.concatenate([values[:1], values, values[-1:]])
    return (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4


def _best(acting: Floats, idle: Floats, names: Floats, log_durations: Floats) -> list[tuple[int, int, int]]:
    """(start, end, label) of all segments of the best way, the background (label K) among them, a step at a time.

    Args:
        acting, idle: (T,) evidence of each step that something, and that nothing, happens.
        names: (T, K) evidence of each action; that of the middle of a segment counts for all its steps.
        log_durations: (D, K).
    """
    steps, actions = names.shape
    longest = len(log_durations)
    total = np.concatenate([[0.0], np.cumsum(acting)])
    middles = np.zeros((2 * steps + 1, actions))  # of segments, by the sum of their first step and the one after last
    middles[1::2] = names
    middles[2:-1:2] = (names[1:] + names[:-1]) / 2
    best = np.full(steps + 1, -np.inf)  # of all ways that end before step t
    best[0] = 0.0
    label = np.full(steps + 1, actions, np.int32)
    length = np.ones(steps + 1, np.int32)
    lasts = np.arange(1, longest + 1)
    for t in range(1, steps + 1):
        span = lasts[: min(longest, t)]
        before = best[t - span] + total[t] - total[t - span]  # (D',)
        options = before[:, None] + span[:, None] * middles[2 * t - span] + log_durations[: len(span)]  # (D', K)
        best[t] = best[t - 1] + idle[t - 1]
        place = int(options.argmax()) if options.size else 0
        if options.size and options.flat[place] > best[t]:
            length[t], label[t] = place // actions + 1, place % actions
            best[t] = float(options.flat[place])
    ways = []
    t = steps
    while t > 0:
        ways.append((t - int(length[t]), t, int(label[t])))
        t -= int(length[t])
    return ways[::-1]


def _joined(ways: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Neighbouring segments of one label as one."""
    found: list[tuple[int, int, int]] = []
    for start, end, label in ways:
        if found and found[-1][2] == label:
            found[-1] = (found[-1][0], end, label)
        else:
            found.append((start, end, label))
    return found
