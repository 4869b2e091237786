"""The sections of the page: each function turns part of a Project into what template.html shows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .. import fusion
from ..analysis import confident_mistakes, example_rows
from ..artifacts import Scores
from ..metrics import confusion, most_confused
from ..params import STREAMS
from ..statistics import per_class_changes
from .collect import Project, Run, flatten, people_per_clip
from .examples import Example, FullMaps, Vote, draw_example
from .figures import (
    Change,
    Mark,
    bar_plot,
    change_plot,
    confusion_plot,
    curve_plot,
    interval_plot,
    percent,
    signed_points,
    standalone,
)
from .output import Files
from .results import (
    BASELINE,
    Group,
    Judge,
    Variant,
    baseline_name,
    common,
    correct,
    evaluated,
    failure_rows,
    feature_kind,
    feature_runs,
    joint_fisher,
    people_found,
    pooled_name,
    softmax,
)
from .tables import Column, Measured, Table, plain_bytes

STREAM_TITLES = {
    "hpj": "Joint",
    "hpb": "Bone",
    "hpjm": "Joint motion",
    "hpbm": "Bone motion",
    "hpnet": "HP + RGB + text",
}


def answer_section(project: Project, judge: Judge, test: Scores | None) -> dict[str, str]:
    """The one sentence at the top: ``before``, ``number``, ``after``."""
    if test is None:
        why = (
            "the streams have not been fused"
            if project.fused is None
            else "no clip of the test split has both a label and a score"
        )
        return {"before": f"No accuracy can be given: {why}.", "number": "", "after": ""}
    score = judge.accuracy(correct(test))
    classes = test.logits.shape[1]
    return {
        "before": "All streams fused recognise ",
        "number": f"{score.text} %",
        "after": (
            f" of {score.n:,} test clips (95 % interval {score.interval}) among {classes} actions, "
            f"where guessing gives {percent(1 / classes)} %."
        ).replace(",", " ", 1 if score.n >= 1000 else 0),
    }


def keys_section(
    project: Project, judge: Judge, test: Scores | None, compared: Mapping[str, tuple[Group, list[Variant]]]
) -> list[dict[str, str]]:
    """The large numbers under it."""
    keys = []
    if test is not None:
        right = correct(test)
        by_clip, by_subject = judge.accuracy(right), judge.accuracy_by_subject(right, test.clip_ids)
        subjects = f"{by_subject.interval} resampling subjects" if by_subject else "subjects unknown"
        keys.append(
            _key(
                "Fused accuracy", by_clip.text, "%", f"{by_clip.interval} resampling clips; {subjects}; n = {by_clip.n}"
            )
        )
    best = _best_stream(project, judge)
    if best is not None:
        name, score = best
        keys.append(
            _key(
                "Best single stream: "
                f"{STREAM_TITLES.get(name, name).lower() if name != 'hpnet' else STREAM_TITLES[name]}",
                score.text,
                "%",
                f"{score.interval}; n = {score.n}",
            )
        )
    for group_key, label in (
        ("overall", "Pooled features over 2-D pose"),
        ("object_pairs", "The same, on object pairs"),
    ):
        if group_key not in compared:
            continue
        _, rows = compared[group_key]
        pooled = pooled_name(project, feature_runs(project))
        row = next((row for row in rows if row.name == pooled and row.against is not None), None)
        if row is not None and row.against is not None:
            gain = row.against.difference
            ends = f"{signed_points(gain.low)} to {signed_points(gain.high)}; n = {gain.n}"
            keys.append(_key(label, signed_points(gain.value), "points", ends))
    return keys


def _key(label: str, value: str, unit: str, text: str) -> dict[str, str]:
    return {"label": label, "value": value, "unit": unit, "range": text}


def _best_stream(project: Project, judge: Judge) -> tuple[str, Measured] | None:
    scored = [(name, part) for name, run in project.runs.items() if (part := evaluated(run.scores)) is not None]
    measured = [(name, judge.accuracy(correct(part))) for name, part in scored]
    return max(measured, key=lambda item: item[1].value, default=None)


def flow_section(project: Project) -> list[dict[str, Any]]:
    """The stages with what they ran on."""
    params = project.params
    stages: list[dict[str, Any]] = []

    def add(name: str, *lines: str | None) -> None:
        stages.append({"name": name, "lines": [line for line in lines if line]})

    if project.clips is not None:
        table = project.clips.table
        splits = Counter(split or "unused" for split in table.split)
        counts = ", ".join(f"{splits[name]} {name}" for name in ("train", "val", "test", "unused") if splits[name])
        add("data", f"{len(table)} clips, {project.clips.num_classes} classes", counts)
    else:
        add("data", "not run")
    detect = flatten(project.metrics.get("detect", {}))
    add(
        "detect",
        params.detect.model if params.detect.enabled else "off: whole frames",
        _metric(detect, "ap50", "AP50 {:.3f}"),
    )
    estimate = flatten(project.metrics.get("estimate", {}))
    add(
        "estimate",
        params.estimate.model,
        _metric(estimate, "pck_torso", "PCK@0.2 torso {:.3f}"),
        f"taps {', '.join(params.estimate.taps)}",
    )
    if project.features is not None:
        meta, shape = project.features.meta, project.features.array.shape
        what = f"{meta.tap}, region {meta.region}, {meta.operator}" if meta.kind == "pooled" else meta.kind
        add("pool", what, f"{shape[1]} × {shape[2]} × {shape[3]} (T V C)")
    else:
        add("pool", "not run")
    trained = [name for name in STREAMS if name in project.runs]
    graph = params.train.topology.graph
    add(
        "train",
        f"{len(trained)} of {len(STREAMS)} streams" if trained else "not run",
        f"{graph.model}, {graph.blocks} blocks × {graph.base_channels}" if trained else None,
        f"seed {params.train.seed}" if trained else None,
    )
    weights = "weights from validation" if params.fuse.weights == "validation" else "given weights"
    add("fuse", *([params.fuse.rule, weights] if project.fused is not None else ["not run"]))
    return stages


def _metric(values: Mapping[str, Any], name: str, form: str) -> str | None:
    """The first metric whose last part starts with ``name``, written out; None where there is none."""
    for key, value in values.items():
        if key.rpartition(".")[2].startswith(name) and isinstance(value, (int, float)):
            return form.format(value)
    return None


def facts_section(project: Project) -> list[tuple[str, str]]:
    """Revision, seeds, subjects, digests and versions, as name and value."""
    params = project.params
    facts = [
        ("Source", f"{params.data.source}, protocol {params.data.protocol}"),
        ("Git revision", project.revision or "not in a git repository with a commit"),
        ("Seeds", f"data {params.data.seed}, training {params.train.seed}, bootstrap {params.report.seed}"),
    ]
    if project.clips is not None:
        table = project.clips.table
        for split in ("train", "val", "test"):
            subjects = sorted(set(table.subject[table.split == split].astype(str)) - {""})
            if subjects:
                facts.append(
                    (
                        f"Subjects, {split}",
                        f"{len(subjects)}: {', '.join(subjects)}" if len(subjects) <= 24 else f"{len(subjects)}",
                    )
                )
    if project.poses is not None:
        meta = project.poses.meta
        facts.append(("Pose weights", f"{meta.model}, sha256 {meta.weights_digest[:16]}"))
        facts.append(("Parity mode", meta.parity))
    for name, value in _digests(project.metrics, project.runs):
        facts.append((name, value))
    trained = {str(run.config["git_revision"])[:12] for run in project.runs.values() if run.config.get("git_revision")}
    if trained:
        facts.append(("Trained at revision", ", ".join(sorted(trained))))
    facts.append(("Versions", ", ".join(f"{name} {version}" for name, version in project.versions.items())))
    return facts


def _digests(metrics: Mapping[str, Any], runs: Mapping[str, Run]) -> list[tuple[str, str]]:
    """Digests of weights that stages recorded: names that hold both 'weights' and 'digest'."""
    found: dict[str, str] = {}
    sources = [(stage, flatten(values)) for stage, values in metrics.items() if isinstance(values, Mapping)]
    sources += [(f"train {name}", flatten(run.config)) for name, run in runs.items()]
    for stage, values in sources:
        for key, value in values.items():
            if "digest" in key and "weights" in key and isinstance(value, str) and value:
                found.setdefault(f"{stage}: {key.replace('_', ' ').replace('.', ' ')}", value[:16])
    return list(found.items())


def missing_section(project: Project) -> list[str]:
    """A sentence for everything that a whole project has and this one lacks."""
    notes = []
    if project.clips is None:
        notes.append("There is no clip table (artifacts/data): run `hpnet data`.")
    elif not (project.clips.table.label >= 0).any():
        notes.append("The clips have no labels: predictions are shown, but nothing can be scored.")
    elif not (project.clips.table.split == "val").any():
        notes.append(
            "There is no validation split: the epoch and the fusion weights could not be chosen on one; "
            "set data.val_fraction above 0."
        )
    absent = [name for name in STREAMS if name not in project.runs or project.runs[name].scores is None]
    if absent:
        notes.append(f"Not trained, and so left out of every table: {', '.join(absent)}.")
    if project.boxes is None:
        notes.append("There are no boxes (artifacts/detect): run `hpnet detect`.")
    if project.poses is None:
        notes.append("There are no poses (artifacts/estimate): run `hpnet estimate`.")
    if project.features is None:
        notes.append("There are no pooled features (artifacts/pool): run `hpnet pool`.")
    return notes


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
    for rule in fusion.RULES:
        for members in fusion.combinations(streams).values():
            weights: fusion.Weights = "validation"
            if rule == params.rule and params.weights != "validation":
                weights = fusion.subset_weights(params.weights, tuple(streams), members)
            part = {name: streams[name] for name in members}
            result = fusion.fuse(part, rule, weights, params.tau, frequency, allow_missing=True)
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


def compare_section(
    project: Project, compared: Mapping[str, tuple[Group, list[Variant]]], kept: Files
) -> dict[str, Any]:
    """The joint stream on other features: a panel per group of clips, and a table."""
    part: dict[str, Any] = {"panels": [], "lead": "", "table": None, "notes": []}
    if not compared:
        part["notes"].append(
            "The joint stream was trained on one kind of features only, so there is nothing to compare: "
            "name others in compare.variants."
        )
        return part
    lows = [row.accuracy.low for _, rows in compared.values() for row in rows]
    axis = (max(0.0, np.floor(min(lows) * 10) / 10), 1.0)
    runs, tap = feature_runs(project), project.params.pool.tap
    own = pooled_name(project, runs)
    table_rows = []
    for key, (group, rows) in compared.items():
        marks = [
            Mark(
                row.features.title(tap),
                row.accuracy.value,
                row.accuracy.low,
                row.accuracy.high,
                row.accuracy.full,
                "baseline" if row.features.kind == BASELINE else "accent" if row.name == own else "pooled",
            )
            for row in rows
        ]
        svg = interval_plot(marks, f"Joint stream, {group.title.lower()}", width=320, axis=axis)
        n = int(group.members.sum())
        part["panels"].append(
            {"title": group.title, "text": f"{group.text}; n = {n}", "svg": kept.figure(f"features_{key}", svg)}
        )
        for row in rows:
            against = row.against
            table_rows.append(
                {
                    "clips": group.title,
                    "features": row.features.title(tap),
                    "top1": row.accuracy,
                    "two_way": row.two_way,
                    "gain": against.difference if against else None,
                    "by_subject": against.by_subject if against else None,
                    "changed": f"{against.won} / {against.lost}" if against else None,
                    "p": against.p_value if against else None,
                    "n": row.accuracy.n,
                }
            )
    part["lead"] = _compare_lead(project, compared)
    part["table"] = kept.table(
        Table(
            "features",
            "The same network on other features, %, with 95 % intervals; gains in points over the 2-D pose, on "
            "the same clips",
            (
                Column("clips", "Clips"),
                Column("features", "Features"),
                Column("top1", "Top-1", "interval"),
                Column("two_way", "Which of the two", "interval", "own class scored above its partner's; chance 50 %"),
                Column("gain", "Gain", "gain", "paired bootstrap, resampling clips"),
                Column("by_subject", "By subject", "gain", "paired bootstrap, resampling subjects"),
                Column(
                    "changed", "Won / lost", "text", "clips that only these features, or only the 2-D pose, get right"
                ),
                Column("p", "p", "p", "exact McNemar test"),
                Column("n", "n", "count"),
            ),
            table_rows,
        )
    )
    if baseline_name(project, runs) is None:
        part["notes"].append(
            "There is no variant on the 2-D pose, so no gain is given: add `pose2d: {kind: pose2d}` to "
            "compare.variants."
        )
    if len(compared) == 1:
        part["notes"].append(
            "The classes are not those of the built-in benchmark, so there are no object or order pairs to look at."
        )
    return part


def _range(measured: Measured) -> str:
    return f"{signed_points(measured.low)} to {signed_points(measured.high)}"


def _compare_lead(project: Project, compared: Mapping[str, tuple[Group, list[Variant]]]) -> str:
    runs = feature_runs(project)
    base, pooled = baseline_name(project, runs), pooled_name(project, runs)
    sentences = [
        "One network, the joint stream, trained alike on each kind of features and scored on the same test clips."
    ]
    for group, rows in compared.values():
        row = next((row for row in rows if row.name == pooled), None)
        before = next((row for row in rows if row.name == base), None)
        if row is None or before is None or row.against is None:
            continue
        change = row.against.difference
        certain = "" if change.low > 0 or change.high < 0 else ", which may be chance"
        where = "On all clips" if group.key == "overall" else f"On {group.title.lower()} ({group.text})"
        sentences.append(
            f"{where} pooled features reach {row.accuracy.text} % and the 2-D pose {before.accuracy.text} %: "
            f"{signed_points(change.value)} points ({_range(change)}){certain}."
        )
    return " ".join(sentences)


def gains_section(project: Project, kept: Files) -> dict[str, Any]:
    """Accuracy per action before and after pooling."""
    part: dict[str, Any] = {"figure": None, "lead": "", "table": None, "before": "", "after": "", "notes": []}
    runs = feature_runs(project)
    base, pooled = baseline_name(project, runs), pooled_name(project, runs)
    if base is None or pooled is None or project.clips is None:
        part["notes"].append(
            "Gains per action need the joint stream on both the 2-D pose and pooled features (compare.variants)."
        )
        return part
    before, after = (evaluated(runs[name].scores) for name in (base, pooled))
    assert before is not None
    assert after is not None
    before, after = common([before, after])
    right_before, right_after = correct(before), correct(after)
    changes = per_class_changes(right_before, right_after, before.labels, project.clips.class_names)
    rows: list[dict[str, Any]] = []
    for change in changes.to_dict("records"):
        own = before.labels == change["label"]
        won, lost = int((right_after & ~right_before & own).sum()), int((right_before & ~right_after & own).sum())
        rows.append({**{str(k): v for k, v in change.items()}, "won": won, "lost": lost})
    marks = [
        Change(
            row["name"], row["first"], row["second"], f"{signed_points(row['change'])} · +{row['won']} −{row['lost']}"
        )
        for row in rows
    ]
    shown = marks if len(marks) <= 40 else [*marks[:20], *marks[-20:]]
    part["figure"] = kept.chart("gain_per_class", lambda width: change_plot(shown, "Accuracy per action", width=width))
    part["before"], part["after"] = (
        feature_kind(project, runs[name]).title(project.params.pool.tap) for name in (base, pooled)
    )
    better, worse = sum(row["change"] > 0 for row in rows), sum(row["change"] < 0 for row in rows)
    part["lead"] = (
        f"{better} of {len(rows)} actions gain with pooled features, {worse} lose. A class has few clips, so "
        "a single row "
        "says little: the table gives a test per action, corrected for testing them all."
        + ("" if len(marks) <= 40 else " The chart shows the 20 largest gains and the 20 smallest.")
    )
    part["table"] = kept.table(
        Table(
            "per_class",
            "Accuracy per action, %, joint stream",
            (
                Column("name", "Action"),
                Column("first", part["before"], "percent"),
                Column("second", part["after"], "percent"),
                Column("change", "Gain", "points"),
                Column("won", "Won", "count", "clips newly right"),
                Column("lost", "Lost", "count", "clips newly wrong"),
                Column("p_value", "p", "p", "exact McNemar test"),
                Column("q_value", "q", "p", "Benjamini-Hochberg over the actions"),
                Column("clips", "n", "count"),
            ),
            rows,
        )
    )
    return part


def fisher_section(project: Project, kept: Files) -> dict[str, Any] | None:
    """Fisher score per joint; None where there are no features or classes."""
    if project.features is None or project.clips is None:
        return None
    scores = joint_fisher(project.features, project.clips)
    if scores is None or not np.isfinite(scores).all():
        return None
    meta = project.features.meta
    rows = [
        (joint.replace("_", " "), float(s), f"{s:.2f}") for joint, s in zip(meta.skeleton.joints, scores, strict=True)
    ]
    rows.sort(key=lambda row: -row[1])
    kept.table(
        Table(
            "fisher_per_joint",
            "Fisher score per joint",
            (Column("joint", "Joint"), Column("fisher", "Fisher score", "number")),
            [{"joint": joint, "fisher": score} for joint, score, _ in rows],
        )
    )
    return {
        "lead": (
            "Fisher score of each joint's features averaged over time, on the training clips: scatter between "
            "the classes "
            "over scatter within them, summed over channels. Higher tells actions apart better; no network is involved."
        ),
        "svg": kept.figure("fisher_per_joint", bar_plot(rows, "Fisher score per joint")),
    }


def confusion_section(project: Project, test: Scores | None, kept: Files) -> dict[str, Any]:
    """The confusion matrix of the fused result, with its clips."""
    part: dict[str, Any] = {"rows": [], "names": [], "many": False, "lead": "", "data": "", "table": None, "notes": []}
    if test is None or project.clips is None:
        part["notes"].append("There are no fused scores on labelled test clips, so there is no confusion matrix.")
        return part
    names = project.clips.class_names
    matrix = confusion(test.logits, test.labels)
    total = matrix.sum(1)
    part["names"], part["many"] = names, len(names) > 40
    part["rows"] = [
        {
            "name": names[t],
            "index": t,
            "cells": [
                {
                    "clips": int(matrix[t, p]),
                    "share": float(matrix[t, p] / total[t]) if total[t] else 0.0,
                    "hit": t == p,
                }
                for p in range(len(names))
            ],
        }
        for t in range(len(names))
    ]
    wrong = int(total.sum() - matrix.diagonal().sum())
    part["lead"] = (
        f"Fused result. Rows are true actions, columns predictions, numbered alike; numbers are clips. "
        f"{wrong} of {int(total.sum())} clips lie off the diagonal."
    )
    probabilities = softmax(test.logits)
    where = _where(project)
    clips = [
        [clip, int(label), int(p.argmax()), round(float(p.max()), 4), where.get(clip, "")]
        for clip, label, p in zip(test.clip_ids, test.labels, probabilities, strict=True)
    ]
    part["data"] = _json_for_script({"classes": names, "clips": clips})
    confused = most_confused(matrix, 10)
    if confused:
        rows = [
            {"truth": names[t], "taken": names[p], "clips": n, "share": share, "n": int(total[t])}
            for t, p, n, share in confused
        ]
        columns: tuple[Column, ...] = (
            Column("truth", "Action"),
            Column("taken", "Taken for"),
            Column("share", "Share, %", "percent"),
            Column("clips", "Clips", "count"),
            Column("n", "n", "count", "test clips of the action"),
        )
        part["table"] = kept.table(Table("most_confused", "Most frequent confusions", columns, rows))
    kept.figures["confusion"] = standalone(confusion_plot(matrix, names, "Confusion matrix"))
    cells = [{"truth": names[t], "predicted": names[p], "clips": int(matrix[t, p])} for t, p in np.argwhere(matrix > 0)]
    kept.table(
        Table(
            "confusion",
            "Confusion matrix",
            (Column("truth", "truth"), Column("predicted", "predicted"), Column("clips", "clips", "count")),
            cells,
        )
    )
    return part


def _where(project: Project) -> dict[str, str]:
    """Subject and camera of each clip, as words."""
    assert project.clips is not None
    words = {}
    for row in project.clips.table[["clip_id", "subject", "camera"]].to_dict("records"):
        subject, camera = str(row["subject"]).strip(), str(row["camera"]).strip()
        parts = [f"subject {subject}" if subject else "", f"camera {camera}" if camera and camera != "-1" else ""]
        words[str(row["clip_id"])] = ", ".join(part for part in parts if part) + ("," if any(parts) else "")
    return words


def _json_for_script(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("&", "\\u0026")


def examples_section(
    project: Project, test: Scores | None, kept: Files, full_maps: FullMaps | None, why_no_maps: str
) -> dict[str, Any]:
    """Clips with everything drawn."""
    part: dict[str, Any] = {"clips": [], "lead": "", "notes": []}
    if project.params.report.examples == 0:
        part["notes"].append("No examples were asked for (report.examples is 0).")
        return part
    if project.clips is None:
        part["notes"].append("There are no clips to show.")
        return part
    chosen: list[tuple[str, tuple[Vote, ...], str, bool]] = []
    names = project.clips.class_names
    if test is not None:
        probabilities, right = softmax(test.logits), correct(test)
        for row in example_rows(test.labels, right, project.params.report.examples):
            votes = _votes(probabilities[row], int(test.labels[row]), names)
            verdict = "Recognised." if right[row] else f"Taken for {names[int(probabilities[row].argmax())]}."
            chosen.append((test.clip_ids[row], votes, verdict, bool(right[row])))
    else:
        usable = project.clips.usable()
        scores = project.fused or next((run.scores for run in project.runs.values() if run.scores is not None), None)
        row_of = {} if scores is None else {clip: row for row, clip in enumerate(scores.clip_ids)}
        for number in example_rows(usable.label.to_numpy(), np.ones(len(usable), bool), project.params.report.examples):
            clip_id = str(usable.clip_id.iloc[int(number)])
            votes = ()
            if scores is not None and clip_id in row_of:
                votes = _votes(softmax(scores.logits)[row_of[clip_id]], -1, names)
            chosen.append((clip_id, votes, "", True))
    examples = [draw_example(project, clip, votes, verdict, right, full_maps) for clip, votes, verdict, right in chosen]
    part["clips"] = examples
    part["lead"] = (
        "The frame of each clip that differs most from its mean pose, with the boxes and joints that were "
        "found. Beside it "
        "the crop that the pose network saw, its maps (root mean square over standardised channels, bright "
        "is strong), and "
        "the features read back at the joints. Classes are taken evenly, mistakes included."
    )
    if not examples:
        part["notes"].append("There is no usable clip to show.")
    elif full_maps is None:
        reason = f" ({why_no_maps})" if why_no_maps else ""
        part["notes"].append(f"The pose network's maps are not drawn: it cannot run here{reason}.")
    for example in examples:
        _keep_pictures(example, kept)
    return part


def _votes(probabilities: np.ndarray[Any, np.dtype[np.float64]], label: int, names: Sequence[str]) -> tuple[Vote, ...]:
    best = np.argsort(-probabilities, kind="stable")[:3]
    return tuple(Vote(names[int(k)], float(probabilities[k]), int(k) == label) for k in best)


def _keep_pictures(example: Example, kept: Files) -> None:
    safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in example.clip_id)
    if example.picture:
        opening = example.picture.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        kept.figures[f"example_{safe}"] = opening
    for name, image in example.pictures.items():
        kept.pictures[f"example_{safe}_{name}"] = image


def training_section(project: Project, kept: Files) -> dict[str, Any]:
    """Training curves: a grid per metric, a panel per network."""
    part: dict[str, Any] = {"groups": [], "lead": "", "any_chosen": False, "notes": []}
    runs = [run for run in (*project.runs.values(), *project.variants.values()) if run.history]
    if not runs:
        part["notes"].append("There are no training curves (artifacts/train/*/history).")
        return part
    grouped = {run.name: _grouped_curves(run) for run in runs}
    metrics = sorted({m for curves in grouped.values() for m in curves}, key=lambda m: (_is_accuracy(m), m))
    points: list[dict[str, Any]] = []
    for metric in metrics:
        drawn = {run.name: grouped[run.name][metric] for run in runs if metric in grouped[run.name]}
        values = [v for curves in drawn.values() for _, ys in curves.values() for v in ys if np.isfinite(v)]
        share = _is_accuracy(metric) and max(values, default=0.0) <= 1
        panels = []
        for run in runs:
            if run.name not in drawn:
                continue
            svg = curve_plot(
                drawn[run.name],
                _run_title(project, run),
                chosen=run.chosen_epoch,
                as_percent=share,
                upper=None if share else max(values, default=1.0),
            )
            panels.append(kept.figure(f"curve_{run.name}_{metric}", svg))
            for split, (steps, ys) in drawn[run.name].items():
                points += [
                    {"run": run.name, "metric": metric, "split": split, "epoch": int(step), "value": y}
                    for step, y in zip(steps, ys, strict=True)
                ]
        title = f"{metric.replace('_', ' ').capitalize()}{', %' if share else ''}"
        part["groups"].append({"name": title, "panels": panels})
    part["any_chosen"] = any(run.chosen_epoch is not None for run in runs)
    part["lead"] = (
        "One panel per network, on one scale. The epoch is chosen on validation clips, never on test clips."
        if any("val" in name for curves in grouped.values() for panel in curves.values() for name in panel)
        else "One panel per network, on one scale. There were no validation clips: the last epoch is kept."
    )
    columns: tuple[Column, ...] = (
        Column("run", "Run"),
        Column("metric", "Metric"),
        Column("split", "Split"),
        Column("epoch", "Epoch", "count"),
        Column("value", "Value", "number"),
    )
    kept.table(Table("training_curves", "Training curves", columns, points))
    return part


def _run_title(project: Project, run: Run) -> str:
    """'Bone' for a stream, 'Joint on 2-D pose' for the joint stream on other features."""
    if run.name in STREAM_TITLES:
        return STREAM_TITLES[run.name]
    features = feature_kind(project, run).title(project.params.pool.tap)
    return f"Joint on {features.replace('Pooled', 'pooled', 1)}"


def _grouped_curves(run: Run) -> dict[str, dict[str, tuple[list[float], list[float]]]]:
    """Curves by metric, training and validation together; losses and accuracies only.

    ``train/loss`` and ``val/loss`` share the panel ``loss``; ``val_accuracy`` goes to the panel ``accuracy``.
    """
    panels: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for name, curve in run.history.items():
        split, _, metric = name.rpartition("/")
        if not split:
            for prefix in ("train", "val"):
                if name.startswith(f"{prefix}_"):
                    split, metric = prefix, name[len(prefix) + 1 :]
        if metric.endswith("loss") or _is_accuracy(metric):
            panels.setdefault(metric, {})[split or metric] = curve
    return dict(sorted(panels.items(), key=lambda item: (_is_accuracy(item[0]), item[0])))


def _is_accuracy(metric: str) -> bool:
    return any(word in metric for word in ("acc", "top1", "top5"))


def cost_section(project: Project, kept: Files) -> dict[str, Any]:
    """Parameters, stored bytes, times."""
    part: dict[str, Any] = {"tables": [], "notes": []}
    clips = len(project.clips.usable()) if project.clips is not None else 0
    sized = [run for run in (*project.runs.values(), *project.variants.values()) if run.parameters is not None]
    if sized:
        rows = []
        for run in sized:
            rows.append(
                {
                    "network": _run_title(project, run),
                    "parameters": run.parameters,
                    "epoch": None if run.chosen_epoch is None else run.chosen_epoch + 1,
                    "epochs": max((len(steps) for steps, _ in run.history.values()), default=0) or None,
                }
            )
        columns: tuple[Column, ...] = (
            Column("network", "Network"),
            Column("parameters", "Parameters", "count"),
            Column("epoch", "Epoch kept", "count"),
            Column("epochs", "of", "count", "epochs trained"),
        )
        part["tables"].append(kept.table(Table("networks", "Networks", columns, rows)))
    stored = []
    for stage, size in project.bytes_of.items():
        per_clip = plain_bytes(size / clips) if clips and stage in ("detect", "estimate", "pool") else None
        stored.append({"stage": stage, "size": plain_bytes(size), "per_clip": per_clip, "bytes": size})
    if stored:
        columns = (
            Column("stage", "Stage"),
            Column("size", "On disk"),
            Column("per_clip", "Per clip"),
            Column("bytes", "Bytes", "count"),
        )
        part["tables"].append(
            kept.table(
                Table("storage", f"What the stages store{f', {clips} usable clips' if clips else ''}", columns, stored)
            )
        )
    measured = []
    for stage, values in project.metrics.items():
        flat = flatten(values) if isinstance(values, Mapping) else {}
        for key, value in flat.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                measured.append({"stage": stage, "metric": key, "value": float(value)})
    if measured:
        columns = (Column("stage", "Stage"), Column("metric", "Metric", "code"), Column("value", "Value", "number"))
        kept.table(Table("stage_metrics", "All stage metrics", columns, measured))
        others = [row for row in measured if row["stage"] in ("detect", "estimate", "pool", "data")]
        if others:
            part["tables"].append(replace(Table("stage_metrics", "What the stages measured", columns, others)))
    if project.seconds:
        columns = (Column("command", "Command", "code"), Column("seconds", "Seconds", "number"))
        times = [{"command": f"hpnet {name}", "seconds": value} for name, value in project.seconds.items()]
        part["tables"].append(
            kept.table(Table("seconds", "Wall time of each command's last run here, start-up included", columns, times))
        )
    if not part["tables"]:
        part["notes"].append("The stages recorded neither sizes nor times.")
    return part


def failures_section(project: Project, test: Scores | None, kept: Files) -> dict[str, Any]:
    """Clips that failed, people miscounted, confident mistakes."""
    part: dict[str, Any] = {"lead": "", "tables": [], "notes": []}
    failed = failure_rows(project)
    total = len(project.clips.table) if project.clips is not None else 0
    part["lead"] = (
        f"{len(failed)} of {total} clips failed somewhere or show nobody; every one is listed with its reason."
        if failed
        else f"None of {total} clips failed."
    )
    if failed:
        reasons = Counter((row["stage"], row["reason"]) for row in failed)
        grouped = [{"stage": s, "reason": r, "clips": n} for (s, r), n in reasons.most_common()]
        columns: tuple[Column, ...] = (
            Column("stage", "Stage"),
            Column("reason", "Reason", "prose"),
            Column("clips", "Clips", "count"),
        )
        if len(failed) > 12:
            part["tables"].append(kept.table(Table("failure_reasons", "Failures by reason", columns, grouped)))
        columns = (Column("clip", "Clip", "code"), Column("stage", "Stage"), Column("reason", "Reason", "prose"))
        table = kept.table(Table("failures", "Clips that failed", columns, failed))
        part["tables"].append(
            table
            if len(failed) <= 60
            else replace(
                table, rows=failed[:60], caption="Clips that failed, the first 60 (all in tables/failures.csv)"
            )
        )
    part["notes"] += _people_errors(project, kept, part["tables"])
    if test is not None and project.clips is not None:
        names, where = project.clips.class_names, _where(project)
        probabilities = softmax(test.logits)
        rows = []
        for row in confident_mistakes(probabilities, test.labels, 12):
            guess = int(probabilities[row].argmax())
            rows.append(
                {
                    "clip": test.clip_ids[row],
                    "truth": names[int(test.labels[row])],
                    "taken": names[guess],
                    "sure": float(probabilities[row, guess]),
                    "own": float(probabilities[row, test.labels[row]]),
                    "where": where.get(test.clip_ids[row], "").rstrip(","),
                }
            )
        columns = (
            Column("clip", "Clip", "code"),
            Column("truth", "Action"),
            Column("taken", "Taken for"),
            Column("sure", "Sure, %", "percent", "probability of the wrong class"),
            Column("own", "True class, %", "percent", "probability of the right class"),
            Column("where", "Where"),
        )
        if rows:
            part["tables"].append(
                kept.table(
                    Table("confident_mistakes", "The most confident mistakes of the fused result", columns, rows)
                )
            )
        else:
            part["notes"].append(f"The fused result makes no mistake on the {len(test.labels)} test clips.")
    return part


def _people_errors(project: Project, kept: Files, tables: list[Table]) -> list[str]:
    if project.boxes is None or project.clips is None:
        return []
    found = people_found(project)
    nobody = sorted(clip for clip, count in found.items() if count == 0)
    notes = (
        [f"In {len(nobody)} of {len(found)} clips nobody was found; their features are zeros and masked."]
        if nobody
        else []
    )
    if project.truth is None:
        notes.append("There is no ground truth for people, so detection and pose could not be checked.")
        return notes
    truth = people_per_clip(project.truth)
    both = [(clip, truth[clip], count) for clip, count in found.items() if clip in truth]
    off = [(clip, true, count) for clip, true, count in both if true != count]
    if not both:
        return notes
    pairs = Counter((true, count) for _, true, count in both)
    kept_people = project.params.detect.persons
    caption = f"People per clip, before the first {kept_people} are kept: {len(off)} of {len(both)} are off"
    rows = [
        {"truth": true, "found": count, "clips": n, "right": "yes" if true == count else "no"}
        for (true, count), n in sorted(pairs.items())
    ]
    columns: tuple[Column, ...] = (
        Column("truth", "People in the clip", "count"),
        Column("found", "Found", "count"),
        Column("clips", "Clips", "count"),
        Column("right", "Right"),
    )
    tables.append(
        kept.table(
            Table(
                "people",
                caption,
                columns,
                rows,
            )
        )
    )
    listed = [{"clip": clip, "truth": true, "found": count} for clip, true, count in off]
    if listed:
        columns = (
            Column("clip", "Clip", "code"),
            Column("truth", "People", "count"),
            Column("found", "Found", "count"),
        )
        table = kept.table(Table("people_errors", "Clips with a wrong number of people", columns, listed))
        tables.append(
            table
            if len(listed) <= 20
            else replace(
                table,
                rows=listed[:20],
                caption="Clips with a wrong number of people, the first 20 (all in tables/people_errors.csv)",
            )
        )
    return notes


def method_section(project: Project) -> list[str]:
    """How the numbers were made."""
    report = project.params.report
    return [
        "Every accuracy is measured on the test split. Its interval holds the middle 95 % of "
        f"{report.bootstrap:,} bootstrap "
        "resamples, of single clips or of whole subjects with all of their clips; where every clip is right, "
        "or every one "
        "wrong, such an interval has no width, which is not certainty.",
        "Differences are paired: both classifiers see the same resampled clips. The p-value is McNemar's "
        "exact test on the "
        "clips that only one of the two gets right. q-values are p-values corrected for testing every action "
        "(Benjamini and Hochberg).",
        "Nothing is chosen on the test split. The epoch and the fusion weights come from the validation "
        "split, or, where "
        "there is none, from the last epoch and from fixed constants. Scores are joined by clip name.",
        "“Which of the two” asks only whether a clip's own action scores above its look-alike partner's; "
        "guessing gives 50 %.",
    ]


def footer_section(project: Project) -> str:
    """The last line."""
    version = project.versions.get("hpnet", "")
    return (
        f"Written by hpnet {version} from this project's artifacts. Figures and tables lie beside this page as files."
    )
