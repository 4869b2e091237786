"""A CSV of videos: which action each shows, and who or what it comes from, so that nothing leaks between splits."""

from __future__ import annotations

import filecmp
import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..csv_text import read_csv_text
from .protocols import COLUMNS, hold_out_order

BEGINNING = 1 << 16
"""Bytes by which videos of one size are told apart before they are compared whole."""

REQUIRED = ("video", "action")
OPTIONAL = ("source", "split")
EXPECTED = "columns video and action, and optionally source (subject, camera or recording) and split (train, val, test)"


def read_table(file: Path) -> pd.DataFrame:
    """The rows of the CSV as text: video (path below the folder of videos), action, source and split.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no CSV, a column is missing or unknown, a video is listed twice or without an action, or a
            split has another name.
    """
    if not file.is_file():
        raise FileNotFoundError(f"data.table: {file} is missing; expected a CSV with {EXPECTED}")
    rows = read_csv_text(file, f"data.table: {file}")
    rows = rows.rename(columns={"subject": "source"} if "source" not in rows.columns else {})
    for column in REQUIRED:
        if column not in rows.columns:
            raise ValueError(f"data.table: {file} has no column {column!r}; expected {EXPECTED}")
    rows = rows.assign(**{c: "" for c in OPTIONAL if c not in rows.columns})[[*REQUIRED, *OPTIONAL]]
    rows = rows.apply(lambda column: column.str.strip())
    unlabelled = rows.video[(rows.action == "") | (rows.video == "")]
    if len(unlabelled):
        raise ValueError(f"data.table: {file}, line {unlabelled.index[0] + 2}: video or action is empty")
    twice = rows.video[rows.video.duplicated()]
    if len(twice):
        raise ValueError(f"data.table: {file} lists video {twice.iloc[0]!r} twice")
    strange = sorted(set(rows.split) - {"train", "val", "test", ""})
    if strange:
        raise ValueError(f"data.table: {file}: split {strange[0]!r} is none of train, val, test or empty")
    return rows


def split_table(
    rows: pd.DataFrame, val_fraction: float = 0.15, seed: int = 7, test_fraction: float = 0.2
) -> pd.DataFrame:
    """Label and split the rows of :func:`read_table`.

    A split that is given is kept. Where none is given at all, whole sources are held out where there are any, and
    videos, class by class, otherwise. The order is seeded by name, so a new video moves nobody.

    Returns:
        The columns of :func:`hpnet.data.protocols.label_and_split`, one row per video in the same order.

    Raises:
        ValueError: a source is on two sides of the split; names it.
    """
    classes = sorted(set(rows.action))
    if (rows.split != "").any():
        splits = rows.split.tolist()
    elif (rows.source != "").any():
        splits = _by_group(rows.source.tolist(), val_fraction, test_fraction, seed)
    else:
        splits = [""] * len(rows)
        for action in classes:
            members = [n for n, name in enumerate(rows.action) if name == action]
            found = _by_group([rows.video[n] for n in members], val_fraction, test_fraction, seed)
            for n, split in zip(members, found, strict=True):
                splits[n] = split
    refuse_leaks(rows.source.tolist(), splits)
    ids = [str(Path(video).with_suffix("").as_posix()) for video in rows.video]
    table = [
        (i, classes.index(a), a, split, source, 0, 0, 0)
        for i, a, split, source in zip(ids, rows.action, splits, rows.source, strict=True)
    ]
    return pd.DataFrame(table, columns=list(COLUMNS))


def refuse_leaks(sources: list[str], splits: list[str]) -> None:
    """No source may be on two sides: what is learnt from it would be measured on it.

    Raises:
        ValueError: one is; names it and its splits.
    """
    seen: dict[str, str] = {}
    for source, split in zip(sources, splits, strict=True):
        if source and split and seen.setdefault(source, split) != split:
            raise ValueError(
                f"data.table: source {source!r} is in {seen[source]} and in {split}: a source belongs to one split, "
                "or accuracy is measured on what was learnt by heart"
            )


def copies(files: Sequence[Path], splits: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of files on two sides that are the same video under two names: places in ``files``, the earlier one first.

    Files of one size and one beginning are compared byte by byte; missing and empty ones are left to those who read
    them.
    """
    sizes: dict[int, list[int]] = {}
    for n, file in enumerate(files):
        if splits[n] and file.is_file() and file.stat().st_size:
            sizes.setdefault(file.stat().st_size, []).append(n)
    beginnings: dict[tuple[int, bytes], list[int]] = {}
    for size, group in sizes.items():
        for n in group if len(group) > 1 else ():
            with files[n].open("rb") as video:
                beginnings.setdefault((size, hashlib.sha256(video.read(BEGINNING)).digest()), []).append(n)
    return [
        (a, b)
        for group in beginnings.values()
        for a, b in itertools.combinations(group, 2)
        if splits[a] != splits[b] and filecmp.cmp(files[a], files[b], shallow=False)
    ]


def refuse_copies(files: Sequence[Path], splits: Sequence[str]) -> None:
    """A video and a copy of it under another name are one source: they may not be on two sides.

    Raises:
        ValueError: names both files and their splits.
    """
    for a, b in copies(files, splits):
        raise ValueError(
            f"{files[a]} and {files[b]} are the same video, in {splits[a]} and in {splits[b]}: remove one, or "
            "accuracy is measured on what was learnt by heart"
        )


def _by_group(groups: list[str], val_fraction: float, test_fraction: float, seed: int) -> list[str]:
    """A split for every entry; those of one group share it. Of three groups on, each wanted split gets at least one."""
    members = hold_out_order(set(groups), seed)
    count = len(members)
    tests = min(max(1, round(test_fraction * count)), count - 1) if test_fraction else 0
    vals = min(max(1, round(val_fraction * count)), count - tests - 1) if val_fraction else 0
    place = {group: n for n, group in enumerate(members)}
    return ["test" if place[g] < tests else "val" if place[g] < tests + vals else "train" for g in groups]
