"""Section ``pool`` of params.yaml."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..core.section import Section
from ..work.identity import Code


class PoolParams(Section):
    """Windows -> features of one length."""

    kind: Literal["pooled", "pose2d", "simcc"] = "pooled"
    tap: str = "h2s3"
    region: int = Field(1, ge=1, description="odd; R of Eq. (3), in cells of the tapped map")
    operator: Literal["mean", "max"] = "mean"
    frames: int = Field(24, ge=1, description="T after linear resampling")

    def code(self) -> Code:
        """What the stage runs under these parameters."""
        return Code("hpnet.pool.step", (), (), type(self)().model_dump(mode="json"))
