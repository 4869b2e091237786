"""``hpnet init``: a new project."""

from __future__ import annotations

from pathlib import Path

import click

PRESETS = (
    "ntu60-xsub", "ntu60-xview", "ntu120-xsub", "ntu120-xset", "smarthome-cs", "smarthome-cv1", "smarthome-cv2",
    "uav-human-v1", "uav-human-v2", "nw-ucla", "folder", "mannequin",
)  # fmt: skip


@click.command("init")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--preset", type=click.Choice(PRESETS), default="folder", show_default=True, help="What kind of project.")
@click.option("--videos", type=click.Path(file_okay=False, path_type=Path), help="Folder of the videos.")
@click.option(
    "--table",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Preset folder: CSV of video, action and, optionally, source and split, instead of sub-folders.",
)
@click.option("--poses", type=click.Path(dir_okay=False, path_type=Path), help="Preset nw-ucla: the .npz of 3-D poses.")
def command(folder: Path, preset: str, videos: Path | None, table: Path | None, poses: Path | None) -> None:
    """Make a project in DIR: params.yaml with comments, dvc.yaml, DVC's settings, .gitignore and README.md.

    Nothing that is there is overwritten.
    """
    from hpnet.presets.make import label_videos, make_project

    make_project(folder, preset, videos, table, poses)
    click.echo(f"{folder}: a project of preset {preset}")
    if preset == "folder" and videos is not None:
        rows = label_videos(videos, table)[1]
        counts = rows.split[rows.split != ""].value_counts()
        sides = ", ".join(f"{counts.get(split, 0)} {split}" for split in ("train", "val", "test"))
        click.echo(f"{len(rows)} videos, {len(set(rows.class_name) - {''})} actions: {sides}")
        if len(rows) > counts.sum():
            click.echo(f"{len(rows) - counts.sum()} of them have no action or split: they are left out", err=True)
    click.echo(f"next: cd {folder} && dvc repro")
