"""MoveNet SinglePose (Google, Apache-2.0): one person per crop, CenterNet's heads."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ...models.movenet import SINGLE_HEADS, MoveNet
from ...weights.checkpoint import in_float32
from . import NetworkSpec

FIELD_CENTRE = 1.0
"""TensorFlow's padding: where a convolution halves, none on top and left and one at bottom and right, so that cell j
looks at the last pixel of its share. Google's trained weights look at the middle: maps of its backbone were measured
within 0.15 cells of it."""


def build(spec: NetworkSpec) -> MoveNet:
    """The network with random weights, in evaluation mode."""
    network = MoveNet(spec.backbone["width"], SINGLE_HEADS)
    network.eval()
    return network


def own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The packaged checkpoint has our names; its float16 becomes float32."""
    return in_float32(state)
