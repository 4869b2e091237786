"""An estimate folder -> a pool folder, shard by shard, so that memory does not grow with the number of clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..artifacts.features import KINDS, FeatureMeta, Features
from ..artifacts.files import read_json, write_json, writing
from ..artifacts.parquet import read_table
from ..artifacts.poses import PoseMeta, PoseStore
from ..work import shards
from ..work.console import progress
from ..work.failures import refuse_many
from ..work.locks import held
from ..work.processes import share_cores
from .features import clip_features, feature_meta, num_channels, people_valid
from .params import PoolParams

INDEX = "index.parquet"
ARRAY = "features.npy"
FAULTS = "faults.json"
"""File of a shard: clip -> why it could not be pooled, without clips that failed in ``estimate``."""


@dataclass(frozen=True)
class PoolWork:
    """Work for :func:`hpnet.work.shards.run_shards`: writes features.npy, index.parquet and faults.json."""

    params: PoolParams
    estimate: Path

    def __call__(self, items: Sequence[shards.ShardItem], out: Path) -> None:
        """Write the shard."""
        store = PoseStore(self.estimate)
        taps = list(self.params.readings)
        arrays: list[NDArray[np.float16]] = []
        rows: list[tuple[str, int, bool]] = []
        for item in items:
            if item.fault or item.clip_id in store.meta.failed:
                size = (1, self.params.frames, store.meta.skeleton.num_joints, num_channels(self.params, store.meta))
                arrays.append(np.zeros(size, np.float16))
                rows.append((item.clip_id, 0, False))
                continue
            clip = store.load(item.clip_id, taps)
            arrays.append(clip_features(clip, self.params, store.meta).astype(np.float16))
            valid = people_valid(clip, self.params)
            rows += [(item.clip_id, m, bool(valid[:, m].any())) for m in range(valid.shape[1])]
        with writing(out / ARRAY) as file:
            np.save(file, np.concatenate(arrays))
        with writing(out / INDEX) as file:
            pd.DataFrame(rows, columns=["clip_id", "person", "valid"]).to_parquet(file, index=False)
        write_json(out / FAULTS, {item.clip_id: item.fault for item in items if item.fault})


def pool_items(store: PoseStore) -> list[shards.ShardItem]:
    """One item per clip, failed ones too; its digest is its estimate shard's key, or that file's own digest."""
    if "source" in store.index:
        digests = store.index["source"].astype(str).to_dict()
    else:
        files = {str(name): shards.file_digest(store.folder / str(name)) for name in store.index["shard"].unique()}
        digests = {str(clip): files[str(name)] for clip, name in store.index["shard"].items()}
    items = [shards.ShardItem(str(clip_id), None, str(digest)) for clip_id, digest in digests.items()]
    return items + [shards.ShardItem(clip_id, None, f"failed: {why}") for clip_id, why in store.meta.failed.items()]


def pool_key(params: PoolParams, poses: PoseMeta) -> dict[str, Any]:
    """Values that affect a pool shard, besides its clips."""
    return {
        "params": params.model_dump(mode="json"),
        "poses": {**poses.to_json(), "failed": None},
        "code": params.code().digest(),
    }


def merge(parts: Sequence[Path], out: Path, meta: FeatureMeta) -> dict[str, float | int]:
    """Join finished shards into one memory-mapped features.npy with its index.

    Returns:
        clips, persons, without_person (clips), bytes_per_clip and zeros (share of the values that are exactly zero).

    Raises:
        ValueError: there is no shard.
    """
    if not parts:
        raise ValueError("there are no clips to pool: run `hpnet estimate` first")
    index = pd.concat([read_table(part / INDEX, KINDS, optional=("row",)) for part in parts], ignore_index=True)
    index.insert(2, "row", np.arange(len(index)))
    first = np.load(parts[0] / ARRAY, mmap_mode="r", allow_pickle=False)
    shape = (len(index), *first.shape[1:])
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float16)), "fortran_order": False, "shape": shape}
    zeros = 0
    # Not through a memory map: with a full disk it would kill the process without a message.
    with writing(out / ARRAY) as path, path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            block = np.load(part / ARRAY, allow_pickle=False)
            file.write(block.tobytes())
            zeros += int(block.size - np.count_nonzero(block))
    Features.save_index(out, index, meta)
    clips = index.clip_id.nunique()
    return {
        "clips": int(clips),
        "persons": int(index.valid.sum()),
        "without_person": int(clips - index[index.valid].clip_id.nunique()),
        "bytes_per_clip": round(2 * prod(shape) / clips),
        "zeros": zeros / max(1, prod(shape)),
    }


# --- the step ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PoolOptions:
    """How the step runs; it does not affect the result.

    Attributes:
        shard_size, workers, engine: see :func:`hpnet.work.shards.run_shards`.
        title: of the progress bar.
    """

    shard_size: int = 64
    workers: int = 1
    engine: str = "local"
    title: str = "pooling"


@dataclass(frozen=True)
class Pooled:
    """The result of the step.

    Attributes:
        figures: of :func:`merge`.
        failed: clip -> reason, for clips that could not be pooled; their features are zeros.
    """

    figures: dict[str, float | int]
    failed: dict[str, str]


def pool(
    params: PoolParams,
    source: Path,
    out: Path,
    work: Path = Path(".work"),
    options: PoolOptions = PoolOptions(),
) -> Pooled:
    """Pool an estimate folder into a pool folder.

    Raises:
        ValueError: the poses lack data for the parameters, or there are no poses.
    """
    store = PoseStore(source)
    meta = feature_meta(params, store.meta)
    items = pool_items(store)
    with progress(options.title, len(items)) as advance:
        parts = shards.run_shards(
            items,
            PoolWork(params, source.absolute()),
            stage_dir=work / "pool",
            key=pool_key(params, store.meta),
            shard_size=options.shard_size,
            workers=share_cores(options.workers),
            engine=options.engine,
            on_progress=advance,
        )
    figures = merge(parts, out, meta)
    return Pooled(figures, {clip_id: why for part in parts for clip_id, why in read_json(part / FAULTS).items()})


def run(
    params: PoolParams,
    source: Path,
    out: Path,
    metrics: Path,
    *,
    max_failed: float,
    work: Path = Path(".work"),
    options: PoolOptions = PoolOptions(),
) -> Pooled:
    """:func:`pool`; also writes its figures to a metrics file, and locks ``out`` against other processes.

    Args:
        max_failed: the share of clips that may fail.
        work: the project's folder of finished shards and locks.

    Raises:
        ValueError: as :func:`pool`, or more clips failed; then the results of the others are written.
    """
    with held([out], work / "locks"):
        done = pool(params, source, out, work, options)
        write_json(metrics, done.figures)
        refuse_many(done.failed, int(done.figures["clips"]), max_failed)
        return done
