"""The card beside packaged weights: their origin and measured quality."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ..artifacts.files import write_json
from ..train.run import package_versions
from ..weights.places import digest


@dataclass(frozen=True)
class Training:
    """What a pretraining run did. ``quality`` holds figures measured on held-out scenes."""

    name: str
    command: str
    data: str
    steps: int
    seed: int
    seconds: float
    device: str
    quality: dict[str, float]
    parameters: int


def device_name(device: torch.device) -> str:
    """Name of a device in a card."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def write_card(card: Path, weights: Path, training: Training) -> None:
    """Write ``card`` for ``weights``, which lie in the same folder."""
    facts = asdict(training) | {
        "file": weights.name,
        "bytes": weights.stat().st_size,
        "sha256": digest(weights),
        **package_versions("hpnet", "torch"),
        "seconds": round(training.seconds, 1),
        "quality": {name: round(value, 4) for name, value in training.quality.items()},
    }
    write_json(card, facts)
