"""Primitives that everything drawn is made of, as plain rows of numbers that the ray caster reads.

Each primitive has a canonical shape in its own local space and an affine map to the world, so a flattened limb is a
limb with a narrower local axis. Shapes (local space):

- ``BALL``: the unit sphere.
- ``BOX``: the cube [-1, 1]^3.
- ``QUAD``: the square [-1, 1]^2 in z = 0, visible from its +z side only (walls and floors).
- ``LIMB``: the convex hull of two spheres on the z axis, radius ``params[0]`` at z = 0, ``params[1]`` at z =
  ``params[2]``.
- ``DRUM``: a capped cone frustum from z = 0 to z = ``params[2]``, with those two radii.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Rows = NDArray[np.float64]
Colour = tuple[float, float, float]

BALL, BOX, QUAD, LIMB, DRUM = range(5)

PLAIN, STRIPES, CHECKS, WOOD, TILES, WALLPAPER, CARPET, BOOKS, POSTER, SCREEN, TEXT, BRICK, DOTS = range(13)
"""Patterns, by what they look like."""

# Columns of a row.
SHAPE, CENTRE, INVERSE, BASIS, PARAMS, COLOUR, SECOND = 0, 1, 4, 13, 22, 25, 28
PATTERN, PITCH, OFFSET, GLOSS, GLOW, OWNER, SHOWN = 31, 32, 33, 34, 35, 36, 37
WIDTH = 38

NOBODY = -1.0
"""Owner of primitives that belong to no performer."""


@dataclass(frozen=True)
class Style:
    """How a surface looks. Colours are display RGB in 0..1; ``pitch_m`` is the pattern's period in metres."""

    colour: Colour
    second: Colour = (0.9, 0.9, 0.9)
    pattern: int = PLAIN
    pitch_m: float = 0.06
    offset: float = 0.0
    """Shifts a pattern along the local z axis (metres); the seed of patterns that need one."""
    gloss: float = 0.08
    glow: float = 0.0
    """0 is lit by the room alone, 1 shines with its own colour."""


@dataclass(frozen=True)
class Part:
    """One primitive of a rigid object: shape, affine map to the object's frame, look."""

    shape: int
    centre: NDArray[np.float64]
    """(3,)"""
    basis: NDArray[np.float64]
    """(3, 3), columns are the local axes in the object's frame, lengths included"""
    params: tuple[float, float, float]
    style: Style


