"""Untrimmed videos with known events -> the rule that finds events. Pure functions.

Nothing here sees a test video: a regression is learnt, and what the decoder is told is chosen, on videos of training
and validation, out of fold by source.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from ..core.event_metrics import measures
from ..core.events import BACKGROUND, Event, actions_at
from ..core.softmax import log_softmax
from .durations import Durations, fit_durations
from .finding import Rule, in_order, of_nobody
from .labelling import LEAST_LOG, Head, Timeline, readings
from .params import EventsParams

WEIGHTS = (0.12, 0.25, 0.5)
ENTRIES = (-0.5, 0.0, 0.5, 1.0)
TRUSTS = (0.0, 0.5, 1.0)
LEANS = (0.0, 1.0)
"""What is tried: how much a step's evidence counts, what beginning an action costs, how much the regression's answer
counts beside the networks', and by how much the log odds of the background are raised."""
STRENGTHS = (0.001, 0.003, 0.01)
"""Inverse strengths of the regression's penalty, on readings of variance 1, that are tried."""
LEAST_EVENTS = 3
"""Of an action with fewer examples the networks' answer counts alone."""
MOST_STEPS = 20_000
"""The regression is fitted to so many steps at most: every second one, every third and so on."""
IDLE_COUNTS = 2.0
"""A percent of idle time that is given an action counts as much as so many percent of the events."""


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
        tried: how many choices were compared.
    """

    rule: Rule
    chosen: Mapping[str, float]
    tried: int


def learn(examples: Sequence[Example], classes: Sequence[str], plain: Rule, params: EventsParams) -> Learnt:
    """Learn durations, actions and background, and choose how much each counts.

    The regression's penalty is the one with the least log loss out of fold. Weight, entry, trust and lean are those
    whose events are the best out of fold.

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
    background = list(classes).index(BACKGROUND) if BACKGROUND in classes else -1
    told = [_told(example, plain.actions, reach_s) for example in examples]
    folds = folds_by_source([example.source for example in examples], params.folds)
    parts = [[k for k, fold in enumerate(folds) if fold != held or len(set(folds)) == 1] for held in sorted(set(folds))]
    fitted = {
        strength: [_fit([told[k] for k in part], strength, reach_s, background) for part in parts]
        for strength in STRENGTHS
    }
    losses = {
        strength: sum(_loss(heads[fold], one) for one, fold in zip(told, folds, strict=True))
        for strength, heads in fitted.items()
    }
    strength = min(losses, key=lambda one: losses[one])
    tried: list[tuple[float, Rule, tuple[float, float], dict[str, float]]] = []
    truth = {str(k): list(example.truth) for k, example in enumerate(examples)}
    lengths = {str(k): example.duration_s for k, example in enumerate(examples)}
    for trust, lean in itertools.product(TRUSTS, LEANS):
        heads = [_biased(fitted[strength][fold], trust, lean) for fold in folds]
        labels = [_labels(*one) for one in zip(heads, examples, told, strict=True)]
        for weight, entry in itertools.product(WEIGHTS, ENTRIES):
            rule = replace(plain, decoder=replace(plain.decoder, durations=durations, weight=weight, entry=entry))
            found = {str(k): _events(rule, *one) for k, one in enumerate(zip(examples, labels, strict=True))}
            measured = measures(truth, found, lengths)
            tried.append((_worth(measured), rule, (trust, lean), measured))
    _, rule, (trust, lean), chosen = max(tried, key=lambda one: one[0])
    whole = _biased(_fit(told, strength, reach_s, background), trust, lean)
    return Learnt(replace(rule, labeller=whole), chosen, len(STRENGTHS) + len(tried))


def _biased(head: Head, trust: float, lean: float) -> Head:
    """A regression that counts so much, and takes the background for more probable by so much."""
    biases = head.biases.copy()
    biases[-1] += lean
    return replace(head, trust=trust, biases=biases)


