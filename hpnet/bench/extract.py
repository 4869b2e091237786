"""``hpnet bench extract``: compares the released way of extraction with ours, on the same clips and weights.

Each way has its own processes, so its memory can be measured: the plain loop has one with all threads, ours as many as
`hpnet estimate` starts. The ways take turns in every round, so other load on the machine affects all of them. Ratios
are computed within a round, and their median is reported.
"""

from __future__ import annotations

import functools
import importlib.metadata
import itertools
import multiprocessing
import os
import statistics
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..artifacts.calibration import CalibrationCrops
from ..core.device import has_fast_bfloat16, resolve_device
from ..core.video import probe, read_frames
from ..core.video.on_device import read_frames_on
from ..data.params import DataParams
from ..data.walk import find_videos
from ..estimate import networks
from ..estimate.backends import Running, open_estimator
from ..estimate.batches import ClipBoxes, ClipSource, Estimator, FailedClip
from ..estimate.estimator import PoseEstimator
from ..estimate.params import EstimateParams
from ..estimate.specs import network_spec
from ..mannequin.benchmark import plan, write_clip
from ..pool.features import clip_features
from ..pool.params import PoolParams
from ..work.processes import gpu_workers
from .machine import describe_machine, instructions, machine_line, peak_memory_mb
from .plain import PlainExtractor

PLAIN = "plain"
BACKENDS: dict[str, tuple[str, ...]] = {
    "onnxruntime": ("float32",),
    "openvino": ("float32", "bfloat16", "int8", "int8 bfloat16"),
}
"""Backend -> what it is measured in; int8 bfloat16: what is not in 8-bit integers is in bfloat16."""
ON_GPU = {"crops": "crops cut there", "decode": "frames decoded there"}
"""What ``--on-device`` says -> as a part of a way."""
INT8 = "int8"
CALIBRATION_CROPS = 16


@dataclass(frozen=True)
class Task:
    """The task, which is the same for every way.

    Attributes:
        clips: videos; in every frame the one box is the whole frame.
        max_frames: frames read per clip.
        plain_frames: frames that a round of the plain loop covers.
        batch: crops per call of the network; None: the estimator's own choice.
        workers: processes of ours, which share the clips and, on CPU, the threads.
        graphs: folder for the networks that other backends than torch run.
        calibration: file of crops for 8-bit integers; empty: nothing is measured in them.
    """

    model: str
    weights: str | None
    tap: str
    clips: tuple[Path, ...]
    max_frames: int
    plain_frames: int
    batch: int | None
    device: str
    workers: int
    graphs: Path = Path(".work/graphs")
    calibration: str = ""


@dataclass(frozen=True)
class Sample:
    """One round of one way.

    Attributes:
        frames, seconds, cpu_seconds: frames done, by the clock, and processor time of all threads.
        waited_s: seconds of it in which the network's thread waited for frames.
        alone: crops/s of the network alone on crops already in memory, at its best batch size, measured just after;
            0 for the plain loop.
        memory_mb, gpu_memory_mb: the most that the process has held so far.
    """

    frames: int
    seconds: float
    cpu_seconds: float
    waited_s: float
    alone: float
    memory_mb: float
    gpu_memory_mb: float

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.frames / self.seconds


def default_workers(device: str, threads: int) -> int:
    """As many processes as `hpnet estimate` starts: one per thread on CPU, up to eight; up to four for one GPU."""
    return gpu_workers(1) if resolve_device(device).type == "cuda" else min(8, threads)


def default_tap(model: str) -> str:
    """The paper's H2 where the network has it, else the network's first alias."""
    aliases = network_spec(model).aliases
    return "h2s3" if "h2s3" in aliases else next(iter(aliases))


def find_clips(videos: Path | None, count: int, max_frames: int, into: Path) -> list[Path]:
    """The first ``count`` videos of a folder; without one, mannequin clips rendered into ``into``.

    Raises:
        FileNotFoundError: the folder is missing or holds no video.
    """
    if videos is not None:
        return find_videos(videos).files[:count]
    params = DataParams(frames=max_frames)
    chosen = plan(params)[:count]
    for spec in chosen:
        write_clip(spec, params, into)
    return [into / "videos" / f"{spec.clip_id}.mp4" for spec in chosen]


