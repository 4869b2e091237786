"""The step ``fuse``: the streams' scores -> one score per clip, by every rule, and a table of every combination."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..artifacts.clips import Clips
from ..artifacts.files import delete_old, write_json
from ..artifacts.imported import FREQUENCIES_FILE, load_frequencies, load_protocol
from ..artifacts.labelling import require_labelling
from ..artifacts.scores import Scores
from ..artifacts.unknown import Unknown, background_label
from ..core.streams import STREAMS, refuse_former_name
from ..core.units import UNKNOWN, Units, independent_units
from ..work.console import note
from . import RULES
from .applied import subset_weights
from .ensembles import absent_classes, all_ensembles, ensemble_table, evaluate, predicted_actions
from .fusion import FusionResult, Options, Weights, fuse
from .params import FuseParams
from .refusing import probability_of_unknown
from .rules import find_rule
from .unknown import Held, fit_unknown, held_out

SEED = 0
RESAMPLES_OF_WEIGHTS = 20
RESAMPLES_OF_ACCURACY = 1000
MEASURED = ("top1", "top5", "mean_class_accuracy")
HEADLINE = "headline.json"
"""The file beside the metrics file that `dvc metrics diff` compares."""


@dataclass(frozen=True)
class Inputs:
    """What is fused.

    Attributes:
        project: folder of the project.
        source: folder of STREAM/scores.parquet or STREAM.parquet; None: the project's own streams.
        frequencies: CSV of label,count; None: from the clip table, or beside imported scores.
        allow_missing: fuse clips that some streams lack.
        expected: streams of a complete project; a note names those that it lacks.
    """

    project: Path = Path()
    source: Path | None = None
    frequencies: Path | None = None
    allow_missing: bool = False
    expected: tuple[str, ...] = STREAMS

    @property
    def folder(self) -> Path:
        """Where the scores are."""
        return self.project / "artifacts" / "train" if self.source is None else self.source

    @property
    def tables(self) -> Path:
        """The project's clip table."""
        return self.project / "artifacts" / "data"


@dataclass(frozen=True)
class Accuracy:
    """Of an ensemble on the test clips.

    Attributes:
        top1, mean_class_accuracy: fractions.
        low, high: 95 % interval of top1; None where there is one unit alone.
        over: what was resampled: '108 performances'.
    """

    top1: float
    mean_class_accuracy: float
    low: float | None
    high: float | None
    over: str

    @property
    def interval(self) -> str:
        """'95 % interval 95.00 % to 99.07 % over 108 performances', or why there is none."""
        if self.low is None or self.high is None:
            return f"no interval: {self.over} alone"
        return f"95 % interval {self.low:.2%} to {self.high:.2%} over {self.over}"


@dataclass(frozen=True)
class Fused:
    """What the step made.

    Attributes:
        streams: in order.
        measured: rule -> accuracy of all streams together; empty without labelled test clips.
        metrics: what it wrote to its metrics file.
    """

    streams: tuple[str, ...]
    measured: Mapping[str, Accuracy]
    metrics: Mapping[str, Any]


