"""``hpnet bench teach``: actions that trained networks never saw, taught by a few clips.

The actions of a project are cut into groups. Networks are trained without the actions of a group, as the project trains
them, and are then taught these actions by clips of the training split. Questions are clips of the test split, and none
of them is of a source whose clips were taught.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax

from ..artifacts.clips import Clips
from ..artifacts.features import Features
from ..artifacts.files import read_json, write_json
from ..core.device import resolve_device
from ..models.linear import Linear
from ..params import Params
from ..predict.head import MOST_LOSS, Embeddings, Indices, Known, Products, fit_head
from ..predict.project import BATCH, embedded
from ..predict.teaching import left_out_in_turn
from ..project.folder import Project
from ..train import topology
from ..train.batches import ordered_batches
from ..train.clips import LabelledClips, labelled_clips
from ..train.datasets import PersonFeatures, person_rows
from ..train.loop import Run, make_accelerator
from ..train.out_of_fold import learnt
from ..train.params import TopologyParams
from ..train.run import Inputs, Machine
from .machine import describe_machine, machine_line

RESAMPLES = 2000
LEVEL = 0.95
_HPNET = "from hpnet.stages.cli import main; main()"


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        streams: that are trained and read.
        group: actions that networks are trained without at a time.
        ways: of them are told apart.
        shots: clips by which each is taught.
        draws: of shots, for each group.
    """

    streams: tuple[str, ...]
    group: int = 6
    ways: int = 5
    shots: int = 5
    draws: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.ways <= self.group:
            raise ValueError(
                f"{self.ways} ways of groups of {self.group} actions; expected 2 ways or more, not above it"
            )


@dataclass
class Outcomes:
    """By action: shares of right answers, a number for each draw."""

    ways: dict[int, list[float]] = field(default_factory=dict)
    one_shot: dict[int, list[float]] = field(default_factory=dict)
    recalled: dict[int, list[float]] = field(default_factory=dict)
    lost: dict[int, list[float]] = field(default_factory=dict)
    before: dict[int, list[float]] = field(default_factory=dict)

    def add(self, name: str, action: int, value: float) -> None:
        """Remember an outcome."""
        getattr(self, name).setdefault(action, []).append(value)


@dataclass(frozen=True)
class Seen:
    """Clips as networks without some actions see them.

    Attributes:
        clips: all.
        embeddings, logits: stream -> (N, D), and (N, K) of all streams together.
        by_steps: whether a network was trained by steps, so that it knows its training clips by heart.
    """

    clips: LabelledClips
    embeddings: Embeddings
    logits: NDArray[np.float64]
    by_steps: bool


def run(project: Path, plan: Plan, device: str = "cpu") -> dict[str, Any]:
    """Measure a project.

    Returns:
        The machine and, for each measure, its mean over actions with an interval, and each action's own.

    Raises:
        FileNotFoundError: the project has no features.
        ValueError: too few actions.
    """
    place, machine = Project(project), describe_machine()
    params = place.read_params()
    inputs = Inputs(Clips.load(place.data), Features.load(place.pool))
    actions = np.random.default_rng(plan.seed).permutation(inputs.clips.num_classes)
    groups = [actions[n : n + plan.group] for n in range(0, len(actions) - plan.group + 1, plan.group)]
    if not groups or inputs.clips.num_classes < plan.group + 2:
        raise ValueError(f"{len(actions)} actions, expected two more than a group of {plan.group}")
    outcomes = Outcomes()
    for number, group in enumerate(groups):
        with tempfile.TemporaryDirectory() as folder:
            seen = train_without(group, inputs, params, plan.streams, Path(folder), device)
        rng = np.random.default_rng([plan.seed, number])
        for draw in range(plan.draws):
            _few_ways(seen, rng.choice(group, plan.ways, replace=False), plan.shots, rng, outcomes)
            _one_more(seen, group, int(group[draw % len(group)]), plan.shots, rng, outcomes)
    names = inputs.clips.class_names
    measures = ("ways", "one_shot", "recalled", "lost", "before")
    return {
        "machine": machine,
        "streams": list(plan.streams),
        "networks": {stream: params.train.of(stream).graph.model for stream in plan.streams},
        "actions": len(actions),
        "groups": [[names[action] for action in group] for group in groups],
        "draws": plan.draws,
        "ways": plan.ways,
        "shots": plan.shots,
        "test_clips": int((inputs.clips.usable().split == "test").sum()),
        "results": {name: summary(getattr(outcomes, name), names) for name in measures},
    }


