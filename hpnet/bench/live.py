"""``hpnet bench live``: a file played like a camera, with one person and with several.

Each video is played twice: at its own rate, where frames that there is no time for are dropped, and as fast as frames
are looked at, which says how many frames a second there is time for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..core.video import probe, write_video
from ..data.params import DataParams
from ..mannequin.render import render_with_truth
from ..mannequin.takes import TakeSpec, perform_take
from ..predict.live import Clock
from ..predict.model import Model
from .machine import describe_machine, machine_line, memory_bytes

SIZE_PX = (1280, 720)
FPS = 30
BARS_FPS = {1: 25.0, 3: 15.0}
"""People -> frames a second that two cores should do."""
BAR_LATENCY_S = 0.3
HURRIED_S = 10.0
"""So much of a video is played as fast as it goes."""
WARM_S = 3.0
"""Figures are of what comes later than this, because networks are slow at first."""


@dataclass(frozen=True)
class Case:
    """A video, and how many people of it are kept."""

    name: str
    video: Path
    people: int


@dataclass(frozen=True)
class Played:
    """What came of a video that was played.

    Attributes:
        seconds: wall-clock time after :data:`WARM_S`, to which the other figures belong.
        frames, dropped: frames that were looked at, and those that there was no time for.
        poses: crops that the pose network read.
        processor_s: processor time of all threads.
        latencies_s: from the capture of a window's last frame to its answer, each.
        memory_bytes: of the process at each answer.
    """

    seconds: float
    frames: int
    dropped: int
    poses: int
    processor_s: float
    latencies_s: list[float]
    memory_bytes: list[int]

    def figures(self) -> dict[str, float]:
        """Of a page: rates, percentiles, memory in MB."""
        memory = np.array(self.memory_bytes) / 1e6
        half = len(memory) // 2
        return {
            "frames_per_s": round(self.frames / self.seconds, 1),
            "poses_per_s": round(self.poses / self.seconds, 1),
            "frames": self.frames,
            "dropped": self.dropped,
            "windows": len(self.latencies_s),
            "latency_median_s": round(float(np.median(self.latencies_s)), 3),
            "latency_p95_s": round(float(np.percentile(self.latencies_s, 95)), 3),
            "processor_ms_per_frame": round(1e3 * self.processor_s / max(1, self.frames), 1),
            "memory_peak_mb": round(float(memory.max())),
            "memory_growth_mb": round(float(np.median(memory[half:]) - np.median(memory[: half or 1])), 1),
        }


class HurriedClock(Clock):
    """Time passes as fast as frames are looked at: a played frame comes when nothing is left to do."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._idle = threading.Event()

    def now_s(self) -> float:
        """The time at which the video is."""
        return self._now_s

    def wait(self, changed: threading.Condition, seconds: float | None) -> None:
        """Nothing is left to do."""
        self._idle.set()
        changed.wait(0.02)

    def pause(self, stop: threading.Event, seconds: float) -> None:
        """Let the time pass when nothing is left to do."""
        while not self._idle.wait(0.02) and not stop.is_set():
            pass
        self._idle.clear()
        self._now_s += seconds


def rendered(folder: Path, people: int, seconds: float) -> Path:
    """A video of mannequins beside each other, each of whom does several things alone."""
    width, height = SIZE_PX[0] // people // 2, SIZE_PX[1] // 2
    params = DataParams(fps=FPS, width=width, height=height, take_seconds=max(10.0, seconds))
    shown = []
    for number in range(people):
        scene, _ = perform_take(TakeSpec(1, 2, 1 + number, 1, 1, "test"), params)
        shown.append(render_with_truth(scene, width, height)[0])
    file = folder / f"{people}.mp4"
    write_video(file, np.stack(list(_enlarged(shown))), FPS)
    return file


