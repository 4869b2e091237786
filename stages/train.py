"""``hpnet train``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hpnet.core.streams import STREAMS, TOPOLOGY_STREAMS, refuse_former_name
from hpnet.params import Params

from .common import PROJECT, device_option, hold, section_options

precision_option = click.option(
    "--precision",
    type=click.Choice(["float32", "auto", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
    help="Arithmetic of training; weights are float32. auto: bfloat16 where the device has instructions for it.",
)
threads_option = click.option(
    "--threads",
    type=click.IntRange(1),
    help="CPU threads of a run.  [default: 1 for small steps, else all]",
)


@click.command("train")
@click.argument("stream")
@section_options("train")
@click.option("--input", "pool", type=click.Path(path_type=Path), help="Pooled features.  [default: artifacts/pool]")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the clip table.  [default: artifacts/data]")
@click.option(
    "--frames", "frames", type=click.Path(path_type=Path), help="Person frames.  [default: artifacts/detect/frames]"
)
@click.option("--out", type=click.Path(path_type=Path), help="Output folder.  [default: artifacts/train/STREAM]")
@click.option("--metrics", type=click.Path(path_type=Path), help="Metrics file.  [default: metrics/train/STREAM.json]")
@device_option
@precision_option
@threads_option
@click.option("--deterministic", is_flag=True, help="Refuse GPU operations with results that vary between runs.")
@click.option(
    "--cuda-graphs/--no-cuda-graphs",
    default=True,
    show_default=True,
    help="Topology streams on a GPU: use CUDA graphs if every clip fills every person slot.",
)
@click.option(
    "--compile",
    "compiled",
    is_flag=True,
    help="Topology streams: use torch.compile; takes minutes at the start, then is faster on a GPU.",
)
@click.option(
    "--start-from",
    type=click.Path(file_okay=False, path_type=Path),
    help="Graph networks: go on from an earlier training, the folder of its stream (`all`: of all streams).",
)
def command(
    params: Params,
    stream: str,
    pool: Path | None,
    data: Path | None,
    frames: Path | None,
    out: Path | None,
    metrics: Path | None,
    **options: Any,
) -> None:
    """Train STREAM (hpj, hpb, hpjm, hpbm or multimodal), choose the epoch on validation, score validation and test.

    `all` trains hpj, hpb, hpjm and hpbm from one copy of the features; on CPU as many at a time as the cores allow. The
    results are those of four runs. --out and --metrics are then folders. A stopped run resumes after its last finished
    epoch. With --start-from the result depends on what was trained before; stages of DVC never do so. Several GPUs:
    accelerate launch -m hpnet.stages.cli train STREAM.
    """
    known = (*STREAMS, "all")
    if stream not in known:
        refuse_former_name(stream, "STREAM")
        raise click.BadParameter(f"{stream!r} is unknown; choose from {', '.join(known)}", param_hint="STREAM")
    from hpnet.train import every, step
    from hpnet.train.run import Folders, Machine, is_first_process

    inputs = Folders(
        data or PROJECT.artifacts / "data",
        pool or PROJECT.artifacts / "pool",
        frames or PROJECT.artifacts / "detect" / "frames",
    )
    machine, name = Machine(**options), "" if stream == "all" else stream
    place = step.Place(
        out or PROJECT.artifacts / "train" / name,
        metrics or PROJECT.metrics / "train" / (f"{name}.json" if name else ""),
        PROJECT.work,
    )
    step.warn_of_warmup(name or TOPOLOGY_STREAMS[0], params.train)
    if name:
        hold(place.out)
        trained = [step.run(name, params.train, inputs, place, machine)]
    else:
        hold(*(place.out / each for each in TOPOLOGY_STREAMS))
        trained = every.run(params.train, inputs, place, machine)
    if is_first_process():
        for each in trained:
            click.echo(each.summary)
