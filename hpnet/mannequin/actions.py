"""The benchmark's 18 actions.

A constructor gets the people (one, or the subject and the partner), the clock and two random streams, and returns an
:class:`Act` at the origin facing +x. ``shared`` is the same stream for both actions of a pair: everything that shows in
the pose of an object pair comes from it, so the two actions of such a pair have *identical* motions and differ in the
object alone. ``own`` belongs to one action: object colours, and the timing of the two orders of an order pair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .kinematics import JOINT, OUTWARD, Floats, Trunk, blend, bump, frame_from, keyframes, minimum_jerk, moved, rotation
from .people import Person, colour, object_colour
from .posture import Body, Clock
from .scene import Performer, Prop

Random = np.random.Generator
TAU = 2.0 * np.pi


@dataclass(frozen=True)
class Act:
    """What happens, without room and camera."""

    performers: tuple[Performer, ...]
    props: tuple[Prop, ...] = ()
    furniture: tuple[Prop, ...] = ()

    def moved(self, yaw: float, shift_m: tuple[float, float] = (0.0, 0.0)) -> Act:
        """The same, turned by ``yaw`` about the vertical, then shifted along the floor."""
        matrix = rotation(2, np.array(yaw)).astype(np.float32)
        shift = np.array([*shift_m, 0.0], np.float32)

        def turned(prop: Prop) -> Prop:
            return replace(prop, centre_m=prop.centre_m @ matrix.T + shift, rotation=matrix @ prop.rotation)

        return Act(
            tuple(moved(p, yaw, shift_m) for p in self.performers),
            tuple(map(turned, self.props)),
            tuple(map(turned, self.furniture)),
        )


Constructor = Callable[[Sequence[Person], Clock, Random, Random], Act]


@dataclass(frozen=True)
class Action:
    """One class of the benchmark."""

    name: str
    prompt: str
    constructor: Constructor
    family: str
    """Actions of one family share the stream ``shared``."""
    persons: int = 1


def prop(kind: str, centre: Floats, frame: Floats, tint: tuple[float, float, float], scale: float) -> Prop:
    """An object over time, from float64 positions (T, 3) and frames (T, 3, 3)."""
    return Prop(kind, centre.astype(np.float32), frame.astype(np.float32), tint, scale)


def local(frame: Floats, offset: Sequence[float] | Floats) -> Floats:
    """World vectors (T, 3) of ``offset`` (3,) or (T, 3) in frames (T, 3, 3)."""
    return np.einsum("tij,tj->ti", frame, np.broadcast_to(np.asarray(offset, np.float64), frame.shape[:2]))


def mixed(first: Floats, second: Floats, share: Floats) -> Floats:
    """Frames (T, 3, 3) between two: x and z axes blended, made orthogonal again."""
    s = share[:, None]
    forward = first[:, :, 0] * (1 - s) + second[:, :, 0] * s
    up = first[:, :, 2] * (1 - s) + second[:, :, 2] * s
    z = up / np.maximum(np.linalg.norm(up, axis=-1, keepdims=True), 1e-9)
    return frame_from(forward - np.sum(forward * z, -1, keepdims=True) * z, z)


def palm_of(performer: Performer, side: int) -> Floats:
    """Where the palm came to be, (T, 3)."""
    return performer.joints_m[:, JOINT[("left_hand", "right_hand")[side]]].astype(np.float64)


def acting_hand(who: Person, rng: Random) -> int:
    """The person's own hand, now and then the other."""
    return who.style.hand if rng.random() < 0.92 else 1 - who.style.hand


def _waist(trunk: Trunk, side: int, reach: float) -> Floats:
    """Palm held in front of the belly, forearm forward."""
    arm = trunk.bones.arm
    return trunk.from_shoulder(side, (reach * arm, OUTWARD[side] * 0.03, -0.60 * arm), upright=True)


def _elbow_down(who: Person, sign: float) -> Floats:
    """Pole of an arm folded towards the face: the elbow forward and down, more or less out."""
    return np.array((0.3, sign * (0.25 + 0.35 * who.style.elbow_out), -0.9))


# --- object pairs: the same motion, another object -----------------------------------------------------------------


