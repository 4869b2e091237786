"""Person boxes: ``boxes.parquet``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ..core.clip_ids import check_clip_ids
from ..core.csv_text import read_csv_text
from ..core.reading import decoding
from .files import read_json_as, require_columns, write_json, writing
from .missing import missing
from .parquet import TEXT, read_table

BOX_COLUMNS = ("clip_id", "frame", "track", "x1", "y1", "x2", "y2", "score")
KINDS = {"clip_id": TEXT, "frame": pa.int32(), "track": pa.int32()} | dict.fromkeys(BOX_COLUMNS[3:], pa.float32())


@dataclass(frozen=True)
class Boxes:
    """Person boxes (``boxes.parquet``): one row per clip, frame and track.

    Boxes are xyxy in frame pixels. Tracks are numbered by rank: track 0 is the most prominent person of its clip. A
    frame without a person has no row. ``failed`` maps clips without boxes to the reason.
    """

    table: pd.DataFrame
    failed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_columns(self.table, BOX_COLUMNS, "boxes")
        check_clip_ids([*self.table.clip_id.unique(), *self.failed], "boxes")
        bad = self.table[(self.table.x2 < self.table.x1) | (self.table.y2 < self.table.y1)]
        if len(bad):
            row = bad.iloc[0]
            raise ValueError(
                f"boxes: clip {row.clip_id!r} frame {row.frame}: inverted box "
                f"({row.x1:g}, {row.y1:g}, {row.x2:g}, {row.y2:g}); expected x1 <= x2 and y1 <= y2"
            )

    def save(self, folder: Path) -> None:
        """Write boxes.parquet (and failed.json)."""
        table = self.table[list(BOX_COLUMNS)].reset_index(drop=True)
        types: dict[str, Any] = {"clip_id": str, "frame": "int32", "track": "int32"}
        types |= dict.fromkeys(BOX_COLUMNS[3:], "float32")
        with writing(folder / "boxes.parquet") as file:
            table.astype(types).to_parquet(file, index=False)
        write_json(folder / "failed.json", self.failed)

    @classmethod
    def load(cls, path: Path) -> Boxes:
        """Read a detect folder, or a boxes .parquet or .csv file."""
        file = path / "boxes.parquet" if path.is_dir() else path
        if not file.is_file():
            raise missing(file, "run `hpnet detect` first")
        table = _boxes_csv(file) if file.suffix == ".csv" else read_table(file, KINDS, "run `hpnet detect` again")
        failed = path / "failed.json"
        reasons = read_json_as(failed, dict[str, str]) if path.is_dir() and failed.is_file() else {}
        _check(table, path)
        with decoding(file, fault="is not a table of boxes"):
            return cls(table, reasons)


def _check(table: pd.DataFrame, path: Path) -> None:
    """Refuse errors that a damaged file, or one from another program, may have."""
    problems = {
        "a corner that is not a number": ~np.isfinite(table[["x1", "y1", "x2", "y2"]].to_numpy(float)).all(axis=1),
        "a negative frame or track": (table.frame.to_numpy() < 0) | (table.track.to_numpy() < 0),
        "a second box of the same track": table.duplicated(["clip_id", "frame", "track"]).to_numpy(),
    }
    for what, where in problems.items():
        if where.any():
            row = table[where].iloc[0]
            raise ValueError(f"{path}: clip {row.clip_id!r} frame {row.frame} track {row.track} has {what}")


def _boxes_csv(file: Path) -> pd.DataFrame:
    """A table of boxes from another program: whole frame and track numbers, corners and scores as numbers."""
    table = read_csv_text(file, f"boxes: {file}")
    require_columns(table, BOX_COLUMNS, f"{file}: boxes")
    for column in BOX_COLUMNS[1:]:
        values = pd.to_numeric(table[column], errors="coerce")
        bad = values.isna() | ((values % 1 != 0) if column in ("frame", "track") else False)
        if bad.any():
            row = table[bad].iloc[0]
            kind = "whole number" if column in ("frame", "track") else "number"
            raise ValueError(f"{file}: clip {row.clip_id!r} has {column} {str(row[column])!r}; expected a {kind}")
        table[column] = values
    return table
