"""Accuracy of streams and ensembles, and the weights of the fused result."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..artifacts.scores import Scores
from ..core.streams import STREAMS
from ..fuse import ensembles, fusion
from ..fuse.rules import RULES
from .collect import Project
from .figures import (
    Mark,
    interval_plot,
)
from .naming import STREAM_TITLES
from .output import Files
from .results import (
    Judge,
    correct,
    evaluated,
)
from .tables import Column, Measured, Table


def accuracy_section(project: Project, judge: Judge, test: Scores | None, kept: Files) -> dict[str, Any]:
    """Streams and ensembles: a plot and a table."""
    part: dict[str, Any] = {"table": None, "figure": None, "lead": "", "caption": "", "more": [], "notes": []}
    rows, marks = [], []
    for name, run in project.runs.items():
        scores = evaluated(run.scores)
        if scores is None:
            continue
        score = judge.accuracy(correct(scores))
        val = _split_accuracy(run.scores, judge, "val")
        title = STREAM_TITLES.get(name, name)
        rows.append(
            {
                "what": title,
                "streams": name,
                "rule": "single",
                "top1": score,
                "by_subject": judge.accuracy_by_subject(correct(scores), scores.clip_ids),
                "class_mean": judge.class_mean(scores),
                "val": val,
                "n": score.n,
            }
        )
        marks.append(Mark(title, score.value, score.low, score.high, score.full, "plain"))
    singles = len(rows)
    for name, rule, members, scores in _combinations(project):
        if test is not None and rule == project.params.fuse.rule and len(members) == len(project.runs):
            continue  # that is the fused result itself
        score = judge.accuracy(correct(scores))
        rows.append(
            {
                "what": name,
                "streams": " + ".join(members),
                "rule": rule,
                "top1": score,
                "by_subject": judge.accuracy_by_subject(correct(scores), scores.clip_ids),
                "class_mean": judge.class_mean(scores),
                "n": score.n,
            }
        )
        if rule == project.params.fuse.rule:
            marks.append(Mark(name, score.value, score.low, score.high, score.full, "quiet"))
    if test is not None:
        score = judge.accuracy(correct(test))
        rows.append(
            {
                "what": "All streams, fused",
                "streams": " + ".join(n for n in STREAMS if n in project.runs),
                "rule": project.params.fuse.rule,
                "top1": score,
                "by_subject": judge.accuracy_by_subject(correct(test), test.clip_ids),
                "class_mean": judge.class_mean(test),
                "val": _split_accuracy(project.fused, judge, "val"),
                "n": score.n,
            }
        )
        marks.append(Mark("All streams, fused", score.value, score.low, score.high, score.full, "accent"))
    if not rows:
        part["notes"].append("No stream has scores on labelled test clips, so there is no accuracy to show.")
        return part
    classes = next(
        iter(s for s in [test, *(evaluated(r.scores) for r in project.runs.values())] if s is not None)
    ).logits.shape[1]
    part["figure"] = kept.chart(
        "accuracy",
        lambda width: interval_plot(
            marks, "Top-1 accuracy on the test split", width=width, chance=1 / classes, label_width=200
        ),
    )
    part["caption"] = "Top-1 accuracy on the test split, %, with 95 % intervals from resampling clips." + (
        f" Grey dots: combinations under the rule “{project.params.fuse.rule}”." if len(marks) > singles + 1 else ""
    )
    part["lead"] = (
        "Each stream by itself, then the combinations. Top-1 is the share of clips; the class mean gives "
        "every action the "
        "same weight. Intervals that resample whole subjects are wider, and nearer to what new people would give."
    )
    part["table"] = kept.table(
        Table(
            "accuracy",
            "Streams and ensembles, %, with 95 % intervals",
            (
                Column("what", "What"),
                Column("rule", "Rule"),
                Column("top1", "Top-1", "interval", "resampling clips"),
                Column("by_subject", "By subject", "interval", "top-1, resampling subjects"),
                Column("class_mean", "Class mean", "interval", "mean of per-class accuracies"),
                Column("val", "Validation", "interval", "top-1 on the validation split"),
                Column("n", "n", "count", "test clips"),
            ),
            [{**row} for row in rows],
            frozenset({len(rows) - 1} if test is not None else ()),
        )
    )
    weights = _weights_table(project)
    if weights is not None:
        part["more"].append(kept.table(weights))
    return part


def _split_accuracy(scores: Scores | None, judge: Judge, split: str) -> Measured | None:
    if scores is None:
        return None
    own = scores.split(split)
    known = own.labels >= 0
    return judge.accuracy(correct(own)[known]) if known.any() else None


def _combinations(project: Project) -> list[tuple[str, str, tuple[str, ...], Scores]]:
    """(title, rule, streams, test scores) of every ensemble of Tables XVII and XVIII that the streams allow.

    Fused as the fuse stage does: weights from validation, or those given for the rule in use.
    """
    streams = {name: run.scores for name, run in project.runs.items() if run.scores is not None}
    if len(streams) < 2:
        return []
    params = project.params.fuse
    frequency = _training_frequency(project)
    rows = []
    for rule in RULES:
        for members in ensembles.combinations(streams).values():
            weights: fusion.Weights = "validation"
            if rule == params.rule and params.weights != "validation":
                weights = ensembles.subset_weights(params.weights, tuple(streams), members)
            part = {name: streams[name] for name in members}
            result = fusion.fuse(
                part,
                rule,
                weights,
                params.tau,
                frequency,
                protocol=project.params.data.protocol,
                options=fusion.Options(allow_missing=True),
            )
            scores = evaluated(result.scores)
            if scores is not None:
                title = " + ".join(_short(name) for name in members) if len(members) < len(streams) else "All streams"
                rows.append((title, rule, members, scores))
    return rows


def _short(name: str) -> str:
    return {"hpj": "J", "hpb": "B", "hpjm": "JM", "hpbm": "BM", "hpnet": "HP+RGB+T"}.get(name, name)


def _training_frequency(project: Project) -> np.ndarray[Any, np.dtype[np.int64]] | None:
    if project.clips is None:
        return None
    table = project.clips.usable()
    labels = table.label[(table.split == "train") & (table.label >= 0)].to_numpy(np.int64)
    return np.bincount(labels, minlength=project.clips.num_classes) if len(labels) else None


def _weights_table(project: Project) -> Table | None:
    rule = project.weights.get("chosen", project.params.fuse.rule)
    made = project.weights.get(rule, {})
    if not made.get("weights"):
        return None
    temperatures, fit = made.get("temperatures", {}), made.get("fit")
    errors = fit.get("standard_error", {}) if fit else {}
    rows = [
        {
            "stream": STREAM_TITLES.get(name, name),
            "weight": float(weight),
            "error": errors.get(name),
            "temperature": float(temperatures.get(name, 1.0)),
        }
        for name, weight in made["weights"].items()
    ]
    rows.sort(key=lambda row: -row["weight"])
    origin = f"fitted on {fit['clips']} clips of the {fit['split']} split" if fit else "not fitted"
    notes = " ".join(f"{str(note)[:1].upper()}{str(note)[1:]}." for note in made.get("notes", []))
    return Table(
        "fusion_weights",
        f"Weights of the fused result (rule “{rule}”, {origin}). {notes}".strip(),
        (
            Column("stream", "Stream"),
            Column("weight", "Weight", "number"),
            Column("error", "± s.e.", "number", "standard error, resampling validation clips"),
            Column("temperature", "Temperature", "number", "scores are divided by it before the softmax"),
        ),
        rows,
    )
