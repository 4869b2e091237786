"""Rooms: walls, floor, furniture, clutter and light, all of them drawn from one seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .primitives import (
    BOOKS,
    BRICK,
    CARPET,
    CHECKS,
    DOTS,
    PLAIN,
    POSTER,
    STRIPES,
    TILES,
    WALLPAPER,
    WOOD,
    Colour,
    Part,
    Style,
    ball,
    box,
    drum,
    limb,
    moved,
    quad,
)  # fmt: skip
from .scene import Camera

Floats = NDArray[np.float64]
Generator = np.random.Generator

WOODS: tuple[Colour, ...] = (
    (0.62, 0.44, 0.27), (0.45, 0.3, 0.18), (0.74, 0.58, 0.4), (0.34, 0.22, 0.14), (0.82, 0.72, 0.58),
    (0.86, 0.85, 0.82),
)  # fmt: skip


@dataclass(frozen=True)
class Item:
    """A piece of furniture in the room's frame."""

    parts: tuple[Part, ...]
    centre_m: tuple[float, float]
    half_width_m: float
    height_m: float


@dataclass(frozen=True)
class Room:
    """A room around the origin.

    Attributes:
        shell: walls, floor and ceiling; seen from inside only, they throw no shadow.
        items: furniture and what hangs on the walls.
        light: (6, 3), rows as in :mod:`.raster`.
    """

    shell: tuple[Part, ...]
    items: tuple[Item, ...]
    light: Floats


def _colour(rng: Generator, low: float = 0.15, high: float = 0.85, vivid: float = 1.0) -> Colour:
    value, hue = rng.uniform(low, high), rng.uniform(0, 2 * np.pi)
    strength = vivid * rng.uniform(0.1, 0.45)
    r, g, b = (float(np.clip(value * (1 + strength * np.cos(hue - k * 2.094)), 0.02, 0.98)) for k in range(3))
    return (r, g, b)


def _wood(rng: Generator) -> Style:
    colour = WOODS[rng.integers(len(WOODS))]
    return Style(colour, _dim(colour, 0.7), WOOD, float(rng.uniform(0.2, 0.4)), float(rng.integers(1000)))


def _dim(colour: Colour, factor: float) -> Colour:
    r, g, b = (float(min(0.98, channel * factor)) for channel in colour)
    return (r, g, b)


# Furniture stands in its own frame: x along the wall, y out of the wall into the room, z up, the origin on the floor at
# the wall. Each constructor returns (width, height, parts).
Built = tuple[float, float, list[Part]]


def _bookshelf(rng: Generator) -> Built:
    width, height = float(rng.uniform(0.7, 1.3)), 0.31 * float(rng.integers(4, 7)) + 0.06
    wood = _wood(rng)
    books = Style(wood.colour, pattern=BOOKS, pitch_m=0.045, offset=float(rng.integers(1000)))
    parts = [box((0, 0.13, height / 2), (width, 0.26, height), wood)]
    face = np.stack([np.array([-1.0, 0, 0]), np.array([0, 0, 1.0]), np.array([0, 1.0, 0])], axis=1)
    parts.append(quad((0, 0.263, height / 2), width - 0.08, height - 0.08, books, face))
    return width, height, parts


def _wardrobe(rng: Generator) -> Built:
    width, height = float(rng.uniform(0.9, 1.4)), float(rng.uniform(1.8, 2.2))
    wood = _wood(rng)
    handle = Style((0.75, 0.75, 0.72), gloss=0.5)
    parts = [box((0, 0.28, height / 2), (width, 0.56, height), wood)]
    parts.append(box((0, 0.562, height / 2), (0.015, 0.01, height), Style(_dim(wood.colour, 0.35))))
    parts += [box((x, 0.575, height / 2), (0.02, 0.03, 0.18), handle) for x in (-0.06, 0.06)]
    return width, height, parts


