"""Pooled features against the 2-D pose: overall, per group of clips, per action, per joint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.statistics import per_class_changes
from .collect import Project
from .figures import (
    Change,
    Mark,
    bar_plot,
    change_plot,
    interval_plot,
    signed_points,
)
from .output import Files
from .results import (
    BASELINE,
    Group,
    Variant,
    baseline_name,
    common,
    correct,
    evaluated,
    feature_kind,
    feature_runs,
    joint_fisher,
    pooled_name,
)
from .tables import Column, Measured, Table


def compare_section(
    project: Project, compared: Mapping[str, tuple[Group, list[Variant]]], kept: Files
) -> dict[str, Any]:
    """The joint stream on other features: a panel per group of clips, and a table."""
    part: dict[str, Any] = {"panels": [], "lead": "", "table": None, "notes": []}
    if not compared:
        part["notes"].append(
            "The joint stream was trained on one kind of features only, so there is nothing to compare: "
            "name others in compare.variants."
        )
        return part
    lows = [row.accuracy.low for _, rows in compared.values() for row in rows]
    axis = (max(0.0, np.floor(min(lows) * 10) / 10), 1.0)
    runs, tap = feature_runs(project), project.params.pool.tap
    own = pooled_name(project, runs)
    table_rows = []
    for key, (group, rows) in compared.items():
        marks = [
            Mark(
                row.features.title(tap),
                row.accuracy.value,
                row.accuracy.low,
                row.accuracy.high,
                row.accuracy.full,
                "baseline" if row.features.kind == BASELINE else "accent" if row.name == own else "pooled",
            )
            for row in rows
        ]
        svg = interval_plot(marks, f"Joint stream, {group.title.lower()}", width=320, axis=axis)
        n = int(group.members.sum())
        part["panels"].append(
            {"title": group.title, "text": f"{group.text}; n = {n}", "svg": kept.figure(f"features_{key}", svg)}
        )
        for row in rows:
            against = row.against
            table_rows.append(
                {
                    "clips": group.title,
                    "features": row.features.title(tap),
                    "top1": row.accuracy,
                    "two_way": row.two_way,
                    "gain": against.difference if against else None,
                    "by_subject": against.by_subject if against else None,
                    "changed": f"{against.won} / {against.lost}" if against else None,
                    "p": against.p_value if against else None,
                    "n": row.accuracy.n,
                }
            )
    part["lead"] = _compare_lead(project, compared)
    part["table"] = kept.table(
        Table(
            "features",
            "The same network on other features, %, with 95 % intervals; gains in points over the 2-D pose, on "
            "the same clips",
            (
                Column("clips", "Clips"),
                Column("features", "Features"),
                Column("top1", "Top-1", "interval"),
                Column("two_way", "Which of the two", "interval", "own class scored above its partner's; chance 50 %"),
                Column("gain", "Gain", "gain", "paired bootstrap, resampling clips"),
                Column("by_subject", "By subject", "gain", "paired bootstrap, resampling subjects"),
                Column(
                    "changed", "Won / lost", "text", "clips that only these features, or only the 2-D pose, get right"
                ),
                Column("p", "p", "p", "exact McNemar test"),
                Column("n", "n", "count"),
            ),
            table_rows,
        )
    )
    if baseline_name(project, runs) is None:
        part["notes"].append(
            "There is no variant on the 2-D pose, so no gain is given: add `pose2d: {kind: pose2d}` to "
            "compare.variants."
        )
    if len(compared) == 1:
        part["notes"].append(
            "The classes are not those of the built-in benchmark, so there are no object or order pairs to look at."
        )
    return part


def _range(measured: Measured) -> str:
    return f"{signed_points(measured.low)} to {signed_points(measured.high)}"


def _compare_lead(project: Project, compared: Mapping[str, tuple[Group, list[Variant]]]) -> str:
    runs = feature_runs(project)
    base, pooled = baseline_name(project, runs), pooled_name(project, runs)
    sentences = [
        "One network, the joint stream, trained alike on each kind of features and scored on the same test clips."
    ]
    for group, rows in compared.values():
        row = next((row for row in rows if row.name == pooled), None)
        before = next((row for row in rows if row.name == base), None)
        if row is None or before is None or row.against is None:
            continue
        change = row.against.difference
        certain = "" if change.low > 0 or change.high < 0 else ", which may be chance"
        where = "On all clips" if group.key == "overall" else f"On {group.title.lower()} ({group.text})"
        sentences.append(
            f"{where} pooled features reach {row.accuracy.text} % and the 2-D pose {before.accuracy.text} %: "
            f"{signed_points(change.value)} points ({_range(change)}){certain}."
        )
    return " ".join(sentences)


def gains_section(project: Project, kept: Files) -> dict[str, Any]:
    """Accuracy per action before and after pooling."""
    part: dict[str, Any] = {"figure": None, "lead": "", "table": None, "before": "", "after": "", "notes": []}
    runs = feature_runs(project)
    base, pooled = baseline_name(project, runs), pooled_name(project, runs)
    if base is None or pooled is None or project.clips is None:
        part["notes"].append(
            "Gains per action need the joint stream on both the 2-D pose and pooled features (compare.variants)."
        )
        return part
    before, after = (evaluated(runs[name].scores) for name in (base, pooled))
    assert before is not None
    assert after is not None
    before, after = common([before, after])
    right_before, right_after = correct(before), correct(after)
    changes = per_class_changes(right_before, right_after, before.labels, project.clips.class_names)
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
    shown = marks if len(marks) <= 40 else [*marks[:20], *marks[-20:]]
    part["figure"] = kept.chart("gain_per_class", lambda width: change_plot(shown, "Accuracy per action", width=width))
    part["before"], part["after"] = (
        feature_kind(project, runs[name]).title(project.params.pool.tap) for name in (base, pooled)
    )
    better, worse = sum(row["change"] > 0 for row in rows), sum(row["change"] < 0 for row in rows)
    part["lead"] = (
        f"{better} of {len(rows)} actions gain with pooled features, {worse} lose. A class has few clips, so "
        "a single row "
        "says little: the table gives a test per action, corrected for testing them all."
        + ("" if len(marks) <= 40 else " The chart shows the 20 largest gains and the 20 smallest.")
    )
    part["table"] = kept.table(
        Table(
            "per_class",
            "Accuracy per action, %, joint stream",
            (
                Column("name", "Action"),
                Column("first", part["before"], "percent"),
                Column("second", part["after"], "percent"),
                Column("change", "Gain", "points"),
                Column("won", "Won", "count", "clips newly right"),
                Column("lost", "Lost", "count", "clips newly wrong"),
                Column("p_value", "p", "p", "exact McNemar test"),
                Column("q_value", "q", "p", "Benjamini-Hochberg over the actions"),
                Column("clips", "n", "count"),
            ),
            rows,
        )
    )
    return part


def claims_section(project: Project) -> dict[str, Any] | None:
    """What became of the paper's claims where `hpnet ablate` was run; None where it was not."""
    if not project.claims:
        return None
    counts = Counter(row["here"] for row in project.claims)
    counted = ", ".join(f"{count} {word}" for word, count in counts.most_common())
    columns = (
        Column("table", "Table"),
        Column("claim", "The paper's claim", "prose"),
        Column("here", "Here"),
        Column("numbers", "Difference", "prose"),
    )
    caption = "The paper's claims, as far as `hpnet ablate` has run; the tables lie in report/tables"
    return {
        "lead": f"{len(project.claims)} claims of the paper's tables were tried on this project: {counted}.",
        "table": Table("claims", caption, columns, project.claims),
    }


def fisher_section(project: Project, kept: Files) -> dict[str, Any] | None:
    """Fisher score per joint; None where there are no features or classes."""
    if project.features is None or project.clips is None:
        return None
    scores = joint_fisher(project.features, project.clips)
    if scores is None or not np.isfinite(scores).all():
        return None
    meta = project.features.meta
    rows = [
        (joint.replace("_", " "), float(s), f"{s:.2f}") for joint, s in zip(meta.skeleton.joints, scores, strict=True)
    ]
    rows.sort(key=lambda row: -row[1])
    kept.table(
        Table(
            "fisher_per_joint",
            "Fisher score per joint",
            (Column("joint", "Joint"), Column("fisher", "Fisher score", "number")),
            [{"joint": joint, "fisher": score} for joint, score, _ in rows],
        )
    )
    return {
        "lead": (
            "Fisher score of each joint's features averaged over time, on the training clips: scatter between "
            "the classes "
            "over scatter within them, summed over channels. Higher tells actions apart better; no network is involved."
        ),
        "svg": kept.figure("fisher_per_joint", bar_plot(rows, "Fisher score per joint")),
    }
