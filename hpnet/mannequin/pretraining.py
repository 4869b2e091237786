"""Scenes for pretraining: rendered people whose actions, subjects, rooms and objects the benchmark does not have.

Subjects are numbered from 1000, rooms from 10,000, and the objects are others than the benchmark's; the motions are
either named ones (:data:`DEEDS`, :data:`DEEDS_OF_TWO`) or walks between random poses. Every scene has a caption that
says who wears what, and does what with which hand and object.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from .actions import Act, local, mixed, palm_of, prop
from .benchmark import ROOM_SEEDS
from .kinematics import OUTWARD, Floats, Trunk, blend, bump, frame_from, keyframes, minimum_jerk, moved, rotation
from .people import Person, person, stream
from .posture import Body, Clock
from .scene import Camera, Performer, Prop, Scene

Random = np.random.Generator
Tint = tuple[float, float, float]
TAU = 2.0 * np.pi
FPS = 12
FIRST_SUBJECT = 1000
COLOURS: dict[str, Tint] = {
    "red": (0.80, 0.10, 0.10), "orange": (0.95, 0.50, 0.08), "yellow": (0.93, 0.83, 0.15), "green": (0.14, 0.55, 0.18),
    "blue": (0.12, 0.25, 0.75), "purple": (0.45, 0.15, 0.60), "pink": (0.95, 0.55, 0.70), "brown": (0.40, 0.25, 0.13),
    "black": (0.08, 0.08, 0.09), "white": (0.92, 0.92, 0.90), "grey": (0.50, 0.50, 0.52),
}  # fmt: skip
WORDS = {"umbrella_closed": "umbrella", "teddy": "teddy bear", "remote": "remote control"}
"""What captions call a prop, where not by its kind."""
SMALL = {
    "ball": (0.25, 0.55), "box": (0.20, 0.45), "bottle": (0.6, 1.1), "spoon": (0.9, 1.5), "remote": (0.7, 1.4),
    "flower": (0.6, 1.2), "teddy": (0.4, 0.9), "kettle": (0.4, 0.8), "hammer": (0.5, 1.0), "dumbbell": (0.4, 0.8),
    "bag": (0.4, 0.8), "racket": (0.5, 0.9), "umbrella_closed": (0.4, 0.8), "broom": (0.3, 0.6),
}  # fmt: skip
"""Kinds for a hand at a random pose, and the scales that make them hand-sized."""


@dataclass(frozen=True)
class Deed:
    """One person doing something: ``phrase`` follows 'a person is'."""

    performer: Performer
    phrase: str
    props: tuple[Prop, ...] = ()
    furniture: tuple[Prop, ...] = ()


Doing = Callable[[Person, Clock, Random], Deed]


def _named_colour(rng: Random) -> tuple[str, Tint]:
    name = str(rng.choice(list(COLOURS)))
    r, g, b = np.clip(np.array(COLOURS[name]) * rng.uniform(0.88, 1.12) + rng.uniform(-0.03, 0.03, 3), 0.0, 1.0)
    return name, (float(r), float(g), float(b))


def _hand(side: int) -> str:
    return ("left hand", "right hand")[side]


def _at(trunk: Trunk, side: int, forward: ArrayLike, outward: ArrayLike, up: ArrayLike) -> Floats:
    """Palm at offsets from a shoulder, in arm lengths, numbers or (T,): (T, 3)."""
    parts = np.broadcast_arrays(np.zeros(trunk.frames), forward, np.asarray(outward) * OUTWARD[side], up)[1:]
    return trunk.from_shoulder(side, np.stack(parts, axis=-1) * trunk.bones.arm, upright=True)


def _wave(clock: Clock, rng: Random, slow: float, fast: float) -> Floats:
    """A sine of a random rate (Hz) and phase, (T,)."""
    return np.asarray(np.sin(TAU * (rng.uniform(slow, fast) * clock.seconds + rng.random())), np.float64)


def _raised(clock: Clock, rng: Random) -> Floats:
    """0..1: mostly up; some clips begin or end on the way."""
    start, rise = rng.uniform(-0.3, 0.12), rng.uniform(0.15, 0.3)
    end = rng.uniform(0.8, 1.3)
    return minimum_jerk(clock.share, start, start + rise) - minimum_jerk(clock.share, end, end + rise)


def _forearm(performer: Performer, side: int) -> Floats:
    """Unit vectors along a forearm, (T, 3)."""
    elbow = performer.joints_m[:, 7 + side].astype(np.float64)
    along = palm_of(performer, side) - elbow
    return np.asarray(along / np.linalg.norm(along, axis=-1, keepdims=True), np.float64)


def _upright(axis: Floats, front: Floats) -> Floats:
    """Frames whose z is ``axis`` and whose x is as near to ``front`` as that allows."""
    z = axis / np.linalg.norm(axis, axis=-1, keepdims=True)
    return frame_from(front - np.sum(front * z, -1, keepdims=True) * z, z)


def _tool(performer: Performer, side: int, kind: str, tint: Tint, scale: float, lift: float = 0.6) -> Prop:
    """A handled thing in the fist, standing off the forearm: ``lift`` 0 goes on along it, 1 stands square to it."""
    along = _forearm(performer, side)
    square = np.cross(along, np.cross(np.array([0.0, 0.0, 1.0]), along) + 1e-6)
    square /= np.linalg.norm(square, axis=-1, keepdims=True)
    axis = (1.0 - lift) * along + lift * square
    return prop(kind, palm_of(performer, side), _upright(axis, along), tint, scale)


def _between(performer: Performer, kind: str, tint: Tint, scale: float, trunk: Trunk) -> Prop:
    """A thing held in both hands."""
    middle = 0.5 * (palm_of(performer, 0) + palm_of(performer, 1))
    return prop(kind, middle, trunk.level(), tint, scale)


# --- deeds ------------------------------------------------------------------------------------------------------------


def _lift_dumbbell(who: Person, clock: Clock, rng: Random) -> Deed:
    body, side, (name, tint) = Body(who, clock, rng), who.style.hand, _named_colour(rng)
    up = 0.5 + 0.5 * _wave(clock, rng, 0.5, 1.1)
    overhead = bool(rng.random() < 0.4)
    both = bool(rng.random() < 0.35)
    trunk = body.trunk()
    palms = {}
    for s in (0, 1) if both else (side,):
        low, high = ((0.2, 0.25, 0.1), (0.1, 0.12, 0.93)) if overhead else ((0.12, 0.12, -0.92), (0.38, 0.08, -0.12))
        palms[s] = blend(_at(trunk, s, *low), _at(trunk, s, *high), up, (0.12, 0.0, 0.0))
    performer = body.perform(trunk, palms, {s: np.array((-0.2, 0.5 * OUTWARD[s], -0.8)) for s in palms})
    scale = float(rng.uniform(0.8, 1.2))
    level = trunk.level() @ rotation(0, np.full(clock.frames, np.pi / 2))
    things = tuple(prop("dumbbell", palm_of(performer, s), level, tint, scale) for s in palms)
    what = f"two {name} dumbbells" if both else f"a {name} dumbbell"
    where = "with both hands" if both else f"with the {_hand(side)}"
    return Deed(performer, f"lifting {what} {'over the head ' if overhead else ''}{where}", things)


def _throw_ball(who: Person, clock: Clock, rng: Random) -> Deed:
    body, side, (name, tint), t = Body(who, clock, rng), who.style.hand, _named_colour(rng), clock.share
    wind = rng.uniform(0.15, 0.4)
    go = wind + rng.uniform(0.10, 0.16)
    body.twist += OUTWARD[side] * 0.45 * bump(t, 0.0, wind, go) - OUTWARD[side] * 0.3 * bump(t, wind, go, 0.98)
    body.lean += 0.25 * bump(t, wind, go, 0.98) - 0.1 * bump(t, 0.0, wind, go)
    trunk = body.trunk()
    palm = blend(_at(trunk, side, 0.3, 0.0, -0.5), _at(trunk, side, -0.25, 0.35, 0.45), minimum_jerk(t, 0.0, wind))
    palm = blend(palm, _at(trunk, side, 0.75, -0.1, 0.25), minimum_jerk(t, wind, go), (0.0, 0.0, 0.2))
    palm = blend(palm, _at(trunk, side, 0.3, -0.2, -0.75), minimum_jerk(t, go, go + 0.2))
    performer = body.perform(trunk, {side: palm})
    at = palm_of(performer, side) + local(trunk.level(), (0.07, 0.0, 0.05))
    last = min(int(np.searchsorted(t, go - 0.02)), clock.frames - 1)
    flown = np.maximum(clock.seconds - clock.seconds[last], 0.0)[:, None]
    speed = np.array([rng.uniform(4.0, 6.0), 0.0, rng.uniform(0.5, 2.0)])
    flying = at[last] + flown * speed - np.array([0.0, 0.0, 4.9]) * flown**2
    flying[:, 2] = np.maximum(flying[:, 2], 0.12)
    at = np.where(np.arange(clock.frames)[:, None] <= last, at, flying)
    ball = prop("ball", at, trunk.level(), tint, float(rng.uniform(0.6, 1.0)))
    return Deed(performer, f"throwing a {name} ball with the {_hand(side)}", (ball,))


def _hammer(who: Person, clock: Clock, rng: Random) -> Deed:
    body, side, (name, tint) = Body(who, clock, rng), who.style.hand, _named_colour(rng)
    stroke = 0.5 + 0.5 * _wave(clock, rng, 1.0, 1.8)
    body.lean += 0.15 + 0.08 * (1 - stroke)
    body.head_pitch += 0.2
    trunk = body.trunk()
    palm = blend(_at(trunk, side, 0.62, -0.1, -0.35), _at(trunk, side, 0.35, 0.1, 0.25), stroke)
    performer = body.perform(trunk, {side: palm})
    tool = _tool(performer, side, "hammer", tint, float(rng.uniform(1.0, 1.3)), 0.7)
    return Deed(performer, f"hammering with a {name} hammer in the {_hand(side)}", (tool,))


def _sweep(who: Person, clock: Clock, rng: Random) -> Deed:
    body, side, (name, tint) = Body(who, clock, rng), who.style.hand, _named_colour(rng)
    across = _wave(clock, rng, 0.6, 1.2)
    body.lean += 0.25
    body.head_pitch += 0.25
    body.twist += 0.25 * across
    trunk = body.trunk()
    other = 1 - side
    palms = {
        side: _at(trunk, side, 0.50, -0.15 + 0.12 * across, -0.62),
        other: _at(trunk, other, 0.42, -0.25 - 0.05 * across, -0.15),
    }
    performer = body.perform(trunk, palms)
    top, low = palm_of(performer, other), palm_of(performer, side)
    down = low - top
    centre = low + 0.1 * down
    broom = prop("broom", centre, _upright(down, local(trunk.level(), (0.0, 1.0, 0.0))), tint, 0.9)
    return Deed(performer, f"sweeping the floor with a {name} broom", (broom,))


def _swing(kind: str, verb: str) -> Doing:
    def deed(who: Person, clock: Clock, rng: Random) -> Deed:
        body, side, (name, tint), t = Body(who, clock, rng), who.style.hand, _named_colour(rng), clock.share
        hit = rng.uniform(0.35, 0.6)
        s = keyframes(t, (0.0, hit - 0.15, hit + 0.1, 1.0), (0.3, -1.0, 1.0, 0.2))
        body.twist += -OUTWARD[side] * 0.45 * s
        trunk = body.trunk()
        angle = 1.2 * s
        high = rng.uniform(-0.5, 0.5)
        palm = _at(
            trunk, side, 0.75 * np.cos(angle) + 0.05, -0.75 * np.sin(angle) + 0.1, high + 0.25 * np.abs(s) - 0.15
        )
        performer = body.perform(trunk, {side: palm})
        tool = _tool(performer, side, kind, tint, float(rng.uniform(0.9, 1.15)), 0.25)
        thing = WORDS.get(kind, kind)
        return Deed(performer, f"{verb} a {name} {thing} with the {_hand(side)}", (tool,))

    return deed


def _steps(body: Body, clock: Clock, rng: Random, stride: float, lift: float) -> Floats:
    """Walk (or step on the spot, ``stride`` 0); returns the swing (T,) of the left leg, -1..1."""
    phase = rng.uniform(0.8, 1.2) * clock.seconds + rng.random()
    middle = float(np.mean(phase))
    body.ahead += stride * (phase - middle)
    for side in (0, 1):
        p = phase + 0.5 * side
        swing = np.clip((p - np.floor(p)) / 0.5, 0.0, 1.0)
        done = swing**3 * (10 + swing * (6 * swing - 15))
        # On the floor a foot stays where it is; in the air it goes on by one stride.
        body.ankles[side][:, 0] += stride * (np.floor(p) + done - 0.75 - middle - 0.5 * side + 0.5)
        body.ankles[side][:, 2] += lift * np.sin(np.pi * swing) ** 2
        body.foot_pitch[side] = body.foot_pitch[side] + 0.5 * np.sin(np.pi * swing) ** 2
    return np.asarray(np.sin(TAU * phase - 0.5 * np.pi), np.float64)


def _arm_swing(body: Body, trunk: Trunk, swing: Floats, wide: float) -> dict[int, Floats]:
    return {
        side: body.idle_palm(trunk, side)
        + local(trunk.level(), np.stack((-sign * wide * swing, 0 * swing, 0.25 * wide * swing**2), -1))
        for side, sign in enumerate(OUTWARD)
    }


def _walk(who: Person, clock: Clock, rng: Random) -> Deed:
    body = Body(who, clock, rng)
    swing = _steps(body, clock, rng, rng.uniform(0.5, 1.0), 0.09)
    trunk = body.trunk()
    palms = _arm_swing(body, trunk, swing, 0.2)
    if rng.random() < 0.6:
        return Deed(body.perform(trunk, palms), "walking")
    side, (name, tint) = who.style.hand, _named_colour(rng)
    performer = body.perform(trunk, palms)
    bag = prop("bag", palm_of(performer, side), trunk.level(), tint, float(rng.uniform(0.8, 1.1)))
    return Deed(performer, f"walking with a {name} bag in the {_hand(side)}", (bag,))


def _march(who: Person, clock: Clock, rng: Random) -> Deed:
    body = Body(who, clock, rng)
    swing = _steps(body, clock, rng, 0.0, rng.uniform(0.25, 0.45))
    for side in (0, 1):
        body.ankles[side][:, 0] += 0.5 * np.maximum(body.ankles[side][:, 2] - body.bones.ankle, 0.0)
    trunk = body.trunk()
    return Deed(body.perform(trunk, _arm_swing(body, trunk, swing, 0.35)), "marching on the spot")


def _carry_box(who: Person, clock: Clock, rng: Random) -> Deed:
    body, (name, tint) = Body(who, clock, rng), _named_colour(rng)
    walking = bool(rng.random() < 0.5)
    if walking:
        _steps(body, clock, rng, rng.uniform(0.4, 0.8), 0.08)
    scale = float(rng.uniform(0.6, 1.1))
    body.lean -= 0.06
    trunk = body.trunk()
    half, height = 0.18 * scale + 0.02, rng.uniform(-0.65, -0.35)
    palms = {
        s: trunk.from_chest((0.48 * trunk.bones.arm, sign * half, height * trunk.bones.arm))
        for s, sign in enumerate(OUTWARD)
    }
    performer = body.perform(trunk, palms)
    held = _between(performer, "box", tint, scale, trunk)
    return Deed(performer, f"{'walking with' if walking else 'carrying'} a {name} box in both hands", (held,))


def _lift_box(who: Person, clock: Clock, rng: Random) -> Deed:
    body, (name, tint), t = Body(who, clock, rng), _named_colour(rng), clock.share
    q = minimum_jerk(t, rng.uniform(0.05, 0.25), rng.uniform(0.6, 0.9))
    if rng.random() < 0.5:
        q = 1.0 - q
        phrase = f"putting a {name} box down on the floor"
    else:
        phrase = f"picking a {name} box up from the floor"
    low = 1.0 - q
    scale = float(rng.uniform(0.6, 1.0))
    body.rise -= 0.40 * body.bones.hip_height * low
    body.ahead -= 0.22 * low
    body.lean += 0.55 * low
    body.pelvis_pitch += 0.45 * low
    trunk = body.trunk()
    half = 0.18 * scale + 0.02
    palms = {}
    for s, sign in enumerate(OUTWARD):
        ground = np.tile((0.36, sign * half, 0.16 * scale + 0.05), (clock.frames, 1))
        palms[s] = blend(ground, trunk.from_chest((0.30, sign * half, -0.28)), q, (0.08, 0.0, 0.0))
    performer = body.perform(trunk, palms)
    return Deed(performer, phrase, (_between(performer, "box", tint, scale, trunk),))


def _pour(who: Person, clock: Clock, rng: Random) -> Deed:
    body, side, (name, tint), t = Body(who, clock, rng), who.style.hand, _named_colour(rng), clock.share
    tip = bump(t, rng.uniform(0.1, 0.3), 0.5, rng.uniform(0.8, 1.0))
    body.head_pitch += 0.25
    trunk = body.trunk()
    palm = blend(_at(trunk, side, 0.5, 0.05, -0.5), _at(trunk, side, 0.62, -0.05, -0.2), tip)
    performer = body.perform(trunk, {side: palm})
    kind = str(rng.choice(("kettle", "bottle")))
    tilt = trunk.level() @ rotation(1, 1.0 * tip)
    thing = prop(
        kind,
        palm_of(performer, side) + local(trunk.level(), (0.07, 0.0, 0.0)),
        tilt,
        tint,
        float(rng.uniform(0.9, 1.2)),
    )
    return Deed(performer, f"pouring from a {name} {kind} with the {_hand(side)}", (thing,))


def _stir(who: Person, clock: Clock, rng: Random) -> Deed:
    body, side, (name, tint) = Body(who, clock, rng), who.style.hand, _named_colour(rng)
    turn = TAU * (rng.uniform(1.0, 1.8) * clock.seconds + rng.random())
    body.head_pitch += 0.35
    body.lean += 0.1
    trunk = body.trunk()
    palm = _at(trunk, side, 0.5 + 0.12 * np.cos(turn), -0.15 + 0.12 * np.sin(turn), -0.48)
    performer = body.perform(trunk, {side: palm})
    down = local(trunk.level(), (0.25, 0.0, -1.0))
    spoon = prop("spoon", palm_of(performer, side), _upright(down, local(trunk.level(), (1.0, 0.0, 0.0))), tint, 1.5)
    return Deed(performer, f"stirring with a {name} spoon in the {_hand(side)}", (spoon,))


def _point(who: Person, clock: Clock, rng: Random) -> Deed:
    body, side, up = Body(who, clock, rng), who.style.hand, _raised(clock, rng)
    out, high = rng.uniform(-0.3, 0.9), rng.uniform(-0.2, 0.5)
    body.head_yaw += up * OUTWARD[side] * 0.5 * out
    trunk = body.trunk()
    palm = blend(body.idle_palm(trunk, side), _at(trunk, side, 1.0 - 0.5 * abs(out), out, high), up, (0.1, 0.0, 0.0))
    performer = body.perform(trunk, {side: palm})
    if rng.random() < 0.5:
        return Deed(performer, f"pointing with the {_hand(side)}")
    name, tint = _named_colour(rng)
    remote = _tool(performer, side, "remote", tint, float(rng.uniform(1.0, 1.4)), 0.15)
    return Deed(performer, f"pressing a {name} remote control in the {_hand(side)}", (remote,))


def _stretch(who: Person, clock: Clock, rng: Random) -> Deed:
    body, up = Body(who, clock, rng), _raised(clock, rng)
    body.side_lean += 0.25 * up * _wave(clock, rng, 0.3, 0.6)
    body.head_pitch -= 0.2 * up
    trunk = body.trunk()
    wide = rng.uniform(-0.1, 0.6)
    palms = {
        s: blend(body.idle_palm(trunk, s), _at(trunk, s, 0.05, wide, 0.97 - 0.4 * wide), up, (0.2, 0.2 * sign, 0.0))
        for s, sign in enumerate(OUTWARD)
    }
    return Deed(body.perform(trunk, palms), "stretching both arms up")


def _bow(who: Person, clock: Clock, rng: Random) -> Deed:
    body = Body(who, clock, rng)
    down = bump(clock.share, rng.uniform(0.0, 0.2), rng.uniform(0.4, 0.6), rng.uniform(0.8, 1.1))
    depth = rng.uniform(0.5, 1.2)
    body.lean += 0.6 * depth * down
    body.pelvis_pitch += 0.6 * depth * down
    body.ahead -= 0.15 * down * depth
    touching = depth > 1.0
    trunk = body.trunk()
    palms = {}
    if touching:
        for s, sign in enumerate(OUTWARD):
            toes = np.tile((0.18, sign * 0.12, 0.12), (clock.frames, 1))
            palms[s] = blend(body.idle_palm(trunk, s), toes, down)
    return Deed(body.perform(trunk, palms), "bending down to touch the toes" if touching else "bowing")


def _squat(who: Person, clock: Clock, rng: Random) -> Deed:
    body = Body(who, clock, rng)
    low = 0.5 - 0.5 * np.cos(TAU * (rng.uniform(0.4, 0.8) * clock.seconds + rng.random()))
    body.rise -= 0.42 * body.bones.hip_height * low
    body.ahead -= 0.14 * low
    body.lean += 0.35 * low
    body.pelvis_pitch += 0.3 * low
    for side, sign in enumerate(OUTWARD):
        body.ankles[side][:, 1] += sign * 0.06
    trunk = body.trunk()
    palms = {s: blend(body.idle_palm(trunk, s), _at(trunk, s, 0.9, -0.05, -0.05), low) for s in (0, 1)}
    return Deed(body.perform(trunk, palms), "doing squats")


def _lunge(who: Person, clock: Clock, rng: Random) -> Deed:
    body, side = Body(who, clock, rng), int(rng.integers(2))
    low = _raised(clock, rng) * (0.75 + 0.25 * _wave(clock, rng, 0.4, 0.8))
    body.rise -= 0.22 * body.bones.hip_height * low
    body.ankles[side][:, 0] += 0.45 * low
    body.ankles[1 - side][:, 0] -= 0.35 * low
    body.ankles[1 - side][:, 2] += 0.05 * low
    body.foot_pitch[1 - side] = body.foot_pitch[1 - side] + 0.6 * low
    trunk = body.trunk()
    palms = {
        s: blend(body.idle_palm(trunk, s), trunk.from_pelvis((0.05, sign * 0.2, 0.05)), low)
        for s, sign in enumerate(OUTWARD)
    }
    return Deed(body.perform(trunk, palms), "doing a lunge")


def _dance(who: Person, clock: Clock, rng: Random) -> Deed:
    body = Body(who, clock, rng)
    beat = TAU * (rng.uniform(0.8, 1.4) * clock.seconds + rng.random())
    body.aside += 0.06 * np.sin(beat)
    body.pelvis_roll += 0.10 * np.sin(beat)
    body.rise -= 0.05 * (0.5 + 0.5 * np.cos(2 * beat))
    body.twist += 0.3 * np.sin(beat + rng.uniform(0, TAU))
    body.head_roll += 0.12 * np.sin(beat)
    trunk = body.trunk()
    palms = {}
    for s in (0, 1):
        shift, a = rng.uniform(0, TAU), rng.uniform(-0.3, 0.7)
        palms[s] = _at(
            trunk,
            s,
            0.35 + 0.2 * np.cos(beat + shift),
            0.35 + 0.15 * np.sin(beat + shift),
            a + 0.25 * np.sin(beat + 2 * shift),
        )
    return Deed(body.perform(trunk, palms), "dancing")


def _salute(who: Person, clock: Clock, rng: Random) -> Deed:
    body, side, up = Body(who, clock, rng), who.style.hand, _raised(clock, rng)
    trunk = body.trunk()
    brow = trunk.from_head((0.095, OUTWARD[side] * 0.10, 0.05))
    palm = blend(body.idle_palm(trunk, side), brow, up, (0.1, OUTWARD[side] * 0.15, 0.0))
    pole = np.array((0.1, OUTWARD[side] * 1.0, -0.4))
    return Deed(body.perform(trunk, {side: palm}, {side: pole}), f"saluting with the {_hand(side)}")


def _smell_flower(who: Person, clock: Clock, rng: Random) -> Deed:
    body, side, (name, tint), up = Body(who, clock, rng), who.style.hand, _named_colour(rng), _raised(clock, rng)
    sign = OUTWARD[side]
    body.head_pitch += 0.15 * up
    trunk = body.trunk()
    scale = float(rng.uniform(0.7, 1.0))
    below = trunk.from_head((0.17, sign * 0.03, -0.06 - 0.22 * scale))
    palm = blend(_at(trunk, side, 0.45, 0.05, -0.6), below, up, (0.08, 0.0, 0.0))
    performer = body.perform(trunk, {side: palm}, {side: np.array((0.3, sign * 0.4, -0.9))})
    flower = prop("flower", palm_of(performer, side), mixed(trunk.level(), trunk.level(), up), tint, scale)
    return Deed(performer, f"smelling a {name} flower in the {_hand(side)}", (flower,))


def _hold_teddy(who: Person, clock: Clock, rng: Random) -> Deed:
    body, (name, tint) = Body(who, clock, rng), _named_colour(rng)
    rock = _wave(clock, rng, 0.4, 0.9)
    body.side_lean += 0.10 * rock
    body.head_pitch += 0.2
    trunk = body.trunk()
    at = rng.uniform(-0.35, -0.2)
    palms = {s: trunk.from_chest((0.25, sign * 0.03, at + 0.05 * sign)) for s, sign in enumerate(OUTWARD)}
    performer = body.perform(trunk, palms)
    bear = prop("teddy", trunk.from_chest((0.20, 0.0, at + 0.08)), trunk.level(), tint, float(rng.uniform(0.9, 1.3)))
    return Deed(performer, f"holding a {name} teddy bear in both arms", (bear,))


def _shake_bottle(who: Person, clock: Clock, rng: Random) -> Deed:
    body, side, (name, tint) = Body(who, clock, rng), who.style.hand, _named_colour(rng)
    shake, high = _wave(clock, rng, 1.8, 3.0), rng.uniform(-0.5, 0.5)
    trunk = body.trunk()
    performer = body.perform(trunk, {side: _at(trunk, side, 0.5, rng.uniform(-0.1, 0.3), high + 0.12 * shake)})
    tilt = trunk.level() @ rotation(1, 0.3 * shake)
    bottle = prop("bottle", palm_of(performer, side), tilt, tint, float(rng.uniform(1.0, 1.3)))
    return Deed(performer, f"shaking a {name} bottle with the {_hand(side)}", (bottle,))


def _bounce_ball(who: Person, clock: Clock, rng: Random) -> Deed:
    body, side, (name, tint) = Body(who, clock, rng), who.style.hand, _named_colour(rng)
    phase = rng.uniform(1.0, 1.5) * clock.seconds + rng.random()
    high = np.abs(np.cos(np.pi * phase))
    body.lean += 0.15
    body.head_pitch += 0.3
    trunk = body.trunk()
    palm = _at(trunk, side, 0.35, 0.15, -0.70 + 0.18 * high)
    performer = body.perform(trunk, {side: palm})
    spot = palm_of(performer, side)
    top = spot[:, 2] - 0.12
    at = np.stack((spot[:, 0] + 0.03, spot[:, 1], 0.12 + (top - 0.12) * high), axis=-1)
    ball = prop("ball", at, trunk.level(), tint, 1.0)
    return Deed(performer, f"bouncing a {name} ball with the {_hand(side)}", (ball,))


def _still(pose: str) -> Doing:
    """Standing with the arms in one of the ways that people stand."""

    def deed(who: Person, clock: Clock, rng: Random) -> Deed:
        body = Body(who, clock, rng)
        look = 0.7 * _wave(clock, rng, 0.2, 0.5) if pose == "looking around" else 0 * clock.share
        body.head_yaw += look
        shrug = bump(clock.share, 0.2, 0.45, 0.8)
        trunk = body.trunk()
        palms, poles = {}, {}
        for s, sign in enumerate(OUTWARD):
            poles[s] = np.array((-0.5, sign * 0.9, -0.4))
            if pose == "standing with the hands on the hips":
                palms[s] = trunk.from_pelvis((0.06, sign * 0.20, 0.10))
            elif pose == "standing with crossed arms":
                palms[s] = trunk.from_chest((0.20, -sign * 0.14, -0.28 + 0.03 * sign))
                poles[s] = np.array((0.2, sign * 0.5, -0.9))
            elif pose == "holding the hands behind the back":
                palms[s] = trunk.from_pelvis((-0.17, -sign * 0.03, 0.05))
            elif pose == "spreading both arms":
                palms[s] = _at(trunk, s, 0.1, 0.97, -0.1 + 0.2 * look)
            elif pose == "shrugging":
                palms[s] = blend(body.idle_palm(trunk, s), _at(trunk, s, 0.42, 0.42, -0.45), shrug)
                poles[s] = np.array((-0.6, sign * 0.1, -0.8))
            elif pose == "holding the head in both hands":
                palms[s] = trunk.from_head((0.02, sign * 0.115, 0.03))
                poles[s] = np.array((0.4, sign * 0.9, -0.3))
        return Deed(body.perform(trunk, palms, poles), pose)

    return deed


def _legs(body: Body, key: str, side: int, share: Floats) -> None:
    """Add one way of placing pelvis and legs, as far as ``share`` (T,) says."""
    hip, other = body.bones.hip_height, 1 - side
    sign = OUTWARD[side]
    if key == "wide":
        for s, away in enumerate(OUTWARD):
            body.ankles[s][:, 1] += away * 0.18 * share
        body.rise -= 0.05 * share
    elif key == "crouch":
        body.rise -= 0.45 * hip * share
        body.ahead -= 0.12 * share
        body.lean += 0.35 * share
    elif key == "knee up":
        body.ankles[side] += share[:, None] * np.array((0.22, 0.0, 0.42))
        body.aside -= sign * 0.08 * share
    elif key == "leg out":
        body.ankles[side] += share[:, None] * np.array((0.1, sign * 0.45, 0.35))
        body.aside -= sign * 0.10 * share
        body.side_lean += sign * 0.10 * share
    elif key == "stride":
        body.ankles[side][:, 0] += 0.30 * share
        body.ankles[other][:, 0] -= 0.22 * share
        body.rise -= 0.06 * share
    elif key == "kneel":
        body.rise -= 0.46 * hip * share
        body.ankles[side][:, 0] += 0.18 * share
        body.ankles[other] += share[:, None] * np.array((-0.42, 0.0, 0.02))
        body.foot_pitch[other] = body.foot_pitch[other] + 1.2 * share
    elif key == "sit":
        body.rise += share * (0.50 - hip - body.rise)
        body.ahead -= 0.40 * share
        body.lean += 0.08 * share


LEG_KEYS = ("stand", "stand", "stand", "wide", "crouch", "knee up", "leg out", "stride", "kneel")


def _palm_targets(trunk: Trunk, side: int, rng: Random) -> Floats:
    """A random place for a palm, (T, 3): half of them near the face or the chest, the rest all over the reach."""
    sign, kind = OUTWARD[side], rng.random()
    if kind < 0.34:
        return trunk.from_head((rng.uniform(0.04, 0.24), sign * rng.uniform(-0.05, 0.16), rng.uniform(-0.16, 0.16)))
    if kind < 0.52:
        return trunk.from_chest((rng.uniform(0.22, 0.42), sign * rng.uniform(-0.15, 0.2), rng.uniform(-0.40, -0.05)))
    if kind < 0.60:
        return trunk.from_pelvis((rng.uniform(-0.15, 0.3), sign * rng.uniform(0.05, 0.28), rng.uniform(-0.1, 0.2)))
    direction = rng.normal(size=3) * (1.0, 1.0, 1.2) + (0.35, 0.5, 0.1)
    direction *= rng.uniform(0.5, 0.98) / np.linalg.norm(direction)
    return _at(trunk, side, *direction)


def _random_poses(who: Person, clock: Clock, rng: Random) -> Deed:
    """From one random pose to another, and mostly with something in a hand."""
    body, t = Body(who, clock, rng), clock.share
    seated = bool(rng.random() < 0.2)
    count = int(rng.integers(1, 4))
    ends = np.sort(rng.uniform(0.0, 1.0, count))
    starts = np.concatenate(([-1.0], ends[:-1]))
    begin = [float(max(a, b - rng.uniform(0.25, 0.6))) for a, b in zip(starts, ends, strict=True)]
    moves = [minimum_jerk(t, a, max(float(b), a + 0.05) + 0.1) for a, b in zip(begin, ends, strict=True)]
    # Weights (T,) of count + 1 poses that sum to one.
    weights = [
        np.asarray(np.prod(moves[:k], axis=0) * (1.0 - moves[k] if k < count else 1.0), np.float64) * np.ones_like(t)
        for k in range(count + 1)
    ]
    total = np.sum(weights, axis=0)
    weights = [w / total for w in weights]
    for w in weights:
        _legs(body, "sit" if seated else str(rng.choice(LEG_KEYS)), int(rng.integers(2)), w)
        body.lean += w * rng.normal(0.05, 0.18)
        body.side_lean += w * rng.normal(0.0, 0.12)
        body.twist += w * rng.normal(0.0, 0.25)
        body.head_yaw += w * rng.normal(0.0, 0.35)
        body.head_pitch += w * rng.normal(0.1, 0.2)
        body.head_roll += w * rng.normal(0.0, 0.1)
    trunk = body.trunk()
    palms, poles = {}, {}
    for s, sign in enumerate(OUTWARD):
        if rng.random() < 0.2:
            continue
        palms[s] = np.asarray(sum(w[:, None] * _palm_targets(trunk, s, rng) for w in weights), np.float64)
        poles[s] = np.array((rng.uniform(-0.6, 0.5), sign * rng.uniform(0.1, 1.0), rng.uniform(-0.9, -0.2)))
    performer = body.perform(trunk, palms, poles)
    furniture: tuple[Prop, ...] = ()
    if seated:
        name, tint = _named_colour(rng)
        scale = 1.45
        at = np.array([[float(np.mean(trunk.pelvis_m[:, 0])) - 0.02, 0.0, 0.13 * scale]], np.float32)
        furniture = (Prop("box", at, np.eye(3, dtype=np.float32)[None], tint, scale),)
    things: list[Prop] = []
    held: list[str] = []
    for s in (who.style.hand, 1 - who.style.hand):
        if rng.random() < (0.75 if not things else 0.2):
            kind = str(rng.choice(list(SMALL)))
            word, tint = _named_colour(rng)
            offset = local(trunk.level(), rng.normal(0.0, 0.03, 3))
            spin = rotation(2, np.full(clock.frames, rng.uniform(0, TAU))) @ rotation(
                1, np.full(clock.frames, rng.normal(0.0, 0.7))
            )
            frame = trunk.level() @ spin
            centre = palm_of(performer, s) + offset
            things.append(prop(kind, centre, frame, tint, float(rng.uniform(*SMALL[kind]))))
            held.append(f"a {word} {WORDS.get(kind, kind)} in the {_hand(s)}")
    posture = f"sitting on a {name} box" if seated else str(rng.choice(("moving around", "posing", "standing")))
    first = "holding " if held and not seated else f"{posture} and holding " if held else posture
    phrase = first + " and ".join(held)
    return Deed(performer, phrase, tuple(things), furniture)


DEEDS: dict[str, Doing] = {
    "lift dumbbell": _lift_dumbbell, "throw ball": _throw_ball, "hammer": _hammer, "sweep": _sweep,
    "swing racket": _swing("racket", "swinging"), "swing umbrella": _swing("umbrella_closed", "waving"), "walk": _walk,
    "march": _march, "carry box": _carry_box, "lift box": _lift_box, "pour": _pour, "stir": _stir, "point": _point,
    "stretch": _stretch, "bow": _bow, "squat": _squat, "lunge": _lunge, "dance": _dance, "salute": _salute,
    "smell flower": _smell_flower, "hold teddy": _hold_teddy, "shake bottle": _shake_bottle,
    "bounce ball": _bounce_ball, "hands on hips": _still("standing with the hands on the hips"),
    "arms crossed": _still("standing with crossed arms"), "hands behind": _still("holding the hands behind the back"),
    "spread arms": _still("spreading both arms"), "shrug": _still("shrugging"), "look around": _still("looking around"),
    "hold head": _still("holding the head in both hands"), "random poses": _random_poses,
}  # fmt: skip
"""What one person does, by name."""


# --- two people -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class JointDeed:
    """Two people doing something together, facing each other along x around the origin."""

    performers: tuple[Performer, Performer]
    phrase: str
    props: tuple[Prop, ...] = ()


def _face(first: Performer, second: Performer, distance: float) -> tuple[Performer, Performer]:
    return moved(first, 0.0, (-distance / 2, 0.0)), moved(second, np.pi, (distance / 2, 0.0))


def _hug(pair: tuple[Person, Person], clock: Clock, rng: Random) -> JointDeed:
    close = _raised(clock, rng)
    distance = rng.uniform(0.75, 0.95)
    side = rng.uniform(0.04, 0.09)
    done = []
    for who in pair:
        body = Body(who, clock, rng)
        body.ahead += close * (distance - 0.34) / 2
        body.aside += close * side
        body.lean += 0.10 * close
        for foot in (0, 1):
            body.ankles[foot][:, 0] += close * (distance - 0.45) / 2
            body.ankles[foot][:, 1] += close * side
        trunk = body.trunk()
        palms = {}
        for s, sign in enumerate(OUTWARD):
            around = trunk.from_chest((0.40, sign * 0.04, -0.18 - 0.06 * sign))
            palms[s] = blend(body.idle_palm(trunk, s), around, close, (0.0, sign * 0.25, 0.0))
        poles = {s: np.array((0.2, sign * 1.0, -0.4)) for s, sign in enumerate(OUTWARD)}
        done.append(body.perform(trunk, palms, poles))
    return JointDeed(_face(done[0], done[1], distance), "hugging each other")


def _pass_thing(pair: tuple[Person, Person], clock: Clock, rng: Random) -> JointDeed:
    kind = str(rng.choice(("box", "ball", "teddy", "bottle", "bag")))
    (name, tint), t = _named_colour(rng), clock.share
    distance, change = rng.uniform(1.0, 1.25), rng.uniform(0.4, 0.6)
    scale = float(rng.uniform(0.6, 0.9))
    half = 0.18 * scale if kind == "box" else 0.10 * scale
    height = 1.08
    bodies, holds = [], []
    for k, who in enumerate(pair):
        body = Body(who, clock, rng)
        has = 1.0 - minimum_jerk(t, change, change + 0.3) if k == 0 else minimum_jerk(t, change - 0.3, change)
        toward = bump(t, change - 0.35, change, change + 0.35)
        body.lean += 0.12 * toward
        trunk = body.trunk()
        palms = {}
        for s, sign in enumerate(OUTWARD):
            own = trunk.from_chest((0.30, sign * half, -0.28))
            meet = np.tile((distance / 2, sign * half, height), (clock.frames, 1))
            palms[s] = blend(blend(body.idle_palm(trunk, s), own, np.maximum(has, toward)), meet, toward)
        performer = body.perform(trunk, palms)
        bodies.append(performer)
    first, second = _face(bodies[0], bodies[1], distance)
    for performer in (first, second):
        holds.append(0.5 * (palm_of(performer, 0) + palm_of(performer, 1)))
    centre = blend(holds[0], holds[1], minimum_jerk(t, change - 0.04, change + 0.04))
    level = np.tile(np.eye(3), (clock.frames, 1, 1))
    thing = prop(kind, centre, level, tint, scale)
    return JointDeed((first, second), f"passing a {name} {WORDS.get(kind, kind)} to each other", (thing,))


def _bow_together(pair: tuple[Person, Person], clock: Clock, rng: Random) -> JointDeed:
    first, second = (_bow(who, clock, rng).performer for who in pair)
    return JointDeed(_face(first, second, rng.uniform(1.3, 1.6)), "bowing to each other")


def _dance_together(pair: tuple[Person, Person], clock: Clock, rng: Random) -> JointDeed:
    distance = rng.uniform(0.6, 0.8)
    beat = TAU * (rng.uniform(0.5, 0.9) * clock.seconds + rng.random())
    done = []
    for k, who in enumerate(pair):
        body = Body(who, clock, rng)
        sign = 1.0 if k == 0 else -1.0
        body.aside += sign * 0.10 * np.sin(beat)
        body.rise -= 0.03 * (0.5 + 0.5 * np.cos(2 * beat))
        trunk = body.trunk()
        palms = {}
        for s, out in enumerate(OUTWARD):
            palms[s] = np.stack(
                (
                    np.full(clock.frames, distance / 2),
                    out * 0.38 + sign * 0.12 * np.sin(beat),
                    1.25 + sign * out * 0.10 * np.sin(beat),
                ),
                axis=-1,
            )
        done.append(body.perform(trunk, palms))
    return JointDeed(_face(done[0], done[1], distance), "dancing together hand in hand")


DEEDS_OF_TWO: dict[str, Callable[[tuple[Person, Person], Clock, Random], JointDeed]] = {
    "hug": _hug, "pass": _pass_thing, "bow to each other": _bow_together, "dance together": _dance_together,
}  # fmt: skip
"""What two people do together, by name."""


# --- scenes -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Dressed:
    person: Person
    shirt: str
    trousers: str


def _somebody(rng: Random, seed: int) -> _Dressed:
    """A subject beyond the benchmark's, in clothes whose colours have names."""
    who = person(FIRST_SUBJECT + int(rng.integers(1_000_000)), 0, seed)
    (shirt, top), (trousers, bottom) = _named_colour(rng), _named_colour(rng)
    looks = replace(who.looks, top=top, bottom=bottom)
    if looks.pattern != "plain":
        shirt = f"{shirt} {'striped' if looks.pattern == 'stripes' else 'checked'}"
    style = replace(who.style, hand=int(rng.integers(2)), speed=float(rng.uniform(0.75, 1.3)))
    return _Dressed(replace(who, looks=looks, style=style), shirt, trousers)


NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
EMPTY = ("an empty room", "a room with nobody in it", "a room without people", "an empty place indoors")


def _who(rng: Random, dressed: _Dressed) -> str:
    shirt, trousers = dressed.shirt, dressed.trousers
    return str(
        rng.choice(
            (
                "a person",
                "somebody",
                f"a person in a {shirt} shirt",
                f"a person in a {shirt} shirt",
                f"a person in a {shirt} top",
                f"a person wearing a {shirt} shirt and {trousers} trousers",
                f"a person in {trousers} trousers",
                f"someone dressed in {shirt.split()[0]} and {trousers}",
            )
        )
    )


def _sentence(rng: Random, subject: str, phrase: str) -> str:
    return str(
        rng.choice(
            (
                f"{subject} is {phrase}",
                f"{subject} is {phrase}",
                f"{subject} {phrase}",
                f"a video of {subject} {phrase}",
                f"in a room {subject} is {phrase}",
                f"we see {subject} {phrase}",
            )
        )
    )


def _camera(rng: Random, crowd: bool) -> Camera:
    share, fov = rng.uniform(0.28, 0.60) if crowd else rng.uniform(0.36, 0.72), rng.uniform(32.0, 50.0)
    distance = 1.72 / share / (2.0 * np.tan(np.radians(fov / 2)))
    azimuth, height = np.radians(rng.uniform(-60.0, 60.0)), rng.uniform(0.7, 2.3)
    target = np.array((rng.uniform(-0.1, 0.1), rng.uniform(-0.25, 0.25), rng.uniform(0.75, 1.1)))
    across = np.sqrt(max(distance**2 - (height - target[2]) ** 2, 1.0))
    position = target + np.array((across * np.cos(azimuth), across * np.sin(azimuth), height - target[2]))
    return Camera(
        (float(position[0]), float(position[1]), float(position[2])),
        (float(target[0]), float(target[1]), float(target[2])),
        float(fov),
    )


