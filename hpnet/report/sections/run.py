"""The stages that were run, their data, parameters and versions; and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from ...core.streams import MULTIMODAL, STREAMS, usual_streams
from ...models import FITTED_NETWORKS
from ..collect import Collected, Run, flatten
from ..naming import natural_key, run_title
from ..section import Given

TITLE = "What was run"
MOST_LISTED = 24
"""Subjects or sources of a split that are named; more are counted alone."""


@dataclass(frozen=True)
class Stage:
    """A stage and its data."""

    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class WhatWasRun:
    """Data of the template. ``facts``: names and values; ``missing``: a sentence for each missing part."""

    flow: tuple[Stage, ...]
    facts: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]
    params_yaml: str


def build(given: Given) -> WhatWasRun:
    """Stages, facts and parameters of the project."""
    collected = given.collected
    parameters = yaml.safe_dump(collected.params.model_dump(mode="json"), sort_keys=False)
    return WhatWasRun(build_flow(collected), tuple(build_facts(collected)), tuple(missing_parts(collected)), parameters)


def build_flow(collected: Collected) -> tuple[Stage, ...]:
    """The stages and their data."""
    params = collected.params
    stages: list[Stage] = []

    def add(name: str, *lines: str | None) -> None:
        stages.append(Stage(name, tuple(line for line in lines if line)))

    if collected.clips is not None:
        table = collected.clips.table
        splits = Counter(split or "unused" for split in table.split)
        counts = ", ".join(f"{splits[name]} {name}" for name in ("train", "val", "test", "unused") if splits[name])
        add("data", f"{len(table)} clips, {collected.clips.num_classes} classes", counts)
    else:
        add("data", "not run")
    if not imported(collected):
        detect = flatten(collected.metrics.get("detect", {}))
        add(
            "detect",
            params.detect.model if params.detect.enabled else "off: whole frames",
            _metric(detect, "ap50", "AP50 {:.3f}"),
        )
        estimate = flatten(collected.metrics.get("estimate", {}))
        add(
            "estimate",
            params.estimate.model,
            _metric(estimate, "pck_torso", "PCK@0.2 torso {:.3f}"),
            f"taps {', '.join(params.estimate.taps)}",
        )
    if collected.features is not None:
        meta, shape = collected.features.meta, collected.features.array.shape
        pooled = f"{meta.tap}, region {meta.region}, {meta.operator}"
        what = {"pooled": pooled, "both": f"{pooled}, and 2-D pose"}.get(meta.kind, meta.kind)
        add("pool", what, f"{shape[1]} × {shape[2]} × {shape[3]} (T V C)")
    else:
        add("pool", "not run")
    trained = [name for name in STREAMS if name in collected.runs and collected.runs[name].scores is not None]
    add(
        "train",
        f"{len(trained)} of {len(expected_streams(collected))} streams" if trained else "not run",
        trained_graphs(collected) if trained else None,
        training_seeds([collected.runs[name] for name in trained]) if trained else None,
    )
    add("fuse", *([params.fuse.rule, weights_in_words(collected)] if collected.fused is not None else ["not run"]))
    return tuple(stages)


def imported(collected: Collected) -> bool:
    """Whether the features are poses that another program found, so that nothing was detected or estimated here."""
    return collected.features is not None and collected.boxes is None and collected.poses is None


def expected_streams(collected: Collected) -> tuple[str, ...]:
    """The streams of a complete project of this kind, and those that it has."""
    params = collected.params
    usual = usual_streams(params.data.source, params.train.multimodal.video, not imported(collected))
    return tuple(name for name in STREAMS if name in usual or name in collected.runs)


def weights_in_words(collected: Collected) -> str:
    """How the fusion weights were made, from ``weights.json``."""
    chosen = collected.weights.get(collected.weights.get("chosen", ""), {})
    fit = chosen.get("fit")
    if fit:
        what = "clips, out of fold" if fit["split"] == "out of fold" else "validation clips"
        return f"weights fitted on {fit['clips']} {what}"
    return {
        "validation": "weights from validation",
        "given": "given weights",
        "released": f"too few validation clips: the released weights of {collected.params.data.protocol}",
        "equal": "too few validation clips: equal weights",
    }.get(chosen.get("origin", ""), "weights of unknown origin")


def _metric(values: Mapping[str, Any], name: str, form: str) -> str | None:
    """The first metric whose last part starts with ``name``, as text; None if there is none."""
    for key, value in values.items():
        if key.rpartition(".")[2].startswith(name) and isinstance(value, (int, float)):
            return form.format(value)
    return None


def build_facts(collected: Collected) -> list[tuple[str, str]]:
    """Revision, seeds, subjects, digests and versions, as name and value."""
    params = collected.params
    facts = [
        ("Source", f"{params.data.source}, protocol {params.data.protocol}"),
        ("Git revision", collected.revision or "not in a git repository with a commit"),
        ("Seeds", f"data {params.data.seed}, bootstrap {params.report.seed}"),
    ]
    if runs := [run for run in (*collected.runs.values(), *collected.variants.values()) if run.scores is not None]:
        facts.append(("Trained with", training_seeds(runs)))
        facts += [("Validation scores", f"{run_title(collected, run)}: {text}") for run, text in _out_of_fold(runs)]
    if collected.clips is not None:
        table = collected.clips.table
        for split in ("train", "val", "test"):
            sources = sorted(set(table.source[table.split == split].astype(str)) - {""}, key=natural_key)
            if sources:
                what = "Subjects" if (table.source == table.subject).all() else "Sources"
                listed = f": {', '.join(sources)}" if len(sources) <= MOST_LISTED else ""
                facts.append((f"{what}, {split}", f"{len(sources)}{listed}"))
    if collected.poses is not None:
        meta = collected.poses.meta
        facts.append(("Pose weights", f"{meta.model}, sha256 {meta.weights_digest[:16]}"))
        facts.append(("Parity mode", meta.parity))
    for name, value in _digests(collected.metrics, collected.runs):
        facts.append((name, value))
    trained = {
        rev[:12] for command, rev in collected.revisions.items() if command.removeprefix("train ") in collected.runs
    }
    if trained:
        facts.append(("Trained at revision", ", ".join(sorted(trained))))
    facts.append(("Versions", ", ".join(f"{name} {version}" for name, version in collected.versions.items())))
    return facts


def trained_graphs(collected: Collected) -> str:
    """The graph networks that the streams' runs recorded: 'ctrgcn, 4 blocks × 16'; else that of params.yaml."""
    graphs: list[Mapping[str, Any]] = []
    for run in collected.runs.values():
        recorded = run.config.get("params")
        graph = recorded.get("graph") if isinstance(recorded, Mapping) else None
        if isinstance(graph, Mapping) and run.name != MULTIMODAL and graph not in graphs:
            graphs.append(graph)
    graphs = graphs or [collected.params.train.topology.graph.model_dump()]
    return "; ".join(_graph_text(graph) for graph in graphs)


