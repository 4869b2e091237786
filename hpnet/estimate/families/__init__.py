"""Pose networks by family: a module here builds every network of its family from a :class:`NetworkSpec`.

It offers ``build(spec)``, the network with random weights in evaluation mode: normalised crops (N, 3, height, width) ->
SimCC vectors x, y (N, V, bins), or heatmaps (N, V, h, w); and ``own_names(state)``, a checkpoint's tensors under that
network's names. A spec names the module, which is imported when a network is built.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ...core.skeleton import COCO17, Skeleton

FACTS = ("weights_from", "weights_mb", "skeleton")
"""What of a spec decides no result: where the weights come from, and joints, which are code (:mod:`hpnet.core`)."""


@dataclass(frozen=True)
class NetworkSpec:
    """A pose network: what it is built from, what it estimates and where its weights come from.

    Attributes:
        family: the module that builds it, ``hpnet.estimate.families.NAME``.
        input_size_px: (width, height) of the crop.
        backbone: sizes, as the family takes them.
        head: ``simcc`` (coordinate vectors) or ``heatmap``.
        stride: input pixels per cell of the map that the head reads.
        deconv: whether the head enlarges that map with deconvolutions (ResNet: three, ViTPose: two).
        weights_file, weights_from: the checkpoint's name and origin (an address, or words where it has none).
        weights_mb: about how large it is.
        aliases: tap aliases -> module paths.
        cell_centre: where a map's cells look (the centre of their receptive fields): cell j of a map of stride s at
            pixel j s + cell_centre (s - 1).
        split_ratio: SimCC bins per pixel.
        sigma_bins: sd of the SimCC targets, where scores are peak sharpness; None: mmpose's maximum.
        leaves_out: beginnings of those keys of the checkpoint that this network has no use for.
    """

    name: str
    family: str
    input_size_px: tuple[int, int]
    backbone: Mapping[str, Any]
    head: Literal["simcc", "heatmap"]
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
    leaves_out: tuple[str, ...] = ()

    def deciding(self) -> dict[str, Any]:
        """What of it decides results, as JSON values: part of the identity of the code that estimates."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.name not in FACTS}
        return {**values, "skeleton": self.skeleton.name}