def _yaw(rng: Random) -> float:
    """Mostly towards the cameras, often sideways or turned away."""
    return float(np.radians(rng.uniform(-60.0, 60.0) if rng.random() < 0.6 else rng.uniform(-180.0, 180.0)))


def _places(rng: Random, count: int) -> list[tuple[float, float]]:
    """Spots on the floor at least 0.75 m apart (0.45 m where the room gets full)."""
    wide = 0.25 if count == 1 else 0.75 + 0.2 * count
    spots: list[tuple[float, float]] = []
    for attempt in range(200 * count):
        spot = (float(rng.uniform(-0.7, 0.7) * min(wide, 1.2)), float(rng.uniform(-1.0, 1.0) * wide))
        apart = 0.75 if attempt < 100 * count else 0.45
        if all(np.hypot(spot[0] - x, spot[1] - y) > apart for x, y in spots):
            spots.append(spot)
        if len(spots) == count:
            break
    return spots


def random_scene(seed: int, frames: int, fps: float = FPS) -> tuple[Scene, str]:
    """One scene for pretraining and its caption.

    Args:
        seed: decides everything.
        frames, fps: T and how many make a second; fewer a second show more of an action.

    Returns:
        The scene: nobody (one in 16), one person (half), two (a third: together or each on their own) or three to six;
        and the caption, lower case without a full stop.
    """
    rng = stream(seed, "pretraining scene")
    clock = Clock(frames, fps)
    kind = rng.random()
    acts: list[Act] = []
    if kind < 0.06:
        thing, what = _lying(clock, rng)
        acts.append(Act((), (thing,)))
        caption = f"{rng.choice(EMPTY)}{what}"
    elif kind < 0.24:
        first, second = _somebody(rng, seed), _somebody(rng, seed)
        deed = DEEDS_OF_TWO[str(rng.choice(list(DEEDS_OF_TWO)))]((first.person, second.person), clock, rng)
        act = Act(deed.performers, deed.props)
        acts.append(
            act.moved(float(rng.uniform(-np.pi, np.pi)), (float(rng.uniform(-0.2, 0.2)), float(rng.uniform(-0.2, 0.2))))
        )
        pairs = (
            "two people",
            "two people",
            "two persons",
            f"a person in a {first.shirt} shirt and a person in a {second.shirt} shirt",
        )
        phrase = f"are {deed.phrase}" if rng.random() < 0.7 else deed.phrase
        caption = f"{rng.choice(pairs)} {phrase}"
    else:
        count = 1 if kind < 0.74 else 2 if kind < 0.88 else int(rng.integers(3, 7))
        people = [_somebody(rng, seed) for _ in range(count)]
        spots = _places(rng, count)
        sentences = []
        for who, spot in zip(people, spots, strict=False):
            name = "random poses" if rng.random() < 0.35 else str(rng.choice(list(DEEDS)))
            deed_of_one = DEEDS[name](who.person, clock, rng)
            act = Act((deed_of_one.performer,), deed_of_one.props, deed_of_one.furniture)
            acts.append(act.moved(_yaw(rng), spot))
            sentences.append((_who(rng, who), deed_of_one.phrase))
        caption = _caption(rng, sentences)
    crowd = sum(len(a.performers) for a in acts) > 1
    return (
        Scene(
            performers=tuple(p for a in acts for p in a.performers),
            props=tuple(p for a in acts for p in a.props),
            room_seed=ROOM_SEEDS + int(rng.integers(1_000_000)),
            camera=_camera(rng, crowd),
            noise_seed=int(rng.integers(2**31)),
            furniture=tuple(p for a in acts for p in a.furniture),
        ),
        re.sub(r"\ba (?=[aeiou])", "an ", caption),
    )


