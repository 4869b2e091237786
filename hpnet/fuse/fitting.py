"""Weights and temperatures fitted on validation clips. Axes: N clips, S streams, K classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax

from .stored import Floats

_LOG_TEMPERATURE_BOUNDS = (-4.0, 4.0)


def balanced_clip_weights(labels: ArrayLike) -> Floats:
    """Weight per clip (N,), summing to 1, so that every class that occurs has the same weight."""
    truth = np.asarray(labels, dtype=np.int64)
    count = np.bincount(truth)
    return np.asarray(1.0 / (count[truth] * (count > 0).sum()), dtype=np.float64)


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Temperature that minimises the cross-entropy of softmax(logits / T) (N, K) on labels (N,) (Guo et al. 2017).

    log T has a standard normal prior (worth one clip), which keeps it finite if every clip is right.
    """
    values, truth = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    rows = np.arange(len(truth))

    def loss(log_t: float) -> float:
        fitted = log_softmax(values / np.exp(log_t), axis=1)
        return float(-fitted[rows, truth].mean() + log_t**2 / (2 * len(truth)))

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_TEMPERATURE_BOUNDS, method="bounded").x))


def _fit_sum(
    scores: Floats, labels: NDArray[np.int64], adjustment: Floats, start: Floats | None = None
) -> tuple[Floats, float]:
    """Non-negative weights (S,) of scores (S, N, K), ``adjustment`` (K,) subtracted from their sum."""
    streams, count, _ = scores.shape
    clip_weight = balanced_clip_weights(labels)
    rows = np.arange(count)
    centre = np.full(streams, 1.0 / streams)

    def loss(weights: Floats) -> tuple[float, Floats]:
        fitted = log_softmax(np.tensordot(weights, scores, axes=1) - adjustment, axis=1)  # (N, K)
        residual = np.exp(fitted)
        residual[rows, labels] -= 1.0
        gradient = np.tensordot(scores, clip_weight[:, None] * residual, axes=2) + (weights - centre) / count
        penalty = float(((weights - centre) ** 2).sum()) / (2 * count)
        return float(-(clip_weight @ fitted[rows, labels])) + penalty, gradient

    initial = centre if start is None else start
    found = minimize(loss, initial, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * streams)
    return np.asarray(found.x, dtype=np.float64), float(found.fun)


def fit_weights(
    scores: ArrayLike, labels: ArrayLike, adjustment: ArrayLike | None = None, seed: int = 0, resamples: int = 0
) -> tuple[Floats, Floats, float]:
    """Weights >= 0 (S,) that minimise the class-balanced cross-entropy of the softmax of sum_s w_s x_s - adjustment.

    Args:
        scores: (S, N, K) scores of the validation clips, each stream at its own temperature, so that all have one
            scale. A Gaussian prior around weights 1 / S, worth one clip, keeps the weights finite if the clips are
            separable.
        labels: (N,).
        adjustment: (K,), for ``balanced`` tau * log frequency; None: zeros.
        seed: of the bootstrap.
        resamples: bootstrap resamples by clip, for the standard errors; fewer than 2: they are NaN.

    Returns:
        weights (S,), standard errors (S,), loss at the optimum.
    """
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    priors = np.zeros(values.shape[2]) if adjustment is None else np.asarray(adjustment, dtype=np.float64)
    weights, loss = _fit_sum(values, truth, priors)
    if resamples < 2:
        return weights, np.full(len(weights), np.nan), loss
    rng = np.random.default_rng(seed)
    refits = []
    for _ in range(resamples):
        rows = rng.integers(0, len(truth), len(truth))
        refits.append(_fit_sum(values[:, rows], truth[rows], priors, weights)[0])
    return weights, np.std(refits, axis=0, ddof=1), loss
