"""ultralytics' checkpoints: YOLOs by their published names (``yolo11n``), or by the path of a .pt file."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
import yaml

from ...core.reading import decoding
from ...weights.checkpoint import in_float32, load_into
from ...weights.places import find
from ..library import ultralytics
from ..yolo import UltralyticsDetector, YoloNetwork, person_of
from ..yolo_checkpoint import KINDS, read_checkpoint, require_layers
from .mannequin import packaged_config


def build(source: str, **options: Any) -> UltralyticsDetector:
    """The detector of a name or path. Errors as of :func:`checkpoint_file` and :func:`load_checkpoint`."""
    return UltralyticsDetector(load_checkpoint(checkpoint_file(source)), **options)


def files(source: str) -> tuple[Path, ...]:
    """The files that :func:`build` reads."""
    return (checkpoint_file(source),)


def checkpoint_file(source: str) -> Path:
    """The .pt file of an ultralytics name (``yolo11n``) or path; bare names are searched in the weights folders.

    Raises:
        FileNotFoundError: it is missing; says what to download and where to put it.
    """
    file = Path(source if source.endswith(".pt") else f"{source}.pt")
    if file.is_file():
        return file
    if file.parent != Path():
        raise FileNotFoundError(f"detect.model: {file} is missing: put an ultralytics checkpoint there")
    return find(file.name, f"{file.name} from https://github.com/ultralytics/assets/releases")


def load_checkpoint(file: Path) -> torch.nn.Module:
    """The network of an ultralytics .pt file, float32: its tensors and class names, in a network that hpnet builds.

    Nothing that the file names is imported, called or fetched; see :mod:`hpnet.detect.yolo_checkpoint`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a detection checkpoint, is damaged, or is of an unknown network.
    """
    if not file.is_file():
        raise FileNotFoundError(f"detect.model: {file} is missing: put an ultralytics checkpoint there")
    try:
        with decoding(file, "fetch it again"):
            checkpoint = read_checkpoint(file)
            network: torch.nn.Module = ultralytics().DetectionModel(
                description(checkpoint.kind), nc=len(checkpoint.names), verbose=False
            )
            load_into(network, in_float32(checkpoint.state), str(file))
            require_layers(network, checkpoint.modules, str(file))
    except ValueError as error:
        raise ValueError(f"detect.model: {error}") from None
    network.names = checkpoint.names  # type: ignore[assignment]
    network.args = ultralytics().defaults
    return network


def description(kind: str) -> dict[str, Any]:
    """A known network as an ultralytics model description: the packaged one, or ultralytics' own file."""
    known = KINDS[kind]
    if not known.description:
        return packaged_config()
    spec = importlib.util.find_spec("ultralytics")
    file = Path(str(spec.origin if spec else "")).parent / "cfg" / "models" / known.description
    config: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {**config, "scale": known.scale} if known.scale else config


def graph(source: str) -> tuple[torch.nn.Module, str, int]:
    """The network to write as a graph; see :mod:`hpnet.detect.families`."""
    network = load_checkpoint(checkpoint_file(source))
    return YoloNetwork(network), "yolo", person_of(network)
