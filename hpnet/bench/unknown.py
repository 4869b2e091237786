"""``hpnet bench unknown``: each action left out of training in turn; is it told from the others?

A network is trained on the other actions alone. What the stage fuse makes of its held-out scores
(:mod:`hpnet.fuse.unknown`) gives the test clips a probability of unknown. The clips of the action left out are unknown,
the others known. No test clip chooses anything.

In a project with a class ``background`` its test clips are the unknown ones, twice: by networks that never saw one, and
by networks that were trained with this class.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..artifacts.clips import OPTIONAL, Clips
from ..artifacts.files import read_json, write_json
from ..artifacts.scores import Scores
from ..artifacts.unknown import background_label
from ..core.metrics import auroc
from ..core.statistics import Interval, percentile_interval
from ..core.units import Units, independent_units
from ..crossval.folds import Folding, fold_clips
from ..crossval.step import features_folder
from ..crossval.training import Course
from ..crossval.training import run as run_trainings
from ..fuse.applied import fuse_as_fitted
from ..fuse.fusion import Options, fuse
from ..fuse.refusing import LIKENESS, NAMES, probability_of_unknown, without_background
from ..fuse.unknown import fit_unknown, held_out
from ..params import Params
from ..project.folder import Project
from ..train.params import TrainParams
from ..train.run import Folders, Machine
from .sequences import control

STREAM = "hpj"
WAYS = ("auto", *NAMES)
RESAMPLES = 1000
TRAINED_WITH = ", trained with background"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LeftOut:
    """Test clips of one fold without one action.

    Attributes:
        action: its name.
        unknown: (N,) which clips are of it.
        chances: way of :data:`WAYS`, as far as they are to be had -> (N,) probability of unknown.
        right: (N,) whether the best action is the right one; of known clips.
        units: (N,) of what resampling takes as one.
    """

    action: str
    unknown: NDArray[np.bool_]
    chances: Mapping[str, Floats]
    right: NDArray[np.bool_]
    units: NDArray[np.int64]


def without_action(clips: Clips, label: int) -> Clips:
    """The table without a class: its test clips have no label, its other clips no part."""
    table, out = clips.table, clips.table.label == label
    labels = table.label.where(~out, -1)
    split = table.split.where(~out | (table.split == "test"), "")
    classes = clips.classes.drop(index=label).reset_index(drop=True)
    classes = classes.drop(columns=[name for name in OPTIONAL[:2] if name in classes])
    classes["label"] = range(len(classes))
    return Clips(table.assign(label=labels.where(labels <= label, labels - 1), split=split), classes)


def network(params: TrainParams, name: str) -> TrainParams:
    """The training of a network: ``linear``, or ``project``: the project's own, at half its epochs."""
    topology = params.topology
    if name == "linear":
        topology = topology.model_copy(update={"graph": topology.graph.model_copy(update={"model": "linear"})})
    else:
        topology = topology.model_copy(update={"epochs": max(1, topology.epochs // 2)})
    return params.model_copy(update={"topology": topology, "seed": params.seeds[0]})


def left_out(scores: Scores, action: str, units: Units, background: int | None = None) -> LeftOut | None:
    """What is made of the scores of a network that never saw ``action``; None without a test clip of it.

    Args:
        background: the label of ``action``, where it is background and the network was trained with it.

    Raises:
        ValueError: there are too few held-out clips.
    """
    test = scores.split("test")
    unknown = test.labels < 0 if background is None else test.labels == background
    if not unknown.any() or unknown.all():
        return None
    fitted = fuse({STREAM: scores}, options=Options(units=units)).to_json()
    held = held_out({STREAM: scores}, units=units)
    fused = fuse_as_fitted(fitted, {STREAM: test.logits.astype(np.float64)})
    chances = {}
    for way in WAYS:
        found = None if held is None else fit_unknown(fitted, held, score=way, background=background)
        if way == LIKENESS and isinstance(found, str):
            continue  # too few actions, or of too few sources
        if found is None or isinstance(found, str):
            raise ValueError(f"{action} left out: {found or 'the scores are probabilities'}")
        chances[way] = probability_of_unknown(found.whole, fused, background)
    labels = test.labels if background is None else test.labels - (test.labels > background)
    right = without_background(fused, background).argmax(1) == labels
    return LeftOut(action, unknown, chances, right, units.numbers(test.clip_ids))


def joined(parts: Sequence[LeftOut]) -> LeftOut:
    """Folds as one: every clip is tested once, and all probabilities mean the same."""
    chances = {way: np.concatenate([part.chances[way] for part in parts]) for way in parts[0].chances}
    unknown, right, units = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("unknown", "right", "units")
    )
    return LeftOut(parts[0].action, unknown, chances, right, units)


def mean_auroc(parts: Sequence[LeftOut], way: str, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Any]:
    """Mean over actions and folds, and its 95 % interval: units of all test clips are drawn together."""
    values = [auroc(part.chances[way][part.unknown], part.chances[way][~part.unknown]) for part in parts]
    names = np.unique(np.concatenate([part.units for part in parts]))
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), resamples)
    total, counted = np.zeros(resamples), np.zeros(resamples)
    for part in parts:
        weight = drawn[:, np.searchsorted(names, part.units)].astype(np.float64)  # (R, N)
        high, low = part.chances[way][part.unknown], part.chances[way][~part.unknown]
        above = (high[:, None] > low) + 0.5 * (high[:, None] == low)  # (U, N - U)
        of_unknown, of_known = weight[:, part.unknown], weight[:, ~part.unknown]
        pairs = of_unknown.sum(1) * of_known.sum(1)
        total += np.divide(((of_unknown @ above) * of_known).sum(1), pairs, out=np.zeros(resamples), where=pairs > 0)
        counted += pairs > 0
    found = percentile_interval(float(np.mean(values)), total / counted.clip(1), 0.95, len(names))
    return {"mean": found.value, "low": found.low, "high": found.high, "units": found.units}


