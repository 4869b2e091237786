"""Events of a trained project: who does what from when to when in a video."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..artifacts.files import read_object
from ..artifacts.scores import Scores
from ..core.events import BACKGROUND, Event
from ..core.streams import MULTIMODAL
from ..events.decoding import Decoder
from ..events.durations import Durations, fit_durations
from ..events.finding import RULE_FILE, Rule
from ..events.labelling import Threshold, Timeline, actions_of
from .following import STEPS, Following
from .project import FALLBACK_WINDOW_S, TrainedProject
from .recognise import Recogniser
from .windows import OnFailure, Window

EVIDENCE = 2.0 / STEPS
"""How much a step counts: windows of neighbouring steps share most of their frames."""
ENTRY = -1.0
"""What it costs to begin an action, where no untrimmed video says better."""
SURE_SHARE = 0.05
"""An action is as sure as all but this share of the validation clips that were recognised."""
MOST_SURE = 0.95
UNSURE = 0.5
"""The probability that an action must exceed where there are no such clips."""
_SAME_S = 1e-3


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
        self.project.taught = recogniser.project.taught
        self.plain = _plain_rule(self.project, window_s)
        self.rule = _learnt_rule(self.project, self.plain) or self.plain

    def follow(self, windows: Iterable[Window], on_failure: OnFailure) -> Following:
        """Watch a video once, in the parts of :func:`hpnet.predict.following.parts_of`."""
        return Following(self.project, self.eyes, windows, self.window_s, on_failure)

    def events(self, video: str, timelines: Sequence[Timeline]) -> list[VideoEvent]:
        """The events of a video that was watched to its end, in order of their beginnings."""
        taught = self.project.taught
        rule = self.rule if taught is None else self.rule.knowing(taught.names)
        return [
            VideoEvent(event.start_s, event.end_s, event.action, event.probability, event.person, video=video)
            for event in rule.events(timelines)
        ]


def _plain_rule(project: TrainedProject, window_s: float) -> Rule:
    """What the trimmed clips of training say of durations and background."""
    actions = actions_of(project.classes)
    decoder = Decoder(_training_durations(project, actions), window_s / STEPS, EVIDENCE, ENTRY)
    return Rule(tuple(actions), window_s, _threshold(project), decoder)


def _learnt_rule(project: TrainedProject, plain: Rule) -> Rule | None:
    """What the stage ``events`` learnt from untrimmed videos; None if it did not run, or read other windows.

    Raises:
        ValueError: the file is broken, or is of other actions.
    """
    file = project.project.events / RULE_FILE
    if not file.is_file():
        return None
    try:
        rule = Rule.from_json(read_object(file))
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"{file} is not what `hpnet events` writes: run `hpnet events` again") from None
    if rule.actions != plain.actions:
        raise ValueError(f"{file} is of other actions than the networks: run `dvc repro`, or `hpnet events`")
    return rule if abs(rule.window_s - plain.window_s) < _SAME_S else None


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
