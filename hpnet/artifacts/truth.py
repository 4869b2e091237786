"""True boxes and joints of rendered people: ``truth.parquet``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa

from .parquet import NUMBERS, TEXT, TRUTHS, WHOLE, read_columns, read_table

_CORNERS = ("x1", "y1", "x2", "y2")
PEOPLE = {"clip_id": TEXT, "frame": WHOLE, "person": WHOLE}
KINDS = {**PEOPLE, **dict.fromkeys(_CORNERS, pa.float32()), "keypoints": NUMBERS, "visible": TRUTHS}
_REMEDY = "run `hpnet data` again"


def load_truth(file: Path) -> pd.DataFrame:
    """clip_id, frame, person, x1, y1, x2, y2 (frame pixels; NaN where out of view), keypoints (34), visible (17).

    Raises:
        ValueError: the file is damaged or holds something else; names it.
    """
    read = read_columns(file, KINDS, gaps=(*_CORNERS, "keypoints"), remedy=_REMEDY)
    return read.table.assign(**{name: list(rows) for name, rows in read.lists.items()})


def load_people(file: Path) -> pd.DataFrame:
    """clip_id, frame, person alone; errors as of :func:`load_truth`."""
    return read_table(file, PEOPLE, _REMEDY)


def load_boxes(file: Path) -> pd.DataFrame:
    """clip_id, frame, person, x1, y1, x2, y2 alone; errors as of :func:`load_truth`."""
    kinds = {**PEOPLE, **dict.fromkeys(_CORNERS, pa.float32())}
    return read_columns(file, kinds, gaps=_CORNERS, remedy=_REMEDY).table
