"""``hpnet crossval``."""

from __future__ import annotations

from pathlib import Path

import click

from hpnet.params import Params

from .common import PROJECT, device_option, section_options, was_given
from .train import precision_option, threads_option


@click.command("crossval")
@click.option(
    "--folds",
    type=click.Path(dir_okay=False, path_type=Path),
    help="CSV of video and fold (a clip's own), or of video and columns of train and test, one for each fold.",
)
@click.option("--group", default="source", show_default=True, help="Clips that stay together: source, subject, camera.")
@click.option("--k", type=click.IntRange(2), default=5, show_default=True, help="Folds by --group.")
@click.option("--fold-seed", type=click.IntRange(0), help="Seed of the draw of groups.  [default: data.seed]")
@click.option("--streams", help="Streams to train, such as hpj,hpb.  [default: the project's]")
@click.option("--name", help="Name of the result.  [default: default]")
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Trainings at a time.")
@click.option(
    "--curve",
    "shares",
    is_flag=False,
    flag_value="",
    metavar="[SHARES]",
    help="Also train on shares of the clips, such as 0.25,0.5: how many more would help.  [alone: 0.125,0.25,0.5]",
)
@click.option("--draws", type=click.IntRange(1), default=3, show_default=True, help="Draws of sources for each share.")
@click.option("--list", "listing", is_flag=True, help="Show the finished results, and stop.")
@click.option(
    "--compare", metavar="A,B,...", help="Show finished results and their differences to the first, and stop."
)
@click.option("--fuse", "fused", metavar="A,B,...", help="Fuse finished results, or NAME:STREAM of them, into --name.")
@device_option
@precision_option
@threads_option
@section_options("pool", "train", "fuse", whole=True)
@click.pass_context
def command(
    context: click.Context,
    params: Params,
    folds: Path | None,
    group: str,
    k: int,
    fold_seed: int | None,
    streams: str | None,
    name: str | None,
    jobs: int,
    shares: str | None,
    draws: int,
    listing: bool,
    compare: str | None,
    fused: str | None,
    device: str,
    precision: str,
    threads: int | None,
) -> None:
    """Cross-validate the project: features once, one training per fold and stream.

    Prints the accuracy of every fold, and the mean with an interval that resamples sources. Test clips are a fold's
    own; validation clips are cut from its training clips by source, and epochs and fusion weights are chosen on them
    alone. Writes artifacts/crossval/NAME and metrics/crossval/NAME.json, which the report shows. Every parameter of
    pool, train and fuse is an option here, with its section in front: windows are pooled again, and the pose network
    never runs. A stopped run resumes; a training that another result has done is not done again.

    --curve tests the same folds with networks that are trained on a half, a quarter and an eighth of the training
    clips, and says what more clips would bring.
    """
    from hpnet.crossval import curve, step, tables
    from hpnet.crossval.folds import Folding
    from hpnet.train.run import Machine

    if listing:
        found, unread = step.load_all(PROJECT, params)
        show(tables.result_lines(found) if found else ["no result yet: run `hpnet crossval`"])
        show([f"{each} is left out: {why}" for each, why in unread.items()])
    elif compare:
        results = [step.load(PROJECT, each, params) for each in _parts(compare)]
        scores = {each.name: step.load_scores(PROJECT, each.name) for each in results}
        show(tables.compare_lines(scores, results, params.report.bootstrap, params.report.seed))
    elif fused:
        if name is None:
            raise click.UsageError("--fuse makes a result: give it a --name")
        show(tables.fold_lines(step.fuse_results(PROJECT, params, _parts(fused), name)))
    else:
        if folds is not None and any(was_given(context, option) for option in ("group", "k", "fold_seed")):
            raise click.UsageError("--folds says which clips are in which fold: leave out --group, --k and --fold-seed")
        folding = Folding(folds, group, k, params.data.seed if fold_seed is None else fold_seed)
        machine = Machine(device=device, precision=precision, threads=threads)
        wanted = None
        if shares is not None:
            wanted = curve.Shares(curve.parse_shares(shares) if shares else curve.SHARES, draws, params.data.seed)
        how = step.How(_parts(streams or ""), jobs, machine, wanted)
        result = step.run(PROJECT, params, folding, name or step.DEFAULT, how)
        show([*tables.fold_lines(result), *tables.curve_lines(result)])


def show(lines: list[str]) -> None:
    """Print them."""
    for line in lines:
        click.echo(line)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
