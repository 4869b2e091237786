"""A CSV of videos: which action each shows, and who or what it comes from, so that nothing leaks between splits."""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..core.clip_ids import clip_id_fault, normal_form, text_fault
from ..core.csv_text import read_csv_text
from .grammar import COLUMNS, refuse_twins
from .holdout import by_action, by_source

BEGINNING = 1 << 16
"""Bytes by which videos of one size are told apart before they are compared whole."""

REQUIRED = ("video", "action")
OPTIONAL = ("source", "split", "subject")
EXPECTED = "columns video and action, and optionally source (subject, camera or recording) and split (train, val, test)"


def read_table(file: Path) -> pd.DataFrame:
    """The rows of the CSV as text: video (path below the folder of videos), action, source, split and subject.

    The source is who or what a video comes from; where there is no such column, the subject is. Backslashes in a
    video's path are taken for slashes.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no CSV, a column is missing, a video is listed twice, without an action or by a path that
            leaves the folder, a text holds a line break, or a split has another name.
    """
    if not file.is_file():
        raise FileNotFoundError(f"data.table: {file} is missing; expected a CSV with {EXPECTED}")
    rows = read_csv_text(file, f"data.table: {file}")
    for column in REQUIRED:
        if column not in rows.columns:
            raise ValueError(f"data.table: {file} has no column {column!r}; expected {EXPECTED}")
    if "source" not in rows.columns and "subject" in rows.columns:
        rows = rows.assign(source=rows.subject)
    rows = rows.assign(**{c: "" for c in OPTIONAL if c not in rows.columns})[[*REQUIRED, *OPTIONAL]]
    rows = rows.apply(lambda column: column.str.strip())
    rows = rows.assign(video=rows.video.str.replace("\\", "/", regex=False))
    unlabelled = rows.video[(rows.action == "") | (rows.video == "")]
    if len(unlabelled):
        raise ValueError(f"data.table: {file}, line {unlabelled.index[0] + 2}: video or action is empty")
    for number, video, *texts in zip(rows.index, rows.video, rows.action, rows.source, rows.subject, strict=True):
        what, wrong = f"video {video!r}", clip_id_fault(video)
        if not wrong:
            what, wrong = next(((f"{text!r}", fault) for text in texts if (fault := text_fault(text))), ("", ""))
        if wrong:
            raise ValueError(f"data.table: {file}, line {number + 2}: {what} {wrong}; expected {EXPECTED}")
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

    A split that is given is kept. Where none is given at all, whole sources are held out where there are any, so that
    every action is tested that has two, and videos, class by class, otherwise. The order is seeded by name, so a new
    video moves nobody whom the actions do not need elsewhere.

    Returns:
        The columns of :func:`hpnet.data.protocols.label_and_split`, one row per video in the same order.

    Raises:
        ValueError: a source is on two sides of the split, or two videos are one clip; names them.
    """
    classes = sorted(set(rows.action))
    videos, actions = rows.video.tolist(), rows.action.tolist()
    if (rows.split != "").any():
        splits = rows.split.tolist()
    elif (rows.source != "").any():
        # a video of unknown source is a source of its own; no source can be called so
        sources = [source or f"\n{video}" for source, video in zip(rows.source, videos, strict=True)]
        splits = by_source(sources, actions, val_fraction, test_fraction, seed)
    else:
        splits = by_action(videos, actions, val_fraction, test_fraction, seed)
    refuse_leaks(rows.source.tolist(), splits)
    subjects = rows.subject.tolist() if "subject" in rows.columns else [""] * len(rows)
    ids = [normal_form(str(Path(video).with_suffix("").as_posix())) for video in videos]
    refuse_twins(ids, videos)
    table = [
        (i, classes.index(a), a, split, subject, source, 0, 0, 0)
        for i, a, split, subject, source in zip(ids, rows.action, splits, subjects, rows.source, strict=True)
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

    Files of one size and one beginning are compared byte by byte; those that are missing, empty or cannot be read are
    left to those who read them, who say why.
    """
    sizes: dict[int, list[int]] = {}
    for n, file in enumerate(files):
        size = _size(file) if splits[n] else 0
        if size:
            sizes.setdefault(size, []).append(n)
    beginnings: dict[tuple[int, bytes], list[int]] = {}
    for size, group in sizes.items():
        for n in group if len(group) > 1 else ():
            with contextlib.suppress(OSError), files[n].open("rb") as video:
                beginnings.setdefault((size, hashlib.sha256(video.read(BEGINNING)).digest()), []).append(n)
    return [
        (a, b)
        for group in beginnings.values()
        for a, b in itertools.combinations(group, 2)
        if splits[a] != splits[b] and _equal(files[a], files[b])
    ]


def _size(file: Path) -> int:
    """Bytes of a file; 0 where there is none that can be looked at."""
    try:
        return file.stat().st_size if file.is_file() else 0
    except OSError:
        return 0


def _equal(first: Path, second: Path) -> bool:
    """Whether two files hold the same bytes; not where one cannot be read to its end."""
    try:
        return filecmp.cmp(first, second, shallow=False)
    except OSError:
        return False


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
