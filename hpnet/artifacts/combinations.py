"""Predictions of every ensemble of streams on the test clips: ``combinations.parquet`` of the stage fuse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.clip_ids import check_clip_ids
from .files import require_columns, writing
from .missing import missing
from .parquet import TEXT, WHOLE, read_table

COMBINATION_COLUMNS = ("rule", "name", "streams", "clip_id", "label", "predicted")
KINDS = dict.fromkeys(COMBINATION_COLUMNS[:4], TEXT) | dict.fromkeys(COMBINATION_COLUMNS[4:], WHOLE)


@dataclass(frozen=True)
class Combination:
    """One ensemble on the N labelled test clips.

    Attributes:
        rule: of fusion, such as ``weighted``.
        name: the streams joined by ``+``, or ``all``.
        streams: the streams in it.
        clip_ids: N names.
        labels: (N,) the right class.
        predicted: (N,) the class with the highest score.
    """

    rule: str
    name: str
    streams: tuple[str, ...]
    clip_ids: tuple[str, ...]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]


@dataclass(frozen=True)
class Combinations:
    """Ensembles in the order of the tables, a row per ensemble and clip; ``streams`` are joined by ``+``."""

    table: pd.DataFrame

    def __post_init__(self) -> None:
        require_columns(self.table, COMBINATION_COLUMNS, "combinations")
        check_clip_ids(self.table.clip_id.unique(), "combinations")
        twice = self.table[self.table.duplicated(["rule", "name", "clip_id"])]
        if len(twice):
            row = twice.iloc[0]
            raise ValueError(f"combinations: clip {row.clip_id!r} is listed twice for {row['name']!r} ({row.rule})")

    @classmethod
    def of(cls, ensembles: list[Combination]) -> Combinations:
        """The table of some ensembles."""
        parts = [
            pd.DataFrame(
                {"rule": e.rule, "name": e.name, "streams": "+".join(e.streams), "clip_id": list(e.clip_ids),
                 "label": e.labels, "predicted": e.predicted}
            )
            for e in ensembles
        ]  # fmt: skip
        return cls(pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COMBINATION_COLUMNS)))

    def __iter__(self) -> Iterator[Combination]:
        for (rule, name), rows in self.table.groupby(["rule", "name"], sort=False):
            yield Combination(
                str(rule),
                str(name),
                tuple(str(rows.streams.iloc[0]).split("+")),
                tuple(map(str, rows.clip_id)),
                rows.label.to_numpy(np.int64),
                rows.predicted.to_numpy(np.int64),
            )

    def save(self, path: Path) -> None:
        """Write combinations.parquet."""
        table = self.table[list(COMBINATION_COLUMNS)].reset_index(drop=True)
        with writing(path) as file:
            table.astype({"label": "int32", "predicted": "int32"}).to_parquet(file, index=False)

    @classmethod
    def load(cls, path: Path) -> Combinations:
        """Read combinations.parquet.

        Raises:
            FileNotFoundError: no such file.
            ValueError: it is broken, or lacks a column.
        """
        if not path.is_file():
            raise missing(path, "run `hpnet fuse` first")
        return cls(read_table(path, KINDS, "run `hpnet fuse` again"))
