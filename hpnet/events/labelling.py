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
from ..core.softmax import log_softmax, log_sum_exp

Floats = NDArray[np.float64]
AROUND = (0.0, -0.5, 0.5, -1.0, 1.0, -2.0, 2.0)
"""Where the windows lie that tell what happens at a step, in reaches from it."""
STILL = 0.01
"""Speeds below this, in heights a second, are alike: joints tremble so much."""
LEAST_LOG = -12.0
"""Log probabilities below this are this: a network that is very sure is not that sure of a window of a long video."""
LEAST_READ = -8.0
"""The same, where a regression reads them."""


@dataclass(frozen=True)
class Views:
    """What is seen in the window of each step, as a regression reads it.

    Attributes:
        alone: (n, K) log probabilities for the person alone.
        together: (n, K) for the person with those beside them; NaN where nobody is, or nobody was asked.
        near: (n, 2) how far the nearest of those is, of the bodies' middles and of the joints that are nearest, in
            heights of the person; NaN likewise.
        inputs: (n, D) what the linear classifiers of the graph networks read of the person alone.
    """

    alone: Floats
    together: Floats
    near: Floats
    inputs: Floats


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
        views: what else is seen in the windows.
        taught: (n, J) float64, the share of each taught action beside all K classes; None: nothing is taught.
    """

    person: int
    start_s: float
    end_s: float
    first: int
    step_s: float
    log_probabilities: Floats
    speeds: Floats
    views: Views
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
class Head:
    """A multinomial regression on what is seen around a step: which action it is, or the background.

    It is fitted on untrimmed videos. Of actions that it has hardly seen there, the networks' own answer counts.

    Attributes:
        weights: (A + 1, F), of :func:`readings`, for every action and, last, the background.
        biases: (A + 1,).
        known: (A,) whether its answer counts.
        trust: how much it counts beside the networks' own, 0 to 1: both log probabilities are averaged.
        reach_s: half the length of a window; see :func:`readings`.
        background: number of the networks' class named background; -1 if there is none.
    """

    weights: Floats
    biases: Floats
    known: NDArray[np.bool_]
    trust: float
    reach_s: float
    background: int = -1

    def label(self, timeline: Timeline) -> Floats:
        """(n, A + 1), see :class:`Labeller`."""
        return self.labelled(timeline, readings(timeline, self.reach_s))

    def labelled(self, timeline: Timeline, read: Floats) -> Floats:
        """(n, A + 1), of the readings (n, F) of a timeline.

        Raises:
            ValueError: the regression was fitted to other readings.
        """
        if read.shape[1] != self.weights.shape[1]:
            raise ValueError(
                f"{read.shape[1]} readings of a step, the regression was fitted to {self.weights.shape[1]}: run "
                "`hpnet events` again"
            )
        own = log_softmax(read @ self.weights.T + self.biases).clip(LEAST_LOG)  # (n, A + 1)
        idle = own[:, -1]
        acting = np.log((1 - np.exp(idle)).clip(np.exp(LEAST_LOG)))
        given = timeline.log_probabilities.clip(LEAST_LOG)
        if self.background >= 0:
            given = np.delete(given, self.background, axis=1)
        names = log_softmax(given)
        if self.known.any():
            both = self.trust * own[:, :-1][:, self.known] + (1 - self.trust) * names[:, self.known]
            share = log_sum_exp(names[:, self.known])[:, None]
            names[:, self.known] = log_softmax(both) + share
        return np.column_stack([names + acting[:, None], idle])

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        arrays = {"weights": self.weights, "biases": self.biases, "known": self.known}
        return {**self.__dict__, **{name: values.tolist() for name, values in arrays.items()}}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Head:
        """The inverse of :meth:`to_json`.

        Raises:
            ValueError: sizes differ.
        """
        weights, biases = np.array(raw["weights"], np.float64), np.array(raw["biases"], np.float64)
        known = np.array(raw["known"], bool)
        if weights.ndim != 2 or not len(weights) == len(biases) == len(known) + 1:
            raise ValueError(f"{weights.shape} weights, {len(biases)} biases, {len(known)} actions")
        return cls(weights, biases, known, float(raw["trust"]), float(raw["reach_s"]), int(raw["background"]))


def readings(timeline: Timeline, reach_s: float) -> Floats:
    """(n, F) of every step, what a regression reads.

    Of the windows at the step and half a reach, a reach and two before and after it: the log probabilities for the
    person alone, and the logarithm of the speed. Of the window at the step also the log probabilities together with
    others and how near they are, zeros where nobody is, and the inputs of the classifiers.
    """
    views, count = timeline.views, len(timeline)
    shifts = [round(share * reach_s / timeline.step_s) for share in AROUND]
    places = [(np.arange(count) + shift).clip(0, count - 1) for shift in shifts]
    alone, speeds = views.alone.clip(LEAST_READ), np.log(timeline.speeds + STILL)
    beside = ~np.isnan(views.near[:, :1])  # (n, 1)
    together, near = (np.where(beside, np.nan_to_num(values), 0.0) for values in (views.together, views.near))
    close = np.where(beside, np.exp(-2 * near[:, :1]), 0.0)
    return np.concatenate(
        [*(alone[place] for place in places), *(speeds[place, None] for place in places), together.clip(LEAST_READ),
         near, close, beside, views.inputs],
        axis=1,
    )  # fmt: skip
