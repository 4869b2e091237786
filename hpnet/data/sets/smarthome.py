"""Toyota-Smarthome."""

from __future__ import annotations

import difflib
import re
from dataclasses import replace

import pandas as pd

from ..grammar import EXTENSION, ClipName, Protocol, basename, camera, groups, shipped_classes, subject
from ..preset import Preset, Values, of_paper

CS_TRAIN = frozenset((3, 4, 6, 7, 9, 12, 13, 15, 17))
CS_VAL = frozenset((19, 25))
CS_TEST = frozenset((2, 10, 11, 14, 16, 18, 20))
CV_CLASSES = (
    "Cutbread", "Drink.Frombottle", "Drink.Fromcan", "Drink.Fromcup", "Drink.Fromglass", "Eat.Attable", "Eat.Snack",
    "Enter", "Getup", "Leave", "Pour.Frombottle", "Pour.Fromcan", "Readbook", "Sitdown", "Takepills", "Uselaptop",
    "Usetablet", "Usetelephone", "Walk",
)  # fmt: skip

_NAME = re.compile(rf"(?P<id>([A-Za-z.]+?)_p(\d+)_r(\d+)_v(\d+)_c(\d+)){EXTENSION}")


def _classes() -> pd.DataFrame:
    return shipped_classes("smarthome_classes.csv")


def _parse(name: str) -> ClipName | None:
    match = _NAME.fullmatch(basename(name))
    if match is None:
        return None
    names = [str(action) for action in _classes().name]
    if match[2] not in names:
        near = difflib.get_close_matches(match[2], names, n=1)
        raise ValueError(
            f"clip {name!r}: {match[2]!r} is not an action of Toyota-Smarthome"
            + (f" (near: {near[0]})" if near else "")
        )
    of_subject, repetition, video, of_camera = (int(match[i]) for i in range(3, 7))
    return ClipName(match["id"], names.index(match[2]), of_subject, of_camera, video, repetition)


_CS = Protocol(
    "Toyota-Smarthome",
    _classes,
    "Action_pSS_rRR_vVV_cCC, such as Cook.Cut_p02_r00_v04_c03.mp4",
    _parse,
    groups(subject, train=CS_TRAIN, val=CS_VAL, test=CS_TEST),
    own_validation=True,
)
_CV1 = replace(_CS, split=groups(camera, train={1}, val={5}, test={2}), only=CV_CLASSES)
PROTOCOLS: dict[str, Protocol] = {
    "smarthome-cs": _CS,
    "smarthome-cv1": _CV1,
    "smarthome-cv2": replace(_CV1, split=groups(camera, train={1, 3, 4, 6, 7}, val={5}, test={2})),
}

_DATA = "the RGB videos of Toyota Smarthome (trimmed, Action_pSS_rRR_vVV_cCC.mp4); INRIA gives access"
_FUSE: Values = {"rule": "balanced"}
_MEASURE: Values = {"measure": "mean_class_accuracy"}
_HELD_OUT: Values = {"refit": False, **_MEASURE}
"""Camera 5 validates and is not a training camera; subjects 19 and 25 of cross-subject are training subjects."""

PRESETS: dict[str, Preset] = {
    "smarthome-cs": of_paper("Toyota Smarthome, cross-subject", "smarthome-cs", _DATA, fuse=_FUSE, train=_MEASURE),
    "smarthome-cv1": of_paper("Toyota Smarthome, cross-view 1", "smarthome-cv1", _DATA, fuse=_FUSE, train=_HELD_OUT),
    "smarthome-cv2": of_paper("Toyota Smarthome, cross-view 2", "smarthome-cv2", _DATA, fuse=_FUSE, train=_HELD_OUT),
}
