"""How sure a measured accuracy is: bootstrap intervals, paired tests, correction for many classes.

Everything works on per-clip outcomes and is deterministic from its seed. Resampling is by clip, or by group (subjects),
which is the honest unit where clips of one person resemble each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.stats import binomtest

Floats = NDArray[np.float64]

_CHUNK_ENTRIES = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A measured value and its percentile bootstrap interval.

    Attributes:
        value: the value on the data itself.
        low, high: the interval's ends.
        level: its coverage, for example 0.95.
        units: how many clips or groups were resampled.
    """

    value: float
    low: float
    high: float
    level: float
    units: int


@dataclass(frozen=True)
class PairedDifference:
    """Second minus first on the same clips: value, percentile interval and two-sided bootstrap p-value."""

    value: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class McNemar:
    """Clips that only one of two classifiers gets right, and the exact two-sided binomial p-value."""

    only_first: int
    only_second: int
    p_value: float


def _resampled(count: int, shares: Floats, resamples: int, seed: int) -> Iterator[Floats]:
    """Chunks of bootstrap multiplicities (R, G): how often each of G units occurs in ``count`` draws."""
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_ENTRIES // len(shares))
    for start in range(0, resamples, chunk):
        yield rng.multinomial(count, shares, size=min(chunk, resamples - start)).astype(np.float64)


def _sums(values: Floats, labels: NDArray[np.int64], units: NDArray[np.intp]) -> sparse.csr_array:
    """Sum of ``values`` per unit and class, (G, K) sparse."""
    shape = (int(units.max()) + 1, int(labels.max()) + 1)
    return sparse.csr_array((values, (units, labels)), shape=shape)


def _mean(right: Floats, total: Floats) -> Floats:
    """Mean over the classes that occur of right / total: (R, K) -> (R,)."""
    share = np.divide(right, total, out=np.zeros_like(right), where=total > 0)
    return np.asarray(share.sum(1) / (total > 0).sum(1), dtype=np.float64)


def _draws(
    outcomes: Sequence[Floats], labels: ArrayLike | None, groups: ArrayLike | None, resamples: int, seed: int
) -> tuple[Floats, Floats, int]:
    """Bootstrap (O, R) and plain (O,) means of O outcomes under common draws, and the number of units.

    With ``labels`` the mean over classes of the class means; without, the mean over clips.
    """
    count = len(outcomes[0])
    if count == 0 or any(o.shape != (count,) for o in outcomes):
        raise ValueError(f"outcomes have shapes {[o.shape for o in outcomes]}; expected equal, non-empty vectors")
    if resamples < 1:
        raise ValueError(f"resamples = {resamples}; expected at least 1")
    classes = np.zeros(count, dtype=np.int64) if labels is None else np.asarray(labels, dtype=np.int64)
    if classes.shape != (count,) or classes.min() < 0:
        raise ValueError(f"labels must be {count} class numbers from 0 on")
    if groups is None:
        # Clips with the same class and outcomes are exchangeable: drawing how many of each kind is the same bootstrap.
        kinds, copies = np.unique(np.column_stack([classes, *outcomes]), axis=0, return_counts=True)
        classes, outcomes = kinds[:, 0].astype(np.int64), list(kinds.T[1:])
        units, drawn_units, shares = np.arange(len(kinds)), count, copies / count
    else:
        names = np.asarray(groups)
        if names.shape != (count,):
            raise ValueError(f"{count} clips but groups have shape {names.shape}; expected one group per clip")
        units = np.unique(names, return_inverse=True)[1]
        drawn_units = int(units.max()) + 1
        copies, shares = np.ones(drawn_units, dtype=np.int64), np.full(drawn_units, 1.0 / drawn_units)
    rights = [_sums(o, classes, units) for o in outcomes]  # (G, K) each
    totals = _sums(np.ones(len(classes)), classes, units)
    drawn: list[list[Floats]] = [[] for _ in outcomes]
    for weights in _resampled(drawn_units, shares, resamples, seed):
        total = np.asarray(weights @ totals)  # (R, K)
        for part, right in zip(drawn, rights, strict=True):
            part.append(_mean(np.asarray(weights @ right), total))
    once = np.asarray(copies, dtype=np.float64)[None]  # (1, G)
    plain = [_mean(np.asarray(once @ right), np.asarray(once @ totals))[0] for right in rights]
    return np.array([np.concatenate(part) for part in drawn]), np.array(plain), drawn_units


