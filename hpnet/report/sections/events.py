"""Events of the untrimmed test videos: how right they are, and a timeline of every person."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...core.event_metrics import LEAST_VIDEOS
from ...core.events import Event
from ...core.video import VideoError
from ..figures import Bar, Image, Row, events_plot
from ..output import Chart
from ..previews import draw_strip, encode_strip, sheet_of, strip_frames
from ..section import Given
from ..tables import Column, Measured, Table

TITLE = "Events"
MOST_VIDEOS = 6
"""Videos with a timeline on the page; the measures are of all."""
SHEET_STEP_S, MOST_SHEET = 0.5, 120
"""A click on a bar shows frames of its time: of every half second of a video, further apart above a minute."""
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
    """A video with its timeline.

    Attributes:
        strip: eight of its frames side by side, JPEG in base64; empty if it cannot be read.
        sheet: the frames that a click on the timeline shows, likewise, in rows of ``across``.
        every_s: seconds between two of them; the first is the video's first.
    """

    video: str
    strip: str
    chart: Chart
    sheet: str
    across: int
    frames: int
    every_s: float


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
        Column("events", "Events, %", "interval", f"95 % interval over videos, from {LEAST_VIDEOS} videos on"),
        Column("windows", "Sliding windows, %", "interval", "windows that overlap by half, one after another"),
        Column("gain", "Difference, points", "gain"),
    )
    few = ": too few for an interval" if count < LEAST_VIDEOS else ""
    return given.files.table(Table(name, f"{caption}, {count} video{'s' if count > 1 else ''}{few}", columns, rows))


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
    path = collected.folder / collected.takes.paths[video]
    every_s = max(SHEET_STEP_S, end_s / MOST_SHEET)
    try:
        strip, (sheet, across, count) = draw_strip(list(strip_frames(path).values()), None, ()), sheet_of(path, every_s)
    except (VideoError, FileNotFoundError):
        return Course(video, "", chart, "", 1, 0, every_s)
    return Course(video, _jpeg(strip), chart, _jpeg(sheet), across, count, every_s)


def _bars(events: Sequence[Event], person: int | None, hues: dict[str, float]) -> list[Bar]:
    return [
        Bar(e.start_s, e.end_s, e.action, hues[e.action],
            f"{e.action}, {e.start_s:.2f} to {e.end_s:.2f} s"
            + (f", {100 * e.probability:.0f} % sure" if e.probability < 1 else ""))
        for e in events
        if e.person == person
    ]  # fmt: skip


def _jpeg(image: Image) -> str:
    """As base64."""
    return base64.b64encode(encode_strip(image)).decode("ascii")
