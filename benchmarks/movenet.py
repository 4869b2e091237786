"""Multiply-adds of the packaged MoveNet networks, as docs/models.md has them: `python benchmarks/movenet.py`."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from hpnet.models.movenet import BOX_HEADS, SINGLE_HEADS, MoveNet

NETWORKS = (
    ("movenet-thunder", 1.75, SINGLE_HEADS, (256, 192)),
    ("movenet-lightning", 1.0, SINGLE_HEADS, (256, 192)),
    ("movenet-multipose, 384 × 224", 1.5, BOX_HEADS, (224, 384)),
    ("movenet-multipose, 192 × 128", 1.5, BOX_HEADS, (128, 192)),
)
"""Name, width, heads, input (height, width) in pixels."""


def multiply_adds(width: float, heads: dict[str, int], size_px: tuple[int, int]) -> int:
    """Of one picture; convolutions alone."""
    network = MoveNet(width, heads).eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, *size_px))
    return int(counter.get_total_flops()) // 2


if __name__ == "__main__":
    for name, width, heads, size_px in NETWORKS:
        print(f"{name}: {multiply_adds(width, heads, size_px) / 1e9:.2f} G multiply-adds")
