"""The probability of unknown: fitted to clips that no network saw, with an action left out, or to background clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpnet.artifacts.scores import Scores
from hpnet.artifacts.unknown import Unknown, background_label
from hpnet.fuse.applied import fuse_as_fitted
from hpnet.fuse.refusing import NAMES, probability_of_unknown
from hpnet.fuse.unknown import (
    Held,
    fit_unknown,
    held_out,
    subsets,
    without_own_action,
)

ACTIONS, CLIPS = 6, 300


def scores(seed: int = 0, strength: float = 4.0, strangers: int = 0) -> Scores:
    """Validation clips of known actions, then test clips: as many known ones, and ``strangers`` without a label, whose
    scores are noise."""
    random = np.random.default_rng(seed)
    labels = np.tile(np.arange(2 * CLIPS) % ACTIONS, 1)
    logits = random.normal(size=(2 * CLIPS + strangers, ACTIONS))
    logits[np.arange(2 * CLIPS), labels] += strength
    every = np.concatenate([labels, np.full(strangers, -1)])
    splits = ("val",) * CLIPS + ("test",) * (CLIPS + strangers)
    ids = tuple(f"c{n:04d}" for n in range(len(every)))
    return Scores(ids, splits, every, logits.astype(np.float32))


def fitted_of(*streams: str, rule: str = "weighted", classes: int = ACTIONS) -> dict[str, Any]:
    """A rule's entry of weights.json, with equal weights."""
    ones = dict.fromkeys(streams, 1.0)
    return {"rule": rule, "weights": ones, "temperatures": ones, "adjustment": [0.0] * classes, "softmaxed": []}


def found(streams: dict[str, Scores], rule: str = "weighted", **options: Any) -> Unknown:
    held = held_out(streams)
    assert held is not None
    result = fit_unknown(fitted_of(*streams, rule=rule), held, **options)
    assert isinstance(result, Unknown), result
    return result


@pytest.mark.parametrize("rule", ["weighted", "balanced"])
@pytest.mark.parametrize("score", ["auto", *NAMES])
def test_known_clips_are_kept_and_strangers_refused(rule: str, score: str) -> None:
    streams = {"hpj": scores(0, strangers=CLIPS), "hpb": scores(1, strangers=CLIPS)}
    unknown = found(streams, rule, score=score)
    test = {stream: one.split("test") for stream, one in streams.items()}
    fused = fuse_as_fitted(fitted_of(*streams, rule=rule), {stream: one.logits for stream, one in test.items()})
    chance = probability_of_unknown(unknown.whole, fused, None)
    known = test["hpj"].labels >= 0
    assert 0.91 < (chance[known] <= 0.5).mean() < 0.99
    assert (chance[~known] > 0.5).mean() > 0.7
    assert set(unknown.refusals) == {"hpj+hpb", "hpj", "hpb"}
    assert unknown.whole.score == ("likeness" if score == "auto" else score)
    assert 0.85 < unknown.whole.auroc["chosen"] <= 1


def test_the_share_that_is_kept_is_a_parameter() -> None:
    streams = {"hpj": scores(0, 2.0)}
    kept = []
    for share in (0.5, 0.8, 0.95):
        refusal = found(streams, kept=share, score="energy").whole  # read of a clip by itself
        logits = scores(0, 2.0).logits[:CLIPS].astype(float)
        fused = fuse_as_fitted(fitted_of("hpj"), {"hpj": logits})
        kept.append((probability_of_unknown(refusal, fused, None) <= 0.5).mean())
    assert kept == pytest.approx([0.5, 0.8, 0.95], abs=0.01)


def test_labels_of_test_clips_have_no_part() -> None:
    plain = scores(0, 2.0)
    shuffled = plain.labels.copy()
    shuffled[CLIPS:] = (shuffled[CLIPS:] + 1) % ACTIONS
    assert found({"hpj": plain}) == found({"hpj": replace(plain, labels=shuffled)})


def test_a_clip_without_its_own_action_is_scored_by_the_others() -> None:
    logits = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    fitted = {"rule": "weighted", "weights": {"hpj": 2.0}, "temperatures": {"hpj": 1.0}, "adjustment": [0.5, 0.0, 0.0],
              "softmaxed": []}  # fmt: skip
    short = without_own_action(fitted, {"hpj": logits}, np.array([0, 2]))
    np.testing.assert_allclose(short, [[4.0, 6.0], [7.5, 10.0]])


def test_a_clip_whose_action_is_left_out_does_not_look_unknown_by_the_missing_term() -> None:
    """Scores that say nothing of the action: leaving a column out must change nothing on average."""
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(4000, 8)), random.integers(0, 8, 4000)
    held = Held({"hpj": logits}, labels, {})
    fitted = fitted_of("hpj", classes=8)
    result = fit_unknown(fitted, held)
    assert isinstance(result, Unknown)
    assert result.whole.auroc["energy"] == pytest.approx(0.5, abs=0.03)


