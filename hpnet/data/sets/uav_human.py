"""UAV-Human."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd

from ..grammar import EXTENSION, ClipName, Protocol, basename, shipped_classes, test_subjects
from ..preset import Preset, of_paper

V1_TEST_SUBJECTS = frozenset(
    (1, 3, 4, 9, 22, 23, 24, 31, 41, 54, 58, 60, 66, 72, 74, 75, 91, 92, 93, 94, 95, 96, 97, 99, 101, 104, 107, 108,
     109, 113)
)  # fmt: skip
V2_TEST_SUBJECTS = frozenset(
    (1, 2, 7, 9, 13, 15, 17, 23, 25, 27, 28, 33, 34, 41, 42, 48, 50, 51, 53, 55, 58, 65, 68, 76, 82, 85, 90, 98, 105,
     116)
)  # fmt: skip
NUM_CLASSES = 155

_NAME = re.compile(
    rf"(?P<id>P(\d{{3}})S(\d{{2}})G\d{{2}}B\d{{2}}H\d{{2}}UC\d{{6}}LC\d{{6}}A(\d{{3}})R(\d)(?:_\d+)?){EXTENSION}"
)


def _classes() -> pd.DataFrame:
    return shipped_classes("uav_human_classes.csv")


def _parse(name: str) -> ClipName | None:
    match = _NAME.fullmatch(basename(name))
    if match is None:
        return None
    subject, setup, action, repetition = (int(match[i]) for i in range(2, 6))
    return ClipName(match["id"], action if action < NUM_CLASSES else -1, subject, 0, setup, repetition)


_V1 = Protocol(
    "UAV-Human",
    _classes,
    "PxxxSxxGxxBxxHxxUCxxxxxxLCxxxxxxAxxxRx_time, such as P070S01G10B00H10UC102000LC092000A031R0_09131758.avi",
    _parse,
    test_subjects(V1_TEST_SUBJECTS),
)
PROTOCOLS: dict[str, Protocol] = {
    "uav-human-v1": _V1,
    "uav-human-v2": replace(_V1, split=test_subjects(V2_TEST_SUBJECTS)),
}

_DATA = "the RGB videos of UAV-Human for action recognition; its authors give access"

PRESETS: dict[str, Preset] = {
    "uav-human-v1": of_paper("UAV-Human, split 1", "uav-human-v1", _DATA),
    "uav-human-v2": of_paper("UAV-Human, split 2", "uav-human-v2", _DATA),
}
