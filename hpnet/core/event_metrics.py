"""How right events are in time: detection, segmentation and idle time. Pure functions; nothing here touches a disk.

Truth and predictions are events per video. Where the truth names persons, each person of a video is a timeline of its
own and a prediction counts for its person alone (:func:`persons_of_tracks` gives tracks the numbers of the truth);
where it names none, persons of predictions are ignored. All measures are shares, 0 to 1.

- ``map_30``, ``map_50``, ``map_70``: mean average precision at a temporal IoU of 0.3, 0.5 and 0.7, as the THUMOS and
  ActivityNet challenges define it (Idrees et al. 2017; Caba Heilbron et al. 2015). For each class, predictions of all
  videos in falling order of probability; each takes the free truth of its class and timeline with which it overlaps
  most, if the overlap reaches the threshold; each truth once. Precision is made monotone, the area under it is the AP.
  The mean is over the classes that the truth has.
- ``f1_10``, ``f1_25``, ``f1_50``: segmental F1 of Lea et al. 2017: each prediction is compared with the truth of its
  class that it overlaps most. Mean over videos. A video without events, in which none is found, has 1.
- ``edit``: segmental edit score of Lea et al. 2016: 1 minus the Levenshtein distance of the orders of actions over the
  length of the longer one. Mean over the timelines of a video, then over videos.
- ``frame_accuracy``: share of instants with the right action; background is a class.
- ``idle_with_action``: share of the idle instants of the truth that are given an action.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .events import BACKGROUND, Event, actions_at, tiou_matrix
from .metrics import iou
from .statistics import Interval, percentile_interval

Floats = NDArray[np.float64]
EventsOf = Mapping[str, Sequence[Event]]
"""Video -> its events."""

TIOUS = (0.3, 0.5, 0.7)
OVERLAPS = (0.1, 0.25, 0.5)
RATE_FPS = 10.0
"""Instants per second of the measures of frames."""
LEAST_VIDEOS = 5
"""Fewer videos have no interval: resampling two or three says next to nothing."""
MEASURES = (
    *(f"map_{100 * tiou:.0f}" for tiou in TIOUS),
    *(f"f1_{100 * overlap:.0f}" for overlap in OVERLAPS),
    "edit",
    "frame_accuracy",
    "idle_with_action",
)
"""Names of all measures; the last is better if it is smaller."""


# --- one timeline -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Timeline:
    """Truth and predictions of one person of one video."""

    truth: list[Event]
    predicted: list[Event]


def _timelines(video: str, truth: Sequence[Event], predicted: Sequence[Event]) -> list[_Timeline]:
    """The timelines of one video; one without persons if its truth names none."""
    named = {event.person for event in truth}
    if not named or named == {None}:
        return [_Timeline(list(truth), [replace(event, person=None) for event in predicted])]
    people = named | {event.person for event in predicted}
    if None in people:
        whose = "truth" if None in named else "predictions"
        raise ValueError(f"video {video!r}: the {whose} has events of persons and events of nobody; expected one kind")
    return [
        _Timeline([e for e in truth if e.person == person], [e for e in predicted if e.person == person])
        for person in sorted(people, key=lambda number: -1 if number is None else number)
    ]


def detection_hits(truth: Sequence[Event], predicted: Sequence[Event], tiou: float) -> NDArray[np.bool_]:
    """Which predictions (P,) of one timeline find a truth of their action, each truth once, the most probable first."""
    overlap = _same_action(predicted, truth)
    hits = np.zeros(len(predicted), bool)
    free = np.ones(len(truth), bool)
    for row in sorted(range(len(predicted)), key=lambda n: -predicted[n].probability):
        candidates = np.where(free, overlap[row], -1.0)
        best = int(candidates.argmax()) if len(candidates) else -1
        if best >= 0 and candidates[best] >= tiou:
            hits[row], free[best] = True, False
    return hits


def segment_hits(truth: Sequence[Event], predicted: Sequence[Event], overlap: float) -> int:
    """Number of predictions of one timeline that are right as segmental F1 counts them, in the order of their starts.

    Unlike in :func:`detection_hits`, a prediction whose best truth is taken does not look for another.
    """
    ordered = sorted(predicted, key=lambda e: e.start_s)
    shared = _same_action(ordered, truth)
    used: set[int] = set()
    for row in shared:
        best = int(row.argmax()) if len(row) else -1
        if best >= 0 and row[best] >= overlap:
            used.add(best)
    return len(used)


def edit_score(truth: Sequence[Event], predicted: Sequence[Event]) -> float:
    """Segmental edit score of one timeline, 0 to 1; 1 if both have no events."""
    first, second = ([e.action for e in sorted(part, key=lambda e: e.start_s)] for part in (truth, predicted))
    longest = max(len(first), len(second))
    return 1.0 - _levenshtein(first, second) / longest if longest else 1.0


def _same_action(predicted: Sequence[Event], truth: Sequence[Event]) -> Floats:
    """Overlap (P, G) of events of the same action; 0 for different actions."""
    alike = np.array([[p.action == g.action for g in truth] for p in predicted], bool)
    return tiou_matrix(predicted, truth) * alike.reshape(len(predicted), len(truth))


def _levenshtein(first: Sequence[str], second: Sequence[str]) -> int:
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def average_precision(hits_in_order: ArrayLike, positives: float, weights: ArrayLike | None = None) -> float:
    """Interpolated AP of one class, as in ActivityNet: the area under the monotone precision over recall.

    Args:
        hits_in_order: (D,) whether each prediction is right, in falling order of probability.
        positives: number of truths.
        weights: (D,) how often each prediction counts.

    Raises:
        ValueError: there is no truth.
    """
    hits = np.asarray(hits_in_order, np.float64)
    counts = np.ones(len(hits)) if weights is None else np.asarray(weights, np.float64)
    value = _areas(hits, counts[None], np.array([float(positives)]))[0]
    if np.isnan(value):
        raise ValueError("average precision needs at least one true event")
    return float(value)


def _areas(hits: Floats, weights: Floats, positives: Floats) -> Floats:
    """AP (R,) of R weightings (R, D) of the predictions (D,); NaN where there are no positives (R,)."""
    found = np.cumsum(weights * hits, axis=1)  # (R, D)
    count = np.cumsum(weights, axis=1)
    precision = np.divide(found, count, out=np.zeros_like(found), where=count > 0)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    area = (envelope * weights * hits).sum(1)  # each right prediction raises the recall by its weight / positives
    return np.divide(area, positives, out=np.full(len(positives), np.nan), where=positives > 0)


# --- all videos -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Detections:
    """Predictions of one class at one threshold, in falling order of probability: video (D,), hit (D,)."""

    videos: NDArray[np.int64]
    hits: Floats


@dataclass(frozen=True)
class _Outcomes:
    """What every measure is a function of, of N videos, so that videos can be resampled without matching again.

    Attributes:
        detections: (threshold, action) -> predictions.
        truths: action -> number of true events per video (N,).
        ratios: measure -> numerator and denominator per video, (N,) each.
    """

    detections: dict[tuple[float, str], _Detections]
    truths: dict[str, Floats]
    ratios: dict[str, tuple[Floats, Floats]]

    def values(self, weights: Floats) -> dict[str, Floats]:
        """Every measure (R,) under R weightings (R, N) of the videos; NaN where it is undefined."""
        found: dict[str, Floats] = {}
        for tiou in TIOUS:
            areas = [
                _areas(part.hits, weights[:, part.videos], weights @ self.truths[action])
                for action in self.truths
                for part in (self.detections[tiou, action],)
            ]
            found[f"map_{100 * tiou:.0f}"] = _mean(np.stack(areas)) if areas else np.full(len(weights), np.nan)
        for name, (right, total) in self.ratios.items():
            most = weights @ total
            found[name] = np.divide(weights @ right, most, out=np.full(len(weights), np.nan), where=most > 0)
        return found


def _mean(values: Floats) -> Floats:
    """Mean (R,) over the first axis of (K, R), without NaN; NaN if all are."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(0)
    return np.divide(total, known.sum(0), out=np.full(values.shape[1], np.nan), where=known.any(0))