def _enlarged(shown: Sequence[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Frames (T, h, w, 3) of several people -> frames with all of them, of the full size."""
    for frames in zip(*shown, strict=True):
        yield np.asarray(cv2.resize(np.concatenate(frames, axis=1), SIZE_PX, interpolation=cv2.INTER_CUBIC), np.uint8)


def play(model: Model, video: Path, clock: Clock | None = None, seconds: float | None = None) -> Played:
    """Play a video like a camera, or ``seconds`` of it, with another clock perhaps.

    Raises:
        ValueError: there were no two windows after :data:`WARM_S`.
    """
    cutting = model.cutting(live=True)
    memory: list[int] = []
    latencies_s: list[float] = []
    began_s = processor_s = 0.0
    frames = dropped = poses = upto = 0
    for prediction in model.watch(str(video), cutting, seconds, False, clock):
        seen = prediction.seen
        fresh = max(0, upto - seen.window.first)
        read = int(prediction.poses.valid[fresh:].sum())
        upto = seen.window.first + seen.count
        if began_s:
            frames, dropped, poses = frames + seen.count - fresh, dropped + seen.window.dropped, poses + read
            latencies_s.append(prediction.latency_s or 0.0)
            memory.append(memory_bytes())
        elif seen.end_s > WARM_S:
            began_s, processor_s = time.perf_counter(), time.process_time()
    if not latencies_s:
        raise ValueError(f"{video} gave no two windows after the first {WARM_S:g} s: give a longer one")
    seconds, used_s = time.perf_counter() - began_s, time.process_time() - processor_s
    return Played(seconds, frames, dropped, poses, used_s, latencies_s, memory)


def run(
    project: Path, cases: Sequence[Case], detect_every: int, device: str, backend: str | None = None
) -> dict[str, Any]:
    """Play every video both ways.

    Raises:
        FileNotFoundError, ValueError: see :func:`hpnet.load`.
    """
    machine = describe_machine()
    results: dict[str, Any] = {}
    for case in cases:
        info = probe(case.video)
        model = Model(project, device, people=case.people, backend=backend, detect_every=detect_every)
        own, hurried = play(model, case.video), play(model, case.video, HurriedClock(), HURRIED_S)
        results[case.name] = {
            "people": case.people,
            "size_px": [info.width, info.height],
            "video_fps": round(info.fps, 2),
            "video_s": round(info.seconds, 1),
            "own_rate": own.figures(),
            "hurried": hurried.figures(),
            "latencies_s": [round(value, 3) for value in own.latencies_s],
        }
    params = model.project.params
    return {
        "machine": machine,
        "detector": params.detect.model,
        "pose": params.estimate.model,
        "streams": list(model.streams),
        "window_s": round(model.cutting(live=True).window_s, 3),
        "poses_per_window": params.estimate.frames,
        "detect_every": detect_every,
        "backend": backend or params.estimate.backend,
        "cases": results,
    }


def markdown(result: Mapping[str, Any], command: str, note: str) -> str:
    """The page."""
    many = result["poses_per_window"]
    poses = f"{many} poses of a person in a window, as in training" if many else "a pose of every person in every frame"
    lines = [
        "# Live",
        "",
        f"`{command}`",
        "",
        f"Machine: {machine_line(result['machine'])}.",
        "",
        f"Videos played like a camera. Detector {result['detector']} (every {result['detect_every']} frames, and "
        f"sooner where joints become unsure), pose network {result['pose']} ({poses}), both by "
        f"{result['backend']}, streams {', '.join(result['streams'])}; windows of {result['window_s']:g} s, "
        "half of which is new.",
        "",
        "Frames/s: that were looked at, end to end, with decoding and answers. Most frames/s: the same video as fast "
        f"as it goes, with every frame looked at, {HURRIED_S:g} s of it. Processor time: of all threads then, which "
        "depends less on what else runs. Latency: from the capture of a window's last frame to its answer. "
        f"The first {WARM_S:g} s of a video do not count.",
        "",
        "| video | people | frames/s | dropped | most frames/s | poses/s | latency, median and p95 | processor time a "
        "frame | memory, peak and growth |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, case in result["cases"].items():
        own, most = case["own_rate"], case["hurried"]
        width, height = case["size_px"]
        lines.append(
            f"| {name}, {width} x {height}, {case['video_fps']:g} frames/s, {case['video_s']:g} s | {case['people']} | "
            f"{own['frames_per_s']:g} | {own['dropped']} of {own['dropped'] + own['frames']} | "
            f"{most['frames_per_s']:g} | {own['poses_per_s']:g} | "
            f"{1e3 * own['latency_median_s']:.0f} and {1e3 * own['latency_p95_s']:.0f} ms | "
            f"{most['processor_ms_per_frame']:g} ms | "
            f"{own['memory_peak_mb']:.0f} and {own['memory_growth_mb']:+g} MB |"
        )
    bars = ", ".join(f"{fps:g} with {people}" for people, fps in BARS_FPS.items())
    lines += ["", f"Aim on two cores: {bars} people, and a p95 of {1e3 * BAR_LATENCY_S:.0f} ms."]
    return "\n".join([*lines, *(["", note] if note else []), ""])
