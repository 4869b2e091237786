"""A long video, watched once: poses of every frame once, and the networks' answers a few frames apart.

The windows that the networks read slide over pooled features that are kept for as long as a window may need them, so
neither the detector nor the pose network sees a person of a frame twice, and memory does not grow with the video.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..artifacts.poses import ClipPoses
from ..core.metrics import iou
from ..detect.tracking import Track
from ..estimate.batches import ClipBoxes
from ..events.labelling import LEAST_LOG, Timeline, Views
from ..pool.features import clip_features, people_valid
from ..weights.cards import usual_score
from .people import Person, SeenWindow
from .pooled import Rows, already_pooled, pooled_clip, pooled_taps
from .recognise import Prediction, of_people
from .seeing import Eyes, Seen, clip_boxes
from .trained import Sample, Trained
from .windows import Cutting, OnFailure, Window, in_parts

CHUNK_S = 4.0
"""People are tracked through parts of a video of this length."""
SHARED_S = 0.5
"""Two neighbouring parts share this time, by which people keep their numbers."""
STEPS = 8
"""Windows begin an eighth of their length apart."""
GONE_S = 1.0
"""Who is not seen for longer has left: what they did before and after is told apart."""
SAME_PLACE_IOU = 0.3
"""A new person whose first box overlaps the last box of somebody who was just lost by this is the same person."""
SURE_TOGETHER = 0.95
"""The answer for several people together is never surer than this that they do something with each other."""
ALONE_SHARE = 0.01
"""Probability that the answer for a person alone gives to what people do with each other, where it says neither that
they do nor that they do not; found on ten training takes of mannequins."""
ASKED = 64
"""Windows that are classified together."""
SURE_SHARE = 0.6
"""Whose joints are less sure than this share of what is usual for the pose network is a chair or a coat. Of 20 takes of
mannequins 0.05 % of the people's frames are, and half of those in which something else was taken for a person."""
SURE_S = 1.0
"""That is the median over this time."""
_CLOCK_S = 1e-3
"""Containers round times to this."""


def parts_of(cutting: Cutting) -> Cutting:
    """How a video is cut into parts through which people are tracked; rate and stride are those of ``cutting``."""
    return replace(cutting, window_s=CHUNK_S, whole_s=CHUNK_S, overlap=SHARED_S / CHUNK_S)


