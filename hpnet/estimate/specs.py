"""The pose networks, as plain data: a new one of a known family is an entry here.

No code of a stage imports this module. Only the entry that ``estimate.model`` chooses is part of the stage's code
(:meth:`hpnet.estimate.params.EstimateParams.code`), so a new entry makes no stage stale.
"""

from __future__ import annotations

from typing import Any

from ..core.skeleton import COCO17, HALPE26, HAND21, WHOLEBODY133, Skeleton
from ..weights.published import HUB
from .families import NetworkSpec

MMPOSE = "hpnet.estimate.families.mmpose"
MOVENET = "hpnet.estimate.families.movenet"
RTMPOSE = "hpnet.estimate.families.rtmpose"
VITPOSE = "hpnet.estimate.families.vitpose"
MOVENET_FROM = "Google's MoveNet (Apache-2.0), which ships with hpnet"
OPENMMLAB = "https://download.openmmlab.com/mmpose/"


def hrnet_aliases() -> dict[str, str]:
    """The paper's names H_b^s as ``h{b}s{s}`` -> module path of an HRNet: b the branch (scale), s the stage.

    The paper's stages 1, 2, 3 are HRNet's multi-resolution stages 2, 3, 4, with 2, 3 and 4 branches, so ``h3s1`` does
    not exist. At each stage the tap is the branch's output in the stage's *first* module, before the scales are fused.
    The released code pools this map for H2 at stage 3 (``backbone.stage4.0.branches.1``).
    """
    return {
        f"h{branch}s{stage}": f"backbone.stage{stage + 1}.0.branches.{branch - 1}"
        for stage in (1, 2, 3)
        for branch in (1, 2, 3)
        if branch <= stage + 1
    }


def resnet_aliases() -> dict[str, str]:
    """The outputs of a ResNet's four stages, ``c2`` to ``c5`` -> module path."""
    return {f"c{stage + 1}": f"backbone.layer{stage}" for stage in (1, 2, 3, 4)}


def cspnext_aliases() -> dict[str, str]:
    """A CSPNeXt's stages, ``c2`` to ``c5`` (strides 4 to 32), and RTMPose's map per joint, ``final`` -> module path."""
    return {f"c{stage + 1}": f"backbone.stage{stage}" for stage in (1, 2, 3, 4)} | {"final": "head.final_layer"}


def vitpose_aliases(layers: int) -> dict[str, str]:
    """A ViTPose's tokens as maps: ``tokens``, which the head reads, and ``layer1`` to ``layerL`` -> module paths."""
    return {"tokens": "tokens", **{f"layer{k + 1}": f"layers.{k}" for k in range(layers)}}


def movenet_aliases() -> dict[str, str]:
    """MoveNet's maps -> module paths: ``blocks.K`` of MobileNetV2, the pyramid's ``p2`` to ``p4``, and the ``h{b}s{s}``
    of strides 4, 8 and 16 in the backbone (``s1``, ``s2``) and in the pyramid (``s3``)."""
    blocks = {f"blocks.{index}": f"backbone.blocks.{index}" for index in range(17)}
    named = {"h1s1": "blocks.2", "h2s1": "blocks.5", "h3s1": "blocks.9", "h3s2": "blocks.12"}
    named |= {"h1s3": "p2", "h2s3": "p3", "h3s3": "p4"}
    pyramid = {name: f"backbone.{name}" for name in ("p2", "p3", "p4")}
    return {**blocks, **pyramid, **{alias: f"backbone.{path}" for alias, path in named.items()}}


def _hrnet(width: int, modules: tuple[int, int, int] = (1, 4, 3), blocks: int = 4, stem: int = 64) -> dict[str, Any]:
    """An HRNet (Sun et al., CVPR 2019): branches of width, 2 width, 4 width, 8 width."""
    extra: dict[str, Any] = {
        "stage1": {
            "num_modules": 1,
            "num_branches": 1,
            "block": "BOTTLENECK",
            "num_blocks": (blocks,),
            "num_channels": (stem,),
        }
    }
    for stage, count in zip((2, 3, 4), modules, strict=True):
        extra[f"stage{stage}"] = {
            "num_modules": count,
            "num_branches": stage,
            "block": "BASIC",
            "num_blocks": (blocks,) * stage,
            "num_channels": tuple(width * 2**branch for branch in range(stage)),
        }
    return {"type": "HRNet", "in_channels": 3, "extra": extra}


def _movenet(name: str, width: float, weights_mb: int) -> NetworkSpec:
    return NetworkSpec(
        name=name,
        family=MOVENET,
        input_size_px=(192, 256),
        backbone={"width": width},
        head="centre",
        head_channels=24,
        stride=4,
        weights_file=f"{name}.safetensors",
        weights_from=MOVENET_FROM,
        weights_mb=weights_mb,
        aliases=movenet_aliases(),
        mean=(0.5, 0.5, 0.5),
        sd=(0.5, 0.5, 0.5),
    )


_RES50 = {"type": "ResNet", "depth": 50}


