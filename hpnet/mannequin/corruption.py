"""What can go wrong with a camera: corruptions of finished clips for tests under extreme conditions."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..core.choices import load
from . import CORRUPTIONS

Frames = NDArray[np.uint8]
Generator = np.random.Generator


def _bytes(values: NDArray[np.float32]) -> Frames:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def unchanged(frames: Frames, rng: Generator) -> Frames:
    """The clip as it is."""
    return frames.copy()


def night(frames: Frames, rng: Generator) -> Frames:
    """Hardly any light: an eighth of it or less, bluish, and the noise of a sensor at its limit."""
    light = float(rng.uniform(0.06, 0.12))
    tint = np.array([0.8, 0.92, 1.15], np.float32)
    spread = float(rng.uniform(5.0, 9.0))
    out = np.empty_like(frames)
    for t, frame in enumerate(frames):
        # Display values go with the square root of light.
        dark = frame.astype(np.float32) * np.sqrt(light) * tint
        out[t] = _bytes(dark + spread * rng.standard_normal(frame.shape, dtype=np.float32))
    return out


def overexposure(frames: Frames, rng: Generator) -> Frames:
    """Four to seven times too much light, with the haze of a dazzled lens: bright surfaces saturate."""
    light = float(rng.uniform(4.0, 7.0))
    haze = float(rng.uniform(12.0, 30.0))
    table = _bytes((np.arange(256, dtype=np.float32) * np.float32(np.sqrt(light))) + np.float32(haze))
    return np.asarray(table[frames], np.uint8)


def occlusion(frames: Frames, rng: Generator) -> Frames:
    """Something in front of the lens that covers about a fifth of the middle of the picture and drifts a little: a bar
    or a disc of one dull colour."""
    _, height, width, _ = frames.shape
    colour = rng.uniform(20, 140) + rng.uniform(-20, 20, 3)
    phase, drift = float(rng.uniform(0, 2 * np.pi)), 0.03 * width
    centre = np.array([rng.uniform(0.4, 0.6) * width, rng.uniform(0.35, 0.65) * height])
    shape = int(rng.integers(3))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    out = frames.copy()
    for t in range(len(frames)):
        cx = centre[0] + drift * np.sin(phase + 0.15 * t)
        if shape == 0:
            inside = np.abs(x - cx) < 0.1 * width
        elif shape == 1:
            inside = np.abs(y - centre[1]) < 0.1 * height
        else:
            inside = (x - cx) ** 2 + (y - centre[1]) ** 2 < 0.065 * width * height
        out[t][inside] = colour
    return out


def blur(frames: Frames, rng: Generator) -> Frames:
    """Out of focus and shaken along one direction."""
    height = frames.shape[1]
    sigma = float(rng.uniform(0.007, 0.012)) * height
    length = max(3, int(rng.uniform(0.02, 0.045) * height) | 1)
    angle = float(rng.uniform(0, np.pi))
    shake = np.zeros((length, length), np.float32)
    for s in np.linspace(-(length // 2), length // 2, 4 * length):
        shake[round(length // 2 + s * np.sin(angle)), round(length // 2 + s * np.cos(angle))] = 1
    shake /= shake.sum()
    out = np.empty_like(frames)
    for t, frame in enumerate(frames):
        out[t] = cv2.filter2D(cv2.GaussianBlur(frame, (0, 0), sigma), -1, shake)
    return out


def noise(frames: Frames, rng: Generator) -> Frames:
    """Strong Gaussian noise, and some pixels at black or white."""
    spread, share = float(rng.uniform(28.0, 42.0)), float(rng.uniform(0.01, 0.03))
    out = np.empty_like(frames)
    for t, frame in enumerate(frames):
        out[t] = _bytes(frame + spread * rng.standard_normal(frame.shape, dtype=np.float32))
        dice = rng.random(frame.shape[:2], dtype=np.float32)
        out[t][dice < share / 2] = 0
        out[t][dice > 1 - share / 2] = 255
    return out


def corrupt(frames: Frames, kind: str, seed: int) -> Frames:
    """A corrupted copy of a clip.

    Args:
        frames: (T, H, W, 3) uint8 RGB.
        kind: one of :data:`hpnet.mannequin.CORRUPTIONS`.
        seed: decides its strength and its random parts.

    Raises:
        ValueError: an unknown kind, or frames of another shape or type.
    """
    change = load(CORRUPTIONS, kind, "corruption")
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"frames of shape (T, H, W, 3) and type uint8 expected, got {frames.shape} {frames.dtype}")
    changed: Frames = change(frames, np.random.default_rng((seed, 0xC0)))
    return changed
