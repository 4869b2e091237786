"""``hpnet pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hpnet.work.console import progress
from hpnet.work.processes import cores

from .common import PROJECT, device_option, was_given

KINDS = ("detector", "pose", "xclip")
VALIDATION_SEEDS = 50_000_000
"""First seed of the held-out scenes; training scenes count up from --scene-seed, far below."""


@click.command("pretrain")
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the weights; the package's own by default.")
@click.option("--scenes", type=click.Path(path_type=Path), default=PROJECT.work / "pretrain", show_default=True,
              help="Where rendered scenes are kept; those already there are used again.")  # fmt: skip
@click.option("--count", type=click.IntRange(1), default=2048, show_default=True, help="Training scenes.")
@click.option("--held-out", type=click.IntRange(1), default=256, show_default=True, help="Scenes for the card.")
@click.option("--frames", type=click.IntRange(1), default=8, show_default=True, help="Frames per scene.")
@click.option("--fps", type=click.FloatRange(min=0, min_open=True), default=12.0, show_default=True,
              help="Frames a second of the scenes.")  # fmt: skip
@click.option("--scene-seed", type=click.IntRange(0, VALIDATION_SEEDS // 2), default=1_000_000, show_default=True)
@click.option("--steps", type=click.IntRange(1), help="Training steps; each kind has its own default.")
@click.option("--batch", type=click.IntRange(1), help="Batch size; each kind has its own default.")
@click.option("--lr", type=click.FloatRange(min=0, min_open=True), help="Learning rate; each kind has its own default.")
@click.option("--start", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="pose: weights to go on from.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the training.")
@click.option("--workers", type=click.IntRange(1), help="Processes that render; one per core by default.")
@device_option
def command(
    kind: str,
    out: Path | None,
    scenes: Path,
    count: int,
    held_out: int,
    frames: int,
    fps: float,
    scene_seed: int,
    steps: int | None,
    batch: int | None,
    lr: float | None,
    start: Path | None,
    seed: int,
    workers: int | None,
    device: str,
) -> None:
    """Train the packaged detector, pose network or X-CLIP from scratch on rendered scenes.

    The scenes' actions, people, rooms and objects are disjoint from the benchmark's. Writes the weights and a card with
    data, steps, seed, time and quality measured on held-out scenes.
    """
    from hpnet.pretrain.scenes import SceneShard, render_scenes
    from hpnet.weights.places import ASSETS

    def shards(folder: Path, number: int, first: int) -> Any:
        with progress(f"rendering {folder.name}", number) as advance:
            processes = workers or cores()
            files = render_scenes(folder, number, first, processes, frames=frames, fps=fps, on_progress=advance)
        return [SceneShard(file) for file in files]

    train = shards(scenes / "train", count, scene_seed)
    validation = shards(scenes / "held-out", held_out, VALIDATION_SEEDS)
    options: dict[str, Any] = {"steps": steps, "batch": batch, "lr": lr, "start": start}
    chosen = {name: value for name, value in options.items() if value is not None}
    chosen["command"] = _as_typed(kind)

    def on_step(step: int, loss: float) -> None:
        if step % 100 == 0:
            click.echo(f"step {step}: loss {loss:.4f}")

    training = _trainer(kind)(out or ASSETS, train, validation, device=device, seed=seed, on_step=on_step, **chosen)
    figures = ", ".join(f"{name} {value:.3f}" for name, value in training.quality.items())
    click.echo(f"{training.name}: {training.parameters:,} parameters, {training.seconds:.0f} s on {training.device}")
    click.echo(f"on {held_out} held-out scenes: {figures}")


def _as_typed(kind: str) -> str:
    """The command with the options that decide its result, where they stood on the command line."""
    context = click.get_current_context()
    names = ("count", "held_out", "frames", "fps", "scene_seed", "steps", "batch", "lr", "seed")
    given = [f"--{name.replace('_', '-')} {context.params[name]}" for name in names if was_given(context, name)]
    start = [f"--start {context.params['start'].name}"] if context.params["start"] else []
    return " ".join(["hpnet pretrain", kind, *given, *start])


def _trainer(kind: str) -> Any:
    if kind == "detector":
        from hpnet.pretrain.detector import train_detector

        return train_detector
    if kind == "pose":
        from hpnet.pretrain.pose import train_pose

        return train_pose
    from hpnet.pretrain.xclip import train_xclip

    return train_xclip
