"""HP-Net's multimodal stream: RGB frames, label texts and heatmap-pooled features to class scores.

Eq. (10) to (14) of the paper: F_u from the frames (X-CLIP), F_c from the pooled features (SMCLM), F'_text from label
texts and F_c (TRMM), S = F'_text o F_u as exp(s) times the cosine. Axes: N clips, F frames, S pixels, C channels,
T time, V joints, M persons, K classes, D text channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import XCLIPConfig

from ..core.skeleton import Skeleton
from . import TOPOLOGY_NETWORKS
from .smclm import SMCLM
from .trmm import CrossAttention, build_fusion
from .xclip import IMAGE_MEAN, IMAGE_SD, VideoEncoder

AUXILIARY = ("p", "s", "m")


@dataclass(frozen=True)
class HPNetConfig:
    """Everything that decides the network's shape; plain values, saved beside the weights.

    Attributes:
        num_classes: K.
        video: the configuration of X-CLIP, as transformers writes it.
        in_channels: C of the pooled features.
        num_persons: M.
        skeleton: graph and bones of the pooled features.
        graph: name and sizes of the topology networks (model, base_channels, blocks, dropout).
        smclm: False: M1(F_p) alone.
        pooled: False: RGB and text alone, the baseline of Table XII; no graph network, no fusion.
        fusion, refine: see :mod:`hpnet.models.trmm`.
        prompts: fit the label texts to each clip by X-CLIP's video-specific prompts; HP-Net's equations have none.
        mean, sd: of the frames' RGB channels.
    """

    num_classes: int
    video: Mapping[str, Any]
    in_channels: int
    num_persons: int
    skeleton: Skeleton
    graph: Mapping[str, Any]
    smclm: bool = True
    pooled: bool = True
    fusion: str = "trmm"
    refine: str = "pooled"
    prompts: bool = True
    mean: tuple[float, float, float] = field(default=IMAGE_MEAN)
    sd: tuple[float, float, float] = field(default=IMAGE_SD)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        plain = {"video": dict(self.video), "graph": dict(self.graph), "skeleton": self.skeleton.to_json()}
        return {**self.__dict__, **plain, "mean": list(self.mean), "sd": list(self.sd)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> HPNetConfig:
        """Of what :meth:`to_json` gave, as it is after a file of JSON too: its keys are strings there."""
        converted = {
            "skeleton": Skeleton.from_json(raw["skeleton"]),
            "mean": tuple(raw["mean"]),
            "sd": tuple(raw["sd"]),
        }
        return cls(**{**raw, **converted})


class HPNet(nn.Module):
    """The network. Its label texts are a buffer, so that saved weights need no text encoder.

    Made with new weights; :func:`hpnet.train.multimodal.build_model` puts in X-CLIP's, the label features (K, D) and
    the channels' mean and sd (C,) of the pooled features.
    """

    label_text: Tensor
    pooled_mean: Tensor
    pooled_sd: Tensor

    def __init__(self, config: HPNetConfig) -> None:
        super().__init__()
        self.config = config
        self.video = VideoEncoder(XCLIPConfig.from_dict(dict(config.video)), config.mean, config.sd)
        self.register_buffer("label_text", torch.zeros(config.num_classes, self.video.text_dim))
        self.register_buffer("pooled_mean", torch.zeros(config.in_channels))
        self.register_buffer("pooled_sd", torch.ones(config.in_channels))
        if not config.prompts:
            self.video.freeze_prompts()
        self.smclm: SMCLM | None = None
        self.fusion: nn.Module | None = None
        if config.pooled:
            features = AUXILIARY if config.smclm else AUXILIARY[:1]
            self.smclm = SMCLM(
                in_channels=config.in_channels,
                num_classes=config.num_classes,
                num_persons=config.num_persons,
                skeleton=config.skeleton,
                graph=dict(config.graph),
                features=features,
            )
            self.fusion = build_fusion(
                config.fusion,
                text_dim=self.video.text_dim,
                condition_dim=self.smclm.feature_dim,
                num_joints=config.skeleton.num_joints,
                refine=config.refine,
            )
            if isinstance(self.fusion, CrossAttention) and config.graph["model"] not in TOPOLOGY_NETWORKS:
                raise ValueError(
                    f"cross-attention asks the joints, which {config.graph['model']!r} has no features of: choose "
                    f"graph.model from {', '.join(TOPOLOGY_NETWORKS)}, or another fusion"
                )

    def forward(self, pooled: Tensor, valid: Tensor, frames: Tensor) -> dict[str, Tensor]:
        """Eq. (10) to (12).

        Label texts get X-CLIP's video-specific prompts if the configuration says so. They are brought to unit variance
        (the cosine of Eq. 12 does not depend on their length, the size of TRMM's change relative to them does) and are
        then refined by F_c.

        Args:
            pooled: F_p as on disk, (N, C, T, V, M), standardised here by channel; not looked at where the configuration
                says ``pooled: false``.
            valid: (N, M) bool, which people are there; best on the host.
            frames: (N, F, 3, S, S) RGB, uint8 or float in 0..255.

        Returns:
            ``logits`` (N, K), and the auxiliary logits of the graph networks: ``p``, ``s`` and ``m``.
        """
        video, patches = self.video(frames)  # (N, D), (N, L, D)
        if self.config.prompts:
            text = self.video.prompt(self.label_text, patches)  # (N, K, D)
        else:
            text = self.label_text.expand(len(video), -1, -1)  # (K, D) -> (N, K, D)
        text = F.normalize(text, dim=-1) * text.shape[-1] ** 0.5
        auxiliary: dict[str, Tensor] = {}
        if self.smclm is not None:
            standard = (pooled - self.pooled_mean.view(1, -1, 1, 1, 1)) / self.pooled_sd.view(1, -1, 1, 1, 1)
            there = valid.to(standard.device, non_blocking=True)[:, None, None, None, :]
            by_joint = isinstance(self.fusion, CrossAttention)
            condition, auxiliary = self.smclm(standard * there, valid, by_joint)  # (N, E), by joint (N, V, E)
            if self.fusion is not None:
                text = text + self.fusion(text, condition)  # Eq. (7)
        return {"logits": self.video.similarity(video, text), **auxiliary}


def multimodal_loss(
    outputs: Mapping[str, Tensor],
    targets: Tensor,
    lambdas: Sequence[float] = (1.0, 1.0, 1.0),
    label_smoothing: float = 0.0,
) -> Tensor:
    """Eq. (13) and (14): cross-entropy of the scores plus lambda-weighted cross-entropies of the graph networks.

    Args:
        outputs: of :class:`HPNet`.
        targets: (N, K) class probabilities; one-hot, or mixed.
        lambdas: weights of ``p``, ``s`` and ``m``; the weight of a network that is not there is not used.
    """
    loss = F.cross_entropy(outputs["logits"], targets, label_smoothing=label_smoothing)
    for name, weight in zip(AUXILIARY, lambdas, strict=True):
        if name in outputs:
            loss = loss + weight * F.cross_entropy(outputs[name], targets, label_smoothing=label_smoothing)
    return loss
