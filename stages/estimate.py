"""``hpnet estimate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hpnet.params import Params

from .common import PROJECT, device_option, engine_option, section_options, warn_unsuited, workers_option


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
@click.option("--max-frames", type=click.IntRange(1), help="Frames read per clip.  [default: all]")
@click.option(
    "--batch", type=click.IntRange(1), help="Crops per call of the network.  [default: 16 on CPU, 256 on a GPU]"
)
@click.option("--shard-size", type=click.IntRange(1), help="Clips per shard.  [default: 1 up to 512 clips, then 32]")
@click.option("--precision", default="float32", show_default=True, help="float32, bfloat16 or float16.")
@click.option("--compile", "compiled", is_flag=True, help="Use torch.compile; takes minutes at the start.")
@click.option(
    "--on-device",
    type=click.Choice(["none", "crops", "decode"]),
    default="none",
    show_default=True,
    help="On a GPU: cut the crops there; or decode the frames there too (extra gpu).",
)
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
    **options: Any,
) -> None:
    """Run the pose network on every person: joints, scores, and windows of the tapped maps at the joints.

    Reads the videos and the boxes of up to detect.persons people per clip. Writes shard-*.safetensors, index.parquet
    and meta.json.
    """
    from hpnet.data.walk import find_videos
    from hpnet.project.weights import require_weights

    require_weights(params, "pose")
    from hpnet.estimate.step import EstimateInput, EstimateOptions, listed_paths, listed_stretches, named_paths, run

    if videos is None:
        paths, truth, parts = listed_paths(source), source / "truth.parquet", listed_stretches(source)
    else:
        found = find_videos(videos)
        found.refuse_unusable()
        paths, truth, parts = named_paths(found.files, boxes), None, {}
    done = run(
        params.estimate,
        EstimateInput(paths, boxes, params.detect.persons, max_frames, truth, parts),
        out,
        metrics,
        max_failed=params.data.max_failed,
        work=PROJECT.work,
        options=EstimateOptions(**options),
    )
    click.echo(
        f"{done.figures['clips']} clips, {done.figures['crops']:,} people in frames, "
        f"{done.figures['without_person']} clips without people, {len(done.failed)} failed"
    )
    warn_unsuited("estimate", params.estimate.rated_model, done.figures)
