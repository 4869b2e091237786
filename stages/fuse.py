"""``hpnet fuse``: join the streams' scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpnet.core.streams import STREAMS
from hpnet.params import Params

from .common import PROJECT, section_options

if TYPE_CHECKING:
    from numpy import int64
    from numpy.typing import NDArray

    from hpnet.artifacts.scores import Scores

SEED = 0
RESAMPLES_OF_WEIGHTS = 20
RESAMPLES_OF_ACCURACY = 1000


@click.command("fuse")
@section_options("fuse")
@click.option(
    "--input",
    "source",
    type=click.Path(path_type=Path),
    help="Folder of STREAM/scores.parquet or STREAM.parquet.  [default: artifacts/train]",
)
@click.option("--out", type=click.Path(path_type=Path), help="Output folder.  [default: artifacts/fuse]")
@click.option(
    "--metrics",
    type=click.Path(path_type=Path),
    help="Metrics file.  [default: metrics/fuse.json, or OUT/metrics.json]",
)
@click.option(
    "--frequencies",
    type=click.Path(path_type=Path),
    help="CSV of label,count: training clips per class.  [default: from the clip table, or beside imported scores]",
)
@click.option("--allow-missing", is_flag=True, help="Fuse clips that some streams lack.")
def command(
    params: Params,
    source: Path | None,
    out: Path | None,
    metrics: Path | None,
    frequencies: Path | None,
    allow_missing: bool,
) -> None:
    """Join the streams' scores by clip, under both rules, and tabulate every combination."""
    from hpnet.artifacts.files import delete_old, write_json
    from hpnet.fuse.ensembles import absent_classes, ensemble_table, evaluate, subset_weights
    from hpnet.fuse.fusion import FusionResult, Options, Weights, fuse
    from hpnet.fuse.rules import RULES

    streams = load_streams(source)
    require_agreement(source, streams)
    counts = training_frequencies(source, frequencies)
    rule = params.fuse.rule
    protocol = params.data.protocol if source is None else imported_protocol(source)
    if rule == "balanced" and params.fuse.tau and counts is None:
        raise ValueError(
            f"the balanced rule needs the training clips per class, and {source} has no frequencies.csv: give "
            "--frequencies, or put the training list (train_*.txt) beside the score files and import them again"
        )

    def fuse_with(parts: Mapping[str, Scores], by: str, resamples: int = 0) -> FusionResult:
        weights: Weights = "validation"
        if by == rule and params.fuse.weights != "validation":
            weights = subset_weights(params.fuse.weights, tuple(streams), tuple(parts))
        return fuse(
            parts,
            by,
            weights,
            params.fuse.tau,
            counts,
            protocol=protocol,
            options=Options(allow_missing=allow_missing, seed=SEED, resamples=resamples),
        )

    results = {by: fuse_with(streams, by, RESAMPLES_OF_WEIGHTS) for by in RULES}
    chosen = results[rule]
    folder = out or PROJECT.artifacts / "fuse"
    folder.mkdir(parents=True, exist_ok=True)
    chosen.scores.save(folder / "scores.parquet")
    fitted_on = {stream: s.labelling.without_test().digest for stream, s in streams.items() if s.labelling}
    write_json(
        folder / "weights.json",
        {"chosen": rule, "labellings": fitted_on, **{by: result.to_json() for by, result in results.items()}},
    )
    for note in chosen.notes:
        click.echo(f"note: {note}", err=True)

    measured = chosen.scores.split("test")
    if not (measured.labels >= 0).any():
        click.echo("no labelled test clips: scores fused, nothing to measure", err=True)
        summary: dict[str, object] = {"clips": 0}
    else:
        table = ensemble_table(streams, fuse_with, RESAMPLES_OF_ACCURACY, SEED)
        table.to_csv(delete_old(folder / "table.csv"), index=False)
        summary = dict(evaluate(chosen.scores))
        for row in table.to_dict("records"):
            values = {key: float(row[key]) for key in ("top1", "top5", "mean_class_accuracy")}
            if row["rule"] in ("stream", rule) and row["name"] not in summary:
                summary[str(row["name"])] = values
            if row["name"] == "all":
                summary[str(row["rule"])] = values
                if row["rule"] == rule:
                    summary |= {key: float(row[key]) for key in ("top1_low", "top1_high")}
                click.echo(
                    f"{row['rule']}: {', '.join(streams)}: top-1 {values['top1']:.2%}, "
                    f"mean per class {values['mean_class_accuracy']:.2%}"
                )
        absent = absent_classes(chosen.scores)
        if absent:
            listed = ", ".join(str(label) for label in absent[:8]) + (", ..." if len(absent) > 8 else "")
            classes = chosen.scores.logits.shape[1]
            click.echo(
                f"note: {len(absent)} of {classes} classes have no test clip ({listed}): the mean per class is over "
                f"the other {classes - len(absent)}",
                err=True,
            )
            summary["absent_classes"] = len(absent)
    if source is None:
        lacking = unscored_clips(chosen.scores)
        summary["unscored"] = len(lacking)
        if lacking:
            click.echo(f"note: {len(lacking)} test clips of clips.csv have no score, such as {lacking[0]}", err=True)
    write_json(metrics or (out / "metrics.json" if out else PROJECT.metrics / "fuse.json"), summary)


