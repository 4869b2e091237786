"""``hpnet pool``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hpnet.params import Params

from .common import PROJECT, engine_option, section_options, workers_option


@click.command("pool")
@section_options("pool")
@click.option("--input", "source", type=click.Path(file_okay=False, path_type=Path),
              default=PROJECT.artifacts / "estimate")  # fmt: skip
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=PROJECT.artifacts / "pool")
@click.option("--metrics", type=click.Path(dir_okay=False, path_type=Path), default=PROJECT.metrics / "pool.json")
@click.option("--shard-size", type=click.IntRange(1), default=64, show_default=True, help="Clips per shard.")
@workers_option
@engine_option
def command(params: Params, source: Path, out: Path, metrics: Path, workers: int | None, **options: Any) -> None:
    """Pool the windows at the joints (Eq. 3) and resample in time; or the 2-D poses, or the SimCC vectors.

    Reads an estimate folder; writes features.npy (one row per person), index.parquet and meta.json.
    """
    from hpnet.pool.step import PoolOptions, run

    how = PoolOptions(workers=workers or 1, **options)
    done = run(params.pool, source, out, metrics, max_failed=params.data.max_failed, work=PROJECT.work, options=how)
    click.echo(
        f"{done.figures['clips']} clips, {done.figures['persons']} people, "
        f"{done.figures['without_person']} clips without people"
    )
