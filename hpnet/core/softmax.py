"""Softmax and its relatives in numpy alone: scipy's give the same numbers, and take a third of a second to import."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def softmax(values: ArrayLike) -> Floats:
    """Over the last axis; (..., K) -> (..., K), each row sums to 1."""
    given = np.asarray(values, dtype=np.float64)
    exponentials = np.exp(given - given.max(-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(-1, keepdims=True))


def log_softmax(values: ArrayLike) -> Floats:
    """The logarithm of :func:`softmax`, without the loss of small numbers."""
    given = np.asarray(values, dtype=np.float64)
    shifted = given - given.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def log_sum_exp(values: ArrayLike) -> Floats:
    """The logarithm of the sum of exponentials over the last axis; (..., K) -> (...)."""
    given = np.asarray(values, dtype=np.float64)
    greatest = given.max(-1, keepdims=True)
    return np.asarray(np.log(np.exp(given - greatest).sum(-1)) + greatest[..., 0])


def sigmoid(values: ArrayLike) -> Floats:
    """1 / (1 + exp(-x))."""
    given = np.asarray(values, dtype=np.float64)
    return np.asarray(np.exp(-np.logaddexp(0, -given)))
