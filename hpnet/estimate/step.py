"""The estimate step over clips: which clips, the work of a shard, and joining the shards."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..artifacts.boxes import Boxes
from ..artifacts.files import read_json_as, read_object, write_json
from ..artifacts.parquet import read_table
from ..artifacts.poses import INDEX_KINDS, ClipPoses, PoseMeta, PoseStore
from ..artifacts.truth import load_truth
from ..artifacts.videos import Videos, stretches
from ..core import video
from ..core.device import resolve_device
from ..core.sampling import uniform_indices
from ..core.stretch import Stretch
from ..core.suitability import score_figures
from ..core.video.on_device import read_frames_on
from ..weights.cards import usual_score
from ..weights.graphs import GRAPHS, device_for
from ..weights.places import digest
from ..work import shards
from ..work.console import progress
from ..work.failures import refuse_many
from ..work.locks import held
from ..work.processes import device_workers
from . import networks
from .backends import ON_DEVICE, Running, open_estimator, require_gpu
from .batches import ClipBoxes, ClipSource, Estimator, FailedClip
from .evaluate import compare_with_truth
from .params import EstimateParams

SHARD = "poses.safetensors"
SHARD_SIZE = 32
"""Clips per shard where clips are many."""


@dataclass(frozen=True)
class EstimateWork:
    """The work of an estimate shard, for :func:`hpnet.work.shards.run_shards`. Holds paths and parameters only.

    Attributes:
        boxes: a detect folder, or a boxes .parquet or .csv; clips without rows have no people.
        persons: tracks kept per clip.
        max_frames: frames read per clip; None: all.
        compiled, graphs, on_device: see :class:`hpnet.estimate.backends.Running`.
    """

    params: EstimateParams
    boxes: Path
    persons: int
    max_frames: int | None = None
    device: str = "auto"
    precision: str = "float32"
    batch_size: int | None = None
    compiled: bool = False
    graphs: Path = Path(".work/graphs")
    on_device: str = ON_DEVICE[0]

    def __call__(self, items: Sequence[shards.ShardItem], out: Path) -> None:
        """Write poses.safetensors, index.parquet, failed.json and meta.json of a shard."""
        running = Running(self.device, self.precision, self.batch_size, self.compiled, self.graphs, self.on_device)
        estimator = shared_estimator(self.params, running)
        threads = 1 if estimator.readers > 1 else None  # several clips, or several threads for one
        sources = (self._source(item, threads) for item in items if not item.fault)
        estimated: list[ClipPoses] = []
        failed = {item.clip_id: item.fault for item in items if item.fault}
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
        path, limit, stretch = item.path, self.max_frames, item.stretch

        def frames() -> Iterable[Any]:
            if path is None:
                raise video.VideoError("has no video file")
            if self.on_device == "decode":
                return read_frames_on(path, resolve_device(self.device), limit, stretch)
            return video.read_frames(path, limit, threads, stretch)

        boxes = boxes_by_clip(self.boxes, self.persons).get(item.clip_id, ClipBoxes.nobody())
        if limit is not None:
            read = boxes.frames < limit
            boxes = ClipBoxes(boxes.frames[read], boxes.tracks[read], boxes.boxes_xyxy_px[read])
        if self.params.frames and path is not None:
            boxes = thin_boxes(boxes, path, self.params.frames, limit, stretch)
        if path is None or threads is None:  # no other clip is decoded meanwhile
            return ClipSource(item.clip_id, frames, boxes)
        return ClipSource(item.clip_id, frames, boxes, video.decoding_bytes(path, threads))


@functools.lru_cache(maxsize=1)
def shared_estimator(params: EstimateParams, running: Running) -> Estimator:
    """The estimator of these settings, loaded once per process."""
    return open_estimator(params, running)


def thin_boxes(
    boxes: ClipBoxes, path: Path, count: int, max_frames: int | None = None, stretch: Stretch | None = None
) -> ClipBoxes:
    """The boxes of ``count`` frames, uniform in time over the video's number of frames.

    The other frames count as frames without a person: nothing is estimated there, and pooling interpolates. A video
        that cannot be read keeps its boxes, and fails when it is decoded.
    """
    try:
        stated = video.probe(path, stretch).frames
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
    table = table[table.track < persons].sort_values("clip_id", kind="stable")
    frames, tracks = table.frame.to_numpy(np.int64), table.track.to_numpy(np.int64)
    corners = table[["x1", "y1", "x2", "y2"]].to_numpy(np.float64).reshape(-1, 4)
    names, starts = np.unique(table.clip_id.to_numpy(str), return_index=True)
    bounds = [*starts, len(table)]
    return {
        str(name): ClipBoxes(frames[a:b], tracks[a:b], corners[a:b])
        for name, a, b in zip(names, bounds[:-1], bounds[1:], strict=True)
    }


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
        table = read_table(folder / "index.parquet", INDEX_KINDS, optional=("source",))
        tables.append(table.assign(shard=f"shard-{number:05d}.safetensors", source=folder.name))
        failed.update(read_json_as(folder / "failed.json", dict[str, str]))
    meta = PoseMeta.from_json({**read_object(folders[0] / "meta.json"), "failed": failed})
    PoseStore.write_index(out, pd.concat(tables, ignore_index=True), meta)
    return meta


def listed_paths(data: Path) -> dict[str, Path]:
    """Clip name -> video, of the usable clips of a data folder."""
    table = Videos.load(data).usable()
    return {str(clip_id): Path(str(path)) for clip_id, path in zip(table.clip_id, table.path, strict=True)}


def listed_stretches(data: Path) -> dict[str, Stretch]:
    """Clip name -> its part of the video, of the usable clips of a data folder that are not whole videos."""
    return stretches(Videos.load(data).usable())


def named_paths(files: Sequence[Path], boxes: Path) -> dict[str, Path]:
    """Clip name -> video, of files without a table; the names are those in the boxes.

    The name is the file's name without its suffix, or also without ``_rgb``.

    Raises:
        ValueError: boxes belong to a clip without a file, or two files have the same name.
    """
    named = set(boxes_by_clip(boxes, 1 << 30))
    paths: dict[str, Path] = {}
    for file in files:
        short = file.stem.removesuffix("_rgb")
        name = short if file.stem not in named and short in named else file.stem
        if name in paths:
            raise ValueError(f"there are two videos of clip {name!r}: {paths[name]} and {file}; rename one")
        paths[name] = file
    unknown = sorted(named - set(paths))
    if unknown:
        raise ValueError(f"{boxes}: there is no video of clip {unknown[0]!r} among the {len(paths)} that were found")
    return paths


def clip_items(
    paths: Mapping[str, Path], boxes: Path, persons: int, parts: Mapping[str, Stretch] | None = None
) -> list[shards.ShardItem]:
    """One shard item per clip; its digest covers the video's bytes, the part of it that the clip is, and its boxes."""
    by_clip = boxes_by_clip(boxes, persons)
    of_file = {path: shards.content_digest(path) for path in dict.fromkeys(paths.values())}
    items = []
    for clip_id, path in paths.items():
        stretch = (parts or {}).get(clip_id)
        content = shards.stretch_digest(of_file[path], stretch)
        people = box_digest(by_clip.get(clip_id, ClipBoxes.nobody()))
        items.append(shards.ShardItem(clip_id, path.absolute(), f"{content}-{people}", stretch=stretch))
    return items


