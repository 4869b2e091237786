"""hpnet bench live: time that passes as fast as frames are looked at, and the figures of what was played."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hpnet.bench import live
from hpnet.core.video import write_timed
from hpnet.predict.live import LiveReader, live_windows
from hpnet.predict.windows import Cutting

CUTTING = Cutting(1.0, 1.0, 0.5, max_fps=30)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    file = tmp_path / "long.mp4"
    write_timed(file, ((n / 10, np.zeros((32, 32, 3), np.uint8)) for n in range(80)), 10)
    return file


class Model:
    """Answers at once, or late."""

    def __init__(self, late_s: float = 0.0) -> None:
        self.late_s = late_s

    def cutting(self, live: bool) -> Cutting:
        return CUTTING

    def watch(self, source: str, cutting: Cutting, seconds: Any, keeps_frames: bool, clock: Any) -> Any:
        looked: list[int] = []

        def look(frame: Any) -> None:
            looked.append(frame.number)
            time.sleep(self.late_s)

        with LiveReader(source, cutting.window_s, cutting.max_fps, clock) as reader:
            for window in live_windows(reader, cutting, seconds, look, keeps_frames):
                count = len(looked) - window.first
                seen = SimpleNamespace(window=window, count=count, end_s=looked[-1] / 10)
                poses = SimpleNamespace(valid=np.ones((count, 2), bool))
                yield SimpleNamespace(seen=seen, poses=poses, latency_s=0.1)


def test_a_hurried_clock_lets_all_frames_be_looked_at_in_less_time(video: Path) -> None:
    began = time.monotonic()
    played = live.play(Model(), video, live.HurriedClock())  # type: ignore[arg-type]
    assert time.monotonic() - began < 7  # of 8 s
    assert played.dropped == 0
    figures = played.figures()
    assert 40 <= figures["frames"] <= 50  # what comes after the first three seconds
    assert played.poses == 2 * played.frames
    assert figures["frames_per_s"] > 10
    assert figures["latency_p95_s"] == 0.1
    assert figures["memory_growth_mb"] < 20


def test_a_video_that_is_too_short_is_refused(tmp_path: Path) -> None:
    write_timed(tmp_path / "a.mp4", ((n / 10, np.zeros((32, 32, 3), np.uint8)) for n in range(9)), 10)
    with pytest.raises(ValueError, match=r"a\.mp4 gave no two windows after the first 3 s"):
        live.play(Model(), tmp_path / "a.mp4", live.HurriedClock())  # type: ignore[arg-type]


def test_a_page_has_a_row_for_each_video() -> None:
    played = live.Played(10.0, 200, 50, 210, 8.0, [0.1] * 19 + [0.5], [100_000_000] * 10 + [101_000_000] * 10)
    case = {"people": 3, "size_px": [1280, 720], "video_fps": 30.0, "video_s": 30.0, "own_rate": played.figures(),
            "hurried": played.figures() | {"frames_per_s": 33.0}}  # fmt: skip
    machine = {"gpu": None, "processor": "P", "cores": 2, "threads": 2, "load_at_start": 0.1, "memory_gb": 8.0,
               "python": "3", "torch": "2"}  # fmt: skip
    result = {"machine": machine, "detector": "movenet-multipose", "pose": "movenet-lightning", "streams": ["hpj"],
              "window_s": 1.0, "poses_per_window": 10, "detect_every": 10, "backend": "torch",
              "cases": {"3 rendered": case}}  # fmt: skip
    page = live.markdown(result, "hpnet bench live", "Not alone.")
    row = "| 3 | 20 | 50 of 250 | 33 | 21 | 100 and 120 ms | 40 ms | 101 and +1 MB |"
    assert row in page
    assert page.endswith("Not alone.\n")


def test_mannequins_stand_beside_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(scene: Any, width: int, height: int) -> Any:
        return np.full((2, height, width, 3), 50 * len(shown), np.uint8), shown.append(scene)

    shown: list[Any] = []
    monkeypatch.setattr(live, "render_with_truth", drawn)
    file = live.rendered(tmp_path, 3, 10)
    assert len(shown) == 3
    assert live.probe(file).width == 1280
