"""Whether a network suits the people that it is run on: how sure it is of them, beside how sure it is of its own.

Detectors and pose networks give scores without any label, so this can be told of any run.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

LEAST_RATIO = 0.75
"""Below this share of its usual score a network does not know such people. Measured with the mannequin networks: 1.00
on other mannequins, 0.60 (boxes) and 0.57 (joints) on JHMDB's people."""


def score_figures(clip_means: Iterable[float], expected: float | None = None) -> dict[str, float]:
    """How sure a network is in a run, for metrics.

    Args:
        clip_means: mean score of each clip, 0..1; 0 where nobody was found.
        expected: the median that the network usually comes to; None where nothing is known of it.

    Returns:
        median_score, the median over clips; with ``expected`` also expected_score and score_ratio; nothing without
        clips.
    """
    means = np.fromiter(clip_means, np.float64)
    if not len(means):
        return {}
    figures = {"median_score": float(np.median(means))}
    if expected is not None:
        figures |= {"expected_score": expected, "score_ratio": figures["median_score"] / expected}
    return figures
