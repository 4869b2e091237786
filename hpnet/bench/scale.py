"""``hpnet bench scale``: time and memory of every step for many tiny clips, without networks.

The clips are links to one small video. Fake detect and estimate shards replace the output of networks; the index, the
shards, joining them, pooling, memory-mapped reading and DVC are the real ones.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..artifacts.boxes import BOX_COLUMNS, Boxes
from ..artifacts.features import Features
from ..artifacts.files import write_json
from ..artifacts.frames import PersonFrames
from ..artifacts.poses import ClipPoses, PoseMeta, PoseStore
from ..artifacts.videos import Videos
from ..core.skeleton import COCO17
from ..core.video import write_video
from ..data.index import index_folder
from ..data.params import DataParams
from ..detect import step as detection
from ..estimate.step import SHARD, clip_items, collect_shards, listed_paths
from ..pool.features import feature_meta
from ..pool.params import PoolParams
from ..pool.step import PoolWork, pool_items, pool_key
from ..pool.step import merge as merge_pooled
from ..work.processes import share_cores
from ..work.shards import ShardItem, run_shards
from .machine import peak_memory_mb

FRAMES, CHANNELS, CLASSES = 4, 8, 20
META = PoseMeta("fake", "0" * 64, COCO17, (96, 128), {"h2s3": (CHANNELS, 16, 12)}, 1, "none", 0)
POOL = PoolParams(frames=8)


@dataclass(frozen=True)
class Step:
    """Wall-clock time of a step, and the peak memory of its process."""

    name: str
    seconds: float
    memory_mb: float
    shards_done: int = 0


class FakeDetect:
    """A detect shard in which one person stands still."""

    def __call__(self, items: Sequence[ShardItem], out: Path) -> None:
        """Write the shard."""
        rows = [(item.clip_id, t, 0, 8.0, 4.0, 40.0, 44.0, 0.9) for item in items for t in range(FRAMES)]
        Boxes(pd.DataFrame(rows, columns=list(BOX_COLUMNS))).save(out)
        PersonFrames.write(out / "frames.parquet", [(item.clip_id, [(0, b"jpeg")]) for item in items])
        write_json(out / "people.json", {item.clip_id: 1 for item in items})
        _count(out)


class FakeEstimate:
    """An estimate shard of random poses and windows."""

    def __call__(self, items: Sequence[ShardItem], out: Path) -> None:
        """Write the shard."""
        clips = [_poses(item.clip_id) for item in items]
        index = PoseStore.write_shard(out, SHARD, clips, META)
        index["crops"], index["score_sum"] = FRAMES, 1.0
        PoseStore.write_index(out, index, META)
        write_json(out / "failed.json", {})
        _count(out)


class CountedPool(PoolWork):
    """The real pool work, counted."""

    def __call__(self, items: Sequence[ShardItem], out: Path) -> None:
        """Write the shard."""
        super().__call__(items, out)
        _count(out)


def measure(root: Path, clips: int, added: int, workers: int) -> list[Step]:
    """Run every step over ``clips`` clips, again with nothing to do, and again with ``added`` more."""
    _videos(root, clips)
    steps = [_apart(name, step, root, workers) for name, step in STEPS.items()]
    again = [_apart(f"{name}, nothing changed", STEPS[name], root, workers) for name in ("detect", "estimate", "pool")]
    reading = [_apart("read every feature once, 64 clips at a time", read_features, root, workers)]
    kept = [_dvc(root, "dvc add of the artifacts", "add", "artifacts/detect", "artifacts/estimate", "artifacts/pool")]
    kept += [_dvc(root, "dvc status, nothing changed", "status")]
    _videos(root, clips + added)
    more = [_apart(f"{name}, {added} clips more", step, root, workers) for name, step in STEPS.items()]
    return [*steps, *again, *reading, *kept, *more]


def index(root: Path, workers: int) -> None:
    """``hpnet data`` over the folder."""
    index_folder(root / "videos", DataParams(source="folder", protocol="folder"), workers).save(root / "artifacts/data")


def detect(root: Path, workers: int) -> None:
    """``hpnet detect`` with fake shards."""
    items = detection.video_items(Videos.load(root / "artifacts/data"))
    parts = run_shards(items, FakeDetect(), stage_dir=root / ".work/detect", key={}, workers=share_cores(workers))
    detection.merge(parts, root / "artifacts/detect")


def estimate(root: Path, workers: int) -> None:
    """``hpnet estimate`` with fake shards."""
    boxes = root / "artifacts/detect"
    items = clip_items(listed_paths(root / "artifacts/data"), boxes, 2)
    parts = run_shards(items, FakeEstimate(), stage_dir=root / ".work/estimate", key={}, workers=share_cores(workers))
    collect_shards(parts, root / "artifacts/estimate")


def pool(root: Path, workers: int) -> None:
    """``hpnet pool``."""
    source = root / "artifacts/estimate"
    store = PoseStore(source)
    options: dict[str, Any] = {"stage_dir": root / ".work/pool", "shard_size": 64, "workers": share_cores(workers)}
    parts = run_shards(pool_items(store), CountedPool(POOL, source), key=pool_key(POOL, store.meta), **options)
    merge_pooled(parts, root / "artifacts/pool", feature_meta(POOL, store.meta))


def read_features(root: Path, workers: int) -> None:
    """What an epoch of training reads, through the memory map."""
    features = Features.load(root / "artifacts/pool")
    rows = features.index.row.to_numpy()
    total = sum(float(features.array[rows[n : n + 64]].astype(np.float32).sum()) for n in range(0, len(rows), 64))
    if not np.isfinite(total):
        raise ValueError("features are not finite")


STEPS: dict[str, Callable[[Path, int], None]] = {"data": index, "detect": detect, "estimate": estimate, "pool": pool}


def _videos(root: Path, count: int) -> None:
    """``count`` clips below ``root/videos``, a sub-folder per class, all links to one video."""
    folder = root / "videos"
    for label in range(CLASSES):
        (folder / f"class{label:02}").mkdir(parents=True, exist_ok=True)
    first = root / "clip.mp4"
    if not first.is_file():
        frames = np.random.default_rng(0).integers(0, 255, (FRAMES, 48, 64, 3), dtype=np.uint8)
        write_video(first, frames, 10)
    for number in range(count):
        place = folder / f"class{number % CLASSES:02}" / f"clip{number:06}.mp4"
        if not place.exists():
            os.link(first, place)


def _poses(clip_id: str) -> ClipPoses:
    random = np.random.default_rng([int(letter) for letter in clip_id if letter.isdigit()])
    joints, shape = COCO17.num_joints, (FRAMES, 1)
    return ClipPoses(
        clip_id,
        random.uniform(0, 60, (*shape, joints, 2)).astype(np.float32),
        random.random((*shape, joints), np.float32),
        np.zeros((*shape, 2, 3), np.float32),
        np.ones(shape, bool),
        {"h2s3": random.random((*shape, joints, 1, 1, CHANNELS), np.float32).astype(np.float16)},
    )


def _count(out: Path) -> None:
    """Note one shard done, in a file beside the shards."""
    with (out.parent / "done.log").open("a", encoding="utf-8") as log:
        log.write(f"{out.name}\n")


def _apart(name: str, step: Callable[[Path, int], None], root: Path, workers: int) -> Step:
    """Run a step in a process of its own, which starts with the modules that this one has loaded."""
    stage = name.partition(",")[0]
    log = root / ".work" / stage / "done.log"
    log.unlink(missing_ok=True)
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as process:
        seconds, memory_mb = process.submit(_timed, step, root, workers).result()
    done = len(log.read_text(encoding="utf-8").splitlines()) if log.is_file() else 0
    return Step(name, seconds, memory_mb, done)


def _timed(step: Callable[[Path, int], None], root: Path, workers: int) -> tuple[float, float]:
    started = time.perf_counter()
    step(root, workers)
    return time.perf_counter() - started, peak_memory_mb()


def _dvc(root: Path, name: str, *arguments: str) -> Step:
    def run(*words: str) -> None:
        subprocess.run([sys.executable, "-m", "dvc", *words, "-q"], cwd=root, check=True, env=environment)

    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    if not (root / ".dvc").is_dir():
        run("init", "--no-scm")
    started = time.perf_counter()
    run(*arguments)
    return Step(name, time.perf_counter() - started, 0.0)


def table(steps: Sequence[Step]) -> list[str]:
    """The steps as lines of a markdown table."""
    rows = [
        f"| {s.name} | {s.seconds:.1f} | {f'{s.memory_mb:.0f}' if s.memory_mb else '–'} | {s.shards_done or '–'} |"
        for s in steps
    ]
    return ["| step | seconds | peak memory, MB | shards done |", "|---|---|---|---|", *rows]