def frame_along(axis: NDArray[np.float64], side: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Right-handed orthonormal frames (..., 3, 3) whose z column is along ``axis`` (..., 3) and whose x column is as
    near to ``side`` as it can be (any perpendicular when None)."""
    length = np.linalg.norm(axis, axis=-1, keepdims=True)
    z = np.where(length > 1e-9, axis / np.maximum(length, 1e-9), np.array([0.0, 0.0, 1.0]))
    if side is None:
        steep = np.abs(z[..., 2:3]) > 0.9
        side = np.where(steep, np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0]))
    x = side - z * np.sum(side * z, axis=-1, keepdims=True)
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    spare = np.where(np.abs(z[..., :1]) < 0.9, np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]))
    spare = spare - z * np.sum(spare * z, axis=-1, keepdims=True)
    x = np.where(norm > 1e-6, x / np.maximum(norm, 1e-6), spare / np.linalg.norm(spare, axis=-1, keepdims=True))
    return np.stack([x, np.cross(z, x), z], axis=-1)


def turn(axis: str, degrees: float) -> NDArray[np.float64]:
    """Rotation (3, 3) about a coordinate axis ("x", "y" or "z"), right-handed."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    out = np.eye(3)
    out[i, i] = out[j, j] = c
    out[j, i], out[i, j] = s, -s
    return out


def ball(centre: ArrayLike, radii: ArrayLike, style: Style, rotation: NDArray[np.float64] | None = None) -> Part:
    """An ellipsoid; ``radii`` one number or three (metres)."""
    size = np.broadcast_to(np.asarray(radii, dtype=np.float64), (3,))
    basis = (np.eye(3) if rotation is None else rotation) * size
    return Part(BALL, np.asarray(centre, dtype=np.float64), basis, (size[0], size[1], size[2]), style)


def box(centre: ArrayLike, size: ArrayLike, style: Style, rotation: NDArray[np.float64] | None = None) -> Part:
    """A box; ``size`` holds the full edge lengths (metres)."""
    half = np.asarray(size, dtype=np.float64) / 2
    basis = (np.eye(3) if rotation is None else rotation) * half
    return Part(BOX, np.asarray(centre, dtype=np.float64), basis, (half[0], half[1], half[2]), style)


def quad(centre: ArrayLike, width: float, height: float, style: Style, rotation: NDArray[np.float64]) -> Part:
    """A one-sided rectangle facing ``rotation``'s z column, ``width`` along its x and ``height`` along its y."""
    basis = rotation * np.array([width / 2, height / 2, 1.0])
    return Part(QUAD, np.asarray(centre, dtype=np.float64), basis, (width / 2, height / 2, 1.0), style)


def limb(start: ArrayLike, end: ArrayLike, radius_start: float, radius_end: float, style: Style) -> Part:
    """A rounded cone: two balls and what lies between."""
    a, b = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    return Part(LIMB, a, frame_along(b - a), (radius_start, radius_end, float(np.linalg.norm(b - a))), style)


def drum(start: ArrayLike, end: ArrayLike, radius_start: float, radius_end: float, style: Style) -> Part:
    """A cylinder or cone frustum with flat ends."""
    a, b = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    return Part(DRUM, a, frame_along(b - a), (radius_start, radius_end, float(np.linalg.norm(b - a))), style)


def moved(parts: Sequence[Part], centre: ArrayLike, rotation: NDArray[np.float64], scale: float = 1.0) -> list[Part]:
    """The same parts in another object's frame."""
    origin = np.asarray(centre, dtype=np.float64)
    return [replace(p, centre=origin + scale * rotation @ p.centre, basis=scale * rotation @ p.basis) for p in parts]


def pack(
    shape: int,
    centre: NDArray[np.float64],
    basis: NDArray[np.float64],
    params: ArrayLike,
    style: Style,
    owner: float = NOBODY,
    shown: NDArray[np.bool_] | None = None,
) -> Rows:
    """Rows (T, WIDTH) of one primitive over time.

    Args:
        centre: (T, 3) world metres.
        basis: (T, 3, 3) local to world.
        params: (3,) or (T, 3).
        shown: (T,), None for always.
    """
    rows = np.zeros((len(centre), WIDTH))
    rows[:, SHAPE] = shape
    rows[:, CENTRE : CENTRE + 3] = centre
    rows[:, BASIS : BASIS + 9] = basis.reshape(-1, 9)
    rows[:, PARAMS : PARAMS + 3] = params
    # Display colours to linear light (gamma 2).
    rows[:, COLOUR : COLOUR + 3] = np.square(style.colour)
    rows[:, SECOND : SECOND + 3] = np.square(style.second)
    rows[:, PATTERN], rows[:, PITCH], rows[:, OFFSET] = style.pattern, style.pitch_m, style.offset
    rows[:, GLOSS], rows[:, GLOW], rows[:, OWNER] = style.gloss, style.glow, owner
    rows[:, SHOWN] = 1.0 if shown is None else shown
    return rows


def place(
    parts: Sequence[Part],
    centre_m: ArrayLike,
    rotation: ArrayLike,
    scale: float = 1.0,
    shown: NDArray[np.bool_] | None = None,
) -> Rows:
    """Rows (T, P, WIDTH) of a rigid object of P parts at ``centre_m`` (T, 3) with ``rotation`` (T, 3, 3)."""
    origin = np.asarray(centre_m, dtype=np.float64)
    turned = scale * np.asarray(rotation, dtype=np.float64)
    if not parts:
        return np.zeros((len(origin), 0, WIDTH))
    return np.stack(
        [pack(p.shape, origin + turned @ p.centre, turned @ p.basis, p.params, p.style, NOBODY, shown) for p in parts],
        axis=1,
    )


def finish(rows: Rows) -> Rows:
    """Fills in the world-to-local maps of rows (..., WIDTH), in place; the last step before drawing."""
    basis = rows[..., BASIS : BASIS + 9].reshape(*rows.shape[:-1], 3, 3)
    rows[..., INVERSE : INVERSE + 9] = np.linalg.inv(basis).reshape(*rows.shape[:-1], 9)
    return rows
