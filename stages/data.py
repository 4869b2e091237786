"""``hpnet data``."""

from __future__ import annotations

from pathlib import Path

import click

from hpnet.params import Params

from .common import PROJECT, hold, section_options, was_given


@click.command("data")
@section_options("data")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=PROJECT.artifacts / "data")
@click.option("--metrics", type=click.Path(dir_okay=False, path_type=Path), default=PROJECT.metrics / "data.json")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one per core]")
@click.pass_context
def command(context: click.Context, params: Params, out: Path, metrics: Path, workers: int | None) -> None:
    """Make the tables of clips: index a folder of videos, or render the mannequins.

    Writes videos.csv (the files), clips.csv and classes.csv (labels and splits), and for the mannequins videos/ and
    truth.parquet. With --videos the folder is indexed. The protocol is then `folder` (a class per sub-folder, or from
    --table), unless --protocol names another.
    """
    from hpnet.data.step import run
    from hpnet.project.weights import require_weights
    from hpnet.work.processes import cores

    section = params.data
    if was_given(context, "videos"):
        section = section.model_copy(update={"source": "folder"})
        if not was_given(context, "protocol"):
            section = section.model_copy(update={"protocol": "folder"})
    require_weights(params)
    hold(out)
    found = run(section, out, metrics, workers or cores())
    if found.unlabelled:
        click.echo(f"{found.unlabelled} clips have no class: they are not used for training or scores", err=True)
    click.echo(f"{found.clips} clips of {found.classes} classes in {out}")
