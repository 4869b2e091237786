"""How long actions last: a log-normal distribution for each, from examples. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_SD = 0.3
"""Actions vary in length by this at least, also where all examples are of one length; in units of log seconds."""
PRIOR_EXAMPLES = 3.0
"""The mean over all actions counts as so many examples of each."""
UNUSUAL = 0.1
"""Share of actions that last as long as they like, up to the longest."""
LONGEST_SD = 3.0
"""The longest duration is this many standard deviations above the mean of the logarithm."""


@dataclass(frozen=True)
class Durations:
    """Log-normal durations of K actions.

    Attributes:
        mean_log, sd_log: K each, of the natural logarithm of seconds.
    """

    mean_log: tuple[float, ...]
    sd_log: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean_log) != len(self.sd_log) or not all(sd > 0 for sd in self.sd_log):
            raise ValueError(f"{len(self.mean_log)} means and standard deviations {self.sd_log}: expected one above 0")

    def log_probabilities(self, step_s: float) -> NDArray[np.float64]:
        """(D, K): of an action that lasts 1 to D steps; D is the longest that any action is expected to last."""
        means, sds = np.array(self.mean_log), np.array(self.sd_log)
        longest = max(2, int(np.ceil(np.exp((means + LONGEST_SD * sds).max(initial=0)) / step_s)))
        logs = np.log(np.arange(1, longest + 1) * step_s)[:, None]  # (D, 1)
        usual = np.exp(-0.5 * ((logs - means) / sds) ** 2 - logs)  # (D, K), not scaled
        usual /= usual.sum(0)
        return np.asarray(np.log((1 - UNUSUAL) * usual + UNUSUAL / longest))


def fit_durations(seconds: Sequence[Sequence[float]]) -> Durations:
    """Durations of K actions from examples of each.

    An action with few examples is drawn to the mean of all, and one with none lasts as long as all do.

    Raises:
        ValueError: there is no example at all, or a duration is not above 0.
    """
    logs = [np.log(np.asarray(examples, np.float64)) for examples in seconds]
    everything = np.concatenate([*logs, np.zeros(0)])
    if not len(everything) or not np.isfinite(everything).all():
        raise ValueError(f"{len(everything)} durations of actions: expected one or more, each above 0 s")
    mean, spread = float(everything.mean()), float(everything.var())
    means, sds = [], []
    for examples in logs:
        count = len(examples)
        own = (float(examples.sum()) + PRIOR_EXAMPLES * mean) / (count + PRIOR_EXAMPLES)
        squares = float(((examples - own) ** 2).sum())
        means.append(own)
        sds.append(max(LEAST_SD, float(np.sqrt((squares + PRIOR_EXAMPLES * spread) / (count + PRIOR_EXAMPLES)))))
    return Durations(tuple(means), tuple(sds))
