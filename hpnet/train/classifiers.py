"""Linear classifiers of a few hundred components, for :mod:`hpnet.train.linear`.

Axes: n clips, R components, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..core.softmax import log_softmax
from .clips import Indices

Floats: TypeAlias = NDArray[np.float64]
ITERATIONS = 300
NEVER = -1e6
"""Bias of a class without a clip, of a discriminant."""
TEMPERATURES = (1 / 8, 1000.0)


@dataclass(frozen=True)
class Classifier:
    """What is fitted to the components.

    Attributes:
        fit: scores (n, R), labels (n,), K and inverse strength -> weights (K, R) and biases (K,).
        within: statistics have variance 1 within classes, so that what tells classes apart counts for more.
        apart: statistics of each kind are fitted by themselves, and the logits of all kinds are added.
        tempered: its logits are too sure, and are divided by a temperature that is fitted out of fold.
    """

    fit: Callable[[Floats, Indices, int, float], tuple[Floats, Floats]]
    within: bool = False
    apart: bool = False
    tempered: bool = False


def logistic(scores: Floats, labels: Indices, classes: int, strength: float) -> tuple[Floats, Floats]:
    """Weights (K, R) and biases (K,) of a multinomial logistic regression; a class without a clip is never first."""
    present = np.unique(labels)
    weights, biases = np.zeros((classes, scores.shape[1])), np.full(classes, -np.log(len(labels) + classes))
    if len(present) == 1:
        biases[present] = 0
        return weights, biases
    if not scores.shape[1]:
        biases[present] = np.log(np.unique(labels, return_counts=True)[1] / len(labels))
        return weights, biases
    from sklearn.linear_model import LogisticRegression  # a second and a half, for fitting alone

    fitted = LogisticRegression(C=strength, max_iter=ITERATIONS).fit(scores, labels)
    coefficients, intercepts = fitted.coef_, fitted.intercept_
    if len(present) == 2:  # scikit-learn keeps the difference of the two alone
        coefficients, intercepts = np.concatenate([-coefficients, coefficients]) / 2, np.array([-1, 1]) * intercepts / 2
    weights[present], biases[present] = coefficients, intercepts
    return weights, biases


def discriminant(scores: Floats, labels: Indices, classes: int, strength: float) -> tuple[Floats, Floats]:
    """Weights (K, R) and biases (K,) of a linear discriminant; a class without a clip is never first.

    Its covariance within classes is shrunk: 1 / ``strength`` of the components' mean variance is added to each
    (Friedman, Regularized Discriminant Analysis, JASA 1989).
    """
    from scipy.linalg import solve

    present, counts = np.unique(labels, return_counts=True)
    middle = scores.mean(0)
    means = np.stack([scores[labels == label].mean(0) for label in present]) - middle
    within = about_class(scores, labels)
    covariance = within.T @ within / len(scores)
    size = scores.shape[1]
    added = max(float(np.trace(covariance)) / max(size, 1), 1e-12) / strength
    found = solve(covariance + added * np.eye(size), means.T, assume_a="pos").T if size else means  # (k, R)
    weights, biases = np.zeros((classes, size)), np.full(classes, NEVER)
    weights[present] = found
    biases[present] = np.log(counts / len(labels)) - (found * (means / 2 + middle)).sum(1)
    return weights, biases


CLASSIFIERS = {
    "logistic": Classifier(logistic),
    "discriminant": Classifier(discriminant, within=True, apart=True, tempered=True),
}
"""``train.topology.linear.classifiers`` -> what is fitted to the components."""


def about_class(values: NDArray[np.floating], labels: Indices) -> Floats:
    """(n, D) less the mean of each row's class."""
    found = np.array(values, np.float64)
    for label in np.unique(labels):
        found[labels == label] -= found[labels == label].mean(0)
    return found


def cross_entropy(logits: NDArray[np.floating], labels: Indices) -> float:
    """Mean over clips (n, K), (n,)."""
    return float(-log_softmax(logits)[np.arange(len(labels)), labels].mean())


def best_temperature(logits: Floats, labels: Indices) -> float:
    """What logits (n, K) are divided by for the lowest cross-entropy, within :data:`TEMPERATURES`."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log: cross_entropy(logits / np.exp(log), labels), bounds=np.log(TEMPERATURES), method="bounded"
    )
    return float(np.exp(found.x))
