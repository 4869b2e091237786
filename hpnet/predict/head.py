"""A linear discriminant over what trained networks read of a clip, for actions that are taught by a few clips.

The networks stay as they are. Each of their actions, and each taught one, has a mean of what the networks read of its
clips, and all have one covariance within actions, that of many training clips and the few new ones. The covariance is
shrunk as in :func:`hpnet.train.classifiers.discriminant`. Everything is computed from products of clips, because there
are fewer clips than numbers of a clip.

A taught action answers where its logit is above the best trained one by more than a threshold. The threshold is chosen
on clips of trained actions that the discriminant did not see, so that at most a given share of them changes its answer.

Axes: N clips, n clips that are learnt, D numbers of a clip, K trained actions, J taught ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.int64]
Embeddings: TypeAlias = Mapping[str, NDArray[np.float32]]
"""Stream -> (N, D)."""
MOST_LOSS = 0.01
"""Share of the clips of trained actions that taught actions together may answer."""
STRENGTH = 1.0
"""Inverse strength of the shrinkage; 0.3 to 3 differed by less than two points, 10 and more lost five on JHMDB."""
MOST_LEFT_OUT = 10
"""Clips of taught actions are left out one by one, or in so many parts."""
TEMPERATURES = (1e-3, 1e3)
SUREST = 30.0
"""Log odds beyond this are not told apart."""


@dataclass(frozen=True)
class Head:
    """The discriminant.

    Attributes:
        weights: stream -> (K + J, D) float32.
        biases: (K + J,); minus infinity for an action without a clip.
        thresholds, temperatures: (J,) of the margins.
    """

    weights: dict[str, NDArray[np.float32]] = field(repr=False)
    biases: Floats
    thresholds: Floats
    temperatures: Floats

    def margins(self, embeddings: Embeddings) -> Floats:
        """(N, J), by how much each taught action is above the best trained one."""
        logits = self.biases + sum(embeddings[stream] @ weights.T for stream, weights in self.weights.items())
        return margins(np.asarray(logits, np.float64), len(self.thresholds))

    def answered(self, probabilities: Floats, embeddings: Embeddings) -> Floats:
        """Probabilities (N, K') of other answers -> (N, K' + J), of which the sum is 1.

        A taught action is as probable as the most probable other answer where its margin is at the threshold.
        """
        log_odds = (self.margins(embeddings) - self.thresholds) / self.temperatures
        rival = probabilities.max(1, keepdims=True) * np.exp(np.clip(log_odds, -SUREST, SUREST))
        found = np.concatenate([probabilities, rival], 1)
        return np.asarray(found / found.sum(1, keepdims=True))


@dataclass(frozen=True)
class Check:
    """What a taught action does, on clips that the discriminant did not see.

    Attributes:
        recognised, left_out: of so many clips of its own, each left out, so many are recognised; 0 of 0 for one clip.
        taken: share of the clips of trained actions that it answers, although they were right.
        nearest: the trained action (0..K-1) that its clips are most like.
    """

    recognised: int
    left_out: int
    taken: float
    nearest: int


@dataclass(frozen=True)
class Known:
    """Clips of trained actions.

    Attributes:
        embeddings: what is read of them.
        labels: (n,) 0..K-1.
        folds: (n,) clips of one fold are left out together; -1: never left out.
    """

    embeddings: Embeddings
    labels: Indices
    folds: Indices


def margins(logits: Floats, taught: int) -> Floats:
    """(N, K + J) -> (N, J), each of the last J logits less the highest of the first K."""
    return np.asarray(logits[:, -taught:] - logits[:, :-taught].max(1, keepdims=True))


@dataclass(frozen=True)
class Products:
    """Clips by their products with each other, each stream about its mean and with a total variance of 1.

    Attributes:
        gram: (N, N).
        size: D, of all streams.
        means, scales: stream -> (D,) and the factor.
    """

    gram: Floats
    size: int
    means: dict[str, NDArray[np.float32]] = field(repr=False)
    scales: dict[str, float]

    @classmethod
    def of(cls, embeddings: Embeddings, usual: Indices) -> Products:
        """Mean and variance are those of the clips ``usual``."""
        gram, means, scales = np.zeros(()), {}, {}
        for stream, values in embeddings.items():
            means[stream] = values[usual].mean(0, dtype=np.float64).astype(np.float32)
            centred = values - means[stream]
            scales[stream] = float(np.square(centred[usual]).sum(1, dtype=np.float64).mean() ** -0.5)
            gram = gram + scales[stream] ** 2 * (centred @ centred.T).astype(np.float64)
        return cls(gram, sum(values.shape[1] for values in embeddings.values()), means, scales)

    def fit(self, learnt: Indices, labels: Indices, classes: int) -> tuple[Floats, Floats]:
        """The discriminant of the clips ``learnt`` (n,) with ``labels`` (n,).

        Returns:
            Coefficients (K + J, n) by which the learnt clips are added up to weights, and biases (K + J,).
        """
        from scipy.linalg import solve  # scipy is for teaching; who asks needs none of it

        gram = self.gram[np.ix_(learnt, learnt)]
        present, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
        count = len(learnt)
        mean_of = np.zeros((len(present), count))  # (k, n)
        mean_of[place, np.arange(count)] = 1 / counts[place]
        about = gram - (mean_of @ gram)[place]  # (n, n), clips about the means of their actions, times clips
        within = about - (about @ mean_of.T)[:, place]
        shrunk = max(float(np.trace(within)) / min(count, self.size), 1e-9) / STRENGTH  # n times what is added
        found = solve(within + shrunk * np.eye(count), about @ mean_of.T, assume_a="pos").T  # (k, n)
        sums = np.zeros((len(present), len(present)))
        np.add.at(sums.T, place, found.T)
        own = (mean_of - (found - sums @ mean_of)) * (count / shrunk)
        coefficients, biases = np.zeros((classes, count)), np.full(classes, -np.inf)
        coefficients[present] = own
        biases[present] = -(own @ gram * mean_of).sum(1) / 2
        return coefficients, biases

    def logits(self, learnt: Indices, labels: Indices, classes: int, asked: Indices) -> Floats:
        """(m, K + J) of the clips ``asked`` (m,)."""
        coefficients, biases = self.fit(learnt, labels, classes)
        return np.asarray((coefficients @ self.gram[np.ix_(learnt, asked)]).T + biases)


def fit_head(
    known: Known, taught: Embeddings, labels: Indices, actions: int, most_taken: float
) -> tuple[Head, list[Check]]:
    """The discriminant of trained and taught actions.

    Args:
        taught: what is read of the examples.
        labels: (m,) of the examples, 0..J-1.
        actions: K.
        most_taken: the share of the clips of trained actions that all taught ones together may answer.
    """
    count, new = len(known.labels), int(labels.max()) + 1
    joined = {stream: np.concatenate([values, taught[stream]]) for stream, values in known.embeddings.items()}
    old, classes = np.arange(count), actions + new
    products = Products.of(joined, old)
    everything = np.arange(count + len(labels))
    truth = np.concatenate([known.labels, labels + actions])

    trained = np.full((count, classes), np.nan)  # logits out of fold
    for fold in range(int(known.folds.max()) + 1):
        out = np.flatnonzero(known.folds == fold)
        rest = np.setdiff1d(everything, out)
        trained[out] = products.logits(rest, truth[rest], classes, out)
    asked = np.flatnonzero(known.folds >= 0)
    right = trained[asked, :actions].argmax(1) == known.labels[asked]
    old_margins = margins(trained[asked], new)

    own = np.full((len(labels), classes), -np.inf)
    for out in _left_out(labels):
        rest = np.setdiff1d(everything, count + out)
        own[out] = products.logits(rest, truth[rest], classes, count + out)

    thresholds, temperatures, checks = np.zeros(new), np.ones(new), []
    for action in range(new):
        others, mine = old_margins[right, action], own[labels == action]
        left_out = margins(mine, new)[:, action] if len(mine) > 1 else np.zeros(0)
        chosen = threshold(others, left_out, int(most_taken / new * len(asked)))
        thresholds[action], temperatures[action] = chosen, temperature(others - chosen, left_out - chosen)
        nearest = int(np.bincount(mine[:, :actions].argmax(1)).argmax())
        taken = float((others > chosen).sum() / len(asked))
        checks.append(Check(int((left_out > chosen).sum()), len(left_out), taken, nearest))

    coefficients, biases = products.fit(everything, truth, classes)
    weights = {}
    for stream, values in joined.items():
        scale, mean = products.scales[stream], products.means[stream]
        weights[stream] = (coefficients @ (values - mean) * scale**2).astype(np.float32)
        biases = biases - weights[stream].astype(np.float64) @ mean
    return Head(weights, biases, thresholds, temperatures), checks


def _left_out(labels: Indices) -> list[Indices]:
    """Which examples (m,) are left out together: one of every action, as long as there are ten parts at most."""
    rank = np.zeros(len(labels), np.int64)
    for action in np.unique(labels):
        rank[labels == action] = np.arange((labels == action).sum())
    parts = min(MOST_LEFT_OUT, int(rank.max()) + 1)
    return [np.flatnonzero(rank % parts == part) for part in range(parts)]


def threshold(others: Floats, own: Floats, most: int) -> float:
    """Where an action begins to answer: at most ``most`` of the margins of ``others`` are above it.

    Between the next one and the lowest margin of its ``own`` clips, where that is higher, it is in the middle.
    """
    ordered = np.sort(others)
    lowest = float(ordered[max(0, len(ordered) - 1 - most)]) if len(ordered) else 0.0
    return lowest + max(0.0, (float(own.min()) - lowest) / 2) if len(own) else lowest


def temperature(others: Floats, own: Floats) -> float:
    """What margins about their threshold are divided by to be log odds: both groups count alike (logistic loss).

    Without ``own`` clips it is the standard deviation of the others.
    """
    if not len(own) or not len(others):
        return max(float(others.std()), TEMPERATURES[0]) if len(others) else 1.0

    from scipy.optimize import minimize_scalar

    def loss(log: float) -> float:
        scale = np.exp(log)
        return float(np.logaddexp(0, others / scale).mean() + np.logaddexp(0, -own / scale).mean())

    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x))
