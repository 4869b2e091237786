"""``hpnet import``: bring scores of other projects in."""

from __future__ import annotations

from pathlib import Path

import click

FORMATS = ("scores-hpnet", "scores-csv", "scores-npz")


@click.command("import")
@click.argument("layout", metavar="FORMAT", type=click.Choice(FORMATS))
@click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write; streams are added to it.")
@click.option("--protocol", help="Gives labels, splits and class order (see `hpnet protocol --help`).")
@click.option("--stream", help="scores-csv and scores-npz: what to call the stream.  [default: the file's name]")
@click.option(
    "--kind",
    type=click.Choice(("probabilities", "logits")),
    help="scores-csv and scores-npz: insist that the scores are probabilities.",
)
@click.option("--allow-missing", is_flag=True, help="scores-hpnet: accept listed test clips without a score.")
def command(
    layout: str,
    source: Path,
    out: Path,
    protocol: str | None,
    stream: str | None,
    kind: str | None,
    allow_missing: bool,
) -> None:
    """Bring scores of other projects in, one scores.parquet per stream.

    FORMAT is scores-hpnet (the authors' score folder), scores-csv or scores-npz (one stream of any model). `hpnet fuse
    --input OUT` reads the result.
    """
    from hpnet.data.importers import import_scores_csv, import_scores_hpnet, import_scores_npz

    if layout == "scores-hpnet":
        if protocol is None:
            raise click.UsageError("scores-hpnet needs --protocol, such as smarthome-cs: the files hold no labels")
        imported = import_scores_hpnet(source, protocol, allow_missing)
    else:
        read = import_scores_csv if layout == "scores-csv" else import_scores_npz
        imported = read(source, stream or source.stem, protocol, kind)
    imported.save(out)
    for note in imported.notes:
        click.echo(f"note: {note}", err=True)
    for name, scores in imported.streams.items():
        click.echo(f"{name}: {len(scores.clip_ids)} clips, {len(imported.classes)} classes -> {out / name}")
