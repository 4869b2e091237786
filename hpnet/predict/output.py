"""Output of ``hpnet predict``: a line or a JSON object per answer, annotated videos, failures, and latencies."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.video import write_timed
from ..work.console import note, one_line
from .drawing import drawn
from .project import TrainedProject
from .recognise import Prediction, Recogniser
from .suitability import Sureness
from .windows import Cutting, Footage

LIVE_WINDOWS = 5
"""After so many windows of a live source it is said whether the networks suit its people."""


def say(text: str, err: bool = False) -> None:
    """Print an answer on stdout, or with ``err`` a note on stderr."""
    if err:
        note(text)
    else:
        print(text, flush=True)


@dataclass(frozen=True)
class Shown:
    """A frame that a video of what was seen shows: ``index`` within the window of ``prediction``, and its time."""

    prediction: Prediction
    index: int
    seconds: float
    frame: NDArray[np.uint8]


def shown_frames(predictions: Iterator[Prediction], max_fps: float | None) -> Iterator[Shown]:
    """Every frame of the windows of one video once, in the first window that has it.

    Args:
        max_fps: the rate at which the windows were cut; a file's frames are read again.
    """
    upto = 0
    frames: Iterator[tuple[int, tuple[float, NDArray[np.uint8]]]] | None = None
    for prediction in predictions:
        window = prediction.seen.window
        if window.captured_s is not None:
            frames = enumerate(window.frames, window.first)
        elif frames is None:
            frames = enumerate(Footage(Path(window.video), max_fps))
        stop = window.first + prediction.seen.count
        for index, (seconds, frame) in frames:
            if index >= max(upto, window.first):
                yield Shown(prediction, index - window.first, seconds, frame)
            if index + 1 == stop:
                break
        upto = stop


@dataclass
class Output:
    """Prints answers, writes annotated videos, and keeps the failures and the latencies of live answers."""

    trained: TrainedProject
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
        stream = self._watched(itertools.chain([first], predictions))
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

    def _watched(self, predictions: Iterator[Prediction]) -> Iterator[Prediction]:
        """The same; says where the networks do not suit the people: at a video's end, and early where it has none."""
        sureness, video = Sureness(self.trained.params), ""
        for prediction in predictions:
            video = prediction.seen.window.video
            sureness.add(prediction.seen, prediction.poses)
            yield prediction
            if prediction.latency_s is not None and sureness.windows == LIVE_WINDOWS:
                self._warn(sureness, video)
        if sureness.windows < LIVE_WINDOWS or prediction.latency_s is None:
            self._warn(sureness, video)

    def _warn(self, sureness: Sureness, video: str) -> None:
        for comparison in sureness.comparisons():
            if not comparison.suits:
                self.echo(f"{one_line(video)}: warning: {comparison.warning}", err=True)

    def _annotated(
        self, predictions: Iterator[Prediction], interrupted: list[KeyboardInterrupt]
    ) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        """The annotated frames and their times; Ctrl-C ends them, so that the file is closed properly."""
        edges = self.recogniser.pose_meta.skeleton.edges
        try:
            for shown in shown_frames(self._printed(predictions), self.cutting.max_fps):
                yield shown.seconds, drawn(shown.prediction, shown.index, shown.frame, self.trained.classes, edges)
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
        for line in self.rows(prediction) if self.as_json else self.lines(prediction):
            self.echo(line)

    def rows(self, prediction: Prediction) -> Iterator[str]:
        """JSON lines."""
        window = prediction.seen.window
        when: dict[str, Any] = {
            "video": window.video,
            "window": window.number,
            "start_s": round(prediction.seen.start_s, 3),
            "end_s": round(prediction.seen.end_s, 3),
            "frames": [window.first, window.first + prediction.seen.count - 1],
        }
        if prediction.latency_s is not None:
            when |= {"latency_s": round(prediction.latency_s, 3), "dropped_frames": window.dropped}
        for answer in prediction.answers:
            actions = [{"name": self.trained.classes[k], "probability": round(p, 4)} for k, p in answer.top(self.top)]
            people = [
                {
                    "track": person.number,
                    "frames": (person.track.frames + window.first).tolist(),
                    "times_s": prediction.seen.times_s[person.track.frames].round(3).tolist(),
                    "boxes_xyxy_px": [[round(v, 1) for v in box] for box in person.track.boxes_xyxy_px.tolist()],
                }
                for person in answer.people
            ]
            yield json.dumps(
                {**when, "tracks": [p.number for p in answer.people], "actions": actions, "people": people}
            )
        if not prediction.answers:
            yield json.dumps({**when, "tracks": [], "actions": [], "people": []})

    def lines(self, prediction: Prediction) -> Iterator[str]:
        """Lines of a table."""
        window = prediction.seen.window
        when = f"{prediction.seen.start_s:7.2f}-{prediction.seen.end_s:.2f} s"
        video = one_line(window.video)
        for answer in prediction.answers:
            who = "+".join(str(person.number) for person in answer.people)
            actions = ", ".join(f"{self.trained.classes[k]} {p:.1%}" for k, p in answer.top(self.top))
            yield f"{video}  {when:<18} person {who:<6} {actions}"
        if not prediction.answers:
            yield f"{video}  {when:<18} no person was found"

    def say_latency(self) -> None:
        """Summary of a live run."""
        if self.latencies_s:
            ordered = sorted(self.latencies_s)
            self.echo(
                f"{len(ordered)} windows; latency median {ordered[len(ordered) // 2]:.2f} s, "
                f"maximum {ordered[-1]:.2f} s; {self.dropped} frames dropped",
                err=True,
            )
