"""Clips that failed, and people who were miscounted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from ..collect import people_per_clip
from ..results import failure_rows, people_found
from ..section import Given
from ..tables import Column, Table

TITLE = "Failures"
MOST_FAILED, MOST_MISCOUNTED = 60, 20
"""Rows shown on the page; the files have all rows."""


@dataclass(frozen=True)
class Failures:
    """What the template shows."""

    lead: str
    tables: tuple[Table, ...]
    notes: tuple[str, ...]


def build(given: Given) -> Failures:
    """Clips that failed, and people who were miscounted."""
    collected, failed = given.collected, failure_rows(given.collected)
    total = len(collected.clips.table) if collected.clips is not None else 0
    lead = (
        f"{len(failed)} of {total} clips failed in a stage or show no person; each is listed with its reason."
        if failed
        else f"None of {total} clips failed."
    )
    miscounted, people_notes = _people_errors(given)
    return Failures(lead, (*_failed(given, failed), *miscounted), tuple(people_notes))


def _failed(given: Given, failed: list[dict[str, str]]) -> list[Table]:
    """The clips that failed and, if there are many, their number for each reason."""
    if not failed:
        return []
    tables = []
    if len(failed) > 12:
        reasons = Counter((row["stage"], row["reason"]) for row in failed)
        grouped = [{"stage": s, "reason": r, "clips": n} for (s, r), n in reasons.most_common()]
        columns: tuple[Column, ...] = (
            Column("stage", "Stage"),
            Column("reason", "Reason", "prose"),
            Column("clips", "Clips", "count"),
        )
        tables.append(given.files.table(Table("failure_reasons", "Failures by reason", columns, grouped)))
    columns = (Column("clip", "Clip", "code"), Column("stage", "Stage"), Column("reason", "Reason", "prose"))
    table = given.files.table(Table("failures", "Clips that failed", columns, failed))
    return [*tables, _shortened(table, MOST_FAILED)]


def _shortened(table: Table, most: int) -> Table:
    """A table; the page shows its first rows."""
    if len(table.rows) <= most:
        return table
    caption = f"{table.caption}, the first {most} (all in tables/{table.name}.csv)"
    return replace(table, rows=table.rows[:most], caption=caption)


def _people_errors(given: Given) -> tuple[list[Table], list[str]]:
    """Clips in which the wrong number of people was found, and notes."""
    collected = given.collected
    if collected.boxes is None or collected.clips is None:
        return [], []
    found = people_found(collected)
    nobody = sorted(clip for clip, count in found.items() if count == 0)
    notes = (
        [f"In {len(nobody)} of {len(found)} clips no person was found; their features are zeros and masked."]
        if nobody
        else []
    )
    if collected.truth is None:
        rendered = collected.params.data.source != "folder"
        lacking = ["There is no ground truth for people, so detection and pose were not evaluated."] if rendered else []
        return [], [*notes, *lacking]
    truth = people_per_clip(collected.truth)
    both = [(clip, truth[clip], count) for clip, count in found.items() if clip in truth]
    off = [(clip, true, count) for clip, true, count in both if true != count]
    if not both:
        return [], notes
    kept = collected.params.detect.persons
    caption = f"People per clip, before the best {kept} are kept: {len(off)} of {len(both)} are wrong"
    rows = [
        {"truth": true, "found": count, "clips": n, "right": "yes" if true == count else "no"}
        for (true, count), n in sorted(Counter((true, count) for _, true, count in both).items())
    ]
    columns: tuple[Column, ...] = (
        Column("truth", "People in the clip", "count"),
        Column("found", "Found", "count"),
        Column("clips", "Clips", "count"),
        Column("right", "Right"),
    )
    tables = [given.files.table(Table("people", caption, columns, rows))]
    listed = [{"clip": clip, "truth": true, "found": count} for clip, true, count in off]
    if listed:
        columns = (
            Column("clip", "Clip", "code"),
            Column("truth", "People", "count"),
            Column("found", "Found", "count"),
        )
        table = given.files.table(Table("people_errors", "Clips with a wrong number of people", columns, listed))
        tables.append(_shortened(table, MOST_MISCOUNTED))
    return tables, notes
