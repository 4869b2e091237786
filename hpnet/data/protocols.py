"""Clip names -> labels and splits, for every evaluation protocol that the project knows.

A data set has a grammar of clip names, from which action, subject, camera, set-up and repetition are read; a protocol
says which of those train and which test. Validation clips are cut from the training side, by subject, unless the data
set defines its own; nothing is ever held out of a test split.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import PurePosixPath

import pandas as pd

from ..core.clip_ids import EXPECTED_ID, clip_id_fault, normal_form
from .folders import Layout, read_layout
from .holdout import by_action, hold_out_order

COLUMNS = ("clip_id", "label", "class_name", "split", "subject", "camera", "setup", "repetition")

NTU60_TRAIN_SUBJECTS = frozenset((1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38))
NTU120_TRAIN_SUBJECTS = NTU60_TRAIN_SUBJECTS | {
    45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86, 89, 91, 92, 93, 94, 95,
    97, 98, 100, 103,
}  # fmt: skip
SMARTHOME_CS_TRAIN = frozenset((3, 4, 6, 7, 9, 12, 13, 15, 17))
SMARTHOME_CS_VAL = frozenset((19, 25))
SMARTHOME_CS_TEST = frozenset((2, 10, 11, 14, 16, 18, 20))
SMARTHOME_CV_CLASSES = (
    "Cutbread", "Drink.Frombottle", "Drink.Fromcan", "Drink.Fromcup", "Drink.Fromglass", "Eat.Attable", "Eat.Snack",
    "Enter", "Getup", "Leave", "Pour.Frombottle", "Pour.Fromcan", "Readbook", "Sitdown", "Takepills", "Uselaptop",
    "Usetablet", "Usetelephone", "Walk",
)  # fmt: skip
UAV_V1_TEST_SUBJECTS = frozenset(
    (1, 3, 4, 9, 22, 23, 24, 31, 41, 54, 58, 60, 66, 72, 74, 75, 91, 92, 93, 94, 95, 96, 97, 99, 101, 104, 107, 108,
     109, 113)
)  # fmt: skip
UAV_V2_TEST_SUBJECTS = frozenset(
    (1, 2, 7, 9, 13, 15, 17, 23, 25, 27, 28, 33, 34, 41, 42, 48, 50, 51, 53, 55, 58, 65, 68, 76, 82, 85, 90, 98, 105,
     116)
)  # fmt: skip
UCLA_ACTIONS = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)

_EXTENSION = r"(?:\.[A-Za-z0-9]{1,9})?"
_FOLDER_EXTENSION = re.compile(
    r"\.(?:mp4|m4v|mov|qt|3gp|3g2|mkv|webm|avi|divx|xvid|wmv|asf|flv|f4v|ogv|ogg|ogm|gif|apng|ts|mts|m2ts|m2t|mpg|mpeg|mpe"
    r"|mp2|vob|mod|tod|trp|dav|dv|mxf|gxf|nut|nsv|wtv|amv|rm|rmvb|h264|264|avc|h265|265|hevc|h263|m1v|m2v|mjpeg|mjpg|y4m"
    r"|ivf|obu|av1|vc1|npy|npz|pkl|skeleton|txt|json)",
    re.IGNORECASE,
)
"""What is no part of a free clip name, which may hold dots itself (``wave/take.2``)."""
_NTU = re.compile(rf"(?P<id>S(\d{{3}})C(\d{{3}})P(\d{{3}})R(\d{{3}})A(\d{{3}}))(?:_rgb)?{_EXTENSION}")
_SMARTHOME = re.compile(rf"(?P<id>([A-Za-z.]+?)_p(\d+)_r(\d+)_v(\d+)_c(\d+)){_EXTENSION}")
_UAV = re.compile(
    rf"(?P<id>P(\d{{3}})S(\d{{2}})G\d{{2}}B\d{{2}}H\d{{2}}UC\d{{6}}LC\d{{6}}A(\d{{3}})R(\d)(?:_\d+)?){_EXTENSION}"
)
_UCLA = re.compile(rf"(?P<id>a(\d\d)_s(\d\d)_e(\d\d)_v(\d\d))(?:_rgb)?{_EXTENSION}")


@dataclass(frozen=True)
class ClipName:
    """What a clip's name says. ``label`` is -1 for an action outside the protocol's classes."""

    clip_id: str
    label: int
    subject: int
    camera: int
    setup: int
    repetition: int


SplitRule = Callable[[ClipName], str]
Parser = Callable[[str], "ClipName | None"]


@dataclass(frozen=True)
class Protocol:
    """One benchmark: a grammar of names, a class list and the rule of its splits.

    Attributes:
        classes: name of the class list, see :func:`class_table`.
        pattern: the grammar in words, for error messages.
        parse: file name -> ClipName; None where the name does not fit.
        split: ClipName -> train, val, test, or empty for a clip that the protocol does not use.
        own_validation: the rule names validation clips itself; otherwise they are cut from the training subjects.
        left_out: clips that the published lists leave out.
        only: names of the classes that the protocol uses; empty: all.
    """

    classes: str
    pattern: str
    parse: Parser
    split: SplitRule
    own_validation: bool = False
    left_out: Callable[[], frozenset[str]] = frozenset
    only: tuple[str, ...] = ()


# --- name grammars --------------------------------------------------------------------------------------------------


def _basename(name: str) -> str:
    return name.strip().replace("\\", "/").rsplit("/", 1)[-1]


def _ntu_parser(num_classes: int, max_setup: int = 999) -> Parser:
    def parse(name: str) -> ClipName | None:
        match = _NTU.fullmatch(_basename(name))
        if match is None:
            return None
        setup, camera, subject, repetition, action = (int(match[i]) for i in range(2, 7))
        label = action - 1 if 1 <= action <= num_classes and setup <= max_setup else -1
        return ClipName(match["id"], label, subject, camera, setup, repetition)

    return parse


def _parse_smarthome(name: str) -> ClipName | None:
    match = _SMARTHOME.fullmatch(_basename(name))
    if match is None:
        return None
    names = _smarthome_names()
    if match[2] not in names:
        near = difflib.get_close_matches(match[2], names, n=1)
        raise ValueError(
            f"clip {name!r}: {match[2]!r} is not an action of Toyota-Smarthome"
            + (f" (near: {near[0]})" if near else "")
        )
    subject, repetition, video, camera = (int(match[i]) for i in range(3, 7))
    return ClipName(match["id"], names.index(match[2]), subject, camera, video, repetition)


def _parse_uav(name: str) -> ClipName | None:
    match = _UAV.fullmatch(_basename(name))
    if match is None:
        return None
    subject, setup, action, repetition = (int(match[i]) for i in range(2, 6))
    return ClipName(match["id"], action if action < 155 else -1, subject, 0, setup, repetition)


def _parse_ucla(name: str) -> ClipName | None:
    match = _UCLA.fullmatch(_basename(name))
    if match is None:
        return None
    action, subject, repetition, view = (int(match[i]) for i in range(2, 6))
    label = UCLA_ACTIONS.index(action) if action in UCLA_ACTIONS else -1
    return ClipName(match["id"], label, subject, view, 0, repetition)


# --- shipped facts --------------------------------------------------------------------------------------------------


@cache
def _shipped_classes(name: str) -> pd.DataFrame:
    with resources.files(__package__).joinpath(f"classes_{name}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, keep_default_na=False)


@cache
def _smarthome_names() -> tuple[str, ...]:
    return tuple(_shipped_classes("smarthome").name)


@cache
def missing_skeletons() -> frozenset[str]:
    """Names of the NTU RGB+D clips whose skeletons are missing: 302 of NTU 60 (set-ups 1 to 17), 535 of NTU 120."""
    text = resources.files(__package__).joinpath("missing_skeletons_ntu.txt").read_text(encoding="utf-8")
    return frozenset(text.split())


def _mannequin_classes() -> pd.DataFrame:
    from ..mannequin.actions import ACTIONS, PAIRS  # late: choreography is not needed to read real data

    rows = [(label, action.name, action.prompt, PAIRS.get(label, "")) for label, action in enumerate(ACTIONS.values())]
    return pd.DataFrame(rows, columns=["label", "name", "prompt", "pair"])


def _classes(name: str) -> pd.DataFrame:
    if name == "mannequin":
        return _mannequin_classes()
    if name == "ntu60":
        return _shipped_classes("ntu").iloc[:60]
    return _shipped_classes({"ntu120": "ntu"}.get(name, name))


# --- the protocols --------------------------------------------------------------------------------------------------


def _train_subjects(subjects: frozenset[int]) -> SplitRule:
    return lambda clip: "train" if clip.subject in subjects else "test"


def _test_subjects(subjects: frozenset[int]) -> SplitRule:
    return lambda clip: "test" if clip.subject in subjects else "train"


def _groups(
    of: Callable[[ClipName], int], train: AbstractSet[int], test: AbstractSet[int], val: AbstractSet[int] = frozenset()
) -> SplitRule:
    table = dict.fromkeys(train, "train") | dict.fromkeys(val, "val") | dict.fromkeys(test, "test")
    return lambda clip: table.get(of(clip), "")


def _camera(clip: ClipName) -> int:
    return clip.camera


_CROSS_VIEW = _groups(_camera, train={2, 3}, test={1})
_CROSS_SET = _groups(lambda clip: clip.setup % 2, train={0}, test={1})

_NTU_PATTERN = "SsssCcccPpppRrrrAaaa, such as S001C002P003R001A004 (an extension and _rgb may follow)"
_SMARTHOME_PATTERN = "Action_pSS_rRR_vVV_cCC, such as Cook.Cut_p02_r00_v04_c03.mp4"
_UAV_PATTERN = (
    "PxxxSxxGxxBxxHxxUCxxxxxxLCxxxxxxAxxxRx_time, such as P070S01G10B00H10UC102000LC092000A031R0_09131758.avi"
)

_UCLA_PATTERN = "aAA_sSS_eEE_vVV, such as a01_s02_e00_v03"

_NTU60 = Protocol(
    "ntu60", _NTU_PATTERN, _ntu_parser(60, 17), _train_subjects(NTU60_TRAIN_SUBJECTS), left_out=missing_skeletons
)
_NTU120 = Protocol(
    "ntu120", _NTU_PATTERN, _ntu_parser(120), _train_subjects(NTU120_TRAIN_SUBJECTS), left_out=missing_skeletons
)
_MANNEQUIN = Protocol("mannequin", _NTU_PATTERN, _ntu_parser(999), _train_subjects(NTU60_TRAIN_SUBJECTS))
_SMARTHOME_CS = Protocol(
    "smarthome",
    _SMARTHOME_PATTERN,
    _parse_smarthome,
    _groups(lambda clip: clip.subject, train=SMARTHOME_CS_TRAIN, val=SMARTHOME_CS_VAL, test=SMARTHOME_CS_TEST),
    own_validation=True,
)
_SMARTHOME_CV1 = replace(_SMARTHOME_CS, split=_groups(_camera, train={1}, val={5}, test={2}), only=SMARTHOME_CV_CLASSES)
_UAV_V1 = Protocol("uav_human", _UAV_PATTERN, _parse_uav, _test_subjects(UAV_V1_TEST_SUBJECTS))

PROTOCOLS: dict[str, Protocol] = {
    "ntu60-xsub": _NTU60,
    "ntu60-xview": replace(_NTU60, split=_CROSS_VIEW),
    "ntu120-xsub": _NTU120,
    "ntu120-xset": replace(_NTU120, split=_CROSS_SET),
    "smarthome-cs": _SMARTHOME_CS,
    "smarthome-cv1": _SMARTHOME_CV1,
    "smarthome-cv2": replace(_SMARTHOME_CV1, split=_groups(_camera, train={1, 3, 4, 6, 7}, val={5}, test={2})),
    "uav-human-v1": _UAV_V1,
    "uav-human-v2": replace(_UAV_V1, split=_test_subjects(UAV_V2_TEST_SUBJECTS)),
    "nw-ucla": Protocol("nw_ucla", _UCLA_PATTERN, _parse_ucla, _groups(_camera, train={1, 2}, test={3})),
    "mannequin-xsub": _MANNEQUIN,
    "mannequin-xview": replace(_MANNEQUIN, split=_CROSS_VIEW),
    "mannequin-xset": replace(_MANNEQUIN, split=_CROSS_SET),
}

NAMES: tuple[str, ...] = (*PROTOCOLS, "folder")
"""Every protocol; ``folder`` takes the action from the first level below the folder of videos."""


def get(protocol: str) -> Protocol:
    """The protocol of that name (not ``folder``, which has no grammar).

    Raises:
        ValueError: no such protocol; the message lists them.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}; choose one of {', '.join(NAMES)}")
    return PROTOCOLS[protocol]


