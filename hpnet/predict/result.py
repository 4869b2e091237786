"""What a model answered for videos: windows, people, actions; as text, JSON, tables, pictures and annotated videos.

Axes: T frames, V joints, K actions. Times are seconds from the beginning of the video; boxes and joints are in pixels
of the upright video.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.video import write_timed
from ..work.console import one_line
from .drawing import Course, drawn, drawn_events
from .finding import VideoEvent
from .recognise import Prediction
from .targets import video_targets
from .windows import Footage, HeldFrames, Image, Window

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class PersonTrack:
    """Where a person is, in the n frames that have a box of theirs.

    Attributes:
        video: path, address, or ``frames`` for an array.
        track: the person's number in the video; it stays the same from window to window.
        frames: (n,) int64, rising frame numbers in the video.
        times_s: (n,) float64.
        boxes_xyxy_px: (n, 4) float32, left, top, right, bottom.
        scores: (n,) float32 in 0..1, of the boxes.
        keypoints_px: (n, V, 2) float32, x and y; not a number in frames that the pose network did not see.
        keypoint_scores: (n, V) float32 in 0..1; 0 in those frames.
    """

    video: str
    track: int
    frames: NDArray[np.int64]
    times_s: NDArray[np.float64] = field(repr=False)
    boxes_xyxy_px: NDArray[np.float32] = field(repr=False)
    scores: NDArray[np.float32] = field(repr=False)
    keypoints_px: NDArray[np.float32] = field(repr=False)
    keypoint_scores: NDArray[np.float32] = field(repr=False)

    def followed_by(self, later: PersonTrack) -> PersonTrack:
        """The same person with the frames of ``later`` that are not in this track yet."""
        fresh = ~np.isin(later.frames, self.frames)
        order = np.argsort(np.concatenate([self.frames, later.frames[fresh]]), kind="stable")

        def joined(name: str) -> NDArray[Any]:
            return np.concatenate([getattr(self, name), getattr(later, name)[fresh]])[order]

        names = ("frames", "times_s", "boxes_xyxy_px", "scores", "keypoints_px", "keypoint_scores")
        return PersonTrack(self.video, self.track, *map(joined, names))


@dataclass(frozen=True, eq=False)
class GroupAnswer:
    """What some people of a window do.

    Attributes:
        tracks: the people's numbers; several: the answer is for them together.
        names: the K actions.
        probabilities: (K,) float64, the sum is 1: what it is, if it is one of the actions.
        logits: stream -> (K,) float32, before the fusion; of an action ``background`` too, which is not in ``names``.
        unknown: the probability that it is none of the actions; None in projects whose fusion has not fitted it.

    >>> answer.tracks, answer.action == answer.top(1)[0][0]
    ((0,), True)
    """

    tracks: tuple[int, ...]
    names: tuple[str, ...] = field(repr=False)
    probabilities: NDArray[np.float64]
    logits: dict[str, NDArray[np.float32]] = field(repr=False)
    unknown: float | None = None

    @property
    def is_unknown(self) -> bool:
        """Whether it is more likely none of the actions than one of them."""
        return self.unknown is not None and self.unknown > 0.5

    def top(self, count: int = 3) -> list[tuple[str, float]]:
        """The most probable actions with their probabilities, best first."""
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.names[k], float(self.probabilities[k])) for k in order]

    @property
    def action(self) -> str:
        """The most probable action."""
        return self.top(1)[0][0]

    @property
    def probability(self) -> float:
        """Its probability."""
        return self.top(1)[0][1]


@dataclass(frozen=True, eq=False)
class WindowResult:
    """A window of a video: its people and the answers.

    Attributes:
        video: path, address, or ``frames`` for an array.
        number: 0, 1, ... within the video.
        start_s, end_s: timestamp of the first frame, and the time at which the last frame ends; not a number
            for given poses, which have no times.
        frames: numbers of the first and the last frame in the video; frames that were left out do not count.
        people: most prominent first.
        answers: first for all people together, then for each; one for one person, none where nobody was found.
        latency_s: of a live source, from the capture of the last frame to the answer; else None.
        dropped_frames: of a live source, frames since the previous window that are in no window.
    """

    video: str
    number: int
    start_s: float
    end_s: float
    frames: tuple[int, int]
    people: tuple[PersonTrack, ...]
    answers: tuple[GroupAnswer, ...]
    latency_s: float | None = None
    dropped_frames: int = 0

    def json_lines(self, top: int = 3) -> Iterator[str]:
        """A JSON object per answer, as ``hpnet predict --json`` prints them; docs/predict.md has the keys."""
        when: dict[str, Any] = {
            "video": self.video,
            "window": self.number,
            "start_s": _rounded(self.start_s),
            "end_s": _rounded(self.end_s),
            "frames": list(self.frames),
        }
        if self.latency_s is not None:
            when |= {"latency_s": round(self.latency_s, 3), "dropped_frames": self.dropped_frames}
        of_track = {person.track: person for person in self.people}
        for answer in self.answers:
            actions = [{"name": name, "probability": round(p, 4)} for name, p in answer.top(top)]
            people = [
                {
                    "track": person.track,
                    "frames": person.frames.tolist(),
                    "times_s": person.times_s.round(3).tolist(),
                    "boxes_xyxy_px": [[round(v, 1) for v in box] for box in person.boxes_xyxy_px.tolist()],
                }
                for person in (of_track[track] for track in answer.tracks if track in of_track)
            ]
            unknown = {} if answer.unknown is None else {"unknown": round(answer.unknown, 4)}
            yield json.dumps({**when, "tracks": list(answer.tracks), "actions": actions, **unknown, "people": people})
        if not self.answers:
            yield json.dumps({**when, "tracks": [], "actions": [], "people": []})

    def table_lines(self, top: int = 3) -> Iterator[str]:
        """A line per answer, as ``hpnet predict`` prints them."""
        when = f"{self.start_s:7.2f}-{self.end_s:.2f} s"
        if math.isnan(self.start_s):
            when = f"frames {self.frames[0]}-{self.frames[1]}"
        video = one_line(self.video)
        for answer in self.answers:
            who = "+".join(map(str, answer.tracks))
            actions = ", ".join(f"{name} {p:.1%}" for name, p in answer.top(top))
            said = f"unknown {answer.unknown:.1%}, else {actions}" if answer.is_unknown else actions
            yield f"{video}  {when:<18} person {who:<6} {said}"
        if not self.answers:
            yield f"{video}  {when:<18} no person was found"


def _rounded(seconds: float) -> float | None:
    return None if math.isnan(seconds) else round(seconds, 3)


def window_result(prediction: Prediction, names: tuple[str, ...]) -> WindowResult:
    """A prediction without frames and feature maps."""
    seen, poses = prediction.seen, prediction.poses
    window = seen.window
    people = []
    for rank, person in enumerate(seen.people):
        frames = person.track.frames
        valid = poses.valid[frames, rank]  # (n,)
        people.append(
            PersonTrack(
                window.video,
                person.number,
                frames + window.first,
                seen.times_s[frames],
                person.track.boxes_xyxy_px,
                person.track.scores,
                np.where(valid[:, None, None], poses.keypoints_px[frames, rank], np.float32(np.nan)),
                np.where(valid[:, None], poses.scores[frames, rank], np.float32(0)),
            )
        )
    answers = tuple(
        GroupAnswer(tuple(p.number for p in a.people), names, a.probabilities, a.logits, a.unknown)
        for a in prediction.answers
    )
    return WindowResult(
        window.video,
        window.number,
        seen.start_s,
        seen.end_s,
        (window.first, window.first + seen.count - 1),
        tuple(people),
        answers,
        prediction.latency_s,
        window.dropped,
    )


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
        if window.keeps_frames:
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


def without_maps(prediction: Prediction, with_frames: bool) -> Prediction:
    """What drawing needs; frames of an array or, ``with_frames``, of a live source stay."""
    poses = replace(prediction.poses, windows={}, vectors=None)
    window: Window = prediction.seen.window
    if not (window.keeps_frames and (with_frames or window.captured_s is None)):
        window = replace(window, frames=HeldFrames(()))
    return replace(prediction, seen=replace(prediction.seen, window=window), poses=poses)


@dataclass(frozen=True, eq=False)
class Result:
    """The answers of a model, of one video or of several.

    Printed, it is the table of ``hpnet predict``.

    Attributes:
        names: the K actions that the model knows.
        windows: in order, of one video after another.
        failed: video -> why it could not be used, or not to its end.
        events: who does what from when to when, of one video after another; None where no events were asked for. Then
            text, JSON, table and pictures are of the events.

    >>> len(result.windows), len(result.people), "wave" in result.names
    (1, 1, True)
    """

    names: tuple[str, ...]
    windows: tuple[WindowResult, ...]
    failed: dict[str, str] = field(default_factory=dict)
    events: tuple[VideoEvent, ...] | None = None
    _predictions: tuple[Prediction, ...] = field(default=(), repr=False)
    _edges: tuple[tuple[int, int], ...] = field(default=(), repr=False)
    _max_fps: float | None = field(default=None, repr=False)

    def __str__(self) -> str:
        if self.events is not None:
            return "\n".join(line for video, events in self._events() for line in event_lines(video, events))
        return "\n".join(line for window in self.windows for line in window.table_lines())

    @property
    def people(self) -> list[PersonTrack]:
        """Every person of every video once, over all windows, in order of appearance."""
        found: dict[tuple[str, int], PersonTrack] = {}
        for window in self.windows:
            for person in window.people:
                key = person.video, person.track
                found[key] = found[key].followed_by(person) if key in found else person
        return list(found.values())

    def to_json(self, top: int = 3) -> str:
        """What ``hpnet predict --json`` prints, with ``top`` actions per answer: an object per line.

        Where events were asked for, it is what ``hpnet predict --events --json`` prints.

        >>> import json
        >>> row = json.loads(result.to_json().splitlines()[0])
        >>> row["video"], row["tracks"], len(row["actions"])
        ('clip.mp4', [0], 3)
        """
        if self.events is not None:
            lines = [line for video, events in self._events() for line in event_json_lines(video, events)]
        else:
            lines = [line for window in self.windows for line in window.json_lines(top)]
        return "".join(f"{line}\n" for line in lines)

    def to_pandas(self) -> pd.DataFrame:
        """A row per answer, and a column ``p(NAME)`` for the probability of every action; or a row per event.

        ``unknown`` is the probability of none of them; not a number where the project has none.

        >>> result.to_pandas().columns[4:10].tolist()
        ['first_frame', 'last_frame', 'tracks', 'action', 'probability', 'unknown']
        """
        import pandas as pd

        if self.events is not None:
            return pd.DataFrame([_fields(event) for event in self.events], columns=list(EVENT_KEYS))
        columns = ["video", "window", "start_s", "end_s", "first_frame", "last_frame", "tracks", "action"]
        columns += ["probability", "unknown", *(f"p({name})" for name in self.names)]
        rows = [
            (w.video, w.number, w.start_s, w.end_s, *w.frames, a.tracks, a.action, a.probability, a.unknown,
             *a.probabilities)
            for w in self.windows
            for a in w.answers
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=columns).astype({"unknown": "float64"})

    def to_supervision(self, frame: int | None = None) -> Any:
        """Boxes as a ``Detections`` of the package supervision: all, or those of a frame, as its annotators want them.

        ``tracker_id`` is the person's number, ``class_id`` the place of the action in :attr:`names` (-1 where nobody
        was asked for that person), ``confidence`` the score of the box. ``data`` has ``class_name``, ``probability``
        (of the action), ``video``, ``frame`` and ``time_s``. An action is that of the first window with the frame: the
        person's own, else that of all together.

        Args:
            frame: only boxes of this frame of the video.

        Raises:
            ModuleNotFoundError: supervision is not installed.
        """
        try:
            from supervision import Detections
        except ModuleNotFoundError as error:
            if error.name != "supervision":
                raise
            raise ModuleNotFoundError(
                "to_supervision needs the package supervision, which is not installed:\nrun `pip install supervision`, "
                "or install hpnet with its extra: `pip install 'hpnet[supervision]'`",
                name="supervision",
            ) from None
        rows = [row for row in self._boxes() if frame is None or row.frame == frame]
        return Detections(
            xyxy=np.array([row.box_xyxy_px for row in rows], np.float32).reshape(-1, 4),
            confidence=np.array([row.score for row in rows], np.float32),
            class_id=np.array([row.label for row in rows], int),
            tracker_id=np.array([row.track for row in rows], int),
            data={
                "class_name": np.array(["" if row.label < 0 else self.names[row.label] for row in rows], str),
                "probability": np.array([row.probability for row in rows], np.float64),
                "video": np.array([row.video for row in rows], str),
                "frame": np.array([row.frame for row in rows], int),
                "time_s": np.array([row.time_s for row in rows], np.float64),
            },
        )

    def plot(self, frame: int | None = None) -> Image:
        """A frame of the (first) video with boxes, skeletons and actions, RGB (H, W, 3) uint8.

        Args:
            frame: its number; None: the middle one of the windows.

        Raises:
            ValueError: there is no such frame, or the frames of a live source are gone.

        >>> result.plot().shape, str(result.plot().dtype)
        ((120, 160, 3), 'uint8')
        """
        if not self._predictions:
            raise ValueError("there is no window, so there is no frame to show")
        first = next(self._by_video())
        last = max(p.seen.window.first + p.seen.count for p in first) - 1
        wanted = (first[0].seen.window.first + last) // 2 if frame is None else frame
        for shown in self._shown(first):
            if shown.prediction.seen.window.first + shown.index == wanted:
                return self._drawn(shown)
        raise ValueError(f"frame {wanted} is in no window of {one_line(self.windows[0].video)}: the last is {last}")

    def save(self, target: str | Path) -> list[Path]:
        """Write the videos with boxes, skeletons and actions.

        Args:
            target: an mp4 for one video, a folder for several. A file that is there is written over, unless it is one
                of the videos.

        Returns:
            The files.

        Raises:
            ValueError: the target does not suit, or the frames of a live source are gone.

        >>> result.save("seen.mp4")
        [PosixPath('seen.mp4')]
        """
        groups = list(self._by_video())
        if not groups:
            raise ValueError(f"{target}: there is no window, so there is nothing to write")
        targets = video_targets(Path(target), [Path(group[0].seen.window.video) for group in groups])
        for group, file in zip(groups, targets.values(), strict=True):
            shown = self._shown(group)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_timed(file, ((s.seconds, self._drawn(s)) for s in shown), group[0].seen.window.fps)
        return list(targets.values())

    def _events(self) -> Iterator[tuple[str, list[VideoEvent]]]:
        """The events of every video that was watched."""
        for video in dict.fromkeys(window.video for window in self.windows):
            yield video, [event for event in self.events or () if event.video == video]

    def _by_video(self) -> Iterator[list[Prediction]]:
        for _, group in itertools.groupby(self._predictions, key=lambda p: p.seen.window.video):
            yield list(group)

    def _shown(self, predictions: list[Prediction]) -> Iterator[Shown]:
        """The frames of one video."""
        window = predictions[0].seen.window
        if window.keeps_frames and not window.frames.held()[0]:
            raise ValueError(
                f"the frames of {one_line(window.video)} are gone: use stream=True and draw each result as it comes, "
                "or `hpnet predict --save`"
            )
        return shown_frames(iter(predictions), self._max_fps)

    def _drawn(self, shown: Shown) -> Image:
        if self.events is not None:
            video = shown.prediction.seen.window.video
            own = [event for event in self.events if event.video == video]
            end_s = max(window.end_s for window in self.windows if window.video == video)
            return drawn_events(
                shown.prediction, shown.index, shown.frame, self._edges, Course(own, shown.seconds, end_s)
            )
        return drawn(shown.prediction, shown.index, shown.frame, self.names, self._edges)

    def _boxes(self) -> Iterator[_Box]:
        """Every box of every frame once, in the order of videos, frames and people."""
        done: set[tuple[str, int, int]] = set()
        for window in self.windows:
            together = {track: a for a in window.answers if len(a.tracks) > 1 for track in a.tracks}
            answers = together | {a.tracks[0]: a for a in window.answers if len(a.tracks) == 1}
            rows = []
            for person in window.people:
                answer = answers.get(person.track)
                label = -1 if answer is None else int(np.argmax(answer.probabilities))
                chance = 0.0 if answer is None else answer.probability
                for n, frame in enumerate(person.frames.tolist()):
                    if (key := (window.video, person.track, frame)) not in done:
                        done.add(key)
                        rows.append(
                            _Box(window.video, frame, float(person.times_s[n]), person.track,
                                 person.boxes_xyxy_px[n], float(person.scores[n]), label, chance)
                        )  # fmt: skip
            yield from sorted(rows, key=lambda row: row.frame)


@dataclass(frozen=True)
class _Box:
    video: str
    frame: int
    time_s: float
    track: int
    box_xyxy_px: NDArray[np.float32]
    score: float
    label: int
    probability: float


EVENT_KEYS = ("video", "person", "action", "start_s", "end_s", "probability")
"""Of the JSON and the table of an event."""


def _fields(event: VideoEvent) -> tuple[Any, ...]:
    return tuple(getattr(event, key) for key in EVENT_KEYS)


def event_lines(video: str, events: Sequence[VideoEvent]) -> Iterator[str]:
    """A line per event of a video, as ``hpnet predict --events`` prints them."""
    for event in events:
        when = f"{event.start_s:7.2f}-{event.end_s:.2f} s"
        yield f"{one_line(video)}  {when:<18} person {event.person:<6} {event.action} {event.probability:.1%}"
    if not events:
        yield f"{one_line(video)}  no event was found"


def event_json_lines(video: str, events: Sequence[VideoEvent]) -> Iterator[str]:
    """A JSON object per event of a video, as ``hpnet predict --events --json`` prints them."""
    for event in events:
        numbers = {"start_s": round(event.start_s, 3), "end_s": round(event.end_s, 3)}
        numbers["probability"] = round(event.probability, 4)
        yield json.dumps({**dict(zip(EVENT_KEYS, _fields(event), strict=True)), **numbers})
    if not events:
        yield json.dumps({**dict.fromkeys(EVENT_KEYS), "video": video})


def make_result(
    predictions: list[Prediction],
    names: tuple[str, ...],
    edges: tuple[tuple[int, int], ...],
    max_fps: float | None,
    failed: dict[str, str],
    with_frames: bool,
) -> Result:
    """The result of some predictions.

    Args:
        edges: bones of the skeleton, for drawing.
        max_fps: the rate at which the windows were cut.
        with_frames: keep the frames of live windows.
    """
    windows = tuple(window_result(prediction, names) for prediction in predictions)
    kept = tuple(without_maps(prediction, with_frames) for prediction in predictions)
    return Result(names, windows, failed, None, kept, edges, max_fps)
