"""Boxes of a clip -> tracks, by ByteTrack (Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every
Detection Box", ECCV 2022).

A track expects its box by a Kalman filter of constant velocity, whose state is the box's centre, aspect and height.
Confident boxes are given to tracks first, at the least total of 1 - IoU x score; then less confident ones to the tracks
that were left, by IoU alone. The four numbers of a box do not depend on each other, so each has a filter of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import lap
import numpy as np
from numpy.typing import NDArray

from ..core.metrics import iou_matrix
from .detector import LOW_SCORE, Detection
from .tracking import Track

Floats = NDArray[np.float64]
SECOND_LIMIT = 0.5
"""Of 1 - IoU, between a track that was left and a box that is not confident."""
NEW_LIMIT = 0.7
"""Of 1 - IoU x score, between a track of a single box and its second one."""
SAME_DISTANCE = 0.15
"""A track and a lost one that are nearer than this 1 - IoU are one person; the one that lived longer stays."""
PLACE_SD, SPEED_SD = 1 / 20, 1 / 160
"""Standard deviations of the filter's noise, as shares of the box's height: of places, and of speeds per step."""
ASPECT_SD, ASPECT_SPEED_SD, ASPECT_SEEN_SD = 1e-2, 1e-5, 1e-1
"""Those of the aspect, and of the aspect that is seen."""

_CARRIED = -1
"""Row of a box that is no detection."""


@dataclass(frozen=True)
class TrackerOptions:
    """How boxes are joined.

    Attributes:
        high, low: boxes from ``high`` are given out first; those above ``low`` may continue a track.
        new: boxes from this score start a track.
        kept_steps: a person who was not seen for more steps is lost.
        limit: of 1 - IoU x score, between a track and a confident box.
    """

    high: float
    low: float
    new: float
    kept_steps: int
    limit: float


def tracker_options(rate_fps: float, confidence: float) -> TrackerOptions:
    """Tracker settings for ``rate_fps`` detections per second.

    A lost person is kept for one second. At low rates boxes of successive steps overlap less. So the tracker's limit on
    1 - IoU x score is its published 0.8 at 30 per second and above, and rises linearly to 1 below.
    """
    return TrackerOptions(
        high=confidence,
        low=min(LOW_SCORE, confidence),
        new=confidence,
        kept_steps=max(1, round(rate_fps)),
        limit=1 - 0.2 * min(1.0, rate_fps / 30),
    )


def track(detections: Sequence[Detection], frames: Sequence[int], *, rate_fps: float, confidence: float) -> list[Track]:
    """Join the detections of one clip into tracks.

    The boxes of a track are the detections themselves, not the filter's estimates, from its very first detection on.
    A track that starts after the first step needs two detections in a row.

    Args:
        detections: one entry per step.
        frames: the frame index of each step, rising.
        rate_fps: steps per second.
        confidence: least score that starts a track; detections down to ``LOW_SCORE`` may continue one.

    Returns:
        Tracks in order of their first appearance, with gaps where the person was not detected.
    """
    tracker = _Tracker(tracker_options(rate_fps, confidence))
    for boxes, scores in detections:
        tracker.step(boxes, scores)
    return [
        Track(
            frames=np.array([frames[step] for step, _ in person.seen], dtype=np.int64),
            boxes_xyxy_px=np.stack([detections[step][0][row] for step, row in person.seen]).astype(np.float32),
            scores=np.array([detections[step][1][row] for step, row in person.seen], dtype=np.float32),
        )
        for person in tracker.everybody
        if person.confirmed
    ]


class OnlineTracker:
    """The same for boxes that come one step after another, for any time: what is over is forgotten.

    Between two looks of a detector something else may know where people are; see :meth:`carried`.
    """

    def __init__(self) -> None:
        self._tracker = _Tracker(tracker_options(1.0, 0.0))
        self._numbers: dict[_Person, int] = {}
        self._next = 0

    @property
    def numbers(self) -> set[int]:
        """The people who are seen, or are waited for."""
        return set(self._numbers.values())

    @property
    def is_unsure(self) -> bool:
        """Whether there is somebody who is not a person yet, because they were detected only once."""
        return any(not person.confirmed for person in self._tracker.present)

    def detected(self, detection: Detection, options: TrackerOptions) -> dict[int, int]:
        """A step with a detector: a person's number -> the row of their detection."""
        step = self._tracker.count
        self._tracker.options = options
        self._tracker.step(*detection)
        found = {}
        for person in self._tracker.present:
            if person.confirmed and person not in self._numbers:
                self._numbers[person] = self._next
                self._next += 1
            if person.confirmed and person.last_step == step:
                found[self._numbers[person]] = person.seen[-1][1]
        self._forget()
        return found

    def carried(self, boxes_xyxy_px: Mapping[int, NDArray[np.floating]]) -> None:
        """A step without a detector: boxes (4,) of people, by their numbers; the others are where they are expected."""
        self._tracker.follow({p: boxes_xyxy_px[n] for p, n in self._numbers.items() if n in boxes_xyxy_px})
        self._forget()

    def _forget(self) -> None:
        tracker = self._tracker
        tracker.everybody = []
        known = {*tracker.present, *tracker.lost}
        self._numbers = {person: number for person, number in self._numbers.items() if person in known}
        for person in known:
            del person.seen[1:-1]  # the first and the last say how old a person is


