"""A live source watched frame by frame: carried boxes, people who come and go, windows like those of files."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from hpnet.artifacts.poses import PoseMeta
from hpnet.core.skeleton import COCO17
from hpnet.detect.detector import Detection
from hpnet.estimate.batches import CropPoses, Estimator
from hpnet.params import Params, validate
from hpnet.predict.live import Captured, LiveFrame, Pace
from hpnet.predict.people import PeopleFinder
from hpnet.predict.recognise import Recogniser
from hpnet.predict.seeing import Eyes
from hpnet.predict.watching import Watching
from hpnet.predict.windows import Cutting, HeldFrames, Window, array_windows

FPS = 10.0
WIDTH, HEIGHT = 320, 120
PARAMS: Params = validate(
    {
        "detect": {"persons": 3, "stride": 1, "confidence": 0.3},
        "estimate": {"model": "mannequin-simcc", "taps": ["h2s3"], "window": 3},
        "pool": {"tap": "h2s3", "frames": 8, "region": 3},
    }
)
Who = Callable[[int], list[tuple[float, float]]]
"""Frame -> left edge and brightness (0..1) of each person; a person is a bright block 20 wide and 60 high."""
JOINTS = np.random.default_rng(0).uniform(0.1, 0.9, (17, 2))
"""Places of joints in a person, as shares of the block."""


def picture(people: list[tuple[float, float]]) -> Any:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for left, bright in people:
        image[30:90, max(0, round(left)) : max(0, round(left + 20))] = round(255 * bright)
    return image


@dataclass
class Blocks:
    """A detector that finds bright blocks, and counts its looks."""

    looks: int = 0
    blind: bool = False

    def detect(self, frames: Any) -> list[Detection]:
        self.looks += len(frames)
        return [self._one(frame) for frame in frames]

    def _one(self, frame: Any) -> Detection:
        row = np.concatenate([[0], (frame[60, :, 0] > 100).astype(int), [0]])
        edges = np.flatnonzero(np.diff(row))
        boxes = [(left, 30, right, 90) for left, right in zip(edges[::2], edges[1::2], strict=True)]
        found = np.array([] if self.blind else boxes, np.float32).reshape(-1, 4)
        return found, np.full(len(found), 0.9, np.float32)


class Reader(Estimator):
    """A pose network that sees a block in a crop: its joints, sure where the block is bright."""

    def __init__(self) -> None:
        self.params = PARAMS.estimate
        self.widths = (1.0,)
        self.batch_size = 4
        self.meta = PoseMeta("fake", "", COCO17, (96, 128), {"h2s3": (2, 8, 8)}, 3)
        self.crops = 0

    def submit(self, crop_batch: Any) -> Callable[[], CropPoses]:
        self.crops += len(crop_batch)
        count = len(crop_batch)
        points, scores = np.zeros((count, 17, 2), np.float32), np.zeros((count, 17), np.float32)
        windows = np.zeros((count, 17, 3, 3, 2), np.float16)
        for n, crop in enumerate(crop_batch.reshape(count, 128, 96, 3)):
            middle = crop[64, :, 0] > 60
            ys, xs = np.nonzero(crop[..., 0] > 60)
            if middle.any():
                low, high = np.array([xs.min(), ys.min()]), np.array([xs.max(), ys.max()])
                points[n] = low + JOINTS * (high - low)
                scores[n] = crop[ys, xs, 0].mean() / 255
            windows[n] = scores[n][:, None, None, None] * np.arange(1, 3)
        return lambda: CropPoses(points, scores, {"h2s3": windows}, None)


@dataclass
class Project:
    """What a window's answers are made of can be read from them."""

    params: Params = PARAMS
    classes: tuple[str, ...] = ("dark", "bright")
    wants_frames: int = 0
    taught: Any = None
    asked: list[Any] = field(default_factory=list)

    def logits(self, samples: Any) -> Any:
        self.asked.append([sample.features for sample in samples])
        return {"hpj": np.stack([sample.features.astype(np.float32).mean((0, 1, 2)) for sample in samples])}

    def probabilities(self, logits: Any) -> Any:
        chances = np.exp(logits["hpj"])
        return chances / chances.sum(1, keepdims=True)

    def with_taught(self, probabilities: Any, samples: Any) -> Any:
        return probabilities

    def of_names(self, probabilities: Any) -> Any:
        return probabilities

    def unknown(self, logits: Any, probabilities: Any) -> Any:
        return None


