"""mmpose's backbones (HRNet, ResNet) with its SimCC and heatmap heads, built from their sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ...weights.simcc import convert_pose
from ..mmpose_import import mmpose_classes
from . import NetworkSpec

FIELD_CENTRE = 0.0
"""HRNet and ResNet halve by 3 x 3 and 7 x 7 convolutions and pooling with equal padding on both sides: cell j looks at
pixel j s, the first of its share."""


class PoseNetwork(nn.Module):
    """Backbone and head in one module, so that taps are paths from here (``backbone.stage4.0.branches.1``)."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor] | Tensor:
        """Normalised crops (N, 3, height, width) -> SimCC vectors x, y (N, V, bins), or heatmaps (N, V, h, w)."""
        output: tuple[Tensor, Tensor] | Tensor = self.head(self.backbone(crops))
        return output


def build(spec: NetworkSpec) -> PoseNetwork:
    """The network with random weights, in evaluation mode.

    Raises:
        ModuleNotFoundError: mmpose is not installed.
    """
    classes = mmpose_classes()
    arguments = dict(spec.backbone)
    backbone = classes[arguments.pop("type")](**arguments)
    common: dict[str, Any] = {"in_channels": spec.head_channels, "out_channels": spec.skeleton.num_joints}
    if not spec.deconv:
        common["deconv_out_channels"] = None
        common["deconv_kernel_sizes"] = None
    if spec.head == "heatmap":
        head = classes["HeatmapHead"](**common)
    else:
        width, height = spec.input_size_px
        head = classes["SimCCHead"](
            input_size=spec.input_size_px,
            in_featuremap_size=(width // spec.stride, height // spec.stride),
            simcc_split_ratio=spec.split_ratio,
            **common,
        )
    return PoseNetwork(backbone, head).eval()


def own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint of the SimCC authors or of OpenMMLab (0.x, 1.x), or a converted one -> our names."""
    return convert_pose(state)
