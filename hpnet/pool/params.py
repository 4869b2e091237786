"""Section ``pool`` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..core.choices import OneOf
from ..core.section import Section
from ..work.identity import Code
from . import OPERATORS


class PoolParams(Section):
    """Windows -> features of fixed length."""

    kind: Literal["pooled", "pose2d", "simcc"] = "pooled"
    tap: str = "h2s3"
    region: int = Field(1, ge=1, description="odd; R of Eq. (3), in cells of the tapped map")
    operator: Annotated[str, OneOf("hpnet.pool:OPERATORS")] = "mean"
    frames: int = Field(24, ge=1, description="T after linear resampling")

    def code(self) -> Code:
        """What the stage runs under these parameters."""
        return Code("hpnet.pool.step", (OPERATORS[self.operator],), (), type(self)().model_dump(mode="json"))
