"""Drawn stand-ins for rendered scenes; light to import, since rendering processes import this file."""

from __future__ import annotations

import numpy as np

from hpnet.pretrain.scenes import RenderedScene

RED = (220, 30, 30)


def red_box_scene(seed: int, frames: int, width: int, height: int, fps: float) -> RenderedScene:
    """A red rectangle that moves right, on coarse noise."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 255, (1, height // 8, width // 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    video = noise.repeat(frames, 0)
    people = 1 + seed % 2
    boxes = np.full((frames, people, 4), np.nan, np.float32)
    w, h = width // 4, height // 2
    x, y = int(rng.integers(0, width - w - frames)), int(rng.integers(0, height - h))
    for t in range(frames):
        video[t, y : y + h, x + t : x + t + w] = RED
        boxes[t, 0] = x + t, y, x + t + w, y + h
    points = rng.random((frames, people, 17, 2), dtype=np.float32)
    return RenderedScene(seed, f"scene {seed}", video, boxes, points, points[..., 0] > 0.5)
