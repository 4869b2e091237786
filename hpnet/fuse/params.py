"""Section ``fuse`` of params.yaml."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from ..core.choices import OneOf
from ..core.section import Section
from ..core.streams import MULTIMODAL
from ..work.identity import Code
from . import RULES


class FuseParams(Section):
    """Scores of the streams -> one score."""

    rule: Annotated[str, OneOf("hpnet.fuse:RULES")] = "weighted"
    weights: dict[str, float] | Literal["validation"] = Field(
        "validation", description="weight per stream, or 'validation' to fit them on validation or out-of-fold scores"
    )
    tau: float = Field(1.0, ge=0, description="balanced: strength of the logit adjustment")

    unknown: Literal["auto", "energy", "probability", "likeness", "none"] = Field(
        "auto",
        description="what tells a clip of none of the actions: energy of the fused scores, probability of the best "
        "action, likeness to the action's clips; auto: likeness, or the better of the others; none: answers have no "
        "probability of unknown",
    )
    known_kept: float = Field(
        0.95, gt=0, lt=1, description="share of clips of known actions whose probability of unknown is below one half"
    )

    @field_validator("weights", mode="before")
    @classmethod
    def _readable(cls, weights: Any) -> Any:
        numbers = isinstance(weights, dict) and all(
            isinstance(w, int | float) and abs(w) < math.inf for w in weights.values()
        )
        if weights != "validation" and not (numbers and weights):
            raise ValueError(f"expected 'validation', or a number per stream such as hpj=0.1,{MULTIMODAL}=11")
        return weights

    def code(self) -> Code:
        """What the stage runs under these parameters."""
        return Code("hpnet.fuse.step", tuple(RULES.values()), (), type(self)().model_dump(mode="json"))
