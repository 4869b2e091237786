"""Events of a trained project: who does what from when to when in a video."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..artifacts.scores import Scores
from ..core.events import BACKGROUND, Event
from ..core.streams import MULTIMODAL
from ..events.decoding import Decoder
from ..events.durations import Durations, fit_durations
from ..events.labelling import Labeller, Threshold, Timeline, actions_of
from .following import STEPS, Following
from .project import FALLBACK_WINDOW_S, TrainedProject
from .recognise import Recogniser
from .windows import OnFailure, Window

EVIDENCE = 2.0 / STEPS
"""How much a step counts: windows of neighbouring steps share most of their frames."""
ENTRY_LOG = -1.0
"""Of beginning an action, where no untrimmed video says better."""
SURE_SHARE = 0.05
"""An action is as sure as all but this share of the validation clips that were recognised."""
MOST_SURE = 0.95
UNSURE = 0.5
"""The probability that an action must exceed where there are no such clips."""


@dataclass(frozen=True)
class VideoEvent(Event):
    """An event of a video.

    Attributes:
        video: path, or ``frames`` for an array.

    >>> event.action, event.person, event.start_s < event.end_s
    ('wave', 0, True)
    """

    video: str = field(default="", kw_only=True)


class EventFinder:
    """Finds events with the networks of a recogniser.

    Args:
        recogniser: its detector and pose network are used, and its streams that read no person frames.
        window_s: length of the windows that the streams read.

    Raises:
        ValueError: the only stream is ``multimodal``.
    """

    def __init__(self, recogniser: Recogniser, window_s: float) -> None:
        self.eyes = recogniser.eyes
        self.window_s = window_s
        self.project = _without_frames(recogniser.project)
        self.actions = actions_of(self.project.classes)
        self.labeller: Labeller = _threshold(self.project)
        durations = _training_durations(self.project, self.actions)
        self.decoder = Decoder(durations, window_s / STEPS, EVIDENCE, ENTRY_LOG)

    def follow(self, windows: Iterable[Window], on_failure: OnFailure) -> Following:
        """Watch a video once, in the parts of :func:`hpnet.predict.following.parts_of`."""
        return Following(self.project, self.eyes, windows, self.window_s, on_failure)

    def events(self, video: str, timelines: Sequence[Timeline]) -> list[VideoEvent]:
        """The events of a video that was watched to its end, in order of their beginnings."""
        found = []
        for timeline in timelines:
            for segment in self.decoder.decode(self.labeller.label(timeline)):
                start_s, end_s = timeline.step_times_s(segment.start, segment.end)
                action = self.actions[segment.label]
                found.append(VideoEvent(start_s, end_s, action, segment.probability, timeline.person, video=video))
        return sorted(found, key=lambda event: (event.start_s, event.person))


def _without_frames(project: TrainedProject) -> TrainedProject:
    """The project with the streams alone that read no person frames."""
    streams = [stream for stream in project.models if stream != MULTIMODAL]
    if len(streams) == len(project.models):
        return project
    if not streams:
        raise ValueError(
            f"the stream {MULTIMODAL} finds no events, because it reads whole windows: "
            "use one of the streams hpj to hpbm"
        )
    return TrainedProject(project.project.root, streams, str(project.device))


def _threshold(project: TrainedProject) -> Threshold:
    """A background that is as probable as the least sure answers that are right, on validation clips."""
    background = project.classes.index(BACKGROUND) if BACKGROUND in project.classes else -1
    logits = {stream: project.project.train(stream) / "scores.parquet" for stream in project.models}
    if not all(file.is_file() for file in logits.values()):
        return Threshold(UNSURE, background)
    scores = {stream: Scores.load(file).split("val") for stream, file in logits.items()}
    first = next(iter(scores.values()))
    if any(one.clip_ids != first.clip_ids for one in scores.values()):
        return Threshold(UNSURE, background)
    chances = project.probabilities({stream: one.logits for stream, one in scores.items()})
    right = (chances.argmax(1) == first.labels) & (first.labels >= 0)
    if not right.any():
        return Threshold(UNSURE, background)
    level = float(np.quantile(chances[right].max(1), SURE_SHARE))
    return Threshold(min(max(level, 1 / (1 + len(project.classes))), MOST_SURE), background)


def _training_durations(project: TrainedProject, actions: Sequence[str]) -> Durations:
    """How long the training clips of each action are."""
    table = project.training_clips()
    examples: list[list[float]] = [[] for _ in actions]
    if not table.empty:
        seconds = (table.frames / table.fps).tolist()
        for label, length in zip(table.label.tolist(), seconds, strict=True):
            if label >= 0 and project.classes[label] in actions:
                examples[actions.index(project.classes[label])].append(length)
    return fit_durations(examples if any(examples) else [[FALLBACK_WINDOW_S]] * len(actions))
