"""Clips that failed, people miscounted, confident mistakes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from ..artifacts.scores import Scores
from .analysis import confident_mistakes
from .collect import Project, people_per_clip
from .naming import clip_places
from .output import Files
from .results import (
    failure_rows,
    people_found,
    softmax,
)
from .tables import Column, Table


def failures_section(project: Project, test: Scores | None, kept: Files) -> dict[str, Any]:
    """Clips that failed, people miscounted, confident mistakes."""
    part: dict[str, Any] = {"lead": "", "tables": [], "notes": []}
    failed = failure_rows(project)
    total = len(project.clips.table) if project.clips is not None else 0
    part["lead"] = (
        f"{len(failed)} of {total} clips failed somewhere or show nobody; every one is listed with its reason."
        if failed
        else f"None of {total} clips failed."
    )
    if failed:
        reasons = Counter((row["stage"], row["reason"]) for row in failed)
        grouped = [{"stage": s, "reason": r, "clips": n} for (s, r), n in reasons.most_common()]
        columns: tuple[Column, ...] = (
            Column("stage", "Stage"),
            Column("reason", "Reason", "prose"),
            Column("clips", "Clips", "count"),
        )
        if len(failed) > 12:
            part["tables"].append(kept.table(Table("failure_reasons", "Failures by reason", columns, grouped)))
        columns = (Column("clip", "Clip", "code"), Column("stage", "Stage"), Column("reason", "Reason", "prose"))
        table = kept.table(Table("failures", "Clips that failed", columns, failed))
        part["tables"].append(
            table
            if len(failed) <= 60
            else replace(
                table, rows=failed[:60], caption="Clips that failed, the first 60 (all in tables/failures.csv)"
            )
        )
    part["notes"] += _people_errors(project, kept, part["tables"])
    if test is not None and project.clips is not None:
        names, where = project.clips.class_names, clip_places(project)
        probabilities = softmax(test.logits)
        rows = []
        for row in confident_mistakes(probabilities, test.labels, 12):
            guess = int(probabilities[row].argmax())
            rows.append(
                {
                    "clip": test.clip_ids[row],
                    "truth": names[int(test.labels[row])],
                    "taken": names[guess],
                    "sure": float(probabilities[row, guess]),
                    "own": float(probabilities[row, test.labels[row]]),
                    "where": where.get(test.clip_ids[row], "").rstrip(","),
                }
            )
        columns = (
            Column("clip", "Clip", "code"),
            Column("truth", "Action"),
            Column("taken", "Taken for"),
            Column("sure", "Sure, %", "percent", "probability of the wrong class"),
            Column("own", "True class, %", "percent", "probability of the right class"),
            Column("where", "Where"),
        )
        if rows:
            part["tables"].append(
                kept.table(
                    Table("confident_mistakes", "The most confident mistakes of the fused result", columns, rows)
                )
            )
        else:
            part["notes"].append(f"The fused result makes no mistake on the {len(test.labels)} test clips.")
    return part


def _people_errors(project: Project, kept: Files, tables: list[Table]) -> list[str]:
    if project.boxes is None or project.clips is None:
        return []
    found = people_found(project)
    nobody = sorted(clip for clip, count in found.items() if count == 0)
    notes = (
        [f"In {len(nobody)} of {len(found)} clips nobody was found; their features are zeros and masked."]
        if nobody
        else []
    )
    if project.truth is None:
        notes.append("There is no ground truth for people, so detection and pose could not be checked.")
        return notes
    truth = people_per_clip(project.truth)
    both = [(clip, truth[clip], count) for clip, count in found.items() if clip in truth]
    off = [(clip, true, count) for clip, true, count in both if true != count]
    if not both:
        return notes
    pairs = Counter((true, count) for _, true, count in both)
    kept_people = project.params.detect.persons
    caption = f"People per clip, before the first {kept_people} are kept: {len(off)} of {len(both)} are off"
    rows = [
        {"truth": true, "found": count, "clips": n, "right": "yes" if true == count else "no"}
        for (true, count), n in sorted(pairs.items())
    ]
    columns: tuple[Column, ...] = (
        Column("truth", "People in the clip", "count"),
        Column("found", "Found", "count"),
        Column("clips", "Clips", "count"),
        Column("right", "Right"),
    )
    tables.append(
        kept.table(
            Table(
                "people",
                caption,
                columns,
                rows,
            )
        )
    )
    listed = [{"clip": clip, "truth": true, "found": count} for clip, true, count in off]
    if listed:
        columns = (
            Column("clip", "Clip", "code"),
            Column("truth", "People", "count"),
            Column("found", "Found", "count"),
        )
        table = kept.table(Table("people_errors", "Clips with a wrong number of people", columns, listed))
        tables.append(
            table
            if len(listed) <= 20
            else replace(
                table,
                rows=listed[:20],
                caption="Clips with a wrong number of people, the first 20 (all in tables/people_errors.csv)",
            )
        )
    return notes
