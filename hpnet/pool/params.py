"""Section ``pool`` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..artifacts.poses import mirrored_tap
from ..core.choices import OneOf
from ..core.section import Section
from ..work.identity import Code
from . import OPERATORS


class PoolParams(Section):
    """Windows -> features of fixed length."""

    kind: Literal["pooled", "pose2d", "xy", "simcc", "both"] = Field(
        "pooled",
        description="pooled: Eq. (3); pose2d: x, y, score, centred and scaled; xy: the paper's 2-D pose, frame pixels; "
        "simcc: coordinate vectors; both: pooled and pose2d",
    )
    tap: str = Field("h2s3", description="a cached map, or several joined by +: their channels one after another")
    region: int = Field(1, ge=1, description="odd; R of Eq. (3), in cells of the tapped map")
    operator: Annotated[str, OneOf("hpnet.pool:OPERATORS")] = "mean"
    mirrored: bool = Field(False, description="also pool the maps of the mirrored crops, see estimate.mirrored")
    frames: int = Field(24, ge=1, description="T after linear resampling")

    @property
    def maps(self) -> tuple[str, ...]:
        """The taps that are pooled; none for features that no map is read for."""
        return tuple(self.tap.split("+")) if self.kind in ("pooled", "both") else ()

    @property
    def readings(self) -> tuple[str, ...]:
        """The cached windows that are pooled: the maps, and after them the same maps of the mirrored crops."""
        return (*self.maps, *(map(mirrored_tap, self.maps) if self.mirrored else ()))

    def code(self) -> Code:
        """What the stage runs under these parameters."""
        return Code("hpnet.pool.step", (OPERATORS[self.operator],), (), type(self)().model_dump(mode="json"))
