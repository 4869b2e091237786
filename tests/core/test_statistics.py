"""hpnet.core.statistics: coverage, agreement with exact results, determinism."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from hpnet.core import statistics as st


def test_interval_brackets_the_value_and_narrows_with_clips() -> None:
    few = st.bootstrap_interval([1] * 15 + [0] * 5)
    many = st.bootstrap_interval(([1] * 15 + [0] * 5) * 50)
    assert few.value == many.value == 0.75
    assert few.low < 0.75 < few.high
    assert many.high - many.low < 0.3 * (few.high - few.low)
    assert few.units == 20


def test_interval_is_the_binomial_one() -> None:
    interval = st.bootstrap_interval([1] * 300 + [0] * 100, resamples=20000)
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert interval.low == pytest.approx(0.75 - half, abs=0.004)
    assert interval.high == pytest.approx(0.75 + half, abs=0.004)


def test_same_seed_same_interval() -> None:
    correct = np.random.default_rng(0).random(50)
    assert st.bootstrap_interval(correct, seed=3) == st.bootstrap_interval(correct, seed=3)
    assert st.bootstrap_interval(correct, seed=3) != st.bootstrap_interval(correct, seed=4)


def test_order_of_clips_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    correct, labels, subjects = rng.random(80) < 0.5, rng.integers(0, 4, 80), rng.integers(0, 5, 80)
    turned = rng.permutation(80)
    assert st.bootstrap_interval(correct, labels, subjects) == st.bootstrap_interval(
        correct[turned], labels[turned], subjects[turned]
    )
    assert st.bootstrap_interval(correct, labels) == st.bootstrap_interval(correct[turned], labels[turned])


def test_mean_class_interval_weights_classes_alike() -> None:
    correct, labels = [1] * 90 + [0] * 10, [0] * 90 + [1] * 10
    assert st.bootstrap_interval(correct).value == pytest.approx(0.9)
    assert st.bootstrap_interval(correct, labels).value == pytest.approx(0.5)


def test_resampling_by_subject_is_wider_when_subjects_differ() -> None:
    subjects = np.repeat(np.arange(10), 40)
    correct = subjects < 7  # whole people are right or wrong
    by_clip, by_subject = st.bootstrap_interval(correct), st.bootstrap_interval(correct, groups=subjects)
    assert by_subject.units == 10
    assert by_subject.high - by_subject.low > 3 * (by_clip.high - by_clip.low)


def test_group_bootstrap_of_single_clips_agrees_with_clip_bootstrap() -> None:
    correct = np.arange(200) % 3 > 0
    labels = np.arange(200) % 5
    one = st.bootstrap_interval(correct, labels, resamples=4000)
    assert one == st.bootstrap_interval(correct, labels, groups=np.arange(200), resamples=4000)
    others = np.random.default_rng(0).permutation(200)
    assert one == st.bootstrap_interval(correct, labels, groups=others, resamples=4000)
    first = np.arange(200) % 4 > 0
    assert st.paired_difference(first, correct) == st.paired_difference(first, correct, groups=others)


@pytest.mark.parametrize("cameras", [2, 5])
def test_more_cameras_do_not_narrow_an_interval(cameras: int) -> None:
    """Clips that are copies of each other say nothing new, neither for an interval nor for a test."""
    rng = np.random.default_rng(4)
    first, second, labels = rng.random(90) < 0.6, rng.random(90) < 0.7, rng.integers(0, 6, 90)
    performances, copied = np.repeat(np.arange(90), cameras), [np.repeat(a, cameras) for a in (first, second, labels)]
    for truth, truths in ((None, None), (labels, copied[2])):
        once, seen = st.bootstrap_interval(first, truth), st.bootstrap_interval(copied[0], truths, performances)
        assert (seen.low, seen.high, seen.units) == pytest.approx((once.low, once.high, once.units))
        assert st.bootstrap_interval(copied[0], truths).units == 90 * cameras
    once_paired = st.paired_difference(first, second)
    seen_paired = st.paired_difference(copied[0], copied[1], groups=performances)
    assert seen_paired.p_value == pytest.approx(once_paired.p_value)
    assert seen_paired.difference.low == pytest.approx(once_paired.difference.low)
    assert (seen_paired.won, seen_paired.lost) == (cameras * once_paired.won, cameras * once_paired.lost)
    assert st.sign_flip_test(copied[0], copied[1]) < seen_paired.p_value


def test_units_of_several_classes_are_resampled_whole() -> None:
    """Class means of 40 people who do all six actions: the interval is that of the plain mean, as every person counts
    the same in every class."""
    rng = np.random.default_rng(5)
    people, labels = np.repeat(np.arange(40), 6), np.tile(np.arange(6), 40)
    correct = rng.random(240) < np.repeat(rng.uniform(0.3, 1.0, 40), 6)
    by_class = st.bootstrap_interval(correct, labels, people, resamples=3000)
    plain = st.bootstrap_interval(correct, None, people, resamples=3000)
    assert by_class.value == pytest.approx(plain.value)
    assert (by_class.low, by_class.high) == pytest.approx((plain.low, plain.high), abs=0.012)


def test_few_units_are_covered_as_often_as_many() -> None:
    """Of 400 experiments with six units of normal means, about 95 % of the intervals hold the true mean: 0."""
    rng = np.random.default_rng(6)
    held = plain = 0
    for seed, means in enumerate(rng.normal(size=(400, 6))):
        found = st.bootstrap_interval(means, groups=np.arange(6), resamples=400, seed=seed)
        held += found.low <= 0 <= found.high
        draws = means[np.random.default_rng(seed).integers(0, 6, (400, 6))].mean(1)
        low, high = np.quantile(draws, [0.025, 0.975])
        plain += low <= 0 <= high
    assert held / 400 > 0.91
    assert plain / 400 < 0.89


def test_one_unit_has_no_interval() -> None:
    found = st.paired_difference([0, 0, 1], [1, 1, 1], groups=["a", "a", "a"])
    assert found.difference.value == pytest.approx(2 / 3)
    assert (found.difference.units, found.p_value) == (1, 1.0)
    assert np.isnan(found.difference.low)
    assert np.isnan(st.bootstrap_interval([1, 0], groups=[5, 5]).high)


def test_paired_bootstrap_sees_a_small_consistent_gain() -> None:
    first = np.arange(1000) % 4 > 0
    second = first.copy()
    second[::50] = True  # 20 clips of which only those wrong before change
    found = st.paired_difference(first, second)
    difference = found.difference
    assert difference.value == pytest.approx(second.mean() - first.mean())
    assert difference.low > 0
    assert found.p_value < 0.01
    unpaired = st.bootstrap_interval(first)
    assert difference.high - difference.low < unpaired.high - unpaired.low


def test_equal_runs_are_certain_of_nothing() -> None:
    first = np.arange(100) % 2 == 0
    same = st.paired_difference(first, first)
    assert (same.difference.value, same.difference.low, same.difference.high, same.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_sign_flips_of_single_clips_are_mcnemars_exact_test() -> None:
    first, second = np.array([1, 1, 1, 0, 1, 0]), np.array([1, 0, 0, 0, 1, 0])
    assert st.sign_flip_test(first, second) == pytest.approx(0.5)  # 2 x (1/2)^2
    assert st.sign_flip_test(first, first) == 1.0
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 300)) < [[0.6], [0.7]]
    won, lost = int((other & ~one).sum()), int((one & ~other).sum())
    assert st.sign_flip_test(one, other) == pytest.approx(binomtest(won, won + lost, 0.5).pvalue)


def test_sign_flips_of_units_are_every_change_of_signs() -> None:
    rng = np.random.default_rng(1)
    first, second, units = rng.random(60) < 0.5, rng.random(60) < 0.7, rng.integers(0, 8, 60)
    of_unit = np.array([(second[units == u].astype(int) - first[units == u].astype(int)).sum() for u in range(8)])
    signs = np.array(list(itertools.product((-1, 1), repeat=8)))
    expected = (np.abs(signs @ of_unit) >= abs(of_unit.sum())).mean()
    assert st.sign_flip_test(first, second, units) == pytest.approx(expected)


def test_sign_flips_of_shares_are_those_of_their_counts() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.integers(0, 4, (2, 50))  # how many of three runs are right
    whole = st.sign_flip_test(first, second)
    assert st.sign_flip_test(first / 3, second / 3, scale=3) == pytest.approx(whole)
    with pytest.raises(ValueError, match="number of runs"):
        st.sign_flip_test(first / 3, second / 3)


def test_p_values_of_equal_classifiers_are_spread_evenly() -> None:
    """Whose clips of one unit agree: sign flips of units hold their level, those of single clips do not."""
    rng = np.random.default_rng(3)
    units = np.repeat(np.arange(30), 5)
    by_unit, by_clip = [], []
    for _ in range(400):
        first, second = (np.repeat(rng.random(30), 5) + rng.normal(0, 0.05, 150) < 0.6 for _ in range(2))
        by_unit.append(st.sign_flip_test(first, second, units))
        by_clip.append(st.sign_flip_test(first, second))
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(by_unit) <= level) == pytest.approx(level, abs=0.07)
    assert np.mean(np.array(by_unit) <= 0.05) <= 0.07
    assert np.mean(np.array(by_clip) <= 0.05) > 0.25


def test_benjamini_hochberg_of_a_worked_case() -> None:
    assert st.benjamini_hochberg([0.01, 0.04, 0.03, 0.9]) == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.9])
    with pytest.raises(ValueError, match=r"0\.\.1"):
        st.benjamini_hochberg([0.1, 1.2])


def test_benjamini_hochberg_holds_the_false_discovery_rate() -> None:
    rng = np.random.default_rng(0)
    found = [(st.benjamini_hochberg(rng.random(100)) < 0.05).any() for _ in range(400)]
    assert np.mean(found) < 0.08


def test_per_class_changes() -> None:
    labels = np.repeat([0, 2], 10)
    first = np.r_[np.zeros(10), np.ones(10)].astype(bool)
    second = np.ones(20, dtype=bool)
    table = st.per_class_changes(first, second, labels, ["a", "b", "c"])
    assert list(table.name) == ["a", "c"]
    assert table.change.tolist() == [1.0, 0.0]
    assert table.q_value[0] == pytest.approx(2 * 2 * 0.5**10)
    pairs = st.per_class_changes(first, second, labels, ["a", "b", "c"], np.arange(20) // 2)
    assert pairs.q_value[0] == pytest.approx(2 * 2 * 0.5**5)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="one group per clip"):
        st.bootstrap_interval([1, 0], groups=[1])
    with pytest.raises(ValueError, match="same clips"):
        st.sign_flip_test([1, 0], [1])
    with pytest.raises(ValueError, match="same clips"):
        st.paired_difference([1, 0], [1])
    with pytest.raises(ValueError, match="non-empty"):
        st.bootstrap_interval([])
