"""The data step: the videos (``videos.csv``), and their labels and splits (``clips.csv``, ``classes.csv``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..artifacts.clips import Clips
from ..artifacts.files import write_json
from ..core.choices import load
from ..work.console import note
from .params import DataParams
from .sources import SOURCES


@dataclass(frozen=True)
class DataResult:
    """Numbers of clips, classes, clips that cannot be read, and clips without a class."""

    clips: int
    classes: int
    failed: int
    unlabelled: int


def run(params: DataParams, out: Path, metrics: Path, workers: int) -> DataResult:
    """Index a folder of videos or render the mannequins, and write the tables; prints the clips that cannot be read.

    Args:
        out: receives videos.csv, clips.csv and classes.csv; for the mannequins also videos/ and truth.parquet.
        metrics: file of the counts.
        workers: threads that read, or processes that render.

    Raises:
        FileNotFoundError: there is no video, or no table.
        ValueError: names or tables do not match the protocol, or more than ``params.max_failed`` of the clips failed.
    """
    clips: Clips = load(SOURCES, params.source, "data.source").make(params, out, workers)
    clips.save(out)
    table, failed = clips.table, clips.failures()
    counts = table.split.replace("", "none").value_counts()
    found = {
        "clips": len(table),
        "classes": clips.num_classes,
        "failed": len(failed),
        "splits": {str(name): int(count) for name, count in counts.items()},
    }
    write_json(metrics, found)
    for clip_id, reason in failed.items():
        note(f"{clip_id}: {reason}")
    if len(failed) > params.max_failed * len(table):
        raise ValueError(
            f"{len(failed)} of {len(table)} clips cannot be read, more than data.max_failed = {params.max_failed:g}: "
            "fix or remove those listed above, or raise data.max_failed"
        )
    return DataResult(len(table), clips.num_classes, len(failed), int((table.label < 0).sum()))
