"""The skeleton: segment lengths of a build, the trunk's frames, two-bone inverse kinematics, smooth signals over time.

Everything is vectorised over T frames. Angles are radians, lengths metres; ``side`` 0 is left, 1 is right. The frames
are those of :mod:`.scene`: x forward, y to the left, z up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .scene import BODY_JOINTS, Array, Build, Performer

Floats = NDArray[np.float64]

LEFT, RIGHT = 0, 1
OUTWARD = (1.0, -1.0)
"""Sign of y on the left and on the right."""
JOINT = {name: index for index, name in enumerate(BODY_JOINTS)}


@dataclass(frozen=True)
class Bones:
    """Segment lengths of one person, metres."""

    hip_height: float
    trunk: float
    """Pelvis to the base of the neck."""
    neck: float
    """Base of the neck to the skull's centre."""
    shoulder_half: float
    hip_half: float
    upper_arm: float
    forearm: float
    palm: float
    """Wrist to the middle of the palm."""
    thigh: float
    shank: float
    ankle: float
    """Height of the ankle above the sole."""
    foot: float
    """Ankle to the tip of the shoe, along the ground."""
    head: float
    """Unit for points of the face: 1 for a head of 0.22 m."""

    @property
    def arm(self) -> float:
        """Shoulder to palm, stretched."""
        return self.upper_arm + self.forearm + self.palm


def bones(build: Build) -> Bones:
    """Segment lengths from a build; shares of body height after Drillis and Contini (1966).

    Longer limbs shorten the trunk, so that the height stays what the build says.
    """
    height, limb = build.height_m, build.limb_length
    thigh, shank, ankle = 0.245 * height * limb, 0.240 * height * limb, 0.042 * height
    hip_height = thigh + shank + ankle
    neck = 0.112 * height
    return Bones(
        hip_height=hip_height,
        trunk=0.930 * height - neck - hip_height,
        neck=neck,
        shoulder_half=0.108 * height * build.shoulder_width,
        hip_half=0.062 * height * build.hip_width,
        upper_arm=0.174 * height * limb,
        forearm=0.148 * height * limb,
        palm=0.048 * height,
        thigh=thigh,
        shank=shank,
        ankle=ankle,
        foot=0.095 * height,
        head=build.head_size * height / 1.72,
    )


FACE_M: dict[str, tuple[float, float, float]] = {
    "nose": (0.104, 0.0, -0.020),
    "left_eye": (0.084, 0.033, 0.018),
    "right_eye": (0.084, -0.033, 0.018),
    "left_ear": (-0.004, 0.078, -0.004),
    "right_ear": (-0.004, -0.078, -0.004),
}
"""Points of the face from the skull's centre in the head's frame, for ``Bones.head`` = 1."""
MOUTH_M = (0.096, 0.0, -0.062)


def minimum_jerk(time: ArrayLike, start: float, end: float) -> Floats:
    """0 before ``start``, 1 after ``end``, between them the minimum-jerk polynomial (Flash and Hogan 1985)."""
    if not end > start:
        raise ValueError(f"a movement needs end > start, got start={start:.3f} and end={end:.3f}")
    s = np.clip((np.asarray(time, np.float64) - start) / (end - start), 0.0, 1.0)
    return np.asarray(s**3 * (10.0 + s * (6.0 * s - 15.0)), np.float64)


def keyframes(time: ArrayLike, times: ArrayLike, values: ArrayLike) -> Floats:
    """Minimum-jerk moves through ``values`` (K,) or (K, D) at increasing ``times`` (K,): result (T,) or (T, D)."""
    at, through = np.asarray(times, np.float64), np.asarray(values, np.float64)
    if len(at) != len(through) or len(at) < 1 or (np.diff(at) <= 0).any():
        raise ValueError(f"keyframes need as many increasing times as values, got times {at} for {len(through)} values")
    now = np.asarray(time, np.float64)
    result = np.broadcast_to(through[0], (len(now), *through.shape[1:])).copy()
    for k in range(len(at) - 1):
        share = minimum_jerk(now, float(at[k]), float(at[k + 1]))
        result += share.reshape(-1, *([1] * (through.ndim - 1))) * (through[k + 1] - through[k])
    return result


