"""Folds: which clips each trains and tests on, and the clip table of each. Pure but for the reading of a CSV."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..artifacts.clips import Clips
from ..core.clip_ids import normal_form
from ..core.csv_text import read_csv_text
from ..data.holdout import by_action, by_source

GROUPS = ("source", "subject", "camera", "setup", "repetition")
"""Columns of the clip table that clips can be kept together by."""
EXPECTED = "a column video and either a column fold, or columns whose cells are train, test or empty"
TRAIN, TEST = "train", "test"


@dataclass(frozen=True)
class Fold:
    """A fold: the clips that it trains and tests on; others have no part in it."""

    name: str
    train: frozenset[str]
    test: frozenset[str]


@dataclass(frozen=True)
class Folding:
    """How clips are put into folds.

    Attributes:
        file: a CSV says it; None: by ``group``.
        group: one of :data:`GROUPS`; all clips of a group are in one fold.
        k: number of folds.
        seed: of the draw of groups.
    """

    file: Path | None = None
    group: str = "source"
    k: int = 5
    seed: int = 0

    @property
    def text(self) -> str:
        """In words."""
        return f"{self.file.name}" if self.file else f"{self.k} folds by {self.group}, seed {self.seed}"

    def folds(self, clips: Clips) -> list[Fold]:
        """The folds of a clip table.

        Raises:
            FileNotFoundError, ValueError: as :func:`read_folds` or :func:`group_folds`.
        """
        return read_folds(self.file, clips) if self.file else group_folds(clips, self.group, self.k, self.seed)


def read_folds(file: Path, clips: Clips) -> list[Fold]:
    """The folds that a CSV gives: a clip's own fold, in which it is tested, or a column for each fold.

    With a column ``fold`` a clip is tested in that fold and trains in the others. Otherwise every column whose cells
    are train, test or empty is a fold. A clip whose cell is empty has no part in it. Other columns mean nothing.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such CSV, it and the clip table do not name the same labelled clips, a fold lacks training
            or test clips, or a source is on both sides of one.
    """
    if not file.is_file():
        raise FileNotFoundError(f"--folds: {file} is missing; expected a CSV with {EXPECTED}")
    rows = read_csv_text(file, f"--folds: {file}").apply(lambda column: column.str.strip())
    if "video" not in rows.columns:
        raise ValueError(f"--folds: {file} has no column 'video'; expected {EXPECTED}")
    rows = rows.assign(clip_id=_clip_ids(rows.video.tolist(), clips, file))
    labelled = clips.table.clip_id[clips.table.label >= 0]
    lacking = sorted(set(labelled) - set(rows.clip_id))
    if lacking:
        raise ValueError(
            f"--folds: {file} does not name {len(lacking)} of {len(labelled)} clips, such as {lacking[0]!r}: add them, "
            "with empty cells where they have no part"
        )
    rows = rows[rows.clip_id.isin(set(labelled))]
    folds = _by_number(rows) if "fold" in rows.columns else _by_column(rows, file)
    _check(folds, f"--folds: {file}")
    refuse_leaks(folds, dict(zip(clips.table.clip_id, clips.table.source.astype(str), strict=True)), str(file))
    return folds


def group_folds(clips: Clips, group: str, k: int, seed: int) -> list[Fold]:
    """``k`` folds that keep groups together and have classes in equal shares, as far as groups allow.

    As many folds as groups: each group is a fold, and names it. Clips without a label have no part, clips of an
    unknown group are groups of their own.

    Raises:
        ValueError: an unknown column, or fewer groups than folds.
    """
    if group not in GROUPS:
        raise ValueError(f"--group {group!r} is none of {', '.join(GROUPS)}")
    table = clips.table[clips.table.label >= 0].reset_index(drop=True)
    values = table[group].astype(str)
    if not (values != "").any():
        raise ValueError(f"--group {group}: no clip has a {group}; give another column, or --folds FILE")
    groups = _own(table, values)
    names = sorted(set(groups), key=natural)
    if len(names) < k:
        raise ValueError(f"--k {k}: there are {len(names)} groups by {group}; give at most so many folds")
    if len(names) == k:
        place = {name: number for number, name in enumerate(names)}
        fold_of = np.array([place[name] for name in groups])
        titles = [f"{group} {name.strip()}" for name in names]
    else:
        from sklearn.model_selection import StratifiedGroupKFold

        fold_of, titles = np.zeros(len(table), dtype=np.int64), [str(number + 1) for number in range(k)]
        parts = StratifiedGroupKFold(k, shuffle=True, random_state=seed).split(table, table.label, groups)
        for number, (_, tested) in enumerate(parts):
            fold_of[tested] = number
    ids = table.clip_id.to_numpy()
    folds = [Fold(t, frozenset(ids[fold_of != n]), frozenset(ids[fold_of == n])) for n, t in enumerate(titles)]
    _check(folds, f"--group {group} --k {k}")
    return folds


def refuse_leaks(folds: Sequence[Fold], source_of: Mapping[str, str], where: str) -> None:
    """No source may be on both sides of a fold: what is learnt from it would be measured on it.

    Raises:
        ValueError: one is; names the fold and the source.
    """
    for fold in folds:
        both = {source_of[clip] for clip in fold.train} & {source_of[clip] for clip in fold.test} - {""}
        if both:
            raise ValueError(
                f"{where}: source {sorted(both)[0]!r} trains and tests fold {fold.name!r} ({len(both)} such sources): "
                "put all clips of a source on one side, or accuracy is measured on what was learnt by heart"
            )


def fold_clips(clips: Clips, fold: Fold, val_fraction: float, seed: int) -> Clips:
    """The clip table of a fold: its test clips test, and of its training clips some sources validate.

    Whole sources validate where any is known, clips otherwise, by the rule that holds them out of a folder of videos
    (:mod:`hpnet.data.holdout`).
    """
    table = clips.table
    split = pd.Series("", index=table.index)
    split[table.clip_id.isin(fold.test)] = TEST
    training = table[table.clip_id.isin(fold.train)]
    actions = [clips.class_names[label] for label in training.label]
    if (training.source.astype(str) != "").any():
        sources = _own(training, training.source.astype(str))
        split[training.index] = by_source(sources, actions, val_fraction, 0.0, seed)
    else:
        split[training.index] = by_action(training.clip_id.tolist(), actions, val_fraction, 0.0, seed)
    return Clips(table.assign(split=split), clips.classes)


def natural(text: str) -> list[tuple[int, str]]:
    """Order in which split2 comes before split10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text) if part]


