"""Northwestern-UCLA: ten of its actions, two views to train on and one to test."""

from __future__ import annotations

import re

import pandas as pd

from ..grammar import EXTENSION, ClipName, Protocol, basename, camera, groups, shipped_classes
from ..preset import Preset, of_poses

ACTIONS = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)

_NAME = re.compile(rf"(?P<id>a(\d\d)_s(\d\d)_e(\d\d)_v(\d\d))(?:_rgb)?{EXTENSION}")


def _classes() -> pd.DataFrame:
    return shipped_classes("nw_ucla_classes.csv")


def _parse(name: str) -> ClipName | None:
    match = _NAME.fullmatch(basename(name))
    if match is None:
        return None
    action, subject, repetition, view = (int(match[i]) for i in range(2, 6))
    return ClipName(match["id"], ACTIONS.index(action) if action in ACTIONS else -1, subject, view, 0, repetition)


PROTOCOLS: dict[str, Protocol] = {
    "nw-ucla": Protocol(
        "Northwestern-UCLA",
        _classes,
        "aAA_sSS_eEE_vVV, such as a01_s02_e00_v03",
        _parse,
        groups(camera, train={1, 2}, test={3}),
    )
}

PRESETS: dict[str, Preset] = {
    "nw-ucla": of_poses(
        "Northwestern-UCLA",
        "nw-ucla",
        "an .npz of names (N,), offsets (N + 1,) and joints (frames, 20, 3) in metres",
        {
            "graph": {"base_channels": 32, "blocks": 6},
            "epochs": 100,
            "batch_size": 16,
            "warmup_epochs": 3,
            "schedule": "cosine",
            "label_smoothing": 0.1,
            "rotation": 17.0,
            "scale": 0.2,
            "behind": 0.5,
            "crop": 0.5,
            "places": "random",
            "test_draws": 8,
        },
    )
}