def _ends(draws: Floats, level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise ValueError(f"level = {level}; expected between 0 and 1")
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap_interval(
    correct: ArrayLike,
    labels: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval (Efron 1979) of an accuracy.

    Args:
        correct: outcome per clip (N,), boolean or any number (a mean is a mean).
        labels: true classes (N,); when given, the value is the mean over classes of the class means, over the classes
            drawn in each resample. Without, the mean over clips.
        groups: unit of resampling per clip (N,), for example the subject; None: each clip by itself.
        resamples: number of resamples.
        seed: of the draws.
        level: coverage.
    """
    draws, plain, units = _draws([np.asarray(correct, dtype=np.float64)], labels, groups, resamples, seed)
    low, high = _ends(draws[0], level)
    return Interval(float(plain[0]), low, high, level, units)


def paired_bootstrap(
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> PairedDifference:
    """Interval of ``second`` - ``first`` over common resamples; arguments as in :func:`bootstrap_interval`.

    The p-value is twice the smaller share of resamples on either side of 0, counting ties on both sides and the data
    itself as one resample, so that it is never 0.
    """
    outcomes = [np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)]
    draws, plain, _ = _draws(outcomes, labels, groups, resamples, seed)
    difference = draws[1] - draws[0]
    low, high = _ends(difference, level)
    smaller = min((difference <= 0).sum(), (difference >= 0).sum())
    return PairedDifference(float(plain[1] - plain[0]), low, high, float(min(1.0, 2 * (smaller + 1) / (resamples + 1))))


def mcnemar(first_correct: ArrayLike, second_correct: ArrayLike) -> McNemar:
    """Exact McNemar test of two classifiers on the same clips; both (N,) boolean."""
    first, second = np.asarray(first_correct, dtype=bool), np.asarray(second_correct, dtype=bool)
    if first.shape != second.shape:
        raise ValueError(f"outcomes have shapes {first.shape} and {second.shape}; expected the same clips")
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    p_value = float(binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0
    return McNemar(only_first, only_second, p_value)


def benjamini_hochberg(p_values: ArrayLike) -> Floats:
    """Adjusted p-values (N,) that control the false discovery rate (Benjamini and Hochberg 1995)."""
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p-values must be a vector of numbers in 0..1")
    order = np.argsort(p)
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    out = np.empty_like(p)
    out[order] = adjusted
    return out


def per_class_changes(
    first_correct: ArrayLike, second_correct: ArrayLike, labels: ArrayLike, class_names: Sequence[str]
) -> pd.DataFrame:
    """What changed per class between two classifiers on the same clips (Table V, Fig. 5).

    Returns a row per class that occurs, largest gain first: label, name, clips, first, second (accuracies), change,
    p_value (McNemar) and q_value (Benjamini-Hochberg over the classes).
    """
    first, second = np.asarray(first_correct, dtype=bool), np.asarray(second_correct, dtype=bool)
    truth = np.asarray(labels, dtype=np.int64)
    if not first.shape == second.shape == truth.shape:
        raise ValueError(f"outcomes {first.shape}, {second.shape} and labels {truth.shape}; expected the same clips")
    rows: list[dict[str, Any]] = []
    for label in np.unique(truth):
        mask = truth == label
        before, after = float(first[mask].mean()), float(second[mask].mean())
        rows.append(
            {
                "label": int(label),
                "name": class_names[label],
                "clips": int(mask.sum()),
                "first": before,
                "second": after,
                "change": after - before,
                "p_value": mcnemar(first[mask], second[mask]).p_value,
            }
        )
    table = pd.DataFrame(rows)
    table["q_value"] = benjamini_hochberg(table.p_value.to_numpy(dtype=np.float64))
    return table.sort_values(["change", "label"], ascending=[False, True], ignore_index=True)
