"""Analysis of scores and features: discriminability, look-alike pairs, mistakes, choice of examples.

Pure functions on arrays; nothing here touches a disk. N clips, K classes. Gains per class with their tests are
:func:`hpnet.core.statistics.per_class_changes`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def scatter(features: ArrayLike, labels: ArrayLike) -> tuple[Floats, Floats]:
    """Between-class and within-class scatter of each feature.

    Args:
        features: (N, ...) any real dtype.
        labels: (N,) class of each row, >= 0.

    Returns:
        ``between`` = sum over classes of n_k (mean_k - mean)^2 and ``within`` = sum over classes of the squared
        distances to mean_k, each (...).

    Raises:
        ValueError: lengths differ, or fewer than two classes occur.
    """
    values, truth = np.asarray(features, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    if truth.shape != values.shape[:1]:
        raise ValueError(f"features have {values.shape[:1]} rows but labels have shape {truth.shape}; expected equal")
    present = np.unique(truth)
    if len(present) < 2:
        raise ValueError(f"{len(present)} class among {len(truth)} rows; scatter needs at least two classes")
    centre = values.mean(0)
    between, within = np.zeros(values.shape[1:]), np.zeros(values.shape[1:])
    for label in present:
        rows = values[truth == label]
        mean = rows.mean(0)
        between += len(rows) * (mean - centre) ** 2
        within += ((rows - mean) ** 2).sum(0)
    return between, within


def fisher_score(features: ArrayLike, labels: ArrayLike, keep: int = 0) -> Floats:
    """Fisher score, between-class over within-class scatter (Fig. 7 of the paper): higher separates classes better.

    Args:
        features: (N, ...).
        labels: (N,).
        keep: number of leading feature axes that keep separate scores; the scatter is summed over the others
            (the ratio of traces). 0 gives one score, 1 on (N, V, C) gives one per joint.

    Returns:
        An array with ``keep`` axes (a 0-d array for 0); infinity where the within-class scatter is zero and the
        between-class scatter is not, 0 where both are zero.
    """
    between, within = scatter(features, labels)
    if not 0 <= keep <= between.ndim:
        raise ValueError(f"keep = {keep}; features have {between.ndim} axes beside the clips")
    rest = tuple(range(keep, between.ndim))
    top, bottom = np.asarray(between.sum(rest)), np.asarray(within.sum(rest))
    empty = np.where(top > 0, np.inf, 0.0)
    return np.asarray(np.divide(top, bottom, out=empty, where=bottom > 0))


def pair_membership(labels: ArrayLike, pairs: Sequence[tuple[int, int]]) -> Bools:
    """Which clips belong to a class of one of the pairs, (N,)."""
    return np.isin(np.asarray(labels, dtype=np.int64), [label for pair in pairs for label in pair])


def pair_choice(scores: ArrayLike, labels: ArrayLike, pairs: Sequence[tuple[int, int]]) -> Bools:
    """Whether a clip of a pair scores its own class above the partner: the two-way choice, chance 1/2.

    Args:
        scores: (N, K).
        labels: (N,).
        pairs: pairs of labels; a class in several pairs must beat every partner.

    Returns:
        (N,) true where right; clips outside every pair are true and must be masked with :func:`pair_membership`.
        A tie is wrong, because it does not distinguish the two classes.
    """
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    right = np.ones(len(truth), dtype=bool)
    for first, second in pairs:
        for own, partner in ((first, second), (second, first)):
            rows = truth == own
            right[rows] &= values[rows, own] > values[rows, partner]
    return right


def example_rows(labels: ArrayLike, right: ArrayLike, count: int) -> Ints:
    """Which clips to draw: ``count`` rows, of different classes as far as there are classes, ordered by class.

    If there are mistakes, one in four (at least one) is a mistake. The other classes are evenly spaced over the classes
    present; the middle one of their right clips is taken. Deterministic.

    Args:
        labels: (N,).
        right: (N,) whether the prediction was right.
        count: number of rows; fewer if there are fewer clips.
    """
    truth, hit = np.asarray(labels, dtype=np.int64), np.asarray(right, dtype=bool)
    present = np.unique(truth)
    if count <= 0 or not len(present):
        return np.zeros(0, dtype=np.int64)
    chosen: list[int] = []
    wrong_wanted = max(1, count // 4)
    for row in np.flatnonzero(~hit):
        if len(chosen) < wrong_wanted and truth[row] not in truth[chosen]:
            chosen.append(int(row))
    rest = [int(label) for label in present if label not in truth[chosen]]
    want = min(count - len(chosen), len(rest))
    for position in np.linspace(0, len(rest) - 1, want).round().astype(int) if want > 0 else []:
        rows = np.flatnonzero((truth == rest[position]) & hit)
        rows = rows if len(rows) else np.flatnonzero(truth == rest[position])
        chosen.append(int(rows[len(rows) // 2]))
    spare = [row for row in range(len(truth)) if row not in chosen]
    chosen += spare[: max(0, min(count, len(truth)) - len(chosen))]
    return np.asarray(sorted(chosen, key=lambda row: (truth[row], row)), dtype=np.int64)
