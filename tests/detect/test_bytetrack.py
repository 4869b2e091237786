"""The tracker of live sources: numbers of people from step to step, with and without a detector."""

from __future__ import annotations

import pickle

import numpy as np

from hpnet.detect.bytetrack import OnlineTracker, track, tracker_options
from hpnet.detect.detector import Detection

OPTIONS = tracker_options(10, 0.5)


def seen(*lefts: float) -> Detection:
    """People 20 wide and 60 high."""
    boxes = np.array([[left, 10, left + 20, 70] for left in lefts], np.float32).reshape(-1, 4)
    return boxes, np.full(len(lefts), 0.9, np.float32)


def test_step_by_step_it_finds_the_tracks_that_it_finds_at_once() -> None:
    steps = [seen(10 + 2 * n, *([100 - n] if n >= 5 else []), *([200] if n < 8 else [])) for n in range(20)]
    online = OnlineTracker()
    found: dict[int, list[float]] = {}
    for boxes, scores in steps:
        for number, row in online.detected((boxes, scores), OPTIONS).items():
            found.setdefault(number, []).append(float(boxes[row, 0]))
    whole = track(steps, list(range(20)), rate_fps=10, confidence=0.5)
    lefts = [one.boxes_xyxy_px[:, 0].tolist() for one in whole]
    assert found[0] == lefts[0]
    assert found[1] == lefts[1]
    assert found[2] == lefts[2][1:]  # a new person is one from the second detection on
    assert online.numbers == {0, 2}


def test_carried_boxes_keep_a_person_whom_the_expected_path_would_lose() -> None:
    online = OnlineTracker()
    online.detected(seen(10), OPTIONS)
    for n in range(1, 10):
        online.carried({0: seen(10 + 15 * n)[0][0]})
    assert online.detected(seen(160), OPTIONS) == {0: 0}
    lost = OnlineTracker()
    lost.detected(seen(10), OPTIONS)
    for _ in range(9):
        lost.carried({})
    assert lost.detected(seen(160), OPTIONS) == {}
    assert lost.is_unsure


def test_it_does_not_grow() -> None:
    online = OnlineTracker()
    sizes = []
    for n in range(300):
        online.detected(seen(10 + n % 7, *([150 + n % 50] if n // 20 % 2 else [])), OPTIONS)
        online.carried({})
        sizes.append(len(pickle.dumps(online)))
    assert max(sizes[200:]) <= max(sizes[:100]) + 100