def _sofa(rng: Generator) -> Built:
    width, cloth = float(rng.uniform(1.4, 2.0)), Style(_colour(rng, 0.2, 0.7), gloss=0.02)
    seat = Style(_dim(cloth.colour, 1.15), gloss=0.02)
    parts = [
        box((0, 0.45, 0.2), (width, 0.8, 0.3), cloth),
        box((0, 0.12, 0.55), (width, 0.24, 0.6), cloth),
        box((-width / 2 + 0.09, 0.45, 0.38), (0.18, 0.82, 0.5), cloth),
        box((width / 2 - 0.09, 0.45, 0.38), (0.18, 0.82, 0.5), cloth),
        box((-width / 4 + 0.05, 0.5, 0.4), (width / 2 - 0.15, 0.66, 0.14), seat),
        box((width / 4 - 0.05, 0.5, 0.4), (width / 2 - 0.15, 0.66, 0.14), seat),
    ]
    pillow = Style(_colour(rng, 0.4, 0.9), _colour(rng, 0.5, 0.95), int(rng.choice([PLAIN, STRIPES, CHECKS])), 0.08)
    parts.append(ball((float(rng.uniform(-0.4, 0.4)) * width, 0.32, 0.6), (0.2, 0.09, 0.19), pillow))
    return width, 0.85, parts


def _table(rng: Generator) -> Built:
    width, height, wood = float(rng.uniform(0.9, 1.5)), 0.74, _wood(rng)
    parts = [box((0, 0.35, height), (width, 0.66, 0.04), wood)]
    parts += [
        box((x * (width / 2 - 0.06), 0.35 + y * 0.27, height / 2), (0.05, 0.05, height), wood)
        for x in (-1, 1)
        for y in (-1, 1)
    ]
    for _ in range(int(rng.integers(1, 4))):
        x, y = float(rng.uniform(-0.4, 0.4)) * width, float(rng.uniform(0.15, 0.5))
        parts += _clutter(rng, x, y, height + 0.02)
    return width, height + 0.3, parts


def _clutter(rng: Generator, x: float, y: float, z: float) -> list[Part]:
    """A thing on a surface: a vase, a pile, a bowl or a monitor."""
    style = Style(_colour(rng, 0.2, 0.9, 1.6), gloss=0.25)
    kind = int(rng.integers(4))
    if kind == 0:
        leaf = Style((0.2, float(rng.uniform(0.35, 0.6)), 0.18))
        return [
            drum((x, y, z), (x, y, z + 0.16), 0.06, 0.04, style),
            *(
                ball((x + 0.07 * np.cos(a), y + 0.07 * np.sin(a), z + 0.26), (0.05, 0.05, 0.09), leaf)
                for a in (0, 2, 4)
            ),
        ]
    if kind == 1:
        sizes = rng.uniform(0.8, 1.0, 3)
        return [
            box((x, y, z + 0.02 + 0.04 * k), (0.24 * s, 0.18 * s, 0.038), Style(_colour(rng, 0.2, 0.8, 1.5)))
            for k, s in enumerate(sizes)
        ]
    if kind == 2:
        return [drum((x, y, z), (x, y, z + 0.08), 0.05, 0.12, style)]
    return [
        box((x, y, z + 0.22), (0.46, 0.03, 0.28), Style((0.06, 0.06, 0.07), gloss=0.4)),
        box((x, y, z + 0.05), (0.05, 0.05, 0.1), Style((0.1, 0.1, 0.1))),
        box((x, y, z + 0.005), (0.2, 0.14, 0.01), Style((0.1, 0.1, 0.1))),
    ]


def _cabinet(rng: Generator) -> Built:
    width, height, wood = float(rng.uniform(0.8, 1.5)), float(rng.uniform(0.5, 0.95)), _wood(rng)
    parts = [box((0, 0.22, height / 2), (width, 0.44, height), wood)]
    line = Style(_dim(wood.colour, 0.3))
    parts += [box((0, 0.442, height * k / 3), (width - 0.04, 0.01, 0.012), line) for k in (1, 2)]
    if rng.random() < 0.5:
        parts.append(box((0, 0.2, height + 0.33), (0.95, 0.05, 0.56), Style((0.05, 0.05, 0.06), gloss=0.5)))
        return width, height + 0.6, parts
    parts += _clutter(rng, float(rng.uniform(-0.3, 0.3)), 0.22, height)
    return width, height + 0.3, parts


