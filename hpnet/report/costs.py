"""Parameters, stored bytes and times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .collect import Project, flatten
from .naming import run_title
from .output import Files
from .tables import Column, Table, plain_bytes


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
                    "network": run_title(project, run),
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
            kept.run_table(
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
            kept.run_table(
                Table("seconds", "Wall time of each command's last run here, start-up included", columns, times)
            )
        )
    if not part["tables"]:
        part["notes"].append("The stages recorded neither sizes nor times.")
    return part