def measure(parts: Sequence[LeftOut]) -> dict[str, Any]:
    """The figures of one network."""
    actions: dict[str, list[float]] = {}
    for part in parts:
        chance = part.chances["auto"]
        actions.setdefault(part.action, []).append(auroc(chance[part.unknown], chance[~part.unknown]))
    refused = [part.chances["auto"] > 0.5 for part in parts]
    return {
        "auroc": {way: mean_auroc(parts, way) for way in WAYS if all(way in part.chances for part in parts)},
        "actions": {action: float(np.mean(values)) for action, values in actions.items()},
        "known_kept": float(np.mean([(~r)[~p.unknown].mean() for r, p in zip(refused, parts, strict=True)])),
        "unknown_refused": float(np.mean([r[p.unknown].mean() for r, p in zip(refused, parts, strict=True)])),
        "accuracy_of_known": float(np.mean([p.right[~p.unknown].mean() for p in parts])),
        "trainings": len(parts),
    }


def run(
    project: Project, params: Params, folding: Folding | None, networks: Sequence[str], machine: Machine
) -> dict[str, Any]:
    """Train and measure; a training that is finished is not done again (``.work/crossval/runs``).

    Args:
        folding: None: the project's own split.

    Raises:
        FileNotFoundError, ValueError: as of `hpnet crossval`.
    """
    features, clips = features_folder(project, params), Clips.load(project.data)
    tables = {"split": clips}
    if folding is not None:
        folds = folding.folds(clips)
        tables = {f.name: fold_clips(clips, f, params.data.val_fraction, params.data.seed) for f in folds}
    tested = {c for table in tables.values() for c in table.table.clip_id[table.table.split == "test"]}
    usable = clips.usable()
    units = independent_units(usable.assign(split=np.where(usable.clip_id.isin(tested), "test", "")))
    background = background_label(clips.class_names)
    variants = ("",) if background is None else ("", TRAINED_WITH)
    place = Folders(project.data, features, project.detect / "frames")
    found = {}
    for name, variant in itertools.product(networks, variants):
        each: dict[str, tuple[Clips, int]] = {}
        for fold, table in tables.items():
            for label in range(clips.num_classes) if background is None else (background,):
                used = table if variant else without_action(table, label)
                each[f"{fold} without {clips.class_names[label]}"] = (used, label)
        course = Course((STREAM,), network(params.train, name), place, machine, project.work / "crossval")
        trainings = course.plan({fold: table for fold, (table, _) in each.items()})
        run_trainings(trainings, 1)
        learnt = background if variant else None
        every = [left_out(one.scores(), clips.class_names[each[one.fold][1]], units, learnt) for one in trainings]
        parts = [part for part in every if part is not None]
        found[name + variant] = measure(parts if background is None else [joined(parts)])
    split = "the project's own split" if folding is None else folding.text
    result = {"networks": found, "split": split, "clips": len(tested), "unit": units.plural}
    return result if background is None else {**result, "control": control_of(clips, background).__dict__}


