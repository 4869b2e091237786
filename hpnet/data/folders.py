"""Folders -> actions and splits: what the paths of clips below a folder of videos say. Pure functions of text."""

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
"""Words that a split folder's name may hold besides, as in ``videos_train``."""
SHOWN = 4


@dataclass(frozen=True)
class Layout:
    """What folders say of each clip.

    Attributes:
        actions: one per clip; empty where a clip lies in no folder of an action.
        splits: train, val or test per clip, empty where unknown; None where no folders are named like splits.
        note: what a reader should know about folders that are named like splits; empty where there is nothing.
    """

    actions: tuple[str, ...]
    splits: tuple[str, ...] | None = None
    note: str = ""


def split_name(folder: str) -> str:
    """train, val or test where a folder's name says so (``Train``, ``videos_val``, ``testing``), else empty."""
    words = [word for word in re.split(r"[\W_]+", folder.casefold()) if word and word not in BESIDE]
    return SPLIT_WORDS.get(words[0], "") if len(words) == 1 else ""


def read_layout(clip_ids: Sequence[str]) -> Layout:
    """The action and split of clips by their paths below the folder of videos.

    The action is the first level, any depth below it. Where every folder of the first level is named like a split, it
    is the split and the second level the action. Where every clip lies below ``ACTION/SPLIT/`` and some of them train,
    the second level is the split. A mixture is ordinary actions, and is told in ``note``.
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
        verb = "is named like a split, but stands" if len(named) == 1 else "are named like splits, but stand"
        return Layout(first, note=f"{_listed(named)} {verb} beside {_listed(others)}: taken for actions")
    below = [p[:2] for p in parts if len(p) > 2 and split_name(p[1])]
    if below:
        splits = tuple(split_name(p[1]) if len(p) > 2 else "" for p in parts)
        if "train" in splits and all(split for split, folder in zip(splits, first, strict=True) if folder):
            return Layout(first, splits)
        where = _listed(sorted({"/".join(p) for p in below}))
        return Layout(first, note=f"{where}: named like splits, but not every video lies in one: not taken for splits")
    return Layout(first)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(f"{name}/" for name in names[:SHOWN]) + more