def _labels(head: Head, example: Example, told: _Told) -> list[NDArray[np.float64]]:
    """(n, A + 1) of every timeline of a video."""
    return [head.labelled(line, read) for line, read in zip(example.timelines, told.readings, strict=True)]


def _events(rule: Rule, example: Example, labels: Sequence[NDArray[np.float64]]) -> list[Event]:
    """The events of a video, in the way of its truth."""
    pairs = zip(example.timelines, labels, strict=True)
    return events_like(in_order([e for line, own in pairs for e in rule.events_of(line, own)]), example.truth)


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
    return float((measured["map_50"] + measured["f1_50"]) / 2 - (0.0 if np.isnan(idle) else IDLE_COUNTS * idle))


def _durations(examples: Sequence[Example], plain: Rule) -> Durations:
    seconds: list[list[float]] = [[] for _ in plain.actions]
    for example in examples:
        for event in example.truth:
            if event.action in plain.actions:
                seconds[plain.actions.index(event.action)].append(event.duration_s)
    if not any(seconds):
        raise ValueError("the untrimmed videos of train and val have none of the networks' actions: nothing to learn")
    return fit_durations(seconds)


@dataclass(frozen=True)
class _Told:
    """What a regression learns from a video.

    Attributes:
        readings: (n, F) of every timeline.
        labels: (n,) of every timeline: number of the action, A for the background.
        events: (A,) how many events it has of each action.
    """

    readings: list[NDArray[np.float64]]
    labels: list[NDArray[np.int64]]
    events: NDArray[np.int64]


def _told(example: Example, actions: Sequence[str], reach_s: float) -> _Told:
    number = {action: n for n, action in enumerate([*actions, BACKGROUND])}
    known = [event for event in example.truth if event.action in number]
    labels = []
    for line in example.timelines:
        own = [event for event in known if event.person is None or event.person == line.person]
        times_s = ((line.first + np.arange(len(line)) + 0.5) * line.step_s).tolist()
        labels.append(np.array([number[action] for action in actions_at(own, times_s)], np.int64))
    counts = Counter(event.action for event in known)
    read = [readings(line, reach_s) for line in example.timelines]
    return _Told(read, labels, np.array([counts[action] for action in actions], np.int64))


def _fit(told: Sequence[_Told], strength: float, reach_s: float, background: int) -> Head:
    """The regression of some videos."""
    values = np.concatenate([read for one in told for read in one.readings])
    labels = np.concatenate([own for one in told for own in one.labels])
    events = np.sum([one.events for one in told], axis=0)
    actions = len(events)
    idle = labels == actions
    if idle.all() or not idle.any():
        how = "always" if len(idle) and idle[0] else "never"
        raise ValueError(
            f"people in the untrimmed videos of train and val are {how} idle: background cannot be told from actions; "
            "give videos with both"
        )
    middle, spread = values.mean(0), values.std(0) + 1e-6
    step = -(-len(values) // MOST_STEPS)
    fitted = LogisticRegression(C=strength, max_iter=200).fit((values[::step] - middle) / spread, labels[::step])
    coefficients, intercepts = fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:  # the odds of the second one alone
        coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
        intercepts = np.concatenate([np.zeros(1), intercepts])
    weights, biases = np.zeros((actions + 1, values.shape[1])), np.full(actions + 1, LEAST_LOG)
    weights[fitted.classes_] = coefficients / spread
    biases[fitted.classes_] = intercepts - weights[fitted.classes_] @ middle
    return Head(weights, biases, events >= LEAST_EVENTS, 1.0, reach_s, background)


def _loss(head: Head, told: _Told) -> float:
    """Log loss, summed over the steps of a video."""
    total = 0.0
    for read, labels in zip(told.readings, told.labels, strict=True):
        logs = log_softmax(read @ head.weights.T + head.biases).clip(LEAST_LOG)
        total -= float(logs[np.arange(len(labels)), labels].sum())
    return total
