"""The step ``report``: the content of a project -> its page, figures, tables and main numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..artifacts.files import write_json
from ..artifacts.missing import missing
from .against import read_other
from .collect import Parameters, collect
from .examples import FullMaps
from .page import write_report

LoadMaps = Callable[[], tuple[FullMaps | None, str]]
"""Starts the pose network: crop -> its maps; or None and the reason why it cannot run here."""


@dataclass(frozen=True)
class Written:
    """The page, and the numbers of metrics/report.json; empty if nothing could be measured."""

    page: Path
    numbers: dict[str, Any]


def run(
    params: Parameters,
    project: Path,
    out: Path,
    metrics: Path,
    load_maps: LoadMaps,
    against: str | None = None,
) -> Written:
    """Write the report of a project.

    Args:
        params: the project's parameters.
        project: its folder.
        out: folder of the page.
        metrics: JSON file of the main numbers.
        load_maps: called if the examples need the pose network's maps.
        against: a git revision of the project, or another project's folder, to compare with.

    Raises:
        FileNotFoundError: the project has no artifacts.
        ValueError: an artifact is broken, or was made from other labels; ``against`` is neither revision nor folder.
    """
    if not (project / "artifacts").is_dir():
        raise missing(project / "artifacts", "run `dvc repro`, or the stages, first")
    other = read_other(project, against) if against else None
    collected = collect(project, params)
    full_maps, why_not = None, ""
    if params.report.examples and collected.poses is not None:
        full_maps, why_not = load_maps()
    numbers = write_report(collected, out, full_maps, why_not, other)
    write_json(metrics, numbers)
    return Written(out / "index.html", numbers)
