"""How sure a measured accuracy is: bootstrap intervals, paired tests, correction for many claims.

Everything works on per-clip outcomes and is deterministic from its seed. What is resampled is the unit that is
independent (:mod:`hpnet.core.units`): a subject, source or performance with all of its clips.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.special import ndtr, stdtrit

Floats = NDArray[np.float64]

_CHUNK_ENTRIES = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A measured value and its percentile bootstrap interval.

    Attributes:
        value: the value on the data itself.
        low, high: the interval's ends; NaN where there is one unit alone, which says nothing of others.
        level: its coverage, for example 0.95.
        units: how many units were resampled.
    """

    value: float
    low: float
    high: float
    level: float
    units: int


@dataclass(frozen=True)
class Paired:
    """Two classifiers on the same clips.

    Attributes:
        difference: second minus first, under common resamples.
        won, lost: clips that only the second, or only the first, gets right.
        p_value: of :func:`sign_flip_test`.
    """

    difference: Interval
    won: int
    lost: int
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


def _units(groups: ArrayLike | None, count: int) -> NDArray[np.intp]:
    """Number of each clip's unit (N,), from 0 without gaps."""
    if groups is None:
        return np.arange(count)
    names = np.asarray(groups)
    if names.shape != (count,):
        raise ValueError(f"{count} clips but groups have shape {names.shape}; expected one group per clip")
    return np.asarray(np.unique(names, return_inverse=True)[1], dtype=np.intp)


def _alike(
    units: NDArray[np.intp], classes: NDArray[np.int64], outcomes: Sequence[Floats]
) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.int64], Floats]:
    """Units of one class each that have the same clips right are exchangeable: drawing how many of each kind is the
    same bootstrap, and there are few kinds.

    Returns:
        Of the G kinds: number (G,), class (G,), how many units are of it (G,), and (O + 1, G) the sums of the outcomes
        and the number of clips of one of its units.
    """
    sums = [np.bincount(units, weights=outcome) for outcome in outcomes]
    profile = np.column_stack([np.bincount(units, classes) / np.bincount(units), *sums, np.bincount(units)])
    kinds, copies = np.unique(profile, axis=0, return_counts=True)
    return np.arange(len(kinds)), kinds[:, 0].astype(np.int64), copies, kinds[:, 1:].T


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
    units = _units(groups, count)
    drawn_units = int(units.max()) + 1
    copies, clips = np.ones(drawn_units, dtype=np.int64), np.ones(count)
    first = np.zeros(drawn_units, dtype=np.int64)
    first[units] = classes
    if (classes == first[units]).all():
        units, classes, copies, sums = _alike(units, classes, outcomes)
        outcomes, clips = list(sums[:-1]), sums[-1]
    rights = [_sums(o, classes, units) for o in outcomes]  # (G, K) each
    totals = _sums(clips, classes, units)
    drawn: list[list[Floats]] = [[] for _ in outcomes]
    for weights in _resampled(drawn_units, copies / drawn_units, resamples, seed):
        total = np.asarray(weights @ totals)  # (R, K)
        for part, right in zip(drawn, rights, strict=True):
            part.append(_mean(np.asarray(weights @ right), total))
    once = np.asarray(copies, dtype=np.float64)[None]  # (1, G)
    plain = [_mean(np.asarray(once @ right), np.asarray(once @ totals))[0] for right in rights]
    return np.array([np.concatenate(part) for part in drawn]), np.array(plain), drawn_units


def percentile_interval(value: float, draws: Floats, level: float, units: int) -> Interval:
    """Percentile interval, widened for few units as Student's t is ("expanded percentile", Hesterberg 2015).

    Resampling G units underestimates the variance by (G - 1) / G, and a normal quantile knows nothing of how unsure
    that variance is. The tails are those of a normal distribution beyond sqrt(G / (G - 1)) times the quantile of t with
    G - 1 degrees of freedom: 0.24 % on either side for six units, 2.5 % for very many.

    Args:
        value: the value on the data itself.
        draws: the value in each resample (R,).
        level: coverage.
        units: how many units were resampled; with one alone the ends are NaN.
    """
    if not 0 < level < 1:
        raise ValueError(f"level = {level}; expected between 0 and 1")
    if units == 1:
        return Interval(value, np.nan, np.nan, level, units)
    tail = float(ndtr(-np.sqrt(units / (units - 1)) * stdtrit(units - 1, (1 + level) / 2)))
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(value, float(low), float(high), level, units)


