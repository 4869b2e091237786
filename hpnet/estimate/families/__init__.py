"""Pose networks by family: a module here builds every network of its family from a :class:`NetworkSpec`.

It has ``build(spec)``, which returns the network with random weights in evaluation mode: normalised crops (N, 3,
height, width) -> SimCC vectors x, y (N, V, bins), heatmaps (N, V, h, w), or CenterNet's heads
(:data:`hpnet.models.movenet.Heads`); ``own_names(state)``, a checkpoint's tensors under that network's names; and
``FIELD_CENTRE``, where a map's cells look by the network's structure, as :attr:`NetworkSpec.cell_centre` counts it. A
spec names the module, which is imported when a network is built.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ...core.skeleton import COCO17, Skeleton

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SD = (0.229, 0.224, 0.225)
FACTS = ("weights_from", "weights_mb", "skeleton")
"""Fields of a spec that do not affect results: origin of the weights; and joints, which are code of `hpnet.core`."""


@dataclass(frozen=True)
class NetworkSpec:
    """Description of a pose network: its sizes, its joints and the origin of its weights.

    Attributes:
        family: the module that builds it, ``hpnet.estimate.families.NAME``.
        input_size_px: (width, height) of the crop.
        backbone: sizes, in the form that the family expects.
        head: ``simcc`` (coordinate vectors), ``heatmap``, or ``centre`` (CenterNet's heads, as MoveNet has them).
        stride: input pixels per cell of the map that the head reads.
        deconv: whether the head enlarges that map with deconvolutions (ResNet: three, ViTPose: two).
        weights_file, weights_from: the checkpoint's name and origin (an address, or a text if there is no address).
        weights_mb: its approximate size.
        aliases: tap aliases -> module paths.
        cell_centre: where a map's cells are taken to look when they are read at the joints: cell j of a map of stride s
            at pixel j s + cell_centre (s - 1), 0.5 in the middle of its share of the crop. Training can move what the
            structure of a network gives (``FIELD_CENTRE`` of its family), so the better one is found by validation
            (``estimate.cells``). Keypoints do not depend on it.
        split_ratio: SimCC bins per pixel.
        sigma_bins: sd of the SimCC targets, if scores are the sharpness of peaks; None: mmpose's maximum.
        mean, sd: of the colours, in 0..1, by which the network's input is normalised.
        leaves_out: prefixes of the keys of the checkpoint that this network does not use.
    """

    name: str
    family: str
    input_size_px: tuple[int, int]
    backbone: Mapping[str, Any]
    head: Literal["simcc", "heatmap", "centre"]
    head_channels: int
    stride: int
    weights_file: str
    weights_from: str
    weights_mb: int = 0
    deconv: bool = False
    skeleton: Skeleton = COCO17
    aliases: Mapping[str, str] = field(default_factory=dict)
    cell_centre: float = 0.5
    split_ratio: float = 2.0
    sigma_bins: float | None = None
    mean: tuple[float, float, float] = IMAGENET_MEAN
    sd: tuple[float, float, float] = IMAGENET_SD
    leaves_out: tuple[str, ...] = ()

    def deciding(self) -> dict[str, Any]:
        """The fields that affect results, as JSON values: part of the identity of the code that estimates."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.name not in FACTS}
        return {**values, "skeleton": self.skeleton.name}
