"""``hpnet compare``."""

from __future__ import annotations

from pathlib import Path

import click

from hpnet.params import Params
from hpnet.work.console import progress

from .common import PROJECT, device_option, hold, section_options
from .train import precision_option, train_stream


@click.command("compare")
@click.argument("variant")
@section_options("pool", "compare", "train")
@click.option("--input", "source", type=click.Path(path_type=Path), default=PROJECT.artifacts / "estimate")
@click.option("--data", type=click.Path(path_type=Path), default=PROJECT.artifacts / "data")
@click.option("--out", type=click.Path(path_type=Path), help="artifacts/compare/VARIANT by default.")
@click.option("--metrics", type=click.Path(path_type=Path), help="metrics/compare/VARIANT.json by default.")
@device_option
@precision_option
def command(
    params: Params,
    variant: str,
    source: Path,
    data: Path,
    out: Path | None,
    metrics: Path | None,
    device: str,
    precision: str,
) -> None:
    """Train the joint stream on the features of VARIANT, a name of compare.variants, for the report's comparison.

    The variant's overrides replace parameters of section pool (its region is 1 where it names none, whatever
    pool.region is); all else is as in `hpnet train hpj`.
    """
    from hpnet.artifacts.poses import PoseStore
    from hpnet.pool.step import PoolWork, feature_meta, merge, pool_items, pool_key
    from hpnet.work.shards import run_shards

    if variant not in params.compare.variants:
        known = ", ".join(params.compare.variants) or "none is set"
        raise click.BadParameter(f"{variant!r} is none of compare.variants ({known})", param_hint="VARIANT")
    hold(PROJECT.work / "compare" / variant)
    section = params.variant(variant)
    store = PoseStore(source)
    items = pool_items(store)
    with progress(f"pooling {variant}", len(items)) as advance:
        parts = run_shards(
            items,
            PoolWork(section, source.absolute()),
            stage_dir=PROJECT.work / "pool",
            key=pool_key(section, store.meta),
            shard_size=64,
            on_progress=advance,
        )
    pooled = PROJECT.work / "compare" / variant
    merge(parts, pooled, feature_meta(section, store.meta))
    train_stream(
        "hpj",
        params,
        data=data,
        pool=pooled,
        frames=PROJECT.artifacts / "detect" / "frames",
        out=out or PROJECT.artifacts / "compare" / variant,
        metrics=metrics or PROJECT.metrics / "compare" / f"{variant}.json",
        device=device,
        precision=precision,
    )