def bootstrap_interval(
    correct: ArrayLike,
    labels: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval (Efron 1979) of an accuracy, resampling units with all of their clips.

    Args:
        correct: outcome per clip (N,), boolean or any number (a mean is a mean).
        labels: true classes (N,); when given, the value is the mean over classes of the class means, over the classes
            drawn in each resample. Without, the mean over clips.
        groups: unit of each clip (N,), for example :meth:`hpnet.core.units.Units.numbers`; None: each clip by itself.
        resamples: number of resamples.
        seed: of the draws.
        level: coverage.
    """
    draws, plain, units = _draws([np.asarray(correct, dtype=np.float64)], labels, groups, resamples, seed)
    return percentile_interval(float(plain[0]), draws[0], level, units)


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    resamples: int = 1000,
    seed: int = 0,
    scale: int = 1,
) -> Paired:
    """``second`` minus ``first`` on the same clips: the difference with its 95 % interval, and a test.

    Args:
        first, second: outcome per clip (N,), boolean, or the share of several runs that are right.
        labels, groups, resamples, seed: as in :func:`bootstrap_interval`. The test is of the clips in any case.
        scale: makes the outcomes whole numbers: the number of runs behind a share.
    """
    before, after = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if before.shape != after.shape:
        raise ValueError(f"outcomes have shapes {before.shape} and {after.shape}; expected the same clips")
    draws, plain, units = _draws([before, after], labels, groups, resamples, seed)
    difference = percentile_interval(float(plain[1] - plain[0]), draws[1] - draws[0], 0.95, units)
    won, lost = int((after > before).sum()), int((after < before).sum())
    return Paired(difference, won, lost, sign_flip_test(before, after, groups, scale))


def sign_flip_test(first: ArrayLike, second: ArrayLike, groups: ArrayLike | None = None, scale: int = 1) -> float:
    """Exact two-sided permutation test of two classifiers on the same clips (Fisher 1935).

    Were they equally good, the difference of every unit could as well have had the other sign. The p-value is the share
    of all such changes of signs under which the number of clips that are right differs at least as much as it does.
    Where every clip is a unit this is McNemar's exact test.

    Args:
        first, second: outcome per clip (N,), boolean, or shares.
        groups: unit of each clip (N,); None: each clip by itself.
        scale: makes the outcomes whole numbers.
    """
    before, after = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    from scipy.stats import binom  # takes half a second, and `hpnet predict` has no use for it

    if before.shape != after.shape:
        raise ValueError(f"outcomes have shapes {before.shape} and {after.shape}; expected the same clips")
    changes = (after - before) * scale
    whole = np.rint(changes)
    if not np.allclose(changes, whole, atol=1e-6):
        raise ValueError(f"outcomes times {scale} are no whole numbers: scale must be the number of runs behind them")
    of_unit = np.bincount(_units(groups, len(whole)), weights=whole).astype(np.int64)
    sizes, counts = np.unique(np.abs(of_unit[of_unit != 0]), return_counts=True)
    chances = np.ones(1)  # of the sum of the positive differences, by its value
    for size, count in sorted(zip(sizes.tolist(), counts.tolist(), strict=True), key=lambda pair: -pair[1]):
        wider = np.zeros(len(chances) + size * count)
        for positive, chance in enumerate(binom.pmf(np.arange(count + 1), count, 0.5)):
            wider[positive * size : positive * size + len(chances)] += chance * chances
        chances = wider
    sums = 2 * np.arange(len(chances)) - int(np.abs(of_unit).sum())
    return float(min(1.0, chances[np.abs(sums) >= abs(int(of_unit.sum()))].sum()))


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
    first_correct: ArrayLike,
    second_correct: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str],
    groups: ArrayLike | None = None,
) -> pd.DataFrame:
    """Changes per class between two classifiers on the same clips (Table V, Fig. 5).

    Returns a row per class that occurs, largest gain first: label, name, clips, first, second (accuracies), change,
    p_value (:func:`sign_flip_test` over ``groups``, units of the clips) and q_value (Benjamini-Hochberg over the
    classes).
    """
    first, second = np.asarray(first_correct, dtype=bool), np.asarray(second_correct, dtype=bool)
    truth = np.asarray(labels, dtype=np.int64)
    if not first.shape == second.shape == truth.shape:
        raise ValueError(f"outcomes {first.shape}, {second.shape} and labels {truth.shape}; expected the same clips")
    units = _units(groups, len(truth))
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
                "p_value": sign_flip_test(first[mask], second[mask], units[mask]),
            }
        )
    table = pd.DataFrame(rows)
    table["q_value"] = benjamini_hochberg(table.p_value.to_numpy(dtype=np.float64))
    return table.sort_values(["change", "label"], ascending=[False, True], ignore_index=True)