def random_weights(model: str, into: Path) -> str:
    """A checkpoint of random weights: speed does not depend on what the weights are."""
    torch.manual_seed(0)
    file = into / "random.pth"
    torch.save(networks.build(network_spec(model)).state_dict(), file)
    return str(file)


def precisions(device: str) -> list[str]:
    """float32, and those that the device is fast in."""
    target = resolve_device(device)
    half = ["bfloat16"] if has_fast_bfloat16(target) else []
    return ["float32", *half, *(["float16"] if target.type == "cuda" else [])]


def backend_ways(backends: Sequence[str]) -> list[str]:
    """The ways of other backends than torch, ``openvino bfloat16``; bfloat16 where the processor is fast in it."""
    fast = has_fast_bfloat16(torch.device("cpu"))
    return [
        f"{backend} {precision}"
        for backend in backends
        for precision in BACKENDS[backend]
        if fast or not precision.endswith("bfloat16")
    ]


def ways_on_gpu(precisions: Sequence[str], on_device: Sequence[str]) -> list[str]:
    """The ways of torch: every precision with each of :data:`hpnet.estimate.backends.ON_DEVICE` that was chosen."""
    return [
        precision + (f", {ON_GPU[each]}" if each in ON_GPU else "") for precision in precisions for each in on_device
    ]