def estimate_key(
    params: EstimateParams,
    persons: int,
    max_frames: int | None,
    precision: str,
    compiled: bool = False,
    on_device: str = ON_DEVICE[0],
) -> dict[str, Any]:
    """Values that affect an estimate shard, besides its clips; weights count by their digest, not by their path."""
    return {
        "params": params.model_dump(mode="json", exclude={"weights"}),
        "weights": digest(networks.weights_file(params.spec(), params.weights)),
        "persons": persons,
        "max_frames": max_frames,
        "precision": precision,
        "compiled": compiled,
        "on_device": on_device,
        "code": params.code().digest(),
    }


def estimate_figures(
    store: PoseStore, truth: pd.DataFrame | None = None, frames: int = 0, expected: float | None = None
) -> dict[str, Any]:
    """clips, failed, without_person, crops, mean_score of an estimate folder, and how sure the network was.

    With ``truth`` also the figures of :func:`hpnet.estimate.evaluate.pose_figures`, over the ``frames`` per clip that
    were estimated (0: all).

    Args:
        expected: the score that the network usually comes to, see :func:`hpnet.core.suitability.score_figures`; clips
            without people do not count here.
    """
    index = store.index
    crops = int(index.crops.sum())
    joints, shown = store.meta.skeleton.num_joints, index[index.crops > 0]
    figures: dict[str, Any] = {
        "clips": len(index) + len(store.meta.failed),
        "failed": len(store.meta.failed),
        "without_person": int((index.crops == 0).sum()),
        "crops": crops,
        "mean_score": float(index.score_sum.sum()) / max(1, crops * joints),
        **score_figures(shown.score_sum / (shown.crops * joints), expected),
    }
    if truth is not None:
        figures |= compare_with_truth((store.load(clip_id, taps=[]) for clip_id in store.clip_ids), truth, frames)
    return figures