def _held_at_face(kind: str) -> Constructor:
    """drink, telephone: a hand goes from the waist to the face, stays, comes back."""

    def act(people: Sequence[Person], clock: Clock, shared: Random, own: Random) -> Act:
        who, t = people[0], clock.share
        side = acting_hand(who, shared)
        sign = OUTWARD[side]
        body = Body(who, clock, shared)
        start, rise = shared.uniform(0.03, 0.17), shared.uniform(0.22, 0.32) / who.style.speed
        back = max(start + rise + 0.15, shared.uniform(0.72, 0.92))
        up = minimum_jerk(t, start, start + rise) - shared.uniform(0.85, 1.0) * minimum_jerk(t, back, back + rise)
        body.head_pitch += up * shared.uniform(-0.16, 0.04)
        body.head_roll += -sign * up * shared.uniform(-0.04, 0.10)
        body.lean += up * shared.uniform(-0.05, 0.04)
        trunk = body.trunk()
        at = (shared.uniform(0.085, 0.115), sign * shared.uniform(0.070, 0.095), shared.uniform(-0.085, -0.05))
        low = _waist(trunk, side, who.style.reach)
        palm = blend(low, trunk.from_head(at), up, (0.08 * who.style.amplitude, sign * 0.05, 0.0))
        performer = body.perform(trunk, {side: palm}, {side: _elbow_down(who, sign)})
        level, head = trunk.level(), trunk.head_rotation
        turned = rotation(2, np.full(clock.frames, sign * 0.5))
        if kind == "cup":
            tilt = head @ rotation(1, np.full(clock.frames, -0.55))
            near, frame = (0.045, -sign * 0.060, 0.035), mixed(level @ turned, tilt, up)
        else:
            cheek = _along(local(head, (-0.25, sign * 0.12, 1.0)), local(head, (-0.55, -sign * 0.8, 0.0)))
            low_frame = level @ rotation(2, np.full(clock.frames, np.pi))
            near, frame = (-0.030, sign * 0.030, 0.060), mixed(low_frame, cheek, up)
        offset = blend(local(level, (0.035, -sign * 0.02, 0.045)), local(head, near), up)
        scale = 1.6 if kind == "cup" else 1.7
        held = prop(kind, palm_of(performer, side) + offset, frame, object_colour(kind, own), scale)
        return Act((performer,), (held,))

    return act


def _rubbed_at_mouth(kind: str) -> Constructor:
    """eat, brush teeth: the hand goes to the mouth, elbow out, and moves to and fro there."""

    def act(people: Sequence[Person], clock: Clock, shared: Random, own: Random) -> Act:
        who, t = people[0], clock.share
        side = acting_hand(who, shared)
        sign = OUTWARD[side]
        body = Body(who, clock, shared)
        start, rise = shared.uniform(0.0, 0.10), shared.uniform(0.20, 0.28) / who.style.speed
        back = max(0.75, shared.uniform(0.82, 0.98))
        up = minimum_jerk(t, start, start + rise) - shared.uniform(0.7, 1.0) * minimum_jerk(t, back, back + rise)
        rub = bump(t, start + 0.8 * rise, start + rise + 0.08, back + 0.05) if back > start + rise + 0.1 else 0 * t
        hertz = shared.uniform(2.2, 3.0) * who.style.speed
        swing = np.sin(TAU * (hertz * clock.seconds + shared.random()))
        body.head_pitch += up * shared.uniform(0.04, 0.16)
        body.head_roll += 0.04 * rub * swing
        trunk = body.trunk()
        centre = np.array(
            (shared.uniform(0.165, 0.19), sign * shared.uniform(0.075, 0.105), shared.uniform(-0.11, -0.085))
        )
        along = np.array((0.45, -sign * 0.9, shared.uniform(-0.25, 0.25)))
        width = shared.uniform(0.050, 0.065) * who.style.amplitude
        at = centre + (width * rub * swing)[:, None] * along
        low = _waist(trunk, side, who.style.reach)
        palm = blend(low, trunk.from_head(at), up, (0.10, sign * 0.05, 0.0))
        out = np.array((0.2, sign * 0.85, -0.75))
        performer = body.perform(trunk, {side: palm}, {side: out})
        level, head = trunk.level(), trunk.head_rotation
        inward = np.full(clock.frames, sign * 0.9)
        if kind == "sandwich":
            near, frame = (-0.045, -sign * 0.055, 0.035), mixed(level, head @ rotation(2, 0.5 * inward), up)
        else:
            pointing = local(head, (-0.55, -sign * 0.8, 0.25))
            brush = _along(pointing, local(head, (-1.0, 0.0, 0.0)))
            near, frame = (0.010, sign * 0.010, 0.0), mixed(level, brush, up)
        offset = blend(local(level, (0.045, 0.0, 0.045)), local(head, near), up)
        scale = 1.5 if kind == "sandwich" else 1.8
        held = prop(kind, palm_of(performer, side) + offset, frame, object_colour(kind, own), scale)
        return Act((performer,), (held,))

    return act