def train_without(
    group: Indices, inputs: Inputs, params: Params, streams: Sequence[str], folder: Path, device: str
) -> Seen:
    """Train streams without the clips of some actions, and read all clips with them."""
    table = inputs.clips.table
    hidden = table.assign(split=table.split.where(~table.label.isin(group.tolist()), ""))
    own = Inputs(Clips(hidden, inputs.clips.classes), inputs.features)
    clips, place = labelled_clips(inputs.clips), resolve_device(device)
    rows = person_rows(inputs.features, clips, {str(clip) for clip in table.clip_id})
    people = PersonFeatures(inputs.features.array, rows, clips.labels, place)
    embeddings, logits, by_steps = {}, np.zeros((len(clips.labels), clips.num_classes)), False
    for stream in streams:
        settings = params.train.of(stream)
        assert isinstance(settings, TopologyParams)
        training = Run(params.train.seeds[0], folder / f"work-{stream}", make_accelerator(place, "float32", False),
                       folds=params.train.validation_folds, refit=params.train.refit)  # fmt: skip
        topology.train(stream, own, settings, training, out=folder / stream, card={}, machine=Machine(device))
        model = topology.load_topology(folder / stream).to(place)
        by_steps = by_steps or not isinstance(model.network, Linear)
        found = [(embedded(model, batch.features, batch.valid), _scores(model, batch.features, batch.valid))
                 for batch in map(people.batch, ordered_batches(np.arange(len(clips.labels)), BATCH))]  # fmt: skip
        embeddings[stream] = np.concatenate([values for values, _ in found])
        logits += np.concatenate([scores for _, scores in found])
    return Seen(clips, embeddings, logits, by_steps and not params.train.refit)


@torch.inference_mode()
def _scores(model: topology.TopologyModel, people: torch.Tensor, valid: torch.Tensor) -> NDArray[np.float64]:
    """Log-probabilities (N, K)."""
    return np.asarray(log_softmax(model(people, valid).double().cpu().numpy(), axis=1))


def _few_ways(seen: Seen, actions: Indices, shots: int, rng: np.random.Generator, outcomes: Outcomes) -> None:
    """Tell new actions from each other, by ``shots`` clips of each and by one."""
    for name, count in (("ways", shots), ("one_shot", 1)):
        taught, asked = drawn(seen.clips, actions, count, rng)
        usual = _trained(seen, actions)
        values = {stream: array[np.concatenate([usual, taught, asked])] for stream, array in seen.embeddings.items()}
        known, new = len(usual), len(taught)
        truth = np.concatenate([seen.clips.labels[usual], seen.clips.labels[taught]])
        products = Products.of(values, np.arange(known))
        questions = np.arange(known + new, known + new + len(asked))
        found = products.logits(np.arange(known + new), truth, seen.clips.num_classes, questions)
        answers = actions[found[:, actions].argmax(1)]
        for action in actions:
            own = seen.clips.labels[asked] == action
            outcomes.add(name, int(action), float((answers[own] == action).mean()))