def _own(table: pd.DataFrame, values: pd.Series) -> list[str]:
    """Each clip's group; one of its own where it is unknown. No group can be called so."""
    return [value or f"\n{clip_id}" for value, clip_id in zip(values, table.clip_id, strict=True)]


def _clip_ids(videos: Sequence[str], clips: Clips, file: Path) -> list[str]:
    """The clip of each video: its id, or the path below the folder of videos, with or without its ending."""
    known = {str(clip_id) for clip_id in clips.table.clip_id}
    names = Counter(clip_id.rpartition("/")[2] for clip_id in known)
    by_name = {clip_id.rpartition("/")[2]: clip_id for clip_id in known if names[clip_id.rpartition("/")[2]] == 1}
    found: list[str] = []
    unknown: list[str] = []
    for video in videos:
        path = normal_form(video.replace("\\", "/"))
        stem = Path(path).with_suffix("").as_posix() if path else ""
        name = stem.rpartition("/")[2]
        clip_id = next((c for c in (path, stem) if c in known), by_name.get(name, ""))
        (found if clip_id else unknown).append(clip_id or video)
    if unknown:
        raise ValueError(
            f"--folds: {file} names {len(unknown)} videos that are no clips of this project, such as {unknown[0]!r}; "
            f"its clips are called such as {min(known, default='')!r}"
        )
    twice = [clip_id for clip_id, count in Counter(found).items() if count > 1]
    if twice:
        raise ValueError(f"--folds: {file} names clip {twice[0]!r} twice")
    return found


def _by_number(rows: pd.DataFrame) -> list[Fold]:
    rows = rows[rows.fold != ""]
    return [
        Fold(name, frozenset(rows.clip_id[rows.fold != name]), frozenset(rows.clip_id[rows.fold == name]))
        for name in sorted(set(rows.fold), key=natural)
    ]


def _by_column(rows: pd.DataFrame, file: Path) -> list[Fold]:
    columns = [name for name in rows.columns if set(rows[name]) - {""} and set(rows[name]) <= {TRAIN, TEST, ""}]
    if not columns:
        raise ValueError(f"--folds: {file} has no fold; expected {EXPECTED}")
    return [
        Fold(str(name), frozenset(rows.clip_id[rows[name] == TRAIN]), frozenset(rows.clip_id[rows[name] == TEST]))
        for name in columns
    ]


def _check(folds: Sequence[Fold], where: str) -> None:
    for fold in folds:
        for side, members in ((TRAIN, fold.train), (TEST, fold.test)):
            if not members:
                raise ValueError(f"{where}: fold {fold.name!r} has no {side} clip; expected clips on both sides")