def _along(axis: Floats, front: Floats) -> Floats:
    """Frames (T, 3, 3) whose z is ``axis`` (T, 3) and whose x is as near to ``front`` as that allows."""
    z = axis / np.linalg.norm(axis, axis=-1, keepdims=True)
    return frame_from(front - np.sum(front * z, -1, keepdims=True) * z, z)


def _held_and_looked_at(kind: str) -> Constructor:
    """read, use tablet: one hand holds it before the chest, the other strokes across it, the head is bent."""

    def act(people: Sequence[Person], clock: Clock, shared: Random, own: Random) -> Act:
        who, t = people[0], clock.share
        side = acting_hand(who, shared)
        sign, other = OUTWARD[side], 1 - side
        body = Body(who, clock, shared)
        start, rise = shared.uniform(-0.15, 0.08), shared.uniform(0.22, 0.3) / who.style.speed
        raised = shared.uniform(0.3, 0.6)
        up = raised + (1 - raised) * minimum_jerk(t, start, start + rise)
        body.head_pitch += shared.uniform(0.30, 0.45) * (0.4 + 0.6 * up)
        body.head_yaw -= sign * shared.uniform(0.0, 0.12)
        trunk = body.trunk()
        arm = trunk.bones.arm
        height, reach = shared.uniform(-0.40, -0.33), shared.uniform(0.50, 0.58)
        hold = trunk.from_chest((reach * arm, -sign * 0.075, height * arm - 0.04))
        rest_other, rest = _waist(trunk, other, who.style.reach), _waist(trunk, side, who.style.reach)
        strokes = int(shared.integers(1, 4))
        begin = shared.uniform(0.25, 0.4)
        across = 0.5 - 0.5 * np.cos(TAU * strokes * np.clip((t - begin) / (0.97 - begin), 0, 1))
        edge, far = shared.uniform(0.12, 0.15), shared.uniform(0.11, 0.16) * who.style.amplitude
        slide = (reach * arm - 0.03 * across, sign * (edge - far * across), height * arm + 0.05 * across)
        palms = {
            other: blend(rest_other, hold, up, (0.04, 0.0, 0.0)),
            side: blend(rest, trunk.from_chest(np.stack(slide, axis=-1)), up, (0.04, 0.0, 0.0)),
        }
        performer = body.perform(trunk, palms)
        gaze = trunk.head_m - palms[other]
        level = trunk.level()
        # (T, 3, 3): the pages look half-way between straight back at the reader and up to the eyes.
        facing = frame_from(gaze + 0.25 * local(level, (-1.0, 0.0, 0.0)), np.tile([0.0, 0.0, 1.0], (clock.frames, 1)))
        offset = local(level, (0.02, sign * 0.065, 0.045))
        held = prop(kind, palm_of(performer, other) + offset, facing, object_colour(kind, own), 1.4)
        return Act((performer,), (held,))

    return act


# --- order pairs: the same poses, the other way round ---------------------------------------------------------------


def _progress(clock: Clock, own: Random, speed: float, length: tuple[float, float], backwards: bool) -> Floats:
    """0 to 1, or 1 to 0, with a start and a pace of its own."""
    takes = float(np.clip(own.uniform(*length) / speed, 0.3, 0.85))
    start = own.uniform(0.05, max(0.06, 0.97 - takes))
    done = np.clip((clock.share - start) / takes, 0.0, 1.0)
    return np.asarray(1.0 - done if backwards else done, np.float64)


def _chair(stands_up: bool) -> Constructor:
    """sit down, stand up: the same way between standing and sitting."""

    def act(people: Sequence[Person], clock: Clock, shared: Random, own: Random) -> Act:
        who = people[0]
        body = Body(who, clock, shared)
        size = body.bones
        scale = shared.uniform(1.0, 1.12)
        seat_x = -0.36 - 0.25 * (size.thigh - 0.42) - shared.uniform(0.0, 0.03)
        q = _progress(clock, own, who.style.speed, (0.45, 0.62), stands_up)
        down = minimum_jerk(q, 0.12, 1.0)
        body.ahead += minimum_jerk(q, 0.0, 0.92) * (seat_x + 0.03)
        body.rise += down * (0.45 * scale + 0.085 - (size.hip_height + body.rise))
        body.lean += bump(q, 0.0, 0.5, 1.0) * shared.uniform(0.5, 0.75) + down * shared.uniform(-0.02, 0.12)
        body.pelvis_pitch += bump(q, 0.0, 0.5, 1.0) * 0.25
        body.head_pitch += bump(q, 0.0, 0.45, 1.0) * shared.uniform(0.0, 0.2)
        trunk = body.trunk()
        palms, onto = {}, shared.uniform(0.26, 0.36)
        for side, sign in enumerate(OUTWARD):
            lap = trunk.from_pelvis((onto, sign * 0.13, 0.10))
            palms[side] = blend(body.idle_palm(trunk, side), lap, minimum_jerk(q, 0.1, 0.85), (0.12, sign * 0.04, 0.0))
        performer = body.perform(trunk, palms)
        chair = Prop(
            "chair", np.array([[seat_x, 0, 0]], np.float32), np.eye(3, dtype=np.float32)[None], colour(own), scale
        )
        return Act((performer,), furniture=(chair,))

    return act


