"""``hpnet compare``."""

from __future__ import annotations

from pathlib import Path

import click

from hpnet.params import Params

from .common import PROJECT, device_option, hold, section_options
from .train import precision_option


@click.command("compare")
@click.argument("variant")
@section_options("pool", "compare", "train")
@click.option("--input", "source", type=click.Path(path_type=Path), default=PROJECT.artifacts / "estimate")
@click.option("--data", type=click.Path(path_type=Path), default=PROJECT.artifacts / "data")
@click.option("--out", type=click.Path(path_type=Path), help="Output folder.  [default: artifacts/compare/VARIANT]")
@click.option(
    "--metrics", type=click.Path(path_type=Path), help="Metrics file.  [default: metrics/compare/VARIANT.json]"
)
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

    The variant's overrides replace parameters of section pool. Without `region` a variant has region 1, not
    pool.region. Everything else is as in `hpnet train hpj`.
    """
    if variant not in params.compare.variants:
        known = ", ".join(params.compare.variants) or "none is set"
        raise click.BadParameter(f"{variant!r} is not in compare.variants ({known})", param_hint="VARIANT")
    from hpnet.train import compare
    from hpnet.train.run import Folders, Machine
    from hpnet.train.step import Place

    pooled = PROJECT.work / "compare" / variant
    hold(pooled)
    trained = compare.run(
        variant,
        params.variant(variant),
        params.train,
        source,
        Folders(data, pooled, PROJECT.artifacts / "detect" / "frames"),
        Place(
            out or PROJECT.artifacts / "compare" / variant,
            metrics or PROJECT.metrics / "compare" / f"{variant}.json",
            PROJECT.work,
        ),
        Machine(device=device, precision=precision),
    )
    click.echo(trained.summary)
