"""NTU RGB+D 60 and 120."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd

from ..grammar import (
    EXTENSION,
    ClipName,
    Parser,
    Protocol,
    basename,
    camera,
    groups,
    shipped_classes,
    shipped_clips,
    train_subjects,
)
from ..preset import Preset, of_paper

NTU60_TRAIN_SUBJECTS = frozenset((1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38))
NTU120_TRAIN_SUBJECTS = NTU60_TRAIN_SUBJECTS | {
    45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86, 89, 91, 92, 93, 94, 95,
    97, 98, 100, 103,
}  # fmt: skip
PATTERN = "SsssCcccPpppRrrrAaaa, such as S001C002P003R001A004 (an extension and _rgb may follow)"
CROSS_VIEW = groups(camera, train={2, 3}, test={1})
CROSS_SET = groups(lambda clip: clip.setup % 2, train={0}, test={1})

_NAME = re.compile(rf"(?P<id>S(\d{{3}})C(\d{{3}})P(\d{{3}})R(\d{{3}})A(\d{{3}}))(?:_rgb)?{EXTENSION}")


def parser(num_classes: int, max_setup: int = 999) -> Parser:
    """Names of clips; actions and set-ups beyond these are outside the classes."""

    def parse(name: str) -> ClipName | None:
        match = _NAME.fullmatch(basename(name))
        if match is None:
            return None
        setup, of_camera, subject, repetition, action = (int(match[i]) for i in range(2, 7))
        label = action - 1 if 1 <= action <= num_classes and setup <= max_setup else -1
        return ClipName(match["id"], label, subject, of_camera, setup, repetition)

    return parse


def missing_skeletons() -> frozenset[str]:
    """Names of the clips whose skeletons are missing: 302 of NTU RGB+D 60 (set-ups 1 to 17), 535 of 120."""
    return shipped_clips("ntu_missing_skeletons.txt")


def _classes120() -> pd.DataFrame:
    return shipped_classes("ntu_classes.csv")


def _classes60() -> pd.DataFrame:
    return _classes120().iloc[:60]


_NTU60 = Protocol(
    "NTU RGB+D 60",
    _classes60,
    PATTERN,
    parser(60, 17),
    train_subjects(NTU60_TRAIN_SUBJECTS),
    left_out=missing_skeletons,
)
_NTU120 = Protocol(
    "NTU RGB+D 120",
    _classes120,
    PATTERN,
    parser(120),
    train_subjects(NTU120_TRAIN_SUBJECTS),
    left_out=missing_skeletons,
)
PROTOCOLS: dict[str, Protocol] = {
    "ntu60-xsub": _NTU60,
    "ntu60-xview": replace(_NTU60, split=CROSS_VIEW),
    "ntu120-xsub": _NTU120,
    "ntu120-xset": replace(_NTU120, split=CROSS_SET),
}

_DATA = "the RGB videos of {} (SsssCcccPpppRrrrAaaa_rgb.avi), in one folder or below it; ROSE Lab gives access"

PRESETS: dict[str, Preset] = {
    "ntu60-xsub": of_paper("NTU RGB+D 60, cross-subject", "ntu60-xsub", _DATA.format("NTU RGB+D")),
    "ntu60-xview": of_paper("NTU RGB+D 60, cross-view", "ntu60-xview", _DATA.format("NTU RGB+D")),
    "ntu120-xsub": of_paper("NTU RGB+D 120, cross-subject", "ntu120-xsub", _DATA.format("NTU RGB+D 120")),
    "ntu120-xset": of_paper("NTU RGB+D 120, cross-set", "ntu120-xset", _DATA.format("NTU RGB+D 120")),
}
