"""The probability that a clip shows none of the actions, as it was fitted (:mod:`hpnet.fuse.unknown`). Pure functions.

Axes: N clips, K classes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..artifacts.unknown import Likeness, Refusal
from ..core.softmax import log_sum_exp, sigmoid
from .likeness import likeness
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
"""What is read of the scores of the actions alone: higher is less known."""
LIKENESS = "likeness"
NAMES = (*SCORES, LIKENESS)
"""``fuse.unknown`` names one of them: what is read of the scores of the actions."""


def evidence(fused: Floats, score: str, background: int | None, kept: Likeness | None = None) -> Floats:
    """(N, 2): what is read of the scores of the actions, and the log-odds of background (0 where there is none).

    Args:
        kept: what the score ``likeness`` compares with.
    """
    named = without_background(fused, background)
    read = SCORES[score](named) if kept is None else likeness(kept, named, energy)
    return np.stack([read, log_odds(fused, background)], 1)


def without_background(fused: Floats, background: int | None) -> Floats:
    """Fused scores of the actions alone."""
    return fused if background is None else np.delete(fused, background, axis=1)


def log_odds(fused: Floats, background: int | None) -> Floats:
    """(N,) of background against all actions; 0 where there is none."""
    if background is None:
        return np.zeros(len(fused))
    return np.asarray(fused[:, background] - log_sum_exp(without_background(fused, background)))


def probability_of_unknown(refusal: Refusal, fused: Floats, background: int | None) -> Floats:
    """(N,) of fused scores (N, K)."""
    slopes = np.array([refusal.slope, refusal.slope_background])
    found = evidence(fused, refusal.score, background, refusal.likeness)
    return np.asarray(sigmoid(found @ slopes - refusal.threshold))
