"""Weights for few clips."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax

from hpnet.artifacts.scores import Scores
from hpnet.core.units import Units
from hpnet.fuse import fitting, fusion, mixing
from hpnet.fuse.fusion import Options
from hpnet.fuse.mixing import mix

CLASSES = 5
NOTHING = np.zeros(CLASSES)


def problem(seed: int, clips: int, strengths: tuple[float, ...]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scores (S, N, K) of streams of these strengths, each at its temperature, and labels (N,)."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(clips) % CLASSES)
    scores = rng.normal(size=(len(strengths), clips, CLASSES))
    for stream, strength in enumerate(strengths):
        scores[stream, np.arange(clips), labels] += strength
    return np.stack([values / fitting.fit_temperature(values, labels) for values in scores]), labels


def mixed(scores: NDArray[np.float64], labels: NDArray[np.int64], units: Any = None) -> mixing.Mixture:
    together = fitting.fit_weights(scores, labels)[0]
    return mix(together, scores, labels, NOTHING, np.arange(len(labels)) // 3 if units is None else units)


def loss(weights: NDArray[np.float64], scores: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    fitted = log_softmax(np.tensordot(weights, scores, 1), axis=1)
    return float(-fitted[np.arange(len(labels)), labels].mean())


def test_few_clips_and_one_good_stream_lose_less_on_new_clips_than_the_fit() -> None:
    gains = []
    for seed in range(6):
        scores, labels = problem(seed, 20, (2.0, 0.0, 0.0, 0.0))
        new, truth = problem(100 + seed, 1000, (2.0, 0.0, 0.0, 0.0))
        found = mixed(scores, labels)
        gains.append(loss(fitting.fit_weights(scores, labels)[0], new, truth) - loss(found.weights, new, truth))
        assert found.alone[0] == max(found.alone)
    assert np.mean(gains) > 0


def test_many_clips_and_streams_that_help_each_other_keep_the_fit() -> None:
    scores, labels = problem(0, 600, (1.5, 1.5, 1.0))
    found = mixed(scores, labels)
    assert found.together > 0.999
    np.testing.assert_allclose(found.weights, fitting.fit_weights(scores, labels)[0], atol=1e-3)


def test_shares_are_a_whole_and_weights_are_mixed_by_them() -> None:
    scores, labels = problem(3, 25, (1.0, 0.9, 0.2))
    found = mixed(scores, labels)
    assert found.together + found.alone.sum() == pytest.approx(1)
    assert 0.01 < found.together < 0.99
    expected = found.together * fitting.fit_weights(scores, labels)[0] + found.alone
    np.testing.assert_allclose(found.weights, expected)


def test_the_order_of_clips_and_the_names_of_units_do_not_matter() -> None:
    scores, labels = problem(4, 30, (1.0, 0.8))
    units = np.arange(30) // 5
    order = np.random.default_rng(0).permutation(30)
    one, other = mixed(scores, labels, units), mixed(scores[:, order], labels[order], units[order])
    np.testing.assert_allclose(other.weights, one.weights, atol=1e-4)


def test_a_fit_is_never_measured_on_a_unit_that_it_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, labels = problem(5, 30, (1.0, 0.8))
    units, seen = np.arange(30) // 3, []

    def fit(values: NDArray[np.float64], *rest: Any) -> Any:
        seen.append(values)
        return fitting.fit_weights(values, *rest)

    together = fitting.fit_weights(scores, labels)[0]
    monkeypatch.setattr(mixing, "fit_weights", fit)
    mix(together, scores, labels, NOTHING, units)
    assert len(seen) == mixing.FOLDS
    for values in seen:
        used = np.array([(values[0] == row).all(1).any() for row in scores[0]])
        by_unit = used.reshape(-1, 3)
        assert (by_unit.all(1) | ~by_unit.any(1)).all()  # a unit is learnt or left out as a whole
    assert sum(len(values[0]) for values in seen) == (mixing.FOLDS - 1) * 30


def streams_of(clips: int, strengths: tuple[float, ...]) -> dict[str, Scores]:
    scores, labels = problem(6, clips, strengths)
    ids = tuple(f"c{n:05d}" for n in range(clips))
    names = ("hpj", "hpb", "hpjm")
    return {
        name: Scores(ids, ("val",) * clips, labels, values.astype(np.float32))
        for name, values in zip(names, scores, strict=False)
    }


@pytest.mark.parametrize("rule", ["weighted", "balanced"])
def test_fusion_says_what_was_mixed_and_over_how_many_sources(rule: str) -> None:
    streams = streams_of(30, (1.2, 1.0, 0.4))
    units = Units("source", "", {f"c{n:05d}": n // 5 for n in range(30)})
    fit = fusion.fuse(streams, rule, class_frequency=np.ones(CLASSES), options=Options(units=units)).fit
    assert fit is not None
    assert fit.units == "6 sources"
    assert fit.together + sum(fit.alone.values()) == pytest.approx(1)
    assert list(fit.alone) == list(streams)
    again = fusion.fuse(streams, rule, class_frequency=np.ones(CLASSES), options=Options(units=units)).fit
    assert again == fit


@pytest.mark.parametrize("rule", ["weighted", "balanced"])
def test_what_fuse_mixes_is_what_the_parts_mix(rule: str) -> None:
    streams = streams_of(40, (1.2, 1.0, 0.4))
    result = fusion.fuse(streams, rule, tau=0.0, class_frequency=np.ones(CLASSES), options=Options(resamples=3))
    values = {s: scores.logits.astype(float) for s, scores in streams.items()}
    if rule == "balanced":
        values = {s: log_softmax(stored, axis=1) for s, stored in values.items()}
    labels = streams["hpj"].labels
    temperatures = {s: fitting.fit_temperature(stored, labels) for s, stored in values.items()}
    stacked = np.stack([values[s] / temperatures[s] for s in streams])
    together, errors, _ = fitting.fit_weights(stacked, labels, NOTHING, 0, 3)
    expected = mix(together, stacked, labels, NOTHING, np.arange(40))
    assert result.fit is not None
    assert result.fit.together == pytest.approx(expected.together)
    divided = temperatures if rule == "weighted" else dict.fromkeys(streams, 1.0)
    for s, weight, error in zip(streams, expected.weights, errors * expected.together, strict=True):
        assert result.weights[s] == pytest.approx(weight / divided[s])
        assert result.fit.standard_error[s] == pytest.approx(error / divided[s])


def test_one_source_one_stream_or_very_many_clips_are_not_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = streams_of(30, (1.2, 1.0))
    one_source = Units("source", "", dict.fromkeys(streams["hpj"].clip_ids, 0))
    monkeypatch.setattr(fusion, "MOST_CLIPS", 29)
    for parts, units in ((streams, one_source), ({"hpj": streams["hpj"]}, Options().units), (streams, Options().units)):
        fit = fusion.fuse(parts, options=Options(units=units)).fit
        assert fit is not None
        assert (fit.together, fit.alone, fit.units) == (1.0, {}, "")
