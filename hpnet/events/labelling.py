"""What the networks say of a person over time -> log probabilities of the actions and of the background.

Pure functions. Axes: n steps, K classes of the networks, A actions (the classes without one named ``background``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.events import BACKGROUND
from ..core.softmax import log_softmax

Floats = NDArray[np.float64]
AROUND = (0.0, -0.5, 0.5, -1.0, 1.0, -2.0, 2.0)
"""Where the windows lie that tell background from action, in reaches from the step."""
STILL = 0.01
"""Speeds below this, in heights a second, are alike: joints tremble so much."""
LEAST_LOG = -12.0
"""Log probabilities below this are this: a network that is very sure is not that sure of a window of a long video."""


@dataclass(frozen=True)
class Timeline:
    """What the networks say of one person from the moment that they are seen until they are gone.

    Attributes:
        person: the person's number in the video.
        start_s, end_s: when the person is seen.
        first: number of the first step; step j is from j to j + 1 times ``step_s``, and its window lies around it.
        step_s: seconds of a step.
        log_probabilities: (n, K) float64, of each step's window.
        speeds: (n,) float64, of the joints in the window, in heights of the person a second.
        taught: (n, J) float64, the share of each taught action beside all K classes; None: nothing is taught.
    """

    person: int
    start_s: float
    end_s: float
    first: int
    step_s: float
    log_probabilities: Floats
    speeds: Floats
    taught: Floats | None = None

    def __len__(self) -> int:
        return len(self.log_probabilities)

    def step_times_s(self, start: int, end: int) -> tuple[float, float]:
        """When the steps ``start`` to ``end`` (not included) are, within the time in which the person is seen."""
        begin_s, stop_s = (self.first + start) * self.step_s, (self.first + end) * self.step_s
        return (
            self.start_s if start == 0 else max(self.start_s, begin_s),
            self.end_s if end == len(self) else min(self.end_s, stop_s),
        )


def with_taught(labelled: Floats, taught: Floats | None) -> Floats:
    """(n, A + 1) log probabilities of the actions and the background -> (n, A + J + 1), with J taught actions between.

    What is a taught action is neither another action nor background: their shares shrink by it.

    Args:
        taught: (n, J) shares; None: there are none.
    """
    if taught is None:
        return labelled
    least = np.exp(LEAST_LOG)
    rest = np.log((1 - taught.sum(1, keepdims=True)).clip(least))
    shares = np.log(taught.clip(least))
    found = np.concatenate([labelled[:, :-1] + rest, shares, labelled[:, -1:] + rest], axis=1)
    return np.asarray(log_softmax(found))


def actions_of(classes: Sequence[str]) -> list[str]:
    """The A actions among K class names."""
    return [name for name in classes if name != BACKGROUND]


class Labeller(Protocol):
    """Gives every step log probabilities."""

    def label(self, timeline: Timeline) -> Floats:
        """(n, A + 1) log probabilities of the actions and, last, of the background."""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""


@dataclass(frozen=True)
class Threshold:
    """What is less sure than a threshold is background: the odds of the surest action are compared with those of it.

    Attributes:
        level: probability, above 0 and below 1, at which an action and the background are equally probable.
        background: number of the class named background; -1 if there is none.
    """

    level: float
    background: int = -1

    def label(self, timeline: Timeline) -> Floats:
        """(n, A + 1), see :class:`Labeller`."""
        given = timeline.log_probabilities.clip(LEAST_LOG)
        if self.background >= 0:
            given = np.delete(given, self.background, axis=1)
        surest = np.exp(given.max(1)).clip(np.exp(LEAST_LOG), 1 - np.exp(LEAST_LOG))
        odds = np.log(surest / (1 - surest)) - np.log(self.level / (1 - self.level))  # (n,), log
        acting, idle = -np.logaddexp(0, -odds), -np.logaddexp(0, odds)
        relative = given - given.max(1, keepdims=True) + acting[:, None]
        return np.asarray(log_softmax(np.column_stack([relative, idle])))

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return dict(self.__dict__)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Threshold:
        """The inverse of :meth:`to_json`."""
        return cls(float(raw["level"]), int(raw["background"]))


@dataclass(frozen=True)
class Background:
    """A logistic regression says how probable the background is, from the windows around a step.

    It is fitted on untrimmed videos. Among the actions the networks' own answer for the step's window counts.

    Attributes:
        weights: (F,), of :func:`readings`.
        bias: 0 is as probable as not.
        reach_s: half the length of a window; see :func:`readings`.
        background: number of the class named background; -1 if there is none.
    """

    weights: Floats
    bias: float
    reach_s: float
    background: int = -1

    def label(self, timeline: Timeline) -> Floats:
        """(n, A + 1), see :class:`Labeller`."""
        read = readings(timeline, self.reach_s)
        if read.shape[1] != len(self.weights):
            raise ValueError(f"{read.shape[1]} readings of a step, the regression was fitted to {len(self.weights)}")
        odds = read @ self.weights + self.bias  # (n,), log, of the background
        given = timeline.log_probabilities.clip(LEAST_LOG)
        if self.background >= 0:
            given = np.delete(given, self.background, axis=1)
        acting, idle = -np.logaddexp(0, odds), -np.logaddexp(0, -odds)
        return np.column_stack([log_softmax(given) + acting[:, None], idle])

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**self.__dict__, "weights": self.weights.tolist()}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Background:
        """The inverse of :meth:`to_json`."""
        weights = np.array(raw["weights"], np.float64)
        return cls(weights, float(raw["bias"]), float(raw["reach_s"]), int(raw["background"]))


def readings(timeline: Timeline, reach_s: float) -> Floats:
    """(n, F) of every step: what the windows at the step and around it say, and how fast the person moves.

    Of the windows at the step and half a reach, a reach and two before and after it: the log probabilities of the K
    classes, the log odds of the surest one, the entropy, the logarithm of the speed; and how much the window at the
    step and those around it agree.
    """
    count = len(timeline)
    logs = timeline.log_probabilities.clip(LEAST_LOG)
    chances = np.exp(logs)
    surest = chances.max(1).clip(np.exp(LEAST_LOG), 1 - np.exp(LEAST_LOG))
    odds, entropy = np.log(surest / (1 - surest)), -(chances * logs).sum(1)
    own = np.column_stack([logs, odds, entropy, np.log(timeline.speeds + STILL)])
    shifts = [round(share * reach_s / timeline.step_s) for share in AROUND]
    places = [(np.arange(count) + shift).clip(0, count - 1) for shift in shifts]
    alike = [(chances * chances[place]).sum(1) for place in places[1:]]
    return np.concatenate([own, *(own[place] for place in places[1:]), np.column_stack(alike)], axis=1)
