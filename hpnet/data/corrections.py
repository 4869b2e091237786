"""Known errors of a published data set, and their correction on import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ..core.csv_text import read_csv_text


@dataclass(frozen=True)
class Corrections:
    """Corrections on import.

    Attributes:
        drop_repeats: validation and test clips with the same features as a training clip are marked as unusable, so
            they are not scored.
        actions: clip_id -> right action of training and validation clips with a wrong label.
    """

    drop_repeats: bool = False
    actions: Mapping[str, str] = field(default_factory=dict)


AS_PUBLISHED = Corrections()


def read_actions(file: Path) -> dict[str, str]:
    """clip_id -> action of a CSV with these two columns.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a CSV, lacks a column, or names a clip twice.
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
    """The clip table with the labels of ``actions`` (clip_id -> name of a class).

    Raises:
        ValueError: no such clip or class, or a test clip: with other test labels, scores are not comparable with
            published ones.
    """
    label = dict(zip(classes.name, classes.label, strict=True))
    split = dict(zip(table.clip_id, table.split, strict=True))
    for clip_id, action in actions.items():
        if clip_id not in split:
            raise ValueError(f"clip {clip_id!r} (new action {action!r}) does not exist")
        if split[clip_id] == "test":
            raise ValueError(f"test clip {clip_id!r} has new action {action!r}: test clips keep their published labels")
        if action not in label:
            raise ValueError(
                f"clip {clip_id!r} has new action {action!r}, which is no class; choose from {', '.join(label)}"
            )
    labels = [
        label[actions[name]] if name in actions else old for name, old in zip(table.clip_id, table.label, strict=True)
    ]
    return table.assign(label=labels)
