"""Events of the untrimmed test videos, true and found: ``found.csv`` of the stage ``events``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..core.csv_text import numbers, read_csv, write_csv
from ..core.events import Event
from .files import delete_old, require_columns
from .takes import NOBODY

FOUND_COLUMNS = ("video", "kind", "person", "action", "start_s", "end_s", "probability")
KINDS = ("truth", "events", "windows")
"""What is true, what was found, and what sliding windows say."""


@dataclass(frozen=True)
class FoundEvents:
    """A row per event; ``person`` is that of the truth, or a number above those of it, or -1 for nobody."""

    table: pd.DataFrame

    def __post_init__(self) -> None:
        require_columns(self.table, FOUND_COLUMNS, "found.csv")
        unknown = sorted(set(self.table.kind) - set(KINDS))
        if unknown:
            raise ValueError(f"found.csv: kind {unknown[0]!r} is not {', '.join(KINDS)}")

    def of(self, video: str, kind: str) -> list[Event]:
        """The events of a video."""
        rows = self.table[(self.table.video == video) & (self.table.kind == kind)]
        return [
            Event(float(r.start_s), float(r.end_s), str(r.action), float(r.probability),
                  None if int(r.person) == NOBODY else int(r.person))
            for r in rows.itertuples()
        ]  # fmt: skip

    def save(self, folder: Path) -> None:
        """Write found.csv."""
        write_csv(self.table[list(FOUND_COLUMNS)], delete_old(folder / "found.csv"))

    @classmethod
    def load(cls, folder: Path) -> FoundEvents:
        """Read found.csv.

        Raises:
            FileNotFoundError: the stage has not run.
            ValueError: it is not such a table.
        """
        file = folder / "found.csv"
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: run `hpnet events` first")
        remedy = "run `hpnet events` again"
        table = read_csv(file, ("video", "kind", "action"), ("person",), remedy)
        for column in {"start_s", "end_s", "probability"} & set(table.columns):
            table[column] = numbers(table[column], f"{file}: column {column}", remedy)
        return cls(table)
