"""Who acts: the proportions, clothes, handedness and manner of each subject, from its number and a seed alone."""

from __future__ import annotations

import colorsys
import zlib
from dataclasses import dataclass

import numpy as np

from .scene import Build, Looks

PARTNER_OFFSET = 100
"""Subject ``n`` always meets partner ``n + PARTNER_OFFSET``, who appears with nobody else: no partner is shared between
training and test subjects."""

SKINS = (
    (0.98, 0.85, 0.75), (0.93, 0.76, 0.62), (0.84, 0.64, 0.48), (0.69, 0.48, 0.34), (0.51, 0.34, 0.24),
    (0.36, 0.24, 0.17),
)  # fmt: skip
HAIRS = (
    (0.08, 0.06, 0.05), (0.20, 0.13, 0.08), (0.38, 0.24, 0.13), (0.62, 0.46, 0.22), (0.45, 0.18, 0.10),
    (0.60, 0.60, 0.62),
)  # fmt: skip


def stream(seed: int, what: str, *ids: int) -> np.random.Generator:
    """An independent random stream for one purpose and one set of ids."""
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(what.encode()), *ids]))


@dataclass(frozen=True)
class Style:
    """How somebody moves."""

    hand: int
    """The hand that acts: 0 left, 1 right."""
    speed: float
    amplitude: float
    elbow_out: float
    """0 keeps the elbows at the body, 1 spreads them."""
    slouch_rad: float
    stance_half_m: float
    toe_out_rad: float
    sway_m: float
    reach: float
    """Share of the arm's length at which things are held in front of the body."""


@dataclass(frozen=True)
class Person:
    """A subject, dressed."""

    number: int
    build: Build
    looks: Looks
    style: Style


def left_handed(subject: int) -> bool:
    """One subject in four: 4, 9, 10, 16, ... (both sides of the cross-subject split have some)."""
    return subject % 12 in (4, 9, 10)


def build_of(subject: int, seed: int) -> Build:
    """Proportions of a subject."""
    rng = stream(seed, "build", subject)
    return Build(
        height_m=float(rng.uniform(1.55, 1.90)),
        shoulder_width=float(rng.uniform(0.92, 1.10)),
        hip_width=float(rng.uniform(0.90, 1.12)),
        limb_length=float(rng.uniform(0.96, 1.05)),
        girth=float(rng.uniform(0.85, 1.25)),
        head_size=float(rng.uniform(0.94, 1.08)),
    )


def style_of(subject: int, seed: int) -> Style:
    """Manner of a subject."""
    rng = stream(seed, "style", subject)
    return Style(
        hand=0 if left_handed(subject) else 1,
        speed=float(np.clip(np.exp(rng.normal(0.0, 0.12)), 0.8, 1.25)),
        amplitude=float(rng.uniform(0.85, 1.15)),
        elbow_out=float(rng.uniform(0.0, 1.0)),
        slouch_rad=float(rng.uniform(0.0, 0.10)),
        stance_half_m=float(rng.uniform(0.09, 0.15)),
        toe_out_rad=float(rng.uniform(0.08, 0.35)),
        sway_m=float(rng.uniform(0.005, 0.016)),
        reach=float(rng.uniform(0.44, 0.56)),
    )


def colour(rng: np.random.Generator, vivid: float = 0.7) -> tuple[float, float, float]:
    """A clothing or object colour: mostly saturated, sometimes white, grey or dark."""
    hue, saturation, value, kind = rng.random(4)
    if kind < vivid:
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.45 + 0.5 * saturation, 0.4 + 0.55 * value)
        return red, green, blue
    grey = 0.12 + 0.8 * value
    return tuple(float(np.clip(grey + 0.06 * (c - 0.5), 0, 1)) for c in (hue, saturation, kind))  # type: ignore[return-value]


OBJECT_COLOURS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "cup": ((-0.05, 0.15), (0.7, 1.0), (0.85, 1.0)),
    "phone": ((0.0, 1.0), (0.0, 0.2), (0.03, 0.12)),
    "sandwich": ((0.08, 0.13), (0.4, 0.6), (0.8, 0.95)),
    "toothbrush": ((0.45, 0.65), (0.7, 1.0), (0.8, 1.0)),
    "book": ((-0.06, 0.12), (0.6, 0.9), (0.7, 0.95)),
    "tablet": ((0.0, 1.0), (0.0, 0.15), (0.05, 0.15)),
}
"""Ranges of hue, saturation and value. As in life, phones and tablets are dark, cups and books colourful: what tells
the two actions of an object pair apart is the look of the object, its shape and its colour."""


def object_colour(kind: str, rng: np.random.Generator) -> tuple[float, float, float]:
    """A colour that an object of this kind may have."""
    hue, saturation, value = (float(rng.uniform(low, high)) for low, high in OBJECT_COLOURS[kind])
    return colorsys.hsv_to_rgb(hue % 1.0, saturation, value)


def looks_of(subject: int, setup: int, seed: int) -> Looks:
    """Skin and hair are the subject's own; the clothes change from set-up to set-up."""
    body, clothes = stream(seed, "appearance", subject), stream(seed, "clothes", subject, setup)
    skin = np.array(SKINS[body.integers(len(SKINS))]) * body.uniform(0.94, 1.04)
    hair = np.array(HAIRS[body.integers(len(HAIRS))]) * body.uniform(0.85, 1.15)
    hair_style = str(body.choice(("short", "long", "bun", "bald"), p=(0.5, 0.25, 0.15, 0.1)))
    return Looks(
        skin=_rgb(skin),
        hair=_rgb(hair),
        top=colour(clothes),
        top_second=colour(clothes),
        bottom=colour(clothes, vivid=0.45),
        shoes=colour(clothes, vivid=0.35),
        sleeves=float(clothes.choice((0.35, 0.45, 1.0), p=(0.25, 0.25, 0.5))),
        trousers=float(clothes.choice((0.5, 1.0), p=(0.25, 0.75))),
        pattern=str(clothes.choice(("plain", "stripes", "checks"), p=(0.6, 0.25, 0.15))),
        hair_style=hair_style,
    )


def _rgb(values: np.ndarray) -> tuple[float, float, float]:  # type: ignore[type-arg]
    red, green, blue = np.clip(values, 0.0, 1.0)
    return float(red), float(green), float(blue)


def person(subject: int, setup: int, seed: int) -> Person:
    """A subject as dressed in a set-up."""
    return Person(subject, build_of(subject, seed), looks_of(subject, setup, seed), style_of(subject, seed))
