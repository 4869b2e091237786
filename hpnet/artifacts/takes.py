"""Untrimmed videos, and what happens when in them: ``takes.csv`` and ``events.csv``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..core.clip_ids import check_clip_ids, refuse_alike
from ..core.csv_text import numbers, read_csv, write_csv
from ..core.events import Event
from .clips import SPLITS
from .files import delete_old, require_columns

TAKE_COLUMNS = ("video", "path", "digest", "width", "height", "fps", "frames", "seconds", "source", "split", "error")
EVENT_COLUMNS = ("video", "start_s", "end_s", "action", "person")
NOBODY = -1
"""``person`` of an event whose person is not named."""


@dataclass(frozen=True)
class Takes:
    """Untrimmed videos with several actions each, and idle time between them.

    Attributes:
        videos: a row for each (``takes.csv``). ``video`` is its name; ``path`` is relative to the project's folder;
            ``digest``, ``width`` and so on are as in ``videos.csv``; ``source`` is the person or recording, empty if
            unknown; ``split`` is train, val, test or empty; ``error`` is empty, or why it cannot be read.
        events: a row for each (``events.csv``), by video and start: seconds from the first frame, half-open; ``person``
            is a number, :data:`NOBODY` if none is named. A video may have no event: it is all background.
    """

    videos: pd.DataFrame
    events: pd.DataFrame

    def __post_init__(self) -> None:
        require_columns(self.videos, TAKE_COLUMNS, "takes.csv")
        require_columns(self.events, EVENT_COLUMNS, "events.csv")
        check_clip_ids(self.videos.video, "takes.csv")
        refuse_alike(self.videos.video, "takes.csv")
        repeated = self.videos.video[self.videos.video.duplicated()]
        if len(repeated):
            raise ValueError(f"takes.csv: video {repeated.iloc[0]!r} is listed twice")
        unknown = sorted(set(self.videos.split) - set(SPLITS))
        if unknown:
            raise ValueError(f"takes.csv: split {unknown[0]!r} is not train, val, test or empty")
        stray = sorted(set(self.events.video) - set(self.videos.video))
        if stray:
            raise ValueError(f"events.csv: video {stray[0]!r} is not in takes.csv: run `hpnet data` again")
        start_s, end_s = (self.events[name].to_numpy(np.float64) for name in ("start_s", "end_s"))
        impossible = ~((start_s >= 0) & (start_s < end_s) & np.isfinite(end_s))
        if impossible.any():
            row = self.events[impossible].iloc[0]
            raise ValueError(
                f"events.csv: an event of video {row.video!r} is from {row.start_s} to {row.end_s} s; expected start_s "
                "before end_s"
            )
        seconds = self.videos.seconds.to_numpy(np.float64)
        if not (np.isfinite(seconds) & (seconds >= 0)).all():
            raise ValueError("takes.csv: a video has no length in seconds: run `hpnet data` again")

    def of(self, splits: Collection[str]) -> Takes:
        """The readable videos of some splits, with their events."""
        videos = self.videos[self.videos.split.isin(list(splits)) & (self.videos.error == "")]
        events = self.events[self.events.video.isin(set(videos.video))]
        return Takes(videos.reset_index(drop=True), events.reset_index(drop=True))

    @property
    def truth(self) -> dict[str, list[Event]]:
        """Video -> its events in order of time; every video is there, also those without events."""
        found: dict[str, list[Event]] = {str(video): [] for video in self.videos.video}
        columns = (self.events[name] for name in EVENT_COLUMNS)
        for video, start_s, end_s, action, person in zip(*columns, strict=True):
            who = None if person == NOBODY else int(person)
            found[str(video)].append(Event(float(start_s), float(end_s), str(action), person=who))
        return {video: sorted(events, key=lambda e: (e.start_s, e.end_s)) for video, events in found.items()}

    @property
    def durations_s(self) -> dict[str, float]:
        """Video -> seconds from its first frame to the end of the last one."""
        return {str(v): float(s) for v, s in zip(self.videos.video, self.videos.seconds, strict=True)}

    @property
    def paths(self) -> dict[str, Path]:
        """Video -> its file."""
        return {str(v): Path(str(p)) for v, p in zip(self.videos.video, self.videos.path, strict=True)}

    def save(self, folder: Path) -> None:
        """Write takes.csv and events.csv."""
        write_csv(self.videos[list(TAKE_COLUMNS)], delete_old(folder / "takes.csv"))
        write_csv(self.events[list(EVENT_COLUMNS)], delete_old(folder / "events.csv"))

    @classmethod
    def load(cls, folder: Path) -> Takes:
        """Read takes.csv and events.csv of a data folder.

        Raises:
            FileNotFoundError: the project has no untrimmed videos.
            ValueError: a table does not have the stage's format.
        """
        for name in ("takes.csv", "events.csv"):
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"{folder / name} is missing: untrimmed videos come from data.takes, or from a data.table with "
                    "start_s and end_s; then run `hpnet data`"
                )
        remedy = "run `hpnet data` again"
        text = ("video", "path", "digest", "source", "split", "error")
        videos = read_csv(folder / "takes.csv", text, ("width", "height", "frames"), remedy)
        events = read_csv(folder / "events.csv", ("video", "action"), ("person",), remedy)
        for table, columns, name in ((videos, ("fps", "seconds"), "takes"), (events, ("start_s", "end_s"), "events")):
            for column in set(columns) & set(table.columns):
                table[column] = numbers(table[column], f"{folder / name}.csv: column {column}", remedy)
        return cls(videos, events)
