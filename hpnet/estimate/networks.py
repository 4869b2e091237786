"""Pose networks by name: mmpose's backbones and heads, or transformers' ViTPose, put together from their sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from ..core.skeleton import COCO17, HAND21, Skeleton
from ..weights import checkpoint as weights
from .mmpose_import import mmpose_classes
from .taps import hrnet_aliases, resnet_aliases, vitpose_aliases

OPENMMLAB = "https://download.openmmlab.com/mmpose/"
HUB = "https://huggingface.co/"


@dataclass(frozen=True)
class NetworkSpec:
    """A pose network: what it is built from, what it estimates and where its weights come from.

    Attributes:
        input_size_px: (width, height) of the crop.
        backbone: class name and arguments of an mmpose backbone, or ``ViTPose`` and those of its configuration.
        head: ``simcc`` (coordinate vectors) or ``heatmap``.
        stride: input pixels per cell of the map that the head reads.
        deconv: whether the head enlarges that map with deconvolutions (ResNet: three, ViTPose: two).
        weights_file, weights_from: the checkpoint's name and origin (an address, or words where it has none).
        weights_mb: about how large it is.
        aliases: tap aliases -> module paths.
        split_ratio: SimCC bins per pixel.
        sigma_bins: sd of the SimCC targets, where scores are peak sharpness; None: mmpose's maximum.
        leaves_out: beginnings of those keys of the checkpoint that this network has no use for.
    """

    name: str
    input_size_px: tuple[int, int]
    backbone: Mapping[str, Any]
    head: Literal["simcc", "heatmap"]
    head_channels: int
    stride: int
    weights_file: str
    weights_from: str
    weights_mb: int = 0
    deconv: bool = False
    skeleton: Skeleton = COCO17
    aliases: Mapping[str, str] = field(default_factory=dict)
    split_ratio: float = 2.0
    sigma_bins: float | None = None
    leaves_out: tuple[str, ...] = ()


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


_RES50 = {"type": "ResNet", "depth": 50}


def _vitpose(name: str, width: int, layers: int, heads: int, weights_mb: int, part: int = 0) -> NetworkSpec:
    """A ViTPose, or with ``part`` channels of an expert's own, a ViTPose+ of six experts."""
    experts = {"num_experts": 6, "part_features": part} if part else {}
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    return NetworkSpec(
        name=name,
        input_size_px=(192, 256),
        backbone={"type": "ViTPose", **sizes, **experts},
        head="heatmap",
        head_channels=width,
        stride=16,
        deconv=not name.endswith("-simple"),
        weights_file=f"{name}.safetensors",
        weights_from=f"{HUB}usyd-community/{name}/resolve/main/model.safetensors",
        weights_mb=weights_mb,
        aliases=vitpose_aliases(layers),
    )


_SPECS = (
    NetworkSpec(
        name="mannequin-simcc",
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
    NetworkSpec(
        name="hrnet-w48-simcc",
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
    _vitpose("vitpose-base-simple", 768, 12, 12, 344),
    _vitpose("vitpose-base", 768, 12, 12, 360),
    _vitpose("vitpose-plus-small", 384, 12, 12, 133, part=96),
    _vitpose("vitpose-plus-base", 768, 12, 12, 502, part=192),
    _vitpose("vitpose-plus-large", 1024, 24, 16, 1738, part=256),
    _vitpose("vitpose-plus-huge", 1280, 32, 16, 3598, part=320),
)

NETWORKS: dict[str, NetworkSpec] = {spec.name: spec for spec in _SPECS}


def network_spec(name: str) -> NetworkSpec:
    """The network of that name; an unknown name lists the choices."""
    if name not in NETWORKS:
        raise ValueError(f"estimate.model: {name!r} is unknown; choose from {', '.join(NETWORKS)}")
    return NETWORKS[name]


def build(name: str) -> nn.Module:
    """A pose network with random weights, in evaluation mode: :class:`PoseNetwork`, or a ViTPose of the same outputs.

    Raises:
        ValueError: unknown name.
        ModuleNotFoundError: mmpose is not installed.
    """
    return assemble(network_spec(name))


def assemble(spec: NetworkSpec) -> nn.Module:
    """What :func:`build` builds, from its description."""
    if spec.backbone["type"] == "ViTPose":
        from ..models.vitpose import VitPoseNetwork  # late: transformers takes seconds to import

        sizes = {key: value for key, value in spec.backbone.items() if key != "type"}
        return VitPoseNetwork(sizes, spec.input_size_px, spec.skeleton.num_joints, not spec.deconv).eval()
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


def load(name: str, weights_path: str | None = None) -> tuple[nn.Module, str]:
    """A pose network with its weights, in evaluation mode, and the digest of the weights' file.

    Raises:
        FileNotFoundError: the weights are missing; says what to fetch and where to put it.
        ValueError: they are broken, or those of another network.
    """
    path = weights_file(name, weights_path)
    network, unused = build(name), network_spec(name).leaves_out
    state = weights.convert_pose(weights.load_state(path))
    weights.load_into(network, {k: v for k, v in state.items() if not k.startswith(unused)}, str(path))
    return network, weights.digest(path)


def weights_file(name: str, weights_path: str | None = None) -> str:
    """Where the weights of a network are: the given path, or the first of the search folders that has them."""
    spec = network_spec(name)
    if weights_path is None:
        fetch = f" (`hpnet weights fetch {name}`)" if spec.weights_from.startswith("https://") else ""
        return str(weights.find(spec.weights_file, spec.weights_from + fetch))
    if Path(weights_path).is_file():
        return weights_path
    try:
        return str(weights.find(weights_path, f"{spec.weights_from}, or correct estimate.weights"))
    except FileNotFoundError:
        raise FileNotFoundError(f"estimate.weights: {weights_path} is missing: fetch {spec.weights_from}") from None