def _outcomes(truth: EventsOf, predicted: EventsOf, durations_s: Mapping[str, float], rate_fps: float) -> _Outcomes:
    videos = list(truth)
    unknown = sorted(set(predicted) - set(videos)) or sorted(set(videos) - set(durations_s))
    if not videos or unknown:
        what = f"video {unknown[0]!r} has no truth or no duration" if unknown else "there is no video"
        raise ValueError(f"{what}; expected the same videos in truth, predictions and durations")
    lines = [_timelines(video, truth[video], predicted.get(video, ())) for video in videos]
    actions = sorted({event.action for events in truth.values() for event in events})
    truths = {a: np.array([sum(e.action == a for e in truth[v]) for v in videos], np.float64) for a in actions}
    ratios = {f"f1_{100 * overlap:.0f}": _per_video([_f1(part, overlap) for part in lines]) for overlap in OVERLAPS}
    ratios["edit"] = _per_video([float(np.mean([edit_score(x.truth, x.predicted) for x in part])) for part in lines])
    counts = [_instants(part, durations_s[video], rate_fps) for video, part in zip(videos, lines, strict=True)]
    right, frames, given, idle = np.array(counts, np.float64).T
    ratios["frame_accuracy"], ratios["idle_with_action"] = (right, frames), (given, idle)
    return _Outcomes(_detections(lines, actions), truths, ratios)


def _per_video(scores: Sequence[float]) -> tuple[Floats, Floats]:
    return np.array(scores, np.float64), np.ones(len(scores))


def _detections(lines: Sequence[Sequence[_Timeline]], actions: Sequence[str]) -> dict[tuple[float, str], _Detections]:
    found = {}
    for tiou in TIOUS:
        rows: dict[str, list[tuple[float, int, bool]]] = {action: [] for action in actions}
        for video, part in enumerate(lines):
            for line in part:
                hits = detection_hits(line.truth, line.predicted, tiou)
                for event, hit in zip(line.predicted, hits, strict=True):
                    if event.action in rows:
                        rows[event.action].append((event.probability, video, bool(hit)))
        for action, own in rows.items():
            own.sort(key=lambda row: -row[0])
            videos = np.array([video for _, video, _ in own], np.int64)
            found[tiou, action] = _Detections(videos, np.array([hit for *_, hit in own], np.float64))
    return found


