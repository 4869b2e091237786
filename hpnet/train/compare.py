"""The work of ``hpnet compare``: pool a variant of the features and train the joint stream on them."""

from __future__ import annotations

from pathlib import Path

from ..pool.params import PoolParams
from ..pool.step import PoolOptions
from ..pool.step import pool as pool_clips
from ..work.failures import refuse_many
from .params import TrainParams
from .run import Folders, Machine
from .step import Place, Trained
from .step import run as train

STREAM = "hpj"


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
        ValueError: the poses lack data for the variant, or as :func:`hpnet.train.step.run`.
    """
    pooled = pool_clips(pool, estimate, folders.pool, place.work, PoolOptions(title=f"pooling {variant}"))
    refuse_many(pooled.failed, int(pooled.figures["clips"]), most=1.0)  # names them
    return train(STREAM, params, folders, place, machine)
