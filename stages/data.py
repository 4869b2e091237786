"""``hpnet data``."""

from __future__ import annotations

from pathlib import Path

import click

from hpnet.params import Params
from hpnet.work.console import progress
from hpnet.work.processes import cores

from .common import PROJECT, hold, section_options, was_given


@click.command("data")
@section_options("data")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=PROJECT.artifacts / "data")
@click.option("--metrics", type=click.Path(dir_okay=False, path_type=Path), default=PROJECT.metrics / "data.json")
@click.option("--workers", type=click.IntRange(1), help="Processes; by default one per core.")
@click.pass_context
def command(context: click.Context, params: Params, out: Path, metrics: Path, workers: int | None) -> None:
    """Make the clip table: index a folder of videos, or render the mannequins.

    Writes clips.csv and classes.csv (and for the mannequins videos/ and truth.parquet). With --videos the folder is
    indexed, by the protocol `folder` (a class per sub-folder, or as --table says) unless --protocol names another.
    """
    from hpnet.artifacts.formats import write_json
    from hpnet.data.index import failures, label_folder, probe_videos, render_mannequins
    from hpnet.data.table import copies, refuse_copies
    from hpnet.project.weights import require_weights

    section = params.data
    if was_given(context, "videos"):
        section = section.model_copy(update={"source": "folder"})
        if not was_given(context, "protocol"):
            section = section.model_copy(update={"protocol": "folder"})
    processes = workers or cores()
    require_weights(params)
    hold(out)
    if section.source == "folder":
        labelled = label_folder(Path(section.videos), section)
        for note in labelled.notes:
            click.echo(note, err=True)
        with progress("indexing", len(labelled.files)) as advance:
            clips = probe_videos(labelled, section, processes, advance)
        files, splits = [Path(path) for path in clips.table.path], clips.table.split.tolist()
        if section.protocol == "folder":
            refuse_copies(files, splits)
        elif twins := copies(files, splits):  # the data set is as published, and so is its split
            found = len({n for pair in twins for n in pair})
            first, second = (files[n] for n in twins[0])
            click.echo(
                f"{found} videos have a copy in another split, such as {first} and {second}: a network may know them "
                "by heart",
                err=True,
            )
    else:
        from hpnet.mannequin.benchmark import plan

        with progress("rendering", len(plan(section))) as advance:
            clips = render_mannequins(section, out, processes, advance)
    clips.save(out)
    failed = failures(clips)
    counts = clips.table.split.replace("", "none").value_counts()
    write_json(
        metrics,
        {
            "clips": len(clips.table),
            "classes": clips.num_classes,
            "failed": len(failed),
            "splits": {str(name): int(count) for name, count in counts.items()},
        },
    )
    for clip_id, reason in failed.items():
        click.echo(f"{clip_id}: {reason}", err=True)
    if len(failed) > section.max_failed * len(clips.table):
        raise ValueError(
            f"{len(failed)} of {len(clips.table)} clips cannot be read, more than data.max_failed = "
            f"{section.max_failed:g}: mend or remove those listed above, or raise data.max_failed"
        )
    unlabelled = int((clips.table.label < 0).sum())
    if unlabelled:
        click.echo(f"{unlabelled} clips have no class: they are neither trained on nor scored", err=True)
    click.echo(f"{len(clips.table)} clips of {clips.num_classes} classes in {out}")
