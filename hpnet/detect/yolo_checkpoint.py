"""ultralytics' checkpoints (.pt) read as data: the network, its tensors and its class names.

A checkpoint is a pickled network. Its classes are not imported and its description of the layers is not used. The
tensors' names and shapes say which network of :data:`KINDS` it is. This network is then built from ultralytics' own
files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..weights.torch_file import Made, StoredTensor, TorchFile

MOST_MODULES = 20_000
MOST_DEPTH = 50
MOST_CLASSES = 10_000
MOST_LETTERS = 200

_BUILT_AS = {"Silence": "Identity"}
"""Layers whose names changed: name in an old checkpoint -> name that ultralytics builds today."""
_SETTINGS = (
    "kernel_size", "stride", "padding", "dilation", "groups", "eps", "scale_factor", "mode", "negative_slope",
)  # fmt: skip
"""Settings of single layers that change their result but are not tensors."""


@dataclass(frozen=True)
class Kind:
    """A network that ultralytics describes.

    Attributes:
        description: its file below ultralytics' ``cfg/models``; empty: hpnet's own mannequin-yolo.
        scale: one of the sizes in that file; empty if it has only one.
        last_layer, channels, tensors: number of the last layer, channels of the first convolution, and tensors without
            the counters of batch norm. No two kinds have the same three numbers.
    """

    description: str
    scale: str
    last_layer: int
    channels: int
    tensors: int


def _sizes(name: str, description: str, last_layer: int, **sizes: tuple[int, int]) -> dict[str, Kind]:
    """A family's kinds by name: size -> (channels, tensors)."""
    return {name.format(size): Kind(description, size, last_layer, *pair) for size, pair in sizes.items()}


def _files(name: str, folder: str, **files: tuple[int, int, int]) -> dict[str, Kind]:
    """The kinds of a family that has a file for each size: size -> (last layer, channels, tensors)."""
    return {name.format(size): Kind(f"{folder}/{name.format(size)}.yaml", "", *three) for size, three in files.items()}


KINDS: dict[str, Kind] = {
    "mannequin-yolo": Kind("", "", 22, 16, 508),
    "yolov3u": Kind("v3/yolov3.yaml", "", 28, 32, 433),
    "yolov3-sppu": Kind("v3/yolov3-spp.yaml", "", 28, 32, 438),
    "yolov3-tinyu": Kind("v3/yolov3-tiny.yaml", "", 20, 16, 104),
    **_sizes(
        "yolov5{}u", "v5/yolov5.yaml", 24,
        n=(16, 358), s=(32, 358), m=(48, 468), l=(64, 578), x=(80, 688),
    ),
    **_sizes(
        "yolov5{}6u", "v5/yolov5-p6.yaml", 33,
        n=(16, 472), s=(32, 472), m=(48, 612), l=(64, 752), x=(80, 892),
    ),
    **_sizes(
        "yolov6{}", "v6/yolov6.yaml", 28,
        n=(16, 282), s=(32, 282), m=(48, 412), l=(64, 542), x=(80, 542),
    ),
    **_sizes(
        "yolov8{}", "v8/yolov8.yaml", 22,
        n=(16, 298), s=(32, 298), m=(48, 398), l=(64, 498), x=(80, 498),
    ),
    **_sizes(
        "yolov8{}-p2", "v8/yolov8-p2.yaml", 28,
        n=(16, 367), s=(32, 367), m=(48, 487), l=(64, 607), x=(80, 607),
    ),
    **_sizes(
        "yolov8{}-p6", "v8/yolov8-p6.yaml", 30,
        n=(16, 392), s=(32, 392), m=(48, 522), l=(64, 652), x=(80, 652),
    ),
    **_files(
        "yolov9{}", "v9",
        t=(22, 16, 1118), s=(22, 32, 1118), m=(22, 32, 758), c=(22, 64, 783), e=(42, 64, 1513),
    ),
    **_files(
        "yolov10{}", "v10",
        n=(23, 16, 500), s=(23, 32, 520), m=(23, 48, 670), b=(23, 64, 700), l=(23, 64, 860), x=(23, 80, 950),
    ),
    **_sizes(
        "yolo11{}", "11/yolo11.yaml", 23,
        n=(16, 418), s=(32, 418), m=(64, 543), l=(64, 848), x=(96, 848),
    ),
    **_sizes(
        "yolo12{}", "12/yolo12.yaml", 21,
        n=(16, 578), s=(32, 578), m=(64, 628), l=(64, 1040), x=(96, 1040),
    ),
    **_sizes(
        "yolo26{}", "26/yolo26.yaml", 23,
        n=(16, 594), s=(32, 594), m=(64, 644), l=(64, 914), x=(96, 914),
    ),
    **_sizes(
        "yolo26{}-p2", "26/yolo26-p2.yaml", 29,
        n=(16, 757), s=(32, 757), m=(64, 807), l=(64, 1147), x=(96, 1147),
    ),
    **_sizes(
        "yolo26{}-p6", "26/yolo26-p6.yaml", 31,
        n=(16, 807), s=(32, 807), m=(64, 857), l=(64, 1232), x=(96, 1232),
    ),
}  # fmt: skip
"""The detection networks that are read, by name."""
FAMILIES = "YOLOv3u, YOLOv5u, v6, v8, v9, v10, YOLO11, 12 and 26 (detection)"
REMEDY = "train or fetch one of those, or give RT-DETR of transformers as rtdetr:FOLDER"


