"""``hpnet bench``: this package's speed against the plain way, side by side in one run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hpnet.bench.commands import Comparison


@click.group("bench")
def command() -> None:
    """Benchmarks: ratios measured side by side in one run, as JSON and markdown with the machine's description."""


@command.command("extract")
@click.option("--model", default="mannequin-simcc", show_default=True, help="Pose network.")
@click.option("--weights", help="Its checkpoint, or `random`; by default the packaged or fetched one.")
@click.option(
    "--videos",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of videos; by default a few mannequin clips are rendered.",
)
@click.option("--clips", type=click.IntRange(1), default=8, show_default=True, help="Clips used.")
@click.option("--max-frames", type=click.IntRange(1), default=32, show_default=True, help="Frames read per clip.")
@click.option(
    "--plain-frames", type=click.IntRange(1), default=64, show_default=True, help="Frames of a round of the plain loop."
)
@click.option("--batch", type=click.IntRange(1), help="Crops per call of the network; 16 on CPU, 256 on a GPU.")
@click.option(
    "--workers", type=click.IntRange(1), help="Processes of ours; one per thread on CPU, up to four for a GPU."
)
@click.option("--precision", "precisions", multiple=True, type=click.Choice(["float32", "bfloat16", "float16"]),
              help="Only this, and this.  [default: all that suit the device]")  # fmt: skip
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Medians are over so many.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--note", default="", help="A sentence for the page.")
@click.option("--out", type=click.Path(path_type=Path), help="File without ending; benchmarks/extract-MODEL-DEVICE.")
def extract_command(
    model: str,
    weights: str | None,
    videos: Path | None,
    clips: int,
    max_frames: int,
    plain_frames: int,
    batch: int | None,
    workers: int | None,
    precisions: tuple[str, ...],
    rounds: int,
    device: str,
    note: str,
    out: Path | None,
) -> None:
    """Extract features the plain way (one frame, one crop, float32) and ours, on the same clips and weights.

    Prints, and writes as JSON and markdown, frames/s, processor time, waiting for data, memory, and the share of the
    network's own best speed that is reached. Weights `random` measure speed without any checkpoint.
    """
    import tempfile

    import torch

    from hpnet.bench import extract
    from hpnet.core.device import resolve_device

    kind = resolve_device(device).type
    with tempfile.TemporaryDirectory() as folder:
        files = extract.find_clips(videos, clips, max_frames, Path(folder))
        given = extract.random_weights(model, Path(folder)) if weights == "random" else weights
        tap = extract.default_tap(model)
        workers = workers or extract.default_workers(device, torch.get_num_threads())
        task = extract.Task(model, given, tap, tuple(files), max_frames, plain_frames, batch, device, workers)
        described = {"random": "random", None: "packaged or fetched"}.get(weights, "given")
        result = extract.run(task, rounds, described, precisions)
    options = {"weights": weights, "clips": clips, "max-frames": max_frames, "plain-frames": plain_frames}
    options |= {
        "videos": "DIR" if videos else None,
        "batch": batch,
        "workers": workers,
        "rounds": rounds,
        "device": device,
    }
    shown = " ".join(f"--{name} {value}" for name, value in options.items() if value is not None)
    shown += "".join(f" --precision {name}" for name in precisions)
    page = extract.markdown(result, f"hpnet bench extract --model {model} {shown}", note)
    _write(out or Path("benchmarks") / f"extract-{model}-{kind}", result, page)


@command.command("scale")
@click.option("--clips", type=click.IntRange(10), default=20_000, show_default=True, help="Tiny clips.")
@click.option("--added", type=click.IntRange(1), default=10, show_default=True, help="Clips added afterwards.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/scale.md"), show_default=True)
def scale_command(clips: int, added: int, workers: int, out: Path) -> None:
    """Run index, shards, joining, pooling and DVC over many tiny clips without networks: time and peak memory.

    Once over a tenth of the clips and once over all, so that memory can be seen to stay flat.
    """
    import tempfile

    from hpnet.bench import scale
    from hpnet.bench.machine import describe_machine, machine_line

    machine = machine_line(describe_machine())
    command_line = f"hpnet bench scale --clips {clips} --added {added} --workers {workers}"
    lines = ["# The machinery over many clips", "", f"`{command_line}`", "", f"Machine: {machine}.", ""]
    lines += ["Detect and estimate write fake shards (no network runs); everything else is what the stages run.", ""]
    for count in (clips // 10, clips):
        with tempfile.TemporaryDirectory() as folder:
            steps = scale.measure(Path(folder), count, added, workers)
        lines += [f"## {count:,} clips", "", *scale.table(steps), ""]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(lines), encoding="utf-8")
    click.echo("\n".join(lines))


