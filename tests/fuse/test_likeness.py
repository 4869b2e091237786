"""How like the clips of its action a clip is: cosines in the space of the scores, compared with known clips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hpnet.core.metrics import auroc
from hpnet.fuse.likeness import Known, fit_likeness, fit_space, likeness, usual
from hpnet.fuse.refusing import energy
from hpnet.fuse.unknown import Held, fit_unknown

ACTIONS, CLIPS = 5, 200


def known(seed: int = 0) -> Known:
    """Every action has a pattern of scores: the next action is a bit like it."""
    random = np.random.default_rng(seed)
    labels = np.arange(CLIPS) % ACTIONS
    pattern = 6 * np.eye(ACTIONS) + 3 * np.roll(np.eye(ACTIONS), 1, axis=1)
    return Known(pattern[labels] + random.normal(size=(CLIPS, ACTIONS)), labels, np.arange(CLIPS) // ACTIONS)


def mixtures() -> np.ndarray:
    """Clips with high scores for two actions that are not alike: as much energy as known ones, another pattern."""
    random = np.random.default_rng(9)
    first = np.arange(60) % ACTIONS
    rows = 6.0 * np.eye(ACTIONS)[first] + 5.0 * np.eye(ACTIONS)[(first + 2) % ACTIONS]
    return np.asarray(rows + random.normal(size=rows.shape))


def test_a_mixture_of_actions_is_unlike_every_known_clip() -> None:
    fitted = fit_likeness(known(), energy)
    assert fitted is not None
    others = known(1).scores
    apart = auroc(likeness(fitted.kept, mixtures(), energy), likeness(fitted.kept, others, energy))
    assert apart > 0.95 > auroc(energy(mixtures()), energy(others))


def test_new_known_clips_are_as_like_as_those_that_were_left_out() -> None:
    fitted = fit_likeness(known(), energy)
    assert fitted is not None
    new = likeness(fitted.kept, known(1).scores, energy)
    assert auroc(fitted.own, new) == pytest.approx(0.5, abs=0.06)
    assert auroc(fitted.without_own, fitted.own) > 0.8


def test_what_is_added_to_all_scores_of_a_clip_says_nothing() -> None:
    fitted = fit_likeness(known(), energy)
    assert fitted is not None
    scores = known(1).scores
    moved = scores + np.linspace(-50, 50, CLIPS)[:, None]
    np.testing.assert_allclose(likeness(fitted.kept, moved, energy), likeness(fitted.kept, scores, energy), atol=1e-6)


def test_cosines_of_means_are_one() -> None:
    given = known()
    space = fit_space(given.scores, given.labels)
    means = np.stack([given.scores[given.labels == n].mean(0) for n in range(ACTIONS)])
    np.testing.assert_allclose(np.diag(space.cosines(means)), 1, atol=1e-9)


def test_an_action_without_right_answers_is_compared_with_all() -> None:
    found = usual(np.array([1.0, 2.0, 3.0]), np.array([0, 0, 0]), np.array([0, 0, 1]))
    assert found.means[1] == pytest.approx(1.5)
    assert (found.mean, found.sds[1]) == (2.0, pytest.approx(0.5))


def test_too_few_actions_or_units_have_none() -> None:
    given = known()
    assert fit_likeness(replace(given, units=np.zeros(CLIPS, np.int64)), energy) is None
    two = given.labels < 2
    assert fit_likeness(Known(given.scores[two][:, :2], given.labels[two], given.units[two]), energy) is None
    of_one = replace(given, units=np.where(given.labels == 0, 1000, given.units))
    assert fit_likeness(of_one, energy) is None
    fitted = {"rule": "weighted", "weights": {"hpj": 1.0}, "temperatures": {"hpj": 1.0}, "softmaxed": [],
              "adjustment": [0.0] * ACTIONS}  # fmt: skip
    held = Held({"hpj": of_one.scores}, of_one.labels, {}, of_one.units)
    why = fit_unknown(fitted, held, score="likeness")
    assert why == "the score likeness needs held-out clips of every action, of two sources or more"


def test_of_many_clips_some_are_read() -> None:
    held = Held({"hpj": np.arange(20.0)[:, None]}, np.arange(20), {}, np.arange(20))
    few = held.fewer(8)
    assert len(few.labels) == 8
    np.testing.assert_array_equal(few.logits["hpj"][:, 0], few.labels)
    assert held.fewer(20) is held
