"""``hpnet bench``: this package's speed against the plain way, side by side in one run."""

from __future__ import annotations

from pathlib import Path

import click


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

    from hpnet.artifacts import write_json
    from hpnet.bench import extract
    from hpnet.device import resolve_device

    kind = resolve_device(device).type
    with tempfile.TemporaryDirectory() as folder:
        files = extract.find_clips(videos, clips, max_frames, Path(folder))
        given = extract.random_weights(model, Path(folder)) if weights == "random" else weights
        tap = extract.default_tap(model)
        task = extract.Task(model, given, tap, tuple(files), max_frames, plain_frames, batch, device)
        result = extract.run(task, rounds, {"random": "random", None: "packaged or fetched"}.get(weights, "given"))
    options = {"weights": weights, "clips": clips, "max-frames": max_frames, "plain-frames": plain_frames}
    options |= {"videos": "DIR" if videos else None, "batch": batch, "rounds": rounds, "device": device}
    shown = " ".join(f"--{name} {value}" for name, value in options.items() if value is not None)
    page = extract.markdown(result, f"hpnet bench extract --model {model} {shown}", note)
    out = out or Path("benchmarks") / f"extract-{model}-{kind}"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out.with_name(f"{out.name}.json"), result)
    out.with_name(f"{out.name}.md").write_text(page, encoding="utf-8")
    click.echo(page)