def control_of(clips: Clips, background: int) -> Interval:
    """Balanced accuracy with which size, rate and length of the videos alone tell actions from background."""
    table = clips.usable()
    facts = table.assign(seconds=table.frames / table.fps)[["width", "height", "fps", "seconds"]].to_numpy(np.float64)
    return control(facts, (table.label != background).to_numpy(), table.source.tolist())


def write(out: Path, name: str, result: Mapping[str, Any], command: str, note: str = "") -> str:
    """Keep a project's result in ``out``.json beside those of others, and write the page ``out``.md; returns it."""
    file = out.with_name(f"{out.name}.json")
    every = read_json(file) if file.is_file() else {}
    every[name] = {**result, "command": command, "note": note}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, every)
    page = markdown(every)
    out.with_name(f"{out.name}.md").write_text(page, encoding="utf-8")
    return page


def markdown(every: Mapping[str, Mapping[str, Any]]) -> str:
    """The page."""
    lines = [
        "# How well unknown actions are refused", "",
        "This page says how well `hpnet predict` notices that people do none of the trained actions.", "",
        "Each action is left out of training in turn, in the joint stream. AUROC is how often a test clip of the",
        "action left out has a higher probability of unknown than a test clip of the others; 0.5 is chance. `auto` is",
        "what `hpnet fuse` takes: the likeness to the action's clips. The other columns are `fuse.unknown: energy`,",
        "`probability` and `likeness`. \"Known kept\" and \"unknown refused\" are shares at a probability of one half,",
        "with `fuse.known_kept` at 0.95. Intervals are of 95 %.", "",
    ]  # fmt: skip
    for name, result in every.items():
        lines += [f"## {name}", "", f"`{result['command']}`", ""]
        lines += [f"{result['clips']} test clips, {result['split']}.", ""]
        lines += [result["note"], ""] if result["note"] else []
        if "control" in result:
            value, low, high = (f"{result['control'][key]:.1%}" for key in ("value", "low", "high"))
            told = "By size, rate and length of the videos alone, actions and background are told apart in"
            lines += [told, f"{value} ({low} to {high}); chance is 50 %.", ""]
        lines += [f"| network | AUROC, auto | {' | '.join(NAMES)} | known kept | unknown refused | known right |"]
        lines += [f"|---|---|{'---|' * len(NAMES)}---|---|---|"]
        for network_name, row in result["networks"].items():
            best = row["auroc"]["auto"]
            interval = f"({best['low']:.3f} to {best['high']:.3f}, over {best['units']} {result['unit']})"
            others = " | ".join(f"{row['auroc'][way]['mean']:.3f}" if way in row["auroc"] else "" for way in NAMES)
            shares = " | ".join(f"{row[key]:.1%}" for key in ("known_kept", "unknown_refused", "accuracy_of_known"))
            lines.append(f"| {network_name} | **{best['mean']:.3f}** {interval} | {others} | {shares} |")
        lines.append("")
        if "control" in result:
            continue
        names = list(result["networks"])
        lines += [f"| action left out | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
        for action in next(iter(result["networks"].values()))["actions"]:
            values = " | ".join(f"{result['networks'][n]['actions'][action]:.2f}" for n in names)
            lines.append(f"| {action} | {values} |")
        lines.append("")
    return "\n".join(lines)