def class_table(protocol: str, clips: pd.DataFrame | Iterable[str] | None = None) -> pd.DataFrame:
    """Classes of a protocol: columns label (0..K-1), name, prompt (the text that a language model reads), and for the
    mannequins pair (of look-alike actions).

    Args:
        protocol: one of :data:`NAMES`.
        clips: for ``folder`` alone: the table of :func:`label_and_split`, or the clip names that it was made from.

    Raises:
        ValueError: unknown protocol, or ``folder`` without clips.
    """
    if protocol == "folder":
        if clips is None:
            raise ValueError("protocol 'folder' has no class list of its own: give the clip names")
        if isinstance(clips, pd.DataFrame):
            found = sorted(set(clips.class_name[clips.label >= 0]))
        else:
            found = sorted(set(read_layout([_folder_id(name) for name in clips]).actions) - {""})
        prompts = [f"a person is doing {re.sub(r'[_.-]+', ' ', name)}" for name in found]
        return pd.DataFrame({"label": range(len(found)), "name": found, "prompt": prompts})
    definition = get(protocol)
    table = _classes(definition.classes)
    if definition.only:
        table = table[table.name.isin(definition.only)]
    return table.assign(label=range(len(table))).reset_index(drop=True)


def label_and_split(
    protocol: str,
    clip_names: Sequence[str],
    val_fraction: float = 0.15,
    seed: int = 7,
    test_fraction: float = 0.2,
    keep_missing: bool = False,
) -> pd.DataFrame:
    """Label and split clips by their names.

    Args:
        protocol: one of :data:`NAMES`.
        clip_names: file names, with or without folders, extension or ``_rgb``; for ``folder``, paths relative to the
            data folder. One row comes back per name, in the same order.
        val_fraction: share of the training subjects held out for validation where the data set has no validation clips
            of its own: at least one subject when there are three or more, none when it is 0. For ``folder`` the share
            of each class's videos.
            Where folders named train, val and test give the splits, this is cut from train if there is no val.
        seed: decides who is held out. The order is a hash of seed and subject (or name), so a new clip moves nobody.
        test_fraction: ``folder`` alone: share of each class's videos in the test split, where no folder gives it.
        keep_missing: NTU: split the clips without Kinect skeletons too, which the published lists leave out.

    Returns:
        Columns :data:`COLUMNS`. ``clip_id`` is the bare name (for ``folder`` the path without its extension); ``split``
        is train, val, test, or empty for a clip that the protocol leaves out; ``label`` is -1 and ``class_name`` empty
        for an action outside the protocol; ``subject`` is text, empty where unknown; numbers are 0 where unknown.

    Raises:
        ValueError: a name that does not parse (with the expected pattern) or cannot name a clip, or two names of one
            clip.
    """
    if not 0 <= val_fraction < 1 or not 0 <= test_fraction < 1 or val_fraction + test_fraction >= 1:
        raise ValueError(f"val_fraction {val_fraction} and test_fraction {test_fraction} must leave clips to train on")
    if protocol == "folder":
        return _split_folder([str(n) for n in clip_names], val_fraction, test_fraction, seed)
    definition = get(protocol)
    classes = class_table(protocol)
    clips = [_parse(definition, str(name)) for name in clip_names]
    if definition.classes == "mannequin":
        clips = [replace(c, label=c.label if c.label < len(classes) else -1) for c in clips]
    if definition.only:
        all_names = list(_classes(definition.classes).name)
        kept = {all_names.index(name): label for label, name in enumerate(classes.name)}
        clips = [replace(c, label=kept.get(c.label, -1)) for c in clips]
    refuse_twins([c.clip_id for c in clips], list(clip_names))

    left_out = frozenset[str]() if keep_missing else definition.left_out()
    splits = [definition.split(c) if c.label >= 0 and c.clip_id not in left_out else "" for c in clips]
    if not definition.own_validation:
        training = {c.subject for c, split in zip(clips, splits, strict=True) if split == "train"}
        held_out = {int(s) for s in _hold_out([str(s) for s in sorted(training)], val_fraction, seed)}
        splits = [
            "val" if split == "train" and c.subject in held_out else split
            for c, split in zip(clips, splits, strict=True)
        ]
    class_names = list(classes.name)
    rows = [
        (c.clip_id, c.label, class_names[c.label] if c.label >= 0 else "", split, str(c.subject), c.camera, c.setup,
         c.repetition)
        for c, split in zip(clips, splits, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def clip_id(protocol: str, name: str) -> str:
    """The clip_id that :func:`label_and_split` gives to a name."""
    return _folder_id(name) if protocol == "folder" else _parse(get(protocol), name).clip_id


def _parse(definition: Protocol, name: str) -> ClipName:
    clip = definition.parse(name)
    if clip is None:
        raise ValueError(f"clip name {name!r} does not parse; expected {definition.pattern}")
    return clip


def refuse_twins(ids: Sequence[str], names: Sequence[str]) -> None:
    """Two files may not be one clip.

    Raises:
        ValueError: two are; names both (letters beyond ASCII as escapes: they may look the same).
    """
    first: dict[str, str] = {}
    for clip, name in zip(ids, names, strict=True):
        if clip in first:
            raise ValueError(
                f"clip {clip!r} is given twice: {first[clip]!a} and {name!a}; keep one of them, or rename one"
            )
        first[clip] = str(name)


def _hold_out(keys: Sequence[str], fraction: float, seed: int) -> set[str]:
    if fraction == 0 or len(keys) < 3:
        return set()
    return set(hold_out_order(keys, seed)[: max(1, round(fraction * len(keys)))])


# --- folders --------------------------------------------------------------------------------------------------------


def _folder_id(name: str) -> str:
    """The clip id of a path below the folder of videos.

    Raises:
        ValueError: it cannot be one, see :mod:`hpnet.core.clip_ids`.
    """
    path = PurePosixPath(normal_form(name.strip()).replace("\\", "/"))
    found = str(path.with_suffix("") if _FOLDER_EXTENSION.fullmatch(path.suffix) else path)
    wrong = clip_id_fault(found)
    if wrong:
        raise ValueError(f"clip name {name!r} {wrong}; {EXPECTED_ID}")
    return found


def _split_folder(names: Sequence[str], val_fraction: float, test_fraction: float, seed: int) -> pd.DataFrame:
    """Actions by :func:`hpnet.data.folders.read_layout`; splits by folder where folders are splits, else per action by
    a seeded order. Of the folders' splits a missing one is cut from train, by the same rule.

    A class of one video trains; of two, one tests; from three videos on, each wanted split gets at least one.
    """
    ids = [_folder_id(name) for name in names]
    refuse_twins(ids, names)
    layout = read_layout(ids)
    classes = sorted(set(layout.actions) - {""})
    if layout.splits is None:
        splits = by_action(ids, layout.actions, val_fraction, test_fraction, seed)
    else:
        splits = _complete(ids, layout, val_fraction, test_fraction, seed)
    rows = [
        (i, classes.index(a) if a else -1, a, split, "", 0, 0, 0)
        for i, a, split in zip(ids, layout.actions, splits, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _complete(ids: Sequence[str], layout: Layout, val_fraction: float, test_fraction: float, seed: int) -> list[str]:
    """The folders' splits; val and test are cut from train, per action, where there is no such folder."""
    given = layout.splits or ()
    training = [n for n, split in enumerate(given) if split == "train"]
    fractions = (0.0 if "val" in given else val_fraction, 0.0 if "test" in given else test_fraction)
    found = by_action([ids[n] for n in training], [layout.actions[n] for n in training], *fractions, seed)
    cut = dict(zip(training, found, strict=True))
    return [cut.get(n, split) for n, split in enumerate(given)]