def bump(time: ArrayLike, start: float, peak: float, end: float) -> Floats:
    """0, up to 1 at ``peak``, down to 0 at ``end``."""
    return minimum_jerk(time, start, peak) - minimum_jerk(time, peak, end)


def blend(start: Floats, end: Floats, share: Floats, bulge: ArrayLike = (0.0, 0.0, 0.0)) -> Floats:
    """From ``start`` to ``end`` (T, 3) as ``share`` (T,) goes 0..1, off the straight line by ``bulge`` (3,) midway."""
    s = share[:, None]
    return start + (end - start) * s + np.asarray(bulge, np.float64) * (4.0 * s * (1.0 - s))


def sway(time_s: Floats, rng: np.random.Generator, amplitude: float, hertz: float = 0.35) -> Floats:
    """A slow, never quite regular signal (T,) of about ``amplitude``."""
    rates = hertz * rng.uniform((0.7, 1.6), (1.3, 2.8))
    phases = rng.uniform(0.0, 2.0 * np.pi, 2)
    waves = np.sin(2.0 * np.pi * rates * time_s[:, None] + phases)
    return np.asarray(amplitude * (waves @ np.array([0.75, 0.35])), np.float64)


def rotation(axis: int, angle: Floats) -> Floats:
    """Rotations about x (0), y (1) or z (2): (T,) -> (T, 3, 3)."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((*angle.shape, 3, 3))
    matrix[..., axis, axis] = 1.0
    matrix[..., i, i] = matrix[..., j, j] = np.cos(angle)
    matrix[..., j, i] = np.sin(angle)
    matrix[..., i, j] = -matrix[..., j, i]
    return matrix


def turn(yaw: Floats, pitch: Floats, roll: Floats) -> Floats:
    """Yaw (to the left), then pitch (forward, down), then roll (to the right): each (T,) -> (T, 3, 3)."""
    return rotation(2, yaw) @ rotation(1, pitch) @ rotation(0, roll)


def frame_from(forward: Floats, up: Floats) -> Floats:
    """Rotations (T, 3, 3) whose x is ``forward`` (T, 3) and whose z is as near to ``up`` (T, 3) as that allows."""
    x = _unit(forward)
    y = np.cross(np.broadcast_to(up, x.shape), x)
    short = np.linalg.norm(y, axis=-1, keepdims=True) < 1e-6
    y = _unit(np.where(short, np.cross(np.where(np.abs(x[..., :1]) < 0.9, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]), x), y))
    return np.stack((x, y, np.cross(x, y)), axis=-1)


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-9), np.float64)


def two_bone(
    root: Floats, target: Floats, pole: Floats, upper: float, lower: float, straightest: float = 0.995
) -> tuple[Floats, Floats]:
    """Elbow and wrist (or knee and ankle) of a limb from ``root`` towards ``target``.

    Args:
        root, target: (T, 3) metres.
        pole: (T, 3) direction in which the middle joint bends.
        upper, lower: the two lengths, metres.
        straightest: longest reach as a share of ``upper + lower``. A target beyond it is approached, not reached.

    Returns:
        Middle and end joint, (T, 3) each; the two lengths hold exactly.
    """
    span = target - root
    distance = np.linalg.norm(span, axis=-1, keepdims=True)
    axis = np.where(distance < 1e-6, [0.0, 0.0, -1.0], span / np.maximum(distance, 1e-9))
    distance = np.clip(distance, abs(upper - lower) + 0.02 * (upper + lower), straightest * (upper + lower))
    side = pole - np.sum(pole * axis, -1, keepdims=True) * axis
    lost = np.linalg.norm(side, axis=-1, keepdims=True) < 1e-6
    other = np.where(np.abs(axis[..., :1]) < 0.9, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    side = _unit(np.where(lost, other - np.sum(other * axis, -1, keepdims=True) * axis, side))
    along = (upper**2 - lower**2 + distance**2) / (2.0 * distance)
    off = np.sqrt(np.maximum(upper**2 - along**2, 0.0))
    return root + axis * along + side * off, root + axis * distance


@dataclass(frozen=True)
class Trunk:
    """Pelvis, spine, shoulders and head over T frames: the frames in which limbs get their targets."""

    build: Build
    bones: Bones
    pelvis_m: Floats
    """(T, 3)"""
    yaw: Floats
    """(T,) heading of the pelvis"""
    pelvis_rotation: Floats
    chest_rotation: Floats
    head_rotation: Floats
    """(T, 3, 3) each"""
    spine_m: Floats
    neck_m: Floats
    head_m: Floats
    """(T, 3) each"""
    shoulders_m: Floats
    hips_m: Floats
    """(T, 2, 3) each"""

    @property
    def frames(self) -> int:
        """T."""
        return len(self.pelvis_m)

    def level(self) -> Floats:
        """(T, 3, 3): the pelvis's heading, upright."""
        return rotation(2, self.yaw)

    def from_pelvis(self, offset: ArrayLike) -> Floats:
        """World points (T, 3) at ``offset`` (3,) or (T, 3) from the pelvis along its heading, upright."""
        return self.pelvis_m + _apply(self.level(), offset)

    def from_chest(self, offset: ArrayLike) -> Floats:
        """World points (T, 3) at ``offset`` from the base of the neck, in the chest's frame."""
        return self.neck_m + _apply(self.chest_rotation, offset)

    def from_shoulder(self, side: int, offset: ArrayLike, upright: bool = False) -> Floats:
        """World points (T, 3) at ``offset`` from a shoulder, in the chest's frame, or upright along the heading."""
        return self.shoulders_m[:, side] + _apply(self.level() if upright else self.chest_rotation, offset)

    def from_head(self, offset: ArrayLike) -> Floats:
        """World points (T, 3) at ``offset`` from the skull's centre, in the head's frame, for a head of size 1."""
        return self.head_m + _apply(self.head_rotation, np.asarray(offset, np.float64) * self.bones.head)

    def hanging(self, side: int, forward: float = 0.05, outward: float = 0.08) -> Floats:
        """Where the palm of an arm at rest is, (T, 3)."""
        reach = 0.965 * self.bones.arm
        down = -np.sqrt(reach**2 - forward**2 - outward**2)
        return self.from_shoulder(side, (forward, OUTWARD[side] * outward, down), upright=True)