def write_calibration(task: Task, file: Path) -> str:
    """Crops of the clips for 8-bit integers. The speed does not depend on whose crops they are."""
    estimator = PoseEstimator(_params(task, "torch"), "cpu", batch_size=1)
    each = -(-CALIBRATION_CROPS // len(task.clips))
    found = [crop for clip in task.clips for crop in itertools.islice(estimator.cut(_source(clip, each, 1)), each)]
    CalibrationCrops(task.model, np.stack(found)).save(file)
    return str(file)


def run(task: Task, rounds: int, weights_are: str, only: Sequence[str] = ()) -> dict[str, Any]:
    """Measure every way and return the result: machine, task, and for each way its figures.

    Args:
        weights_are: in words, for the page.
        only: ways of ours, precisions of torch or a backend with its precision; empty: every precision of torch that
            suits the device.
    """
    machine = describe_machine()
    parts = [replace(task, clips=task.clips[n :: task.workers]) for n in range(task.workers)]
    parts = [part for part in parts if part.clips]
    ways = {PLAIN: [task], **dict.fromkeys(only or precisions(task.device), parts)}
    context = multiprocessing.get_context("spawn")
    threads, on_gpu = torch.get_num_threads(), resolve_device(task.device).type == "cuda"
    pools = {
        way: [ProcessPoolExecutor(1, context, _limit_threads, (max(1, threads // len(tasks)),)) for _ in tasks]
        for way, tasks in ways.items()
    }

    def begin(way: str, warm_up: bool) -> list[Future[Sample]]:
        return [pool.submit(_round, part, way, warm_up) for pool, part in zip(pools[way], ways[way], strict=True)]

    samples: dict[str, list[Sample]] = {way: [] for way in ways}
    try:
        # every process loads its network and warms up at the same time; then one way after another
        for one in [one for way in ways for one in begin(way, warm_up=True)]:
            one.result()
        for _ in range(rounds):
            for way in ways:
                sample = _together([one.result() for one in begin(way, warm_up=False)])
                # on CPU every process has cores of its own, a GPU is one for all
                measuring = list(zip(pools[way], ways[way], strict=True))[: 1 if on_gpu else None]
                found = [pool.submit(_alone, part, way) for pool, part in measuring if way != PLAIN]
                samples[way].append(replace(sample, alone=sum(one.result() for one in found)))
    finally:
        for pool in itertools.chain.from_iterable(pools.values()):
            pool.shutdown()
    described = {**asdict(task), "clips": len(task.clips), "video": _described_video(task.clips[0])}
    described |= {"weights": weights_are, "graphs": None, "calibration": bool(task.calibration)}
    used = [name for name in BACKENDS if any(way.startswith(f"{name} ") for way in ways)]
    if used:
        machine["packages"] = {name: importlib.metadata.version(name) for name in used}
        machine["instructions"] = instructions()
    figures = {way: _figures(samples[way], samples[PLAIN]) for way in ways}
    return {"machine": machine, "task": described, "rounds": rounds, "ways": figures}


def _together(samples: Sequence[Sample]) -> Sample:
    """What processes did side by side."""
    return Sample(
        frames=sum(s.frames for s in samples),
        seconds=max(s.seconds for s in samples),
        cpu_seconds=sum(s.cpu_seconds for s in samples),
        waited_s=statistics.mean(s.waited_s for s in samples),
        alone=0.0,
        memory_mb=sum(s.memory_mb for s in samples),
        gpu_memory_mb=sum(s.gpu_memory_mb for s in samples),
    )


def _figures(samples: Sequence[Sample], plain: Sequence[Sample]) -> dict[str, float]:
    def middle(values: Iterable[float]) -> float:
        return float(f"{statistics.median(values):.4g}")

    pairs = list(zip(samples, plain, strict=True))
    first = samples[0]
    figures = {
        "frames_per_s": middle(s.rate for s in samples),
        "times_plain": middle(s.rate / p.rate for s, p in pairs),
        "cpu_ms_per_frame": middle(1e3 * s.cpu_seconds / s.frames for s in samples),
        "cpu_times_plain": middle((p.cpu_seconds / p.frames) / (s.cpu_seconds / s.frames) for s, p in pairs),
        "data_wait_share": middle(s.waited_s / s.seconds for s in samples),
        "peak_memory_mb": round(first.memory_mb),
        "peak_gpu_memory_mb": round(first.gpu_memory_mb),
    }
    if first.alone:
        figures |= {
            "network_alone_per_s": middle(s.alone for s in samples),
            "share_of_network": middle(s.rate / s.alone for s in samples),
        }
    return figures


def _described_video(file: Path) -> str:
    info = probe(file)
    return f"{info.width} x {info.height}"


# --- in the processes -------------------------------------------------------------------------------------------------


def _limit_threads(threads: int) -> None:
    os.environ["OMP_NUM_THREADS"] = str(threads)  # as a worker of `hpnet estimate` has it: its cores
    torch.set_num_threads(threads)


def _round(task: Task, way: str, warm_up: bool) -> Sample:
    """One round of a way; the warm-up takes a few frames only."""
    measured = _plain_round if way == PLAIN else _our_round
    return measured(task, way, warm_up)


@functools.cache
def _plain(task: Task) -> PlainExtractor:
    return PlainExtractor(task.model, task.weights, task.tap, task.device)


def _plain_round(task: Task, way: str, warm_up: bool) -> Sample:
    extractor, left = _plain(task), 2 if warm_up else task.plain_frames
    started, cpu, frames = time.perf_counter(), time.process_time(), 0
    while left > 0:
        for clip in task.clips:
            if left > 0:
                done = extractor.extract(clip, min(task.max_frames, left))[1]
                frames, left = frames + done, left - done
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    return Sample(frames, seconds, cpu_seconds, 0.0, 0.0, peak_memory_mb(), _gpu_memory_mb())


def _params(task: Task, backend: str, int8: str | None = None) -> EstimateParams:
    return EstimateParams(
        model=task.model, weights=task.weights, taps=(task.tap,), window=1, backend=backend, int8=int8
    )


@functools.cache
def _ours(task: Task, way: str) -> Estimator:
    way, _, there = way.partition(", ")
    backend, _, precision = way.partition(" ") if " " in way else ("torch", "", way)
    int8 = task.calibration if precision.startswith(INT8) else None
    floats = precision.removeprefix(INT8).strip() or "float32"
    on_device = next((name for name, said in ON_GPU.items() if said == there), "none")
    running = Running(task.device, floats, task.batch, graphs=task.graphs, on_device=on_device)
    return open_estimator(_params(task, backend, int8), running)


def _our_round(task: Task, way: str, warm_up: bool) -> Sample:
    estimator = _ours(task, way)
    if warm_up:
        _crops_per_s(estimator, estimator.batch_size, 1)  # on a GPU it is recorded there
        return Sample(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    pooling = PoolParams(tap=task.tap, frames=64)
    waited, frames = estimator.data_wait_s, 0
    started, cpu = time.perf_counter(), time.process_time()
    decoding = resolve_device(task.device) if way.endswith(ON_GPU["decode"]) else None
    sources = (_source(file, task.max_frames, estimator.readers, decoding) for file in task.clips)
    for clip in estimator.estimate_clips(sources):
        if isinstance(clip, FailedClip):
            raise ValueError(f"clip {clip.clip_id}: {clip.reason}")
        clip_features(clip, pooling, estimator.meta)
        frames += len(clip.valid)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    waited = estimator.data_wait_s - waited
    return Sample(frames, seconds, cpu_seconds, waited, 0.0, peak_memory_mb(), _gpu_memory_mb())


def _alone(task: Task, way: str) -> float:
    """Crops/s of the network alone, the best of three batch sizes."""
    estimator = _ours(task, way)
    sizes = {max(1, estimator.batch_size // 2), estimator.batch_size, 2 * estimator.batch_size}
    on_gpu = isinstance(estimator, PoseEstimator) and estimator.device.type == "cuda"
    return max(_crops_per_s(estimator, size, 3 if on_gpu else 1) for size in sizes)


def _source(file: Path, max_frames: int, readers: int, decoding: torch.device | None = None) -> ClipSource:
    """A clip with one box in every frame.

    Args:
        decoding: the device that decodes it; None: the host.
    """
    info = probe(file)
    count = min(info.frames, max_frames)
    box = np.array([[0.0, 0.0, info.width, info.height]])
    boxes = ClipBoxes(np.arange(count), np.zeros(count, np.int64), np.repeat(box, count, axis=0))

    def frames() -> Iterable[Any]:
        if decoding is not None:
            return read_frames_on(file, decoding, max_frames)
        return read_frames(file, max_frames, 1 if readers > 1 else None)

    return ClipSource(str(file), frames, boxes)


@torch.inference_mode()
def _crops_per_s(estimator: Estimator, size: int, repeats: int) -> float:
    """Crops a second of the network alone, on random crops that are already where it computes.

    A graph of another backend also reads the maps at the joints.
    """
    width, height = estimator.meta.input_size_px
    if not isinstance(estimator, PoseEstimator):
        crops = np.random.default_rng(0).integers(0, 256, (size, 1, height, width, 3), np.uint8)
        estimator(crops)
        started = time.perf_counter()
        for _ in range(repeats):
            estimator(crops)
        return size * repeats / (time.perf_counter() - started)
    shape = (size, 3, height, width)
    batch = torch.randn(shape, device=estimator.device).to(estimator.dtype).to(memory_format=torch.channels_last)
    on_gpu = estimator.device.type == "cuda"
    if on_gpu:
        estimator.forward(batch)
        torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(repeats):
        estimator.forward(batch)
    if on_gpu:
        torch.cuda.synchronize()
    return size * repeats / (time.perf_counter() - started)


def _gpu_memory_mb() -> float:
    return torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else 0.0


# --- the page ---------------------------------------------------------------------------------------------------------


def markdown(result: dict[str, Any], command: str, note: str = "") -> str:
    """The result as a page."""
    task, ways = result["task"], result["ways"]
    on_gpu = result["machine"]["gpu"] is not None and task["device"] != "cpu"
    about = (
        "The released method (one frame, one crop, float32, batch norm in training mode) "
        f"in one process, and `hpnet estimate` + `hpnet pool` in {task['workers']}, in turn, on the same clips and "
        "weights; "
        f"medians over {result['rounds']} rounds, ratios within a round."
    )
    clips = (
        f"Clips: {task['clips']} of {task['video']}, up to {task['max_frames']} frames each, one person per frame; "
        f"plain loop {task['plain_frames']} frames a round; tap {task['tap']}, window 1; weights {task['weights']}."
    )
    lines = [f"# Extraction with {task['model']}", "", about, "", f"`{command}`", ""]
    lines += [f"Machine: {machine_line(result['machine'])}.", "", clips, ""]
    lines += [
        "| way | frames/s | × plain | CPU ms a frame | × plain in CPU time | waits for data | peak memory, MB "
        "| network alone, crops/s | share of it reached |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for way, row in ways.items():
        memory = f"{row['peak_gpu_memory_mb']} on the GPU" if on_gpu else f"{row['peak_memory_mb']}"
        alone = f"{row['network_alone_per_s']:.1f} | {row['share_of_network']:.0%}" if way != PLAIN else "– | –"
        wait = f"{row['data_wait_share']:.1%}" if way != PLAIN else "–"
        lines.append(
            f"| {way if way == PLAIN else f'hpnet, {way}'} | {row['frames_per_s']:.2f} | {row['times_plain']:.2f} "
            f"| {row['cpu_ms_per_frame']:.1f} | {row['cpu_times_plain']:.2f} | {wait} | {memory} | {alone} |"
        )
    return "\n".join([*lines, *(["", note] if note else []), ""])