@dataclass(eq=False)
class _Person:
    """A track that is being made.

    Attributes:
        place, speed: (4,) of centre x, centre y, aspect and height.
        place_var, shared_var, speed_var: (4,) their variances, and the covariance of place and speed.
        seen: (step, row of the detection).
        confirmed: began at the first step, or has two detections.
        lost: was not seen in the latest step.
        given_up: is not waited for any more.
    """

    place: Floats
    speed: Floats
    place_var: Floats
    shared_var: Floats
    speed_var: Floats
    seen: list[tuple[int, int]]
    confirmed: bool
    lost: bool = False
    given_up: bool = False

    @classmethod
    def new(cls, box: Floats, step: int, row: int) -> _Person:
        place = _place(box)
        height = place[3]
        place_sd = np.array([2 * PLACE_SD * height, 2 * PLACE_SD * height, ASPECT_SD, 2 * PLACE_SD * height])
        speed_sd = np.array([10 * SPEED_SD * height, 10 * SPEED_SD * height, ASPECT_SPEED_SD, 10 * SPEED_SD * height])
        return cls(place, np.zeros(4), place_sd**2, np.zeros(4), speed_sd**2, [(step, row)], confirmed=step == 0)

    @property
    def last_step(self) -> int:
        return self.seen[-1][0]

    @property
    def age(self) -> int:
        return self.last_step - self.seen[0][0]

    @property
    def box(self) -> Floats:
        """(4,) xyxy, where the filter believes the person to be."""
        x, y, aspect, height = self.place
        half = np.array([aspect * height, height]) / 2
        return np.concatenate([[x, y] - half, [x, y] + half])

    def expect(self) -> None:
        """One step ahead; a lost person keeps the height."""
        height = self.place[3]
        place_sd = np.array([PLACE_SD * height, PLACE_SD * height, ASPECT_SD, PLACE_SD * height])
        speed_sd = np.array([SPEED_SD * height, SPEED_SD * height, ASPECT_SPEED_SD, SPEED_SD * height])
        if self.lost:
            self.speed[3] = 0
        self.place = self.place + self.speed
        self.place_var = self.place_var + 2 * self.shared_var + self.speed_var + place_sd**2
        self.shared_var = self.shared_var + self.speed_var
        self.speed_var = self.speed_var + speed_sd**2

    def see(self, box: Floats, step: int, row: int) -> None:
        """A detection of this person."""
        height = self.place[3]
        seen_sd = np.array([PLACE_SD * height, PLACE_SD * height, ASPECT_SEEN_SD, PLACE_SD * height])
        total = self.place_var + seen_sd**2
        gain, speed_gain = self.place_var / total, self.shared_var / total
        away = _place(box) - self.place
        self.place, self.speed = self.place + gain * away, self.speed + speed_gain * away
        self.speed_var = self.speed_var - speed_gain * self.shared_var
        self.place_var, self.shared_var = (1 - gain) * self.place_var, (1 - gain) * self.shared_var
        self.seen.append((step, row))
        self.confirmed, self.lost = True, False


