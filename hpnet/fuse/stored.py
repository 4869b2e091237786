"""Scores as networks give them: probabilities or logits. Axes: N clips, K classes."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.softmax import log_softmax

Floats = NDArray[np.float64]
Kind = Literal["probabilities", "logits"]
"""Kind of stored scores."""
PROBABILITY_FLOOR = 1e-8
_SUM_TOLERANCE = 1e-3


def score_kind(scores: ArrayLike) -> Kind:
    """Kind of stored scores (N, K): ``probabilities`` if every row is >= 0 and sums to 1, else ``logits``."""
    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0:
        return "logits"
    return "probabilities" if (values >= 0).all() and (abs(values.sum(1) - 1) < _SUM_TOLERANCE).all() else "logits"


def log_probabilities(scores: ArrayLike, kind: Kind) -> Floats:
    """Normalised log-probabilities (N, K) of stored scores.

    Probabilities are floored at 1e-8 before their logarithm.
    """
    values = np.asarray(scores, dtype=np.float64)
    if kind == "probabilities":
        values = np.log(np.maximum(values, PROBABILITY_FLOOR))
    return np.asarray(log_softmax(values), dtype=np.float64)