def _vitpose(name: str, width: int, layers: int, heads: int, weights_mb: int, part: int = 0) -> NetworkSpec:
    """A ViTPose; with ``part`` channels per expert, a ViTPose+ of six experts."""
    experts = {"num_experts": 6, "part_features": part} if part else {}
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    return NetworkSpec(
        name=name,
        family=VITPOSE,
        input_size_px=(192, 256),
        backbone={**sizes, **experts},
        head="heatmap",
        head_channels=width,
        stride=16,
        deconv=not name.endswith("-simple"),
        weights_file=f"{name}.safetensors",
        weights_from=f"{HUB}usyd-community/{name}/resolve/main/model.safetensors",
        weights_mb=weights_mb,
        aliases=vitpose_aliases(layers),
    )


_CSPNEXT = {"t": (0.375, 0.167), "s": (0.5, 0.33), "m": (0.75, 0.67), "l": (1.0, 1.0)}
"""Size of an RTMPose -> width and depth of its CSPNeXt."""


def _rtmpose(size: str, joints: Skeleton, weights_file: str, weights_mb: int) -> NetworkSpec:
    width, depth = _CSPNEXT[size]
    kind = {COCO17.name: "", HALPE26.name: "-halpe26", WHOLEBODY133.name: "-wholebody"}[joints.name]
    return NetworkSpec(
        name=f"rtmpose-{size}{kind}",
        family=RTMPOSE,
        input_size_px=(192, 256),
        backbone={"width": width, "depth": depth},
        head="simcc",
        head_channels=int(1024 * width),
        stride=32,
        skeleton=joints,
        weights_file=weights_file,
        weights_from=f"{OPENMMLAB}v1/projects/rtmposev1/{weights_file}",
        weights_mb=weights_mb,
        aliases=cspnext_aliases(),
        cell_centre=0.0,  # as its structure has it
    )