def _place(box: Floats) -> Floats:
    """xyxy -> centre x, centre y, aspect, height."""
    width, height = box[2] - box[0], box[3] - box[1]
    return np.array([box[0] + width / 2, box[1] + height / 2, width / height, height])


@dataclass
class _Tracker:
    options: TrackerOptions
    everybody: list[_Person] = field(default_factory=list)
    present: list[_Person] = field(default_factory=list)
    lost: list[_Person] = field(default_factory=list)
    count: int = 0

    def step(self, boxes_xyxy_px: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
        """Take the detections (B, 4), (B,) of the next step."""
        step, options = self.count, self.options
        self.count += 1
        boxes = boxes_xyxy_px.astype(np.float64)
        real = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        sure = np.flatnonzero(real & (scores >= options.high))
        unsure = np.flatnonzero(real & (scores > options.low) & (scores < options.high))
        known = [person for person in self.present if person.confirmed] + self.lost
        once = [person for person in self.present if not person.confirmed]
        for person in known:
            person.expect()

        pairs = _assigned(_distances(known, boxes[sure], scores[sure]), options.limit)
        for place, column in pairs:
            known[place].see(boxes[sure[column]], step, int(sure[column]))
        left = [person for person in known if person.last_step < step and not person.lost]
        for place, column in _assigned(_distances(left, boxes[unsure]), SECOND_LIMIT):
            left[place].see(boxes[unsure[column]], step, int(unsure[column]))
        missed = [person for person in left if person.last_step < step]
        sure = np.delete(sure, [column for _, column in pairs])
        pairs = _assigned(_distances(once, boxes[sure], scores[sure]), NEW_LIMIT)
        for place, column in pairs:
            once[place].see(boxes[sure[column]], step, int(sure[column]))
        sure = np.delete(sure, [column for _, column in pairs])
        fresh = [_Person.new(boxes[row], step, int(row)) for row in sure if scores[row] >= options.new]

        self.everybody += fresh
        waiting = [person for person in self.lost if person.last_step < step]
        found_again = [person for person in self.lost if person.last_step == step]
        self.present = [person for person in self.present if person.last_step == step] + fresh + found_again
        for person in missed:
            person.lost = True
        self.lost = [person for person in waiting + missed if not person.given_up]
        for person in waiting:  # waited for once more in the next step
            person.given_up = person.given_up or step - person.last_step > options.kept_steps
        self._join()

    def follow(self, boxes: Mapping[_Person, NDArray[np.floating]]) -> None:
        """A step in which nobody was looked for, but some people's boxes (4,) are known."""
        step = self.count
        self.count += 1
        for person in [person for person in self.present if person.confirmed] + self.lost:
            person.expect()
            if person in boxes:
                person.see(boxes[person].astype(np.float64), step, _CARRIED)
        self.present += [person for person in self.lost if person in boxes]
        self.lost = [person for person in self.lost if person not in boxes]

    def _join(self) -> None:
        """Leave out one of a track and a lost one that are in the same place."""
        if not self.present or not self.lost:
            return
        distances = _distances(self.present, np.stack([person.box for person in self.lost]))
        gone: set[_Person] = set()
        for place, other in np.argwhere(distances < SAME_DISTANCE):
            one, two = self.present[place], self.lost[other]
            gone.add(two if one.age > two.age else one)
        self.present = [person for person in self.present if person not in gone]
        self.lost = [person for person in self.lost if person not in gone]


def _distances(people: Sequence[_Person], boxes: Floats, scores: NDArray[np.float32] | None = None) -> Floats:
    """(P, B): 1 - IoU, or 1 - IoU x score."""
    overlap = iou_matrix([person.box for person in people], boxes)
    return np.asarray(1 - (overlap if scores is None else overlap * scores), np.float64)


def _assigned(distances: Floats, limit: float) -> list[tuple[int, int]]:
    """(row, column) pairs at the least total distance, none beyond ``limit``."""
    if not distances.size:
        return []
    _, columns, _ = lap.lapjv(distances, extend_cost=True, cost_limit=limit)
    return [(row, int(column)) for row, column in enumerate(columns) if column >= 0]