@dataclass(frozen=True)
class YoloCheckpoint:
    """The parts of a checkpoint that are used.

    Attributes:
        kind: a name in :data:`KINDS`.
        state: tensors by name, as in the file.
        names: class names by number.
        modules: every layer by its path, as in the file.
    """

    kind: str
    state: dict[str, Tensor]
    names: dict[int, str]
    modules: dict[str, Made]


def read_checkpoint(path: Path) -> YoloCheckpoint:
    """A detection checkpoint of ultralytics (its averaged weights, if it has them). Nothing in it is run.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, over a limit, not a detection checkpoint, or of a network that is not in
            :data:`KINDS`.
    """
    file = TorchFile(path)
    content = file.content
    root = (content.get("ema") or content.get("model")) if isinstance(content, dict) else None
    if not isinstance(root, Made):
        raise ValueError(
            f"{path} holds {type(root if isinstance(content, dict) else content).__name__}, expected an ultralytics "
            "DetectionModel, as its training writes it"
        )
    if root.kind.startswith("models."):
        raise ValueError(
            f"{path} is of the first YOLOv5, with anchors, which is not supported: use the same network's file whose "
            f"name ends in u (`hpnet weights fetch yolov5mu`)"
        )
    if root.kind != "ultralytics.nn.tasks.DetectionModel":
        raise ValueError(f"{path} holds {root.kind}, expected an ultralytics DetectionModel: supported are {FAMILIES}")
    modules = dict(_walk(root, path))
    stored = {
        f"{prefix}.{name}" if prefix else name: tensor
        for prefix, module in modules.items()
        for name, tensor in _own_tensors(module, path)
    }
    kind = _kind(stored, path)
    return YoloCheckpoint(kind, file.tensors(stored), _class_names(root.attribute("names"), path), modules)


def require_layers(network: nn.Module, modules: Mapping[str, Made], source: str) -> None:
    """Compare the layers and settings of a network with those in a file.

    Networks with equal tensors can differ, for example in the activation.

    Raises:
        ValueError: a layer is of another class or has another setting; names it.
    """
    for name, module in network.named_modules(remove_duplicate=False):
        stored = modules.get(name)
        if stored is None or next(module.children(), None) is not None:
            continue
        written = stored.kind.rpartition(".")[2]
        built = type(module).__name__
        if next(module.parameters(), None) is None and _BUILT_AS.get(written, written) != built:
            raise ValueError(f"{source}: layer {name} is {written[:100]}, hpnet builds {built}: another network")
        for setting in _SETTINGS:
            theirs, ours = stored.attribute(setting), getattr(module, setting, None)
            if _plain(theirs) and _plain(ours) and theirs is not None and theirs != ours:
                raise ValueError(
                    f"{source}: layer {name} has {setting} {str(theirs)[:100]}, hpnet builds {ours}: another network"
                )


