"""UTD-MHAD: 27 actions of eight people, odd ones to train on and even ones to test."""

from __future__ import annotations

import re

import pandas as pd

from ..grammar import EXTENSION, ClipName, Protocol, basename, shipped_classes, train_subjects
from ..preset import FEW_POSES, Preset, of_poses

NUM_CLASSES = 27
TRAIN_SUBJECTS = frozenset((1, 3, 5, 7))

_NAME = re.compile(rf"(?P<id>a(\d{{1,2}})_s(\d{{1,2}})_t(\d{{1,2}}))(?:_skeleton|_color|_depth)?{EXTENSION}")


def _classes() -> pd.DataFrame:
    return shipped_classes("utd_mhad_classes.csv")


def _parse(name: str) -> ClipName | None:
    match = _NAME.fullmatch(basename(name))
    if match is None:
        return None
    action, subject, repetition = (int(match[i]) for i in (2, 3, 4))
    return ClipName(match["id"], action - 1 if 1 <= action <= NUM_CLASSES else -1, subject, 0, 0, repetition)


PROTOCOLS: dict[str, Protocol] = {
    "utd-mhad": Protocol(
        "UTD-MHAD",
        _classes,
        "aA_sS_tT_skeleton.mat, such as a10_s1_t2_skeleton.mat",
        _parse,
        train_subjects(TRAIN_SUBJECTS),
    )
}

PRESETS: dict[str, Preset] = {
    "utd-mhad": of_poses(
        "UTD-MHAD",
        "utd-mhad",
        "the folder of aA_sS_tT_skeleton.mat",
        {
            "graph": {"model": "linear", "base_channels": 16, "blocks": 6},
            "linear": {**FEW_POSES, "clocks": ["time", "motion"], "areas": True, "distances": True},
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
        frames=48,
        options="--same-size",
    )
}
