"""Section ``events`` of params.yaml."""

from __future__ import annotations

from pydantic import Field

from ..core.section import Section
from ..work.identity import Code


class EventsParams(Section):
    """Untrimmed videos -> how events are found in them, and how well."""

    window: float | None = Field(
        None, gt=0, description="seconds that the networks read at a time; null: the median of the training clips"
    )
    folds: int = Field(5, ge=2, description="by source, on which weight and entry are chosen")
    bootstrap: int = Field(1000, ge=10, description="resamples of the test videos for an interval")

    def code(self) -> Code:
        """What the stage runs under these parameters."""
        return Code("hpnet.events.step", ("hpnet.predict.untrimmed",), (), type(self)().model_dump(mode="json"))
