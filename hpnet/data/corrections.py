"""What is known to be wrong with a published data set, and how an import mends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ..core.csv_text import read_csv_text


@dataclass(frozen=True)
class Corrections:
    """What is mended on import.

    Attributes:
        drop_repeats: validation and test clips with the features of a training clip are marked as clips that cannot be
            used, so that nothing is scored on them.
        actions: clip_id -> name of the action of training and validation clips that are under a wrong one.
    """

    drop_repeats: bool = False
    actions: Mapping[str, str] = field(default_factory=dict)


AS_PUBLISHED = Corrections()


def read_actions(file: Path) -> dict[str, str]:
    """clip_id -> action of a CSV with these two columns.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no CSV, lacks a column, or names a clip twice.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; expected a CSV with columns clip_id and action")
    rows = read_csv_text(file, str(file))
    lacking = [column for column in ("clip_id", "action") if column not in rows.columns]
    if lacking:
        raise ValueError(f"{file} has no column {lacking[0]!r}; expected columns clip_id and action")
    rows = rows[["clip_id", "action"]].apply(lambda column: column.str.strip())
    twice = rows.clip_id[rows.clip_id.duplicated()]
    if len(twice):
        raise ValueError(f"{file} names clip {twice.iloc[0]!r} twice")
    return dict(zip(rows.clip_id, rows.action, strict=True))


def relabelled(table: pd.DataFrame, classes: pd.DataFrame, actions: Mapping[str, str]) -> pd.DataFrame:
    """The clip table with other labels where ``actions`` (clip_id -> name of a class) has them.

    Raises:
        ValueError: no such clip or class, or a test clip: scores on other labels compare with nobody's.
    """
    label = dict(zip(classes.name, classes.label, strict=True))
    split = dict(zip(table.clip_id, table.split, strict=True))
    for clip_id, action in actions.items():
        if clip_id not in split:
            raise ValueError(f"clip {clip_id!r} is to be {action!r}, but there is no such clip")
        if split[clip_id] == "test":
            raise ValueError(f"test clip {clip_id!r} is to be {action!r}: labels of test clips stay as published")
        if action not in label:
            raise ValueError(f"clip {clip_id!r} is to be {action!r}, which is no class; choose from {', '.join(label)}")
    labels = [
        label[actions[name]] if name in actions else old for name, old in zip(table.clip_id, table.label, strict=True)
    ]
    return table.assign(label=labels)