def _plant(rng: Generator) -> Built:
    pot, green = Style(_colour(rng, 0.3, 0.8)), float(rng.uniform(0.3, 0.6))
    parts = [drum((0, 0.28, 0), (0, 0.28, 0.32), 0.13, 0.18, pot)]
    for _ in range(int(rng.integers(6, 11))):
        angle, high, out = rng.uniform(0, 2 * np.pi), float(rng.uniform(0.5, 1.25)), float(rng.uniform(0.05, 0.26))
        tip = (out * float(np.cos(angle)), 0.3 + out * float(np.sin(angle)), high)
        leaf = Style((0.35 * green, green * float(rng.uniform(0.8, 1.2)), 0.3 * green))
        parts.append(limb((0, 0.28, 0.3), tip, 0.012, 0.01, Style((0.3, 0.35, 0.15))))
        parts.append(ball(tip, (0.11, 0.11, 0.16), leaf))
    return 0.6, 1.35, parts


def _lamp(rng: Generator) -> Built:
    shade = Style(_dim(_colour(rng, 0.7, 0.95), 1.1), glow=float(rng.uniform(0.3, 0.8)))
    metal = Style((0.25, 0.25, 0.26), gloss=0.4)
    return (
        0.5,
        1.65,
        [
            drum((0, 0.3, 0), (0, 0.3, 0.03), 0.15, 0.15, metal),
            limb((0, 0.3, 0), (0, 0.3, 1.4), 0.015, 0.015, metal),
            drum((0, 0.3, 1.35), (0, 0.3, 1.65), 0.2, 0.12, shade),
        ],
    )


def _boxes(rng: Generator) -> Built:
    parts: list[Part] = []
    for _ in range(int(rng.integers(2, 5))):
        size = rng.uniform(0.25, 0.5, 3)
        card = Style(_dim((0.66, 0.5, 0.33), float(rng.uniform(0.8, 1.2))))
        parts.append(box((float(rng.uniform(-0.25, 0.25)), float(rng.uniform(0.28, 0.4)), size[2] / 2), size, card))
    parts.append(box((0.05, 0.32, 0.62), (0.34, 0.3, 0.24), Style(_colour(rng, 0.3, 0.8))))
    return 0.95, 0.75, parts


def _coats(rng: Generator) -> Built:
    """Coats on hooks: upright and coloured like a person, but none."""
    parts = [box((0, 0.015, 1.7), (1.0, 0.03, 0.1), _wood(rng))]
    for x in (-0.32, 0.02, 0.34):
        if rng.random() < 0.75:
            cloth = Style(_colour(rng, 0.12, 0.7, 1.3), gloss=0.02)
            parts.append(limb((x, 0.11, 1.56), (x, 0.12, 1.0), 0.07, 0.12, cloth))
            parts.append(limb((x + 0.1, 0.1, 1.5), (x + 0.13, 0.11, 1.0), 0.04, 0.045, cloth))
    return 1.0, 1.8, parts


def _door(rng: Generator) -> Built:
    wood = Style(WOODS[rng.integers(len(WOODS))], gloss=0.12)
    edge = Style(_dim(wood.colour, 0.75))
    parts = [
        box((0, 0.01, 1.03), (1.02, 0.04, 2.08), edge),
        box((0, 0.025, 1.01), (0.88, 0.04, 2.0), wood),
        box((0, 0.046, 1.5), (0.6, 0.01, 0.7), edge),
        box((0, 0.046, 0.55), (0.6, 0.01, 0.7), edge),
        ball((0.36, 0.08, 1.02), 0.035, Style((0.8, 0.72, 0.4), gloss=0.6)),
    ]
    return 1.1, 2.1, parts


FURNITURE: tuple[Callable[[Generator], Built], ...] = (
    _bookshelf, _wardrobe, _sofa, _table, _cabinet, _plant, _lamp, _boxes, _coats, _door,
)  # fmt: skip