# --- the step ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EstimateInput:
    """Inputs of the step.

    Attributes:
        paths: clip -> video.
        boxes: a detect folder, or a boxes .parquet or .csv.
        persons: tracks used per clip.
        max_frames: frames read per clip; None: all.
        truth: a truth.parquet to compare with; None or a missing file: no comparison.
        stretches: clip -> the part of its video that it is, of clips that are not whole videos.
    """

    paths: dict[str, Path]
    boxes: Path
    persons: int
    max_frames: int | None = None
    truth: Path | None = None
    stretches: Mapping[str, Stretch] = field(default_factory=dict)


@dataclass(frozen=True)
class EstimateOptions:
    """How the step runs; only ``precision``, ``compiled`` and ``on_device`` affect the result.

    Attributes:
        device, precision: see :mod:`hpnet.core.device`.
        batch, compiled, on_device: see :class:`hpnet.estimate.backends.Running`.
        shard_size: clips per shard; None: :func:`hpnet.work.shards.clips_per_shard`.
        engine: see :func:`hpnet.work.shards.run_shards`.
        workers: processes; None: :func:`hpnet.work.processes.device_workers`.
    """

    device: str = "auto"
    precision: str = "float32"
    batch: int | None = None
    compiled: bool = False
    shard_size: int | None = None
    workers: int | None = None
    engine: str = "local"
    on_device: str = ON_DEVICE[0]


@dataclass(frozen=True)
class Estimated:
    """The result of the step.

    Attributes:
        figures: of :func:`estimate_figures`, as written.
        failed: clip -> reason.
    """

    figures: dict[str, Any]
    failed: dict[str, str]


def run(
    params: EstimateParams,
    clips: EstimateInput,
    out: Path,
    metrics: Path,
    *,
    max_failed: float,
    work: Path = Path(".work"),
    options: EstimateOptions = EstimateOptions(),
) -> Estimated:
    """Run the pose network on the people of clips.

    Args:
        out: receives shard-*.safetensors, index.parquet and meta.json.
        metrics: receives the figures.
        max_failed: the share of clips that may fail.
        work: the project's folder of finished shards and locks.

    Raises:
        ValueError: there are no clips, or more of them failed; then the results of the others are written.
        FileNotFoundError: an input is missing.
        ModuleNotFoundError: see :func:`hpnet.estimate.backends.require_gpu`.
    """
    boxes, precision, compiled, there = (
        clips.boxes.absolute(), options.precision, options.compiled, options.on_device
    )  # fmt: skip
    require_gpu(Running(options.device, on_device=there))
    with held([out], work / "locks"):
        items = clip_items(clips.paths, boxes, clips.persons, clips.stretches)
        device, graphs = device_for(params.backend, options.device), work.absolute() / GRAPHS
        job = EstimateWork(
            params, boxes, clips.persons, clips.max_frames, device, precision, options.batch, compiled, graphs, there
        )
        with progress("estimating", len(items)) as advance:
            parts = shards.run_shards(
                items,
                job,
                stage_dir=work / "estimate",
                key=estimate_key(params, clips.persons, clips.max_frames, precision, compiled, there),
                shard_size=options.shard_size or shards.clips_per_shard(len(items), SHARD_SIZE),
                workers=device_workers(device, options.workers),
                engine=options.engine,
                on_progress=advance,
            )
        meta = collect_shards(parts, out)
        truth = load_truth(clips.truth) if clips.truth is not None and clips.truth.is_file() else None
        figures = estimate_figures(PoseStore(out), truth, params.frames, usual_score(params.rated_model))
        write_json(metrics, figures)
        refuse_many(meta.failed, len(items), max_failed)
        return Estimated(figures, dict(meta.failed))
