"""What a section of the page is: a module of :mod:`hpnet.report.sections` and a template of the same name beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..artifacts.scores import Scores
from .against import Other
from .collect import Collected
from .examples import FullMaps
from .output import Files
from .results import Group, Judge, Variant


@dataclass(frozen=True)
class Given:
    """Data for the sections.

    Attributes:
        collected: the content of the project.
        judge: computes intervals of accuracies.
        test: the fused scores of the labelled test clips; None if there are none.
        compared: group of clips -> every kind of features on it.
        files: receives the figures and tables for files beside the page.
        full_maps: gives the pose network's maps of a crop; None if it cannot run here.
        why_no_maps: the reason.
        other: a run to compare with this one.
        out: the folder of the page; None: ``report`` of the project.
    """

    collected: Collected
    judge: Judge
    test: Scores | None
    compared: Mapping[str, tuple[Group, list[Variant]]] = field(default_factory=dict)
    files: Files = field(default_factory=Files)
    full_maps: FullMaps | None = None
    why_no_maps: str = ""
    other: Other | None = None
    out: Path | None = None


class Section(Protocol):
    """A module that makes a section.

    ``TITLE`` is its line in the table of contents; empty for none. ``build`` returns a dataclass, which the template
    uses as ``section``, or None to leave the section out. The module's name is the section's anchor.
    """

    __name__: str
    __file__: str | None
    TITLE: str

    def build(self, given: Given) -> object | None:
        """What the template shows."""


@dataclass(frozen=True)
class Panel:
    """One of several small figures: its heading, a line under it, and the figure as SVG."""

    title: str
    text: str
    svg: str
