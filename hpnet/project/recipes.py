"""How the paper's experiment is run: recipes of ``hpnet init``, each an overlay of a preset of the paper's data sets.

A recipe holds only what differs from the preset. docs/reproduce.md has the three side by side, with the source of each
value. None of them chooses anything on the test split.
"""

from __future__ import annotations

from dataclasses import replace

from ..data.preset import Preset, Values, merged
from . import presets

PRINTED: Values = {
    "detect": {"stride": 1, "frames": 0, "crop": "box"},
    "train": {
        "topology": {"flip": 0.0, "standardise": False},
        "multimodal": {
            "text": "names",
            "prompts": False,
            "batch_size": 4,
            "accumulate": 4,
            "lr_batch": 16,
            "label_smoothing": 0.0,
            "clip_norm": None,
            "standardise": False,
            "flip": 0.0,
            "jitter": 0.0,
        },
    },
    "fuse": {"rule": "weighted"},
    "compare": {"variants": {"pose2d": {"kind": "xy"}}},
}
"""The paper's text. What it does not name is off, or, where training needs a value, as released."""
RELEASED: Values = {
    "detect": {"stride": 1, "frames": 0, "crop": "box"},
    "estimate": {"parity": "released-trainbn"},
    "train": {
        "topology": {"graph": {"skeleton": "released"}, "flip": 0.0, "standardise": False},
        "multimodal": {
            "graph": {"skeleton": "released"},
            "refine": "text",
            "text": "names",
            "prompts": False,
            "batch_size": 4,
            "accumulate": 16,
            "lr_batch": 64,
            "clip_norm": None,
            "standardise": False,
            "mixup": 0.8,
            "cutmix": 1.0,
            "flip": 0.5,
            "augmented": "frames",
            "jitter": 0.0,
            "colour": 0.8,
            "grey": 0.2,
        },
    },
    "fuse": {"rule": "weighted"},
    "compare": {"variants": {"pose2d": {"kind": "xy"}}},
}
"""The code that gave the printed numbers, without its mistakes."""

DEFAULT = "default"
RECIPES: dict[str, Values] = {DEFAULT: {}, "paper": PRINTED, "released": RELEASED}
"""Name of a recipe -> what it changes in a preset."""


def under(preset: Preset, recipe: str) -> Preset:
    """A preset under a recipe.

    Raises:
        ValueError: no such recipe; or the paper has no experiment on the preset's data.
    """
    if recipe not in RECIPES:
        raise ValueError(f"recipe {recipe!r} is unknown; choose from {', '.join(RECIPES)}")
    if recipe == DEFAULT:
        return preset
    if not preset.paper:
        known = ", ".join(name for name, one in presets.PRESETS.items() if one.paper)
        raise ValueError(
            f"recipe {recipe!r} is for the paper's data sets: give --preset {known}, or leave --recipe out"
        )
    title = f"{preset.title}; recipe {recipe}"
    return replace(preset, title=title, values=merged(preset.values, RECIPES[recipe]))