def run(params: FuseParams, protocol: str, inputs: Inputs, out: Path, metrics: Path) -> Fused:
    """Fuse by every rule; write ``out``/scores.parquet, weights.json, unknown.json where it can be fitted, table.csv
    and combinations.parquet, metrics, and :data:`HEADLINE` beside them.

    Args:
        params: section ``fuse``.
        protocol: of the project's clips; imported scores have their own.
        out: folder of the fused scores, which are those of ``params.rule``.
        metrics: JSON file.

    Raises:
        FileNotFoundError: there are no scores.
        ValueError: the streams do not belong together, or were made from other labels than the tables have; the rule
            needs training frequencies, and they are unknown.
    """
    streams = load_streams(inputs)
    require_agreement(inputs, streams)
    counts = training_frequencies(inputs)
    if find_rule(params.rule).adjusted and params.tau and counts is None:
        raise ValueError(
            f"the {params.rule} rule needs the training clips per class, and {inputs.source} has no "
            f"{FREQUENCIES_FILE}: give --frequencies, or put the training list (train_*.txt) beside the score files "
            "and import them again"
        )
    protocol = protocol if inputs.source is None else load_protocol(inputs.source)
    units = resampled_units(inputs)

    def fuse_with(parts: Mapping[str, Scores], rule: str, resamples: int = 0) -> FusionResult:
        weights: Weights = "validation"
        if rule == params.rule and params.weights != "validation":
            weights = subset_weights(params.weights, tuple(streams), tuple(parts))
        options = Options(allow_missing=inputs.allow_missing, seed=SEED, resamples=resamples, units=units)
        return fuse(parts, rule, weights, params.tau, counts, protocol=protocol, options=options)

    results = {rule: fuse_with(streams, rule, RESAMPLES_OF_WEIGHTS) for rule in RULES}
    chosen = results[params.rule]
    out.mkdir(parents=True, exist_ok=True)
    chosen.scores.save(out / "scores.parquet")
    fitted_on = {stream: s.labelling.without_test().digest for stream, s in streams.items() if s.labelling}
    of_rule = {rule: result.to_json() for rule, result in results.items()}
    write_json(out / "weights.json", {"chosen": params.rule, "labellings": fitted_on, **of_rule})
    for text in chosen.notes:
        note(f"note: {text}")
    unknown = write_unknown(params, held_out(streams, inputs.allow_missing, units), chosen, out)

    summary: dict[str, Any] = {"clips": 0}
    measured: dict[str, Accuracy] = {}
    table_file, combinations_file = delete_old(out / "table.csv"), delete_old(out / "combinations.parquet")
    if (chosen.scores.split("test").labels >= 0).any():
        ensembles = all_ensembles(streams, fuse_with)
        table = ensemble_table(ensembles, RESAMPLES_OF_ACCURACY, SEED, units)
        table.to_csv(table_file, index=False)
        predicted_actions(ensembles).save(combinations_file)
        measured = _accuracies(table)
        found = measured[params.rule]
        interval = {"top1_low": found.low, "top1_high": found.high, "over": found.over}
        rows = _rows_of_metrics(table, params.rule)
        summary = {**evaluate(chosen.scores), **rows, **interval, **_absent(chosen.scores)}
        summary |= {} if unknown is None else {"unknown": measure_unknown(unknown, chosen.scores.split("test"))}
    else:
        note("no labelled test clips: the scores are fused, but there is no accuracy")
    if inputs.source is None:
        lacking = unscored_clips(inputs, chosen.scores)
        summary["unscored"] = len(lacking)
        if lacking:
            note(f"note: {len(lacking)} test clips of clips.csv have no score, such as {lacking[0]}")
    write_json(metrics, summary)
    write_json(metrics.with_name(HEADLINE), headline(summary, tuple(streams)))
    return Fused(tuple(streams), measured, summary)


def headline(summary: Mapping[str, Any], streams: tuple[str, ...]) -> dict[str, Any]:
    """The few figures that say whether a change helped: of the fused result, and the accuracy of each stream.

    Args:
        summary: what is written to the metrics file.

    Returns:
        clips and, with labelled test clips, accuracy, mean_class_accuracy and streams (name -> accuracy).
    """
    if "top1" not in summary:
        return {"clips": summary["clips"]}
    return {
        "accuracy": summary["top1"],
        "mean_class_accuracy": summary["mean_class_accuracy"],
        "clips": summary["clips"],
        "streams": {stream: summary[stream]["top1"] for stream in streams},
    }


def write_unknown(params: FuseParams, held: Held | None, chosen: FusionResult, out: Path) -> Unknown | None:
    """What tells a clip of none of the actions, fitted to clips that no network saw; a note says why there is none."""
    file = delete_old(out / "unknown.json")
    if params.unknown == "none":
        return None
    labelling = chosen.scores.labelling
    background = None if labelling is None else background_label(list(labelling.classes))
    if held is None:
        found: Unknown | str = "some scores are probabilities, without logits"
    else:
        fitted = chosen.to_json()
        found = fit_unknown(fitted, held, score=params.unknown, kept=params.known_kept, background=background)
    if isinstance(found, str):
        note(f"note: answers have no probability of unknown, because {found}")
        return None
    found.save(file)
    return found


def measure_unknown(unknown: Unknown, test: Scores) -> dict[str, Any]:
    """Of the threshold: AUROC out of fold; of labelled test clips the share of known ones that is kept and, where there
    are any, of background clips the share that is refused."""
    refused = probability_of_unknown(unknown.whole, test.logits.astype(np.float64), unknown.background) > 0.5
    parts = {"kept": (test.labels >= 0) & (test.labels != unknown.background)}
    if unknown.background is not None:
        parts["refused"] = test.labels == unknown.background
    shares = {name: float((refused[rows] == (name == "refused")).mean()) for name, rows in parts.items() if rows.any()}
    return {"auroc": unknown.whole.auroc["chosen"], **shares}


def _rows_of_metrics(table: pd.DataFrame, rule: str) -> dict[str, Any]:
    """Of the table: each stream and each combination by ``rule``, all streams by every rule."""
    found: dict[str, Any] = {}
    for row in table.to_dict("records"):
        values = {key: float(row[key]) for key in MEASURED}
        if row["rule"] in ("stream", rule):
            found.setdefault(str(row["name"]), values)
        if row["name"] == "all":
            found[str(row["rule"])] = values
    return found