def _hanging(rng: Generator, room_width: float) -> Built:
    """Something on the wall above low furniture."""
    if rng.random() < 0.35:
        width, height, middle = (
            float(rng.uniform(0.9, max(0.9, min(1.6, room_width)))),
            float(rng.uniform(0.8, 1.1)),
            1.65,
        )
        frame = Style((0.92, 0.92, 0.9))
        sky = Style((0.75, 0.85, 0.97), glow=float(rng.uniform(0.45, 0.8)))
        parts = [
            box((0, 0.02, middle), (width + 0.12, 0.06, height + 0.12), frame),
            box((0, 0.03, middle), (width, 0.06, height), sky),
            box((0, 0.05, middle), (0.05, 0.05, height), frame),
            box((0, 0.05, middle), (width, 0.05, 0.04), frame),
        ]
        if rng.random() < 0.6:
            curtain = Style(
                _colour(rng, 0.3, 0.85), _colour(rng, 0.3, 0.85), int(rng.choice([PLAIN, STRIPES, DOTS])), 0.1
            )
            parts += [
                box((side * (width / 2 + 0.12), 0.08, middle - 0.1), (0.3, 0.07, height + 0.6), curtain)
                for side in (-1, 1)
            ]
        return width + 0.6, 2.3, parts
    width, height = float(rng.uniform(0.4, min(1.1, room_width))), float(rng.uniform(0.4, 0.8))
    style = Style(
        _colour(rng, 0.2, 0.9, 1.8), _colour(rng, 0.2, 0.9, 1.8), POSTER, offset=float(rng.integers(1000)), gloss=0.1
    )
    return width + 0.1, 2.1, [box((0, 0.015, float(rng.uniform(1.5, 1.75))), (width, 0.03, height), style)]


def _shell(rng: Generator, reach: Floats, height: float) -> list[Part]:
    """Floor, ceiling and the four walls at x = +-reach[0], y = +-reach[1]."""
    identity = np.eye(3)
    floor_kind = int(rng.choice([WOOD, WOOD, TILES, CARPET, PLAIN]))
    base = WOODS[rng.integers(len(WOODS))] if floor_kind == WOOD else _colour(rng, 0.35, 0.75, 0.35)
    pitch = {WOOD: 0.14, TILES: float(rng.uniform(0.3, 0.6)), CARPET: 0.12, PLAIN: 1.0}[floor_kind]
    second = _dim(base, float(rng.choice([0.6, 0.75, 1.3])))
    floor = Style(
        base, second, floor_kind, pitch, float(rng.integers(1000)), gloss=0.12 if floor_kind != CARPET else 0.0
    )
    parts = [quad((0, 0, 0), 30, 30, floor, identity)]
    turned = np.stack([identity[0], -identity[1], -identity[2]], axis=1)
    parts.append(quad((0, 0, height), 2 * reach[0], 2 * reach[1], Style((0.9, 0.9, 0.88), glow=0.3), turned))
    wall_colour = _colour(rng, 0.55, 0.93, 0.3)
    skirting = Style(_dim(wall_colour, float(rng.choice([0.5, 1.25]))))
    accent = int(rng.integers(4))
    for k in range(4):
        inward = np.array([[-1.0, 0, 0], [0, -1.0, 0], [1.0, 0, 0], [0, 1.0, 0]][k])
        up = np.array([0.0, 0.0, 1.0])
        rotation = np.stack([np.cross(up, inward), up, inward], axis=1)
        extent = reach[1] if k % 2 == 0 else reach[0]
        centre = -inward * (reach[0] if k % 2 == 0 else reach[1])
        kind = int(rng.choice([WALLPAPER, BRICK, DOTS, PLAIN])) if k == accent else PLAIN
        pitch = {WALLPAPER: 0.24, BRICK: 0.085, DOTS: 0.2, PLAIN: 1.0}[kind]
        colour = _colour(rng, 0.4, 0.85, 0.5) if k == accent else wall_colour
        style = Style(colour, _dim(colour, 0.82), kind, pitch, float(rng.integers(1000)), gloss=0.0)
        parts.append(quad(centre + up * height / 2, 2 * extent, height, style, rotation))
        parts.append(quad(centre + up * 0.05 + inward * 0.01, 2 * extent, 0.1, skirting, rotation))
    return parts