@dataclass
class World:
    """Networks and a project that see what ``who`` says."""

    who: Who
    detect_every: int = 5
    window_s: float = 1.0
    params: Params = PARAMS

    def __post_init__(self) -> None:
        self.detector, self.reader = Blocks(), Reader()
        self.reader.params = self.params.estimate
        self.eyes = Eyes(self.reader, PeopleFinder(self.params.detect, self.params.detect.persons, self.detector))
        self.project: Any = Project(self.params)
        self.watching = Watching(self.project, self.eyes, self.window_s, self.detect_every)
        self.recogniser = Recogniser.__new__(Recogniser)
        self.recogniser.project, self.recogniser.each, self.recogniser.eyes = self.project, True, self.eyes
        self.seen = 0

    def look(self, frames: int) -> None:
        """Let so many frames more pass."""
        for number in range(self.seen, self.seen + frames):
            self.watching.look(LiveFrame(number, number / FPS, picture(self.who(number))))
        self.seen += frames

    def window(self, frames: int) -> Any:
        """The window of the newest frames."""
        window = Window("live", 0, self.seen - frames, FPS, HeldFrames(()), (WIDTH, HEIGHT), 0.0)
        return self.watching.window(window)

    def numbers(self, frames: int = 10) -> list[int]:
        return sorted(person.number for person in self.window(frames).window.people)


@pytest.mark.parametrize("people", [0, 1, 3])
def test_windows_are_answered_as_those_of_files_are(people: int) -> None:
    """With the detector in every frame; frames are read once though windows overlap by half."""
    world = World(lambda n: [(20 + 100 * m + 2 * n, 0.5 + 0.01 * n + 0.1 * m) for m in range(people)], 1)
    frames = np.stack([picture(world.who(n)) for n in range(20)])
    whole = World(world.who)
    cutting = Cutting(1.0, 1.0, 0.5)
    expected = list(whole.recogniser.predict(array_windows(frames, FPS, cutting), pytest.fail, 1))
    assert len(expected) == 3
    found = []
    for number, window in enumerate(array_windows(frames, FPS, cutting)):
        world.look(10 if number == 0 else 5)
        found.append(world.recogniser.answer(world.watching.window(window)))
    assert world.reader.crops == 20 * people
    assert whole.reader.crops == 30 * people
    for one, other in zip(found, expected, strict=True):
        assert [p.number for p in one.seen.people] == [p.number for p in other.seen.people]
        assert len(one.answers) == len(other.answers)
        assert np.array_equal(one.poses.valid, other.poses.valid)
        for mine, theirs in zip(one.answers, other.answers, strict=True):
            assert mine.probabilities == pytest.approx(theirs.probabilities, abs=1e-4)
        for mine, theirs in zip(one.seen.people, other.seen.people, strict=True):
            assert mine.track.boxes_xyxy_px == pytest.approx(theirs.track.boxes_xyxy_px, abs=1e-3)


def test_a_single_frame_is_a_window() -> None:
    world = World(lambda n: [(50, 0.9)])
    world.look(1)
    answer = world.recogniser.answer(world.window(1))
    assert answer.poses.valid.tolist() == [[True]]
    assert len(answer.answers) == 1


def test_carried_boxes_follow_a_moving_person() -> None:
    world = World(lambda n: [(20 + 5 * n, 0.8)], detect_every=20, window_s=4.0)
    world.look(40)
    assert world.detector.looks == 2
    (person,) = world.window(40).window.people
    lefts = person.track.boxes_xyxy_px[:, 0]
    assert lefts == pytest.approx(20 + 5 * person.track.frames + 5 * (40 - len(lefts)), abs=3)
    assert person.number == 0


def test_the_detector_looks_at_once_where_joints_become_unsure() -> None:
    world = World(lambda n: [(50, 0.9 if n < 4 else 0.55)], detect_every=100)
    world.detector.detect(np.zeros((1, HEIGHT, WIDTH, 3), np.uint8))
    world.look(25)
    assert world.detector.looks == 2  # joints are unsure, but a quarter of the frames must pass
    world.look(5)
    assert world.detector.looks == 3
    world.look(60)
    assert world.detector.looks == 3  # so unsure are they now


