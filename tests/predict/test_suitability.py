"""hpnet predict says where the project's networks do not suit the people of a video."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hpnet.artifacts.poses import ClipPoses
from hpnet.detect.tracking import Track
from hpnet.params import Params, validate
from hpnet.predict.output import Output
from hpnet.predict.people import Person, SeenWindow
from hpnet.predict.recognise import Prediction
from hpnet.predict.suitability import LIVE_WINDOWS, Sureness
from hpnet.predict.windows import HeldFrames, Window

FRAMES = 3


def window(number: int, boxes: float | None, joints: float, live: bool = False) -> Prediction:
    """A window whose one person has these scores; None: nobody."""
    people: tuple[Person, ...] = ()
    if boxes is not None:
        track = Track(np.arange(FRAMES), np.tile(np.float32([1, 1, 9, 9]), (FRAMES, 1)), np.full(FRAMES, boxes, "f4"))
        people = (Person(0, track),)
    of_video = Window("street.mp4", number, number * FRAMES, 10.0, HeldFrames(()), (16, 12), 0.0 if live else None)
    poses = ClipPoses(
        "street.mp4",
        np.zeros((FRAMES, 1, 17, 2), np.float32),
        np.full((FRAMES, 1, 17), joints, np.float32),
        np.zeros((FRAMES, 1, 2, 3), np.float32),
        np.full((FRAMES, 1), boxes is not None),
        {},
    )
    seen = SeenWindow(of_video, np.arange(FRAMES) / 10, (16, 12), people)
    return Prediction(seen, poses, (), 0.1 if live else None)


def warnings(predictions: list[Prediction], params: Params | None = None) -> list[str]:
    lines: list[tuple[str, bool]] = []

    def keep(text: str, err: bool = False) -> None:
        lines.append((text, err))

    trained: Any = SimpleNamespace(params=params or Params(), classes=[], names=[])
    missing: Any = None  # nothing is drawn or read here
    Output(trained, missing, missing, 3, False, {}, keep).show(iter(predictions))
    assert sum(not err for _, err in lines) == len(predictions)  # every answer, whatever is said of it
    return [text for text, err in lines if err]


@pytest.mark.parametrize(
    ("boxes", "joints", "unsuited"), [(0.74, 0.83, []), (0.45, 0.83, ["boxes"]), (0.44, 0.43, ["boxes", "joints"])]
)
def test_a_file_is_judged_once_at_its_end(boxes: float, joints: float, unsuited: list[str]) -> None:
    found = warnings([window(number, boxes, joints) for number in range(LIVE_WINDOWS + 2)])
    assert len(found) == len(unsuited)
    for text, what in zip(found, unsuited, strict=True):
        assert text.startswith("street.mp4: warning: ")
        assert what in text
        assert "rendered mannequins" in text


def test_a_live_source_is_judged_after_a_few_windows_or_at_its_end() -> None:
    assert len(warnings([window(n, 0.4, 0.8, live=True) for n in range(LIVE_WINDOWS + 2)])) == 1
    assert len(warnings([window(n, 0.4, 0.8, live=True) for n in range(2)])) == 1
    assert warnings([window(n, 0.7, 0.8, live=True) for n in range(LIVE_WINDOWS + 2)]) == []


def test_windows_without_people_count_against_the_detector_alone() -> None:
    sureness = Sureness(Params())
    for prediction in (window(0, None, 0.0), window(1, None, 0.0), window(2, 0.74, 0.83)):
        sureness.add(prediction.seen, prediction.poses)
    assert [(found.stage, found.suits) for found in sureness.comparisons()] == [("detect", False), ("estimate", True)]


def test_networks_of_which_nothing_is_known_are_not_judged() -> None:
    fetched = validate({"detect": {"model": "yolo11m"}, "estimate": {"model": "hrnet-w48-simcc"}})
    own = validate({"detect": {"enabled": False}, "estimate": {"weights": "mine.safetensors"}})
    for params in (fetched, own):
        assert warnings([window(0, 0.1, 0.1)], params) == []
