"""Discriminability, look-alike pairs, mistakes and the choice of examples."""

from __future__ import annotations

import numpy as np
import pytest

from hpnet.report.analysis import (
    example_rows,
    fisher_score,
    pair_choice,
    pair_membership,
    scatter,
)


def test_scatter_adds_up_to_the_total() -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(40, 3, 4)), rng.integers(0, 5, 40)
    between, within = scatter(features, labels)
    total = ((features - features.mean(0)) ** 2).sum(0)
    np.testing.assert_allclose(between + within, total, rtol=1e-10)


def test_fisher_score_by_hand() -> None:
    features = np.array([[0.0, 1.0], [2.0, 1.0], [10.0, 1.0], [12.0, 1.0]])
    labels = np.array([0, 0, 1, 1])
    # means 1 and 11, centre 6: between 4 * 25, within 4 * 1
    np.testing.assert_allclose(fisher_score(features, labels, keep=1), [25.0, 0.0])
    assert fisher_score(features, labels) == pytest.approx(25.0)


def test_fisher_score_does_not_depend_on_scale_or_offset() -> None:
    rng = np.random.default_rng(1)
    features, labels = rng.normal(size=(30, 6)), np.arange(30) % 3
    np.testing.assert_allclose(
        fisher_score(3 * features + 7, labels, keep=1), fisher_score(features, labels, keep=1), rtol=1e-9
    )


def test_fisher_score_grows_with_separation_per_joint() -> None:
    rng = np.random.default_rng(2)
    labels = np.arange(60) % 2
    features = rng.normal(size=(60, 2, 5))
    features[:, 1] += 3 * labels[:, None]
    scores = fisher_score(features, labels, keep=1)
    assert scores.shape == (2,)
    assert scores[1] > 10 * scores[0]


def test_fisher_score_without_scatter_within() -> None:
    assert fisher_score([[0.0], [1.0]], [0, 1]) == np.inf


def test_scatter_refuses_what_it_cannot_measure() -> None:
    with pytest.raises(ValueError, match="at least two classes"):
        scatter(np.zeros((3, 2)), [1, 1, 1])
    with pytest.raises(ValueError, match="expected equal"):
        scatter(np.zeros((3, 2)), [1, 1])
    with pytest.raises(ValueError, match="keep = 3"):
        fisher_score(np.zeros((2, 2)), [0, 1], keep=3)


def test_pair_choice_looks_at_the_partner_only() -> None:
    labels = np.array([0, 1, 2, 0, 1])
    scores = np.array([[2.0, 1, 9], [2, 1, 0], [0, 0, 0], [1, 1, 0], [0, 5, 0]])
    members = pair_membership(labels, [(0, 1)])
    assert members.tolist() == [True, True, False, True, True]
    # right although class 2 wins; wrong; not a member; a tie is wrong; right
    assert pair_choice(scores, labels, [(0, 1)])[members].tolist() == [True, False, False, True]


def test_pair_choice_is_at_least_top1() -> None:
    rng = np.random.default_rng(3)
    labels, scores = rng.integers(0, 6, 200), rng.normal(size=(200, 6))
    right = scores.argmax(1) == labels
    assert (pair_choice(scores, labels, [(0, 1), (2, 3), (4, 5)]) >= right).all()


@pytest.mark.parametrize("count", [0, 1, 3, 6, 10, 99])
def test_examples_are_distinct_and_as_many_as_there_are(count: int) -> None:
    labels = np.repeat(np.arange(5), 4)
    right = np.ones(20, dtype=bool)
    right[7] = False
    rows = example_rows(labels, right, count)
    assert len(rows) == len(set(rows.tolist())) == min(count, 20)
    if count:
        assert 7 in rows
    if 1 < count <= 5:
        assert len(set(labels[rows])) == count


def test_examples_of_nothing() -> None:
    assert example_rows([], [], 3).tolist() == []