def _hat(takes_off: bool) -> Constructor:
    """put on, take off a hat: the same way between a hat held before the belly and a hat worn with the arms down."""

    def act(people: Sequence[Person], clock: Clock, shared: Random, own: Random) -> Act:
        who, frames = people[0], clock.frames
        side = acting_hand(who, shared)
        sign, other = OUTWARD[side], 1 - side
        body = Body(who, clock, shared)
        q = _progress(clock, own, who.style.speed, (0.62, 0.8), takes_off)
        up, release = minimum_jerk(q, 0.0, 0.52), minimum_jerk(q, 0.60, 1.0)
        body.head_pitch += bump(q, 0.1, 0.5, 0.8) * shared.uniform(0.08, 0.2)
        body.lean += bump(q, 0.1, 0.5, 0.9) * shared.uniform(-0.02, 0.06)
        trunk = body.trunk()
        low = _waist(trunk, side, who.style.reach)
        brim = trunk.from_head((0.075, sign * 0.115, 0.055))
        carried = blend(low, brim, up, (0.14 * who.style.amplitude, sign * 0.06, 0.0))
        palms = {side: blend(carried, body.idle_palm(trunk, side), release, (0.12, sign * 0.14, 0.0))}
        if shared.random() < 0.5:
            help_at = trunk.from_head((0.06, -sign * 0.125, 0.05))
            lifted = bump(q, 0.12, 0.52, 0.98)
            palms[other] = blend(body.idle_palm(trunk, other), help_at, lifted, (0.15, -sign * 0.08, 0.0))
        pole = np.array((-0.1, 0.75, -0.65))
        poles = {0: pole, 1: pole * (1.0, -1.0, 1.0)}
        performer = body.perform(trunk, palms, poles)
        worn_at, worn = trunk.from_head((0.0, 0.0, 0.065)), trunk.head_rotation @ rotation(1, np.full(frames, 0.06))
        held_at = palm_of(performer, side) + local(trunk.level(), (0.03, -sign * 0.08, 0.0))
        held = trunk.level() @ rotation(1, np.full(frames, 0.5))
        share = minimum_jerk(q, 0.30, 0.54)
        hat = prop("hat", blend(held_at, worn_at, share), mixed(held, worn, share), colour(own), 1.0)
        return Act((performer,), (hat,))

    return act


# --- one person, no pair ---------------------------------------------------------------------------------------------


def _wave(people: Sequence[Person], clock: Clock, shared: Random, own: Random) -> Act:
    who, t = people[0], clock.share
    side = acting_hand(who, shared)
    sign = OUTWARD[side]
    body = Body(who, clock, shared)
    start, rise = shared.uniform(0.0, 0.12), shared.uniform(0.16, 0.24) / who.style.speed
    up = minimum_jerk(t, start, start + rise) - minimum_jerk(t, shared.uniform(0.85, 1.0), 1.15)
    body.side_lean += sign * 0.05 * up
    trunk = body.trunk()
    arm = trunk.bones.arm
    swing = np.sin(TAU * (shared.uniform(1.6, 2.3) * who.style.speed * clock.seconds + shared.random()))
    width = shared.uniform(0.13, 0.18) * who.style.amplitude
    outward = shared.uniform(0.34, 0.44) * arm + width * swing
    high = shared.uniform(0.40, 0.58) * arm
    at = np.stack((np.full(clock.frames, 0.22 * arm), sign * outward, high - 0.12 * np.abs(swing) * width), axis=-1)
    palm = blend(body.idle_palm(trunk, side), trunk.from_shoulder(side, at), up, (0.15, sign * 0.12, 0.0))
    return Act((body.perform(trunk, {side: palm}, {side: np.array((-0.3, sign * 0.6, -0.8))}),))


