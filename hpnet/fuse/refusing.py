"""The probability that a clip shows none of the actions, as it was fitted (:mod:`hpnet.fuse.unknown`). Pure functions.

Axes: N clips, K classes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..artifacts.unknown import Refusal
from ..core.softmax import log_sum_exp, sigmoid
from .stored import Floats


def energy(named: Floats) -> Floats:
    """(N,) minus the log of the mean of exp of the scores, taken about their mean over the K actions (Liu et al.,
    Energy-based Out-of-distribution Detection, NeurIPS 2020). With a sum, or without the mean, a clip whose action is
    left out would look unknown by the missing term alone."""
    return np.asarray(named.mean(1) + np.log(named.shape[1]) - log_sum_exp(named), dtype=np.float64)


def improbability(named: Floats) -> Floats:
    """(N,) minus the log-probability of the best action (Hendrycks and Gimpel, ICLR 2017)."""
    return np.asarray(log_sum_exp(named) - named.max(1), dtype=np.float64)


SCORES: dict[str, Callable[[Floats], Floats]] = {"energy": energy, "probability": improbability}
"""``fuse.unknown`` -> what is read of the scores of the actions: higher is less known."""


def evidence(fused: Floats, score: str, background: int | None) -> Floats:
    """(N, 2): what is read of the scores of the actions, and the log-odds of background (0 where there is none)."""
    if background is None:
        return np.stack([SCORES[score](fused), np.zeros(len(fused))], 1)
    named = np.delete(fused, background, axis=1)
    return np.stack([SCORES[score](named), fused[:, background] - log_sum_exp(named)], 1)


def probability_of_unknown(refusal: Refusal, fused: Floats, background: int | None) -> Floats:
    """(N,) of fused scores (N, K)."""
    slopes = np.array([refusal.slope, refusal.slope_background])
    return np.asarray(sigmoid(evidence(fused, refusal.score, background) @ slopes - refusal.threshold))
