"""``hpnet detect``."""

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


@click.command("detect")
@section_options("detect")
@click.option("--input", "source", type=click.Path(file_okay=False, path_type=Path), default=PROJECT.artifacts / "data")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=PROJECT.artifacts / "detect")
@click.option("--metrics", type=click.Path(dir_okay=False, path_type=Path), default=PROJECT.metrics / "detect.json")
@click.option("--batch", type=click.IntRange(1), default=32, show_default=True, help="Frames per call of the network.")
@click.option("--precision", default="float32", show_default=True, help="float32, bfloat16 or float16.")
@device_option
@workers_option
@engine_option
def command(
    params: Params,
    source: Path,
    out: Path,
    metrics: Path,
    batch: int,
    precision: str,
    device: str,
    workers: int | None,
    engine: str,
) -> None:
    """Find people: boxes and tracks of every clip, and person frames for the RGB stream.

    Reads clips.csv and its videos; writes boxes.parquet, failed.json, people.json and frames/. With --no-enabled the
    whole frame is the only box.
    """
    import pandas as pd

    from hpnet.artifacts.formats import Clips, read_json, write_json
    from hpnet.detect.step import NO_PERSON, DetectWork, detect_key, detection_metrics, merge
    from hpnet.project.weights import require_weights
    from hpnet.work.shards import ShardItem, content_digest, run_shards

    require_weights(params, "detector")
    hold(out)
    clips = Clips.load(source).usable()
    paths = [Path(path) for path in clips.path]
    items = [
        ShardItem(str(clip_id), path, content_digest(path)) for clip_id, path in zip(clips.clip_id, paths, strict=True)
    ]
    with progress("detecting", len(items)) as advance:
        parts = run_shards(
            items,
            DetectWork(params.detect, device, precision, batch),
            stage_dir=PROJECT.work / "detect",
            key=detect_key(params.detect, precision),
            workers=workers or device_workers(device),
            engine=engine,
            on_progress=advance,
        )
    boxes = merge(parts, out)
    truth = source / "truth.parquet"
    figures = detection_metrics(
        boxes,
        read_json(out / "people.json"),
        [item.clip_id for item in items],
        pd.read_parquet(truth) if truth.is_file() else None,
    )
    write_json(metrics, figures)
    unusable = {clip_id: reason for clip_id, reason in boxes.failed.items() if reason != NO_PERSON}
    for clip_id, reason in unusable.items():
        click.echo(f"{clip_id}: {reason}", err=True)
    if len(unusable) > params.data.max_failed * len(items):
        raise click.ClickException(
            f"{len(unusable)} of {len(items)} clips failed, more than data.max_failed = {params.data.max_failed:g}: "
            "mend or remove them, or raise data.max_failed"
        )