def _apply(frame: Floats, offset: ArrayLike) -> Floats:
    return np.einsum("tij,tj->ti", frame, np.broadcast_to(np.asarray(offset, np.float64), frame.shape[:2]))


def pose_trunk(
    build: Build,
    pelvis_m: Floats,
    yaw: Floats,
    pelvis_pitch: Floats,
    pelvis_roll: Floats,
    lean: Floats,
    side_lean: Floats,
    twist: Floats,
    head_yaw: Floats,
    head_pitch: Floats,
    head_roll: Floats,
) -> Trunk:
    """Forward kinematics of the trunk.

    Args:
        build: whose trunk.
        pelvis_m: (T, 3) middle of the hip joints.
        yaw: (T,) heading; 0 faces +x, positive turns to the left.
        pelvis_pitch, pelvis_roll: (T,) of the pelvis itself, forward and to the right.
        lean, side_lean, twist: (T,) of the chest against the pelvis: forward, to the right, to the left.
        head_yaw, head_pitch, head_roll: (T,) of the head against the chest's heading and half of its lean.
    """
    size = bones(build)
    pelvis_rotation = turn(yaw, pelvis_pitch, pelvis_roll)
    middle = pelvis_rotation @ turn(0.5 * twist, 0.5 * lean, 0.5 * side_lean)
    chest = pelvis_rotation @ turn(twist, lean, side_lean)
    up = np.array([0.0, 0.0, 1.0])
    spine = pelvis_m + _apply(pelvis_rotation, 0.2 * size.trunk * up) + _apply(middle, 0.3 * size.trunk * up)
    neck = spine + _apply(chest, 0.5 * size.trunk * up)
    # People keep their gaze level: the head takes over only a part of the chest's lean.
    head = turn(yaw + twist + head_yaw, 0.45 * (pelvis_pitch + lean) + head_pitch, 0.5 * side_lean + head_roll)
    neck_axis = chest @ turn(0.5 * head_yaw, 0.5 * head_pitch, 0.5 * head_roll)
    head_m = neck + _apply(neck_axis, (0.014 * size.head, 0.0, size.neck))
    drop = -0.015 * build.height_m
    across = np.array([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]])
    shoulders = np.stack([neck + _apply(chest, a * size.shoulder_half + drop * up) for a in across], axis=1)
    hips = np.stack([pelvis_m + _apply(pelvis_rotation, a * size.hip_half) for a in across], axis=1)
    return Trunk(
        build, size, pelvis_m, yaw, pelvis_rotation, chest, head, spine, neck, head_m, shoulders, hips
    )  # fmt: skip


