"""Untrimmed videos with known events -> the rule that finds events. Pure functions.

Nothing here sees a test video: the background is learnt, and the two costs of the decoder are chosen, on videos of
training and validation, out of fold by source.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from ..core.event_metrics import measures
from ..core.events import BACKGROUND, Event, actions_at
from .durations import Durations, fit_durations
from .finding import Rule, of_nobody
from .labelling import Background, Timeline, readings
from .params import EventsParams

WEIGHTS = (0.12, 0.25, 0.5, 1.0)
ENTRIES = (-2.0, -1.0, -0.5, 0.0, 0.5)
"""What is tried: how much a step's evidence counts, and what beginning an action costs."""
STRENGTH = 0.1
"""Inverse strength of the regression's penalty, on readings of variance 1."""


@dataclass(frozen=True)
class Boxes:
    """Where a track is: frames (n,) of the video, rising, and boxes (n, 4) in pixels."""

    frames: NDArray[np.int64]
    boxes_xyxy_px: NDArray[np.float32]

    @classmethod
    def of(cls, boxes: Mapping[int, NDArray[np.float32]]) -> Boxes:
        """From frame -> box (4,)."""
        frames = sorted(boxes)
        return cls(np.array(frames, np.int64), np.array([boxes[f] for f in frames], np.float32).reshape(-1, 4))

    def over(self, count: int) -> NDArray[np.float64]:
        """(count, 4): a box per frame of a video, NaN where there is none."""
        whole = np.full((count, 4), np.nan)
        kept = self.frames < count
        whole[self.frames[kept]] = self.boxes_xyxy_px[kept]
        return whole


@dataclass(frozen=True)
class Watched:
    """An untrimmed video as the networks see it: the timelines of its people, and where each track is."""

    timelines: Sequence[Timeline]
    boxes: Mapping[int, Boxes]


@dataclass(frozen=True)
class Example:
    """A video to learn from.

    Attributes:
        timelines: whose ``person`` are those of the truth.
        truth: its events, each of a person; or all of nobody.
        duration_s: its length.
        source: the person or recording that it comes from: videos of one source are never on both sides of a fold.
    """

    timelines: Sequence[Timeline]
    truth: Sequence[Event]
    duration_s: float
    source: str


@dataclass(frozen=True)
class Learnt:
    """The rule, and how good it was out of fold.

    Attributes:
        chosen: measures of the rule on the examples, each by a regression that was fitted without its fold.
        tried: how many choices of weight and entry were compared.
    """

    rule: Rule
    chosen: Mapping[str, float]
    tried: int


def learn(examples: Sequence[Example], classes: Sequence[str], plain: Rule, params: EventsParams) -> Learnt:
    """Learn durations and background, and choose how much evidence and beginnings count.

    Args:
        examples: of training and validation.
        classes: names of the K classes of the networks.
        plain: the rule without untrimmed videos.
        params: of the stage.

    Raises:
        ValueError: the examples have no event at all, or no idle time.
    """
    durations = _durations(examples, plain)
    reach_s = plain.window_s / 2
    folds = folds_by_source([example.source for example in examples], params.folds)
    backgrounds = [
        _fit(examples, [k for k, fold in enumerate(folds) if fold != held or len(set(folds)) == 1], classes, reach_s)
        for held in sorted(set(folds))
    ]
    tried: list[tuple[float, Rule, dict[str, float]]] = []
    truth = {str(k): list(example.truth) for k, example in enumerate(examples)}
    lengths = {str(k): example.duration_s for k, example in enumerate(examples)}
    for weight, entry in itertools.product(WEIGHTS, ENTRIES):
        decoder = replace(plain.decoder, durations=durations, weight=weight, entry=entry)
        found = {}
        for k, example in enumerate(examples):
            rule = replace(plain, labeller=backgrounds[folds[k]], decoder=decoder)
            found[str(k)] = events_like(rule.events(example.timelines), example.truth)
        measured = measures(truth, found, lengths)
        tried.append((_worth(measured), replace(plain, decoder=decoder), measured))
    _, rule, chosen = max(tried, key=lambda one: one[0])
    whole = _fit(examples, range(len(examples)), classes, reach_s)
    return Learnt(replace(rule, labeller=whole), chosen, len(tried))


def folds_by_source(sources: Sequence[str], count: int) -> list[int]:
    """A fold for each video, whole sources together, the largest source first into the smallest fold."""
    sizes = Counter(sources)
    filled = [0] * min(count, len(sizes))
    fold_of: dict[str, int] = {}
    for source, size in sorted(sizes.items(), key=lambda one: (-one[1], one[0])):
        fold_of[source] = int(np.argmin(filled))
        filled[fold_of[source]] += size
    return [fold_of[source] for source in sources]


def events_like(found: Sequence[Event], truth: Sequence[Event]) -> list[Event]:
    """Found events in the way of the truth: of nobody where that names no person."""
    return of_nobody(found) if truth and truth[0].person is None else list(found)


def _worth(measured: Mapping[str, float]) -> float:
    """What is chosen by: half detection, half segmentation, less the idle time that is given an action."""
    idle = measured["idle_with_action"]
    return float((measured["map_50"] + measured["f1_50"]) / 2 - (0.0 if np.isnan(idle) else idle))


def _durations(examples: Sequence[Example], plain: Rule) -> Durations:
    seconds: list[list[float]] = [[] for _ in plain.actions]
    for example in examples:
        for event in example.truth:
            if event.action in plain.actions:
                seconds[plain.actions.index(event.action)].append(event.duration_s)
    if not any(seconds):
        raise ValueError("the untrimmed videos of train and val have none of the networks' actions: nothing to learn")
    return fit_durations(seconds)


def _fit(examples: Sequence[Example], chosen: Iterable[int], classes: Sequence[str], reach_s: float) -> Background:
    """The regression of some examples."""
    read, idle = [], []
    for example in (examples[k] for k in chosen):
        for timeline in example.timelines:
            own = [e for e in example.truth if e.person is None or e.person == timeline.person]
            times_s = ((timeline.first + np.arange(len(timeline)) + 0.5) * timeline.step_s).tolist()
            read.append(readings(timeline, reach_s))
            idle += [action == BACKGROUND for action in actions_at(own, times_s)]
    background = list(classes).index(BACKGROUND) if BACKGROUND in classes else -1
    if len(set(idle)) < 2:
        how = "always" if idle and idle[0] else "never"
        raise ValueError(
            f"people in the untrimmed videos of train and val are {how} idle: background cannot be told from actions; "
            "give videos with both"
        )
    values = np.concatenate(read)
    middle, spread = values.mean(0), values.std(0) + 1e-6
    fitted = LogisticRegression(C=STRENGTH, max_iter=500).fit((values - middle) / spread, np.array(idle))
    weights = fitted.coef_[0] / spread
    return Background(weights, float(fitted.intercept_[0] - weights @ middle), reach_s, background)