def test_background_is_what_unknown_learns_from() -> None:
    """The class background: its column is no action, and its clips are unknown ones."""
    random = np.random.default_rng(0)
    labels = np.arange(600) % 4
    logits = random.normal(size=(600, 4)) * 0.7
    logits[np.arange(600), labels] += 3
    fitted = fitted_of("hpj", classes=4)
    result = fit_unknown(fitted, Held({"hpj": logits[:300]}, labels[:300], {}), background=1)
    assert isinstance(result, Unknown)
    assert result.origin == "left-out actions and background clips"
    assert (result.known, result.negatives) == (225, 300)
    assert result.whole.slope_background > 0
    chance = probability_of_unknown(result.whole, logits[300:], 1)
    assert (chance[labels[300:] == 1] > 0.5).mean() > 0.8
    assert (chance[labels[300:] != 1] <= 0.5).mean() > 0.9


def test_likeness_with_a_class_background() -> None:
    random = np.random.default_rng(1)
    labels = np.arange(600) % 5
    logits = random.normal(size=(600, 5))
    logits[np.arange(600), labels] += 4
    held = Held({"hpj": logits[:300]}, labels[:300], {}, np.arange(300) // 5)
    result = fit_unknown(fitted_of("hpj", classes=5), held, score="likeness", background=2)
    assert isinstance(result, Unknown)
    assert result.whole.likeness is not None
    assert np.array(result.whole.likeness.precision).shape == (4, 4)
    chance = probability_of_unknown(result.whole, logits[300:], 2)
    assert (chance[labels[300:] == 2] > 0.5).mean() > 0.8
    assert (chance[labels[300:] != 2] <= 0.5).mean() > 0.9


def test_one_action_and_background_are_enough() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(100) % 2
    logits = random.normal(size=(100, 2))
    logits[np.arange(100), labels] += 3
    fitted = fitted_of("hpj", classes=2)
    result = fit_unknown(fitted, Held({"hpj": logits}, labels, {}), background=0)
    assert isinstance(result, Unknown)
    assert result.origin == "background clips"
    assert result.whole.auroc["chosen"] > 0.9


@pytest.mark.parametrize(("clips", "actions"), [(3, 6), (60, 2)])
def test_too_few_clips_or_actions_are_said(clips: int, actions: int) -> None:
    labels = np.arange(clips) % actions
    logits = np.eye(actions)[labels]
    fitted = fitted_of("hpj", classes=actions)
    why = fit_unknown(fitted, Held({"hpj": logits}, labels, {}))
    assert why == f"there are {clips} held-out clips of {actions} actions, expected at least 5 of 3"


def test_scores_that_are_probabilities_have_none() -> None:
    logits = np.full((20, 4), 0.25, np.float32)
    assert held_out({"hpj": Scores(tuple(map(str, range(20))), ("val",) * 20, np.arange(20) % 4, logits)}) is None


def test_more_is_refused_where_less_is_kept() -> None:
    curve = np.array(found({"hpj": scores(0, 2.0)}).curve)
    assert (np.diff(curve[:, 0]) > 0).all()
    assert (np.diff(curve[:, 1]) <= 0).all()
    assert curve[-1].tolist() == [1.0, pytest.approx(curve[-1, 1])]


def test_the_largest_set_of_streams_comes_first() -> None:
    assert [*subsets(("a", "b"))] == [("a", "b"), ("a",), ("b",)]


def test_the_file_says_what_was_fitted(tmp_path: Path) -> None:
    unknown = found({"hpj": scores(0), "hpb": scores(1)}, score="likeness")
    assert unknown.whole.likeness is not None
    unknown.save(tmp_path / "unknown.json")
    assert Unknown.load(tmp_path / "unknown.json") == unknown
    assert unknown.of({"hpb": 1.0, "hpj": 0.5}) == unknown.refusals["hpj+hpb"]
    assert unknown.of({"hpb": 1.0, "hpj": 0.0}) == unknown.refusals["hpb"]
    assert unknown.of({"hpjm": 1.0}) is None
    assert Unknown.load(tmp_path / "other.json") is None


@pytest.mark.parametrize("text", ["{}", "[]", '{"refusals": [], "curve": []}', "{"])
def test_a_broken_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "unknown.json").write_text(text)
    with pytest.raises(ValueError, match=r"unknown\.json"):
        Unknown.load(tmp_path / "unknown.json")


def test_background_is_found_by_its_name() -> None:
    assert background_label(["wave", "background", "clap"]) == 1
    assert background_label(["wave", "background noise"]) is None
