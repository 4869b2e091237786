"""What is taken for what."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..artifacts.scores import Scores
from ..core.metrics import confusion, most_confused, per_class_accuracy
from .collect import Project
from .figures import (
    confusion_plot,
    standalone,
)
from .output import Files
from .results import common, evaluated
from .tables import Column, Table


def confusion_section(project: Project, test: Scores | None, kept: Files) -> dict[str, Any]:
    """The confusion matrix of the fused result, with its clips."""
    part: dict[str, Any] = {
        "rows": [],
        "names": [],
        "many": False,
        "step": 1,
        "lead": "",
        "table": None,
        "extremes": None,
        "notes": [],
    }
    if test is None or project.clips is None:
        part["notes"].append("There are no fused scores on labelled test clips, so there is no confusion matrix.")
        return part
    names = project.clips.class_names
    matrix = confusion(test.logits, test.labels)
    total = matrix.sum(1)
    part["names"], part["many"] = names, len(names) > 40
    part["step"] = 1 if len(names) <= 40 else 5 * math.ceil(len(names) / 160)  # every so many columns are numbered
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
    part["extremes"] = _extremes(project, test, kept)
    return part


def _extremes(project: Project, test: Scores, kept: Files, count: int = 10) -> Table | None:
    """The most accurate and the most confused actions of the multimodal stream, before and after fusing (Table XVI)."""
    run = project.runs.get("hpnet")
    single = evaluated(run.scores) if run is not None else None
    if single is None or project.clips is None:
        return None
    single, fused = common([single, test])
    if not single.clip_ids:
        return None
    before, after = (per_class_accuracy(scores.logits, scores.labels) for scores in (single, fused))
    present = [int(k) for k in np.argsort(-before, kind="stable") if np.isfinite(before[k])]
    count = min(count, len(present) // 2)
    rows = [
        {"part": part, "name": project.clips.class_names[k], "one": before[k], "all": after[k],
         "change": after[k] - before[k], "clips": int((single.labels == k).sum())}
        for part, chosen in (("accurate", present[:count]), ("confused", present[::-1][:count]))
        for k in chosen
    ]  # fmt: skip
    columns = (
        Column("part", "Most"),
        Column("name", "Action"),
        Column("one", "HP + RGB + text, %", "percent"),
        Column("all", "All streams, %", "percent"),
        Column("change", "Gain", "points"),
        Column("clips", "n", "count"),
    )
    caption = "The most accurate and the most confused actions of the multimodal stream, and what fusing makes of them"
    return kept.table(Table("extremes", caption, columns, rows)) if rows else None
