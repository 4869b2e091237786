"""Timelines -> events: what the networks say of people over time, labelled and decoded. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core.events import Event, tiou
from .decoding import Decoder, Floats
from .durations import Durations
from .labelling import Head, Labeller, Threshold, Timeline, with_taught

RULE_FILE = "rule.json"
"""Of the stage ``events``."""
SAME_TIOU = 0.5
"""Events of one action whose overlap reaches this are one, where nobody in particular does it."""


@dataclass(frozen=True)
class Rule:
    """How events are found.

    Attributes:
        actions: names of the A actions.
        window_s: length of the windows that the networks read.
    """

    actions: tuple[str, ...]
    window_s: float
    labeller: Labeller
    decoder: Decoder

    def events(self, timelines: Sequence[Timeline]) -> list[Event]:
        """The events of a video in order of their beginnings; those of a person do not overlap."""
        found = []
        for timeline in timelines:
            found += self.events_of(timeline, with_taught(self.labeller.label(timeline), timeline.taught))
        return in_order(found)

    def events_of(self, timeline: Timeline, labels: Floats) -> list[Event]:
        """The events of one timeline, of its labels (n, A + 1)."""
        found = []
        for segment in self.decoder.decode(labels):
            start_s, end_s = timeline.step_times_s(segment.start, segment.end)
            action = self.actions[segment.label]
            found.append(Event(start_s, end_s, action, segment.probability, timeline.person))
        return found

    def knowing(self, taught: Sequence[str]) -> Rule:
        """With taught actions behind the others, which last as long as actions do on average."""
        durations = self.decoder.durations
        means, sds = durations.mean_log, durations.sd_log
        mean, spread = float(np.mean(means)), float(np.sqrt(np.mean(np.square(sds)) + np.var(means)))
        longer = Durations((*means, *[mean] * len(taught)), (*sds, *[spread] * len(taught)))
        return replace(self, actions=(*self.actions, *taught), decoder=replace(self.decoder, durations=longer))

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        decoder = self.decoder
        durations = {"mean_log": decoder.durations.mean_log, "sd_log": decoder.durations.sd_log}
        return {
            "actions": list(self.actions),
            "window_s": self.window_s,
            "labeller": self.labeller.to_json(),
            "durations": durations,
            "step_s": decoder.step_s,
            "weight": decoder.weight,
            "entry": decoder.entry,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Rule:
        """The inverse of :meth:`to_json`.

        Raises:
            KeyError, TypeError, ValueError: it is not what that wrote.
        """
        durations = Durations(*(tuple(map(float, raw["durations"][name])) for name in ("mean_log", "sd_log")))
        decoder = Decoder(durations, float(raw["step_s"]), float(raw["weight"]), float(raw["entry"]))
        kind = Head if "weights" in raw["labeller"] else Threshold
        labeller = kind.from_json(raw["labeller"])
        return cls(tuple(map(str, raw["actions"])), float(raw["window_s"]), labeller, decoder)


def in_order(events: Sequence[Event]) -> list[Event]:
    """By start, then by person."""
    return sorted(events, key=lambda event: (event.start_s, -1 if event.person is None else event.person))


def of_nobody(events: Sequence[Event]) -> list[Event]:
    """Events without persons: of those of one action at one time the most probable one."""
    kept: list[Event] = []
    for event in sorted(events, key=lambda e: -e.probability):
        if not any(event.action == other.action and tiou(event, other) >= SAME_TIOU for other in kept):
            kept.append(event)
    return in_order([Event(e.start_s, e.end_s, e.action, e.probability) for e in kept])


def of_sliding_windows(timelines: Sequence[Timeline], classes: Sequence[str], window_s: float) -> list[Event]:
    """What windows that overlap by half say, one after another: the baseline without background and durations.

    Each window's most probable action is that of its middle half; the same action of neighbours is one event.
    """
    found: list[Event] = []
    for timeline in timelines:
        hop = max(1, round(window_s / 2 / timeline.step_s))
        for start in range(0, len(timeline), hop):
            end = min(start + hop, len(timeline))
            chances = np.exp(timeline.log_probabilities[(start + end) // 2])
            start_s, end_s = timeline.step_times_s(start, end)
            event = Event(
                start_s, end_s, classes[int(chances.argmax())], min(1.0, float(chances.max())), timeline.person
            )
            last = found[-1] if found else None
            if start and last is not None and last.action == event.action:
                share = (last.probability * last.duration_s + event.probability * event.duration_s) / (
                    last.duration_s + event.duration_s
                )
                found[-1] = Event(last.start_s, event.end_s, event.action, min(1.0, share), event.person)
            else:
                found.append(event)
    return in_order(found)
