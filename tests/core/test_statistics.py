"""hpnet.core.statistics: coverage, agreement with exact results, determinism."""

from __future__ import annotations

import numpy as np
import pytest

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
    correct = np.random.default_rng(0).random(50) < 0.6
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
    other = st.bootstrap_interval(correct, labels, groups=np.arange(200), resamples=4000)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.015)


def test_paired_bootstrap_sees_a_small_consistent_gain() -> None:
    first = np.arange(1000) % 4 > 0
    second = first.copy()
    second[::50] = True  # 20 clips of which only those wrong before change
    difference = st.paired_bootstrap(first, second)
    assert difference.value == pytest.approx(second.mean() - first.mean())
    assert difference.low > 0
    assert difference.p_value < 0.01
    unpaired = st.bootstrap_interval(first)
    assert difference.high - difference.low < unpaired.high - unpaired.low


def test_paired_bootstrap_of_equal_runs_is_certain_of_nothing() -> None:
    first = np.arange(100) % 2 == 0
    same = st.paired_bootstrap(first, first)
    assert (same.value, same.low, same.high, same.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_mcnemar_is_exact() -> None:
    first, second = np.array([1, 1, 1, 0, 1, 0]), np.array([1, 0, 0, 0, 1, 0])
    result = st.mcnemar(first, second)
    assert (result.only_first, result.only_second) == (2, 0)
    assert result.p_value == pytest.approx(0.5)  # 2 x (1/2)^2
    assert st.mcnemar(first, first).p_value == 1.0


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


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="one group per clip"):
        st.bootstrap_interval([1, 0], groups=[1])
    with pytest.raises(ValueError, match="same clips"):
        st.mcnemar([1, 0], [1])
    with pytest.raises(ValueError, match="non-empty"):
        st.bootstrap_interval([])
