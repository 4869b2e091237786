"""Clips from untrimmed videos: one for every event, and some of the time between events."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..artifacts.takes import Takes
from ..artifacts.videos import STRETCH_COLUMNS, UNKNOWN
from ..core.events import BACKGROUND, Event, gaps, overlap_s
from ..core.stretch import Stretch
from ..core.video import VideoError, probe
from .holdout import hold_out_order

MOST_SHARED = 0.25
"""An event that shares more of its time with another action of another person makes no clip: both would show in it."""
BACKGROUND_PROMPT = "a person is doing nothing in particular"


@dataclass(frozen=True)
class Cut:
    """Clips of untrimmed videos.

    Attributes:
        rows: clip_id, class_name, split, source, the columns of videos.csv, start_s and end_s; by video and time.
        shared: number of events without a clip, see :data:`MOST_SHARED`.
    """

    rows: pd.DataFrame
    shared: int = 0

    def note(self) -> str:
        """One line about the events without clips; empty if there are none."""
        if not self.shared:
            return ""
        verb = (
            "events make no clips, because another person does"
            if self.shared > 1
            else "event makes no clip, because another person does"
        )
        return f"{self.shared} {verb} something else at the same time; they count as truth"


def cut_clips(takes: Takes, background: float, seed: int) -> Cut:
    """A clip for every event, named by its video and milliseconds, and clips of the class :data:`BACKGROUND`.

    Background clips lie between the events of all persons, and are as long as events of training that fit there. There
    are at most ``background`` times as many in a split as its actions have clips on average. Deterministic; another
    video does not move those of this one, but may crowd some out.

    Args:
        takes: the videos; one with an error makes failed clips.
        background: 0 for none.
        seed: of the choice of background clips.
    """
    truth, durations_s = takes.truth, takes.durations_s
    split_of = dict(zip(takes.videos.video, takes.videos.split, strict=True))
    learning = [e.duration_s for video, events in truth.items() if split_of[video] == "train" for e in events]
    lengths_s = learning or [e.duration_s for events in truth.values() for e in events]
    found: list[tuple[str, Stretch, str]] = []
    between: dict[str, list[tuple[str, Stretch, str]]] = {}
    shared = 0
    for video, events in truth.items():
        alone = [event for event in events if not _is_shared(event, events)]
        shared += len(events) - len(alone)
        # what two people do together is one clip
        found += dict.fromkeys((video, Stretch(e.start_s, e.end_s), e.action) for e in alone)
        if background:
            rng = np.random.default_rng([seed, zlib.crc32(video.encode())])
            spans = gaps(events, durations_s[video])
            stretches = [part for span in spans for part in _laid_out(span, lengths_s, rng)]
            between.setdefault(split_of[video], []).extend((video, part, BACKGROUND) for part in stretches)
    for split, candidates in between.items():
        own = [action for video, _, action in found if split_of[video] == split]
        most = math.ceil(background * (len(own) / len(set(own)) if own else 1))
        chosen = set(hold_out_order(map(_name, candidates), seed)[:most])
        found += [candidate for candidate in candidates if _name(candidate) in chosen]
    found.sort(key=lambda clip: (clip[0], clip[1].start_s, clip[1].end_s))
    return Cut(_table(takes, found), shared)


def with_background(classes: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The class table with the class :data:`BACKGROUND`, if a clip has it; its prompt says that nothing happens."""
    if not (rows.class_name == BACKGROUND).any():
        return classes
    if not (classes.name == BACKGROUND).any():
        row = {"label": len(classes), "name": BACKGROUND, "prompt": "", **dict.fromkeys(classes.columns[3:], "")}
        classes = pd.concat([classes, pd.DataFrame([row])], ignore_index=True)
    return classes.assign(prompt=classes.prompt.where(classes.name != BACKGROUND, BACKGROUND_PROMPT))


def _is_shared(event: Event, events: Sequence[Event]) -> bool:
    others = (other for other in events if other.action != event.action)
    return any(overlap_s(event, other) > MOST_SHARED * event.duration_s for other in others)


def _laid_out(span: tuple[float, float], lengths_s: Sequence[float], rng: np.random.Generator) -> list[Stretch]:
    """Stretches in [start, end), one after another, as long as drawn lengths that fit."""
    (at, end), found = span, []
    while fitting := [length for length in lengths_s if length <= end - at]:
        length = float(rng.choice(fitting))
        start = at + float(rng.uniform(0.0, min(length, end - at - length)))
        found.append(Stretch(round(start, 3), round(start + length, 3)))
        at = start + length
    return found


def _name(clip: tuple[str, Stretch, str]) -> str:
    """The clip's id: its video, and its milliseconds there."""
    video, stretch, _ = clip
    return f"{video}/{round(1000 * stretch.start_s):07d}-{round(1000 * stretch.end_s):07d}"


def _table(takes: Takes, clips: Sequence[tuple[str, Stretch, str]]) -> pd.DataFrame:
    videos = {str(row["video"]): row for row in takes.videos.to_dict("records")}
    rows = []
    for clip in clips:
        video, stretch, action = clip
        facts = _facts(videos[video], stretch)
        row = {"clip_id": _name(clip), "class_name": action, "split": videos[video]["split"]}
        rows.append(row | {"source": videos[video]["source"], **facts})
    return pd.DataFrame(rows, columns=["clip_id", "class_name", "split", "source", *UNKNOWN, *STRETCH_COLUMNS])


def _facts(video: Mapping[str, object], stretch: Stretch) -> dict[str, object]:
    """The row of a stretch in videos.csv, without its clip id; if it has no frame, the reason is in ``error``."""
    known = {name: video[name] for name in UNKNOWN if name in video}
    facts: dict[str, object] = {**UNKNOWN, **known, "start_s": stretch.start_s, "end_s": stretch.end_s}
    if facts["error"]:
        return facts
    try:
        info = probe(str(video["path"]), stretch)
    except VideoError as error:
        return facts | {"error": str(error)}
    return facts | {"frames": info.frames, "seconds": info.seconds}
