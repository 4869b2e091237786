"""Boxes keep their margins around joints that move and grow, and are given up where joints are not seen."""

from __future__ import annotations

import numpy as np
import pytest

from hpnet.predict.carrying import LEAST_JOINTS, MOST_GROWTH, Anchor

JOINTS = np.random.default_rng(0).uniform(20, 80, (17, 2)).astype(np.float32)
SURE = np.full(17, 0.8, np.float32)
BOX = np.array([10.0, 5.0, 90.0, 95.0])
ANCHOR = Anchor(BOX, JOINTS, SURE)


def test_a_box_moves_and_grows_with_the_joints() -> None:
    assert ANCHOR.carried(JOINTS, SURE) == pytest.approx(BOX)
    assert ANCHOR.carried(JOINTS + np.float32([7, -3]), SURE) == pytest.approx(BOX + [7, -3, 7, -3])
    assert ANCHOR.carried(1.5 * JOINTS, SURE) == pytest.approx(1.5 * BOX, rel=1e-5)


def test_an_arm_that_is_raised_makes_the_box_higher() -> None:
    raised = JOINTS.copy()
    raised[9, 1] = JOINTS[:, 1].min() - 30
    box = ANCHOR.carried(raised, SURE)
    assert box is not None
    assert box[1] < BOX[1] - 25
    assert box[3] == pytest.approx(BOX[3], abs=5)


def test_a_joint_that_is_not_seen_does_not_move_the_box() -> None:
    lost, scores = JOINTS.copy(), SURE.copy()
    lost[3], scores[3] = 1000, 0.05
    box = ANCHOR.carried(lost, scores)
    assert box is not None
    assert box == pytest.approx(BOX, abs=12)


def test_a_box_does_not_explode() -> None:
    box = ANCHOR.carried(50 * JOINTS, SURE)
    assert box is not None
    assert (box[2:] - box[:2]) == pytest.approx(MOST_GROWTH * (BOX[2:] - BOX[:2]))


def test_too_few_joints_carry_no_box_and_unsure_ones_have_fallen() -> None:
    few = np.zeros(17, np.float32)
    few[: LEAST_JOINTS - 1] = 0.9
    assert ANCHOR.carried(JOINTS, few) is None
    assert not ANCHOR.has_fallen(0.8 * SURE)
    assert ANCHOR.has_fallen(0.6 * SURE)