def load_streams(source: Path | None) -> dict[str, Scores]:
    """Scores by stream: of the project's own streams, or of every stream in a folder.

    Raises:
        FileNotFoundError: there are none.
    """
    from hpnet.artifacts.scores import Scores

    if source is None:
        files = {s: PROJECT.artifacts / "train" / s / "scores.parquet" for s in STREAMS}
        found = {s: f for s, f in files.items() if f.is_file()}
        if not found:
            raise FileNotFoundError(f"no scores in {PROJECT.artifacts / 'train'}: run `hpnet train STREAM` first")
        for stream in sorted(set(files) - set(found)):
            click.echo(f"note: {files[stream]} is missing: fused without {stream}", err=True)
    else:
        if not source.is_dir():
            raise FileNotFoundError(f"folder {source} is missing")
        found = {f.parent.name: f for f in source.glob("*/scores.parquet")}
        for file in source.glob("*.parquet"):
            if file.stem in found:
                raise ValueError(f"stream {file.stem!r} is there twice: {file} and {found[file.stem]}; keep one")
            found[file.stem] = file
        if not found:
            raise FileNotFoundError(f"{source} holds neither STREAM/scores.parquet nor STREAM.parquet")
    order = [s for s in STREAMS if s in found] + sorted(set(found) - set(STREAMS))
    return {stream: Scores.load(found[stream]) for stream in order}


def require_agreement(source: Path | None, streams: Mapping[str, Scores]) -> None:
    """Refuse scores that were not made from the labels, splits and classes of the project's tables.

    Of scores elsewhere, those of ``train`` folders have tables beside them; others must agree with each other, which
    :func:`hpnet.fuse.fusion.fuse` checks.

    Raises:
        ValueError: a score file was made from others, or does not say from which.
    """
    from hpnet.artifacts.clips import Clips
    from hpnet.artifacts.labelling import require_labelling

    folder = PROJECT.artifacts / "train" if source is None else source
    tables = folder.absolute().parent / "data"
    known = folder.absolute().name == "train" and (tables / "clips.csv").is_file()
    now = Clips.load(tables).labelling() if known else None
    for stream, scores in streams.items():
        file = folder / stream / "scores.parquet"
        file = file if file.is_file() else folder / f"{stream}.parquet"
        if now is not None:
            require_labelling(file, scores.labelling, now, f"hpnet train {stream}")
        elif scores.labelling is None:
            raise ValueError(
                f"{file} does not say what labels and classes it was made from: bring it in by "
                "`hpnet import scores-npz` (or scores-csv, scores-hpnet), or train it again"
            )


def training_frequencies(source: Path | None, frequencies: Path | None) -> NDArray[int64] | None:
    """Training clips per class (K,), or None where nothing tells them."""
    import numpy as np

    from hpnet.artifacts.clips import Clips
    from hpnet.data.importers import load_frequencies

    if frequencies is not None:
        return load_frequencies(frequencies)
    if source is not None:
        beside = source / "frequencies.csv"
        return load_frequencies(beside) if beside.is_file() else None
    clips = Clips.load(PROJECT.artifacts / "data")
    usable = clips.usable()
    labels = usable.label[(usable.split == "train") & (usable.label >= 0)].to_numpy(dtype=np.int64)
    return np.bincount(labels, minlength=clips.num_classes)


def imported_protocol(source: Path) -> str:
    """The protocol that imported scores were labelled by; empty where the folder does not say."""
    from hpnet.data.importers import load_protocol

    return load_protocol(source)


def unscored_clips(scores: Scores) -> list[str]:
    """Usable test clips of the project's clip table that were not scored."""
    from hpnet.artifacts.clips import Clips

    usable = Clips.load(PROJECT.artifacts / "data").usable()
    return sorted(set(usable.clip_id[usable.split == "test"]) - set(scores.clip_ids))
