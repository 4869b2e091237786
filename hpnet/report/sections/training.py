"""Training curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..collect import Run
from ..figures import curve_plot
from ..naming import run_title
from ..section import Given
from ..tables import Column, Table

TITLE = "Training"


@dataclass(frozen=True)
class Group:
    """The curves of one metric: a figure (SVG) for each network."""

    name: str
    panels: tuple[str, ...]


@dataclass(frozen=True)
class Training:
    """What the template shows. ``any_chosen``: a figure marks the epoch that was kept."""

    lead: str = ""
    groups: tuple[Group, ...] = ()
    any_chosen: bool = False
    notes: tuple[str, ...] = ()


def build(given: Given) -> Training:
    """Training curves: a grid per metric, a panel per network."""
    collected = given.collected
    every = [run for run in (*collected.runs.values(), *collected.variants.values()) if run.history]
    runs = [run for run in every if not run.fitted]
    if not runs:
        why = (
            "There are no training curves: the networks are fitted as a whole, without epochs."
            if every
            else "There are no training curves (artifacts/train/*/history)."
        )
        return Training(notes=(why,))
    grouped = {run.name: _grouped_curves(run) for run in runs}
    metrics = sorted({m for curves in grouped.values() for m in curves}, key=lambda m: (_is_accuracy(m), m))
    points: list[dict[str, Any]] = []
    groups = []
    for metric in metrics:
        drawn = {run.name: grouped[run.name][metric] for run in runs if metric in grouped[run.name]}
        values = [v for curves in drawn.values() for _, ys in curves.values() for v in ys]
        share = _is_accuracy(metric) and max(values, default=0.0) <= 1
        panels = []
        for run in runs:
            if run.name not in drawn:
                continue
            svg = curve_plot(
                drawn[run.name],
                run_title(collected, run),
                chosen=run.chosen_epoch,
                scale="percent" if share else "log",
            )
            panels.append(given.files.figure(f"curve_{run.name}_{metric}", svg))
            for split, (steps, ys) in drawn[run.name].items():
                points += [
                    {"run": run.name, "metric": metric, "split": split, "epoch": int(step), "value": y}
                    for step, y in zip(steps, ys, strict=True)
                ]
        groups.append(Group(f"{metric.replace('_', ' ').capitalize()}{', %' if share else ''}", tuple(panels)))
    columns = (
        Column("run", "Run"),
        Column("metric", "Metric"),
        Column("split", "Split"),
        Column("epoch", "Epoch", "count"),
        Column("value", "Value", "number"),
    )
    given.files.table(Table("training_curves", "Training curves", columns, points))
    validated = any("val" in name for curves in grouped.values() for panel in curves.values() for name in panel)
    return Training(
        lead=(
            "One panel per network. A loss has its own logarithmic scale in each; accuracies share one. The epoch is "
            "chosen on validation clips, never on test clips."
            if validated
            else "One panel per network. A loss has its own logarithmic scale in each; accuracies share one. There "
            "were no validation clips: the last epoch is kept."
        ),
        groups=tuple(groups),
        any_chosen=any(run.chosen_epoch is not None for run in runs),
    )


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
