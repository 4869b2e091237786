"""The known weights, and the weights that a project or a preset needs."""

from __future__ import annotations

import re
from pathlib import Path

from ..estimate import specs
from ..estimate.families import NetworkSpec
from ..estimate.specs import SPECS
from ..params import Params, validate
from ..weights import files, published
from ..weights.files import Weights, WeightsFile
from ..weights.published import RTDETR
from . import presets

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
ENDINGS = (".pt", ".pth", ".bin", ".safetensors")
"""Suffixes of paths to the user's own files."""


def _packaged(name: str, role: str, path: str, about_mb: int) -> Weights:
    kind = "xclip" if role == "video" else role
    return Weights(name, role, (WeightsFile(path),), f"a file of `hpnet pretrain {kind}`", about_mb)


def _pose(spec: NetworkSpec) -> Weights:
    url = spec.weights_from if spec.weights_from.startswith("https://") else ""
    return Weights(spec.name, "pose", (WeightsFile(spec.weights_file, url),), spec.weights_from, spec.weights_mb)


CATALOGUE: dict[str, Weights] = {
    entry.name: entry
    for entry in (
        _packaged("mannequin-yolo", "detector", "mannequin-yolo.safetensors", 1),
        Weights(
            "movenet-multipose", "detector", (WeightsFile("movenet-multipose.safetensors"),), specs.MOVENET_FROM, 9
        ),
        *map(published.yolo, published.YOLO_MB),
        *map(_pose, SPECS.values()),
        _packaged("mannequin-xclip", "video", "mannequin-xclip/model.safetensors", 5),
        *map(published.xclip, published.XCLIP_MB),
    )
}
"""Every network with published weights, by its name in params.yaml."""


def lookup(name: str) -> Weights:
    """The weights of a network; ``OWNER/NAME`` is an X-CLIP of the hub, ``rtdetr:OWNER/NAME`` an RT-DETR of the hub.

    Raises:
        ValueError: an unknown name; lists the choices.
    """
    known = CATALOGUE.get(name.removesuffix(".pt"))
    if known is not None:
        return known
    on_hub = name.removeprefix(RTDETR)
    if HUB_NAME.fullmatch(on_hub):
        return published.xclip(name) if name == on_hub else published.rtdetr(on_hub)
    raise ValueError(
        f"no weights are known for {name!r}; choose from {', '.join(CATALOGUE)}, or give an X-CLIP (OWNER/NAME) or "
        f"RT-DETR ({RTDETR}OWNER/NAME) of the hub"
    )


def needed(params: Params) -> list[Weights]:
    """The weights of the catalogue that a project's parameters name (without the user's own files)."""
    names = [params.estimate.model if params.estimate.weights is None else "", params.train.multimodal.video]
    if params.detect.enabled:
        names.insert(0, params.detect.model)
    known = [CATALOGUE[name.removesuffix(".pt")] for name in names if name.removesuffix(".pt") in CATALOGUE]
    return known + [lookup(name) for name in names if _is_missing_from_the_hub(name)]


def _is_missing_from_the_hub(name: str) -> bool:
    on_hub = name.removeprefix(RTDETR)
    if name in CATALOGUE or name.endswith(ENDINGS) or not HUB_NAME.fullmatch(on_hub):
        return False
    from ..weights.hub_folder import find_folder  # imported here, because the hub's library takes half a second

    return find_folder(on_hub) is None


def of_preset(name: str) -> list[Weights]:
    """The weights that a preset of ``hpnet init`` needs; imported 3-D poses need none.

    Raises:
        ValueError: no such preset; lists them.
    """
    preset = presets.get(name)
    return [] if preset.poses else needed(validate(dict(preset.values), f"preset {name}"))


def here(entry: Weights, folders: list[Path]) -> bool:
    """Whether every file of a network's weights is in one of the folders."""
    return all(any((folder / file.path).is_file() for folder in folders) for file in entry.files)


def real_video_networks(name: str) -> dict[str, str]:
    """Stage -> network of a preset that reads a user's videos; nothing of one that renders or imports its own.

    Raises:
        ValueError: no such preset; lists them.
    """
    preset = presets.get(name)
    if preset.poses:
        return {}
    params = validate(dict(preset.values), f"preset {name}")
    if params.data.source != "folder":
        return {}
    return {"detect": params.detect.rated_model, "estimate": params.estimate.rated_model}


def require_weights(params: Params, *roles: str) -> None:
    """Stop before any work if weights that the parameters name are missing.

    Args:
        roles: detector, pose or video: the networks to check; by default all that the project needs.

    Raises:
        FileNotFoundError: one line per network: what to download, from where, and where to put it.
        ValueError: a searched folder has another file with the name of a packaged network.
    """
    files.require(entry for entry in needed(params) if not roles or entry.role in roles)
