"""``hpnet pretrain``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpnet.work.console import progress
from hpnet.work.processes import cores

from .common import PROJECT, device_option, was_given

if TYPE_CHECKING:
    from hpnet.pretrain.scenes import SceneShard

KINDS = {kind: f"hpnet.pretrain.{kind}" for kind in ("detector", "pose", "xclip")}
VALIDATION_SEEDS = 50_000_000
"""First seed of the held-out scenes; far above the seeds of training scenes, which start at --scene-seed."""


@click.command("pretrain")
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the weights.  [default: the package's own]")
@click.option("--scenes", type=click.Path(path_type=Path), default=PROJECT.work / "pretrain", show_default=True,
              help="Folder of rendered scenes; existing scenes are used again.")  # fmt: skip
@click.option("--count", type=click.IntRange(1), default=2048, show_default=True, help="Number of training scenes.")
@click.option(
    "--held-out", type=click.IntRange(1), default=256, show_default=True, help="Number of held-out scenes for the card."
)
@click.option("--frames", type=click.IntRange(1), default=8, show_default=True, help="Frames per scene.")
@click.option("--fps", type=click.FloatRange(min=0, min_open=True), default=12.0, show_default=True,
              help="Frames a second of the scenes.")  # fmt: skip
@click.option("--scene-seed", type=click.IntRange(0, VALIDATION_SEEDS // 2), default=1_000_000, show_default=True)
@click.option("--steps", type=click.IntRange(1), help="Training steps.  [default: depends on KIND]")
@click.option("--batch", type=click.IntRange(1), help="Batch size.  [default: depends on KIND]")
@click.option("--lr", type=click.FloatRange(min=0, min_open=True), help="Learning rate.  [default: depends on KIND]")
@click.option("--start", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="pose: weights to start from.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the training.")
@click.option("--workers", type=click.IntRange(1), help="Processes that render.  [default: one per core]")
@device_option
def command(
    kind: str,
    out: Path | None,
    start: Path | None,
    seed: int,
    device: str,
    **options: Any,
) -> None:
    """Train the packaged detector, pose network or X-CLIP from scratch on rendered scenes.

    The scenes' actions, people, rooms and objects are disjoint from the benchmark's. Writes the weights and a card with
    data, steps, seed, time and quality measured on held-out scenes.
    """
    if start is not None and kind != "pose":
        raise click.BadParameter(f"{kind} always starts from new weights: remove this option", param_hint="--start")
    from hpnet.core.choices import load
    from hpnet.pretrain.steps import Job, Scenes
    from hpnet.weights.places import ASSETS

    def on_step(step: int, loss: float) -> None:
        if step % 100 == 0:
            click.echo(f"step {step}: loss {loss:.4f}")

    given = {name: options.pop(name) for name in ("steps", "batch", "lr")}
    rendering = Rendering(**options)
    data = Scenes(rendering.train(), rendering.held_out_scenes())
    module = load(KINDS, kind, "network")
    settings = replace(module.SETTINGS, **{name: value for name, value in given.items() if value is not None})
    job = Job(device, seed, _as_typed(kind), on_step)
    more = {} if start is None else {"start": start}
    training = getattr(module, f"train_{kind}")(out or ASSETS, data, settings, job, **more)
    figures = ", ".join(f"{name} {value:.3f}" for name, value in training.quality.items())
    click.echo(f"{training.name}: {training.parameters:,} parameters, {training.seconds:.0f} s on {training.device}")
    click.echo(f"on {rendering.held_out} held-out scenes: {figures}")


@dataclass(frozen=True)
class Rendering:
    """The options of the scenes, as their help says."""

    scenes: Path
    count: int
    held_out: int
    frames: int
    fps: float
    scene_seed: int
    workers: int | None

    def train(self) -> list[SceneShard]:
        """The scenes to learn from, rendered where they are not there yet."""
        return self._shards(self.scenes / "train", self.count, self.scene_seed)

    def held_out_scenes(self) -> list[SceneShard]:
        """The scenes for the card."""
        return self._shards(self.scenes / "held-out", self.held_out, VALIDATION_SEEDS)

    def _shards(self, folder: Path, count: int, first: int) -> list[SceneShard]:
        from hpnet.pretrain.scenes import SceneShard, Takes, render_scenes

        takes = Takes(frames=self.frames, fps=self.fps)
        with progress(f"rendering {folder.name}", count) as advance:
            files = render_scenes(folder, count, first, self.workers or cores(), takes, on_progress=advance)
        return [SceneShard(file) for file in files]


def _as_typed(kind: str) -> str:
    """The command line with the given options that affect the result."""
    context = click.get_current_context()
    names = ("count", "held_out", "frames", "fps", "scene_seed", "steps", "batch", "lr", "seed")
    given = [f"--{name.replace('_', '-')} {context.params[name]}" for name in names if was_given(context, name)]
    start = [f"--start {context.params['start'].name}"] if context.params["start"] else []
    return " ".join(["hpnet pretrain", kind, *given, *start])
