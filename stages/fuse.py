"""``hpnet fuse``: fuse the streams' scores."""

from __future__ import annotations

from pathlib import Path

import click

from hpnet.core.streams import usual_streams
from hpnet.params import Params

from .common import PROJECT, section_options


@click.command("fuse")
@section_options("fuse")
@click.option(
    "--input",
    "source",
    type=click.Path(path_type=Path),
    help="Folder of STREAM/scores.parquet or STREAM.parquet.  [default: artifacts/train]",
)
@click.option("--out", type=click.Path(path_type=Path), help="Output folder.  [default: artifacts/fuse]")
@click.option(
    "--metrics",
    type=click.Path(path_type=Path),
    help="Metrics file.  [default: metrics/fuse.json, or OUT/metrics.json]",
)
@click.option(
    "--frequencies",
    type=click.Path(path_type=Path),
    help="CSV of label,count: training clips per class.  [default: from the clip table, or beside imported scores]",
)
@click.option("--allow-missing", is_flag=True, help="Also fuse clips that some streams do not have.")
def command(
    params: Params,
    source: Path | None,
    out: Path | None,
    metrics: Path | None,
    frequencies: Path | None,
    allow_missing: bool,
) -> None:
    """Fuse the streams' scores by clip with every rule, and write a table of all combinations."""
    from hpnet.fuse.step import Inputs, run

    pictures = (PROJECT.artifacts / "detect").is_dir() or not (PROJECT.artifacts / "pool").is_dir()
    expected = usual_streams(params.data.source, params.train.multimodal.video, pictures)
    inputs = Inputs(PROJECT.root, source, frequencies, allow_missing, expected)
    written = metrics or (out / "metrics.json" if out else PROJECT.metrics / "fuse.json")
    fused = run(params.fuse, params.data.protocol, inputs, out or PROJECT.artifacts / "fuse", written)
    for rule, found in fused.measured.items():
        click.echo(
            f"{rule}: {', '.join(fused.streams)}: top-1 {found.top1:.2%} ({found.interval}), "
            f"mean class accuracy {found.mean_class_accuracy:.2%}"
        )
