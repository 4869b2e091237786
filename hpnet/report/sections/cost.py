"""Parameters, stored bytes and times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ..collect import flatten
from ..naming import run_title
from ..section import Given
from ..tables import Column, Table, plain_bytes

TITLE = "Sizes and speeds"


@dataclass(frozen=True)
class Cost:
    """What the template shows; ``measured``: the metrics of the stages, folded."""

    tables: tuple[Table, ...]
    measured: tuple[Table, ...]
    notes: tuple[str, ...]


def build(given: Given) -> Cost:
    """Parameters, stored bytes, times."""
    tables, measured = (*_networks(given), *_storage(given), *_seconds(given)), tuple(_measured(given))
    return Cost(tables, measured, () if tables or measured else ("The stages recorded no sizes and no times.",))


def _networks(given: Given) -> Iterator[Table]:
    collected = given.collected
    rows = [
        {
            "network": run_title(collected, run),
            "parameters": run.parameters,
            "epoch": None if run.fitted or run.chosen_epoch is None else run.chosen_epoch + 1,
            "epochs": None if run.fitted else max((len(steps) for steps, _ in run.history.values()), default=0) or None,
        }
        for run in (*collected.runs.values(), *collected.variants.values())
        if run.parameters is not None
    ]
    columns = (
        Column("network", "Network"),
        Column("parameters", "Parameters", "count"),
        Column("epoch", "Epoch kept", "count"),
        Column("epochs", "of", "count", "epochs trained"),
    )
    if rows:
        yield given.files.table(Table("networks", "Networks", columns, rows)).shown()


def _storage(given: Given) -> Iterator[Table]:
    clips = len(given.collected.clips.usable()) if given.collected.clips is not None else 0
    rows = []
    for stage, size in given.collected.bytes_of.items():
        per_clip = plain_bytes(size / clips) if clips and stage in ("detect", "estimate", "pool") else None
        rows.append({"stage": stage, "size": plain_bytes(size), "per_clip": per_clip, "bytes": size})
    columns = (
        Column("stage", "Stage"),
        Column("size", "On disk"),
        Column("per_clip", "Per clip"),
        Column("bytes", "Bytes", "count"),
    )
    caption = f"Output sizes of the stages{f', {clips} usable clips' if clips else ''}"
    if rows:
        yield given.files.run_table(Table("storage", caption, columns, rows))


def _measured(given: Given) -> Iterator[Table]:
    """Metrics of the stages before training; the file has the metrics of all stages."""
    rows = []
    for stage, values in given.collected.metrics.items():
        for key, value in (flatten(values) if isinstance(values, Mapping) else {}).items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                rows.append({"stage": stage, "metric": key, "value": float(value)})
    columns = (Column("stage", "Stage"), Column("metric", "Metric", "code"), Column("value", "Value", "number"))
    table = Table("stage_metrics", "All stage metrics", columns, rows)
    if rows:
        given.files.table(table)
    if others := [row for row in rows if row["stage"] in ("detect", "estimate", "pool", "data")]:
        yield replace(table, caption="Metrics of the stages", rows=others)


def _seconds(given: Given) -> Iterator[Table]:
    rows = [{"command": f"hpnet {name}", "seconds": value} for name, value in given.collected.seconds.items()]
    columns = (Column("command", "Command", "code"), Column("seconds", "Seconds", "number"))
    caption = "Wall time of each command's last run here, start-up included"
    if rows:
        yield given.files.run_table(Table("seconds", caption, columns, rows))