def _lying(clock: Clock, rng: Random) -> tuple[Prop, str]:
    """Something that was left on the floor, and how a caption goes on about it."""
    kind = str(rng.choice(("box", "ball", "teddy", "bottle", "kettle")))
    rest = {"box": 0.13, "ball": 0.115, "teddy": 0.17, "bottle": 0.1, "kettle": 0.1}[kind]
    name, tint = _named_colour(rng)
    at = np.tile((rng.uniform(-0.8, 0.8), rng.uniform(-1.2, 1.2), rest), (clock.frames, 1))
    frame = rotation(2, np.full(clock.frames, rng.uniform(0.0, TAU)))
    what = f" with a {name} {WORDS.get(kind, kind)} on the floor" if rng.random() < 0.6 else ""
    return prop(kind, at, frame, tint, 1.0), what


def _caption(rng: Random, sentences: list[tuple[str, str]]) -> str:
    if len(sentences) == 1:
        return _sentence(rng, *sentences[0])
    if len(sentences) == 2:
        (a, does_a), (b, does_b) = sentences
        return str(
            rng.choice(
                (
                    f"{a} is {does_a} and {b} is {does_b}",
                    f"{a} is {does_a} while {b} is {does_b}",
                    f"two people, {a} {does_a} and {b} {does_b}",
                )
            )
        )
    count = NUMBERS[len(sentences)]
    subject, phrase = sentences[int(rng.integers(len(sentences)))]
    return str(
        rng.choice(
            (f"{count} people in a room", f"a group of {count} people", f"{count} people, {subject} is {phrase}")
        )
    )
