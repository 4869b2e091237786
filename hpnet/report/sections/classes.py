"""Accuracy per action on 2-D pose and pooled features; how networks group clips; which joints differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...core.statistics import per_class_changes
from ..figures import Change, change_plot, signed_points
from ..output import Chart
from ..results import baseline_name, common, correct, evaluated, feature_kind, feature_runs, pooled_name, pooled_words
from ..section import Given
from ..tables import Column, Table
from . import embedding, fisher

TITLE = "Per action"
MOST_DRAWN = 40
"""Actions in the chart; if there are more, those with the largest and smallest gains."""


@dataclass(frozen=True)
class Gains:
    """The gain of every action; ``before`` and ``after`` name the features."""

    lead: str
    figure: Chart
    table: Table
    before: str
    after: str


@dataclass(frozen=True)
class Classes:
    """What the template shows."""

    gains: Gains | None
    embedding: embedding.Embedding | None
    fisher: fisher.Fisher | None
    notes: tuple[str, ...] = ()


def build(given: Given) -> Classes:
    """Gains per action, if there are runs on both kinds of features; also embeddings and Fisher scores."""
    gains = build_gains(given)
    why = "Gains per action need the joint stream on both the 2-D pose and pooled features (compare.variants)."
    return Classes(gains, embedding.build(given), fisher.build(given), (why,) if gains is None else ())


def build_gains(given: Given) -> Gains | None:
    """Accuracy per action before and after pooling; None if the joint stream was not trained on both."""
    collected, clips = given.collected, given.collected.clips
    runs = feature_runs(collected)
    base, pooled = baseline_name(collected, runs), pooled_name(collected, runs)
    if base is None or pooled is None or clips is None:
        return None
    before, after = (evaluated(runs[name].scores) for name in (base, pooled))
    assert before is not None
    assert after is not None
    before, after = common([before, after])
    right_before, right_after = correct(before), correct(after)
    units = given.judge.units
    groups = units.numbers(before.clip_ids)
    changes = per_class_changes(right_before, right_after, before.labels, clips.class_names, groups)
    rows: list[dict[str, Any]] = []
    for change in changes.to_dict("records"):
        own = before.labels == change["label"]
        won, lost = int((right_after & ~right_before & own).sum()), int((right_before & ~right_after & own).sum())
        rows.append({**{str(k): v for k, v in change.items()}, "won": won, "lost": lost})
    marks = [
        Change(
            row["name"], row["first"], row["second"], f"{signed_points(row['change'])} · +{row['won']} −{row['lost']}"
        )
        for row in rows
    ]
    drawn = marks if len(marks) <= MOST_DRAWN else [*marks[: MOST_DRAWN // 2], *marks[-MOST_DRAWN // 2 :]]
    names = [feature_kind(collected, runs[name]).title(collected.params.pool.tap) for name in (base, pooled)]
    better, worse = sum(row["change"] > 0 for row in rows), sum(row["change"] < 0 for row in rows)
    columns = (
        Column("name", "Action"),
        Column("first", names[0], "percent"),
        Column("second", names[1], "percent"),
        Column("change", "Gain", "points"),
        Column("won", "Won", "count", "clips that became right"),
        Column("lost", "Lost", "count", "clips that became wrong"),
        Column("p_value", "p", "p", f"sign-flip permutation test over {units.plural}"),
        Column("q_value", "q", "p", "Benjamini-Hochberg over the actions"),
        Column("clips", "n", "count"),
    )
    return Gains(
        lead=(
            f"{better} of {len(rows)} actions gain with {pooled_words(collected, runs)}, {worse} lose. A class has few "
            f"clips, so a single row says little: the table gives a test per action over {units.plural}, corrected for "
            "testing them all."
            + ("" if len(marks) <= MOST_DRAWN else " The chart shows the 20 largest gains and the 20 smallest.")
        ),
        figure=given.files.chart(
            "gain_per_class", lambda width: change_plot(drawn, "Accuracy per action", width=width)
        ),
        table=given.files.table(Table("per_class", "Accuracy per action, %, joint stream", columns, rows)),
        before=names[0],
        after=names[1],
    )
