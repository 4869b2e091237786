"""This run compared with another: different parameters, accuracies with paired gains, metrics, changed actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...artifacts.scores import Scores
from ...artifacts.yaml_text import read_yaml
from ...core.statistics import per_class_changes
from ...core.streams import STREAMS
from ..against import FUSED, Other
from ..collect import Collected, flatten
from ..naming import STREAM_TITLES
from ..results import Judge, common, correct, corrected, evaluated
from ..section import Given
from ..tables import Column, Table

TITLE = "Comparison with another run"


@dataclass(frozen=True)
class Against:
    """What the template shows. ``name``: of the other run."""

    name: str
    lead: str
    tables: tuple[Table, ...]
    notes: tuple[str, ...]


def build(given: Given) -> Against | None:
    """None without another run."""
    collected, other = given.collected, given.other
    if other is None:
        return None
    changed, metrics = _params_table(collected, other), _metric_table(collected, other)
    gains = _accuracy_rows(collected, given.judge, other)
    units = given.judge.units.plural
    columns = (
        Column("what", "What"),
        Column("before", "Before", "interval", "top-1 of the other run on the clips that both scored"),
        Column("after", "After", "interval", "top-1 of this run on the same clips"),
        Column("gain", "Gain", "gain", f"paired bootstrap over {units}"),
        Column("changed", "Won / lost", "text", "clips that only this run, or only the other run, gets right"),
        Column("p", "p", "p", f"sign-flip permutation test over {units}"),
        Column("q", "q", "p", "Benjamini-Hochberg over the rows"),
        Column("n", "n", "count", "test clips in both"),
        Column("over", "Intervals over", "text", "what is resampled as one"),
    )
    caption = f"Accuracy, before and after, %, with 95 % intervals over {units}"
    accuracy = Table("against_accuracy", caption, columns, gains)
    tables = [changed, accuracy, _class_table(collected, given.judge, other), metrics]
    shown = tuple(given.files.table(table) for table in tables if table is not None and table.rows)
    return Against(other.name, _lead(other, len(changed.rows), gains), shown, other.notes)


def _lead(other: Other, changed: int, gains: list[dict[str, Any]]) -> str:
    what = {0: "No parameter differs", 1: "1 parameter differs"}.get(changed, f"{changed} parameters differ")
    lead = f"Before: {other.name}. After: this run. {what}."
    for row in gains:
        if row["stream"] == FUSED:
            lead += f" Fused accuracy: {row['before'].text} % before, {row['after'].text} % now{row['doubt']}."
    return lead


def _params_table(collected: Collected, other: Other) -> Table:
    now = flatten_params(_params_of(collected))
    before = flatten_params(other.params)
    rows = [
        {"name": name, "before": str(before.get(name, "–")), "after": str(now.get(name, "–"))}
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    columns = (Column("name", "Parameter", "code"), Column("before", "Before"), Column("after", "After"))
    return Table("against_params", "Parameters that differ", columns, rows)


def _params_of(collected: Collected) -> dict[str, Any]:
    """params.yaml as written, with defaults filled in, so that a default equals an unset value."""
    file = collected.folder / "params.yaml"
    if file.is_file():
        return read_yaml(file)
    return collected.params.model_dump(mode="json")


def flatten_params(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters as dotted names -> leaves, lists kept whole."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, Mapping) and bool(value)
        flat |= flatten_params(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def _pairs(collected: Collected, other: Other) -> dict[str, tuple[Scores, Scores]]:
    """Stream or 'fused' -> scores of the other run and of this one on the labelled test clips that both scored."""
    ours = {name: run.scores for name, run in collected.runs.items()} | {FUSED: collected.fused}
    found = {}
    for name in (*STREAMS, FUSED):
        before, after = evaluated(other.scores.get(name)), evaluated(ours.get(name))
        if before is not None and after is not None and before.logits.shape[1] == after.logits.shape[1]:
            first, second = common([before, after])
            if first.clip_ids:
                found[name] = (first, second)
    return found


def _accuracy_rows(collected: Collected, judge: Judge, other: Other) -> list[dict[str, Any]]:
    pairs = _pairs(collected, other)
    tests = corrected([judge.paired(correct(old), correct(new), old.clip_ids) for old, new in pairs.values()])
    rows = []
    for (name, (before, after)), paired in zip(pairs.items(), tests, strict=True):
        rows.append(
            {
                "stream": name,
                "what": STREAM_TITLES.get(name, "All streams, fused"),
                "before": judge.accuracy(correct(before), before.clip_ids),
                "after": judge.accuracy(correct(after), after.clip_ids),
                "gain": paired.difference,
                "changed": f"{paired.won} / {paired.lost}",
                "p": paired.p_value,
                "q": paired.q_value,
                "doubt": paired.doubt,
                "n": len(before.clip_ids),
                "over": paired.difference.over,
            }
        )
    return rows


def _class_table(collected: Collected, judge: Judge, other: Other) -> Table | None:
    pair = _pairs(collected, other).get(FUSED)
    if pair is None or collected.clips is None:
        return None
    before, after = pair
    units, names = judge.units.numbers(before.clip_ids), collected.clips.class_names
    changes = per_class_changes(correct(before), correct(after), before.labels, names, units)
    rows = [row for row in changes.to_dict("records") if not np.isclose(float(row["change"]), 0)]
    if not rows:
        return None
    columns = (
        Column("name", "Action"),
        Column("first", "Before, %", "percent"),
        Column("second", "After, %", "percent"),
        Column("change", "Gain", "points"),
        Column("q_value", "q", "p", f"sign flips over {judge.units.plural}, Benjamini-Hochberg over the actions"),
        Column("clips", "n", "count"),
    )
    return Table("against_classes", "Actions whose fused accuracy changed", columns, rows)


def _metric_table(collected: Collected, other: Other) -> Table:
    now = flatten(_metrics_as_files(collected.metrics))
    before = flatten(other.metrics)
    rows = [
        {"metric": name, "before": float(before[name]), "after": float(now[name])}
        for name in sorted(before.keys() & now.keys())
        if _is_number(before[name]) and _is_number(now[name]) and before[name] != now[name]
    ]
    columns = (
        Column("metric", "Metric", "code"),
        Column("before", "Before", "number"),
        Column("after", "After", "number"),
    )
    return Table("against_metrics", "Metrics that differ", columns, rows)


def _metrics_as_files(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metrics.items() if key != "report"}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