def complete(
    trunk: Trunk,
    palms_m: tuple[Floats, Floats],
    elbow_poles: tuple[Floats, Floats],
    ankles_m: tuple[Floats, Floats],
    knee_poles: tuple[Floats, Floats],
    foot_yaw: tuple[Floats, Floats],
    foot_pitch: tuple[Floats, Floats],
) -> Array:
    """Joints (T, len(BODY_JOINTS), 3), metres, of a posed trunk with its limbs reaching their targets.

    Args:
        trunk: T frames of :func:`pose_trunk`.
        palms_m, ankles_m: targets (T, 3), left and right.
        elbow_poles, knee_poles: directions (T, 3) in which elbows and knees point.
        foot_yaw, foot_pitch: world heading of the feet, and how far the toes point down, (T,).
    """
    size = trunk.bones
    joints = np.empty((trunk.frames, len(BODY_JOINTS), 3))
    joints[:, JOINT["pelvis"]] = trunk.pelvis_m
    joints[:, JOINT["spine"]] = trunk.spine_m
    joints[:, JOINT["neck"]] = trunk.neck_m
    joints[:, JOINT["head"]] = trunk.head_m
    for name, offset in FACE_M.items():
        joints[:, JOINT[name]] = trunk.from_head(offset)
    for side, name in enumerate(("left", "right")):
        shoulder, hip = trunk.shoulders_m[:, side], trunk.hips_m[:, side]
        elbow, palm = two_bone(shoulder, palms_m[side], elbow_poles[side], size.upper_arm, size.forearm + size.palm)
        wrist = elbow + (palm - elbow) * (size.forearm / (size.forearm + size.palm))
        knee, ankle = two_bone(hip, ankles_m[side], knee_poles[side], size.thigh, size.shank)
        toes = rotation(2, foot_yaw[side]) @ rotation(1, foot_pitch[side])
        toe = ankle + _apply(toes, (size.foot, 0.0, -0.6 * size.ankle))
        for joint, value in (
            ("shoulder", shoulder), ("elbow", elbow), ("wrist", wrist), ("hand", palm), ("hip", hip), ("knee", knee),
            ("ankle", ankle), ("toe", toe),
        ):  # fmt: skip
            joints[:, JOINT[f"{name}_{joint}"]] = value
    return joints.astype(np.float32)


def moved(performer: Performer, yaw: float, shift_m: tuple[float, float]) -> Performer:
    """The same performance turned by ``yaw`` about the world's z axis, then shifted along the floor."""
    matrix = rotation(2, np.array(yaw)).astype(np.float32)
    shift = np.array([*shift_m, 0.0], np.float32)
    return Performer(
        performer.subject,
        performer.build,
        performer.looks,
        (performer.joints_m @ matrix.T + shift).astype(np.float32),
        (matrix @ performer.head_rotation).astype(np.float32),
    )