def _clap(people: Sequence[Person], clock: Clock, shared: Random, own: Random) -> Act:
    who, t = people[0], clock.share
    body = Body(who, clock, shared)
    start, rise = shared.uniform(0.0, 0.12), shared.uniform(0.16, 0.24) / who.style.speed
    up = minimum_jerk(t, start, start + rise) - minimum_jerk(t, shared.uniform(0.85, 1.0), 1.15)
    open_ = 0.5 - 0.5 * np.cos(TAU * (shared.uniform(1.8, 2.6) * who.style.speed * clock.seconds + shared.random()))
    gap = shared.uniform(0.17, 0.24) * who.style.amplitude
    ahead, height = shared.uniform(0.52, 0.66), shared.uniform(-0.34, -0.10)
    trunk = body.trunk()
    palms = {}
    for side, sign in enumerate(OUTWARD):
        at = np.stack(
            (
                np.full(clock.frames, ahead * trunk.bones.arm),
                sign * (0.022 + gap * open_),
                np.full(clock.frames, height * trunk.bones.arm) + 0.02 * sign,
            ),
            axis=-1,
        )
        palms[side] = blend(body.idle_palm(trunk, side), trunk.from_chest(at), up, (0.10, sign * 0.10, 0.0))
    return Act((body.perform(trunk, palms),))


def _jump(people: Sequence[Person], clock: Clock, shared: Random, own: Random) -> Act:
    who, t = people[0], clock.share
    body = Body(who, clock, shared)
    # Shares of a clip of two seconds: crouch, push off, fly, land, rise.
    pace = who.style.speed**-0.5
    lengths = np.array((shared.uniform(0.17, 0.23), 0.09, shared.uniform(0.22, 0.27), 0.10, 0.19)) * pace
    start = shared.uniform(0.02, max(0.03, 0.95 - lengths.sum()))
    crouched, off, land, low, stood = (float(v) for v in start + np.cumsum(lengths))
    depth, height = shared.uniform(0.16, 0.24), shared.uniform(0.22, 0.32) * who.style.amplitude
    fly = np.clip((t - off) / (land - off), 0.0, 1.0)
    air = 4.0 * fly * (1.0 - fly) * height
    bend = keyframes(t, (start, crouched, off, land, low, stood), (0.0, 1.0, -0.10, 0.1, 0.75, 0.0))
    body.rise += air - depth * np.maximum(bend, 0.0)
    body.lean += 0.45 * np.maximum(bend, 0.0)
    body.pelvis_pitch += 0.35 * np.maximum(bend, 0.0)
    body.ahead -= 0.10 * np.maximum(bend, 0.0)
    body.head_pitch -= 0.15 * np.maximum(bend, 0.0)
    tucked = shared.uniform(0.0, 0.10) * np.sin(np.pi * fly)
    pointed = 0.8 * np.sin(np.pi * fly) ** 0.5
    for side in (0, 1):
        body.ankles[side][:, 2] += air + tucked + 0.05 * pointed
        body.foot_pitch[side] = body.foot_pitch[side] + pointed
    trunk = body.trunk()
    arm = trunk.bones.arm
    drawn, top = start + 0.6 * (crouched - start), shared.uniform(1.6, 2.5)
    angle = keyframes(t, (start, drawn, off + 0.08, land + 0.04, stood), (0.08, -0.65, top, 0.6, 0.08))
    stretch = arm * keyframes(t, (start, drawn, off + 0.08, land + 0.04, stood), (0.96, 0.86, 0.84, 0.80, 0.96))
    palms, poles = {}, {}
    for side, sign in enumerate(OUTWARD):
        at = np.stack((stretch * np.sin(angle), np.full(clock.frames, sign * 0.10), -stretch * np.cos(angle)), axis=-1)
        palms[side] = trunk.from_shoulder(side, at, upright=True)
        poles[side] = np.array((-0.3, sign * 1.0, 0.0))
    return Act((body.perform(trunk, palms, poles),))