def _one_more(
    seen: Seen, group: Indices, action: int, shots: int, rng: np.random.Generator, outcomes: Outcomes
) -> None:
    """Teach one action beside the trained ones."""
    taught, asked = drawn(seen.clips, np.array([action]), shots, rng)
    usual = _trained(seen, group)
    folds = left_out_in_turn(seen.clips, usual, seen.by_steps)
    known = Known({s: v[usual] for s, v in seen.embeddings.items()}, seen.clips.labels[usual], folds[usual])
    examples = {stream: values[taught] for stream, values in seen.embeddings.items()}
    actions = seen.clips.num_classes
    head, _ = fit_head(known, examples, np.zeros(len(taught), np.int64), actions, MOST_LOSS)

    def answers(clips: Indices) -> NDArray[np.bool_]:
        values = {stream: array[clips] for stream, array in seen.embeddings.items()}
        return np.asarray(head.margins(values)[:, 0] > head.thresholds[0])

    labels = seen.clips.labels
    others = np.array([n for n in seen.clips.of("test", labelled=True) if labels[n] not in group])
    trained = np.setdiff1d(np.arange(actions), group)
    right = trained[seen.logits[np.ix_(others, trained)].argmax(1)] == labels[others]
    outcomes.add("recalled", action, float(answers(asked).mean()))
    outcomes.add("before", action, float(right.mean()))
    outcomes.add("lost", action, float((right & answers(others)).mean()))


def _trained(seen: Seen, group: Indices) -> Indices:
    """The clips that the networks learnt, or could have."""
    return np.flatnonzero(learnt(seen.clips) & ~np.isin(seen.clips.labels, group))


