"""The section on events: measures with intervals, timelines in two widths, and videos that are gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpnet.artifacts.found_events import FOUND_COLUMNS, FoundEvents
from hpnet.artifacts.takes import EVENT_COLUMNS, TAKE_COLUMNS, Takes
from hpnet.core.events import Event
from hpnet.core.video import write_video
from hpnet.params import Params
from hpnet.report import page
from hpnet.report.collect import Collected
from hpnet.report.figures import Bar, Row, events_plot
from hpnet.report.results import Judge
from hpnet.report.section import Given
from hpnet.report.sections import events

MEASURED = {
    "videos": 2,
    "learnt": {},
    "events": {"map_50": 0.8, "f1_50": 0.75, "idle_with_action": 0.02},
    "windows": {"map_50": 0.5, "f1_50": 0.25, "idle_with_action": 1.0},
    "gain": {"map_50": 0.3},
}


def given_events(
    folder: Path, truth: Mapping[str, Sequence[Event]], found: Mapping[str, Sequence[Event]] | None = None
) -> Given:
    """Videos of 20 s, ``NAME.mp4`` in a folder, with true and found events."""
    names = list(truth)
    videos = [(v, f"{v}.mp4", "", 64, 48, 8.0, 160, 20.0, v, "test", "") for v in names]
    true = [(v, e.start_s, e.end_s, e.action, e.person) for v in names for e in truth[v]]
    takes = Takes(pd.DataFrame(videos, columns=list(TAKE_COLUMNS)), pd.DataFrame(true, columns=list(EVENT_COLUMNS)))
    rows = [
        (v, kind, e.person, e.action, e.start_s, e.end_s, e.probability)
        for kind, events in (("truth", truth), ("events", found or {}))
        for v in events
        for e in events[v]
    ]
    table = FoundEvents(pd.DataFrame(rows, columns=list(FOUND_COLUMNS)))
    collected = Collected(folder, Params(), takes=takes, events=table, metrics={"events": MEASURED})
    return Given(collected, Judge(collected.params.report, None), None)


@pytest.fixture
def given(tmp_path: Path) -> Given:
    """Two videos, of which one is gone."""
    write_video(tmp_path / "a.mp4", np.full((16, 48, 64, 3), 90, np.uint8), fps=8)
    truth = {v: [Event(1.0, 3.0, "wave <b>", person=0)] for v in "ab"}
    truth["a"].append(Event(2.0, 4.0, "clap", person=1))
    return given_events(tmp_path, truth, {"a": [Event(1.1, 2.9, "wave <b>", 0.9, 0)]})


def test_every_person_has_a_timeline_of_truth_and_answers(given: Given) -> None:
    section = events.build(given)
    assert section is not None
    assert "mAP at 0.5 is 80.0 %; sliding windows, one after another, have 50.0 %" in section.lead
    assert "are those of the trimmed clips" in section.lead
    first, second = section.courses
    assert first.strip
    assert second.strip == ""
    wide = first.chart.wide
    assert [wide.count(f"person {p}, {kind}") for p in (0, 1) for kind in ("true", "found", "windows")] == [1] * 6
    assert "wave &lt;b&gt;, 1.10 to 2.90 s, 90 % sure" in wide
    assert wide.count("<rect") == 3
    assert 'data-start="1.100" data-end="2.900"' in wide
    assert (first.frames, first.every_s, second.sheet) == (4, 0.5, "")
    assert {"events", "events_a", "events_b"} <= {*given.files.figures, *given.files.tables}
    (table,) = section.tables
    assert table.caption == "Events of the test videos, 2 videos: too few for an interval"
    row = next(row for row in table.rows if row["what"] == "mAP at 0.5")
    assert (row["events"].full, row["gain"].range) == ("80.0 (no interval)", "no interval")
    html = page.render(given, (events,))
    assert '<a href="#events">Events</a>' in html
    assert "<b>" not in html.split("<h2>Events</h2>")[1].split("</section>")[0]


def test_a_project_without_measured_events_has_no_section(given: Given) -> None:
    bare = Collected(given.collected.folder, Params(), takes=given.collected.takes)
    assert events.build(Given(bare, given.judge, None)) is None


@pytest.mark.parametrize("width", [358, 760])
def test_a_timeline_stays_within_its_width(width: int) -> None:
    rows = [Row("person 0, found", [Bar(0, 5, "wave", 10), Bar(59, 61, "a long name of an action", 20)])]
    drawn = events_plot(rows, 60.0, "What happens", width=width)
    assert f'viewBox="0 0 {width} ' in drawn
    lefts = [float(part.split('"')[0]) for part in drawn.split('<rect x="')[1:]]
    widths = [float(part.split('width="')[1].split('"')[0]) for part in drawn.split("<rect ")[1:]]
    assert all(left + long <= width for left, long in zip(lefts, widths, strict=True))
    assert ">60 s<" in drawn
    assert events_plot(rows, 0.0, "nothing", width=width)
