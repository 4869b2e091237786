"""SMCLM, the spatial-motion co-learning module: three graph networks on pooled, spatial and motion features.

HP-Net, section III-C, Eq. (5). Axes: N clips, C channels, T frames, V joints, M persons, K classes, E channels of F_c.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, cat, nn

from ..core.skeleton import Skeleton
from .build import build
from .streams import bone, joint, joint_motion

FEATURES = {"p": joint, "s": bone, "m": joint_motion}
"""What each network sees: F_p itself, F_s (joint minus parent) and F_m (next frame minus this)."""


class SMCLM(nn.Module):
    """F_c = M1(F_p) + M2(F_s) + M3(F_m), + being concatenation; each network has a classifier of its own (the auxiliary
    losses of Eq. 14).

    Args:
        skeleton: graph of the networks, and the bones of F_s.
        features: which of ``p``, ``s`` and ``m``; ``("p",)`` is the module switched off: M1(F_p) alone.
        graph: name and sizes for :func:`hpnet.models.build`: model, base_channels, blocks, dropout.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        num_persons: int,
        skeleton: Skeleton,
        graph: dict[str, Any],
        features: Sequence[str] = ("p", "s", "m"),
    ) -> None:
        super().__init__()
        unknown = [name for name in features if name not in FEATURES]
        if unknown or not features:
            raise ValueError(f"features are {tuple(features)}, expected some of {', '.join(FEATURES)}")
        sizes = {key: value for key, value in graph.items() if key != "model"}
        self.parents = skeleton.parents
        self.networks = nn.ModuleDict(
            {
                name: build(
                    graph["model"],
                    in_channels=in_channels,
                    num_classes=num_classes,
                    num_joints=skeleton.num_joints,
                    num_persons=num_persons,
                    skeleton=skeleton,
                    **sizes,
                )
                for name in features
            }
        )
        self.feature_dim: int = sum(network.feature_dim for network in self.networks.values())  # type: ignore[misc]

    def forward(
        self, pooled: Tensor, valid: Tensor | None = None, by_joint: bool = False
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. (5).

        Args:
            pooled: F_p, (N, C, T, V, M).
            valid: (N, M) bool, which people are there; None: all.
            by_joint: F_c before its mean over joints.

        Returns:
            F_c (N, E), by joint (N, V, E), and the logits (N, K) of each network's own classifier by ``p``, ``s``,
            ``m``.
        """
        parts, logits = [], {}
        for name, network in self.networks.items():
            encode = network.forward_joints if by_joint else network.forward_features
            part: Tensor = encode(FEATURES[name](pooled, self.parents), valid)  # type: ignore[operator]
            parts.append(part)
            feature = part.mean(1) if by_joint else part  # (N, D)
            logits[name] = network.classifier(network.dropout(feature))  # type: ignore[operator]
        return cat(parts, dim=-1), logits
