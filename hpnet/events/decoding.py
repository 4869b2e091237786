"""Probabilities of labels over time -> segments, by a semi-Markov Viterbi pass. Pure functions.

Time is cut into T steps of equal length. Each step has log probabilities of K actions and, last, of the background. A
segment of an action costs its duration's log probability once; the background may last as long as it likes. The search
is that of a segmental hidden Markov model (Ostendorf, Digalakis and Kimball, 1996): the best of all ways to divide the
steps, in O(T D K) for durations of up to D steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .durations import Durations

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Segment:
    """Steps ``start`` to ``end`` (not included) of an action.

    Attributes:
        label: of K.
        probability: mean over the steps of the action's probability.
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
        ways = _best(self.weight * log_probabilities, lasting - lasting.max(0, initial=-np.inf) + self.entry)
        chances = np.exp(log_probabilities)
        return [
            Segment(start, end, label, min(1.0, float(chances[start:end, label].mean())))
            for start, end, label in _joined(ways)
            if label < count
        ]


def _best(evidence: Floats, log_durations: Floats) -> list[tuple[int, int, int]]:
    """(start, end, label) of all segments of the best way, the background (label K) among them, a step at a time."""
    steps, actions = evidence.shape[0], evidence.shape[1] - 1
    longest = len(log_durations)
    total = np.zeros((steps + 1, actions))
    np.cumsum(evidence[:, :actions], axis=0, out=total[1:])
    best = np.full(steps + 1, -np.inf)  # of all ways that end before step t
    best[0] = 0.0
    begun = np.full((steps + 1, actions), -np.inf)  # best[t] without the evidence before t, per action
    begun[0] = 0.0
    label = np.full(steps + 1, actions, np.int32)
    length = np.ones(steps + 1, np.int32)
    for t in range(1, steps + 1):
        span = min(longest, t)
        options = begun[t - span : t][::-1] + log_durations[:span]  # (D', K), of 1 to D' steps
        lasts = options.argmax(0)
        scores = options[lasts, np.arange(actions)] + total[t] if actions else np.zeros(0)
        idle = best[t - 1] + evidence[t - 1, actions]
        best[t] = idle
        if actions and scores.max() > idle:
            label[t] = int(scores.argmax())
            length[t] = int(lasts[label[t]]) + 1
            best[t] = float(scores[label[t]])
        begun[t] = best[t] - total[t]
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
