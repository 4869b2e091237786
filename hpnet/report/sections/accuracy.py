"""Accuracy of streams and ensembles, and the weights of the fused result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ...artifacts.combinations import Combination
from ...artifacts.scores import Scores
from ...core.streams import MULTIMODAL
from ..collect import Collected
from ..figures import Mark, Tone, interval_plot
from ..naming import STREAM_TITLES
from ..output import Chart
from ..results import Bools, Ints, Judge, correct, evaluated
from ..section import Given
from ..tables import Column, Measured, Table

TITLE = "Accuracy"
SHORT_TITLES = {"hpj": "J", "hpb": "B", "hpjm": "JM", "hpbm": "BM", MULTIMODAL: "HP+RGB+T"}
FUSED = "All streams, fused"


@dataclass(frozen=True)
class Accuracy:
    """Data of the template. Without ``table`` it shows only the notes; ``more``: tables that are folded."""

    lead: str = ""
    figure: Chart | None = None
    caption: str = ""
    table: Table | None = None
    more: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """One row of the table: a stream or an ensemble on the test clips, and on the validation clips where it has any."""

    what: str
    rule: str
    top1: Measured
    class_mean: Measured
    val: Measured | None = None

    @property
    def row(self) -> dict[str, Any]:
        """As a row of the table."""
        return {**self.__dict__, "n": self.top1.n, "over": self.top1.over}

    def mark(self, tone: Tone) -> Mark:
        """As a line of the figure."""
        return Mark(self.what, self.top1.value, self.top1.low, self.top1.high, self.top1.full, tone)


def build(given: Given) -> Accuracy:
    """Streams and ensembles: a plot and a table."""
    collected, rule = given.collected, given.collected.params.fuse.rule
    singles, fused = list(_streams(collected, given.judge)), list(_fused(given))
    if not singles and not fused:
        why = "No stream has scores on labelled test clips, so there is no accuracy to show."
        return Accuracy(notes=(why,))
    ensembles = list(_ensembles(given))
    drawn = [one for one in ensembles if one.rule == rule]
    measured = [*singles, *ensembles, *fused]
    marks = [
        *(one.mark("plain") for one in singles),
        *(one.mark("quiet") for one in drawn),
        *(one.mark("accent") for one in fused),
    ]
    chance = 1 / _classes(given)
    title = "Top-1 accuracy on the test split"
    columns = (
        Column("what", "What"),
        Column("rule", "Rule"),
        Column("top1", "Top-1", "interval"),
        Column("class_mean", "Class mean", "interval", "mean class accuracy"),
        Column("val", "Validation", "interval", "top-1 on the validation split, or out of fold"),
        Column("n", "n", "count", "test clips"),
        Column("over", "Intervals over", "text", "what is resampled as one, of the test split"),
    )
    over = measured[-1].top1.over
    caption = f"Streams and ensembles, %, with 95 % intervals over {over}"
    rows = [one.row for one in measured]
    whole = given.files.table(Table("accuracy", caption, columns, rows))
    said = whole.alike("n", "over")
    own = [one.row for one in (*singles, *fused)]
    table = replace(whole, rows=own, strong=frozenset({len(own) - 1} if fused else ())).shown("rule", *said)
    mixed = replace(whole, caption=f"Combinations, %, with 95 % intervals over {over}", rows=[e.row for e in ensembles])
    weights = _weights_table(collected)
    more = [mixed.shown(*said)] if ensembles else []
    more += [] if weights is None else [given.files.table(weights).shown()]
    return Accuracy(
        lead=(
            "Each stream alone, then the combinations. Top-1 is the share of right clips; the class mean gives "
            f"every action the same weight. Intervals resample {over}, each with all of its clips: "
            f"{given.judge.units.reason}."
        ),
        figure=given.files.chart(
            "accuracy", lambda width: interval_plot(marks, title, width=width, chance=chance, label_width=200)
        ),
        caption=f"Top-1 accuracy on the test split, %, with 95 % intervals over {over}."
        + (f" Grey dots: combinations under the rule “{rule}”." if len(marks) > len(singles) + 1 else ""),
        table=table,
        more=tuple(more),
        notes=_notes(collected),
    )


def _classes(given: Given) -> int:
    """K, from any scores of the test split."""
    found = [given.test, *(evaluated(run.scores) for run in given.collected.runs.values())]
    return next(scores.logits.shape[1] for scores in found if scores is not None)


def _notes(collected: Collected) -> tuple[str, ...]:
    scored = [name for name, run in collected.runs.items() if run.scores is not None]
    if collected.combinations is None and collected.fused is not None and len(scored) > 1:
        return ("Some ensembles are missing in artifacts/fuse and are left out: run `hpnet fuse` again.",)
    return ()


def _streams(collected: Collected, judge: Judge) -> Iterator[Measurement]:
    """Every single stream with scores on the test split."""
    for name, run in collected.runs.items():
        scores = evaluated(run.scores)
        if scores is not None:
            title = STREAM_TITLES.get(name, name)
            yield _measurement(judge, title, "single", correct(scores), scores.labels, scores.clip_ids, run.scores)


def _ensembles(given: Given) -> Iterator[Measurement]:
    """The ensembles of Tables XVII and XVIII by every rule, as computed by the stage fuse; without the fused result."""
    for one in given.collected.combinations or ():
        if given.test is not None and one.rule == given.collected.params.fuse.rule and one.name == "all":
            continue
        yield _measurement(given.judge, _title(one), one.rule, one.predicted == one.labels, one.labels, one.clip_ids)


def _title(ensemble: Combination) -> str:
    if ensemble.name == "all":
        return "All streams"
    return " + ".join(SHORT_TITLES.get(name, name) for name in ensemble.streams)


def _fused(given: Given) -> Iterator[Measurement]:
    """The fused result."""
    test, collected = given.test, given.collected
    if test is not None:
        rule = collected.params.fuse.rule
        yield _measurement(given.judge, FUSED, rule, correct(test), test.labels, test.clip_ids, collected.fused)


def _measurement(
    judge: Judge,
    what: str,
    rule: str,
    right: Bools,
    labels: Ints,
    clip_ids: tuple[str, ...],
    scores: Scores | None = None,
) -> Measurement:
    """Accuracies of N test clips, and on the validation clips of ``scores``."""
    return Measurement(
        what,
        rule,
        judge.accuracy(right, clip_ids),
        judge.class_mean(right, labels, clip_ids),
        _validation(scores, judge),
    )


def _validation(scores: Scores | None, judge: Judge) -> Measured | None:
    if scores is None:
        return None
    own = scores.where(scores.unseen)
    known = own.labels >= 0
    clip_ids = [clip for clip, keep in zip(own.clip_ids, known, strict=True) if keep]
    return judge.accuracy(correct(own)[known], clip_ids) if clip_ids else None


def _weights_table(collected: Collected) -> Table | None:
    rule = collected.weights.get("chosen", collected.params.fuse.rule)
    made = collected.weights.get(rule, {})
    if not made.get("weights"):
        return None
    temperatures, fit = made.get("temperatures", {}), made.get("fit")
    errors, alone = ((fit or {}).get(name, {}) for name in ("standard_error", "alone"))
    rows = [
        {
            "stream": STREAM_TITLES.get(name, name),
            "weight": float(weight),
            "error": errors.get(name),
            "temperature": float(temperatures.get(name, 1.0)),
            "alone": alone.get(name),
        }
        for name, weight in made["weights"].items()
    ]
    rows.sort(key=lambda row: -row["weight"])
    origin = "not fitted"
    if fit:
        out_of_fold = fit["split"] == "out of fold"
        origin = f"fitted on {fit['clips']} clips" + (
            ", out of fold" if out_of_fold else f" of the {fit['split']} split"
        )
        if alone:
            origin += f"; {fit['together']:.0%} of it all streams together, by the loss on held-out {fit['units']}"
    notes = " ".join(f"{str(note)[:1].upper()}{str(note)[1:]}." for note in made.get("notes", []))
    return Table(
        "fusion_weights",
        f"Weights of the fused result (rule “{rule}”, {origin}). {notes}".strip(),
        (
            Column("stream", "Stream"),
            Column("weight", "Weight", "number"),
            Column("error", "± s.e.", "number", "standard error, resampling validation clips"),
            Column("temperature", "Temperature", "number", "scores are divided by it before the softmax"),
            Column("alone", "Alone", "percent", "share of the stream by itself in the weights, where clips are few"),
        ),
        rows,
    )