_SPECS = (
    NetworkSpec(
        name="mannequin-simcc",
        family=MMPOSE,
        input_size_px=(96, 128),
        backbone=_hrnet(16, modules=(1, 1, 1), blocks=2, stem=32),
        head="simcc",
        head_channels=16,
        stride=4,
        weights_file="mannequin-simcc.safetensors",
        weights_from="what `hpnet pretrain pose` writes",
        weights_mb=3,
        aliases=hrnet_aliases(),
        sigma_bins=5.0,
    ),
    NetworkSpec(
        name="mannequin-heatmap",
        family=MMPOSE,
        input_size_px=(96, 128),
        backbone=_hrnet(16, modules=(1, 1, 1), blocks=2, stem=32),
        head="heatmap",
        head_channels=16,
        stride=4,
        weights_file="mannequin-simcc.safetensors",
        weights_from="what `hpnet pretrain pose` writes",
        weights_mb=3,
        aliases=hrnet_aliases(),
        leaves_out=("head.mlp_head_x.", "head.mlp_head_y."),
    ),
    _movenet("movenet-lightning", 1.0, 5),
    _movenet("movenet-thunder", 1.75, 12),
    NetworkSpec(
        name="hrnet-w48-simcc",
        family=MMPOSE,
        input_size_px=(192, 256),
        backbone=_hrnet(48),
        head="simcc",
        head_channels=48,
        stride=4,
        weights_file="pose_hrnet_w48_256x192_split2_sigma4.pth",
        weights_from="pose_hrnet_w48_256x192_split2_sigma4.pth from https://github.com/leeyegy/SimCC (its model zoo)",
        weights_mb=266,
        aliases=hrnet_aliases(),
    ),
    NetworkSpec(
        name="hrnet-w32-simcc",
        family=MMPOSE,
        input_size_px=(192, 256),
        backbone=_hrnet(32),
        head="simcc",
        head_channels=32,
        stride=4,
        weights_file="pose_hrnet_w32_256x192_split2_sigma4.pth",
        weights_from="the SimCC HRNet-W32 256x192 checkpoint from https://github.com/leeyegy/SimCC (its model zoo)",
        weights_mb=126,
        aliases=hrnet_aliases(),
    ),
    NetworkSpec(
        name="hrnet-w48",
        family=MMPOSE,
        input_size_px=(192, 256),
        backbone=_hrnet(48),
        head="heatmap",
        head_channels=48,
        stride=4,
        weights_file="td-hm_hrnet-w48_8xb32-210e_coco-256x192-0e67c616_20220913.pth",
        weights_from=f"{OPENMMLAB}v1/body_2d_keypoint/topdown_heatmap/coco/"
        "td-hm_hrnet-w48_8xb32-210e_coco-256x192-0e67c616_20220913.pth",
        weights_mb=255,
        aliases=hrnet_aliases(),
    ),
    NetworkSpec(
        name="hrnet-w32",
        family=MMPOSE,
        input_size_px=(192, 256),
        backbone=_hrnet(32),
        head="heatmap",
        head_channels=32,
        stride=4,
        weights_file="td-hm_hrnet-w32_8xb64-210e_coco-256x192-81c58e40_20220909.pth",
        weights_from=f"{OPENMMLAB}v1/body_2d_keypoint/topdown_heatmap/coco/"
        "td-hm_hrnet-w32_8xb64-210e_coco-256x192-81c58e40_20220909.pth",
        weights_mb=115,
        aliases=hrnet_aliases(),
    ),
    NetworkSpec(
        name="res50-simcc",
        family=MMPOSE,
        input_size_px=(192, 256),
        backbone=_RES50,
        head="simcc",
        head_channels=2048,
        stride=32,
        deconv=True,
        weights_file="simcc_res50_8xb64-210e_coco-256x192-8e0f5b59_20220919.pth",
        weights_from=f"{OPENMMLAB}v1/body_2d_keypoint/simcc/coco/"
        "simcc_res50_8xb64-210e_coco-256x192-8e0f5b59_20220919.pth",
        weights_mb=147,
        aliases=resnet_aliases(),
    ),
    NetworkSpec(
        name="res50",
        family=MMPOSE,
        input_size_px=(192, 256),
        backbone=_RES50,
        head="heatmap",
        head_channels=2048,
        stride=32,
        deconv=True,
        weights_file="td-hm_res50_8xb64-210e_coco-256x192-04af38ce_20220923.pth",
        weights_from=f"{OPENMMLAB}v1/body_2d_keypoint/topdown_heatmap/coco/"
        "td-hm_res50_8xb64-210e_coco-256x192-04af38ce_20220923.pth",
        weights_mb=136,
        aliases=resnet_aliases(),
    ),
    NetworkSpec(
        name="res50-hand",
        family=MMPOSE,
        input_size_px=(256, 256),
        backbone=_RES50,
        head="heatmap",
        head_channels=2048,
        stride=32,
        deconv=True,
        skeleton=HAND21,
        weights_file="res50_onehand10k_256x256-739c8639_20210330.pth",
        weights_from=f"{OPENMMLAB}hand/resnet/res50_onehand10k_256x256-739c8639_20210330.pth",
        weights_mb=136,
        aliases=resnet_aliases(),
    ),
    _rtmpose("t", COCO17, "rtmpose-tiny_simcc-aic-coco_pt-aic-coco_420e-256x192-cfc8f33d_20230126.pth", 13),
    _rtmpose("s", COCO17, "rtmpose-s_simcc-aic-coco_pt-aic-coco_420e-256x192-fcb2599b_20230126.pth", 22),
    _rtmpose("m", COCO17, "rtmpose-m_simcc-aic-coco_pt-aic-coco_420e-256x192-63eb25f7_20230126.pth", 54),
    _rtmpose("l", COCO17, "rtmpose-l_simcc-aic-coco_pt-aic-coco_420e-256x192-f016ffe0_20230126.pth", 111),
    _rtmpose("t", HALPE26, "rtmpose-t_simcc-body7_pt-body7-halpe26_700e-256x192-6020f8a6_20230605.pth", 14),
    _rtmpose("s", HALPE26, "rtmpose-s_simcc-body7_pt-body7-halpe26_700e-256x192-7f134165_20230605.pth", 23),
    _rtmpose("m", HALPE26, "rtmpose-m_simcc-body7_pt-body7-halpe26_700e-256x192-4d3e73dd_20230605.pth", 56),
    _rtmpose("l", HALPE26, "rtmpose-l_simcc-body7_pt-body7-halpe26_700e-256x192-2abb7558_20230605.pth", 113),
    _rtmpose("t", WHOLEBODY133, "rtmpose-t_simcc-ucoco_dw-ucoco_270e-256x192-dcf277bf_20230728.pth", 22),
    _rtmpose("s", WHOLEBODY133, "rtmpose-s_simcc-ucoco_dw-ucoco_270e-256x192-3fd922c8_20230728.pth", 34),
    _rtmpose("m", WHOLEBODY133, "rtmpose-m_simcc-ucoco_dw-ucoco_270e-256x192-c8b76419_20230728.pth", 72),
    _rtmpose("l", WHOLEBODY133, "rtmpose-l_simcc-ucoco_dw-ucoco_270e-256x192-4d6dfc62_20230728.pth", 134),
    _vitpose("vitpose-base-simple", 768, 12, 12, 344),
    _vitpose("vitpose-base", 768, 12, 12, 360),
    _vitpose("vitpose-plus-small", 384, 12, 12, 133, part=96),
    _vitpose("vitpose-plus-base", 768, 12, 12, 502, part=192),
    _vitpose("vitpose-plus-large", 1024, 24, 16, 1738, part=256),
    _vitpose("vitpose-plus-huge", 1280, 32, 16, 3598, part=320),
)

SPECS: dict[str, NetworkSpec] = {spec.name: spec for spec in _SPECS}
"""Name, as ``estimate.model`` gives it -> description."""


def network_spec(name: str) -> NetworkSpec:
    """The pose network of that name.

    Raises:
        ValueError: an unknown name; lists the choices.
    """
    if name not in SPECS:
        raise ValueError(f"estimate.model: {name!r} is unknown; choose from {', '.join(SPECS)}")
    return SPECS[name]