@command.command("train")
@click.option("--clips", type=click.IntRange(1), help="Clips per batch; 16 on CPU, 64 on a GPU.")
@click.option("--channels", type=click.IntRange(1), default=96, show_default=True)
@click.option("--frames", type=click.IntRange(1), default=64, show_default=True)
@click.option("--persons", type=click.IntRange(1), default=2, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Medians are over so many.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads; torch's own number by default.")
@click.option("--compile", "compiled", is_flag=True, help="Also measure under torch.compile.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--note", default="", help="A sentence for the page.")
@click.option("--out", type=click.Path(path_type=Path), help="File without ending; benchmarks/train-DEVICE by default.")
def train_command(
    clips: int | None,
    channels: int,
    frames: int,
    persons: int,
    rounds: int,
    threads: int | None,
    compiled: bool,
    device: str,
    note: str,
    out: Path | None,
) -> None:
    """Training steps of our CTR-GCN and of a layer-by-layer transcription of its paper, in turn; same numbers out.

    Prints, and writes as JSON and markdown, clips/s, the ratio, memory and the share of a matrix product's FLOP/s.
    """
    from hpnet.bench import train
    from hpnet.core.device import resolve_device

    kind = resolve_device(device).type
    clips = clips or (16 if kind == "cpu" else 64)
    step = train.Step(clips, channels, frames, persons, device=kind if device == "auto" else device, threads=threads)
    result = train.run(step, rounds, compiled)
    shown = f"--clips {clips} --rounds {rounds} --device {device}" + (f" --threads {threads}" if threads else "")
    page = train.markdown(result, f"hpnet bench train {shown}{' --compile' if compiled else ''}", note)
    _write(out or Path("benchmarks") / f"train-{kind}", result, page)


def _comparison_options(run: Callable[..., None]) -> Callable[..., None]:
    """The options that the benchmarks of whole commands share."""
    for option in (
        click.option("--project", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path(),
                     help="Folder of the trained project.  [default: this folder]"),
        click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Medians are of so many."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
        click.option("--note", default="", help="A sentence for the page."),
        click.option("--out", type=click.Path(path_type=Path), help="File without ending, in benchmarks/ by default."),
    ):  # fmt: skip
        run = option(run)
    return run


@command.command("predict")
@click.option(
    "--clips", type=click.IntRange(1), default=160, show_default=True, help="Clips of the project, test first."
)
@_comparison_options
def predict_command(clips: int, project: Path, rounds: int, device: str, note: str, out: Path | None) -> None:
    """From files to answers (`hpnet predict`) against from files to features (detect, estimate, pool), in turn.

    Commands run whole, in processes of their own; start-up counts.
    """
    import tempfile

    from hpnet.bench import commands
    from hpnet.core.device import resolve_device

    with tempfile.TemporaryDirectory() as folder:
        comparison = commands.predicting(project, clips, Path(folder), device)
        out = out or Path("benchmarks") / f"predict-{resolve_device(device).type}"
        _compare(comparison, project, rounds, f"hpnet bench predict --clips {clips}", device, note, out)


@command.command("streams")
@click.option("--epochs", type=click.IntRange(1), default=10, show_default=True, help="Epochs of each stream.")
@_comparison_options
def streams_command(epochs: int, project: Path, rounds: int, device: str, note: str, out: Path | None) -> None:
    """The four topology streams by `hpnet train all` against four runs of `hpnet train`, in turn.

    Commands run whole, in processes of their own; start-up counts.
    """
    from hpnet.bench import commands
    from hpnet.core.device import resolve_device

    comparison = commands.streams(project, epochs, device)
    out = out or Path("benchmarks") / f"streams-{resolve_device(device).type}"
    _compare(comparison, project, rounds, f"hpnet bench streams --epochs {epochs}", device, note, out)


def _compare(
    comparison: Comparison, project: Path, rounds: int, called: str, device: str, note: str, out: Path
) -> None:
    """Time whole commands and write the page, which says how it was ``called``."""
    from hpnet.bench import commands

    result = commands.run(comparison, project, rounds)
    shown = f"{called} --rounds {rounds} --device {device}"
    _write(out, result, commands.markdown(comparison, result, shown, note))


def _write(out: Path, result: dict[str, Any], page: str) -> None:
    """Write ``out``.json and ``out``.md, and print the page."""
    from hpnet.artifacts.files import write_json

    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out.with_name(f"{out.name}.json"), result)
    out.with_name(f"{out.name}.md").write_text(page, encoding="utf-8")
    click.echo(page)
