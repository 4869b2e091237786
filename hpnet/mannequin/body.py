"""A person as primitives: joints over time, a build and clothes become rounded limbs, a head with a face, hair and
shoes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .primitives import BALL, CHECKS, DRUM, LIMB, PLAIN, STRIPES, Colour, Rows, Style, frame_along, pack
from .scene import BODY_JOINTS, Performer

Floats = NDArray[np.float64]

PATTERNS: dict[str, int] = {"plain": PLAIN, "stripes": STRIPES, "checks": CHECKS}
"""What ``Looks.pattern`` may be."""
HAIR_STYLES = ("short", "long", "bun", "bald")
"""What ``Looks.hair_style`` may be."""

SKULL_M = (0.098, 0.078, 0.118)
"""Half axes of the skull of a head of size 1: forward, sideways, up."""


def _dim(colour: Colour, factor: float) -> Colour:
    r, g, b = (float(min(1.0, channel * factor)) for channel in colour)
    return (r, g, b)


class _Sculptor:
    """Collects the rows of one performer."""

    def __init__(self, frames: int, owner: float) -> None:
        self.frames = frames
        self.owner = owner
        self.rows: list[Rows] = []

    def limb(
        self, start: Floats, end: Floats, radii: tuple[float, float], style: Style, side: Floats | None = None,
        widen: float = 1.0, flat: bool = False,
    ) -> None:  # fmt: skip
        """A rounded cone, or with ``flat`` one with flat ends, from ``start`` to ``end`` (T, 3), ``widen`` times wider
        along ``side`` (T, 3)."""
        axis = end - start
        length = np.linalg.norm(axis, axis=-1)
        basis = frame_along(axis, side) * np.array([widen, 1.0, 1.0])
        params = np.stack(
            [np.full(self.frames, radii[0]), np.full(self.frames, radii[1]), np.maximum(length, 1e-4)], axis=-1
        )
        self.rows.append(pack(DRUM if flat else LIMB, start, basis, params, style, self.owner))

    def ball(self, centre: Floats, rotation: Floats, radii: ArrayLike, style: Style) -> None:
        """An ellipsoid with half axes along the columns of ``rotation`` (T, 3, 3)."""
        size = np.asarray(radii, dtype=np.float64)
        self.rows.append(pack(BALL, centre, rotation * size, size, style, self.owner))

    def clothed(
        self, start: Floats, end: Floats, radii: tuple[float, float], skin: Style, cloth: Style, covered: float,
        looseness: float,
    ) -> None:  # fmt: skip
        """A limb segment whose first ``covered`` share (0..1) is under cloth."""
        if covered >= 1:
            self.limb(start, end, (radii[0] * looseness, radii[1] * looseness), cloth)
            return
        self.limb(start, end, radii, skin)
        if covered <= 0:
            return
        hem = start + covered * (end - start)
        end_radius = radii[0] + covered * (radii[1] - radii[0])
        around = (radii[0] * looseness, end_radius * (looseness + 0.1))
        self.limb(start, hem, around, cloth, flat=True)
        self.ball(start, np.broadcast_to(np.eye(3), (self.frames, 3, 3)), [around[0]] * 3, cloth)


def body_rows(performer: Performer, owner: int) -> Rows:
    """What to draw of one person: rows (T, P, WIDTH) owned by ``owner``.

    Raises:
        ValueError: joints of the wrong shape, an unknown pattern or hair style.
    """
    joints, looks, build = performer.joints_m, performer.looks, performer.build
    if joints.ndim != 3 or joints.shape[1:] != (len(BODY_JOINTS), 3):
        raise ValueError(
            f"subject {performer.subject}: joints of shape (T, {len(BODY_JOINTS)}, 3) expected, got {joints.shape}"
        )
    if looks.pattern not in PATTERNS:
        raise ValueError(f"unknown clothes pattern {looks.pattern!r}: choose one of {', '.join(PATTERNS)}")
    if looks.hair_style not in HAIR_STYLES:
        raise ValueError(f"unknown hair style {looks.hair_style!r}: choose one of {', '.join(HAIR_STYLES)}")
    at = {name: joints[:, k].astype(np.float64) for k, name in enumerate(BODY_JOINTS)}
    sculptor = _Sculptor(len(joints), float(owner))
    stature = build.height_m / 1.72
    girth = stature * build.girth
    skin = Style(looks.skin, gloss=0.1)
    top = Style(looks.top, looks.top_second, PATTERNS[looks.pattern], 0.075 * stature, gloss=0.03)
    bottom = Style(looks.bottom, gloss=0.03)
    _trunk(sculptor, at, girth, stature, build.shoulder_width, build.hip_width, top, bottom, skin)
    for side in ("left", "right"):
        _arm(sculptor, at, side, girth, stature, top, skin, looks.sleeves)
        _leg(sculptor, at, side, girth, stature, bottom, skin, Style(looks.shoes, gloss=0.2), looks.trousers)
    _head(sculptor, at, performer.head_rotation.astype(np.float64), build.head_size * stature, performer)
    return np.stack(sculptor.rows, axis=1)


def _trunk(
    sculptor: _Sculptor, at: dict[str, Floats], girth: float, stature: float, shoulder_width: float, hip_width: float,
    top: Style, bottom: Style, skin: Style,
) -> None:  # fmt: skip
    shoulders = at["left_shoulder"] - at["right_shoulder"]
    hips = at["left_hip"] - at["right_hip"]
    pelvis, spine, neck = at["pelvis"], at["spine"], at["neck"]
    chest_top = spine + 0.68 * (neck - spine)
    middle = shoulders + hips
    low, high = 0.108 * girth, 0.112 * girth
    sculptor.limb(pelvis + 0.42 * (spine - pelvis), spine, (low, 0.1 * girth), top, middle, 1.34 * hip_width)
    sculptor.limb(spine, chest_top, (0.1 * girth, high), top, shoulders, 1.38 * shoulder_width)
    inset = 0.08
    left = at["left_shoulder"] - inset * shoulders
    right = at["right_shoulder"] + inset * shoulders
    sculptor.limb(left, right, (0.063 * girth, 0.063 * girth), top)
    collar = neck + 0.12 * (at["head"] - neck)
    for end in (left, right):
        sculptor.limb(collar, end, (0.052 * girth, 0.056 * girth), top)
    sculptor.limb(neck - 0.1 * (at["head"] - neck), at["head"], (0.054 * stature, 0.05 * stature), skin)
    half = 0.27 * hips
    sculptor.limb(pelvis - half, pelvis + half, (0.107 * girth, 0.107 * girth), bottom)


def _arm(
    sculptor: _Sculptor, at: dict[str, Floats], side: str, girth: float, stature: float, top: Style, skin: Style,
    sleeves: float,
) -> None:  # fmt: skip
    shoulder, elbow = at[f"{side}_shoulder"], at[f"{side}_elbow"]
    wrist, hand = at[f"{side}_wrist"], at[f"{side}_hand"]
    sculptor.clothed(shoulder, elbow, (0.052 * girth, 0.04 * girth), skin, top, min(2 * sleeves, 1.0), 1.12)
    sculptor.clothed(elbow, wrist, (0.041 * girth, 0.029 * girth), skin, top, max(2 * sleeves - 1, 0.0) * 0.94, 1.14)
    tip = hand + 0.9 * (hand - wrist)
    sculptor.limb(wrist, hand, (0.03 * stature, 0.04 * stature), skin)
    sculptor.limb(hand, tip, (0.037 * stature, 0.022 * stature), skin)


def _leg(
    sculptor: _Sculptor, at: dict[str, Floats], side: str, girth: float, stature: float, bottom: Style, skin: Style,
    shoe: Style, trousers: float,
) -> None:  # fmt: skip
    hip, knee, ankle, toe = (at[f"{side}_{name}"] for name in ("hip", "knee", "ankle", "toe"))
    sculptor.clothed(hip, knee, (0.082 * girth, 0.054 * girth), skin, bottom, min(2 * trousers, 1.0), 1.06)
    sculptor.clothed(knee, ankle, (0.053 * girth, 0.038 * girth), skin, bottom, max(2 * trousers - 1, 0.0), 1.12)
    shin = ankle - knee
    down = shin / np.maximum(np.linalg.norm(shin, axis=-1, keepdims=True), 1e-6)
    forward = toe - ankle
    forward = forward - down * np.sum(forward * down, axis=-1, keepdims=True)
    forward = forward / np.maximum(np.linalg.norm(forward, axis=-1, keepdims=True), 1e-6)
    heel = ankle + stature * (0.028 * down - 0.03 * forward)
    sculptor.limb(heel, toe, (0.044 * stature, 0.036 * stature), shoe, np.cross(forward, down), 1.15)
    sculptor.limb(ankle, heel, (0.043 * stature, 0.044 * stature), shoe)


def _head(sculptor: _Sculptor, at: dict[str, Floats], rotation: Floats, size: float, performer: Performer) -> None:
    looks = performer.looks
    skin = Style(looks.skin, gloss=0.1)
    hair = Style(looks.hair, gloss=0.12)
    white, black = Style((0.97, 0.97, 0.95), gloss=0.2), Style((0.06, 0.05, 0.05), gloss=0.2)
    lips = Style(_dim((looks.skin[0], looks.skin[1] * 0.55, looks.skin[2] * 0.55), 0.85))
    head = at["head"]

    def local(x: float, y: float, z: float) -> Floats:
        return np.asarray(head + size * rotation @ np.array([x, y, z]), dtype=np.float64)

    def ball(x: float, y: float, z: float, radii: tuple[float, float, float], style: Style) -> None:
        sculptor.ball(local(x, y, z), rotation, [size * r for r in radii], style)

    ball(0.0, 0.0, 0.0, SKULL_M, skin)
    ball(0.028, 0.0, -0.066, (0.062, 0.06, 0.055), skin)
    ball(0.085, 0.0, -0.064, (0.014, 0.028, 0.009), lips)
    sculptor.ball(at["nose"] - size * 0.012 * rotation[:, :, 0], rotation, size * np.array([0.02, 0.015, 0.024]), skin)
    for side in ("left", "right"):
        eye, ear = at[f"{side}_eye"], at[f"{side}_ear"]
        outward = 1.0 if side == "left" else -1.0
        sculptor.ball(eye - size * 0.006 * rotation[:, :, 0], rotation, size * np.array([0.013, 0.021, 0.015]), white)
        sculptor.ball(eye + size * 0.003 * rotation[:, :, 0], rotation, size * np.array([0.009, 0.012, 0.013]), black)
        brow = eye + size * (0.002 * rotation[:, :, 0] + 0.026 * rotation[:, :, 2])
        sculptor.ball(
            brow, rotation, size * np.array([0.012, 0.023, 0.007]), hair if looks.hair_style != "bald" else black
        )
        sculptor.ball(ear, rotation, size * np.array([0.022, 0.014, 0.032]), skin)
        if looks.hair_style == "long":
            ball(-0.03, outward * 0.07, -0.07, (0.05, 0.03, 0.13), hair)
    if looks.hair_style == "bald":
        return
    ball(-0.022, 0.0, 0.03, (0.099, 0.088, 0.108), hair)
    ball(0.025, 0.0, 0.085, (0.062, 0.07, 0.046), hair)
    if looks.hair_style == "long":
        ball(-0.062, 0.0, -0.08, (0.052, 0.085, 0.15), hair)
    elif looks.hair_style == "bun":
        ball(-0.105, 0.0, 0.085, (0.05, 0.05, 0.05), hair)