def drawn(clips: LabelledClips, actions: Indices, shots: int, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """Clips by which actions are taught, ``shots`` of each and of as many sources as there are, and test clips of them
    of other sources.

    Raises:
        ValueError: an action has too few clips.
    """
    groups = np.array(clips.groups or clips.clip_ids)
    taught: list[int] = []
    for action in actions:
        own = rng.permutation(np.flatnonzero(learnt(clips) & (clips.labels == action)))
        if len(own) < shots:
            raise ValueError(f"action {action} has {len(own)} training clips; expected {shots} or more")
        sources = groups[own]
        first = [n for n, source in enumerate(sources) if source not in sources[:n]]
        order = [*first, *(n for n in range(len(own)) if n not in first)]
        taught += own[order[:shots]].tolist()
    asked = [n for n in clips.of("test", labelled=True) if clips.labels[n] in actions]
    return np.array(taught), np.array([n for n in asked if groups[n] not in set(groups[taught])], np.int64)


def summary(outcomes: dict[int, list[float]], names: Sequence[str]) -> dict[str, Any]:
    """The mean over actions, of each the mean over draws; its interval, with actions resampled; and the draws' own."""
    means = np.array([np.mean(values) for values in outcomes.values()])
    rng = np.random.default_rng(0)
    resampled = rng.choice(means, (RESAMPLES, len(means))).mean(1)
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {
        "mean": float(means.mean()),
        "low": float(low),
        "high": float(high),
        "outcomes": sum(map(len, outcomes.values())),
        "by_action": {names[action]: float(np.mean(values)) for action, values in outcomes.items()},
    }


def seconds(project: Path, shots: int) -> dict[str, Any]:
    """How long `hpnet teach` takes with clips of a project's own: whole commands, start-up counts.

    Raises:
        RuntimeError: the command failed; with the end of its output.
    """
    root = project.absolute()
    table = Clips.load(root / "artifacts" / "data").usable()
    some = table[table.split == "train"].iloc[:shots]
    files = [str(root / path) for path in some.path]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("params.yaml", "artifacts", "weights"):
            if (root / name).exists():
                (Path(folder) / name).symlink_to(root / name)
        shown = ("teach", "something new", *files, "--max-loss", "99", "--device", "cpu")
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
        begun, before = time.monotonic(), _processor_s()
        done = subprocess.run([sys.executable, "-c", _HPNET, *shown], cwd=folder, capture_output=True, text=True)
        took, work = time.monotonic() - begun, _processor_s() - before
    if done.returncode:
        raise RuntimeError(f"hpnet teach failed: {done.stderr.strip()[-500:]}")
    return {
        "seconds": took,
        "processor_s": work,
        "clips": len(files),
        "frames": int(some.frames.sum()),
        "load": load,
        "said": done.stdout.strip(),
    }


def _processor_s() -> float:
    """Processor time of the commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def keep(out: Path, found: dict[str, dict[str, Any]], note: str) -> str:
    """Keep results by project in ``out``.json beside those of others, and write the page ``out``.md; returns it.

    Args:
        found: project -> what :func:`run` gives, with the ``command``; and, with the command as ``time_command``, what
            :func:`seconds` gives as ``teaching``, which may be all that is new.
        note: for the page; empty: as before.
    """
    file = out.with_name(f"{out.name}.json")
    stored: dict[str, Any] = read_json(file) if file.is_file() else {}
    every = {**stored.get("projects", {})}
    for name, result in found.items():
        every[name] = {**every.get(name, {}), **result} if "results" not in result else result
    lacking = [name for name, result in every.items() if "results" not in result]
    if lacking:
        raise ValueError(f"{file} has no figures of {lacking[0]}: run `hpnet bench teach` without --only-time first")
    note = note or stored.get("note", "")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {"projects": every, "note": note})
    page = markdown(every, note)
    out.with_name(f"{out.name}.md").write_text(page, encoding="utf-8")
    return page


def _taking(teaching: dict[str, Any]) -> str:
    return (
        f"{teaching['seconds']:.1f}, {teaching['processor_s']:.1f} of them processor time ({teaching['clips']} clips, "
        f"{teaching['frames']} frames, load {teaching['load']:.1f} before)"
    )


def markdown(found: dict[str, dict[str, Any]], note: str) -> str:
    """A page of the results of several projects, by name."""
    lines = [
        "# How well new actions are learnt from a few clips",
        "",
        "This page says how often `hpnet teach` recognises an action that the networks never saw, and what it costs "
        "the trained ones.",
        "",
        "What was run:",
        "",
    ]
    for command in dict.fromkeys(r[key] for r in found.values() for key in ("command", "time_command") if key in r):
        lines += [f"    {command}"]
    lines += [""]
    lines += [f"Machine of {name}: {machine_line(result['machine'])}.  " for name, result in found.items()]
    lines += ["", *([note, ""] if note else [])]
    lines += [
        "The networks are trained as the project trains its own, but without a group of actions. Then clips of the "
        "training split teach this group. They are tested on clips of the test split, none of a source whose clips "
        "were taught. Intervals (95 %) are of the mean over actions, which are resampled. Each action's number is the "
        "mean over draws of clips.",
        "",
        "| | " + " | ".join(found) + " |",
        "|---|" + "---|" * len(found),
    ]
    rows: dict[str, Callable[[dict[str, Any]], str]] = {
        "networks": lambda r: ", ".join(f"{s} {m}" for s, m in r["networks"].items()),
        "actions, left out at a time, draws of clips for each group": lambda r: (
            f"{r['actions']}, {len(r['groups'][0])}, {r['draws']}"
        ),
        "new actions, right among themselves": lambda r: _said(r, "ways") + f" ({r['ways']} ways, {r['shots']} clips)",
        "the same, taught by one clip": lambda r: _said(r, "one_shot") + f" ({r['ways']} ways)",
        "one new action beside the trained ones: its test clips recognised": lambda r: (
            _said(r, "recalled") + f" ({r['shots']} clips)"
        ),
        "trained actions, right before": lambda r: _said(r, "before"),
        "trained actions taken for the new one, points": lambda r: _said(r, "lost", 2),
        "seconds of `hpnet teach`": lambda r: _taking(r["teaching"]) if "teaching" in r else "not measured",
    }
    lines += [
        f"| {name} | " + " | ".join(say(result) for result in found.values()) + " |" for name, say in rows.items()
    ]
    for name, result in found.items():
        lines += [
            "",
            f"## {name}",
            "",
            "| action | right among new actions | recognised beside trained ones |",
            "|---|---|---|",
        ]
        ways, recalled = result["results"]["ways"]["by_action"], result["results"]["recalled"]["by_action"]
        lines += [
            f"| {action} | {ways[action]:.1%} | {recalled[action]:.1%} |" for action in ways if action in recalled
        ]
    return "\n".join(lines) + "\n"


def _said(result: dict[str, Any], name: str, digits: int = 1) -> str:
    value = result["results"][name]
    return f"{100 * value['mean']:.{digits}f} % [{100 * value['low']:.{digits}f}, {100 * value['high']:.{digits}f}]"
