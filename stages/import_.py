"""``hpnet import``: scores, poses and features of other projects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpnet.core.choices import load
from hpnet.data.sources import IMPORTS
from hpnet.work.console import progress

if TYPE_CHECKING:
    from hpnet.data.feature_folder import ImportSummary

SCORES = ("scores-hpnet", "scores-csv", "scores-npz")
FEATURES = tuple(IMPORTS)
PROTOCOLS = {"nw-ucla": "nw-ucla", "utd-mhad": "utd-mhad", "sbu": "sbu-fold1"}
"""Format -> its data set's protocol."""
TAKES = {
    "features-hpnet": (),
    "pyskl": ("frames", "persons", "split"),
    "kinect": ("frames", "persons", "align", "same_size"),
    "nw-ucla": ("frames", "align", "same_size", "val_view"),
    "utd-mhad": ("frames", "align", "same_size"),
    "sbu": ("frames", "align"),
}
"""Format of poses or features -> the options that are for it alone."""


@click.command("import")
@click.argument("layout", metavar="FORMAT", type=click.Choice(SCORES + FEATURES))
@click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write; streams are added to it.")
@click.option("--protocol", help="Gives labels, splits and class order (see `hpnet protocol --help`).")
@click.option("--stream", help="scores-csv and scores-npz: name of the stream.  [default: the file's name]")
@click.option(
    "--kind",
    type=click.Choice(("probabilities", "logits")),
    help="scores-csv and scores-npz: refuse scores that are not probabilities.",
)
@click.option("--allow-missing", is_flag=True, help="scores-hpnet: accept listed test clips without a score.")
@click.option("--frames", type=click.IntRange(1), default=64, show_default=True, help="Poses: T after resampling.")
@click.option("--persons", type=click.IntRange(1), default=2, show_default=True, help="pyskl, kinect: people per clip.")
@click.option(
    "--align/--no-align",
    default=None,
    help="kinect, nw-ucla, utd-mhad: rotate clips so that the body in the first frame is upright and faces the "
    "camera; sbu: so that each person faces the other.  [default: kinect no, the others yes]",
)
@click.option(
    "--same-size/--own-size",
    default=None,
    help="kinect, nw-ucla, utd-mhad: scale clips so that the first person's spine is 0.5 m long.  [default: own size]",
)
@click.option(
    "--split", help="pyskl: one of the file's splits, such as xsub.  [default: the protocol's, or the only one]"
)
@click.option(
    "--val-fraction",
    type=float,
    default=0.15,
    show_default=True,
    help="Poses: share of the training data held out for validation.",
)
@click.option("--val-view", type=int, help="nw-ucla: hold out this training camera instead of subjects.")
@click.option("--seed", type=int, default=7, show_default=True, help="Poses: seed of the choice of held-out subjects.")
@click.option("--drop-repeats", is_flag=True, help="Poses, features: leave out test clips that equal a training clip.")
@click.option(
    "--relabel",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Poses, features: a CSV of clip_id and action; these actions replace those of training and validation clips.",
)
@click.option(
    "--max-failed",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="Poses: share of clips that may fail.",
)
def command(
    layout: str,
    source: Path,
    out: Path,
    protocol: str | None,
    drop_repeats: bool,
    relabel: Path | None,
    max_failed: float,
    **options: Any,
) -> None:
    """Import scores, poses and features of other projects.

    Scores, one scores.parquet per stream, which `hpnet fuse --input OUT` reads: FORMAT is scores-hpnet (the authors'
    score folder), scores-csv or scores-npz (one stream of any model).

    Features with their clip table, which `hpnet train STREAM --input OUT --data OUT` reads: features-hpnet (a folder of
    the authors' pooled .npy), pyskl (an annotation pickle of pyskl or mmaction2), kinect (a folder of NTU RGB+D's
    .skeleton files), nw-ucla (an .npz of names, offsets and joints), utd-mhad (a folder of MATLAB files), sbu (a folder
    of skeleton_pos.txt; folds.csv of the output is for `hpnet crossval`). 3-D poses are in metres from the first
    frame's spine base, or from the middle between two people (sbu). Validation and test clips with the same features as
    a training clip are counted, and listed in repeats.csv.
    """
    from hpnet.data.corrections import Corrections, read_actions

    if options["val_view"] is not None and layout != "nw-ucla":
        raise click.UsageError(f"--val-view is for nw-ucla, not for {layout}")
    for option, given in (("--drop-repeats", drop_repeats), ("--relabel", relabel is not None)):
        if given and layout in SCORES:
            raise click.UsageError(f"{option} is for poses and features, not for {layout}")
    if layout in SCORES:
        named = {name: options[name] for name in ("stream", "kind", "allow_missing")}
        _import_scores(layout, source, out, protocol, **named)
        return
    if protocol is None and layout in ("features-hpnet", "kinect"):
        raise click.UsageError(f"{layout} needs --protocol, such as ntu60-xsub: the files hold no labels")
    corrections = Corrections(drop_repeats, read_actions(relabel) if relabel else {})
    given = {name: options[name] for name in ("val_fraction", "seed", *TAKES[layout]) if options[name] is not None}
    given["corrections"] = corrections
    summary = _import_features(layout, source, out, protocol or PROTOCOLS.get(layout), given)
    for note in summary.notes:
        click.echo(f"note: {note}", err=True)
    for clip_id, reason in summary.failed.items():
        click.echo(f"{clip_id}: {reason}", err=True)
    if len(summary.failed) > max_failed * summary.clips:
        raise click.ClickException(
            f"{len(summary.failed)} of {summary.clips} clips failed, more than --max-failed {max_failed:g}: fix or "
            "remove them, or raise --max-failed"
        )
    click.echo(
        f"{summary.clips} clips, {summary.persons} people, {summary.without_person} clips without people "
        f"({len(summary.failed)} of them failed) -> {out}"
    )
    if corrections.actions:
        click.echo(f"{len(corrections.actions)} clips have the action from {relabel}")
    if summary.repeats:
        clip_id, twin = next(iter(summary.repeats.items()))
        remedy = "they are left out" if drop_repeats else "--drop-repeats leaves them out"
        click.echo(
            f"{len(summary.repeats)} validation and test clips equal a training clip, such as {clip_id} and "
            f"{twin}: their accuracy may be too high. {out / 'repeats.csv'} lists them, {remedy}",
            err=True,
        )


def _import_features(
    layout: str, source: Path, out: Path, protocol: str | None, options: dict[str, Any]
) -> ImportSummary:
    with progress(f"importing {layout}", None) as advance:
        read = load(IMPORTS, layout, "format")
        summary: ImportSummary = read(source, out, protocol, on_progress=advance, **options)
    return summary


def _import_scores(
    layout: str,
    source: Path,
    out: Path,
    protocol: str | None,
    stream: str | None,
    kind: str | None,
    allow_missing: bool,
) -> None:
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
