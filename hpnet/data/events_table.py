"""A CSV of what happens when in untrimmed videos: the form of ``data.table`` with ``start_s`` and ``end_s``."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ..artifacts.takes import EVENT_COLUMNS, NOBODY, TAKE_COLUMNS, Takes
from ..core.clip_ids import clip_id_fault, normal_form, text_fault
from ..core.csv_text import read_csv_text
from ..core.events import BACKGROUND
from .grammar import refuse_twins
from .holdout import by_source
from .table import check_mirrors, check_splits, refuse_leaks, with_validation

TIMES = ("start_s", "end_s")
OPTIONAL = ("person", "source", "split", "mirror")
EXPECTED = (
    "columns video, start_s, end_s and action, and optionally person (a number), source (subject or recording), split "
    "(train, val, test) and mirror; a video without events has one row with the video alone"
)


def is_events_table(file: Path) -> bool:
    """Whether a CSV has times; false if it cannot be read, so that the reader of the other form says why."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            return bool(set(TIMES) & {name.strip() for name in next(csv.reader(opened), [])})
    except (OSError, UnicodeDecodeError, csv.Error):
        return False


def read_events_table(file: Path) -> pd.DataFrame:
    """The rows of the CSV: video (path below the folder of videos), times, action, person, source, split and mirror.

    Times are seconds from the first frame, half-open: an event may begin where another ends. A video in which nothing
    happens has one row without times and action; its times are NaN here.

    Raises:
        ValueError: a column is missing or names something impossible; an event ends before it starts, starts before the
            video, is listed twice, or overlaps another of the same person; rows of a video disagree.
    """
    rows = read_csv_text(file, f"data.table: {file}")
    for column in ("video", *TIMES, "action"):
        if column not in rows.columns:
            raise ValueError(f"data.table: {file} has no column {column!r}; expected {EXPECTED}")
    if "source" not in rows.columns and "subject" in rows.columns:
        rows = rows.assign(source=rows.subject)
    rows = rows.assign(**{c: "" for c in OPTIONAL if c not in rows.columns})
    rows = rows[["video", *TIMES, "action", *OPTIONAL]].apply(lambda column: column.str.strip())
    rows = rows.assign(video=rows.video.str.replace("\\", "/", regex=False))
    for number, row in zip(rows.index, rows.to_dict("records"), strict=True):
        wrong = _fault(row)
        if wrong:
            raise ValueError(f"data.table: {file}, line {number + 2}: {wrong}; expected {EXPECTED}")
    check_splits(rows, file)
    check_mirrors(rows, file)
    rows = rows.assign(
        start_s=[float(text or "nan") for text in rows.start_s],
        end_s=[float(text or "nan") for text in rows.end_s],
        person=[int(text or NOBODY) for text in rows.person],
    )
    _check_videos(rows, file)
    _check_times(rows, file)
    return rows


def _fault(row: Mapping[str, str]) -> str:
    """Why one row is impossible by itself; empty if it is not."""
    faults = [("video", row["video"], clip_id_fault(row["video"]))]
    faults += [(name, row[name], text_fault(row[name])) for name in ("action", "source")]
    for name, text, fault in faults:
        if fault:
            return f"{name} {text!r} {fault}"
    given = [name for name in (*TIMES, "action") if row[name]]
    if not given:
        return "person without an event" if row["person"] else ""
    if len(given) < 3:
        lacking = next(name for name in (*TIMES, "action") if not row[name])
        return f"{lacking} is empty"
    if row["action"] == BACKGROUND:
        return f"action {BACKGROUND!r} is what lies between events: leave it out"
    times = []
    for name in TIMES:
        try:
            times.append(float(row[name]))
        except ValueError:
            return f"{name} {row[name]!r} is no number of seconds"
    if not np.isfinite(times).all() or times[0] < 0:
        return f"start_s {row['start_s']} and end_s {row['end_s']} are no times in a video"
    if times[0] >= times[1]:
        return f"start_s {row['start_s']} is not before end_s {row['end_s']}"
    if row["person"] and not row["person"].isdecimal():
        return f"person {row['person']!r} is no number from 0 on"
    return ""