def _graph_text(graph: Mapping[str, Any]) -> str:
    """'ctrgcn, 4 blocks × 16'; a network that is fitted as a whole has no blocks."""
    size = "" if graph["model"] in FITTED_NETWORKS else f", {graph['blocks']} blocks × {graph['base_channels']}"
    return f"{graph['model']}{size}"


def training_seeds(runs: Sequence[Run]) -> str:
    """The seeds that the runs themselves recorded: 'seed 1', or 'seed 1 (hpj), 2 (hpb), not recorded (multimodal)'.

    Seeds of further runs, which only the metrics include (mean and deviation), are named separately.
    """
    of_seed: dict[str, list[str]] = {}
    further: dict[tuple[int, ...], list[str]] = {}
    for run in runs:
        of_seed.setdefault("not recorded" if run.seed is None else str(run.seed), []).append(run.name)
        if run.other_seeds:
            further.setdefault(run.other_seeds, []).append(run.name)
    alike = len(of_seed) == 1
    text = "seed " + ", ".join(seed if alike else f"{seed} ({', '.join(names)})" for seed, names in of_seed.items())
    for seeds, names in further.items():
        of_all = alike and len(names) == len(runs)
        whose = "" if of_all else f" ({', '.join(names)})"
        text += f"; also {', '.join(map(str, seeds))}{whose}, for mean and deviation"
    return text


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


def _out_of_fold(runs: Iterable[Run]) -> Iterator[tuple[Run, str]]:
    """The networks whose validation scores are out of fold, and how they were made, as their config.json says."""
    for run in runs:
        made = run.config.get("out_of_fold")
        if isinstance(made, Mapping):
            yield run, str(made["text"])


def missing_parts(collected: Collected) -> list[str]:
    """A sentence for each part of a complete project that this project does not have."""
    notes = []
    if collected.clips is None:
        notes.append("There is no clip table (artifacts/data): run `hpnet data`.")
    elif not (collected.clips.table.label >= 0).any():
        notes.append("The clips have no labels: predictions are shown, but nothing can be scored.")
    elif not (collected.clips.table.split == "val").any() and not any(_out_of_fold(collected.runs.values())):
        notes.append(
            "There is no validation split, so the epoch and the fusion weights were not chosen on one: "
            "set data.val_fraction above 0."
        )
    expected = expected_streams(collected)
    absent = [name for name in expected if name not in collected.runs or collected.runs[name].scores is None]
    if absent:
        notes.append(f"Not trained, and therefore not in any table: {', '.join(absent)}.")
    if imported(collected):
        return notes
    if collected.boxes is None:
        notes.append("There are no boxes (artifacts/detect): run `hpnet detect`.")
    if collected.poses is None:
        notes.append("There are no poses (artifacts/estimate): run `hpnet estimate`.")
    if collected.features is None:
        notes.append("There are no pooled features (artifacts/pool): run `hpnet pool`.")
    return notes
