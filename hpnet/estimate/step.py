"""The estimate step over clips: which clips, the work of a shard, and joining the shards."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..artifacts.formats import Boxes, ClipPoses, Clips, PoseMeta, PoseStore, read_json, write_json
from ..core import video
from ..core.sampling import uniform_indices
from ..data.walk import find_videos
from ..weights.places import digest
from ..work import shards
from . import networks
from .estimator import ClipBoxes, ClipSource, FailedClip, PoseEstimator
from .evaluate import compare_with_truth
from .params import EstimateParams

CODE = (
    "hpnet.artifacts.formats", "hpnet.core.geometry", *video.CODE, "hpnet.weights.checkpoint", "hpnet.estimate.step",
    "hpnet.estimate.crops", "hpnet.estimate.decode", "hpnet.estimate.estimator", "hpnet.estimate.networks",
    "hpnet.estimate.reading", "hpnet.estimate.taps", "hpnet.models.vitpose", "hpnet.detect.tracking",
)  # fmt: skip
"""Modules whose source decides what an estimate shard holds."""
SHARD = "poses.safetensors"


@dataclass(frozen=True)
class EstimateWork:
    """The work of an estimate shard, for :func:`hpnet.work.shards.run_shards`. Holds paths and parameters only.

    Attributes:
        boxes: a detect folder, or a boxes .parquet or .csv; clips without rows hold nobody.
        persons: tracks kept per clip.
        max_frames: frames read per clip; None: all.
        compiled: see :class:`PoseEstimator`.
    """

    params: EstimateParams
    boxes: Path
    persons: int
    max_frames: int | None = None
    device: str = "auto"
    precision: str = "float32"
    batch_size: int | None = None
    compiled: bool = False

    def __call__(self, items: Sequence[shards.ShardItem], out: Path) -> None:
        """Write poses.safetensors, index.parquet, failed.json and meta.json of a shard."""
        estimator = shared_estimator(self.params, self.device, self.precision, self.batch_size, self.compiled)
        threads = 1 if estimator.readers > 1 else None  # several clips at once, or several threads for one
        sources = (self._source(item, threads) for item in items)
        estimated: list[ClipPoses] = []
        failed: dict[str, str] = {}
        for clip in estimator.estimate_clips(sources):
            if isinstance(clip, FailedClip):
                failed[clip.clip_id] = clip.reason
            else:
                estimated.append(clip)
        index = PoseStore.write_shard(out, SHARD, estimated, estimator.meta)
        index["crops"] = np.array([clip.valid.sum() for clip in estimated], np.int64)
        index["score_sum"] = np.array([clip.scores[clip.valid].sum() for clip in estimated], np.float64)
        PoseStore.write_index(out, index, estimator.meta)
        write_json(out / "failed.json", failed)

    def _source(self, item: shards.ShardItem, threads: int | None) -> ClipSource:
        path, limit = item.path, self.max_frames

        def frames() -> Iterable[NDArray[np.uint8]]:
            if path is None:
                raise video.VideoError("has no video file")
            return video.read_frames(path, limit, threads)

        boxes = boxes_by_clip(self.boxes, self.persons).get(item.clip_id, ClipBoxes.nobody())
        if limit is not None:
            read = boxes.frames < limit
            boxes = ClipBoxes(boxes.frames[read], boxes.tracks[read], boxes.boxes_xyxy_px[read])
        if self.params.frames and path is not None:
            boxes = thin_boxes(boxes, path, self.params.frames, limit)
        if path is None or threads is None:  # nothing else is decoded meanwhile
            return ClipSource(item.clip_id, frames, boxes)
        return ClipSource(item.clip_id, frames, boxes, video.decoding_bytes(path, threads))


@functools.lru_cache(maxsize=1)
def shared_estimator(
    params: EstimateParams, device: str, precision: str, batch_size: int | None, compiled: bool
) -> PoseEstimator:
    """The estimator of these settings, loaded once per process."""
    return PoseEstimator(params, device, precision, batch_size, compiled)


def thin_boxes(boxes: ClipBoxes, path: Path, count: int, max_frames: int | None = None) -> ClipBoxes:
    """The boxes of ``count`` frames, uniform in time over the frames that the video's container states.

    The other frames are then as frames without a person: nothing is estimated there, and pooling bridges them. A video
    that cannot be read keeps its boxes, and fails when it is decoded.
    """
    try:
        stated = video.probe(path).frames
    except video.VideoError:
        return boxes
    kept = np.isin(boxes.frames, uniform_indices(min(stated, max_frames or stated), count))
    return ClipBoxes(boxes.frames[kept], boxes.tracks[kept], boxes.boxes_xyxy_px[kept])


def boxes_by_clip(path: Path, persons: int) -> dict[str, ClipBoxes]:
    """Boxes of every clip in a detect folder or file, ``persons`` tracks at most; read once per process."""
    file = path / "boxes.parquet" if path.is_dir() else path
    return _boxes_by_clip(path, persons, file.stat().st_mtime_ns if file.is_file() else 0)


@functools.lru_cache(maxsize=2)
def _boxes_by_clip(path: Path, persons: int, changed_ns: int) -> dict[str, ClipBoxes]:
    table = Boxes.load(path).table
    _check_boxes(table, path)
    table = table[table.track < persons].sort_values("clip_id", kind="stable")
    frames, tracks = table.frame.to_numpy(np.int64), table.track.to_numpy(np.int64)
    corners = table[["x1", "y1", "x2", "y2"]].to_numpy(np.float64).reshape(-1, 4)
    names, starts = np.unique(table.clip_id.to_numpy(str), return_index=True)
    bounds = [*starts, len(table)]
    return {
        str(name): ClipBoxes(frames[a:b], tracks[a:b], corners[a:b])
        for name, a, b in zip(names, bounds[:-1], bounds[1:], strict=True)
    }


def _check_boxes(table: pd.DataFrame, path: Path) -> None:
    """Refuse what no detector writes but a file from elsewhere may hold."""
    corners = np.isfinite(table[["x1", "y1", "x2", "y2"]].to_numpy(np.float64)).all(axis=1)
    problems = {
        "a corner that is no number": ~corners,
        "a negative frame or track": (table.frame.to_numpy() < 0) | (table.track.to_numpy() < 0),
        "a second box of the same track": table.duplicated(["clip_id", "frame", "track"]).to_numpy(),
    }
    for what, where in problems.items():
        if where.any():
            row = table[where].iloc[0]
            raise ValueError(f"{path}: clip {row.clip_id!r} frame {row.frame} track {row.track} has {what}")


def box_digest(boxes: ClipBoxes) -> str:
    """A digest of a clip's boxes, for its shard's key."""
    value = hashlib.blake2b(digest_size=16)
    for array in (boxes.frames, boxes.tracks, boxes.boxes_xyxy_px):
        value.update(np.ascontiguousarray(array).tobytes())
    return value.hexdigest()


def collect_shards(folders: Sequence[Path], out: Path) -> PoseMeta:
    """Link finished estimate shards into one estimate folder and write its index and metadata.

    The index also says how many crops each clip had, the sum of their scores, and the ``source`` shard (its key), from
    which later stages know whether a clip's poses changed.

    Raises:
        ValueError: there is no shard.
    """
    if not folders:
        raise ValueError("there are no clips to estimate: run `hpnet data` first, or name another folder")
    links = ((folder / SHARD, f"shard-{n:05d}.safetensors") for n, folder in enumerate(folders))
    shards.link_tree(links, out, stale="shard-*.safetensors")
    tables, failed = [], {}
    for number, folder in enumerate(folders):
        table = pd.read_parquet(folder / "index.parquet")
        tables.append(table.assign(shard=f"shard-{number:05d}.safetensors", source=folder.name))
        failed.update(read_json(folder / "failed.json"))
    meta = PoseMeta.from_json({**read_json(folders[0] / "meta.json"), "failed": failed})
    PoseStore.write_index(out, pd.concat(tables, ignore_index=True), meta)
    return meta


def clip_paths(folder: Path, boxes: Path, indexed: bool) -> dict[str, Path]:
    """Clip name -> video: the usable clips of a data folder, or, not ``indexed``, every video below a plain folder.

    A plain folder's clips are named as the boxes name them: by the file's name without its ending, or also without
    ``_rgb``.

    Raises:
        FileNotFoundError: the folder is missing or holds no video.
        ValueError: boxes are of a clip that the folder does not have, or two files have one name.
    """
    if indexed:
        table = Clips.load(folder).usable()
        return {str(clip_id): Path(str(path)) for clip_id, path in zip(table.clip_id, table.path, strict=True)}
    found = find_videos(folder)
    found.refuse_unusable()
    named = set(boxes_by_clip(boxes, 1 << 30))
    paths: dict[str, Path] = {}
    for file in found.files:
        short = file.stem.removesuffix("_rgb")
        name = short if file.stem not in named and short in named else file.stem
        if name in paths:
            raise ValueError(f"clip {name!r} is in {folder} twice: {paths[name].name} and {file.name}")
        paths[name] = file
    unknown = sorted(named - set(paths))
    if unknown:
        raise ValueError(f"{boxes}: no video of clip {unknown[0]!r} in {folder} ({len(paths)} videos there)")
    return paths


def clip_items(paths: dict[str, Path], boxes: Path, persons: int) -> list[shards.ShardItem]:
    """One shard item per clip; its digest covers the video's bytes and its boxes."""
    by_clip = boxes_by_clip(boxes, persons)
    items = []
    for clip_id, path in paths.items():
        content = shards.content_digest(path)
        people = box_digest(by_clip.get(clip_id, ClipBoxes.nobody()))
        items.append(shards.ShardItem(clip_id, path.absolute(), f"{content}-{people}"))
    return items


