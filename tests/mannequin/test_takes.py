"""hpnet.mannequin.takes: scripts, motion without jumps, exact events, files."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpnet.core.video import load_clip
from hpnet.mannequin import takes
from hpnet.mannequin.kinematics import JOINT, bones
from hpnet.mannequin.people import PARTNER_OFFSET
from hpnet.mannequin.takes import TakeSpec, perform_take, plan_takes, script, write_takes


@dataclass(frozen=True)
class Small:
    """The parameters of a small benchmark."""

    seed: int = 7
    subjects: int = 4
    cameras: int = 3
    setups: int = 2
    repetitions: int = 1
    frames: int = 8
    fps: int = 10
    width: int = 64
    height: int = 48
    corruption: str = "none"
    take_seconds: float = 30.0


MANY = [
    TakeSpec(1, 1, subject, number, persons, "test") for subject in range(1, 9) for number, persons in ((1, 1), (2, 2))
]


def test_subjects_take_turns_and_each_has_takes_of_one_and_of_two() -> None:
    specs = plan_takes(Small(), [3, 7], "test", 4)
    assert [(s.subject, s.persons) for s in specs] == [(3, 1), (7, 2), (3, 2), (7, 1)]
    assert len({s.take_id for s in specs}) == 4
    assert plan_takes(Small(), [], "test", 0) == []
    with pytest.raises(ValueError, match="no subject is for test"):
        plan_takes(Small(), [], "test", 1)


def test_scripts_can_be_played() -> None:
    for seconds in (20.0, 60.0, 120.0):
        params, counts = Small(take_seconds=seconds), []
        for spec in MANY:
            turns = script(spec, params)
            counts.append(len(turns))
            for k in range(spec.persons):
                own = [turn for turn in turns if k in turn.people]
                assert all(b.start - a.end >= 7 for a, b in itertools.pairwise(own))
                assert all(turn.start >= 7 and turn.end + 7 <= seconds * params.fps for turn in own)
                names = [turn.action.name for turn in own]
                for first, second in zip(["", *names], [*names, ""], strict=True):
                    assert second in ("stand up", "") if first == "sit down" else second != "stand up"
                hats = [name for name in names if "hat" in name]
                assert hats == ["put on hat", "take off hat"] * (len(hats) // 2) + ["put on hat"] * (len(hats) % 2)
                assert all((turn.action.persons == 2) == (len(turn.people) == 2) for turn in own)
        assert 5 <= np.mean(counts) <= 20
        assert max(counts) <= 30


@pytest.mark.parametrize("spec", [*MANY[:6], TakeSpec(1, 2, 7, 1, 1, "test")])
def test_bodies_keep_their_lengths_and_never_jump(spec: TakeSpec) -> None:
    scene, events = perform_take(spec, Small())
    assert len(scene.performers) == spec.persons
    assert {event.person for event in events} <= set(range(spec.persons))
    for performer in scene.performers:
        size, joints = bones(performer.build), performer.joints_m.astype(np.float64)
        for side in ("left", "right"):
            for upper, lower, length in (
                ("shoulder", "elbow", size.upper_arm),
                ("elbow", "wrist", size.forearm),
                ("hip", "knee", size.thigh),
                ("knee", "ankle", size.shank),
            ):
                span = np.linalg.norm(joints[:, JOINT[f"{side}_{upper}"]] - joints[:, JOINT[f"{side}_{lower}"]], axis=1)
                assert np.abs(span - length).max() < 2e-3
        assert np.linalg.norm(np.diff(joints, axis=0), axis=2).max() * Small().fps < 10.0  # a kick comes to 8
        turn = np.einsum("tij,tkj->tik", performer.head_rotation, performer.head_rotation)
        assert np.abs(turn - np.eye(3)).max() < 1e-3


@pytest.mark.parametrize("spec", MANY[:4])
def test_far_from_events_people_stand_or_sit_still_and_movements_begin_at_once(spec: TakeSpec) -> None:
    params = Small(take_seconds=40.0)
    scene, events = perform_take(spec, params)
    for k, performer in enumerate(scene.performers):
        speed = np.linalg.norm(np.diff(performer.joints_m, axis=0), axis=2).max(1) * params.fps
        own = [event for event in events if event.person == k]
        near = np.zeros(len(speed), bool)
        for event in own:
            margin = 2.6 if event.action in ("handshake", "push", "high five") else 1.3
            near[int(max(0, (event.start_s - margin) * params.fps)) : int((event.end_s + margin) * params.fps)] = True
            inside = speed[round(event.start_s * params.fps) : round(event.end_s * params.fps)]
            assert inside.max() > takes.STILL_M_S
            if event.action in ("kick", "jump", "sit down", "stand up", "put on hat", "take off hat"):
                assert inside[0] > 0.6 * takes.STILL_M_S
        assert (speed[~near] < 2 * takes.STILL_M_S).all()


def test_what_two_people_do_together_is_an_event_of_both_at_arm_s_length() -> None:
    params = Small()
    for spec in (spec for spec in MANY if spec.persons == 2):
        scene, events = perform_take(spec, params)
        first, second = (performer.joints_m[:, JOINT["pelvis"], :2] for performer in scene.performers)
        assert scene.performers[1].subject == spec.subject + PARTNER_OFFSET
        together = [event for event in events if event.action in ("handshake", "push", "high five")]
        for event in together:
            other = [
                e for e in together if (e.start_s, e.end_s, e.action) == (event.start_s, event.end_s, event.action)
            ]
            assert {e.person for e in other} == {0, 1}
            at = round((event.start_s + 0.1) * params.fps)
            assert np.linalg.norm(first[at] - second[at]) < 1.2


def test_a_hat_is_worn_between_putting_it_on_and_taking_it_off() -> None:
    params, worn = Small(take_seconds=60.0), 0
    for spec in MANY[::2]:
        scene, events = perform_take(spec, params)
        on = [event for event in events if event.action == "put on hat"]
        if not on:
            continue
        hats = [prop for prop in scene.props if prop.kind == "hat"]
        assert len({prop.colour for prop in hats}) == 1
        shown = np.sum([prop.shown for prop in hats], axis=0)
        assert shown.max() == 1
        off = next((e.start_s for e in events if e.action == "take off hat" and e.start_s > on[0].end_s), 60.0)
        at = round(0.5 * (on[0].end_s + off) * params.fps)
        assert shown[at] == 1
        hat = next(prop for prop in hats if prop.shown is not None and prop.shown[at])
        assert np.linalg.norm(hat.centre_m[at] - scene.performers[0].joints_m[at, JOINT["head"]]) < 0.1
        worn += 1
    assert worn


def test_takes_are_written_and_do_not_depend_on_each_other(tmp_path: Path) -> None:
    params = Small(take_seconds=10.0, fps=5)
    specs = plan_takes(params, [2, 3], "test", 2)
    found = write_takes(specs, params, tmp_path / "both")
    alone = write_takes(specs[1:], params, tmp_path / "one")
    assert alone.videos.digest[0] == found.videos.digest[1]
    assert alone.truth[specs[1].take_id] == found.truth[specs[1].take_id]
    assert set(found.videos.source) == {"2", "3"}
    frames = load_clip(found.paths[specs[0].take_id])
    assert frames.shape == (50, 48, 64, 3)
    truth = pd.read_parquet(tmp_path / "both" / "takes_truth.parquet")
    assert list(truth.groupby("clip_id", sort=False).size()) == [50, 100]
    assert all(event.end_s <= 10 for events in found.truth.values() for event in events)
