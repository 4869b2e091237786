"""Section ``estimate`` of params.yaml."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..core.section import Section
from ..work.identity import Code


class EstimateParams(Section):
    """Person crops -> keypoints and windows of the tapped feature maps."""

    model: str = Field("mannequin-simcc", description="pose network, see hpnet.estimate.NETWORKS")
    weights: str | None = Field(None, description="checkpoint path; empty: the packaged or fetched one of this model")
    taps: tuple[str, ...] = Field(("h2s3",), description="maps to cache: h1s1 to h3s3, rgb, module paths")
    window: int = Field(5, ge=1, description="odd; the largest region that can be pooled later")
    vectors: bool = Field(False, description="also cache the SimCC coordinate vectors, for pool.kind: simcc")
    box_scale: float = Field(1.25, gt=0, description="crop padding around a box")
    frames: int = Field(0, ge=0, description="frames estimated per clip, uniform in time; 0: all of them")
    parity: Literal["none", "released-trainbn", "released-eval"] = "none"

    def code(self) -> Code:
        """What the stage runs under these parameters."""
        return Code(
            "hpnet.estimate.step",
            (),
            ("assets/mannequin-simcc*",) if self.model.startswith("mannequin-") else (),
            type(self)().model_dump(mode="json"),
        )
