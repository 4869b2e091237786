"""transformers' ViTPose and ViTPose+ (Xu et al., NeurIPS 2022), from the sizes of their configuration."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ...models.vitpose import VitPoseNetwork
from . import NetworkSpec

FIELD_CENTRE = 5.5 / 15
"""Patches of 16 pixels, cut with two pixels of padding: token j sees pixels 16 j - 2 to 16 j + 13."""


def build(spec: NetworkSpec) -> VitPoseNetwork:
    """The network with random weights, in evaluation mode."""
    return VitPoseNetwork(spec.backbone, spec.input_size_px, spec.skeleton.num_joints, not spec.deconv).eval()


def own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under transformers' names, which are also ours."""
    return dict(state)
