"""Key names of pose checkpoints, the SimCC authors' and OpenMMLab's -> ours. Values do not change."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def convert_simcc(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Key names of the SimCC authors' (and HRNet authors') networks -> mmpose's.

    ``final_layer``, ``mlp_head_x``, ``mlp_head_y`` -> ``head.*``, everything else -> ``backbone.*``. Networks with
    deconvolutions (ResNet) keep them and the final layer under ``head.deconv_head``.
    """
    # SimCC on deconvolutions (ResNet): mmpose nests a whole heatmap head
    nested = {"deconv_layers", "mlp_head_x"} <= {key.partition(".")[0] for key in state}
    mapped: dict[str, Tensor] = {}
    for key, value in state.items():
        part = key.partition(".")[0]
        if part in ("mlp_head_x", "mlp_head_y"):
            mapped[f"head.{key}"] = value
        elif part in ("final_layer", "deconv_layers"):
            mapped[f"head.deconv_head.{key}" if nested else f"head.{key}"] = value
        else:
            mapped[f"backbone.{key}"] = value
    return mapped


def convert_pose(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A pose checkpoint's keys -> ours: OpenMMLab 1.x as they are, 0.x with its head renamed, authors' converted."""
    if not any(key.startswith("backbone.") for key in state):
        return convert_simcc(state)
    renamed = {
        f"head.{key.removeprefix('keypoint_head.')}" if key.startswith("keypoint_head.") else key: value
        for key, value in state.items()
    }
    return {k: v for k, v in renamed.items() if not k.startswith(("data_preprocessor.", "head.loss"))}
