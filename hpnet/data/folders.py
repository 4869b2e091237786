"""Folders -> actions and splits, from the paths of clips below a folder of videos. Pure functions of text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trainset", "trainingset"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "valset", "dev", "devset", "development"), "val"),
    **dict.fromkeys(("test", "testing", "testset"), "test"),
}
BESIDE = frozenset(("video", "videos", "clip", "clips", "data", "dataset", "set", "split", "rgb"))
"""Additional words that the name of a split folder may contain, as in ``videos_train``."""
SHOWN = 4


@dataclass(frozen=True)
class Layout:
    """Actions and splits of clips, from their folders.

    Attributes:
        actions: one per clip; empty if a clip is in no folder of an action.
        splits: train, val or test per clip, empty if unknown; None if no folders are named like splits.
        note: for the reader, about folders that are named like splits; may be empty.
    """

    actions: tuple[str, ...]
    splits: tuple[str, ...] | None = None
    note: str = ""


def split_name(folder: str) -> str:
    """train, val or test if a folder has such a name (``Train``, ``videos_val``, ``testing``), else empty."""
    words = [word for word in re.split(r"[\W_]+", folder.casefold()) if word and word not in BESIDE]
    return SPLIT_WORDS.get(words[0], "") if len(words) == 1 else ""


def read_layout(clip_ids: Sequence[str]) -> Layout:
    """The action and split of clips by their paths below the folder of videos.

    The action is the first level; deeper folders do not matter. If every folder of the first level is named like a
    split, this level is the split and the second level is the action. If every clip is below ``ACTION/SPLIT/`` and
    there are training clips, the second level is the split. In a mixture all folders are actions, and ``note`` says so.
    """
    parts = [clip_id.split("/") for clip_id in clip_ids]
    first = tuple(p[0] if len(p) > 1 else "" for p in parts)
    folders = sorted(set(first) - {""})
    named = [folder for folder in folders if split_name(folder)]
    if folders and named == folders:
        actions = tuple(p[1] if len(p) > 2 else "" for p in parts)
        splits = tuple(split_name(p[0]) if len(p) > 2 else "" for p in parts)
        note = ""
        if any(f and not action for f, action in zip(first, actions, strict=True)):
            note = f"videos directly in {_listed(named)} have no action: expected {named[0]}/ACTION/x.mp4"
        return Layout(actions, splits, note)
    if named:
        others = [folder for folder in folders if folder not in named]
        verb = "is named like a split, but is" if len(named) == 1 else "are named like splits, but are"
        return Layout(first, note=f"{_listed(named)} {verb} beside {_listed(others)}: they are read as actions")
    below = [p[:2] for p in parts if len(p) > 2 and split_name(p[1])]
    if below:
        splits = tuple(split_name(p[1]) if len(p) > 2 else "" for p in parts)
        if "train" in splits and all(split for split, folder in zip(splits, first, strict=True) if folder):
            return Layout(first, splits)
        where = _listed(sorted({"/".join(p) for p in below}))
        return Layout(first, note=f"{where}: named like splits, but not every video is in one: not read as splits")
    return Layout(first)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(f"{name}/" for name in names[:SHOWN]) + more
