"""The step ``events``: untrimmed videos -> how events are found in them, which are found, and how right they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..artifacts.files import delete_old, write_json
from ..artifacts.found_events import FOUND_COLUMNS, FoundEvents
from ..artifacts.takes import Takes
from ..artifacts.truth import load_boxes
from ..core.event_metrics import difference_intervals, measure_intervals, persons_of_tracks
from ..core.events import Event
from ..core.statistics import Interval
from ..core.video import VideoError
from ..work.console import note, progress
from .finding import RULE_FILE, Rule, in_order, of_sliding_windows
from .labelling import Timeline
from .learning import Example, Watched, events_like, learn
from .params import EventsParams

TRUTH = "takes_truth.parquet"
"""Boxes of the true persons, of rendered takes."""
SEED = 0


@dataclass(frozen=True)
class Networks:
    """The trained networks at work.

    Attributes:
        classes: names of the K classes.
        plain: the rule that needs no untrimmed video.
        watch: a video file -> what the networks see; VideoError where it cannot be read to its end.
    """

    classes: Sequence[str]
    plain: Rule
    watch: Callable[[Path], Watched]


@dataclass(frozen=True)
class Measured:
    """The result of the step.

    Attributes:
        takes: test videos.
        learnt: videos that the rule was learnt from; 0: there are none, so it is the plain one.
        metrics: what it wrote to its metrics file.
    """

    takes: int
    learnt: int
    metrics: Mapping[str, Any]


def run(params: EventsParams, networks: Networks, project: Path, out: Path, metrics: Path) -> Measured:
    """Learn on the videos of train and val, find the events of all, and measure those of the test videos.

    Args:
        project: its folder; videos are relative to it.
        out: gets rule.json and found.csv.

    Raises:
        FileNotFoundError: the project has no untrimmed videos.
        ValueError: none of them can be read, or nothing can be learnt from them.
    """
    data = project / "artifacts" / "data"
    takes = Takes.load(data).of(("train", "val", "test"))
    if takes.videos.empty:
        raise ValueError(f"{data / 'takes.csv'} has no readable video of train, val or test: see its column error")
    seen = _watched(takes, networks, project, data / TRUTH)
    truth, lengths = takes.truth, takes.durations_s
    rows = takes.videos[takes.videos.video.isin(list(seen))]
    learning = rows[rows.split != "test"]
    rule = networks.plain
    learnt: dict[str, Any] = {}
    if len(learning):
        sources = learning.source.where(learning.source != "", learning.video)
        examples = [
            Example(seen[video], truth[video], lengths[video], source)
            for video, source in zip(learning.video.tolist(), sources.tolist(), strict=True)
        ]
        made = learn(examples, networks.classes, networks.plain, params)
        rule = made.rule
        learnt = {"videos": len(examples), "tried": made.tried, "out_of_fold": _numbers(made.chosen)}
    else:
        note("no untrimmed video of train or val: durations and background are those of the trimmed clips")
    write_json(delete_old(out / RULE_FILE), rule.to_json())
    found = {video: events_like(rule.events(lines), truth[video]) for video, lines in seen.items()}
    windows = {
        video: events_like(of_sliding_windows(lines, networks.classes, rule.window_s), truth[video])
        for video, lines in seen.items()
    }
    tested = rows[rows.split == "test"].video.tolist()
    _table({"truth": truth, "events": found, "windows": windows}, tested).save(out)
    summary: dict[str, Any] = {"videos": len(tested), "learnt": learnt}
    if tested:
        summary |= _measure(params, {v: truth[v] for v in tested}, found, windows, lengths)
    else:
        note("no untrimmed test video: the rule is learnt, but not measured")
    write_json(metrics, summary)
    return Measured(len(tested), len(learning), summary)


def _watched(takes: Takes, networks: Networks, project: Path, boxes: Path) -> dict[str, list[Timeline]]:
    """The timelines of every video, whose persons are those of the truth where it tells their places."""
    places = load_boxes(boxes) if boxes.is_file() else None
    counts = dict(zip(takes.videos.video, takes.videos.frames, strict=True))
    found: dict[str, list[Timeline]] = {}
    with progress("watching", len(takes.videos)) as advance:
        for video, path in takes.paths.items():
            try:
                seen = networks.watch(project / path)
            except VideoError as error:
                note(f"note: {error}")
                continue
            finally:
                advance(1)
            numbers = _persons(seen, takes.truth[video], None if places is None else places[places.clip_id == video],
                               int(counts[video]))  # fmt: skip
            found[video] = [replace(line, person=numbers[line.person]) for line in seen.timelines]
    if not found:
        raise ValueError("no untrimmed video could be read to its end")
    return found


def _persons(seen: Watched, truth: Sequence[Event], places: pd.DataFrame | None, count: int) -> dict[int, int]:
    """Track -> person of the truth: by place, or the only one there is; else its own number."""
    people = sorted({event.person for event in truth if event.person is not None})
    tracks = sorted({line.person for line in seen.timelines})
    if places is None or places.empty:
        return dict.fromkeys(tracks, people[0]) if len(people) == 1 else {track: track for track in tracks}
    true = {}
    for person, rows in places.groupby("person"):
        boxes = np.full((count, 4), np.nan)
        boxes[rows.frame.to_numpy()] = rows[["x1", "y1", "x2", "y2"]].to_numpy(np.float64)
        true[int(person)] = boxes
    return persons_of_tracks({track: seen.boxes[track].over(count) for track in tracks}, true)


def _measure(
    params: EventsParams,
    truth: Mapping[str, Sequence[Event]],
    found: Mapping[str, Sequence[Event]],
    windows: Mapping[str, Sequence[Event]],
    lengths: Mapping[str, float],
) -> dict[str, Any]:
    """Measures of the test videos: of the events, of the sliding windows, their difference; by number of people."""

    def of(videos: Mapping[str, Any]) -> dict[str, Any]:
        def only(events: Mapping[str, Any]) -> dict[str, Any]:
            return {video: events[video] for video in videos}

        args = (only(truth), only(lengths))
        options = {"resamples": params.bootstrap, "seed": SEED}
        return {
            "videos": len(videos),
            "events": _intervals(measure_intervals(args[0], only(found), args[1], **options)),
            "windows": _intervals(measure_intervals(args[0], only(windows), args[1], **options)),
            "gain": _intervals(difference_intervals(args[0], only(windows), only(found), args[1], **options)),
        }

    people = {video: len({event.person for event in events} - {None}) for video, events in truth.items()}
    parts = {"one": {v: n for v, n in people.items() if n <= 1}, "several": {v: n for v, n in people.items() if n > 1}}
    return {**of(truth), "by_people": {name: of(part) for name, part in parts.items() if part}}


def _intervals(measured: Mapping[str, Interval]) -> dict[str, Any]:
    """``name``, and ``name_low`` and ``name_high`` where there is an interval."""
    found: dict[str, Any] = {}
    for name, interval in measured.items():
        found |= _numbers({name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high})
    return found


def _numbers(values: Mapping[str, float]) -> dict[str, float]:
    """Those that are defined, to four digits."""
    return {name: round(float(value), 4) for name, value in values.items() if np.isfinite(value)}


def _table(kinds: Mapping[str, Mapping[str, Sequence[Event]]], videos: Sequence[str]) -> FoundEvents:
    rows = [
        (video, kind, -1 if e.person is None else e.person, e.action, e.start_s, e.end_s, e.probability)
        for video in videos
        for kind, events in kinds.items()
        for e in in_order(events[video])
    ]
    return FoundEvents(pd.DataFrame(rows, columns=list(FOUND_COLUMNS)))