def _plain(value: Any) -> bool:
    values = value if isinstance(value, tuple) and len(value) <= 4 else (value,)
    return all(isinstance(v, (int, float, str, type(None))) for v in values)


def _walk(root: Made, path: Path) -> Iterator[tuple[str, Made]]:
    """The network and its layers, by path; the root's is empty."""
    waiting = [("", root, 0)]
    count = 0
    while waiting:
        prefix, module, depth = waiting.pop()
        count += 1
        if count > MOST_MODULES or depth > MOST_DEPTH:
            raise ValueError(f"{path}: more than {MOST_MODULES:,} layers, or {MOST_DEPTH} inside each other")
        yield prefix, module
        parts = [(name, part) for name, part in _entries(module, "_modules", path) if part is not None]
        for name, part in reversed(parts):
            if not isinstance(part, Made):
                raise ValueError(f"{path}: {prefix}.{name} is not a layer")
            waiting.append((f"{prefix}.{name}" if prefix else name, part, depth + 1))


def _entries(module: Made, what: str, path: Path) -> list[tuple[str, Any]]:
    """A module's dict of that name; its keys are checked, because they become parts of a path."""
    entries = module.attribute(what)
    if entries is None:
        return []
    if not isinstance(entries, dict) or len(entries) > MOST_MODULES:
        raise ValueError(f"{path}: {what} of a {module.kind} is not a dict of layers or tensors")
    for name in entries:
        if not isinstance(name, str) or not 0 < len(name) <= MOST_LETTERS or "." in name:
            raise ValueError(f"{path}: {what} of a {module.kind} has an invalid name")
    return list(entries.items())


def _own_tensors(module: Made, path: Path) -> Iterator[tuple[str, StoredTensor]]:
    """Parameters and the buffers that are in a state dict."""
    passing = module.attribute("_non_persistent_buffers_set")
    left_out = {name for name in passing if isinstance(name, str)} if isinstance(passing, list) else set()
    for what in ("_parameters", "_buffers"):
        for name, value in _entries(module, what, path):
            if value is None or (what == "_buffers" and name in left_out):
                continue
            if not isinstance(value, StoredTensor):
                raise ValueError(f"{path}: {name} of a {module.kind} is not a tensor")
            yield name, value


def _kind(stored: Mapping[str, StoredTensor], path: Path) -> str:
    counted = [name for name in stored if not name.endswith("num_batches_tracked")]
    layers = [int(parts[1]) for name in counted if len(parts := name.split(".")) > 2 and parts[1].isdecimal()]
    first = next((size for i in (0, 1) if (size := _first_channels(stored, i))), 0)
    found = (max(layers, default=0), first, len(counted))
    for name, kind in KINDS.items():
        if (kind.last_layer, kind.channels, kind.tensors) == found:
            return name
    fused = any(name.endswith(".conv.bias") for name in stored) and not any(".bn." in name for name in stored)
    raise ValueError(
        f"{path} is of a network that hpnet does not know (last layer {found[0]}, {first} channels in the first, "
        f"{found[2]} tensors{'; it is fused, take the unfused one' if fused else ''}). Known are {FAMILIES} in "
        f"ultralytics' own sizes: {REMEDY}"
    )


def _first_channels(stored: Mapping[str, StoredTensor], layer: int) -> int:
    weight = stored.get(f"model.{layer}.conv.weight")
    return weight.size[0] if weight is not None and weight.size else 0


def _class_names(names: Any, path: Path) -> dict[int, str]:
    listed = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(listed, dict) or not 0 < len(listed) <= MOST_CLASSES:
        raise ValueError(f"{path}: expected 1 to {MOST_CLASSES:,} class names by number")
    for index in range(len(listed)):
        if not isinstance(listed.get(index), str) or len(listed[index]) > MOST_LETTERS:
            raise ValueError(f"{path}: class {index} has no name of at most {MOST_LETTERS} letters")
    return {index: listed[index] for index in range(len(listed))}