@dataclass
class Following:
    """The people of one video and what the networks say of them, step by step.

    Iterate it to the end; then ``timelines`` are complete.

    Args:
        project: networks without person frames.
        eyes: the detector and the pose network.
        windows: the video in parts, see :func:`parts_of`.
        window_s: length of the windows that the networks read.
        on_failure: called with the video and the reason if it cannot be read to its end.
    """

    project: Trained
    eyes: Eyes
    windows: Iterable[Window]
    window_s: float
    on_failure: OnFailure
    timelines: list[Timeline] = field(default_factory=list)
    end_s: float = 0.0
    _present: dict[int, _Presence] = field(default_factory=dict, init=False)
    _numbers: _Numbers = field(default_factory=lambda: _Numbers(), init=False)
    _covered: int = field(default=0, init=False)

    def __iter__(self) -> Iterator[Prediction]:
        """The parts with people and poses, without answers."""
        for part in in_parts(self.windows):
            for seen in self.eyes.see(part, self._shared, self.on_failure, self._fresh_boxes):
                people = self._people(seen)
                numbered = replace(people, window=self._numbers.given(people.window))
                self._take(numbered.window, numbered.poses, numbered.kept)
                window, poses = numbered.in_video_px()
                yield Prediction(window, poses, (), None)
        for person in list(self._present):
            self._leave(person)
        self.timelines.sort(key=lambda timeline: (timeline.person, timeline.start_s))

    def _people(self, seen: Seen[int]) -> Seen[int]:
        """The part without the frames in which somebody is no person, as far as the joints tell."""
        usual = usual_score(self.project.params.estimate.rated_model)
        if usual is None:
            return seen
        people, ranks = [], []
        for rank, person in enumerate(seen.window.people):
            frames = person.track.frames
            fresh = frames[(frames >= seen.kept) & seen.poses.valid[frames, rank].astype(bool)]
            scores = _smoothed(seen.poses.scores[fresh, rank].mean(1), SURE_S * seen.window.window.fps)
            # other frames, which were read before or not at all, are as the next one that was
            near = np.searchsorted(fresh, frames).clip(0, max(0, len(fresh) - 1))
            kept = (scores >= SURE_SHARE * usual)[near] if len(fresh) else np.ones(len(frames), bool)
            if kept.any():
                people.append(Person(person.number, _some(person.track, kept)))
                ranks.append(rank)
        window = replace(seen.window, people=tuple(people))
        return replace(seen, window=window, poses=of_people(seen.poses, ranks) if ranks else seen.poses)

    def _shared(self, seen: SeenWindow) -> int:
        """The number of frames of this part that the part before it has."""
        shared = max(0, self._covered - seen.window.first)
        self._covered = max(self._covered, seen.window.first + seen.count)
        return shared

    def _fresh_boxes(self, seen: SeenWindow, shared: int) -> ClipBoxes:
        """The boxes that the pose network is to read: of frames that the part before did not have, on the stride."""
        boxes = clip_boxes(seen, 0)
        stride = self._stride(seen.window.fps)
        kept = (boxes.frames >= shared) & ((boxes.frames + seen.window.first) % stride == 0)
        return ClipBoxes(boxes.frames[kept], boxes.tracks[kept], boxes.boxes_xyxy_px[kept])

    def _stride(self, fps: float) -> int:
        """Frames apart at which a window has as many poses as a clip in training."""
        frames = self.project.params.estimate.frames
        return max(1, int(fps * self.window_s / frames)) if frames else 1

    def _take(self, seen: SeenWindow, poses: ClipPoses, shared: int) -> None:
        """Add a part's new frames, and ask about the windows that are complete."""
        last_s = seen.end_s
        self.end_s = max(self.end_s, last_s)
        ranked = [(rank, person) for rank, person in enumerate(seen.people) if person.track.frames[-1] >= shared]
        for rank, person in sorted(ranked, key=lambda one: int(one[1].track.frames[0])):
            fresh = person.track.frames[person.track.frames >= shared]
            begin_s = float(seen.times_s[fresh[0]])
            known = self._present.get(person.number)
            if known is not None and begin_s - known.until_s > GONE_S:
                self._leave(person.number)
                known = None
            if known is None:
                known = _Presence(person.number, begin_s, self.window_s, self.window_s / STEPS)
                self._present[person.number] = known
            known.rank = rank
            known.add(_rows(poses, rank, fresh, seen, self.project), 1 / seen.window.fps)
        for number, presence in list(self._present.items()):
            if last_s - presence.until_s > GONE_S:
                self._leave(number)
        self._ask([(p, window) for p in self._present.values() for window in p.complete()])
        for presence in self._present.values():
            presence.forget()

    def _leave(self, person: int) -> None:
        """Nobody sees this person any more: the last windows, and the timeline."""
        presence = self._present[person]
        self._ask([(presence, window) for window in presence.rest()])
        del self._present[person]
        self.timelines.append(presence.timeline())

    def _ask(self, wanted: list[tuple[_Presence, _Span]]) -> None:
        """Answers of the networks for windows of people, alone and, where they know such actions, with the others."""
        samples: list[Sample] = []
        places: list[tuple[_Presence, _Span, list[_Presence], int | None, int | None, list[int]]] = []
        known: dict[tuple[float, float, tuple[int, ...]], int | None] = {}

        def row(people: list[_Presence], span: _Span) -> int | None:
            key = (span.start_s, span.end_s, tuple(p.person for p in people))
            if key not in known:
                sample = self._sample(people, span)
                known[key] = len(samples) if sample is not None else None
                if sample is not None:
                    samples.append(sample)
            return known[key]

        for presence, span in wanted:
            others = self._beside(presence, span) if self.project.mutual.any() else []
            together = sorted([presence, *others], key=lambda p: p.rank)
            each = [found for p in together if (found := row([p], span)) is not None] if others else []
            shared = row(together, span) if others else None
            places.append((presence, span, others, row([presence], span), shared, each))
        answers, taught, inputs = self._read(samples)
        unsure = np.full(len(self.project.classes), -np.log(len(self.project.classes)))
        nothing = np.full(len(self.project.classes), np.nan)
        for presence, span, others, alone, shared, each in places:
            own = unsure if alone is None else answers[alone]
            both = nothing if shared is None else answers[shared]
            read = np.zeros(inputs.shape[1], np.float32) if alone is None else inputs[alone]
            near = np.full(2, np.nan) if shared is None else presence.near(others, span)
            presence.views.append((own, both, near, read))
            presence.speeds.append(presence.speed(span))
            if shared is not None:
                own = mixed(own, both, answers[each], self.project.mutual)
            presence.answers.append(own)
            presence.taught.append(np.zeros(taught.shape[1]) if alone is None else taught[alone])

    def _read(self, samples: list[Sample]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]:
        """Log probabilities (N, K) of the classes, the shares (N, J) of taught actions beside them, and what the
        streams' classifiers read (N, D)."""
        classes = len(self.project.classes)
        known = len(self.project.taught.names) if self.project.taught is not None else 0
        logs, shares, inputs = [np.zeros((0, classes))], [np.zeros((0, known))], []
        for start in range(0, len(samples), ASKED):
            part = samples[start : start + ASKED]
            logits, read = self.project.logits_and_inputs(part)
            chances = self.project.probabilities(logits)
            logs.append(np.log(chances.clip(np.exp(2 * LEAST_LOG))))
            shares.append(self.project.with_taught(chances, part)[:, classes:])
            inputs.append(read)
        return (
            np.concatenate(logs),
            np.concatenate(shares),
            np.concatenate(inputs) if inputs else np.zeros((0, 0), np.float32),
        )

    def _beside(self, presence: _Presence, span: _Span) -> list[_Presence]:
        """Who else is seen for most of a window, as many as the networks have room for."""
        half = (span.end_s - span.start_s) / 2
        others = [
            p
            for p in self._present.values()
            if p is not presence and min(p.until_s, span.end_s) - max(p.start_s, span.start_s) > half
        ]
        room = min(self.project.people, self.project.params.detect.persons) - 1
        return sorted(others, key=lambda p: p.rank)[:room]

    def _sample(self, people: list[_Presence], span: _Span) -> Sample | None:
        """What the networks read of some people in a window; None where no pose is known."""
        clip = pooled_clip([p.between(span) for p in people])
        if clip is None:
            return None
        pool = already_pooled(self.project.params.pool)
        valid = np.asarray(people_valid(clip, pool).any(0))
        features = clip_features(clip, pool, self.eyes.estimator.meta).astype(np.float16)
        return Sample(features, valid, []) if valid.any() else None


