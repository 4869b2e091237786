"""The confusion matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.metrics import confusion, most_confused, per_class_accuracy
from ...core.streams import MULTIMODAL
from ..figures import confusion_plot, standalone
from ..results import common, evaluated
from ..section import Given
from ..tables import Column, Table

TITLE = "Confusions"
MOST_NUMBERED = 40
"""Up to this number of classes every column has its number."""


@dataclass(frozen=True)
class Cell:
    """Clips of one action with one prediction (``hit``: the right one); ``share`` of the action's clips."""

    clips: int
    share: float
    hit: bool


@dataclass(frozen=True)
class Row:
    """One action: its name, its label, and a cell for every prediction."""

    name: str
    index: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Confusion:
    """Data of the template. Without ``rows`` it shows only the notes.

    ``many``: too many classes for a number in every column; ``step``: distance of numbered columns.
    """

    lead: str = ""
    names: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    many: bool = False
    step: int = 1
    table: Table | None = None
    extremes: Table | None = None
    notes: tuple[str, ...] = ()


def build(given: Given) -> Confusion:
    """The confusion matrix of the fused result, with its clips."""
    test, clips = given.test, given.collected.clips
    if test is None or clips is None:
        why = "There are no fused scores on labelled test clips, so there is no confusion matrix."
        return Confusion(notes=(why,))
    names = clips.class_names
    matrix = confusion(test.logits, test.labels)
    total = matrix.sum(1)
    wrong = int(total.sum() - matrix.diagonal().sum())
    given.files.figures["confusion"] = standalone(confusion_plot(matrix, names, "Confusion matrix"))
    cells = [{"truth": names[t], "predicted": names[p], "clips": int(matrix[t, p])} for t, p in np.argwhere(matrix > 0)]
    columns = (Column("truth", "truth"), Column("predicted", "predicted"), Column("clips", "clips", "count"))
    given.files.table(Table("confusion", "Confusion matrix", columns, cells))
    return Confusion(
        lead=(
            f"Fused result. Rows are true actions, columns predictions, with the same numbers; cells count clips. "
            f"{wrong} of {int(total.sum())} clips are off the diagonal."
        ),
        names=tuple(names),
        rows=tuple(_row(matrix[t], t, names[t]) for t in range(len(names))),
        many=len(names) > MOST_NUMBERED,
        step=1 if len(names) <= MOST_NUMBERED else 5 * math.ceil(len(names) / 160),
        table=_most_confused(given, matrix, names),
        extremes=_extremes(given),
    )


def _row(counts: NDArray[np.int64], index: int, name: str) -> Row:
    total = counts.sum()
    return Row(
        name,
        index,
        tuple(Cell(int(n), float(n / total) if total else 0.0, p == index) for p, n in enumerate(counts)),
    )


def _most_confused(given: Given, matrix: NDArray[np.int64], names: list[str]) -> Table | None:
    confused = most_confused(matrix, 10)
    if not confused:
        return None
    total = matrix.sum(1)
    rows = [
        {"truth": names[t], "taken": names[p], "clips": n, "share": share, "n": int(total[t])}
        for t, p, n, share in confused
    ]
    columns = (
        Column("truth", "Action"),
        Column("taken", "Predicted"),
        Column("share", "Share, %", "percent"),
        Column("clips", "Clips", "count"),
        Column("n", "n", "count", "test clips of the action"),
    )
    return given.files.table(Table("most_confused", "Most frequent confusions", columns, rows))


def _extremes(given: Given, count: int = 3) -> Table | None:
    """The most accurate and the most confused actions of the multimodal stream, before and after fusion (Table XVI).

    None where they do not differ in accuracy.
    """
    run, clips = given.collected.runs.get(MULTIMODAL), given.collected.clips
    single = evaluated(run.scores) if run is not None else None
    if single is None or given.test is None or clips is None:
        return None
    single, fused = common([single, given.test])
    if not single.clip_ids:
        return None
    before, after = (per_class_accuracy(scores.logits, scores.labels) for scores in (single, fused))
    present = [int(k) for k in np.argsort(-before, kind="stable") if np.isfinite(before[k])]
    count = min(count, len(present) // 2)
    if not count or before[present[count - 1]] <= before[present[-count]]:
        return None
    rows = [
        {"part": part, "name": clips.class_names[k], "one": before[k], "all": after[k],
         "change": after[k] - before[k], "clips": int((single.labels == k).sum())}
        for part, chosen in (("accurate", present[:count]), ("confused", present[::-1][:count]))
        for k in chosen
    ]  # fmt: skip
    columns = (
        Column("part", "Most"),
        Column("name", "Action"),
        Column("one", "HP + RGB + text, %", "percent"),
        Column("all", "All streams, %", "percent"),
        Column("change", "Gain", "points"),
        Column("clips", "n", "count"),
    )
    caption = "The most accurate and the most confused actions of the multimodal stream, alone and after fusion"
    return given.files.table(Table("extremes", caption, columns, rows))
