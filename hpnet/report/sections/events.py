"""Events of the untrimmed test videos: how right they are, and a timeline of every person."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.events import Event
from ...core.video import VideoError
from ..figures import Bar, Row, events_plot
from ..output import Chart
from ..previews import draw_strip, encode_strip, strip_frames
from ..section import Given
from ..tables import Column, Measured, Table

TITLE = "Events"
MOST_VIDEOS = 6
"""Videos with a timeline on the page; the measures are of all."""
HUE_STEP_DEG = 137.5
"""Between the colours of two actions: the golden angle, so that neighbours in the list differ most."""
MEASURES = {
    "map_30": ("mAP at a temporal IoU of 0.3", "mean over actions of the average precision"),
    "map_50": ("mAP at 0.5", ""),
    "map_70": ("mAP at 0.7", ""),
    "f1_10": ("Segmental F1 at 10 %", "of overlap"),
    "f1_25": ("F1 at 25 %", ""),
    "f1_50": ("F1 at 50 %", ""),
    "edit": ("Edit score", "order of the actions alone"),
    "frame_accuracy": ("Instants with the right action", "background is one"),
    "idle_with_action": ("Idle time that is given an action", "less is better"),
}
GROUPS = {"one": "one person", "several": "several people"}


@dataclass(frozen=True)
class Course:
    """A video: its name, eight of its frames side by side (JPEG, base64; empty if it cannot be read), its timeline."""

    video: str
    strip: str
    chart: Chart


@dataclass(frozen=True)
class Events:
    """What the template shows."""

    lead: str
    tables: tuple[Table, ...]
    courses: tuple[Course, ...]
    notes: tuple[str, ...]


def build(given: Given) -> Events | None:
    """None where the stage ``events`` has measured nothing."""
    collected = given.collected
    measured = collected.metrics.get("events", {})
    if collected.events is None or collected.takes is None or "events" not in measured:
        return None
    count = int(measured["videos"])
    learnt = int(measured.get("learnt", {}).get("videos", 0))
    how = (
        f"Durations and background were learnt from {learnt} other untrimmed videos."
        if learnt
        else "There are no untrimmed videos of training: durations and background are those of the trimmed clips."
    )
    best, plain = (measured[kind].get("map_50") for kind in ("events", "windows"))
    lead = f"{count} untrimmed test video{'s' if count > 1 else ''}, with people who are in no clip of training. {how}"
    if best is not None and plain is not None:
        lead += f" mAP at 0.5 is {100 * best:.1f} %; sliding windows, one after another, have {100 * plain:.1f} %."
    tables = [_table(given, "events", "Events of the test videos", measured)]
    parts = measured.get("by_people", {})
    if len(parts) > 1:
        tables += [_table(given, f"events_{name}", f"Videos with {GROUPS[name]}", parts[name]) for name in parts]
    names = collected.takes.of(["test"]).videos.video.tolist()
    courses = tuple(_course(given, str(video)) for video in names[:MOST_VIDEOS])
    notes = [f"{len(names) - MOST_VIDEOS} more videos have no timeline here."] if len(names) > MOST_VIDEOS else []
    return Events(lead, tuple(tables), courses, tuple(notes))


def _table(given: Given, name: str, caption: str, measured: dict[str, Any]) -> Table:
    count = int(measured["videos"])
    rows = []
    for key, (title, _) in MEASURES.items():
        cells = {kind: _cell(measured[kind], key, count) for kind in ("events", "windows", "gain")}
        rows.append({"what": title, **cells})
    columns = (
        Column("what", "Measure"),
        Column("events", "Events, %", "interval", "95 % interval over videos"),
        Column("windows", "Sliding windows, %", "interval", "windows that overlap by half, one after another"),
        Column("gain", "Difference, points", "gain"),
    )
    return given.files.table(Table(name, f"{caption}, {count} videos", columns, rows))


def _cell(values: dict[str, float], key: str, count: int) -> Measured | None:
    if key not in values:
        return None
    low, high = values.get(f"{key}_low", float("nan")), values.get(f"{key}_high", float("nan"))
    return Measured(values[key], low, high, count, f"{count} video{'s' if count > 1 else ''}")


def _course(given: Given, video: str) -> Course:
    collected = given.collected
    assert collected.takes is not None
    assert collected.events is not None
    truth, found = (collected.events.of(video, kind) for kind in ("truth", "events"))
    windows = collected.events.of(video, "windows")
    people = sorted({event.person for event in (*truth, *found)}, key=lambda p: -1 if p is None else p)
    actions = sorted(set(collected.events.table.action))
    hues = {action: n * HUE_STEP_DEG % 360 for n, action in enumerate(actions)}
    rows = []
    for person in people:
        who = f"person {person}, " if len(people) > 1 else ""
        for label, events in (("true", truth), ("found", found), ("windows", windows)):
            rows.append(Row(f"{who}{label}", _bars(events, person, hues), strong=label == "found"))
    end_s = collected.takes.durations_s[video]
    title = f"What happens when in {video}"
    chart = given.files.chart(f"events_{video}", lambda width: events_plot(rows, end_s, title, width=width))
    return Course(video, _strip(collected.folder / collected.takes.paths[video]), chart)


def _bars(events: Sequence[Event], person: int | None, hues: dict[str, float]) -> list[Bar]:
    return [
        Bar(e.start_s, e.end_s, e.action, hues[e.action],
            f"{e.action}, {e.start_s:.2f} to {e.end_s:.2f} s"
            + (f", {100 * e.probability:.0f} % sure" if e.probability < 1 else ""))
        for e in events
        if e.person == person
    ]  # fmt: skip


def _strip(path: Path) -> str:
    """Eight frames from the first to the last, as base64 JPEG; empty where the video is gone."""
    try:
        frames = strip_frames(path)
    except (VideoError, FileNotFoundError):
        return ""
    return base64.b64encode(encode_strip(draw_strip(list(frames.values()), None, ()))).decode("ascii")
