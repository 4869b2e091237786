"""A table of the paper: rows with the paper's number and the parameters for ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Overrides = Mapping[str, Any]
Kind = Literal["accuracy", "classes", "extremes", "cost"]
"""accuracy: one number per row; classes: Table V; extremes: Table XVI; cost: Table X."""
Measure = Literal["top1", "mean_class"]


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        labels: texts of the paper before its number, one per column of the table.
        paper: its number, %; None if it has none.
        streams: streams to score; several are fused with weights from validation.
        settings: parameters of the row, dotted name -> value; all others are those of the project. With more than one,
            each is run, and the row's accuracy is over the clips of all.
        measure: top-1 or mean class accuracy.
        differs: how our row differs from the paper's, in addition to the whole table.
        unavailable: why it cannot run.
        extra: run only with --full, because it takes long and adds little.
        benchmark: the paper's protocol, in tables that have more than one; empty: the project's protocol.
        mannequins: protocol of the mannequins that replaces ``benchmark``; empty: none.
        head: the pose network's head in the row; empty: the head of the project's network.
        poses: the row needs imported 3-D poses.
    """

    labels: tuple[str, ...]
    paper: float | None
    streams: tuple[str, ...]
    settings: tuple[Overrides, ...] = ({},)
    measure: Measure = "top1"
    differs: str = ""
    unavailable: str = ""
    extra: bool = False
    benchmark: str = ""
    mannequins: str = ""
    head: Literal["", "simcc", "heatmap"] = ""
    poses: bool = False


@dataclass(frozen=True)
class Note:
    """How a table differs from the paper's in projects with a ``parameter`` that begins with ``value``."""

    parameter: str
    value: str
    text: str


@dataclass(frozen=True)
class Claim:
    """A claim of the paper about two rows: the second is better than the first (row numbers from 0)."""

    text: str
    worse: int
    better: int


@dataclass(frozen=True)
class PaperTable:
    """One table.

    Attributes:
        number: 3 to 18.
        columns: headings of the rows' labels.
        differs: how the whole table differs from the paper's, in every project.
        notes: how it differs in some.
        ours: name of the data of our numbers.
        protocol: of the project; empty if it has none.
        value: importance of the table, compared with its time; orders ``hpnet ablate all``.
    """

    number: int
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...] = ()
    kind: Kind = "accuracy"
    differs: str = ""
    notes: tuple[Note, ...] = ()
    ours: str = "the built-in benchmark"
    protocol: str = ""
    value: float = 1.0

    @property
    def name(self) -> str:
        """'table9'."""
        return f"table{self.number}"

    @property
    def roman(self) -> str:
        """'IX'."""
        return ROMAN[self.number]


ROMAN: dict[int, str] = {
    3: "III", 4: "IV", 5: "V", 6: "VI", 7: "VII", 8: "VIII", 9: "IX", 10: "X", 11: "XI", 12: "XII", 13: "XIII",
    14: "XIV", 15: "XV", 16: "XVI", 17: "XVII", 18: "XVIII",
}  # fmt: skip


def measure_of(protocol: str) -> Measure:
    """The paper's measure for a protocol: mean class accuracy on Smarthome, else top-1."""
    return "mean_class" if protocol.startswith("smarthome") else "top1"


def parse_name(text: str) -> int:
    """'table9', '9' or 'IX' -> 9.

    Raises:
        ValueError: the paper's tables with experiments are III to XVIII.
    """
    word = text.strip().lower().removeprefix("table").strip("-_ ")
    numbers = {str(number): number for number in ROMAN} | {roman.lower(): number for number, roman in ROMAN.items()}
    if word not in numbers:
        raise ValueError(f"unknown table {text!r}: expected table3 to table18, III to XVIII, or all")
    return numbers[word]
