"""``hpnet detect``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hpnet.params import Params

from .common import PROJECT, device_option, engine_option, section_options, warn_unsuited, workers_option


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
def command(params: Params, source: Path, out: Path, metrics: Path, **options: Any) -> None:
    """Find people: boxes and tracks of every clip, and person frames for the RGB stream.

    Reads videos.csv and the videos. Writes boxes.parquet, failed.json, people.json and frames/. With --no-enabled the
    whole frame is the only box.
    """
    from hpnet.project.weights import require_weights

    require_weights(params, "detector")
    from hpnet.detect.step import DetectOptions, run

    max_failed = params.data.max_failed
    done = run(
        params.detect, source, out, metrics, max_failed=max_failed, work=PROJECT.work, options=DetectOptions(**options)
    )
    click.echo(
        f"{done.figures['clips']} clips, {done.figures['boxes']:,} boxes, "
        f"{done.figures['without_person']} clips without people, {len(done.failed)} failed"
    )
    warn_unsuited("detect", params.detect.rated_model, done.figures)
