"""``hpnet pool``."""

from __future__ import annotations

from pathlib import Path

import click

from hpnet.params import Params
from hpnet.work.console import progress

from .common import PROJECT, engine_option, hold, section_options, workers_option


@click.command("pool")
@section_options("pool")
@click.option("--input", "source", type=click.Path(file_okay=False, path_type=Path),
              default=PROJECT.artifacts / "estimate")  # fmt: skip
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=PROJECT.artifacts / "pool")
@click.option("--metrics", type=click.Path(dir_okay=False, path_type=Path), default=PROJECT.metrics / "pool.json")
@click.option("--shard-size", type=click.IntRange(1), default=64, show_default=True, help="Clips per shard.")
@workers_option
@engine_option
def command(
    params: Params,
    source: Path,
    out: Path,
    metrics: Path,
    shard_size: int,
    workers: int | None,
    engine: str,
) -> None:
    """Pool the windows at the joints (Eq. 3) and resample in time; or the 2-D poses, or the SimCC vectors.

    Reads an estimate folder; writes features.npy (one row per person), index.parquet and meta.json.
    """
    from hpnet.artifacts.files import write_json
    from hpnet.artifacts.poses import PoseStore
    from hpnet.pool.step import PoolWork, feature_meta, merge, pool_items, pool_key
    from hpnet.work.shards import run_shards

    hold(out)
    store = PoseStore(source)
    meta = feature_meta(params.pool, store.meta)
    items = pool_items(store)
    with progress("pooling", len(items)) as advance:
        parts = run_shards(
            items,
            PoolWork(params.pool, source.absolute()),
            stage_dir=PROJECT.work / "pool",
            key=pool_key(params.pool, store.meta),
            shard_size=shard_size,
            workers=workers or 1,
            engine=engine,
            on_progress=advance,
        )
    write_json(metrics, merge(parts, out, meta))
