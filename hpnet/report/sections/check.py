"""What to look at next: clips whose label the scores contradict, and clips without the right person."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from ...artifacts.clips import Clips
from ...artifacts.videos import stretches
from ...core.video import VIDEO_SUFFIXES
from ..collect import Collected
from ..doubts import LEAST_TIMES, Doubt, by_clip, doubted_labels, lost_people, unseen_people, unsure_people
from ..naming import clip_places
from ..results import softmax
from ..section import Given
from ..tables import Column, Link, Table

TITLE = "What to check"
MOST_ROWS = 12
"""Rows shown on the page; the files have all."""
SCORED = {"val": "validation", "test": "test", "train": "training, scored out of fold"}
"""Split -> what its scores are called. Training clips have scores only from networks that did not see them."""


@dataclass(frozen=True)
class Check:
    """What the template shows."""

    lead: str
    tables: tuple[Table, ...]
    notes: tuple[str, ...]


def build(given: Given) -> Check | None:
    """None where there are no clips."""
    clips = given.collected.clips
    if clips is None:
        return None
    links = _links(given, clips)
    labels, notes = _labels(given, clips, links)
    people = _people(given, clips, links)
    count = sum(len(table.rows) for table in (*labels, *people))
    lead = (
        "Clips that are worth a look before anything else is changed: a wrong label or a wrong person costs more than "
        "any parameter gains. A name opens the video."
        if count
        else "No clip stands out: no label is contradicted, and somebody was found and followed in every clip."
    )
    return Check(lead, tuple(_shown(given, table) for table in (*labels, *people)), tuple(notes))


def _labels(given: Given, clips: Clips, links: dict[str, Link]) -> tuple[list[Table], list[str]]:
    """Clips that may be mislabelled, and which scores say so."""
    fused = given.collected.fused
    if fused is not None:
        known = (fused.labels >= 0) & np.isin(fused.splits, list(SCORED))
        fused = fused.where(known)
    if fused is None or not len(fused.labels):
        return [], ["Nothing can be said of labels: there are no fused scores of labelled clips."]
    names, places, probabilities = clips.class_names, clip_places(given.collected), softmax(fused.logits)
    scored = Counter(fused.splits)
    rows: list[dict[str, Any]] = []
    for row in doubted_labels(probabilities, fused.labels):
        clip, own, guess = fused.clip_ids[row], int(fused.labels[row]), int(probabilities[row].argmax())
        rows.append(
            {
                "clip": links.get(clip, clip),
                "label": names[own],
                "looks_like": names[guess],
                "sure": float(probabilities[row, guess]),
                "own": float(probabilities[row, own]),
                "scores": SCORED[fused.splits[row]],
                "where": places.get(clip, "").rstrip(","),
            }
        )
    used = ", ".join(f"{scored[split]} {name}" for split, name in SCORED.items() if scored[split])
    note = (
        f"Labels were compared with the fused scores of {len(fused.labels)} clips ({used}), by networks that were not "
        f"trained on them. Listed is where another class is {LEAST_TIMES:g} times as probable, the greatest difference "
        "first. Not every one of them is mislabelled: networks err too."
    )
    columns = (
        Column("clip", "Clip", "code"),
        Column("label", "Label"),
        Column("looks_like", "Looks like"),
        Column("sure", "Sure, %", "percent", "probability of the other class"),
        Column("own", "Label, %", "percent", "probability of the label"),
        Column("scores", "Scores"),
        Column("where", "Where"),
    )
    caption = f"Clips that look mislabelled: {len(rows)} of {len(fused.labels)}"
    return ([Table("check_labels", caption, columns, rows)] if rows else []), [note]


def _people(given: Given, clips: Clips, links: dict[str, Link]) -> list[Table]:
    """Clips without people, or with the wrong one."""
    doubts, places = by_clip(_doubts(given.collected, clips)), clip_places(given.collected)
    if not doubts:
        return []
    rows = [
        {
            "clip": links.get(doubt.clip_id, doubt.clip_id),
            "reason": doubt.reason,
            "where": places.get(doubt.clip_id, "").rstrip(","),
        }
        for doubt in doubts
    ]
    columns = (Column("clip", "Clip", "code"), Column("reason", "Reason", "prose"), Column("where", "Where"))
    caption = f"Clips where nobody or perhaps the wrong person was found: {len(rows)} of {len(clips.usable())}"
    return [Table("check_people", caption, columns, rows)]


def _doubts(collected: Collected, clips: Clips) -> Iterator[Doubt]:
    usable = clips.usable()
    boxes = collected.boxes
    if boxes is None or "frames" not in usable.columns:
        return iter(())
    frames = {str(clip): int(count) for clip, count in zip(usable.clip_id, usable.frames, strict=True)}
    of_boxes = boxes.table[boxes.table.clip_id.isin(set(frames))].groupby("clip_id", sort=False).score.mean()
    parts = [
        unseen_people(boxes.failed, frames),
        lost_people(boxes.table, frames),
        unsure_people({str(clip): float(mean) for clip, mean in of_boxes.items()}, "boxes"),
        unsure_people(_joint_scores(collected), "joints"),
    ]
    return itertools.chain.from_iterable(parts)


def _joint_scores(collected: Collected) -> dict[str, float]:
    """Clip -> mean score of its joints, where the estimate stage counted them."""
    if collected.poses is None or "score_sum" not in collected.poses.index.columns:
        return {}
    index, joints = collected.poses.index, collected.poses.meta.skeleton.num_joints
    shown = index[index.crops > 0]
    return {str(clip): float(mean) for clip, mean in (shown.score_sum / (shown.crops * joints)).items()}


def _shown(given: Given, table: Table) -> Table:
    """The table as a file, and its first rows."""
    given.files.table(table)
    if len(table.rows) <= MOST_ROWS:
        return table
    caption = f"{table.caption}, the first {MOST_ROWS} (all in tables/{table.name}.csv)"
    return replace(table, rows=table.rows[:MOST_ROWS], caption=caption)


def _links(given: Given, clips: Clips) -> dict[str, Link]:
    """Clip -> its name as a link to its video, relative to the page."""
    usable = clips.usable()
    if "path" not in usable.columns:
        return {}
    page = (given.out or given.collected.folder / "report").absolute()
    found, parts = {}, stretches(usable)
    for clip, path in zip(usable.clip_id.astype(str), usable.path.astype(str), strict=True):
        if Path(path).suffix.lower() in VIDEO_SUFFIXES:
            address = os.path.relpath((given.collected.folder / path).absolute(), page)
            part = f"#t={parts[clip].start_s:g},{parts[clip].end_s:g}" if clip in parts else ""
            found[clip] = Link(clip, quote(address, errors="surrogateescape") + part)
    return found