def _kick(people: Sequence[Person], clock: Clock, shared: Random, own: Random) -> Act:
    who, t = people[0], clock.share
    side = acting_hand(who, shared)
    sign, other = OUTWARD[side], 1 - side
    body = Body(who, clock, shared)
    pace = who.style.speed**-0.5
    start = shared.uniform(0.04, 0.2)
    back = start + shared.uniform(0.16, 0.22) * pace
    peak = back + shared.uniform(0.13, 0.18) * pace
    recoil = peak + shared.uniform(0.12, 0.18) * pace
    stood = recoil + shared.uniform(0.14, 0.2) * pace
    times = (start, back, peak, recoil, stood)
    high = shared.uniform(0.50, 0.85) * who.style.amplitude
    far = shared.uniform(0.62, 0.75)
    leg = body.bones.hip_height
    path = np.array(
        ((0, 0, 0), (-0.36, 0, 0.26), (far, -sign * 0.04, high), (0.12, 0, 0.22), (0, 0, 0))
    ) * (leg / 0.92)  # fmt: skip
    body.ankles[side] = body.ankles[side] + keyframes(t, times, path)
    # Forward the foot swings low, like a pendulum.
    swung = minimum_jerk(t, back, peak)
    body.ankles[side][:, 2] -= 0.26 * high * 4.0 * swung * (1.0 - swung)
    lifted = bump(t, start, back, stood)
    body.aside -= sign * 0.075 * lifted
    kicking = bump(t, back - 0.03, peak, stood)
    body.lean += 0.10 * bump(t, start, back, peak) - 0.28 * kicking
    body.pelvis_pitch -= 0.20 * kicking
    body.rise -= 0.02 * lifted
    body.twist += sign * 0.25 * (kicking - bump(t, start, back, peak))
    body.foot_pitch[side] = body.foot_pitch[side] + keyframes(t, times, (0.0, 0.9, -0.35, 0.2, 0.0))
    trunk = body.trunk()
    palms, poles = {}, {}
    for hand, direction in ((other, 1.0), (side, -1.0)):
        away = OUTWARD[hand]
        forward = trunk.from_shoulder(hand, (0.34 * direction, away * 0.25, -0.42), upright=True)
        backward = trunk.from_shoulder(hand, (-0.25 * direction, away * 0.22, -0.48), upright=True)
        idle = body.idle_palm(trunk, hand)
        palms[hand] = blend(blend(idle, backward, bump(t, start, back, peak)), forward, kicking)
        poles[hand] = np.array((-0.3, away * 1.0, 0.0))
    return Act((body.perform(trunk, palms, poles),))


def _check_watch(people: Sequence[Person], clock: Clock, shared: Random, own: Random) -> Act:
    who, t = people[0], clock.share
    side = 1 - acting_hand(who, shared)
    sign = OUTWARD[side]
    body = Body(who, clock, shared)
    start, rise = shared.uniform(-0.1, 0.15), shared.uniform(0.20, 0.28) / who.style.speed
    up = minimum_jerk(t, start, start + rise) - shared.uniform(0.0, 0.5) * minimum_jerk(
        t, shared.uniform(0.85, 1.0), 1.2
    )
    body.head_pitch += up * shared.uniform(0.30, 0.45)
    body.head_yaw += sign * up * shared.uniform(0.05, 0.25)
    trunk = body.trunk()
    arm = trunk.bones.arm
    at = (shared.uniform(0.42, 0.50) * arm, -sign * shared.uniform(0.0, 0.05), shared.uniform(-0.36, -0.22) * arm)
    palm = blend(body.idle_palm(trunk, side), trunk.from_chest(at), up, (0.10, sign * 0.08, 0.0))
    performer = body.perform(trunk, {side: palm}, {side: np.array((-0.35, sign * 0.8, -0.35))})
    name = ("left", "right")[side]
    wrist = performer.joints_m[:, JOINT[f"{name}_wrist"]].astype(np.float64)
    forearm = palm_of(performer, side) - performer.joints_m[:, JOINT[f"{name}_elbow"]]
    watch = prop("watch", wrist, _along(forearm, trunk.head_m - wrist), colour(own), 1.35)
    return Act((performer,), (watch,))


# --- two people ------------------------------------------------------------------------------------------------------


def _opposite(point: Floats, distance: float) -> Floats:
    """A point (T, 3) of the subject's frame in the frame of the partner, who stands ``distance`` ahead, facing."""
    return np.stack((distance - point[:, 0], -point[:, 1], point[:, 2]), axis=-1)


def _pair(subject: Performer, partner: Performer, distance: float) -> Act:
    """Two people facing each other, the middle between them at the origin, the subject at -x."""
    half = distance / 2
    return Act((moved(subject, 0.0, (-half, 0.0)), moved(partner, np.pi, (half, 0.0))))


def _bodies(people: Sequence[Person], clock: Clock, shared: Random) -> tuple[Body, Body]:
    pair = Body(people[0], clock, shared), Body(people[1], clock, shared)
    for body in pair:
        body.head_yaw *= 0.4
    return pair


