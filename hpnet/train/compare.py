"""The work of ``hpnet compare``: pool a variant of the features and train the joint stream on them."""

from __future__ import annotations

from pathlib import Path

from ..artifacts.formats import PoseStore
from ..pool.params import PoolParams
from ..pool.step import PoolWork, feature_meta, merge, pool_items, pool_key
from ..work.console import progress
from ..work.shards import run_shards
from .params import TrainParams
from .run import Folders, Machine
from .step import Place, Trained
from .step import run as train

STREAM = "hpj"
SHARD_SIZE = 64


def run(
    variant: str,
    pool: PoolParams,
    params: TrainParams,
    estimate: Path,
    folders: Folders,
    place: Place,
    machine: Machine | None = None,
) -> Trained:
    """Pool the poses of ``estimate`` as ``pool`` says, into ``folders.pool``, and train :data:`STREAM` on them.

    Raises:
        ValueError: the poses lack what the variant pools, or as :func:`hpnet.train.step.run`.
    """
    store = PoseStore(estimate)
    items = pool_items(store)
    with progress(f"pooling {variant}", len(items)) as advance:
        parts = run_shards(
            items,
            PoolWork(pool, estimate.absolute()),
            stage_dir=place.work / "pool",
            key=pool_key(pool, store.meta),
            shard_size=SHARD_SIZE,
            on_progress=advance,
        )
    merge(parts, folders.pool, feature_meta(pool, store.meta))
    return train(STREAM, params, folders, place, machine)
