"""Weights for few clips: what all streams together and each stream alone say, mixed by how well each does on sources
that it was not fitted on. Axes: N clips, S streams, K classes, U units, F fits.

A few dozen clips can fit weights that suit these clips and no others. So the fit of all streams is one candidate
among F = S + 1; the others are the streams alone, each at its temperature. The fit is made again without a part of the
sources and all candidates are measured on that part. How sure the comparison is comes from the Bayesian bootstrap over
sources: in each draw the candidates share a whole by the softmax of their log-likelihoods, and shares are means over
draws ("pseudo-BMA+": Yao, Vehtari, Simpson and Gelman, Bayesian Analysis 13, 2018, Section 3.4). Sums of scores are
linear in the weights, so candidates mix as weights do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from ..core.folds import grouped_folds
from .fitting import balanced_clip_weights, fit_weights
from .stored import Floats

MOST_CLIPS = 100
"""With more clips to fit on, the fit of all streams is used alone. Fitted on some sources of out-of-fold scores (JHMDB,
UT-Interaction) and measured on the others, mixing took 0.04 off the cross-entropy with 20 clips, 0.01 with 50, and
nothing with 130."""
FOLDS = 5
DRAWS = 1000
SEED = 0


@dataclass(frozen=True)
class Mixture:
    """Mixed weights.

    Attributes:
        weights: (S,).
        together: the share of the fit of all streams; the rest is that of single streams.
        alone: (S,) the share of each stream alone.
    """

    weights: Floats
    together: float
    alone: Floats


def mix(
    together: Floats, scores: Floats, labels: NDArray[np.int64], adjustment: Floats, units: NDArray[np.int64]
) -> Mixture:
    """Mix the fit of all streams with the streams alone.

    Args:
        together: (S,) weights of all streams fitted to all clips.
        scores, labels, adjustment: (S, N, K), (N,) and (K,), as :func:`hpnet.fuse.fitting.fit_weights` takes them.
        units: (N,) what clips belong together, such as sources; two or more of them.

    Raises:
        ValueError: there is one unit alone.
    """
    names, number_of = np.unique(units, return_inverse=True)
    losses = np.stack([*(_losses(stream, labels, adjustment) for stream in scores), np.zeros(len(labels))])  # (F, N)
    fold_of = grouped_folds([str(unit) for unit in units], labels.tolist(), FOLDS, SEED)
    for fold in range(int(fold_of.max()) + 1):
        out = fold_of == fold
        weights = fit_weights(scores[:, ~out], labels[~out], adjustment)[0]
        losses[-1, out] = _losses(np.tensordot(weights, scores[:, out], axes=1), labels[out], adjustment)
    losses *= len(labels) * balanced_clip_weights(labels)
    by_unit = np.stack([np.bincount(number_of, loss, len(names)) for loss in losses])  # (F, U)
    draws = np.random.default_rng(SEED).dirichlet(np.ones(len(names)), DRAWS)  # (draws, U)
    shares = softmax(-len(names) * draws @ by_unit.T, axis=1).mean(0)  # (F,)
    return Mixture(shares[:-1] + shares[-1] * together, float(shares[-1]), shares[:-1])


def _losses(fused: Floats, labels: NDArray[np.int64], adjustment: Floats) -> Floats:
    """Cross-entropy (N,) of each clip of (N, K) sums."""
    return np.asarray(-log_softmax(fused - adjustment, axis=1)[np.arange(len(labels)), labels], dtype=np.float64)