def _check_videos(rows: pd.DataFrame, file: Path) -> None:
    """Refuse rows of one video that disagree.

    Raises:
        ValueError: names both lines.
    """
    for video, own in rows.groupby("video", sort=False):
        for column in ("source", "split"):
            other = own[own[column] != own[column].iloc[0]]
            if len(other):
                first, second = own[column].iloc[0], other[column].iloc[0]
                lines = f"lines {own.index[0] + 2} and {other.index[0] + 2}"
                raise ValueError(
                    f"data.table: {file}, {lines}: {column} of video {video!r} is {first!r} and {second!r}; keep one"
                )
        empty = own[own.action == ""]
        if len(empty) and len(own) > 1:
            other = own.drop(empty.index[0])
            raise ValueError(
                f"data.table: {file}, line {empty.index[0] + 2}: nothing happens in video {video!r}, but line "
                f"{other.index[0] + 2} is of it too: remove one"
            )
        if 0 < (own.person == NOBODY).sum() < len(own):
            line = own.index[own.person == NOBODY][0] + 2
            raise ValueError(
                f"data.table: {file}, line {line}: no person, but other events of video {video!r} have one: name all "
                "persons of a video, or none"
            )


def _check_times(rows: pd.DataFrame, file: Path) -> None:
    """Refuse events of one person that are the same or overlap.

    Raises:
        ValueError: names both lines.
    """
    events = rows[rows.action != ""].sort_values(["video", "person", "start_s", "end_s"], kind="stable")
    for (video, person), own in events.groupby(["video", "person"], sort=False):
        for before, after in zip(own.index, own.index[1:], strict=False):
            first, second = own.loc[before], own.loc[after]
            if second.start_s >= first.end_s:
                continue
            lines = "lines {} and {}".format(*sorted((before + 2, after + 2)))
            if (first.start_s, first.end_s, first.action) == (second.start_s, second.end_s, second.action):
                raise ValueError(f"data.table: {file}, {lines} are the same event of video {video!r}: remove one")
            whose = "one person" if person == NOBODY else f"person {person}"
            raise ValueError(
                f"data.table: {file}, {lines}: {first.action!r} ({first.start_s:g} to {first.end_s:g} s) and "
                f"{second.action!r} ({second.start_s:g} to {second.end_s:g} s) of {whose} in {video!r} overlap: "
                "shorten one, or give them different persons"
            )


def split_events(rows: pd.DataFrame, val_fraction: float, seed: int, test_fraction: float = 0.2) -> list[str]:
    """The split of every row of :func:`read_events_table`; whole sources, and whole videos where no source is known.

    A given split is kept; if none is val, whole sources of train become val. Without splits, sources are held out so
    that every action with two sources has one in test.

    Raises:
        ValueError: a source is in two splits, or two videos are one clip; names them.
    """
    videos = list(dict.fromkeys(rows.video))
    refuse_twins([take_id(video) for video in videos], videos)
    # a video of unknown source is its own source; no real source can have this name
    sources = [source or f"\n{video}" for source, video in zip(rows.source, rows.video, strict=True)]
    actions = [action or BACKGROUND for action in rows.action]
    given = rows.split.tolist()
    if not any(given):
        splits = by_source(sources, actions, val_fraction, test_fraction, seed)
    else:
        splits = given if "val" in given else with_validation(given, sources, actions, val_fraction, seed)
    refuse_leaks(rows.source.tolist(), splits)
    return splits


def take_id(video: str) -> str:
    """The name of a video in takes.csv: its path without the suffix."""
    return normal_form(Path(video).with_suffix("").as_posix())


def takes_of_table(rows: pd.DataFrame, splits: list[str], facts: Mapping[str, dict[str, object]], file: Path) -> Takes:
    """The untrimmed videos of a table and their events.

    An event may end one frame past the end of its video, as labelling tools count; it is shortened to it.

    Args:
        rows: of :func:`read_events_table`, with the split of each row.
        facts: video -> what :func:`hpnet.data.index.video_facts` found.
        file: the table, for messages.

    Raises:
        ValueError: an event ends later; names the line and the length of the video.
    """
    rows = rows.assign(split=splits)
    events = []
    for number, row in zip(rows.index, rows.to_dict("records"), strict=True):
        known = facts[row["video"]]
        if not row["action"]:
            continue
        seconds, fps = float(str(known["seconds"])), float(str(known["fps"]))
        if not known["error"] and row["end_s"] > seconds + (1 / fps if fps else 0):
            raise ValueError(
                f"data.table: {file}, line {number + 2}: {row['action']!r} ends at {row['end_s']:g} s, but "
                f"{row['video']!r} is {seconds:g} s long: times are seconds from the first frame"
            )
        end_s = row["end_s"] if known["error"] else min(row["end_s"], seconds)
        events.append((take_id(row["video"]), row["start_s"], end_s, row["action"], row["person"]))
    firsts = rows.drop_duplicates("video")
    videos = [
        {**facts[row["video"]], "video": take_id(row["video"]), "source": row["source"], "split": row["split"]}
        for row in firsts.to_dict("records")
    ]
    return Takes(pd.DataFrame(videos, columns=list(TAKE_COLUMNS)), pd.DataFrame(events, columns=list(EVENT_COLUMNS)))