def test_who_leaves_is_gone_and_who_comes_back_later_is_somebody_else() -> None:
    def who(n: int) -> list[tuple[float, float]]:
        return [(100, 0.8)] if n < 20 or n >= 60 else []

    world = World(who)
    world.look(20)
    assert world.numbers() == [0]
    world.look(30)
    assert world.numbers() == []
    assert world.window(10).poses.valid.sum() == 0
    world.look(30)
    assert world.numbers() == [1]


def test_a_person_whom_the_detector_misses_once_stays() -> None:
    world = World(lambda n: [(50 + n, 0.8)], window_s=2.0)
    world.look(8)
    world.detector.blind = True
    world.look(5)
    world.detector.blind = False
    world.look(10)
    assert world.numbers(20) == [0]
    assert world.window(10).poses.valid.all()
    world.detector.blind = True
    world.look(40)
    assert world.numbers() == []


def test_most_prominent_people_are_read_and_new_ones_are_found() -> None:
    params = PARAMS.model_copy(update={"detect": PARAMS.detect.model_copy(update={"persons": 1})})
    world = World(lambda n: [(50, 0.8)] if n < 10 else [(50, 0.8), (200, 0.9)], params=params)
    world.look(30)
    assert world.reader.crops == 30
    assert world.numbers() == [0]
    both = World(lambda n: [(50, 0.8)] if n < 10 else [(50, 0.8), (200, 0.9)])
    both.look(30)
    assert both.numbers() == [0, 1]


def test_as_many_poses_as_in_training() -> None:
    estimate = PARAMS.estimate.model_copy(update={"frames": 5})
    world = World(lambda n: [(50 + n, 0.8)], params=PARAMS.model_copy(update={"estimate": estimate}))
    world.look(40)
    assert world.reader.crops == 20
    assert world.window(10).poses.valid.sum() == 5
    assert len(world.window(10).window.people[0].track.frames) >= 9


def test_nothing_grows_however_long_it_runs() -> None:
    """People come and go."""

    def who(n: int) -> list[tuple[float, float]]:
        return [(20 + (3 * n + 90 * m) % 270, 0.8) for m in range(1 + n // 7 % 3)]

    world = World(who)
    world.look(40)
    sizes = []
    for _ in range(20):
        world.look(13)
        world.window(10)
        sizes.append(len(pickle.dumps(vars(world.watching) | {"project": None, "eyes": None})))
    assert max(sizes[10:]) <= 1.2 * max(sizes[:10])
    assert max(sizes) < 200_000


def test_without_a_detector_the_whole_frame_is_the_person() -> None:
    world = World(lambda n: [(50, 0.8)])
    world.eyes.finder.detector = None
    world.look(10)
    (person,) = world.window(10).window.people
    assert (person.track.boxes_xyxy_px == [0, 0, WIDTH, HEIGHT]).all()
    assert world.window(10).poses.valid.all()


def taken(cost_s: float, fps: float, seconds: float, dear_s: float = 0.0, every: int = 1) -> list[float]:
    """Times of the frames that a machine takes which needs ``cost_s`` for each, and ``dear_s`` more for some, evenly in
    the time of the video."""
    pace, found, now, done = Pace(), [], 0.0, -1
    frames = [n / fps for n in range(round(seconds * fps))]
    while now < seconds:
        waiting = [Captured(n, t, np.zeros(0)) for n, t in enumerate(frames) if done < n and t <= now]
        chosen = pace.choose(waiting, False) if waiting else None
        if chosen is None:
            now += 0.001
            continue
        done = waiting[chosen].index
        found.append(waiting[chosen].at_s)
        needed_s = cost_s + dear_s * (int(found[-1] * fps / every) > int(found[-2] * fps / every) if found[1:] else 0)
        now += needed_s
        pace.add(needed_s)
    return found


def test_cheap_frames_are_not_left_out_because_a_dear_one_came_before_them() -> None:
    """Three quarters of the time are needed, most of it by every sixth frame."""
    assert len(taken(0.002, 30, 20, dear_s=0.14, every=6)) >= 580


def test_a_fast_machine_takes_all_frames_and_a_slow_one_as_many_as_it_can_evenly() -> None:
    assert len(taken(0.02, 30, 10)) >= 299
    slow = taken(0.05, 30, 10)
    assert 185 <= len(slow) <= 201
    gaps = np.round(np.diff(slow[20:]) * 30)
    assert set(gaps.tolist()) <= {1.0, 2.0}
    slower = taken(0.5, 30, 20)
    assert 34 <= len(slower) <= 40
    assert np.diff(slower[5:]).max() < 0.65
