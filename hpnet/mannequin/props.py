"""Shapes of the objects that people hold, wear and sit on.

Frame of every prop (metres): z is its long or upright axis, x its front. The origin is where a hand holds it, at the
middle of the grip, except where said otherwise:

- cup, bottle, kettle: axis z up; the origin in the middle of the body, the cup's handle towards +x.
- phone, tablet, remote, book: a plate in the y-z plane, long side z (book: open, spine along z), screen or pages facing
  +x; the origin in the middle.
- apple, ball, box, teddy: the origin in the middle.
- sandwich: its long side along y, bread layers along z; the origin in the middle.
- toothbrush, spoon, hammer, broom, racket, umbrella_closed, flower: the handle along z with the working end at +z; the
  origin on the handle (the bristles of the toothbrush face +x).
- dumbbell: its bar along z; the origin in the middle of the bar.
- bag: hangs from the origin (the handle) towards -z.
- hat: the origin in the middle of the brim, crown towards +z, the peak towards +x. Worn: about 0.05 m above the skull's
  centre.
- watch: the origin in the middle of the wrist, z along the forearm, its face towards +x.
- chair: the origin on the floor under the middle of the seat (seat 0.45 m high); the sitter faces +x.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .primitives import CHECKS, SCREEN, TEXT, WOOD, Colour, Part, Rows, Style, ball, box, drum, limb, place, turn
from .scene import Prop

WHITE: Colour = (0.95, 0.95, 0.93)
DARK: Colour = (0.08, 0.08, 0.09)
STEEL: Colour = (0.7, 0.72, 0.75)
TIMBER: Colour = (0.55, 0.38, 0.22)


def _shade(colour: Colour, factor: float) -> Colour:
    r, g, b = (float(min(1.0, max(0.0, channel * factor))) for channel in colour)
    return (r, g, b)


def _cup(colour: Colour) -> list[Part]:
    body, inside = Style(colour, gloss=0.35), Style(_shade(colour, 0.45))
    return [
        drum((0, 0, -0.055), (0, 0, 0.055), 0.036, 0.046, body),
        drum((0, 0, 0.0545), (0, 0, 0.0565), 0.039, 0.039, inside),
        limb((0.04, 0, 0.032), (0.078, 0, 0.022), 0.008, 0.008, body),
        limb((0.078, 0, 0.022), (0.074, 0, -0.02), 0.008, 0.008, body),
        limb((0.074, 0, -0.02), (0.036, 0, -0.032), 0.008, 0.008, body),
    ]


def _phone(colour: Colour) -> list[Part]:
    return [
        box((0, 0, 0), (0.013, 0.078, 0.16), Style(colour, gloss=0.4)),
        box((0.0072, 0, 0), (0.002, 0.068, 0.145), Style((0.35, 0.62, 0.9), WHITE, SCREEN, 0.02, glow=0.7)),
    ]


def _apple(colour: Colour) -> list[Part]:
    return [
        ball((0, 0, 0), (0.045, 0.045, 0.041), Style(colour, gloss=0.4)),
        limb((0, 0, 0.035), (0.006, 0, 0.058), 0.004, 0.003, Style((0.3, 0.2, 0.1))),
        ball((0.016, 0, 0.052), (0.016, 0.008, 0.005), Style((0.25, 0.55, 0.15))),
    ]


def _sandwich(colour: Colour) -> list[Part]:
    bread = Style((0.85, 0.68, 0.42))
    return [
        box((0, 0, 0.026), (0.075, 0.15, 0.024), bread),
        box((0, 0, 0.009), (0.088, 0.16, 0.012), Style((0.35, 0.7, 0.2))),
        box((0, 0, -0.003), (0.083, 0.156, 0.013), Style(colour)),
        box((0, 0, -0.022), (0.075, 0.15, 0.026), bread),
    ]


def _toothbrush(colour: Colour) -> list[Part]:
    return [
        limb((0, 0, -0.06), (0, 0, 0.04), 0.011, 0.009, Style(colour, gloss=0.3)),
        limb((0, 0, 0.04), (0, 0, 0.125), 0.007, 0.008, Style(colour, gloss=0.3)),
        box((0.016, 0, 0.11), (0.026, 0.02, 0.045), Style(WHITE)),
    ]


def _book(colour: Colour) -> list[Part]:
    parts: list[Part] = []
    for side in (1.0, -1.0):
        rotation = turn("z", -side * 24.0)
        page = rotation @ np.array([0.006, side * 0.08, 0.0])
        cover = rotation @ np.array([-0.004, side * 0.084, 0.0])
        parts.append(box(cover, (0.01, 0.172, 0.245), Style(colour), rotation))
        parts.append(box(page, (0.016, 0.156, 0.225), Style(WHITE, (0.25, 0.25, 0.28), TEXT, 0.024), rotation))
    return parts


def _tablet(colour: Colour) -> list[Part]:
    return [
        box((0, 0, 0), (0.014, 0.27, 0.19), Style(colour, gloss=0.4)),
        box((0.0075, 0, 0), (0.002, 0.245, 0.165), Style((0.3, 0.6, 0.95), WHITE, SCREEN, 0.045, glow=0.8)),
    ]


def _hat(colour: Colour) -> list[Part]:
    felt, band = Style(colour), Style(_shade(colour, 0.4))
    return [
        drum((0, 0, -0.006), (0, 0, 0.008), 0.165, 0.16, felt),
        drum((0, 0, 0.0), (0, 0, 0.035), 0.107, 0.106, band),
        limb((0, 0, 0.03), (0, 0, 0.075), 0.105, 0.085, felt),
        box((0.13, 0, 0.001), (0.11, 0.13, 0.014), felt),
    ]


def _chair(colour: Colour) -> list[Part]:
    wood = Style(colour, _shade(colour, 0.7), WOOD, 0.08)
    parts = [box((0, 0, 0.435), (0.44, 0.44, 0.04), wood)]
    for y in (-0.19, 0.19):
        parts.append(box((0.19, y, 0.21), (0.04, 0.04, 0.42), wood))
        parts.append(box((-0.2, y, 0.46), (0.04, 0.04, 0.92), wood))
    parts += [box((-0.2, 0, z), (0.025, 0.36, 0.07), wood) for z in (0.62, 0.76, 0.89)]
    parts += [box((x, 0, 0.2), (0.025, 0.36, 0.025), wood) for x in (0.19, -0.2)]
    return parts


def _watch(colour: Colour) -> list[Part]:
    return [
        drum((0, 0, -0.014), (0, 0, 0.014), 0.041, 0.041, Style(colour, gloss=0.3)),
        drum((0.032, 0, 0), (0.05, 0, 0), 0.027, 0.024, Style(STEEL, gloss=0.5)),
        drum((0.05, 0, 0), (0.0515, 0, 0), 0.02, 0.02, Style(WHITE, glow=0.3)),
    ]


def _box(colour: Colour) -> list[Part]:
    return [
        box((0, 0, 0), (0.3, 0.36, 0.26), Style(colour)),
        box((0, 0, 0), (0.302, 0.05, 0.262), Style(_shade(colour, 1.45))),
    ]


def _ball(colour: Colour) -> list[Part]:
    return [ball((0, 0, 0), 0.115, Style(colour, WHITE, CHECKS, 0.09, gloss=0.25))]


def _dumbbell(colour: Colour) -> list[Part]:
    parts = [drum((0, 0, -0.1), (0, 0, 0.1), 0.014, 0.014, Style(STEEL, gloss=0.5))]
    for side in (1.0, -1.0):
        parts.append(drum((0, 0, side * 0.07), (0, 0, side * 0.13), 0.06, 0.06, Style(colour, gloss=0.2)))
        parts.append(drum((0, 0, side * 0.13), (0, 0, side * 0.16), 0.045, 0.04, Style(colour, gloss=0.2)))
    return parts


def _bottle(colour: Colour) -> list[Part]:
    return [
        drum((0, 0, -0.1), (0, 0, 0.06), 0.036, 0.036, Style(colour, gloss=0.5)),
        drum((0, 0, -0.05), (0, 0, 0.03), 0.0375, 0.0375, Style(WHITE)),
        drum((0, 0, 0.06), (0, 0, 0.1), 0.036, 0.015, Style(colour, gloss=0.5)),
        drum((0, 0, 0.1), (0, 0, 0.135), 0.016, 0.016, Style(_shade(colour, 0.4))),
    ]


def _hammer(colour: Colour) -> list[Part]:
    return [
        limb((0, 0, -0.1), (0, 0, 0.2), 0.017, 0.014, Style(TIMBER)),
        box((0, 0, 0.2), (0.13, 0.045, 0.05), Style(colour, gloss=0.5)),
        drum((0.06, 0, 0.2), (0.085, 0, 0.2), 0.028, 0.03, Style(colour, gloss=0.5)),
    ]


def _spoon(colour: Colour) -> list[Part]:
    return [
        limb((0, 0, -0.08), (0, 0, 0.1), 0.009, 0.007, Style(colour, gloss=0.6)),
        ball((0, 0, 0.125), (0.012, 0.026, 0.038), Style(colour, gloss=0.6)),
    ]


def _broom(colour: Colour) -> list[Part]:
    return [
        limb((0, 0, -0.55), (0, 0, 0.7), 0.014, 0.014, Style(TIMBER)),
        box((0, 0, 0.71), (0.07, 0.32, 0.06), Style(_shade(colour, 0.6))),
        box((0, 0, 0.79), (0.06, 0.34, 0.13), Style(colour)),
    ]


def _bag(colour: Colour) -> list[Part]:
    return [
        box((0, 0, -0.3), (0.14, 0.34, 0.28), Style(colour)),
        box((0.071, 0, -0.34), (0.01, 0.22, 0.13), Style(_shade(colour, 0.65))),
        limb((0, 0.09, -0.16), (0, 0.03, 0.0), 0.011, 0.011, Style(DARK)),
        limb((0, -0.09, -0.16), (0, -0.03, 0.0), 0.011, 0.011, Style(DARK)),
        limb((0, -0.03, 0.0), (0, 0.03, 0.0), 0.011, 0.011, Style(DARK)),
    ]


def _racket(colour: Colour) -> list[Part]:
    frame = Style(colour, gloss=0.3)
    angles = np.linspace(0, 2 * np.pi, 9)
    rim = [np.array([0.0, 0.12 * np.sin(a), 0.36 - 0.15 * np.cos(a)]) for a in angles]
    parts = [limb((0, 0, -0.08), (0, 0, 0.21), 0.017, 0.011, Style(DARK))]
    parts += [limb(rim[i], rim[i + 1], 0.011, 0.011, frame) for i in range(8)]
    parts.append(ball((0, 0, 0.36), (0.004, 0.115, 0.145), Style(WHITE, (0.55, 0.55, 0.55), CHECKS, 0.04)))
    return parts


def _umbrella_closed(colour: Colour) -> list[Part]:
    return [
        limb((0, 0, -0.1), (0, 0, 0.15), 0.012, 0.012, Style(DARK)),
        limb((0, 0, -0.1), (0.05, 0, -0.12), 0.012, 0.012, Style(DARK)),
        drum((0, 0, 0.1), (0, 0, 0.68), 0.042, 0.012, Style(colour)),
        limb((0, 0, 0.68), (0, 0, 0.74), 0.006, 0.004, Style(STEEL)),
    ]


def _kettle(colour: Colour) -> list[Part]:
    metal = Style(colour, gloss=0.6)
    return [
        drum((0, 0, -0.1), (0, 0, 0.06), 0.095, 0.075, metal),
        ball((0, 0, 0.06), (0.075, 0.075, 0.025), metal),
        limb((0.07, 0, -0.01), (0.145, 0, 0.075), 0.022, 0.014, metal),
        ball((0, 0, 0.09), 0.014, Style(DARK)),
        limb((-0.07, 0, 0.05), (-0.13, 0, 0.03), 0.011, 0.011, Style(DARK)),
        limb((-0.13, 0, 0.03), (-0.1, 0, -0.07), 0.011, 0.011, Style(DARK)),
    ]


def _remote(colour: Colour) -> list[Part]:
    return [
        box((0, 0, 0), (0.02, 0.05, 0.18), Style(colour)),
        *(ball((0.011, y, z), 0.008, Style(WHITE)) for y in (-0.012, 0.012) for z in (-0.04, -0.015, 0.01, 0.035)),
        ball((0.011, 0, 0.068), 0.011, Style((0.9, 0.1, 0.1))),
    ]


def _flower(colour: Colour) -> list[Part]:
    petals = [
        ball((0.01, 0.036 * np.cos(a), 0.24 + 0.036 * np.sin(a)), (0.012, 0.028, 0.028), Style(colour))
        for a in np.linspace(0, 2 * np.pi, 6)[:5]
    ]
    return [
        limb((0, 0, -0.14), (0, 0, 0.24), 0.007, 0.006, Style((0.2, 0.5, 0.15))),
        ball((0, 0.035, 0.06), (0.006, 0.04, 0.016), Style((0.25, 0.6, 0.2))),
        *petals,
        ball((0.018, 0, 0.24), (0.014, 0.022, 0.022), Style((0.95, 0.8, 0.2))),
    ]


def _teddy(colour: Colour) -> list[Part]:
    fur, pale = Style(colour), Style(_shade(colour, 1.4))
    parts = [
        ball((0, 0, -0.05), (0.075, 0.08, 0.095), fur),
        ball((0.045, 0, -0.05), (0.04, 0.05, 0.06), pale),
        ball((0, 0, 0.085), (0.07, 0.075, 0.068), fur),
        ball((0.062, 0, 0.07), (0.028, 0.03, 0.024), pale),
        ball((0.09, 0, 0.076), 0.01, Style(DARK)),
    ]
    for y in (-1.0, 1.0):
        parts.append(ball((0, y * 0.058, 0.145), (0.018, 0.028, 0.028), fur))
        parts.append(ball((0.062, y * 0.03, 0.1), 0.01, Style(DARK)))
        parts.append(limb((0.01, y * 0.07, 0.01), (0.06, y * 0.1, -0.04), 0.03, 0.025, fur))
        parts.append(limb((0.02, y * 0.045, -0.12), (0.1, y * 0.07, -0.14), 0.035, 0.032, fur))
    return parts


KINDS: dict[str, Callable[[Colour], list[Part]]] = {
    "cup": _cup,
    "phone": _phone,
    "apple": _apple,
    "sandwich": _sandwich,
    "toothbrush": _toothbrush,
    "book": _book,
    "tablet": _tablet,
    "hat": _hat,
    "chair": _chair,
    "watch": _watch,
    "box": _box,
    "ball": _ball,
    "dumbbell": _dumbbell,
    "bottle": _bottle,
    "hammer": _hammer,
    "spoon": _spoon,
    "broom": _broom,
    "bag": _bag,
    "racket": _racket,
    "umbrella_closed": _umbrella_closed,
    "kettle": _kettle,
    "remote": _remote,
    "flower": _flower,
    "teddy": _teddy,
}
"""Constructors of the props: main colour (display RGB, 0..1) -> parts in the prop's frame."""


def prop_rows(prop: Prop) -> Rows:
    """What to draw of one prop: rows (T, P, WIDTH).

    Raises:
        ValueError: an unknown kind.
    """
    if prop.kind not in KINDS:
        raise ValueError(f"unknown prop {prop.kind!r}: choose one of {', '.join(sorted(KINDS))}")
    return place(KINDS[prop.kind](prop.colour), prop.centre_m, prop.rotation, prop.scale, prop.shown)
