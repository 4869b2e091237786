"""RTMPose (Jiang et al., arXiv 2303.07399): CSPNeXt, mmpose's RTMCC head, and SimCC vectors of each joint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...models.cspnext import CSPNeXt
from ...weights.simcc import convert_pose
from ..mmpose_import import mmpose_classes
from . import NetworkSpec
from .mmpose import PoseNetwork

FIELD_CENTRE = 0.0
"""CSPNeXt halves by 3 x 3 convolutions with one pixel of padding on both sides."""
KERNEL = 7
"""Side of the head's convolution, which makes a map per joint (the tap ``final``)."""
ATTENTION: dict[str, Any] = {
    "hidden_dims": 256,
    "s": 128,
    "expansion_factor": 2,
    "dropout_rate": 0.0,
    "drop_path": 0.0,
    "act_fn": "SiLU",
    "use_rel_bias": False,
    "pos_enc": False,
}
"""The gated attention unit between joints, of all published sizes."""


def build(spec: NetworkSpec) -> PoseNetwork:
    """The network with random weights, in evaluation mode.

    Raises:
        ModuleNotFoundError: mmpose is not installed.
    """
    width, height = spec.input_size_px
    head = mmpose_classes()["RTMCCHead"](
        in_channels=spec.head_channels,
        out_channels=spec.skeleton.num_joints,
        input_size=spec.input_size_px,
        in_featuremap_size=(width // spec.stride, height // spec.stride),
        simcc_split_ratio=spec.split_ratio,
        final_layer_kernel_size=KERNEL,
        gau_cfg=ATTENTION,
    )
    return PoseNetwork(CSPNeXt(**spec.backbone), head).eval()


def own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint of OpenMMLab, or one that is converted already -> our names."""
    return convert_pose(state)