def _f1(lines: Sequence[_Timeline], overlap: float) -> float:
    """Segmental F1 of one video."""
    hits = sum(segment_hits(line.truth, line.predicted, overlap) for line in lines)
    events = sum(len(line.truth) + len(line.predicted) for line in lines)
    return 2 * hits / events if events else 1.0


def _instants(lines: Sequence[_Timeline], duration_s: float, rate_fps: float) -> tuple[int, int, int, int]:
    """Of one video: right instants, instants, idle instants that are given an action, idle instants."""
    times = ((np.arange(max(1, round(duration_s * rate_fps))) + 0.5) / rate_fps).tolist()
    pairs = [pair for line in lines for pair in _labels(line, times)]
    idle = [found for true, found in pairs if true == BACKGROUND]
    given = sum(found != BACKGROUND for found in idle)
    return sum(true == found for true, found in pairs), len(pairs), given, len(idle)


def _labels(line: _Timeline, times_s: Sequence[float]) -> list[tuple[str, str]]:
    """The true and the predicted action at each instant."""
    return list(zip(actions_at(line.truth, times_s), actions_at(line.predicted, times_s), strict=True))


def measures(
    truth: EventsOf, predicted: EventsOf, durations_s: Mapping[str, float], rate_fps: float = RATE_FPS
) -> dict[str, float]:
    """Every measure of :data:`MEASURES`, by name; NaN where it is undefined (no true event, or no idle time).

    Args:
        truth: every video, also those without events.
        predicted: videos that are missing have no predictions.
        durations_s: length of every video.
        rate_fps: instants per second of the measures of frames.

    Raises:
        ValueError: no video, a video without truth or duration, or events of persons beside events of nobody.
    """
    outcomes = _outcomes(truth, predicted, durations_s, rate_fps)
    return {name: float(value[0]) for name, value in outcomes.values(np.ones((1, len(truth)))).items()}


def measure_intervals(
    truth: EventsOf,
    predicted: EventsOf,
    durations_s: Mapping[str, float],
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """:func:`measures` with bootstrap intervals: videos are resampled with all their events.

    The ends are NaN where there are fewer than :data:`LEAST_VIDEOS`.
    """
    outcomes = _outcomes(truth, predicted, durations_s, RATE_FPS)
    plain, drawn = outcomes.values(np.ones((1, len(truth)))), outcomes.values(_weights(len(truth), resamples, seed))
    return {name: _interval(float(plain[name][0]), drawn[name], level, len(truth)) for name in plain}


def difference_intervals(
    truth: EventsOf,
    first: EventsOf,
    second: EventsOf,
    durations_s: Mapping[str, float],
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """``second`` minus ``first`` in every measure, with intervals from common resamples of the videos."""
    weights = _weights(len(truth), resamples, seed)
    parts = [_outcomes(truth, predicted, durations_s, RATE_FPS) for predicted in (first, second)]
    plain = [part.values(np.ones((1, len(truth)))) for part in parts]
    drawn = [part.values(weights) for part in parts]
    return {
        name: _interval(
            float(plain[1][name][0] - plain[0][name][0]), drawn[1][name] - drawn[0][name], level, len(truth)
        )
        for name in plain[0]
    }


def _weights(videos: int, resamples: int, seed: int) -> Floats:
    """How often each video occurs in each resample, (R, N)."""
    return np.random.default_rng(seed).multinomial(videos, np.full(videos, 1 / videos), resamples).astype(np.float64)


def _interval(value: float, draws: Floats, level: float, units: int) -> Interval:
    known = draws[~np.isnan(draws)]
    if np.isnan(value) or not len(known) or units < LEAST_VIDEOS:
        return Interval(value, np.nan, np.nan, level, units)
    return percentile_interval(value, known, level, units)


# --- persons ----------------------------------------------------------------------------------------------------------


def persons_of_tracks(
    tracks_xyxy_px: Mapping[int, ArrayLike], truth_xyxy_px: Mapping[int, ArrayLike]
) -> dict[int, int]:
    """Track -> the true person whose boxes it overlaps most; by position alone, no action is looked at.

    Several tracks may be one person's, as where a track breaks. A track that overlaps nobody gets a number of its own,
    above those of the truth: its events are wrong.

    Args:
        tracks_xyxy_px, truth_xyxy_px: per track or person (T, 4) of the same frames; NaN where there is no box.
    """
    own = 1 + max(truth_xyxy_px, default=-1)
    found = {}
    for at, (track, boxes) in enumerate(sorted(tracks_xyxy_px.items())):
        shared = {p: float(np.nan_to_num(iou(boxes, true)).sum()) for p, true in sorted(truth_xyxy_px.items())}
        best = max(shared, key=lambda person: shared[person], default=-1)
        found[track] = best if best >= 0 and shared[best] > 0 else own + at
    return found
