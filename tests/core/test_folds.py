from __future__ import annotations

import numpy as np
import pytest

from hpnet.core.folds import grouped_folds


def test_groups_stay_together_and_every_fold_shows_every_action() -> None:
    rng = np.random.default_rng(0)
    groups = [f"film {n}" for n in rng.integers(0, 60, 300)]
    labels = rng.integers(0, 4, 300)
    folds = grouped_folds(groups, labels.tolist(), 5)
    assert all(len({fold for fold, g in zip(folds, groups, strict=True) if g == group}) == 1 for group in set(groups))
    assert {(int(fold), int(label)) for fold, label in zip(folds, labels, strict=True)} == {
        (fold, label) for fold in range(5) for label in range(4)
    }
    assert np.bincount(folds).min() >= 40


def test_the_order_of_clips_does_not_matter() -> None:
    groups = [f"g{n % 13}" for n in range(40)]
    labels = [n % 3 for n in range(40)]
    order = np.random.default_rng(1).permutation(40)
    folds = grouped_folds(groups, labels, 4)
    moved = grouped_folds([groups[n] for n in order], [labels[n] for n in order], 4)
    np.testing.assert_array_equal(moved, folds[order])
    assert (grouped_folds(groups, labels, 4, seed=1) != folds).any()


def test_never_more_folds_than_groups() -> None:
    assert set(grouped_folds(["a", "a", "b", "c"], [0, 1, 0, 1], 5)) == {0, 1, 2}
    with pytest.raises(ValueError, match="5 folds of 1 groups: cross-validation needs at least two of both"):
        grouped_folds(["a", "a"], [0, 1], 5)
