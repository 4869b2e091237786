"""transformers' ViTPose and ViTPose+ (Xu et al., NeurIPS 2022), from the sizes of their configuration."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ...models.vitpose import VitPoseNetwork
from . import NetworkSpec


def build(spec: NetworkSpec) -> VitPoseNetwork:
    """The network with random weights, in evaluation mode."""
    return VitPoseNetwork(spec.backbone, spec.input_size_px, spec.skeleton.num_joints, not spec.deconv).eval()


def own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under transformers' names, which are also ours."""
    return dict(state)