def _light(rng: Generator) -> Floats:
    by_window = rng.random() < 0.5
    elevation = np.radians(rng.uniform(38, 55) if by_window else rng.uniform(55, 76))
    azimuth = rng.uniform(0, 2 * np.pi)
    towards = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    across = np.cross([0.0, 0.0, 1.0], towards)
    across /= np.linalg.norm(across)
    warmth = rng.uniform(-0.06, 0.04) if by_window else rng.uniform(0.0, 0.14)
    tint = np.array([1 + warmth, 1.0, 1 - warmth])
    strength = rng.uniform(0.5, 0.95)
    ambient = rng.uniform(0.42, 0.7)
    bounce = np.array([1.03, 1.0, 0.95]) * ambient * rng.uniform(0.45, 0.65)
    return np.stack([ambient * (0.5 + 0.5 * tint), bounce, strength * tint, towards, across, np.cross(towards, across)])


def build_room(seed: int) -> Room:
    """The room of a seed. The middle, 1.7 m around the origin, stays free."""
    rng = np.random.default_rng((seed, 0x200))
    reach = rng.uniform(2.4, 3.4, 2)
    height = float(rng.uniform(2.5, 3.0))
    shell = _shell(rng, reach, height)
    light = _light(rng)
    items: list[Item] = []
    waiting: list[Callable[[Generator], Built]] = []
    if rng.random() < 0.5:
        rug = Style(
            _colour(rng, 0.3, 0.7, 1.2), _colour(rng, 0.3, 0.8, 1.2), int(rng.choice([CARPET, STRIPES, CHECKS])), 0.25
        )
        if rng.random() < 0.5:
            rug_parts = [drum((0, 0, 0), (0, 0, 0.008), 1.3, 1.3, rug)]
        else:
            rug_parts = [box((0, 0, 0.004), (2.6, 1.8, 0.008), rug)]
        items.append(Item(tuple(rug_parts), (0.0, 0.0), 0.0, 0.01))
    for k in range(4):
        inward = np.array([[-1.0, 0, 0], [0, -1.0, 0], [1.0, 0, 0], [0, 1.0, 0]][k])
        extent = float(reach[1] if k % 2 == 0 else reach[0])
        wall = -inward * float(reach[0] if k % 2 == 0 else reach[1])
        up = np.array([0.0, 0.0, 1.0])
        along = np.cross(inward, up)
        rotation = np.stack([along, inward, up], axis=1)
        # Corners stay free for the neighbouring wall's furniture.
        cursor = -extent + float(rng.uniform(0.5, 0.8))
        while True:
            waiting = waiting or [FURNITURE[k] for k in rng.permutation(len(FURNITURE))]
            width, tall, parts = waiting.pop()(rng)
            if cursor + width > extent - 0.5:
                break
            middle = cursor + width / 2
            spot = wall + along * middle
            items.append(Item(tuple(moved(parts, spot, rotation)), (spot[0], spot[1]), width / 2, tall))
            if tall < 1.2 and rng.random() < 0.8:
                wide, high, hung = _hanging(rng, width)
                items.append(Item(tuple(moved(hung, spot, rotation)), (spot[0], spot[1]), wide / 2, high))
            cursor += width + float(rng.uniform(0.05, 0.7))
    return Room(tuple(shell), tuple(items), light)


def in_view(room: Room, camera: Camera) -> tuple[Item, ...]:
    """The furniture that a camera is shown: whatever would stand between it and the middle of the room is left out, as
    a film set opens the wall behind the camera."""
    eye = np.array(camera.position_m[:2]) - np.array(camera.target_m[:2])
    distance = float(np.linalg.norm(eye))
    if distance < 1e-6:
        return room.items
    eye = eye / distance
    kept = []
    for item in room.items:
        offset = np.array(item.centre_m) - np.array(camera.target_m[:2])
        along, aside = float(offset @ eye), abs(float(offset[0] * eye[1] - offset[1] * eye[0]))
        # The view narrows towards the camera; whatever reaches into it from this side goes.
        if item.height_m < 0.05 or along < 0.3 or aside - item.half_width_m - 0.45 > 0.55 * max(distance - along, 0.0):
            kept.append(item)
    return tuple(kept)
