"""What choreography and renderer agree on: joints in space, props, people, rooms, cameras. No drawing, no motion here.

World frame: metres, right-handed, z up, the floor at z = 0, the room's centre near the origin. A performer at rest
faces +x with +y to its left. Rotations are 3 x 3 matrices whose columns are the local axes in world coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..core.skeleton import COCO_JOINTS

Array = NDArray[np.float32]

BODY_JOINTS: tuple[str, ...] = (
    *COCO_JOINTS,
    "pelvis", "spine", "neck", "head", "left_hand", "right_hand", "left_toe", "right_toe",
)  # fmt: skip
"""COCO's 17 first, then the joints that only drawing needs. ``head`` is the centre of the skull; hands are the middle
of the palm; toes the tip of the shoe."""


@dataclass(frozen=True)
class Build:
    """Proportions of one person: metres, except the factors."""

    height_m: float = 1.72
    shoulder_width: float = 1.0
    hip_width: float = 1.0
    limb_length: float = 1.0
    girth: float = 1.0
    head_size: float = 1.0


@dataclass(frozen=True)
class Looks:
    """Colours (RGB, 0..1) and clothing of one person."""

    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    top: tuple[float, float, float]
    top_second: tuple[float, float, float]
    bottom: tuple[float, float, float]
    shoes: tuple[float, float, float]
    sleeves: float = 1.0
    """Share of the arm that the sleeve covers, 0..1 (0.5 ends at the elbow)."""
    trousers: float = 1.0
    """Share of the leg that is covered."""
    pattern: str = "plain"
    """plain, stripes or checks on the top."""
    hair_style: str = "short"
    """short, long, bun or bald."""


@dataclass(frozen=True)
class Prop:
    """An object over time. ``kind`` names a constructor of props.py; ``shown`` hides it in some frames."""

    kind: str
    centre_m: Array
    """(T, 3)"""
    rotation: Array
    """(T, 3, 3)"""
    colour: tuple[float, float, float]
    scale: float = 1.0
    shown: NDArray[np.bool_] | None = None
    """(T,), or None for always"""


@dataclass(frozen=True)
class Performer:
    """One person acting: who, and where each joint is in every frame."""

    subject: int
    build: Build
    looks: Looks
    joints_m: Array
    """(T, len(BODY_JOINTS), 3)"""
    head_rotation: Array
    """(T, 3, 3); local x looks forward, z up"""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with square pixels, looking from ``position_m`` at ``target_m``."""

    position_m: tuple[float, float, float]
    target_m: tuple[float, float, float]
    vertical_fov_deg: float = 40.0


@dataclass(frozen=True)
class Scene:
    """Everything that a clip shows."""

    performers: tuple[Performer, ...]
    props: tuple[Prop, ...]
    room_seed: int
    """The room (walls, floor, furniture, light, clutter) is a function of this seed alone."""
    camera: Camera
    noise_seed: int = 0
    """Sensor noise and other per-clip variation."""
    furniture: tuple[Prop, ...] = field(default_factory=tuple)
    """Static things the action needs, a chair to sit on, say (T = 1)."""
