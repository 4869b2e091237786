"""Pooled features compared with the 2-D pose: on all clips, and per group of clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..figures import Mark, interval_plot, signed_points
from ..output import Chart
from ..results import POSES, Variant, baseline_name, feature_runs, pooled_name, pooled_words
from ..section import Given, Panel
from ..tables import Column, Table

TITLE = "Features and 2-D pose"


@dataclass(frozen=True)
class Features:
    """Data of the template: a panel for each group of clips, or ``figure`` if there is one group. Without both it shows
    only the notes."""

    lead: str = ""
    panels: tuple[Panel, ...] = ()
    figure: Chart | None = None
    table: Table | None = None
    notes: tuple[str, ...] = ()


def build(given: Given) -> Features:
    """The joint stream on other features: a panel per group of clips, and a table."""
    collected, compared = given.collected, given.compared
    if not compared:
        why = (
            "The joint stream was trained on one kind of features only, so there is nothing to compare: "
            "add others in compare.variants."
        )
        return Features(notes=(why,))
    units = given.judge.units.plural
    columns = (
        Column("clips", "Clips"),
        Column("features", "Features"),
        Column("top1", "Top-1", "interval"),
        Column("two_way", "Which of the two", "interval", "own class scored above its partner's; chance 50 %"),
        Column("gain", "Gain", "gain", f"paired bootstrap over {units}"),
        Column("changed", "Won / lost", "text", "clips that only these features, or only the 2-D pose, get right"),
        Column("p", "p", "p", f"sign-flip permutation test over {units}"),
        Column("q", "q", "p", "Benjamini-Hochberg over the rows"),
        Column("n", "n", "count"),
        Column("over", "Intervals over", "text", "what is resampled as one"),
    )
    caption = (
        f"The same network on other features, %, with 95 % intervals over {units}; gains in points over the 2-D pose, "
        "on the same clips"
    )
    rows = [
        _row(group.title, row, collected.params.pool.tap) for group, variants in compared.values() for row in variants
    ]
    table = given.files.table(Table("features", caption, columns, rows))
    return Features(
        lead=_lead(given),
        **_drawn(given),
        table=table.shown(*table.alike("n", "over")),
        notes=tuple(_notes(given)),
    )


def _drawn(given: Given) -> dict[str, Any]:
    """``panels``, a small chart for each group of clips, all on one axis; ``figure`` where there is one group."""
    lows = [np.fmin(row.accuracy.low, row.accuracy.value) for _, rows in given.compared.values() for row in rows]
    axis = (max(0.0, float(np.floor(min(lows) * 10) / 10)), 1.0)
    if len(given.compared) == 1:
        ((key, (group, rows)),) = given.compared.items()
        marks, title = _marks(given, rows), f"Joint stream, {group.title.lower()}"
        chart = given.files.chart(
            f"features_{key}",
            lambda width: interval_plot(marks, title, width=width, axis=axis, label_width=200),
        )
        return {"figure": chart}
    panels = []
    for key, (group, rows) in given.compared.items():
        svg = interval_plot(_marks(given, rows), f"Joint stream, {group.title.lower()}", width=320, axis=axis)
        text = f"{group.text}; n = {int(group.members.sum())}, {rows[0].accuracy.over}"
        panels.append(Panel(group.title, text, given.files.figure(f"features_{key}", svg)))
    return {"panels": tuple(panels)}


def _marks(given: Given, rows: Sequence[Variant]) -> list[Mark]:
    collected = given.collected
    own = pooled_name(collected, feature_runs(collected))
    return [
        Mark(
            row.features.title(collected.params.pool.tap),
            row.accuracy.value,
            row.accuracy.low,
            row.accuracy.high,
            row.accuracy.full,
            "baseline" if row.features.kind in POSES else "accent" if row.name == own else "pooled",
        )
        for row in rows
    ]


def _row(clips: str, variant: Variant, tap: str) -> dict[str, Any]:
    against = variant.against
    return {
        "clips": clips,
        "features": variant.features.title(tap),
        "top1": variant.accuracy,
        "two_way": variant.two_way,
        "gain": against.difference if against else None,
        "changed": f"{against.won} / {against.lost}" if against else None,
        "p": against.p_value if against else None,
        "q": against.q_value if against else None,
        "n": variant.accuracy.n,
        "over": variant.accuracy.over,
    }


def _notes(given: Given) -> list[str]:
    notes = []
    if baseline_name(given.collected, feature_runs(given.collected)) is None:
        notes.append(
            "There is no variant on the 2-D pose, so no gain is given: add `pose2d: {kind: pose2d}` to "
            "compare.variants."
        )
    return notes


def _lead(given: Given) -> str:
    collected, compared = given.collected, given.compared
    runs = feature_runs(collected)
    base, pooled, words = baseline_name(collected, runs), pooled_name(collected, runs), pooled_words(collected, runs)
    alone = " alone" if words.endswith("pose") else ""
    sentences = [
        "The joint stream was trained in the same way on each kind of features and scored on the same test clips."
    ]
    for group, rows in compared.values():
        row = next((row for row in rows if row.name == pooled), None)
        before = next((row for row in rows if row.name == base), None)
        if row is None or before is None or row.against is None:
            continue
        change = row.against.difference
        where = "On all clips" if group.key == "overall" else f"On {group.title.lower()} ({group.text})"
        sentences.append(
            f"{where} {words} reach {row.accuracy.text} % and the 2-D pose{alone} {before.accuracy.text} %: "
            f"{signed_points(change.value)} points ({change.range}){row.against.doubt}."
        )
    return " ".join(sentences)
