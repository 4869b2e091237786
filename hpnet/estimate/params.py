"""Section ``estimate`` of params.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from ..core.choices import OneOf
from ..core.section import Section
from ..work.identity import Code
from .backends import OF_INT8, modules

if TYPE_CHECKING:
    from .families import NetworkSpec


class EstimateParams(Section):
    """Person crops -> keypoints and windows of the tapped feature maps."""

    model: str = Field("mannequin-simcc", description="pose network, see `hpnet weights list`")
    weights: str | None = Field(None, description="checkpoint path; empty: the packaged or fetched file of this model")
    taps: tuple[str, ...] = Field(
        ("h2s3",),
        description="maps to cache: the network's aliases, rgb, module paths; MAP@1.5: in a crop 1.5 times as wide",
    )
    mirrored: bool = Field(
        False, description="also read the maps in the mirrored crop, for pool.mirrored; the network runs twice"
    )
    window: int = Field(5, ge=1, description="odd; the largest pool.region possible later")
    vectors: bool = Field(False, description="also cache the SimCC coordinate vectors, for pool.kind: simcc")
    box_scale: float = Field(1.25, gt=0, description="size of the crop relative to the box")
    frames: int = Field(0, ge=0, description="frames estimated per clip, uniform in time; 0: all of them")
    cells: Literal["network", "middle", "structure"] = Field(
        "network",
        description="where a map's cells look: middle of their share of the crop, or centre of the receptive field by "
        "the network's structure; network: what its entry says",
    )
    parity: Literal["none", "released-trainbn", "released-eval"] = "none"
    backend: Annotated[str, OneOf("hpnet.estimate.backends:BACKENDS")] = Field(
        "torch", description="what runs the network; onnxruntime and openvino run it on the CPU"
    )
    int8: str | None = Field(
        None,
        description="file of `hpnet weights calibrate`: the network computes in 8-bit integers; empty: in floats",
    )

    @model_validator(mode="after")
    def _who_computes_int8(self) -> EstimateParams:
        if self.int8 is not None and self.backend != OF_INT8:
            raise ValueError(f"int8 is not computed by {self.backend}: set backend to {OF_INT8}")
        return self

    @property
    def rated_model(self) -> str:
        """The network whose card says how sure it usually is; empty where other weights, or a released way of
        computing, give other scores."""
        return self.model if self.weights is None and self.parity == "none" else ""

    def spec(self) -> NetworkSpec:
        """The pose network that ``model`` names.

        Raises:
            ValueError: an unknown name; lists the choices.
        """
        from .specs import network_spec

        return network_spec(self.model)

    def code(self) -> Code:
        """What the stage runs under these parameters: the chosen network's family and description, and no other's.

        An unknown name has no family here; it is refused when the network is built.
        """
        from .specs import SPECS

        defaults = type(self)().model_dump(mode="json")
        if self.model not in SPECS:
            return Code("hpnet.estimate.step", defaults=defaults)
        spec = SPECS[self.model]
        return Code(
            "hpnet.estimate.step",
            (spec.family, *modules(self.backend)),
            # no such files in the package, unless the network is packaged
            (f"assets/{spec.weights_file}", f"assets/{self.model}.json"),
            {**defaults, "network": spec.deciding()},
            () if self.int8 is None else (self.int8,),
        )
