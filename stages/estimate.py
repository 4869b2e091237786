"""``hpnet estimate``."""

from __future__ import annotations

from pathlib import Path

import click

from hpnet.params import Params
from hpnet.work.console import progress

from .common import (
    PROJECT,
    device_option,
    device_workers,
    engine_option,
    hold,
    section_options,
    workers_option,
)


@click.command("estimate")
@section_options("estimate")
@click.option("--input", "source", type=click.Path(file_okay=False, path_type=Path), default=PROJECT.artifacts / "data")
@click.option(
    "--videos", type=click.Path(file_okay=False, path_type=Path), help="A folder of videos instead of --input."
)
@click.option(
    "--boxes",
    type=click.Path(path_type=Path),
    default=PROJECT.artifacts / "detect",
    help="A detect folder, or a .parquet or .csv of clip_id, frame, track, x1, y1, x2, y2, score.",
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=PROJECT.artifacts / "estimate")
@click.option("--metrics", type=click.Path(dir_okay=False, path_type=Path), default=PROJECT.metrics / "estimate.json")
@click.option("--max-frames", type=click.IntRange(1), help="Frames read per clip; all by default.")
@click.option("--batch", type=click.IntRange(1), help="Crops per call of the network; 16 on CPU, 256 on a GPU.")
@click.option("--shard-size", type=click.IntRange(1), default=32, show_default=True, help="Clips per shard.")
@click.option("--precision", default="float32", show_default=True, help="float32, bfloat16 or float16.")
@click.option("--compile", "compiled", is_flag=True, help="torch.compile the network: minutes at the start.")
@device_option
@workers_option
@engine_option
def command(
    params: Params,
    source: Path,
    videos: Path | None,
    boxes: Path,
    out: Path,
    metrics: Path,
    max_frames: int | None,
    batch: int | None,
    shard_size: int,
    precision: str,
    compiled: bool,
    device: str,
    workers: int | None,
    engine: str,
) -> None:
    """Run the pose network on every person: joints, scores, and windows of the tapped maps at the joints.

    Reads the videos and the boxes of up to detect.persons people per clip; writes shard-*.safetensors, index.parquet
    and meta.json.
    """
    import pandas as pd

    from hpnet.artifacts.formats import PoseStore, write_json
    from hpnet.estimate.step import (
        EstimateWork,
        clip_items,
        clip_paths,
        collect_shards,
        estimate_figures,
        estimate_key,
    )
    from hpnet.project.weights import require_weights
    from hpnet.work.shards import run_shards

    require_weights(params, "pose")
    hold(out)
    boxes = boxes.absolute()
    paths = clip_paths(source if videos is None else videos, boxes, indexed=videos is None)
    items = clip_items(paths, boxes, params.detect.persons)
    key = estimate_key(params.estimate, params.detect.persons, max_frames, precision, compiled)
    with progress("estimating", len(items)) as advance:
        parts = run_shards(
            items,
            EstimateWork(params.estimate, boxes, params.detect.persons, max_frames, device, precision, batch, compiled),
            stage_dir=PROJECT.work / "estimate",
            key=key,
            shard_size=shard_size,
            workers=workers or device_workers(device),
            engine=engine,
            on_progress=advance,
        )
    meta = collect_shards(parts, out)
    truth = source / "truth.parquet"
    figures = estimate_figures(
        PoseStore(out),
        pd.read_parquet(truth) if videos is None and truth.is_file() else None,
        params.estimate.frames,
    )
    write_json(metrics, figures)
    for clip_id, reason in meta.failed.items():
        click.echo(f"{clip_id}: {reason}", err=True)
    if len(meta.failed) > params.data.max_failed * len(items):
        raise click.ClickException(
            f"{len(meta.failed)} of {len(items)} clips failed, more than data.max_failed = {params.data.max_failed:g}: "
            "mend or remove them, or raise data.max_failed"
        )
