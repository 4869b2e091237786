"""Kinematics and the benchmark's motions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hpnet.mannequin import kinematics as K
from hpnet.mannequin.actions import ACTIONS, NAMES, OBJECT_PAIRS, ORDER_PAIRS, TWO_PERSON, Act, find
from hpnet.mannequin.kinematics import JOINT
from hpnet.mannequin.people import PARTNER_OFFSET, left_handed, looks_of, person, stream
from hpnet.mannequin.posture import Body, Clock
from hpnet.mannequin.scene import BODY_JOINTS, Performer

LIMBS = (("shoulder", "elbow"), ("elbow", "wrist"), ("wrist", "hand"), ("hip", "knee"), ("knee", "ankle"))


def act(name: str, subject: int = 1, frames: int = 24, shared: int = 0, own: int = 0, **style: float) -> Act:
    action = ACTIONS[name]
    people = [person(subject + k * PARTNER_OFFSET, 1, 7) for k in range(action.persons)]
    people = [replace(p, style=replace(p.style, **style)) for p in people]
    return action.constructor(
        people, Clock(frames, frames / 2), np.random.default_rng(shared), np.random.default_rng(own)
    )


def joint(performer: Performer, name: str) -> np.ndarray:
    return performer.joints_m[:, JOINT[name]].astype(np.float64)


def palms(performer: Performer) -> np.ndarray:
    return np.stack([joint(performer, "left_hand"), joint(performer, "right_hand")], axis=1)


def test_eighteen_actions_in_ntu_order() -> None:
    assert len(ACTIONS) == 18
    assert NAMES[0] == "drink"
    assert NAMES[-3:] == ("handshake", "push", "high five")
    assert TWO_PERSON == (15, 16, 17)
    assert len({a.prompt for a in ACTIONS.values()}) == 18
    for first, second in (*OBJECT_PAIRS, *ORDER_PAIRS):
        assert ACTIONS[NAMES[first]].family == ACTIONS[NAMES[second]].family
    with pytest.raises(ValueError, match=r"juggle.*drink"):
        find("juggle")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("subject", [1, 2, 7])
def test_bodies_stay_whole_and_above_the_floor(name: str, subject: int) -> None:
    scene = act(name, subject, shared=subject, own=subject)
    assert len(scene.performers) == ACTIONS[name].persons
    for performer in scene.performers:
        assert performer.joints_m.shape == (24, len(BODY_JOINTS), 3)
        assert performer.joints_m.dtype == np.float32
        assert np.isfinite(performer.joints_m).all()
        assert performer.joints_m[..., 2].min() > -0.02
        lengths = {s: [] for s in ("left", "right")}
        for side, found in lengths.items():
            for a, b in LIMBS:
                length = np.linalg.norm(joint(performer, f"{side}_{a}") - joint(performer, f"{side}_{b}"), axis=-1)
                assert np.ptp(length) < 1e-5
                found.append(length[0])
        np.testing.assert_allclose(lengths["left"], lengths["right"], atol=1e-5)
        unit = performer.head_rotation @ performer.head_rotation.transpose(0, 2, 1)
        np.testing.assert_allclose(unit, np.tile(np.eye(3), (24, 1, 1)), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_motion_is_smooth_and_is_motion(name: str) -> None:
    performer = act(name, 4, frames=120, shared=3, own=3).performers[0]
    speed = np.linalg.norm(np.diff(performer.joints_m[:, :17], axis=0), axis=-1) * 60  # m/s: 120 frames in two seconds
    assert speed.max() < 11.0
    jerk = np.linalg.norm(np.diff(performer.joints_m[:, :17], n=2, axis=0), axis=-1)
    assert jerk.max() < 0.07
    assert speed.max() > (0.1 if name == "check watch" else 0.5)


@pytest.mark.parametrize(("first", "second"), OBJECT_PAIRS)
@pytest.mark.parametrize("seed", range(4))
def test_object_pairs_differ_in_the_object_alone(first: int, second: int, seed: int) -> None:
    a = act(NAMES[first], seed + 1, shared=seed, own=1)
    b = act(NAMES[second], seed + 1, shared=seed, own=2)
    np.testing.assert_array_equal(a.performers[0].joints_m, b.performers[0].joints_m)
    np.testing.assert_array_equal(a.performers[0].head_rotation, b.performers[0].head_rotation)
    assert a.props[0].kind != b.props[0].kind
    for scene in (a, b):
        near = np.linalg.norm(palms(scene.performers[0]) - scene.props[0].centre_m[:, None], axis=-1).min(1)
        assert near.max() <= 0.09


@pytest.mark.parametrize(("first", "second"), ORDER_PAIRS)
def test_order_pairs_are_the_same_poses_backwards(first: int, second: int) -> None:
    forward = act(NAMES[first], 5, frames=96, shared=2, own=1, sway_m=0.0).performers[0].joints_m
    back = act(NAMES[second], 5, frames=96, shared=2, own=9, sway_m=0.0).performers[0].joints_m
    apart = np.linalg.norm(forward[:, None] - back[None], axis=-1).max(-1)  # (T, T)
    assert apart.min(0).max() < 0.05
    assert apart.min(1).max() < 0.05
    assert apart[0, -1] < 0.05
    assert apart[-1, 0] < 0.05
    assert apart[0, 0] > 0.2
    # Another timing, not a mirror image in time.
    assert np.abs(forward - back[::-1]).max() > 0.02


def test_sit_ends_on_the_chair() -> None:
    scene = act("sit down", 3)
    seat = scene.furniture[0]
    pelvis = joint(scene.performers[0], "pelvis")
    assert seat.kind == "chair"
    assert np.abs(pelvis[-1, :2] - seat.centre_m[0, :2]).max() < 0.10
    assert 0.05 < pelvis[-1, 2] - 0.45 * seat.scale < 0.15
    assert pelvis[0, 2] > pelvis[-1, 2] + 0.25


def test_hat_goes_from_hand_to_head() -> None:
    scene = act("put on hat", 1)
    hat, performer = scene.props[0], scene.performers[0]
    to_palm = np.linalg.norm(palms(performer) - hat.centre_m[:, None], axis=-1).min(1)
    to_head = np.linalg.norm(joint(performer, "head") - hat.centre_m, axis=-1)
    assert to_palm[0] <= 0.09
    assert to_head[0] > 0.3
    assert to_head[-1] < 0.08
    assert to_palm[-1] > 0.5


def test_watch_is_on_the_wrist_of_the_idle_hand() -> None:
    scene = act("check watch", 1, shared=1)
    performer = scene.performers[0]
    distances = [
        np.linalg.norm(joint(performer, f"{s}_wrist") - scene.props[0].centre_m, axis=-1).max()
        for s in ("left", "right")
    ]
    assert min(distances) < 1e-4


@pytest.mark.parametrize("subject", range(1, 11))
def test_two_people_meet(subject: int) -> None:
    shake, push, five = (act(name, subject, frames=48, shared=subject) for name in NAMES[-3:])
    for scene in (shake, five, push):
        hips = [joint(p, "pelvis")[0] for p in scene.performers]
        assert 0.75 < np.linalg.norm(hips[0] - hips[1]) < 1.25
        looks = [p.head_rotation[0, :, 0] for p in scene.performers]
        assert looks[0] @ looks[1] < -0.5
    for scene, height in ((shake, 0.65), (five, 0.85)):
        one, two = (palms(p) for p in scene.performers)
        apart = np.linalg.norm(one[:, :, None] - two[:, None], axis=-1).reshape(48, -1).min(1)
        met = int(apart.argmin())
        assert apart[met] < 0.12
        tall = min(p.build.height_m for p in scene.performers)
        assert (one[met, :, 2].max() > height * tall) == (scene is five)
    pusher, pushed = push.performers
    chest = 0.5 * (joint(pushed, "neck") + joint(pushed, "spine"))
    assert np.linalg.norm(palms(pusher) - chest[:, None], axis=-1).mean(1).min() < 0.30
    assert np.linalg.norm(joint(pushed, "pelvis")[-1] - joint(pushed, "pelvis")[0]) > 0.12


def test_left_handers_use_the_left_hand() -> None:
    lifted = {}
    for hand in (0, 1):
        counts = np.zeros(2)
        for seed in range(12):
            z = palms(act("wave", 1, shared=seed, hand=hand).performers[0])[..., 2].max(0)
            counts[z.argmax()] += 1
        lifted[hand] = counts
    assert lifted[0][0] >= 9
    assert lifted[1][1] >= 9
    assert [n for n in range(1, 11) if left_handed(n)] == [4, 9, 10]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("frames", [1, 3])
def test_very_short_clips(name: str, frames: int) -> None:
    scene = act(name, 2, frames=frames)
    assert all(np.isfinite(p.joints_m).all() and len(p.joints_m) == frames for p in scene.performers)
    assert all(np.isfinite(p.rotation).all() and len(p.centre_m) == frames for p in scene.props)


def test_moved_turns_people_and_props_together() -> None:
    scene = act("drink")
    there = scene.moved(1.1, (0.4, -2.0))
    before = np.linalg.norm(scene.performers[0].joints_m - scene.props[0].centre_m[:, None], axis=-1)
    after = np.linalg.norm(there.performers[0].joints_m - there.props[0].centre_m[:, None], axis=-1)
    np.testing.assert_allclose(after, before, atol=1e-5)
    assert np.abs(there.performers[0].joints_m[..., 2] - scene.performers[0].joints_m[..., 2]).max() < 1e-6
    assert there.performers[0].joints_m[:, 0, 1].mean() < -1.0


def test_people_differ_and_dress_anew() -> None:
    builds = {person(n, 1, 7).build.height_m for n in range(1, 11)}
    assert len(builds) == 10
    assert looks_of(3, 1, 7) == looks_of(3, 1, 7)
    assert looks_of(3, 1, 7).top != looks_of(3, 2, 7).top
    assert looks_of(3, 1, 7).skin == looks_of(3, 2, 7).skin
    assert stream(1, "a", 2).random() != stream(1, "b", 2).random()


def test_standing_height_is_the_builds() -> None:
    who = person(4, 1, 7)
    body = Body(who, Clock(4, 12), np.random.default_rng(0))
    performer = body.perform(body.trunk(), {})
    top = joint(performer, "head")[:, 2].mean() + 0.07 * who.build.height_m
    assert abs(top - who.build.height_m) < 0.05


def test_minimum_jerk_and_keyframes() -> None:
    s = K.minimum_jerk(np.linspace(-1, 2, 301), 0.0, 1.0)
    assert s[0] == 0.0
    assert s[-1] == 1.0
    assert (np.diff(s) >= 0).all()
    np.testing.assert_allclose(s + s[::-1], 1.0, atol=1e-12)
    np.testing.assert_allclose(K.keyframes([0.0, 1.0, 2.0], [0, 1, 2], [3.0, -1.0, 5.0]), [3.0, -1.0, 5.0])
    assert K.keyframes([0.5], [0, 1], np.zeros((2, 3))).shape == (1, 3)
    with pytest.raises(ValueError, match="end > start"):
        K.minimum_jerk([0.0], 1.0, 1.0)
    with pytest.raises(ValueError, match="increasing times"):
        K.keyframes([0.0], [1, 0], [0.0, 1.0])
    with pytest.raises(ValueError, match="frames >= 1"):
        Clock(0, 12)


def test_two_bone_reaches_what_it_can() -> None:
    rng = np.random.default_rng(0)
    root, target, pole = (rng.normal(size=(500, 3)) for _ in range(3))
    target = root + 0.4 * target
    elbow, wrist = K.two_bone(root, target, pole, 0.3, 0.27)
    np.testing.assert_allclose(np.linalg.norm(elbow - root, axis=-1), 0.3, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(wrist - elbow, axis=-1), 0.27, atol=1e-9)
    distance = np.linalg.norm(target - root, axis=-1)
    reachable = (distance < 0.56) & (distance > 0.05)
    assert 50 < reachable.sum() < 450
    np.testing.assert_allclose(wrist[reachable], target[reachable], atol=1e-9)
    beyond = wrist[~reachable & (distance > 0.57)] - root[~reachable & (distance > 0.57)]
    np.testing.assert_allclose(np.linalg.norm(beyond, axis=-1), 0.995 * 0.57, atol=1e-9)
    # The elbow bends to the pole's side.
    axis = (target - root) / distance[:, None]
    assert (np.sum((elbow - root) * (pole - np.sum(pole * axis, -1, keepdims=True) * axis), -1) > 0).all()
    # Degenerate: no distance, or a pole along the limb.
    for t, p in ((np.zeros((1, 3)), np.ones((1, 3))), (np.array([[0.0, 0.0, 0.4]]), np.array([[0.0, 0.0, 1.0]]))):
        assert np.isfinite(K.two_bone(np.zeros((1, 3)), t, p, 0.3, 0.27)).all()
