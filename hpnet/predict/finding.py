"""Events by trained networks: who does what from when to when in a video."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..core.events import Event
from ..events.labelling import Timeline
from .following import Following
from .recognise import Recogniser
from .windows import OnFailure, Window


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
        self.project = recogniser.project.without_frames()
        self.project.taught = recogniser.project.taught
        self.plain, learnt = self.project.event_rules(window_s)
        self.rule = learnt or self.plain

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
