"""A long video watched once: every pose once, windows that slide, people who come, go and are lost; nothing is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hpnet.artifacts.poses import ClipPoses, PoseMeta
from hpnet.core.skeleton import COCO17
from hpnet.detect.tracking import Track
from hpnet.params import Params, validate
from hpnet.predict.following import CHUNK_S, Following, mixed, parts_of
from hpnet.predict.people import Person, SeenWindow
from hpnet.predict.seeing import Seen
from hpnet.predict.trained import Sample
from hpnet.predict.windows import Cutting, HeldFrames, Window

FPS = 8
PARAMS: Params = validate(
    {"estimate": {"model": "mannequin-simcc", "taps": ["h2s3"], "window": 3}, "pool": {"tap": "h2s3", "frames": 8}}
)
META = PoseMeta("fake", "", COCO17, (96, 128), {"h2s3": (2, 8, 8)}, 3)
Who = Callable[[int], dict[int, tuple[float, int]]]
"""Frame of the video -> number of each track there, its place and what it does."""


@dataclass
class FakeEyes:
    """Sees tracks that a function tells; a map holds what the person does, so that windows can be checked."""

    who: Who
    unsure: Callable[[int, int], bool] = lambda number, frame: False
    read: list[tuple[int, int]] = field(default_factory=list)
    estimator: Any = field(default_factory=lambda: SimpleNamespace(meta=META))

    def see(self, windows: Any, keep: Any, on_failure: Any, read: Any) -> Iterator[Seen[Any]]:
        for window in windows:
            times_s = np.array([seconds for seconds, _ in window.frames])
            people = self._people(window, len(times_s))
            seen = SeenWindow(window, times_s, (64, 48), tuple(people))
            kept = keep(seen)
            yield Seen(seen, self._poses(seen, read(seen, kept)), kept)

    def _people(self, window: Window, count: int) -> list[Person]:
        frames: dict[int, list[int]] = {}
        for n in range(count):
            for number in self.who(window.first + n):
                frames.setdefault(number, []).append(n)
        return [Person(number, self._track(window, number, np.array(own))) for number, own in frames.items()]

    def _track(self, window: Window, number: int, frames: Any) -> Track:
        left = np.array([self.who(window.first + n)[number][0] for n in frames.tolist()], np.float32)
        boxes = np.stack([left, 0 * left, left + 10, 0 * left + 40], axis=1)
        return Track(frames, boxes, np.ones(len(frames), np.float32))

    def _poses(self, seen: SeenWindow, boxes: Any) -> ClipPoses:
        people = max(1, len(seen.people))
        poses = ClipPoses(
            "part", np.zeros((seen.count, people, 17, 2), np.float32), np.ones((seen.count, people, 17), np.float32),
            np.zeros((seen.count, people, 2, 3), np.float32), np.zeros((seen.count, people), bool),
            {"h2s3": np.zeros((seen.count, people, 17, 3, 3, 2), np.float16)},
        )  # fmt: skip
        for frame, rank in zip(boxes.frames.tolist(), boxes.tracks.tolist(), strict=True):
            number = seen.people[rank].number
            place, action = self.who(seen.window.first + frame)[number]
            self.read.append((number, seen.window.first + frame))
            poses.valid[frame, rank] = True
            if self.unsure(number, seen.window.first + frame):
                poses.scores[frame, rank] = 0.3
            poses.windows["h2s3"][frame, rank, ..., action] = 1
            poses.keypoints_px[frame, rank, :, 0] = place
            poses.keypoints_px[frame, rank, ::2, 1] = 40
        return poses


@dataclass
class FakeProject:
    """Knows two actions: what most frames of a window show."""

    mutual: Any = field(default_factory=lambda: np.zeros(2, bool))
    params: Params = PARAMS
    classes: tuple[str, ...] = ("sit", "stand")
    people: int = 2
    most_asked: int = 0

    taught = None

    def with_taught(self, probabilities: Any, samples: list[Sample]) -> Any:
        return probabilities

    def logits(self, samples: list[Sample]) -> dict[str, Any]:
        self.most_asked = max(self.most_asked, len(samples))
        return {"hpj": np.stack([sample.features.astype(np.float64).mean((0, 1, 2)) for sample in samples])}

    def logits_and_inputs(self, samples: list[Sample]) -> Any:
        return self.logits(samples), np.array([[len(sample.features)] for sample in samples], np.float32)

    def probabilities(self, logits: dict[str, Any]) -> Any:
        return (logits["hpj"] + 1e-3) / (logits["hpj"] + 1e-3).sum(1, keepdims=True)


def parts(frames: int, fps: float = FPS, part_s: float = CHUNK_S) -> Iterator[Window]:
    """A video of so many frames in parts that share half a second, as a file is cut."""
    image = np.zeros((2, 2, 3), np.uint8)
    length, hop = round(part_s * fps), round((part_s - 0.5) * fps)
    for number, first in enumerate(range(0, max(1, frames - length + hop), hop)):
        timed = tuple((n / fps, image) for n in range(first, min(first + length, frames)))
        yield Window("video", number, first, fps, HeldFrames(timed), (64, 48))


def follow(who: Who, frames: int, project: FakeProject | None = None, window_s: float = 2.0) -> tuple[Any, FakeEyes]:
    eyes = FakeEyes(who)
    following = Following(project or FakeProject(), eyes, parts(frames), window_s, refuse)  # type: ignore[arg-type]
    list(following)
    return following, eyes


def refuse(video: str, reason: str) -> None:
    raise AssertionError(f"{video}: {reason}")


def test_parts_share_half_a_second_whatever_the_windows_are() -> None:
    cut = parts_of(Cutting(1.5, 3.0, 0.75, 30.0, 2))
    assert (cut.window_s, cut.whole_s, cut.overlap, cut.max_fps, cut.stride) == (4.0, 4.0, 0.125, 30.0, 2)


def test_the_pose_network_reads_a_frame_once_and_windows_slide_over_what_it_found() -> None:
    following, eyes = follow(lambda frame: {0: (5.0, int(frame >= 80))}, 160)
    assert sorted(eyes.read) == [(0, frame) for frame in range(160)]
    (line,) = following.timelines
    assert (line.start_s, line.end_s, line.step_s, line.first, len(line)) == (0.0, 20.0, 0.25, 0, 80)
    stands = np.exp(line.log_probabilities[:, 1])
    centres_s = (np.arange(80) + 0.5) * 0.25
    expected = np.clip((centres_s + 1 - 10) / 2, 0, 1)  # the share of the window after the change
    assert stands == pytest.approx(expected, abs=0.08)
    assert following.end_s == 20.0


@pytest.mark.parametrize("frames", [1, 3, 15, 16])
def test_a_video_shorter_than_a_window_is_one_window(frames: int) -> None:
    following, _ = follow(lambda frame: {0: (5.0, 1)}, frames)
    (line,) = following.timelines
    assert (line.start_s, line.end_s) == (0.0, frames / FPS)
    assert len(line) == max(1, frames // 2)
    assert line.step_times_s(0, len(line)) == (0.0, frames / FPS)
    assert np.exp(line.log_probabilities[:, 1]) == pytest.approx(1, abs=0.01)


def test_nobody_gives_no_timeline() -> None:
    following, eyes = follow(lambda frame: {}, 100)
    assert following.timelines == []
    assert eyes.read == []


def test_who_leaves_and_comes_back_has_two_timelines() -> None:
    following, _ = follow(lambda frame: {0: (5.0, 0)} if frame < 40 or frame >= 80 else {}, 120)
    assert [(t.person, t.start_s, t.end_s) for t in following.timelines] == [(0, 0.0, 5.0), (0, 10.0, 15.0)]


def test_a_track_that_breaks_for_a_moment_goes_on() -> None:
    def who(frame: int) -> dict[int, tuple[float, int]]:
        return {} if 40 <= frame < 44 else {int(frame >= 44): (5.0, 0)}

    following, _ = follow(who, 80)
    assert [(t.person, t.start_s, t.end_s) for t in following.timelines] == [(0, 0.0, 10.0)]


def test_a_chair_is_nobody_and_who_sits_down_on_it_goes_on() -> None:
    """A chair is tracked from the beginning; the person sits down on it after five seconds, and that track goes on."""

    def who(frame: int) -> dict[int, tuple[float, int]]:
        return {0: (5.0, 0), 1: (6.0, 1)} if frame < 40 else {1: (6.0, 1)}

    eyes = FakeEyes(who, lambda number, frame: number == 1 and frame < 40)
    following = Following(FakeProject(), eyes, parts(80), 2.0, refuse)  # type: ignore[arg-type]
    shown = list(following)
    assert [(t.person, t.start_s, t.end_s) for t in following.timelines] == [(0, 0.0, 10.0)]
    assert [[person.number for person in part.seen.people] for part in shown] == [[0], [0, 0], [0]]
    alone = FakeEyes(lambda frame: {0: (5.0, 0)}, lambda number, frame: True)
    following = Following(FakeProject(), alone, parts(80), 2.0, refuse)  # type: ignore[arg-type]
    assert all(part.seen.people == () for part in following)
    assert following.timelines == []


def test_a_new_track_elsewhere_or_after_long_is_somebody_else() -> None:
    following, _ = follow(lambda frame: {int(frame >= 44): (5.0 if frame < 44 else 30.0, 0)}, 80)
    assert [(t.person, t.start_s, t.end_s) for t in following.timelines] == [(0, 0.0, 5.5), (1, 5.5, 10.0)]
    following, _ = follow(lambda frame: {} if 40 <= frame < 60 else {int(frame >= 60): (5.0, 0)}, 80)
    assert [t.person for t in following.timelines] == [0, 1]


def test_tracks_that_swap_do_not_stop_it_and_no_person_is_in_two_places() -> None:
    def who(frame: int) -> dict[int, tuple[float, int]]:
        swapped = frame >= 50
        return {0: (30.0 if swapped else 5.0, int(swapped)), 1: (5.0 if swapped else 30.0, 1 - int(swapped))}

    following, eyes = follow(who, 100)
    assert [(t.person, t.start_s, t.end_s) for t in following.timelines] == [(0, 0.0, 12.5), (1, 0.0, 12.5)]
    assert len(eyes.read) == len(set(eyes.read)) == 200


def test_people_who_do_something_together_are_asked_together() -> None:
    alone, _ = follow(lambda frame: {0: (5.0, 0), 1: (30.0, 1)}, 60)
    assert [t.log_probabilities.argmax(1).tolist() for t in alone.timelines] == [[0] * 30, [1] * 30]
    project = FakeProject(mutual=np.array([False, True]))
    both, _ = follow(lambda frame: {0: (5.0, 1), 1: (30.0, 1)}, 60, project)
    assert [t.log_probabilities.argmax(1).tolist() for t in both.timelines] == [[1] * 30, [1] * 30]
    assert all(np.isnan(t.views.together).all() and np.isnan(t.views.near).all() for t in alone.timelines)
    views = both.timelines[0].views
    assert views.near == pytest.approx(np.tile([25 / 40, 25 / 40], (30, 1)))
    assert views.together.argmax(1).tolist() == [1] * 30
    assert (views.inputs == 1).all()


def test_what_people_do_together_is_seen_in_the_answers_for_each_of_them() -> None:
    mutual = np.array([False, False, True])
    alone, together = np.log([0.25, 0.74, 0.01]), np.log([0.1, 0.1, 0.8])
    found = np.exp(mixed(alone, together, np.stack([alone, alone]), mutual))
    assert found == pytest.approx([0.2 * 25 / 99, 0.2 * 74 / 99, 0.8])
    seen = np.log([0.5, 0.4, 0.1])  # the other one looks like it
    assert np.exp(mixed(alone, together, np.stack([alone, seen]), mutual))[2] == pytest.approx(40 / 41)
    never = np.log([0.3, 0.6999, 0.0001])
    assert np.exp(mixed(never, np.log([5e-4, 5e-4, 0.999]), np.stack([never, never]), mutual))[2] < 0.2


def test_frames_are_left_out_as_in_training() -> None:
    project = FakeProject(
        params=validate({**PARAMS.model_dump(), "estimate": {**PARAMS.estimate.model_dump(), "frames": 4}})
    )
    _, eyes = follow(lambda frame: {0: (5.0, 0)}, 64, project)
    assert [frame for _, frame in eyes.read] == list(range(0, 64, 4))  # 4 of the 16 frames of 2 s


def kept_rows(minutes: float) -> tuple[int, int, int]:
    """Of a video of so many minutes: its steps, the most frames kept of a person, the most windows asked at once."""
    project, eyes = FakeProject(), FakeEyes(lambda frame: {0: (5.0, frame // 40 % 2)})
    following = Following(project, eyes, parts(round(60 * minutes * FPS)), 2.0, refuse)  # type: ignore[arg-type]
    most = 0
    for _ in following:
        most = max(most, *(len(p.rows["frame"]) for p in following._present.values()))
    return sum(map(len, following.timelines)), most, project.most_asked


def test_memory_does_not_grow_with_the_video() -> None:
    short, longer = kept_rows(0.25), kept_rows(1.0)
    assert longer[0] == 4 * short[0]
    assert longer[1:] == short[1:]
    assert longer[1] <= (2.0 + 0.25) * FPS + 1


@pytest.mark.long
@pytest.mark.timeout(600)
def test_an_hour_of_video_is_kept_as_a_minute_is() -> None:
    assert kept_rows(60.0)[1:] == kept_rows(1.0)[1:]
