"""ViTPose (Xu et al., NeurIPS 2022) on transformers' classes: heatmaps, and its tokens as maps that can be tapped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

COCO_EXPERT = 0
"""Of ViTPose+'s six experts, the one that was trained on COCO's joints."""
PATCH_PX = 16


class VitPoseNetwork(nn.Module):
    """Backbone and head under transformers' parameter names, with the tokens laid out as maps on the way.

    ``tokens`` is the map that the head reads (normalised); ``layers.k`` the tokens after transformer layer k, from 0.

    Args:
        arguments: of transformers' ``VitPoseBackboneConfig``, without the image size.
        simple_head: upsampling and one convolution, instead of two deconvolutions.
    """

    def __init__(
        self, arguments: Mapping[str, Any], input_size_px: tuple[int, int], num_joints: int, simple_head: bool
    ) -> None:
        super().__init__()
        width, height = input_size_px
        layers = int(arguments.get("num_hidden_layers", 12))
        backbone = VitPoseBackboneConfig(
            image_size=(height, width), patch_size=(PATCH_PX, PATCH_PX), out_indices=[layers], **arguments
        )
        config = VitPoseConfig(backbone_config=backbone, use_simple_decoder=simple_head, num_labels=num_joints)
        whole: Any = VitPoseForPoseEstimation(config)
        self.backbone = whole.backbone
        self.head = whole.head
        self.map_size = (height // PATCH_PX, width // PATCH_PX)
        self.has_experts = backbone.num_experts > 1
        # no parameters: places for hooks
        self.layers = nn.ModuleList(nn.Identity() for _ in range(layers))
        self.tokens = nn.Identity()

    def forward(self, crops: Tensor) -> Tensor:
        """Normalised crops (N, 3, height, width) -> heatmaps (N, V, h, w)."""
        expert = torch.full((len(crops),), COCO_EXPERT, device=crops.device) if self.has_experts else None
        x = self.backbone.embeddings(crops)  # (N, L, C)
        for layer, place in zip(self.backbone.encoder.layer, self.layers, strict=True):
            x = layer(x, expert)
            place(self._as_map(x))
        seen = self.tokens(self._as_map(self.backbone.layernorm(x)))
        heatmaps: Tensor = self.head(seen.contiguous())
        return heatmaps

    def _as_map(self, tokens: Tensor) -> Tensor:
        # (N, L, C) -> (N, C, L) -> (N, C, h, w)
        return tokens.transpose(1, 2).reshape(len(tokens), -1, *self.map_size)
