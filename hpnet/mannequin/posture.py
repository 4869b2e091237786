"""A person standing over time, to be moved: the signals that an action adds to, and how they become a performer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .kinematics import OUTWARD, Floats, Trunk, bones, complete, pose_trunk, rotation, sway
from .people import Person
from .scene import Performer


@dataclass(frozen=True)
class Clock:
    """The instants of a clip's frames."""

    frames: int
    fps: float

    def __post_init__(self) -> None:
        if self.frames < 1 or self.fps <= 0:
            raise ValueError(f"a clip needs frames >= 1 and fps > 0, got {self.frames} frames at {self.fps} fps")

    @property
    def duration_s(self) -> float:
        """Length of the clip."""
        return self.frames / self.fps

    @property
    def share(self) -> Floats:
        """(T,) in 0..1: how far through the clip each frame is."""
        return (np.arange(self.frames) + 0.5) / self.frames

    @property
    def seconds(self) -> Floats:
        """(T,)"""
        return self.share * self.duration_s


class Body:
    """One person at rest, facing +x at the origin, breathing and swaying; an action changes the signals it needs.

    Signals are (T,) unless said otherwise. Set them, call :meth:`trunk`, choose palms from its frames, then
    :meth:`perform`.
    """

    def __init__(self, person: Person, clock: Clock, rng: np.random.Generator) -> None:
        self.person = person
        self.bones = bones(person.build)
        style, time_s, frames = person.style, clock.seconds, clock.frames
        self.ahead = sway(time_s, rng, 0.6 * style.sway_m)
        self.aside = sway(time_s, rng, style.sway_m)
        self.rise = np.full(frames, -0.007 * person.build.height_m)
        self.yaw = sway(time_s, rng, 0.03)
        self.pelvis_pitch = np.zeros(frames)
        self.pelvis_roll = sway(time_s, rng, 0.02)
        self.lean = style.slouch_rad + sway(time_s, rng, 0.015)
        self.side_lean = -self.pelvis_roll + sway(time_s, rng, 0.015)
        self.twist = sway(time_s, rng, 0.03)
        self.head_yaw = float(rng.normal(0.0, 0.10)) + sway(time_s, rng, 0.05)
        self.head_pitch = float(rng.uniform(-0.05, 0.10)) + sway(time_s, rng, 0.03)
        self.head_roll = sway(time_s, rng, 0.03)
        half = style.stance_half_m + 0.02 * float(rng.normal())
        stagger = 0.03 * float(rng.normal())
        self.ankles: list[Floats] = [
            np.tile([sign * stagger, sign * half, self.bones.ankle], (frames, 1)) for sign in OUTWARD
        ]
        """Left and right, (T, 3)"""
        self.foot_yaw: list[Floats] = [np.full(frames, sign * style.toe_out_rad) for sign in OUTWARD]
        self.foot_pitch: list[Floats] = [np.zeros(frames), np.zeros(frames)]
        self.hang = [(float(rng.uniform(0.02, 0.10)), float(rng.uniform(0.05, 0.11))) for _ in OUTWARD]
        """Forward and outward offset of each idle hand, metres"""

    def trunk(self) -> Trunk:
        """The trunk as the signals say."""
        pelvis = np.stack((self.ahead, self.aside, self.bones.hip_height + self.rise), axis=-1)
        return pose_trunk(
            self.person.build, pelvis, self.yaw, self.pelvis_pitch, self.pelvis_roll, self.lean, self.side_lean,
            self.twist, self.head_yaw, self.head_pitch, self.head_roll,
        )  # fmt: skip

    def idle_palm(self, trunk: Trunk, side: int) -> Floats:
        """Where the palm of an idle arm hangs, (T, 3)."""
        return trunk.hanging(side, *self.hang[side])

    def perform(
        self,
        trunk: Trunk,
        palms_m: dict[int, Floats],
        elbow_poles: dict[int, Floats] | None = None,
    ) -> Performer:
        """The performer whose palms reach ``palms_m`` (by side; arms not named hang).

        ``elbow_poles``: directions by side in the body's upright frame, (3,) or (T, 3); the default points back, down
        and out as the person's style says.
        """
        level, out = trunk.level(), 0.12 + 0.4 * self.person.style.elbow_out
        palms, elbows, knees = [], [], []
        for side, sign in enumerate(OUTWARD):
            palms.append(palms_m[side] if side in palms_m else self.idle_palm(trunk, side))
            pole = (elbow_poles or {}).get(side, np.array((-0.55, sign * out, -0.6)))
            elbows.append(np.einsum("tij,tj->ti", level, np.broadcast_to(pole, (trunk.frames, 3))))
            heading = rotation(2, self.foot_yaw[side])
            # Forward and up, so that a leg held out level does not lose its knee's direction.
            knees.append(heading[:, :, 0] + 0.3 * level[:, :, 0] + np.array((0.0, 0.0, 0.6)))
        joints = complete(
            trunk,
            (palms[0], palms[1]),
            (elbows[0], elbows[1]),
            (self.ankles[0], self.ankles[1]),
            (knees[0], knees[1]),
            (self.foot_yaw[0], self.foot_yaw[1]),
            (self.foot_pitch[0], self.foot_pitch[1]),
        )
        who = self.person
        return Performer(who.number, who.build, who.looks, joints, trunk.head_rotation.astype(np.float32))
