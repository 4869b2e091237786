"""``hpnet init``: a new project."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpnet.project.presets import PRESETS
from hpnet.project.recipes import DEFAULT, RECIPES

if TYPE_CHECKING:
    from hpnet.data.index import Labelled

SPLITS = ("train", "val", "test")


@click.command("init")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--preset", type=click.Choice(list(PRESETS)), default="folder", show_default=True, help="Kind of project."
)
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    default=DEFAULT,
    show_default=True,
    help="Presets of the paper's data sets: as hpnet does it, as the paper prints it, or as the released code did it.",
)
@click.option("--videos", type=click.Path(file_okay=False, path_type=Path), help="Folder of the videos.")
@click.option(
    "--table",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Preset folder: CSV of video, action and, optionally, source and split; used instead of sub-folders.",
)
@click.option(
    "--poses",
    type=click.Path(path_type=Path),
    help="Presets nw-ucla, utd-mhad and sbu: the 3-D poses, an .npz or a folder.",
)
def command(
    folder: Path, preset: str, recipe: str, videos: Path | None, table: Path | None, poses: Path | None
) -> None:
    """Make a project in DIR: params.yaml with comments, dvc.yaml, DVC's settings, .gitignore and README.md.

    Existing files are not overwritten.
    """
    from hpnet.project.make import label_videos, make_project, missing_weights, networks
    from hpnet.project.weights import real_video_networks
    from hpnet.weights.suitability import mannequins_alone

    for line in mannequins_alone(real_video_networks(preset)):
        click.echo(line, err=True)
    chosen = networks(folder).lines if preset == "folder" else ()
    make_project(folder, preset, videos, table, poses, recipe)
    click.echo(f"{folder}: a project of preset {preset}" + ("" if recipe == DEFAULT else f", recipe {recipe}"))
    for line in chosen:
        click.echo(line)
    if videos is not None:
        try:
            show_splits(label_videos(preset, videos, table))
        except ValueError as error:
            if preset == "folder":
                raise
            click.echo(f"the videos do not match the preset yet: {error}", err=True)
    enter = f"cd {shlex.quote(str(folder))}"
    absent = missing_weights(folder, preset)
    if absent:
        click.echo(f"next: {enter} && hpnet weights fetch {' '.join(absent)}")
        click.echo("then: dvc repro")
    else:
        click.echo(f"next: {enter} && dvc repro")


def show_splits(labelled: Labelled) -> None:
    """Print clips and, if known, sources of each action and split; also the clips left out, and notes."""
    rows = labelled.table
    used = rows[(rows.class_name != "") & (rows.split != "")]
    known = bool((used.source != "").any())
    lines = [("action", *SPLITS)]
    for action, own in [*used.groupby("class_name", sort=True), *([("all", used)] if len(used) else [])]:
        cells = []
        for split in SPLITS:
            here = own[own.split == split]
            cells.append(f"{len(here)} ({here.source[here.source != ''].nunique()})" if known else str(len(here)))
        lines.append((str(action), *cells))
    print_table(lines)
    counts = used.split.value_counts()
    sides = ", ".join(f"{counts.get(split, 0)} {split}" for split in SPLITS)
    sources = ", sources in brackets" if known else ""
    what = "videos" if labelled.events is None else f"events in {labelled.events.video.nunique()} videos"
    click.echo(f"{len(rows)} {what}, {len(set(rows.class_name) - {''})} actions: {sides}{sources}")
    if len(rows) > len(used) and labelled.events is None:
        click.echo(f"{len(rows) - len(used)} of them have no action or split and are left out", err=True)
    for note in labelled.notes:
        click.echo(note, err=True)


def print_table(lines: Sequence[tuple[str, ...]]) -> None:
    """Print a table with a heading: with lines on a terminal, as plain columns elsewhere."""
    if not sys.stdout.isatty():
        widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
        for line in lines:
            first, *others = (
                cell.rjust(width) if n else cell.ljust(width)
                for n, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            click.echo("  ".join((first, *others)))
        return
    from rich.console import Console
    from rich.table import Table

    heading, *body = lines
    table = Table()
    for n, name in enumerate(heading):
        table.add_column(name, justify="right" if n else "left")
    for line in body:
        table.add_row(*line, end_section=line is body[-2] if len(body) > 1 else False)
    Console().print(table, markup=False)
