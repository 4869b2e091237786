"""Cross-validation: every result of `hpnet crossval`, with its folds and the confusions of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...artifacts.crossval import FUSED, numbered
from ...core.metrics import most_confused
from ...core.statistics import paired_bootstrap
from ..collect import Crossval
from ..figures import confusion_plot
from ..section import Given
from ..tables import Column, Measured, Table

TITLE = "Cross-validation"
FIRST = "default"
"""The result that the others are compared with, where there is one of that name."""


@dataclass(frozen=True)
class Section:
    """What the template shows. ``confusion``: SVG."""

    lead: str
    table: Table
    folds: Table
    confusion_title: str
    confusion: str
    confused: Table | None


def build(given: Given) -> Section | None:
    """None where `hpnet crossval` was not run."""
    results = given.collected.crossval
    if not results:
        return None
    first = FIRST if FIRST in results else next(iter(results))
    shown = results[first]
    names, matrix = list(shown.scores.classes), np.array(shown.metrics["confusion"], dtype=np.int64)
    title = f"Confusion of {first}, test clips of all folds"
    return Section(
        lead=_lead(results),
        table=given.files.table(_results(given, results, first)),
        folds=given.files.table(_folds(results)),
        confusion_title=title,
        confusion=given.files.figure("crossval_confusion", confusion_plot(matrix, names, title)),
        confused=_confused(given, matrix, names),
    )


def _lead(results: Mapping[str, Crossval]) -> str:
    units = sorted({f"{r.metrics['units']} {r.summary.unit}s" for r in results.values()})
    return (
        "Every fold is trained on its training clips alone and tested once; epochs and fusion weights come from "
        f"validation clips within them. Values are means over folds; 95 % intervals resample {' or '.join(units)} with "
        "all of their clips."
    )


def _results(given: Given, results: Mapping[str, Crossval], first: str) -> Table:
    rows: list[dict[str, Any]] = []
    for name, result in results.items():
        changed = ", ".join(f"{key}={value}" for key, value in result.summary.changed.items())
        count = sum(fold.test for fold in result.summary.folds)
        streams = _streams(result)
        for stream, values in streams.items():
            top1, per_class = values["top1"], values["mean_class_accuracy"]
            row = {
                "result": name,
                "streams": stream,
                "changed": changed,
                "top1": Measured(top1["mean"], top1["low"], top1["high"], count),
                "sd": top1["sd"],
                "per_class": per_class["mean"],
                "folds": len(result.summary.folds),
                "n": count,
            }
            rows.append(row)
        if name != first:
            rows[-1] |= _against(given, results[first], result)  # of everything fused, which is the last row
    columns = (
        Column("result", "Result"),
        Column("streams", "Streams"),
        Column("top1", "Top-1, %", "interval", "mean over folds"),
        Column("sd", "± folds", "percent", "standard deviation between folds, points"),
        Column("per_class", "Per class, %", "percent", "mean of the classes' accuracies, mean over folds"),
        Column("gain", f"Against {first}", "gain", "all streams of each, on the same clips"),
        Column("p", "p", "p"),
        Column("folds", "Folds", "count"),
        Column("n", "Clips", "count", "test clips of all folds"),
        Column("changed", "Not as in params.yaml", "prose"),
    )
    strong = frozenset(at for at, row in enumerate(rows) if row["streams"] == FUSED)
    return Table("crossval", "Results of `hpnet crossval`", columns, rows, strong)


def _streams(result: Crossval) -> dict[str, Any]:
    """What was measured of each stream, and last of all fused where there is more than one."""
    measured = result.metrics["streams"]
    return {stream: measured[stream] for stream in (*result.summary.streams, FUSED) if stream in measured}


def _against(given: Given, first: Crossval, result: Crossval) -> dict[str, Any]:
    """Difference of a result to the first one; nothing where they have other folds or clips."""
    try:
        pairs = first.scores.paired(result.scores)
    except ValueError:
        return {}
    judge = given.judge
    found = paired_bootstrap(pairs.before, pairs.after, numbered(pairs.fold), pairs.unit, judge.resamples, judge.seed)
    return {"gain": Measured(found.value, found.low, found.high, len(pairs)), "p": found.p_value}


def _folds(results: Mapping[str, Crossval]) -> Table:
    columns = (
        Column("result", "Result"),
        Column("fold", "Fold"),
        Column("train", "Training clips", "count"),
        Column("val", "Validation", "count"),
        Column("test", "Test", "count"),
        Column("top1", "Top-1, %", "percent", "all streams of the result"),
        Column("per_class", "Per class, %", "percent"),
    )
    return Table("crossval_folds", "Every fold", columns, list(_fold_rows(results)))


def _fold_rows(results: Mapping[str, Crossval]) -> Iterator[dict[str, Any]]:
    for name, result in results.items():
        *_, values = _streams(result).values()
        for fold in result.summary.folds:
            own = values["folds"][fold.name]
            counts = {"train": fold.train, "val": fold.val, "test": fold.test}
            yield {"result": name, "fold": fold.name, **counts, "top1": own["top1"],
                   "per_class": own["mean_class_accuracy"]}  # fmt: skip


def _confused(given: Given, matrix: Any, names: list[str]) -> Table | None:
    rows = [
        {"truth": names[t], "taken": names[p], "share": share, "clips": count}
        for t, p, count, share in most_confused(matrix, 10)
    ]
    columns = (
        Column("truth", "Action"),
        Column("taken", "Taken for"),
        Column("share", "Share, %", "percent"),
        Column("clips", "Clips", "count"),
    )
    table = Table("crossval_confused", "Most frequent confusions of all folds", columns, rows)
    return given.files.table(table) if rows else None
