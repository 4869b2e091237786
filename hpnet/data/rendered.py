"""The mannequins, rendered: the source ``mannequin`` of the stage data."""

from __future__ import annotations

from pathlib import Path

from ..artifacts.clips import Clips
from ..artifacts.videos import VIDEO_COLUMNS
from ..mannequin.benchmark import plan, write_benchmark
from ..work.console import progress
from .params import DataParams
from .protocols import class_table, label_and_split


def make(params: DataParams, out: Path, workers: int) -> Clips:
    """Render the built-in benchmark into ``out`` (videos/ and truth.parquet) and return its clip table.

    ``params.corruption`` changes only the test clips of ``params.protocol``.
    """
    names = [spec.clip_id for spec in plan(params)]
    table = label_and_split(params.protocol, names, val_fraction=params.val_fraction, seed=params.seed)
    corrupt = frozenset(table.clip_id[table.split == "test"]) if params.corruption != "none" else frozenset()
    with progress("rendering", len(names)) as advance:
        videos, _ = write_benchmark(params, out, workers=workers, on_progress=advance, corrupt_ids=corrupt)
    rows = table.merge(videos[list(VIDEO_COLUMNS)], on="clip_id", validate="one_to_one")
    return Clips(rows, class_table(params.protocol))
