"""Figures and tables written as files beside the page, collected while the page is made.

Tables that vary from run to run (seconds, bytes on disk) are in ``run/``, which git ignores.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2

from .figures import Image, standalone
from .tables import Table

WIDE_PX, MIDDLE_PX, NARROW_PX = 1030, 700, 358
"""Of a chart: the column of the page on a desk, that of a tablet and of paper, and that of a phone."""


@dataclass(frozen=True)
class Chart:
    """One figure in three widths: for a large screen, for a small one and for paper, and for a phone."""

    wide: str
    middle: str
    narrow: str


class Files:
    """Files beside the page, by name; nothing is written before :meth:`write`."""

    def __init__(self) -> None:
        self.figures: dict[str, str] = {}
        self.pictures: dict[str, Image] = {}
        self.tables: dict[str, str] = {}
        self.run_tables: dict[str, str] = {}

    def chart(self, name: str, draw: Callable[[int], str]) -> Chart:
        """A chart in three widths; the middle one becomes a file."""
        chart = Chart(draw(WIDE_PX), draw(MIDDLE_PX), draw(NARROW_PX))
        self.figures[name] = standalone(chart.middle)
        return chart

    def figure(self, name: str, svg: str) -> str:
        """A figure that is the same on every screen."""
        self.figures[name] = standalone(svg)
        return svg

    def table(self, table: Table) -> Table:
        """A table, also as CSV."""
        self.tables[table.name] = table.to_csv()
        return table

    def run_table(self, table: Table) -> Table:
        """A table of times and sizes of this run, also as CSV; they differ in another run on the same machine."""
        self.run_tables[table.name] = table.to_csv()
        return table

    def write(self, out: Path) -> None:
        """Write figures/, tables/ and run/ below ``out``; old tables are deleted, but not those of `hpnet ablate`."""
        for folder in ("figures", "tables", "run"):
            (out / folder).mkdir(parents=True, exist_ok=True)
        for file in (out / "tables").glob("*.csv"):
            if file.stem not in self.tables and not re.fullmatch(r"table\d+|claims", file.stem):
                file.unlink()
        for name, svg in self.figures.items():
            (out / "figures" / f"{name}.svg").write_text(svg, encoding="utf-8")
        for name, image in self.pictures.items():
            (out / "figures" / f"{name}.png").write_bytes(_png(image))
        for name, text in self.tables.items():
            (out / "tables" / f"{name}.csv").write_text(text, encoding="utf-8")
        for name, text in self.run_tables.items():
            (out / "run" / f"{name}.csv").write_text(text, encoding="utf-8")


def _png(image: Image) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    done, buffer = cv2.imencode(".png", bgr)
    if not done:
        raise ValueError(f"an image of shape {image.shape} and type {image.dtype} cannot be encoded as png")
    return buffer.tobytes()