def mixed(
    alone: NDArray[np.float64],
    together: NDArray[np.float64],
    each: NDArray[np.float64],
    mutual: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Log probabilities (K,) of what one of several people does, from those for people alone and for all together.

    The networks have seen two people only where they do something with each other, so the answer for two who do not
    says so too. Hence the answers for each of them alone count beside it: a person who does something with somebody
    looks a little like that alone, others do not at all. The odds of both are multiplied.

    Args:
        alone: (K,), of the person.
        together: (K,), of all.
        each: (M, K), of each of them alone.
        mutual: (K,), what people do with each other.
    """
    shared = float(np.exp(together[mutual]).sum().clip(1 - SURE_TOGETHER, SURE_TOGETHER))
    seen = float(np.exp(each[:, mutual]).sum(1).max().clip(1e-5)) if len(each) else ALONE_SHARE
    odds = shared / (1 - shared) * seen / ALONE_SHARE
    share = odds / (1 + odds)
    own, both = np.where(mutual, 0.0, np.exp(alone)), np.where(mutual, np.exp(together), 0.0)
    chances = share * both / max(both.sum(), 1e-12) + (1 - share) * own / max(own.sum(), 1e-12)
    return np.asarray(np.log(chances.clip(np.exp(2 * LEAST_LOG))))


@dataclass(frozen=True)
class _Span:
    """A window of one person."""

    start_s: float
    end_s: float


_View = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]
"""A row of each part of :class:`Views`, in their order."""


@dataclass
class _Presence:
    """A person from the moment that they are seen; poses are kept for as long as a window may need them."""

    person: int
    start_s: float
    window_s: float
    step_s: float
    until_s: float = 0.0
    rank: int = 0
    rows: Rows = field(default_factory=dict)
    answers: list[NDArray[np.float64]] = field(default_factory=list)
    speeds: list[float] = field(default_factory=list)
    taught: list[NDArray[np.float64]] = field(default_factory=list)
    views: list[_View] = field(default_factory=list)
    first: int = field(init=False)
    next: int = field(init=False)

    def __post_init__(self) -> None:
        self.until_s = self.start_s
        self.first = self.next = int(np.ceil(self.start_s / self.step_s - 0.5))

    def add(self, rows: Rows, frame_s: float) -> None:
        """Later frames; those that are there already are left out."""
        if self.rows:
            later = rows["frame"] > (self.rows["frame"][-1] if len(self.rows["frame"]) else -1)
            rows = {name: values[later] for name, values in rows.items()}
            rows = {name: np.concatenate([values, rows[name]]) for name, values in self.rows.items()}
        self.rows = rows
        self.until_s = float(rows["time_s"][-1]) + frame_s

    def complete(self) -> Iterator[_Span]:
        """The next windows that lie before the newest frame."""
        while True:
            begin_s = max(self.start_s, (self.next + 0.5) * self.step_s - self.window_s / 2)
            if begin_s + self.window_s > self.until_s + _CLOCK_S:
                return
            yield self._span(begin_s)

    def rest(self) -> Iterator[_Span]:
        """The windows that are left, moved back to where the person is; at least one in all."""
        latest_s = max(self.start_s, self.until_s - self.window_s)
        while (self.next + 0.5) * self.step_s < self.until_s or self.next == self.first:
            yield self._span(min(max(self.start_s, (self.next + 0.5) * self.step_s - self.window_s / 2), latest_s))

    def _span(self, begin_s: float) -> _Span:
        self.next += 1
        return _Span(begin_s, begin_s + self.window_s)

    def between(self, span: _Span) -> Rows:
        """The rows of a window."""
        times_s = self.rows["time_s"]
        low, high = np.searchsorted(times_s, [span.start_s - _CLOCK_S, span.end_s - _CLOCK_S])
        return {name: values[low:high] for name, values in self.rows.items()}

    def forget(self) -> None:
        """Drop the frames that no window needs any more."""
        kept = self.rows["time_s"] >= self.until_s - self.window_s - self.step_s
        self.rows = {name: values[kept] for name, values in self.rows.items()}

    def speed(self, span: _Span) -> float:
        """How fast the joints move: the median over a window of their mean, in heights of the person a second."""
        rows = self.between(span)
        seen = rows["valid"].astype(bool)
        joints, times_s = rows["keypoints_px"][seen], rows["time_s"][seen]
        if len(joints) < 2:
            return 0.0
        steps = np.linalg.norm(np.diff(joints, axis=0), axis=-1).mean(1)  # (n - 1,), pixels
        return float(np.median(steps / np.maximum(np.diff(times_s), _CLOCK_S))) / _height_px(joints)

    def near(self, others: Sequence[_Presence], span: _Span) -> NDArray[np.float64]:
        """(2,): how far the nearest of others is, see :class:`Views`; NaN where no frame shows both."""
        rows = self.between(span)
        own = {frame: n for n, frame in enumerate(rows["frame"].tolist()) if rows["valid"][n]}
        found = []
        for other in others:
            theirs = other.between(span)
            at = [n for n, frame in enumerate(theirs["frame"].tolist()) if theirs["valid"][n] and frame in own]
            if at:
                mine = rows["keypoints_px"][[own[frame] for frame in theirs["frame"][at].tolist()]]  # (n, V, 2)
                his = theirs["keypoints_px"][at]
                middles = np.abs(np.median(mine[..., 0].mean(1)) - np.median(his[..., 0].mean(1)))
                apart = np.linalg.norm(mine[:, :, None] - his[:, None], axis=-1)  # (n, V, V)
                found.append((middles, np.median(apart.reshape(len(at), -1).min(1))) / np.array(_height_px(mine)))
        return min(found, key=lambda distance: float(distance[0]), default=np.full(2, np.nan))

    def timeline(self) -> Timeline:
        """All answers."""
        views = Views(*(np.stack(part) for part in zip(*self.views, strict=True)))
        lasting = (self.person, self.start_s, self.until_s, self.first, self.step_s)
        taught = np.stack(self.taught)
        shares = taught if taught.shape[1] else None
        return Timeline(*lasting, np.stack(self.answers), np.array(self.speeds), views, shares)


def _height_px(joints: NDArray[np.float32]) -> float:
    """Median height of a person, of joints (n, V, 2)."""
    return max(float(np.median(np.ptp(joints[..., 1], axis=1))), 1.0)


def _smoothed(values: NDArray[np.float32], width: float) -> NDArray[np.float32]:
    """Running median (n,) over about ``width`` values."""
    half = round(width / 2)
    padded = np.pad(values, half, mode="edge") if len(values) else values
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1) if len(values) else values[:, None]
    return np.asarray(np.median(around, axis=1), np.float32)


def _some(track: Track, kept: NDArray[np.bool_]) -> Track:
    """Some frames of a track."""
    return Track(track.frames[kept], track.boxes_xyxy_px[kept], track.scores[kept])


@dataclass
class _Numbers:
    """Numbers of people that last: a track that begins where another was just lost is the same person."""

    names: dict[int, int] = field(default_factory=dict)
    last: dict[int, tuple[float, NDArray[np.float32]]] = field(default_factory=dict)
    """Person -> when and where they were seen last."""

    def given(self, seen: SeenWindow) -> SeenWindow:
        """The window with these numbers."""
        tracked = [person for person in seen.people if len(person.track.frames)]
        for person in sorted(tracked, key=lambda p: int(p.track.frames[0])):
            if person.number not in self.names:
                self.names[person.number] = self._lost(person, seen)
            ends = float(seen.times_s[person.track.frames[-1]]), person.track.boxes_xyxy_px[-1]
            self.last[self.names[person.number]] = ends
        people = tuple(Person(self.names.get(p.number, p.number), p.track) for p in seen.people)
        return replace(seen, people=people)

    def _lost(self, person: Person, seen: SeenWindow) -> int:
        """Who was just lost where this person begins; their own number if nobody, or more than one, was."""
        begin_s = float(seen.times_s[person.track.frames[0]])
        box = person.track.boxes_xyxy_px[:1]
        here = {
            self.names[p.number]
            for p in seen.people
            if p.number in self.names and float(seen.times_s[p.track.frames[-1]]) >= begin_s
        }
        found = [
            number
            for number, (end_s, place) in self.last.items()
            if number not in here and begin_s - GONE_S <= end_s < begin_s and iou(place[None], box)[0] >= SAME_PLACE_IOU
        ]
        return found[0] if len(found) == 1 else person.number


def _rows(poses: ClipPoses, rank: int, frames: NDArray[np.int64], seen: SeenWindow, project: Trained) -> Rows:
    """A person's rows of some frames of a part."""
    pool = project.params.pool
    rows: Rows = {
        "frame": frames + seen.window.first,
        "time_s": seen.times_s[frames],
        "keypoints_px": poses.keypoints_px[frames, rank],
        "scores": poses.scores[frames, rank],
        "valid": poses.valid[frames, rank],
    }
    if poses.vectors is not None:
        rows["vectors"] = poses.vectors[frames, rank]
    return rows | pooled_taps({tap: poses.windows[tap][frames, rank] for tap in pool.readings}, pool)
