"""SBU Kinect interactions: eight actions of two people, five folds by who acts with whom."""

from __future__ import annotations

import re

import pandas as pd

from ..grammar import ClipName, Protocol, groups, shipped_classes
from ..preset import FEW_POSES, Preset, of_poses

NUM_CLASSES = 8
FOLDS = (
    (12, 34, 52, 64),
    (23, 27, 35, 53),
    (13, 17, 71, 73),
    (21, 26, 32, 36),
    (42, 43, 46, 62, 63),
)
"""The pairs that each fold tests; 12 is the folder s01s02."""

_FOLD_OF = {pair: fold for fold, pairs in enumerate(FOLDS, start=1) for pair in pairs}
_NAME = re.compile(r"s(\d\d)s(\d\d)[/_](\d\d)[/_](\d\d\d)(?:/skeleton_pos)?(?:\.txt)?")


def _classes() -> pd.DataFrame:
    return shipped_classes("sbu_classes.csv")


def _parse(name: str) -> ClipName | None:
    place = name.strip().replace("\\", "/").split("/")
    match = next((found for n in range(len(place)) if (found := _NAME.fullmatch("/".join(place[n:])))), None)
    if match is None:
        return None
    pair = 10 * int(match[1]) + int(match[2])
    action, repetition = int(match[3]), int(match[4])
    label = action - 1 if 1 <= action <= NUM_CLASSES and pair in _FOLD_OF else -1
    return ClipName(f"s{match[1]}s{match[2]}_{match[3]}_{match[4]}", label, pair, 0, _FOLD_OF.get(pair, 0), repetition)


def _fold(test: int) -> Protocol:
    folds = range(1, len(FOLDS) + 1)
    return Protocol(
        "SBU Kinect interactions",
        _classes,
        "sXXsYY/CLASS/TRIAL/skeleton_pos.txt, such as s01s02/03/001/skeleton_pos.txt",
        _parse,
        groups(lambda clip: clip.setup, train={fold for fold in folds if fold != test}, test={test}),
    )


PROTOCOLS: dict[str, Protocol] = {f"sbu-fold{fold}": _fold(fold) for fold in range(1, len(FOLDS) + 1)}
"""Fold N tests and the others train."""

PRESETS: dict[str, Preset] = {
    "sbu": of_poses(
        "SBU Kinect interactions",
        "sbu",
        "the folder of sXXsYY/CLASS/TRIAL/skeleton_pos.txt; `hpnet crossval --folds` runs all five folds",
        {
            "graph": {"model": "linear", "base_channels": 16, "blocks": 6},
            "linear": FEW_POSES,
            "epochs": 60,
            "batch_size": 16,
            "warmup_epochs": 3,
            "schedule": "cosine",
            "label_smoothing": 0.1,
            "rotation": 17.0,
            "scale": 0.2,
            "crop": 0.5,
            "places": "random",
            "test_draws": 8,
        },
    )
}
