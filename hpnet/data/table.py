"""A CSV of videos with the action and source of each, so that no source is in two splits."""

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
from ..core.sides import NO_MIRROR_IMAGE
from .grammar import COLUMNS, refuse_twins
from .holdout import by_action, by_source

BEGINNING = 1 << 16
"""First bytes that are compared for videos of equal size, before the whole files."""

REQUIRED = ("video", "action")
OPTIONAL = ("source", "split", "subject", "mirror")
EXPECTED = (
    "columns video and action, and optionally source (subject, camera or recording), split (train, val, test) and "
    "mirror (the action that the mirror image shows)"
)


def read_table(file: Path) -> pd.DataFrame:
    """The rows of the CSV as text: video (path below the folder of videos), action, source, split, subject and mirror.

    The source is the person or recording of a video; without such a column it is the subject. Backslashes in a path are
    read as slashes.

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
    check_splits(rows, file)
    check_mirrors(rows, file)
    return rows


def check_splits(rows: pd.DataFrame, file: Path) -> None:
    """Refuse a split of another name.

    Raises:
        ValueError: names it and the file.
    """
    strange = sorted(set(rows.split) - {"train", "val", "test", ""})
    if strange:
        raise ValueError(f"data.table: {file}: split {strange[0]!r} is not train, val, test or empty")


def check_mirrors(rows: pd.DataFrame, file: Path) -> None:
    """Refuse mirror images that are no actions, and videos of one action that say different things.

    Raises:
        ValueError: names the line, or the action.
    """
    actions = {"", NO_MIRROR_IMAGE, *rows.action}
    for number, action, other in zip(rows.index, rows.action, rows.mirror, strict=True):
        if other not in actions:
            raise ValueError(
                f"data.table: {file}, line {number + 2}: mirror of {action!r} is {other!r}, which is no action; "
                f"expected one, {NO_MIRROR_IMAGE!r} for none, or nothing"
            )
    mirrors(rows)


def mirrors(rows: pd.DataFrame) -> dict[str, str]:
    """Action -> what the column ``mirror`` of its videos says; one row of an action is enough.

    Raises:
        ValueError: videos of one action say different things; names it.
    """
    found: dict[str, str] = {}
    for action, other in zip(rows.action, rows.mirror, strict=True):
        if other and found.setdefault(action, other) != other:
            raise ValueError(f"data.table: the mirror of {action!r} is {found[action]!r} and {other!r}; keep one")
    return found


def split_table(
    rows: pd.DataFrame, val_fraction: float = 0.15, seed: int = 7, test_fraction: float = 0.2
) -> pd.DataFrame:
    """Label and split the rows of :func:`read_table`.

    A given split is kept; if none is val, whole sources of train become val. Without splits, whole sources are held
    out, so that every action with two sources has test clips; without sources, videos are held out for each class. The
    order is a hash of seed and name, so a new video moves others only if an action needs it.

    Returns:
        The columns of :func:`hpnet.data.protocols.label_and_split`, one row per video in the same order.

    Raises:
        ValueError: a source is in two splits, or two videos are one clip; names them.
    """
    label_of = {action: label for label, action in enumerate(sorted(set(rows.action)))}
    videos, actions = rows.video.tolist(), rows.action.tolist()
    given = rows.split.tolist()
    # a video of unknown source is its own source; no real source can have this name
    sources = [source or f"\n{video}" for source, video in zip(rows.source, videos, strict=True)]
    if any(given):
        splits = given if "val" in given else with_validation(given, sources, actions, val_fraction, seed)
    elif (rows.source != "").any():
        splits = by_source(sources, actions, val_fraction, test_fraction, seed)
    else:
        splits = by_action(videos, actions, val_fraction, test_fraction, seed)
    refuse_leaks(rows.source.tolist(), splits)
    subjects = rows.subject.tolist() if "subject" in rows.columns else [""] * len(rows)
    ids = [normal_form(str(Path(video).with_suffix("").as_posix())) for video in videos]
    refuse_twins(ids, videos)
    table = [
        (i, label_of[a], a, split, subject, source, 0, 0, 0)
        for i, a, split, subject, source in zip(ids, rows.action, splits, subjects, rows.source, strict=True)
    ]
    return pd.DataFrame(table, columns=list(COLUMNS))


def with_validation(
    given: list[str], sources: list[str], actions: list[str], val_fraction: float, seed: int
) -> list[str]:
    """The given splits with validation sources cut from the training ones."""
    training = [n for n, split in enumerate(given) if split == "train"]
    found = by_source([sources[n] for n in training], [actions[n] for n in training], val_fraction, 0.0, seed)
    cut = dict(zip(training, found, strict=True))
    return [cut.get(n, split) for n, split in enumerate(given)]


def refuse_leaks(sources: list[str], splits: list[str]) -> None:
    """Refuse a source in two splits, because it would be used for training and test.

    Raises:
        ValueError: names the source and its splits.
    """
    seen: dict[str, str] = {}
    for source, split in zip(sources, splits, strict=True):
        if source and split and seen.setdefault(source, split) != split:
            raise ValueError(
                f"data.table: source {source!r} is in {seen[source]} and in {split}: a source must be in one split, "
                "or accuracy is too high"
            )


def copies(files: Sequence[Path], splits: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of files in different splits that are the same video under two names: indices of ``files``, smaller first.

    Files of equal size and equal beginning are compared byte by byte. Files that are missing, empty or unreadable are
    ignored here; the reader reports them.
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
    """Size of a file in bytes; 0 if it cannot be read."""
    try:
        return file.stat().st_size if file.is_file() else 0
    except OSError:
        return 0


def _equal(first: Path, second: Path) -> bool:
    """Whether two files have the same bytes; false if one cannot be read to its end."""
    try:
        return filecmp.cmp(first, second, shallow=False)
    except OSError:
        return False


def refuse_copies(files: Sequence[Path], splits: Sequence[str]) -> None:
    """Refuse a video with a copy under another name in another split, because they are one source.

    Raises:
        ValueError: names both files and their splits.
    """
    for a, b in copies(files, splits):
        raise ValueError(
            f"{files[a]} and {files[b]} are the same video, in {splits[a]} and in {splits[b]}: remove one, or "
            "accuracy is too high"
        )
