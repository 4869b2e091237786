"""Output of ``hpnet predict``: a line or a JSON object per answer, annotated videos, failures, and latencies."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.video import write_timed
from ..work.console import note, one_line
from .drawing import Course, drawn, drawn_events
from .finding import EventFinder
from .following import Following
from .recognise import Prediction, Recogniser
from .result import event_json_lines, event_lines, shown_frames, window_result, without_maps
from .suitability import watched
from .trained import Trained
from .windows import Cutting


def say(text: str, err: bool = False) -> None:
    """Print an answer on stdout, or with ``err`` a note on stderr."""
    if err:
        note(text)
    else:
        print(text, flush=True)


@dataclass
class Output:
    """Prints answers, writes annotated videos, and keeps the failures and the latencies of live answers."""

    trained: Trained
    recogniser: Recogniser
    cutting: Cutting
    top: int
    as_json: bool
    targets: Mapping[str, Path]
    echo: Callable[..., None] = say
    failed: dict[str, str] = field(default_factory=dict)
    latencies_s: list[float] = field(default_factory=list)
    dropped: int = 0

    def fail(self, video: str, reason: str) -> None:
        """Print and remember that a video cannot be used."""
        self.failed[video] = reason
        self.echo(f"{one_line(video)}: {reason}", err=True)

    def show(self, predictions: Iterator[Prediction]) -> None:
        """Print the answers of one video; write it with --save. After Ctrl-C the written part is kept."""
        first = next(predictions, None)
        if first is None:
            return
        stream = watched(itertools.chain([first], predictions), self.trained.params, self._warn)
        if not self.targets:
            for prediction in stream:
                self.print(prediction)
            return
        window = first.seen.window
        target = self.targets.get(window.video) or next(iter(self.targets.values()))  # live: the only one
        interrupted: list[KeyboardInterrupt] = []
        annotated = self._annotated(stream, interrupted)
        begun = next(annotated, None)  # do not create an empty file
        if begun is not None:
            write_timed(target, itertools.chain([begun], annotated), window.fps)
            self.echo(f"{one_line(str(target))}{' ends where it was interrupted' if interrupted else ''}", err=True)
        if interrupted:
            raise interrupted[0]

    def show_events(self, finder: EventFinder, following: Following) -> None:
        """Watch a video, print its events, and write it with --save. Only people are kept until its end."""
        parts: list[Prediction] = []
        video = ""
        for part in watched(iter(following), self.trained.params, self._warn):
            video = part.seen.window.video
            if self.targets:
                parts.append(without_maps(part, False))
        if not video:
            return
        events = finder.events(video, following.timelines)
        for line in event_json_lines(video, events) if self.as_json else event_lines(video, events):
            self.echo(line)
        if parts:
            target, edges = self.targets[video], self.recogniser.pose_meta.skeleton.edges
            frames = (
                (
                    s.seconds,
                    drawn_events(s.prediction, s.index, s.frame, edges, Course(events, s.seconds, following.end_s)),
                )
                for s in shown_frames(iter(parts), self.cutting.max_fps)
            )
            write_timed(target, frames, parts[0].seen.window.fps)
            self.echo(one_line(str(target)), err=True)

    def _warn(self, text: str) -> None:
        self.echo(text, err=True)

    def _annotated(
        self, predictions: Iterator[Prediction], interrupted: list[KeyboardInterrupt]
    ) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        """The annotated frames and their times; Ctrl-C ends them, so that the file is closed properly."""
        edges = self.recogniser.pose_meta.skeleton.edges
        try:
            for shown in shown_frames(self._printed(predictions), self.cutting.max_fps):
                yield shown.seconds, drawn(shown.prediction, shown.index, shown.frame, self.trained.names, edges)
        except KeyboardInterrupt as error:
            interrupted.append(error)

    def _printed(self, predictions: Iterator[Prediction]) -> Iterator[Prediction]:
        for prediction in predictions:
            self.print(prediction)
            yield prediction

    def print(self, prediction: Prediction) -> None:
        """One line per answer."""
        window = prediction.seen.window
        if prediction.latency_s is not None:
            self.latencies_s.append(prediction.latency_s)
            self.dropped += window.dropped
        found = window_result(prediction, self.trained.names)
        for line in found.json_lines(self.top) if self.as_json else found.table_lines(self.top):
            self.echo(line)

    def say_latency(self) -> None:
        """Summary of a live run."""
        if self.latencies_s:
            ordered = sorted(self.latencies_s)
            self.echo(
                f"{len(ordered)} windows; latency median {ordered[len(ordered) // 2]:.2f} s, "
                f"maximum {ordered[-1]:.2f} s; {self.dropped} frames dropped",
                err=True,
            )
