"""How like the clips of its action a clip is, by its fused scores. Pure functions. Axes: N clips, K actions.

The scores of a clip, about their mean over the actions, are a point. The held-out clips of every action have a mean
there, and all actions one covariance within them, shrunk. What is read of a clip is the cosine of the angle between it
and the mean of the nearest action, seen from the mean of all clips with distances measured by that covariance, and the
energy of its scores. Both are compared with all known clips, and with those of the action that is answered: one action
may be recognised with less evidence than another. A clip whose action was not learnt often gets high scores, but for a
mixture of actions that no known clip has.

Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples, NeurIPS 2018, measure distances to
such means; the cosine was better here (benchmarks/unknown.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..artifacts.unknown import Likeness, Usual
from ..core.folds import grouped_folds
from .stored import Floats

FOLDS = 5
SEED = 0
SHRINKAGE = 0.01
"""Of the mean variance, added to that of every direction."""
PRIOR_CLIPS = 5.0
"""An action's own mean and deviation count as if so many clips of all actions were among its own."""
FEWEST_ACTIONS = 3
SMALLEST_SD = 1e-9
Energy = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Known:
    """Held-out clips of known actions.

    Attributes:
        scores: (N, K) fused.
        labels: (N,) 0..K-1.
        units: (N,) clips of one unit are not independent.
    """

    scores: Floats
    labels: NDArray[np.int64]
    units: NDArray[np.int64]


@dataclass(frozen=True)
class Space:
    """Centre (K,), inverse covariance (K, K), and for each action the direction (K, K) of its mean, a row each."""

    centre: Floats
    precision: Floats
    directions: Floats

    def cosines(self, scores: Floats) -> Floats:
        """(N, K)."""
        apart = centred(scores) - self.centre
        length = np.sqrt(np.einsum("nk,kl,nl->n", apart, self.precision, apart, optimize=True).clip(1e-12))
        return np.asarray(apart @ self.directions.T / length[:, None])


def centred(scores: Floats) -> Floats:
    """Scores about their mean over the actions: what is added to all of them says nothing."""
    return np.asarray(scores - scores.mean(1, keepdims=True))


def fit_space(scores: Floats, labels: NDArray[np.int64]) -> Space:
    """Of clips (N, K), of every action at least one."""
    x = centred(scores)
    size = x.shape[1]
    means = np.stack([x[labels == action].mean(0) for action in range(size)])  # (K, K)
    within = x - means[labels]
    covariance = within.T @ within / len(x)
    covariance += max(SHRINKAGE * float(np.trace(covariance)) / size, 1e-9) * np.eye(size)
    precision = np.linalg.inv(covariance)
    centre = x.mean(0)
    directions = (means - centre) @ precision
    lengths = np.sqrt((directions * (means - centre)).sum(1).clip(1e-12))
    return Space(centre, precision, directions / lengths[:, None])


@dataclass(frozen=True)
class Fitted:
    """What :func:`fit_likeness` makes.

    Attributes:
        kept: to read new clips by.
        own: (N,) evidence of the known clips, each left out with its unit.
        without_own: (N,) of the same clips, as if the networks had never been told of their own actions.
    """

    kept: Likeness
    own: Floats
    without_own: Floats


def fit_likeness(known: Known, energy: Energy) -> Fitted | None:
    """Fit it to held-out clips; None of fewer than three actions, or where an action has too few clips or units."""
    scores, labels = known.scores, known.labels
    size = scores.shape[1]
    if size < FEWEST_ACTIONS or len(np.unique(known.units)) < 2:
        return None
    folds = grouped_folds([str(unit) for unit in known.units], labels.tolist(), FOLDS, SEED)
    cosines = np.zeros(scores.shape)
    for fold in np.unique(folds):
        out = folds == fold
        if np.bincount(labels[~out], minlength=size).min() == 0:
            return None
        cosines[out] = fit_space(scores[~out], labels[~out]).cosines(scores[out])
    space, energies = fit_space(scores, labels), energy(scores)
    kept = Likeness(
        _rows(space.centre[None])[0],
        _rows(space.precision),
        _rows(space.directions),
        usual(-cosines.max(1), cosines.argmax(1), labels),
        usual(energies, scores.argmax(1), labels),
    )
    return Fitted(kept, _compared(kept, cosines, energies, scores), _without_own(kept, known, energy))


def likeness(kept: Likeness, scores: Floats, energy: Energy) -> Floats:
    """(N,) of fused scores (N, K): higher is less like the clips of any action."""
    space = Space(np.array(kept.centre), np.array(kept.precision), np.array(kept.directions))
    return _compared(kept, space.cosines(scores), energy(scores), scores)


def usual(values: Floats, answers: NDArray[np.int64], labels: NDArray[np.int64]) -> Usual:
    """Mean and deviation of values (N,), of all clips, and for each action of those that rightly have this answer."""
    right = answers == labels
    chosen = values[right] if right.sum() > 1 else values
    mean, sd = float(chosen.mean()), max(float(chosen.std()), SMALLEST_SD)
    found = np.zeros((2, int(labels.max()) + 1))
    for action in range(found.shape[1]):
        own = values[right & (answers == action)]
        count = len(own) + PRIOR_CLIPS
        found[0, action] = (own.sum() + PRIOR_CLIPS * mean) / count
        found[1, action] = np.sqrt((np.square(own - found[0, action]).sum() + PRIOR_CLIPS * sd**2) / count)
    means, sds = _rows(found)
    return Usual(_rounded(float(values.mean())), _rounded(max(float(values.std()), SMALLEST_SD)), means, sds)


def _without_own(kept: Likeness, known: Known, energy: Energy) -> Floats:
    """Evidence of clips as if the networks had never been told of their own actions, in their order."""
    found = np.zeros(len(known.labels))
    size = known.scores.shape[1]
    for action in range(size):
        own, rest = known.labels == action, np.delete(np.arange(size), action)
        short = np.delete(known.scores, action, axis=1)
        labels = known.labels - (known.labels > action)
        cosines = np.full((int(own.sum()), size), -np.inf)
        cosines[:, rest] = fit_space(short[~own], labels[~own]).cosines(short[own])
        scores = known.scores[own].copy()
        scores[:, action] = -np.inf
        found[own] = _compared(kept, cosines, energy(short[own]), scores)
    return found


def _compared(kept: Likeness, cosines: Floats, energies: Floats, scores: Floats) -> Floats:
    """(N,), the sum of both measures against all clips and against those of the action."""
    total = np.zeros(len(energies))
    for known, values, answers in (
        (kept.cosine, -cosines.max(1), cosines.argmax(1)),
        (kept.energy, energies, scores.argmax(1)),
    ):
        means, sds = np.array(known.means), np.array(known.sds)
        total += (values - known.mean) / known.sd + (values - means[answers]) / sds[answers]
    return total


def _rows(values: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(_rounded(value) for value in row) for row in values)


def _rounded(value: float) -> float:
    """To nine digits: a file needs no more."""
    return float(f"{value:.9g}")
