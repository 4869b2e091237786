"""Tables of the report: one object, shown as sortable HTML and written as CSV.

Cells are raw values; :class:`Column` describes how they are shown. The template escapes everything.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from .figures import percent, signed_points

ENDS = ("", "_low", "_high", "_n", "_over")
"""What the columns of an accuracy end with in a CSV."""
Kind = Literal["text", "code", "count", "percent", "points", "number", "interval", "gain", "p", "prose"]


@dataclass(frozen=True)
class Measured:
    """An accuracy (fraction) with its interval.

    Attributes:
        value: the accuracy.
        low, high: the interval's ends; NaN where one unit alone was measured.
        n: how many clips are behind it.
        over: what was resampled: '108 performances'.
    """

    value: float
    low: float
    high: float
    n: int
    over: str

    @property
    def text(self) -> str:
        """'93.1'."""
        return percent(self.value)

    @property
    def interval(self) -> str:
        """'90.2–95.4', or that there is none."""
        return f"{percent(self.low)}–{percent(self.high)}" if self.sure else "no interval"

    @property
    def named(self) -> str:
        """'90.2–95.4 over 108 performances', or why there is none."""
        return self._over(self.interval)

    @property
    def sure(self) -> bool:
        """Whether there is an interval."""
        return not math.isnan(self.low)

    @property
    def range(self) -> str:
        """Of a difference: '+0.9 to +5.1', or that there is none."""
        return f"{signed_points(self.low)} to {signed_points(self.high)}" if self.sure else "no interval"

    @property
    def named_range(self) -> str:
        """'+0.9 to +5.1 over 108 performances', or why there is none."""
        return self._over(self.range)

    def _over(self, ends: str) -> str:
        return f"{ends} over {self.over}" if self.sure else f"no interval: {self.over} alone"

    @property
    def full(self) -> str:
        """'93.1 (90.2–95.4)'."""
        return f"{self.text} ({self.interval})"

    def to_json(self) -> dict[str, float | int | str | None]:
        """As plain values, for metrics files."""
        low, high = (self.low, self.high) if self.sure else (None, None)
        return {"value": self.value, "low": low, "high": high, "n": self.n, "over": self.over}


@dataclass(frozen=True)
class Column:
    """A column: the key of its values, its heading, and how they are written.

    Kinds: text, code (monospace), prose (may wrap), count (1 234), percent (fraction -> 93.1), points (difference of
    fractions -> +3.1), number (three significant digits), interval (a :class:`Measured`), gain (a :class:`Measured`
    difference, in points), p (a p-value).
    """

    key: str
    title: str
    kind: Kind = "text"
    hint: str = ""

    @property
    def numeric(self) -> bool:
        """Whether values are right-aligned and sorted as numbers, largest first."""
        return self.kind not in ("text", "code", "prose")


@dataclass(frozen=True)
class Link:
    """A text that leads to a file, by its address relative to the page; in CSV the text alone."""

    text: str
    address: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Cell:
    """A value as the page shows it: main text, smaller second text, the key it sorts by, and where it leads."""

    text: str
    minor: str
    sort: str
    address: str = ""


@dataclass(frozen=True)
class Table:
    """Rows are dicts by column key; a missing or None value is shown as a dash. ``strong`` names the rows in bold."""

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    strong: frozenset[int] = frozenset()

    def shown(self, *hidden: str) -> Table:
        """The table for the page: without the ``hidden`` columns, and without those that are empty in every row."""
        filled = [
            c for c in self.columns if c.key not in hidden and any(row.get(c.key) is not None for row in self.rows)
        ]
        return replace(self, columns=filled or self.columns)

    def alike(self, *keys: str) -> tuple[str, ...]:
        """Those of the columns that have one value in all rows: the caption can say it once."""
        return tuple(key for key in keys if len({row.get(key) for row in self.rows}) == 1)

    def cells(self, row: Mapping[str, Any]) -> list[Cell]:
        """One row as the page shows it."""
        return [cell(column, row.get(column.key)) for column in self.columns]

    def to_csv(self) -> str:
        """The raw values; an accuracy becomes five columns: value, low, high, n and over."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        header: list[str] = []
        for column in self.columns:
            wide = column.kind in ("interval", "gain")
            header += [f"{column.key}{end}" for end in ENDS] if wide else [column.key]
        writer.writerow(header)
        for row in self.rows:
            values: list[Any] = []
            for column in self.columns:
                value = row.get(column.key)
                if column.kind in ("interval", "gain"):
                    values += [""] * len(ENDS) if value is None else list(value.to_json().values())
                else:
                    values.append("" if value is None else value)
            writer.writerow([round(v, 6) if isinstance(v, float) else "" if v is None else v for v in values])
        return buffer.getvalue()


def cell(column: Column, value: Any) -> Cell:
    """How one value looks and sorts."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Cell("–", "", "")
    if isinstance(value, Link):
        return Cell(value.text, "", value.text, value.address)
    if isinstance(value, Measured) and column.kind == "gain":
        return Cell(signed_points(value.value), value.range, f"{value.value:.6f}")
    if isinstance(value, Measured):
        return Cell(value.text, value.interval, f"{value.value:.6f}")
    if column.kind == "count":
        return Cell(f"{value:,}".replace(",", " "), "", str(value))
    if column.kind == "percent":
        return Cell(percent(value), "", f"{value:.6f}")
    if column.kind == "points":
        return Cell(signed_points(value), "", f"{value:.6f}")
    if column.kind == "number":
        return Cell(significant(value), "", f"{value:.6g}")
    if column.kind == "p":
        return Cell("<\u00a00.001" if value < 0.001 else f"{value:.3f}", "", f"{value:.6g}")
    return Cell(str(value), "", str(value))


def significant(value: float) -> str:
    """Three significant digits without exponents, thousands apart: 0.0123, 12.3, 12 345."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{digits}f}".replace(",", " ")
    return text.rstrip("0").rstrip(".") if "." in text else text


def plain_bytes(count: float) -> str:
    """12345 -> '12.1 KiB'."""
    if count < 1024:
        return f"{int(count)} B"
    power = min(int(math.log(count, 1024)), 3)
    return f"{significant(count / 1024**power)} {('KiB', 'MiB', 'GiB')[power - 1]}"