def _shake_hands(people: Sequence[Person], clock: Clock, shared: Random, own: Random) -> Act:
    t, pair = clock.share, _bodies(people, clock, shared)
    side = people[0].style.hand
    height = 0.5 * (pair[0].bones.hip_height + pair[1].bones.hip_height)
    distance = shared.uniform(0.52, 0.60) * (people[0].build.height_m + people[1].build.height_m) / 2
    start, rise = shared.uniform(0.02, 0.15), shared.uniform(0.2, 0.28) / people[0].style.speed
    back = shared.uniform(0.78, 0.95)
    shaking = bump(t, start + rise - 0.03, start + rise + 0.08, back + 0.05)
    pumped = np.sin(TAU * (shared.uniform(2.2, 3.0) * clock.seconds + shared.random())) * shaking
    meet = np.stack(
        (
            np.full(clock.frames, distance / 2 + shared.uniform(-0.04, 0.04)),
            np.zeros(clock.frames),
            height + shared.uniform(0.05, 0.14) + shared.uniform(0.045, 0.07) * pumped,
        ),
        axis=-1,
    )
    done = []
    for k, body in enumerate(pair):
        lag = 0.0 if k == 0 else shared.uniform(-0.02, 0.05)
        up = minimum_jerk(t, start + lag, start + rise + lag) - minimum_jerk(t, back, back + rise)
        body.ahead += up * 0.05
        body.lean += up * shared.uniform(0.06, 0.14)
        body.twist += -OUTWARD[side] * 0.12 * up
        trunk = body.trunk()
        point = (meet if k == 0 else _opposite(meet, distance)) - np.array((0.02, 0.0, 0.0))
        palm = blend(body.idle_palm(trunk, side), point, up, (0.05, 0.0, 0.0))
        done.append(body.perform(trunk, {side: palm}))
    return _pair(done[0], done[1], distance)


def _push(people: Sequence[Person], clock: Clock, shared: Random, own: Random) -> Act:
    t, (pusher, pushed) = clock.share, _bodies(people, clock, shared)
    heights = (people[0].build.height_m + people[1].build.height_m) / 2
    distance = shared.uniform(0.52, 0.62) * heights
    start = shared.uniform(0.04, 0.16)
    cocked = start + shared.uniform(0.15, 0.21) / people[0].style.speed
    hit = cocked + shared.uniform(0.10, 0.14) / people[0].style.speed
    end = shared.uniform(0.80, 0.95)
    # The pushed person goes back and leans back, then catches the balance with a step.
    shove = minimum_jerk(t, hit - 0.03, hit + 0.22)
    shift = shared.uniform(0.22, 0.36) * people[1].style.amplitude
    pushed.ahead -= shift * shove
    rock = bump(t, hit - 0.03, hit + 0.10, hit + 0.36)
    pushed.lean -= rock * shared.uniform(0.22, 0.36)
    pushed.pelvis_pitch -= 0.10 * rock
    pushed.head_pitch += 0.20 * rock
    for order, side in enumerate((int(shared.integers(2)),) * 2):
        foot = side if order == 0 else 1 - side
        begin = hit + 0.02 + 0.12 * order
        step = minimum_jerk(t, begin, begin + 0.17)
        pushed.ankles[foot][:, 0] -= (shift + (0.10 if order == 0 else -0.02)) * step
        pushed.ankles[foot][:, 2] += 0.09 * bump(t, begin, begin + 0.085, begin + 0.17)
    back_trunk = pushed.trunk()
    away = {
        side: blend(
            pushed.idle_palm(back_trunk, side),
            back_trunk.from_shoulder(side, (0.35, sign * 0.22, -0.22), upright=True),
            rock,
        )
        for side, sign in enumerate(OUTWARD)
    }
    victim = pushed.perform(back_trunk, away)
    lunge = bump(t, cocked - 0.05, hit, max(end, hit + 0.2))
    step_foot = int(shared.integers(2))
    forward = shared.uniform(0.16, 0.24)
    pusher.ahead += forward * lunge
    pusher.lean += shared.uniform(0.16, 0.26) * lunge
    pusher.rise -= 0.03 * lunge
    pusher.ankles[step_foot][:, 0] += 0.30 * lunge
    pusher.ankles[step_foot][:, 2] += 0.06 * (bump(t, cocked - 0.05, (cocked + hit) / 2, hit))
    trunk = pusher.trunk()
    chest = distance - 0.15
    palms, poles = {}, {}
    for side, sign in enumerate(OUTWARD):
        idle = pusher.idle_palm(trunk, side)
        near = trunk.from_shoulder(side, (0.22, -sign * 0.03, -0.14))
        target = np.tile((chest, sign * 0.11, 0.76 * people[1].build.height_m), (clock.frames, 1))
        palm = blend(idle, near, minimum_jerk(t, start, cocked))
        palm = blend(palm, target, minimum_jerk(t, cocked, hit))
        palms[side] = blend(palm, idle, minimum_jerk(t, hit + 0.1, max(end, hit + 0.3)))
        poles[side] = np.array((-0.3, sign * 0.7, -0.7))
    return _pair(pusher.perform(trunk, palms, poles), victim, distance)