def estimate_key(
    params: EstimateParams, persons: int, max_frames: int | None, precision: str, compiled: bool = False
) -> dict[str, Any]:
    """What decides an estimate shard besides its clips; the weights count by their digest, not by their path."""
    return {
        "params": params.model_dump(mode="json", exclude={"weights"}),
        "weights": digest(networks.weights_file(params.spec(), params.weights)),
        "persons": persons,
        "max_frames": max_frames,
        "precision": precision,
        "compiled": compiled,
        "code": shards.code_version(*CODE),
    }


def estimate_figures(store: PoseStore, truth: pd.DataFrame | None = None, frames: int = 0) -> dict[str, Any]:
    """clips, failed, without_person, crops and mean_score of an estimate folder; with ``truth`` also the figures of
    :func:`hpnet.estimate.evaluate.pose_figures`, over the ``frames`` per clip that were estimated (0: all)."""
    index = store.index
    crops = int(index.crops.sum())
    joints = store.meta.skeleton.num_joints
    figures: dict[str, Any] = {
        "clips": len(index) + len(store.meta.failed),
        "failed": len(store.meta.failed),
        "without_person": int((index.crops == 0).sum()),
        "crops": crops,
        "mean_score": float(index.score_sum.sum()) / max(1, crops * joints),
    }
    if truth is not None:
        figures |= compare_with_truth((store.load(clip_id, taps=[]) for clip_id in store.clip_ids), truth, frames)
    return figures
