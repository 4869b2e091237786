"""Section ``report`` of params.yaml."""

from __future__ import annotations

from pydantic import Field

from ..core.section import Section, Seed
from ..work.identity import Code


class ReportParams(Section):
    """The page."""

    title: str = "hpnet"
    examples: int = Field(6, ge=0, description="number of clips drawn with boxes, skeletons, maps and pooled features")
    bootstrap: int = Field(1000, ge=10, description="bootstrap resamples of every interval")
    seed: Seed = 0

    def code(self) -> Code:
        """What the stage runs under these parameters."""
        return Code(
            "hpnet.report.step",
            (),
            ("report/*.html", "report/sections/*.html", "report/*.css", "report/*.js"),
            type(self)().model_dump(mode="json"),
        )
