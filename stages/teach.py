"""``hpnet teach``: a new action for a trained project from a few clips."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import device_option

if TYPE_CHECKING:
    from hpnet.artifacts.taught import Taught
    from hpnet.predict.project import TrainedProject


@click.command("teach")
@click.argument("name", required=False)
@click.argument("clips", nargs=-1, metavar="CLIP...", type=click.Path(path_type=Path))
@click.option("--project", type=click.Path(file_okay=False, path_type=Path), default=Path(),
              help="Folder of the trained project.  [default: this folder]")  # fmt: skip
@click.option("--max-loss", type=click.FloatRange(0, 100, max_open=True), default=1.0, show_default=True,
              metavar="PERCENT", help="Clips of trained actions that taught actions may answer.")  # fmt: skip
@click.option("--list", "listed", is_flag=True, help="List the taught actions.")
@click.option("--forget", metavar="NAME", help="Forget a taught action.")
@click.option("--again", is_flag=True, help="Teach all taught actions again, after the project was trained again.")
@device_option
def command(
    name: str | None,
    clips: tuple[Path, ...],
    project: Path,
    max_loss: float,
    listed: bool,
    forget: str | None,
    again: bool,
    device: str,
) -> None:
    """Teach a trained project the action NAME by a few clips of it, best five or more, without training.

    CLIP is a video, or a folder of videos. `hpnet predict` and Python then answer with the new name too. The networks
    stay as they are; what is taught is kept in the folder `taught` of the project.
    """
    if sum((listed, forget is not None, again, name is not None)) != 1:
        raise click.UsageError("give NAME and clips, or one of --list, --forget NAME and --again")
    from hpnet.artifacts.taught import Taught
    from hpnet.project.folder import Project

    if listed:
        show(Taught.load(Project(project).taught))
        return
    if name is not None:
        if not clips:
            raise click.UsageError(f"give clips of {name!r}, best five or more")
        from .predict import find_files

        files, unusable = find_files(tuple(map(str, clips)), "a video or a folder of videos")
        if unusable:
            raise click.ClickException(f"{len(unusable)} clips have names that cannot be used")
        from hpnet.predict.model import Model

        model = Model(project, device)
        model.teach(name, files, most_loss=max_loss / 100)
        show(model.project.taught)
        return
    from hpnet.predict import teaching

    if forget is None:
        show(teaching.again(_trained(project, device)))
        return
    teaching.require_taught(Project(project), forget)
    teaching.forget(_trained(project, device), forget)
    click.echo(f"forgot {forget!r}")


def _trained(project: Path, device: str) -> TrainedProject:
    from hpnet.predict.project import TrainedProject

    return TrainedProject(project, None, device, with_taught=False)


def show(taught: Taught | None) -> None:
    """Print a line for each taught action."""
    from hpnet.artifacts.taught import described

    for action in taught.actions if taught else ():
        click.echo(described(taught, action))
    if taught is None:
        click.echo("no action is taught")
