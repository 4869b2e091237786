"""Rendered scenes on disk: what the small detector, pose network and X-CLIP are pretrained on.

A shard is one safetensors file of S scenes of T frames: JPEG bytes end to end with their offsets, true boxes and
joints padded to the most people of a scene, and, as metadata, seeds and captions.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from ..artifacts.files import readable, writing
from ..work.processes import Died, Workers, run, run_here

TRAIN_SEED = 100_000_000
VALIDATION_SEED = 900_000_000
"""First seeds of the two ranges. Scene i of a rendering has seed + i: fewer than 800 million scenes never meet."""

JPEG_QUALITY = 92


@dataclass(frozen=True)
class RenderedScene:
    """One scene as rendered.

    Attributes:
        frames: (T, H, W, 3) uint8 RGB.
        boxes_xyxy_px: (T, M, 4) float32; NaN for a person out of view.
        keypoints_px: (T, M, 17, 2) float32; NaN for a joint behind the camera.
        visible: (T, M, 17) bool.
    """

    seed: int
    caption: str
    frames: NDArray[np.uint8]
    boxes_xyxy_px: NDArray[np.float32]
    keypoints_px: NDArray[np.float32]
    visible: NDArray[np.bool_]


def render_scene(seed: int, frames: int, width: int, height: int, fps: float = 12) -> RenderedScene:
    """Draw the random pretraining scene of a seed."""
    # Here and not above: reading shards should not need the renderer, which compiles on import.
    from ..mannequin.pretraining import random_scene
    from ..mannequin.render import render_with_truth

    scene, caption = random_scene(seed, frames, fps)
    pictures, truth = render_with_truth(scene, width, height)
    return RenderedScene(
        seed=seed,
        caption=caption,
        frames=pictures,
        boxes_xyxy_px=np.asarray(truth.boxes_xyxy_px, dtype=np.float32),
        keypoints_px=np.asarray(truth.keypoints_px, dtype=np.float32),
        visible=np.asarray(truth.visible, dtype=bool),
    )


@dataclass(frozen=True)
class Takes:
    """What every scene is rendered as.

    Attributes:
        frames: T, frames per scene.
        width, height: pixels.
        fps: frames a second.
        make: (seed, frames, width, height, fps) -> scene; picklable.
    """

    frames: int = 8
    width: int = 320
    height: int = 240
    fps: float = 12
    make: Callable[[int, int, int, int, float], RenderedScene] = render_scene

    def scene(self, seed: int) -> RenderedScene:
        """The scene of a seed."""
        return self.make(seed, self.frames, self.width, self.height, self.fps)


def render_scenes(
    out: Path,
    count: int,
    seed: int,
    workers: int = 1,
    takes: Takes | None = None,
    shard_size: int = 32,
    on_progress: Callable[[int], None] | None = None,
) -> list[Path]:
    """Render ``count`` scenes with seeds seed, seed + 1, ... into shards under ``out``; whole shards are kept.

    Args:
        workers: processes, one core each.
        on_progress: called with the number of scenes of each finished shard.

    Returns:
        The shard files, in order of seeds.

    Raises:
        RuntimeError: a worker process died.
    """
    if count < 1:
        raise ValueError(f"render_scenes: count is {count}, expected at least 1")
    takes = takes or Takes()
    out.mkdir(parents=True, exist_ok=True)
    jobs: list[tuple[Path, list[int]]] = []
    for start in range(seed, seed + count, shard_size):
        seeds = list(range(start, min(start + shard_size, seed + count)))
        size = f"{takes.frames}x{takes.width}x{takes.height}at{takes.fps:g}"
        jobs.append((out / f"scenes-{seeds[0]:09d}-{len(seeds)}-{size}.safetensors", seeds))
    waiting = [(file, seeds) for file, seeds in jobs if not file.is_file()]
    render, share = partial(_render_shard, takes), Workers(workers, threads=1)
    with closing(run_here(render, waiting) if workers <= 1 else run(render, waiting, share)) as done:
        for number, result in done:
            if isinstance(result, Died):
                raise RuntimeError(f"{waiting[number][0].name} {result.reason}: render with fewer --workers")
            if on_progress is not None:
                on_progress(result)
    return [file for file, _ in jobs]


def _render_shard(takes: Takes, job: tuple[Path, list[int]]) -> int:
    file, seeds = job
    write_shard(file, [takes.scene(seed) for seed in seeds])
    return len(seeds)


def write_shard(file: Path, scenes: Sequence[RenderedScene]) -> None:
    """Write scenes of equal length and size into one shard, in one step."""
    first = scenes[0].frames.shape
    for scene in scenes:
        if scene.frames.shape != first:
            raise ValueError(f"{file.name}: scene {scene.seed} has frames {scene.frames.shape}, the first {first}")
    people = max(scene.boxes_xyxy_px.shape[1] for scene in scenes)
    codes = [_encode(frame) for scene in scenes for frame in scene.frames]
    tensors = {
        "jpeg": np.concatenate(codes),
        "offsets": np.cumsum([0, *(len(code) for code in codes)], dtype=np.int64),
        "people": np.array([scene.boxes_xyxy_px.shape[1] for scene in scenes], dtype=np.int64),
        "boxes_xyxy_px": np.stack([_pad(scene.boxes_xyxy_px, people) for scene in scenes]),
        "keypoints_px": np.stack([_pad(scene.keypoints_px, people) for scene in scenes]),
        "visible": np.stack([_pad(scene.visible.astype(np.uint8), people) for scene in scenes]),
    }
    # One key: safetensors writes several in an order that differs from run to run.
    about = {"seeds": [s.seed for s in scenes], "captions": [s.caption for s in scenes], "shape": list(first)}
    temporary = file.with_suffix(f".{os.getpid()}.tmp")
    with writing(temporary):
        save_file(
            {name: np.ascontiguousarray(value) for name, value in tensors.items()},
            temporary,
            {"scenes": json.dumps(about)},
        )
    temporary.replace(file)


def _encode(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    _, code = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return np.asarray(code, dtype=np.uint8).reshape(-1)


def _pad(array: NDArray[np.generic], people: int) -> NDArray[np.generic]:
    """(T, M, ...) -> (T, people, ...), zeros behind."""
    width = [(0, 0)] * array.ndim
    width[1] = (0, people - array.shape[1])
    return np.pad(array, width)


class SceneShard:
    """A shard of rendered scenes; frames are decoded when asked for.

    Attributes:
        seeds, captions: one per scene.
        shape: (T, H, W, 3) of every scene.
    """

    def __init__(self, file: Path) -> None:
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: render the pretraining scenes first")
        self.file = file
        with safe_open(readable(file), framework="numpy") as opened:
            about = json.loads(opened.metadata()["scenes"])
            self._people = opened.get_tensor("people")
            self._offsets = opened.get_tensor("offsets")
            self._boxes = opened.get_tensor("boxes_xyxy_px")
            self._keypoints = opened.get_tensor("keypoints_px")
            self._visible = opened.get_tensor("visible").astype(bool)
        self.seeds: list[int] = about["seeds"]
        self.captions: list[str] = about["captions"]
        time, height, width, channels = about["shape"]
        self.shape: tuple[int, int, int, int] = (time, height, width, channels)

    def __len__(self) -> int:
        return len(self.seeds)

    def frames(self, scene: int, which: Sequence[int] | None = None) -> NDArray[np.uint8]:
        """(T, H, W, 3) uint8 RGB of one scene, or of the frames ``which`` of it."""
        time = self.shape[0]
        chosen = range(time) if which is None else which
        with safe_open(self.file, framework="numpy") as opened:
            start, stop = int(self._offsets[scene * time]), int(self._offsets[(scene + 1) * time])
            codes = opened.get_slice("jpeg")[start:stop]
        decoded = []
        for index in chosen:
            first, last = (int(v) - start for v in self._offsets[scene * time + index : scene * time + index + 2])
            image = cv2.imdecode(codes[first:last], cv2.IMREAD_COLOR)
            decoded.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        stacked: NDArray[np.uint8] = np.stack(decoded).astype(np.uint8, copy=False)
        return stacked

    def boxes_xyxy_px(self, scene: int) -> NDArray[np.float32]:
        """(T, M, 4); NaN for a person out of view."""
        boxes: NDArray[np.float32] = self._boxes[scene][:, : self._people[scene]]
        return boxes

    def keypoints_px(self, scene: int) -> NDArray[np.float32]:
        """(T, M, 17, 2); NaN for a joint behind the camera."""
        keypoints: NDArray[np.float32] = self._keypoints[scene][:, : self._people[scene]]
        return keypoints

    def visible(self, scene: int) -> NDArray[np.bool_]:
        """(T, M, 17) bool."""
        visible: NDArray[np.bool_] = self._visible[scene][:, : self._people[scene]]
        return visible


def open_shards(folder: Path) -> list[SceneShard]:
    """Every shard of a folder, in order of seeds.

    Raises:
        FileNotFoundError: the folder holds none.
    """
    shards = [SceneShard(file) for file in sorted(folder.glob("scenes-*.safetensors"))]
    if not shards:
        raise FileNotFoundError(f"{folder} holds no rendered scenes: render them first")
    return shards


def require_disjoint(train: Sequence[SceneShard], validation: Sequence[SceneShard]) -> None:
    """Refuse to validate on scenes that were trained on.

    Raises:
        ValueError: a seed is in both.
    """
    shared = {seed for shard in train for seed in shard.seeds} & {seed for shard in validation for seed in shard.seeds}
    if shared:
        raise ValueError(f"scene seed {min(shared)} is in training and validation: render them from disjoint ranges")
