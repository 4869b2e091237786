"""Section ``detect`` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ..core.choices import OneOf
from ..core.section import Section
from ..work.identity import Code
from .backends import modules
from .families import parse_model

PACKAGED = {
    "mannequin-yolo": ("assets/mannequin-yolo.safetensors", "assets/mannequin-yolo.yaml", "assets/mannequin-yolo.json"),
    "movenet-multipose": ("assets/movenet-multipose.safetensors", "assets/movenet-multipose.json"),
}
"""Packaged detector -> the files of the package that it reads; its card says whom it knows."""


class DetectParams(Section):
    """Frames -> person boxes and tracks."""

    enabled: bool = Field(True, description="false: the whole frame is the only box (Table XIII)")
    model: str = Field(
        "mannequin-yolo",
        description="packaged detector (mannequin-yolo, movenet-multipose), or an ultralytics model name or .pt path",
    )
    backend: Annotated[str, OneOf("hpnet.detect.backends:BACKENDS")] = Field(
        "torch", description="what runs the network; onnxruntime and openvino run it on the CPU"
    )
    image_size: int = Field(320, ge=32)
    confidence: float = Field(0.25, ge=0, le=1)
    iou: float = Field(0.45, ge=0, le=1)
    stride: int = Field(1, ge=1, description="detect every n-th frame and interpolate the tracks between")
    persons: int = Field(2, ge=1, le=8, description="people kept per clip, best-ranked first")
    frames: int = Field(
        8, ge=0, description="segments of a clip of which person frames are kept for the RGB stream; 0: every frame"
    )
    candidates: int = Field(
        3, ge=1, description="person frames kept per segment: training draws one, other uses take the middle one; odd"
    )
    crop: Literal["square", "box"] = Field(
        "square",
        description="person frames show one square per clip around its people, or each frame's own box, stretched",
    )
    frame_size: int = Field(224, ge=32, description="side of a person frame, pixels")

    @field_validator("candidates")
    @classmethod
    def _has_a_middle(cls, candidates: int) -> int:
        if candidates % 2 == 0:
            raise ValueError("expected an odd number, so that one of them is in the middle of the segment")
        return candidates

    @property
    def rated_model(self) -> str:
        """The detector whose card says how sure it usually is; empty where none runs."""
        return self.model if self.enabled else ""

    def code(self) -> Code:
        """What the stage runs under these parameters: the family of the chosen detector, and no other.

        A model that no family reads is refused where the detector is built.
        """
        defaults = type(self)().model_dump(mode="json")
        try:
            family, _ = parse_model(self.model)
        except ValueError:
            return Code("hpnet.detect.step", defaults=defaults)
        return Code("hpnet.detect.step", (family, *modules(self.backend)), PACKAGED.get(self.model, ()), defaults)