def _accuracies(table: pd.DataFrame) -> dict[str, Accuracy]:
    """Of the table: all streams together by every rule."""
    found = {}
    for row in table[table.name == "all"].to_dict("records"):
        low, high = (None if np.isnan(row[end]) else float(row[end]) for end in ("top1_low", "top1_high"))
        top1, balanced = float(row["top1"]), float(row["mean_class_accuracy"])
        found[str(row["rule"])] = Accuracy(top1, balanced, low, high, str(row["over"]))
    return found


def resampled_units(inputs: Inputs) -> Units:
    """What intervals resample and weights are compared on; single clips where no table says what belongs together."""
    folder = inputs.tables if inputs.source is None else _tables_beside(inputs.folder)
    return UNKNOWN if folder is None else independent_units(Clips.load(folder).usable())


def _tables_beside(folder: Path) -> Path | None:
    """The clip table beside a ``train`` folder; None where there is none."""
    tables = folder.absolute().parent / "data"
    return tables if folder.absolute().name == "train" and (tables / "clips.csv").is_file() else None


def _absent(scores: Scores) -> dict[str, int]:
    """Number of classes without a test clip, with a note; empty if every class has one."""
    absent, classes = absent_classes(scores), scores.logits.shape[1]
    if not absent:
        return {}
    listed = ", ".join(str(label) for label in absent[:8]) + (", ..." if len(absent) > 8 else "")
    note(
        f"note: {len(absent)} of {classes} classes have no test clip ({listed}): the mean class accuracy is of the "
        f"{classes - len(absent)}"
    )
    return {"absent_classes": len(absent)}


def load_streams(inputs: Inputs) -> dict[str, Scores]:
    """Scores by stream: of the project's own streams, or of every stream in a folder.

    Raises:
        FileNotFoundError: there are none.
        ValueError: a stream exists twice.
    """
    folder = inputs.folder
    if inputs.source is None:
        files = {s: folder / s / "scores.parquet" for s in STREAMS}
        found = {s: f for s, f in files.items() if f.is_file()}
        if not found:
            raise FileNotFoundError(f"no scores in {folder}: run `hpnet train STREAM` first")
        for stream in sorted(set(inputs.expected) - set(found)):
            note(f"note: {files[stream]} is missing: the fusion does not include {stream}")
    else:
        if not folder.is_dir():
            raise FileNotFoundError(f"folder {folder} is missing")
        found = {f.parent.name: f for f in folder.glob("*/scores.parquet")}
        for file in folder.glob("*.parquet"):
            if file.stem in found:
                raise ValueError(f"stream {file.stem!r} exists twice: {file} and {found[file.stem]}; keep one")
            found[file.stem] = file
        for stream, file in found.items():
            refuse_former_name(stream, str(file))
        if not found:
            raise FileNotFoundError(f"{folder} has no STREAM/scores.parquet and no STREAM.parquet")
    order = [s for s in STREAMS if s in found] + sorted(set(found) - set(STREAMS))
    return {stream: Scores.load(found[stream]) for stream in order}


def require_agreement(inputs: Inputs, streams: Mapping[str, Scores]) -> None:
    """Refuse scores that were not made from the labels, splits and classes of the project's tables.

    Scores in other ``train`` folders have tables beside them. Other scores must agree with each other, which
    :func:`hpnet.fuse.fusion.fuse` checks.

    Raises:
        ValueError: a score file was made from other labels, or does not record its labels.
    """
    folder = inputs.folder
    tables = _tables_beside(folder)
    now = Clips.load(tables).labelling() if tables is not None else None
    for stream, scores in streams.items():
        file = folder / stream / "scores.parquet"
        file = file if file.is_file() else folder / f"{stream}.parquet"
        if now is not None:
            require_labelling(file, scores.labelling, now, f"hpnet train {stream}")
        elif scores.labelling is None:
            raise ValueError(
                f"{file} does not record its labels and classes: import it with "
                "`hpnet import scores-npz` (or scores-csv, scores-hpnet), or train it again"
            )


def training_frequencies(inputs: Inputs) -> NDArray[np.int64] | None:
    """Training clips per class (K,); None if unknown."""
    if inputs.frequencies is not None:
        return load_frequencies(inputs.frequencies)
    if inputs.source is not None:
        beside = inputs.source / FREQUENCIES_FILE
        return load_frequencies(beside) if beside.is_file() else None
    clips = Clips.load(inputs.tables)
    usable = clips.usable()
    labels = usable.label[(usable.split == "train") & (usable.label >= 0)].to_numpy(dtype=np.int64)
    return np.bincount(labels, minlength=clips.num_classes)


def unscored_clips(inputs: Inputs, scores: Scores) -> list[str]:
    """Usable test clips of the project's clip table that were not scored."""
    usable = Clips.load(inputs.tables).usable()
    return sorted(set(usable.clip_id[usable.split == "test"]) - set(scores.clip_ids))