def _high_five(people: Sequence[Person], clock: Clock, shared: Random, own: Random) -> Act:
    t, pair = clock.share, _bodies(people, clock, shared)
    side = people[0].style.hand
    sign = OUTWARD[side]
    distance = shared.uniform(0.50, 0.60) * (people[0].build.height_m + people[1].build.height_m) / 2
    start = shared.uniform(0.03, 0.15)
    raised = start + shared.uniform(0.2, 0.27) / people[0].style.speed
    clap = raised + shared.uniform(0.10, 0.15) / people[0].style.speed
    off = clap + shared.uniform(0.05, 0.10)
    down = off + shared.uniform(0.22, 0.3)
    height = min(p.build.height_m for p in people) * 0.93 + shared.uniform(0.04, 0.16)
    meet = np.tile((distance / 2, 0.0, height), (clock.frames, 1))
    done = []
    for k, body in enumerate(pair):
        lag = 0.0 if k == 0 else shared.uniform(-0.03, 0.03)
        up = minimum_jerk(t, start + lag, clap)
        body.ahead += 0.06 * (up - minimum_jerk(t, off, down))
        body.lean += 0.10 * bump(t, raised, clap, down)
        body.twist += sign * -0.15 * bump(t, raised - 0.05, clap, down) + sign * 0.12 * bump(t, start, raised, clap)
        body.head_pitch -= 0.12 * bump(t, start, clap, down)
        trunk = body.trunk()
        wound = trunk.from_shoulder(side, (0.02, sign * 0.14, 0.42), upright=True)
        point = (meet if k == 0 else _opposite(meet, distance)) - np.array((0.025, 0.0, 0.0))
        idle = body.idle_palm(trunk, side)
        palm = blend(idle, wound, minimum_jerk(t, start + lag, raised), (0.36, sign * 0.12, 0.0))
        palm = blend(palm, point, minimum_jerk(t, raised, clap))
        palm = blend(palm, idle, minimum_jerk(t, off, down), (0.18, sign * 0.05, 0.0))
        done.append(body.perform(trunk, {side: palm}, {side: np.array((0.1, sign * 0.7, -0.6))}))
    return _pair(done[0], done[1], distance)


ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        Action("drink", "a person is drinking from a cup", _held_at_face("cup"), "held at the face"),
        Action("telephone", "a person is talking on a phone", _held_at_face("phone"), "held at the face"),
        Action("eat", "a person is eating a sandwich", _rubbed_at_mouth("sandwich"), "moved at the mouth"),
        Action("brush teeth", "a person is brushing teeth", _rubbed_at_mouth("toothbrush"), "moved at the mouth"),
        Action("read", "a person is reading a book", _held_and_looked_at("book"), "held and looked at"),
        Action("use tablet", "a person is using a tablet", _held_and_looked_at("tablet"), "held and looked at"),
        Action("sit down", "a person is sitting down on a chair", _chair(stands_up=False), "chair"),
        Action("stand up", "a person is standing up from a chair", _chair(stands_up=True), "chair"),
        Action("put on hat", "a person is putting on a hat", _hat(takes_off=False), "hat"),
        Action("take off hat", "a person is taking off a hat", _hat(takes_off=True), "hat"),
        Action("wave", "a person is waving a hand", _wave, "wave"),
        Action("clap", "a person is clapping the hands", _clap, "clap"),
        Action("jump", "a person is jumping up", _jump, "jump"),
        Action("kick", "a person is kicking with a leg", _kick, "kick"),
        Action("check watch", "a person is checking the time on a watch", _check_watch, "check watch"),
        Action("handshake", "two people are shaking hands", _shake_hands, "handshake", persons=2),
        Action("push", "a person is pushing another person", _push, "push", persons=2),
        Action("high five", "two people are giving each other a high five", _high_five, "high five", persons=2),
    )
}  # fmt: skip
"""The benchmark's classes in the order of their labels, by name."""

NAMES: tuple[str, ...] = tuple(ACTIONS)
OBJECT_PAIRS: tuple[tuple[int, int], ...] = ((0, 1), (2, 3), (4, 5))
"""Labels with the same motion and another object."""
ORDER_PAIRS: tuple[tuple[int, int], ...] = ((6, 7), (8, 9))
"""Labels with the same poses in the other order."""
PAIRS: dict[int, str] = {
    label: f"{kind} {number}"
    for kind, pairs in (("object", OBJECT_PAIRS), ("order", ORDER_PAIRS))
    for number, pair in enumerate(pairs, 1)
    for label in pair
}
"""Label -> its look-alike pair, as the class table names it: ``object 1`` to ``order 2``."""
TWO_PERSON: tuple[int, ...] = tuple(k for k, action in enumerate(ACTIONS.values()) if action.persons == 2)
"""Labels of what two people do together."""


def find(name: str) -> Action:
    """The action of that name."""
    if name not in ACTIONS:
        raise ValueError(f"unknown action {name!r}; the benchmark has {', '.join(NAMES)}")
    return ACTIONS[name]
