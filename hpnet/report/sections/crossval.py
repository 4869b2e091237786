"""Cross-validation: every result of `hpnet crossval`, with its folds and the confusions of one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...artifacts.crossval import FUSED, counted, numbered
from ...core.metrics import most_confused
from ...core.statistics import benjamini_hochberg, paired_difference
from ..collect import Crossval
from ..figures import Mark, confusion_plot, interval_plot, percent
from ..output import Chart
from ..section import Given
from ..tables import Column, Measured, Table

TITLE = "Cross-validation"
FIRST = "default"
"""The result that the others are compared with, where there is one of that name."""


@dataclass(frozen=True)
class LearningCurve:
    """Accuracy against training clips: a heading, what it says, and the chart."""

    title: str
    text: str
    chart: Chart


@dataclass(frozen=True)
class Section:
    """What the template shows. ``details``: folded tables; ``confusion``: SVG; ``curves``: accuracy against training
    clips, where asked for."""

    lead: str
    table: Table
    details: tuple[Table, ...]
    curves: list[LearningCurve]
    curve_table: Table | None
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
    whole = given.files.table(_results(given, results, first))
    fused = [whole.rows[at] for at in sorted(whole.strong)]
    streams = whole.shown("changed", "gain", "p", "q")
    return Section(
        lead=_lead(results),
        table=replace(whole, rows=fused, strong=frozenset()).shown("streams", "changed"),
        details=(
            *([replace(streams, caption="Every stream of every result")] if len(fused) < len(whole.rows) else []),
            *_changes(results),
            given.files.table(_folds(results)),
        ),
        curves=list(_curves(given, results)),
        curve_table=_curve_table(given, results),
        confusion_title=title,
        confusion=given.files.figure("crossval_confusion", confusion_plot(matrix, names, title)),
        confused=_confused(given, matrix, names),
    )


def _lead(results: Mapping[str, Crossval]) -> str:
    units = sorted({_over(result) for result in results.values()})
    return (
        "Every fold is trained on its training clips alone and tested once; epochs and fusion weights come from "
        f"validation clips within them. Values are means over folds; 95 % intervals resample {' or '.join(units)} with "
        "all of their clips."
    )


def _over(result: Crossval) -> str:
    """'12 sources'."""
    return counted(result.summary.unit, result.metrics["units"])


def _results(given: Given, results: Mapping[str, Crossval], first: str) -> Table:
    rows: list[dict[str, Any]] = []
    against = _against(given, results, first)
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
                "top1": _measured(top1, count, _over(result)),
                "sd": top1["sd"],
                "per_class": per_class["mean"],
                "folds": len(result.summary.folds),
                "n": count,
            }
            rows.append(row)
        rows[-1] |= against.get(name, {})  # of everything fused, which is the last row
    columns = (
        Column("result", "Result"),
        Column("streams", "Streams"),
        Column("top1", "Top-1, %", "interval", "mean over folds"),
        Column("sd", "± folds", "percent", "standard deviation between folds, points"),
        Column("per_class", "Per class, %", "percent", "mean of the classes' accuracies, mean over folds"),
        Column("gain", f"Against {first}", "gain", "all streams of each, on the same clips"),
        Column("p", "p", "p", "sign-flip permutation test over the units"),
        Column("q", "q", "p", "Benjamini-Hochberg over the results"),
        Column("folds", "Folds", "count"),
        Column("n", "Clips", "count", "test clips of all folds"),
        Column("changed", "Not as in params.yaml", "prose"),
    )
    strong = frozenset(at for at, row in enumerate(rows) if row is rows[-1] or rows[at + 1]["result"] != row["result"])
    return Table("crossval", "Results of `hpnet crossval`", columns, rows, strong)


def _streams(result: Crossval) -> dict[str, Any]:
    """What was measured of each stream, and last of all fused where there is more than one."""
    measured = result.metrics["streams"]
    return {stream: measured[stream] for stream in (*result.summary.streams, FUSED) if stream in measured}


def _measured(top1: Mapping[str, Any], clips: int, over: str) -> Measured:
    low, high = (math.nan if top1[end] is None else top1[end] for end in ("low", "high"))
    return Measured(top1["mean"], low, high, clips, over)


def _against(given: Given, results: Mapping[str, Crossval], first: str) -> dict[str, dict[str, Any]]:
    """Differences of results to the first one, by name; those that have other folds or clips are left out."""
    found: dict[str, dict[str, Any]] = {}
    base, judge = results[first].scores, given.judge
    for name, result in results.items():
        if name == first or not base.same_tests(result.scores):
            continue
        pairs, scale = base.paired(result.scores), math.lcm(base.seeds, result.scores.seeds)
        one = paired_difference(
            pairs.before, pairs.after, numbered(pairs.fold), pairs.unit, judge.resamples, judge.seed, scale
        )
        change = one.difference
        over = counted(result.summary.unit, change.units)
        found[name] = {"gain": Measured(change.value, change.low, change.high, len(pairs), over), "p": one.p_value}
    q_values = benjamini_hochberg([row["p"] for row in found.values()]).tolist()
    return {name: {**row, "q": q} for (name, row), q in zip(found.items(), q_values, strict=True)}


def _changes(results: Mapping[str, Crossval]) -> Iterator[Table]:
    """The parameters of each result that are not those of params.yaml."""
    rows = [
        {"result": name, "parameter": key, "value": str(value)}
        for name, result in results.items()
        for key, value in result.summary.changed.items()
    ]
    columns = (Column("result", "Result"), Column("parameter", "Parameter", "code"), Column("value", "Value", "prose"))
    if rows:
        yield Table("crossval_changed", "Parameters that are not as in params.yaml", columns, rows)


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


def _curves(given: Given, results: Mapping[str, Crossval]) -> Iterator[LearningCurve]:
    """Of each result with a curve: what it says, and the accuracies by training clips per action."""
    for name, result in results.items():
        if result.curve is None:
            continue
        marks = [
            Mark(
                f"{point.per_action:.1f} clips per action",
                point.top1,
                math.nan if point.low is None else point.low,
                math.nan if point.high is None else point.high,
                percent(point.top1),
                "accent" if point.gain is None else "quiet",
            )
            for point in result.curve.points
        ]
        title = f"{name}: accuracy against training clips"
        yield LearningCurve(title, result.curve.text, _drawn(given, name, marks, title))


def _drawn(given: Given, name: str, marks: list[Mark], title: str) -> Chart:
    return given.files.chart(f"crossval_curve_{name}", lambda width: interval_plot(marks, title, width=width))


def _curve_table(given: Given, results: Mapping[str, Crossval]) -> Table | None:
    rows: list[dict[str, Any]] = []
    for name, result in results.items():
        count, over = sum(fold.test for fold in result.summary.folds), _over(result)
        for point in result.curve.points if result.curve else ():
            row = {
                "result": name,
                "per_action": point.per_action,
                "clips": round(point.clips),
                "draws": point.draws,
                "top1": _measured({"mean": point.top1, "low": point.low, "high": point.high}, count, over),
                "sd": point.sd,
            }
            if point.gain is not None:
                ends = {"mean": point.gain.value, "low": point.gain.low, "high": point.gain.high}
                row["gain"] = _measured(ends, count, over)
            rows.append(row)
    columns = (
        Column("result", "Result"),
        Column("per_action", "Clips per action", "number", "that a fold trains and validates on, mean"),
        Column("clips", "Training clips", "count"),
        Column("top1", "Top-1, %", "interval", "mean over folds and draws"),
        Column("sd", "± draws", "percent", "standard deviation between draws of sources, points"),
        Column("gain", "All clips bring", "gain", "on the same test clips"),
        Column("draws", "Trainings", "count", "of each fold"),
    )
    return given.files.table(Table("crossval_curve", "How many clips more would help", columns, rows)) if rows else None


def _confused(given: Given, matrix: Any, names: list[str]) -> Table | None:
    rows = [
        {"truth": names[t], "taken": names[p], "share": share, "clips": count}
        for t, p, count, share in most_confused(matrix, 10)
    ]
    columns = (
        Column("truth", "Action"),
        Column("taken", "Predicted"),
        Column("share", "Share, %", "percent"),
        Column("clips", "Clips", "count"),
    )
    table = Table("crossval_confused", "Most frequent confusions of all folds", columns, rows)
    return given.files.table(table) if rows else None
