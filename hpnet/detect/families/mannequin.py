"""mannequin-yolo, the packaged YOLO, and files of `hpnet pretrain detector`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file

from ...artifacts.files import writing
from ...weights.checkpoint import load_into, load_state
from ...weights.places import ASSETS, packaged
from ..detector import PERSON
from ..library import ultralytics
from ..yolo import UltralyticsDetector, YoloNetwork, person_of

NAME = "mannequin-yolo"
PACKAGED = f"{NAME}.safetensors"


def build(source: str, **options: Any) -> UltralyticsDetector:
    """The detector of ``source``: mannequin-yolo, or a file of its weights. Errors as of :func:`mannequin_file`."""
    return UltralyticsDetector(load_network(packaged_config(), mannequin_file(source)), **options)


def files(source: str) -> tuple[Path, ...]:
    """The files that :func:`build` reads."""
    return (mannequin_file(source),)


def mannequin_file(source: str) -> Path:
    """The weights of mannequin-yolo: the packaged file, or ``source`` if it is a path.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: a weights folder has another file with the name of the packaged one.
    """
    if source in ("", NAME):
        return packaged(PACKAGED)
    if not Path(source).is_file():
        raise FileNotFoundError(f"detect.model: {source} is missing: `hpnet pretrain detector` writes such a file")
    return Path(source)


def packaged_config() -> dict[str, Any]:
    """The network of mannequin-yolo, as an ultralytics model description."""
    config: dict[str, Any] = yaml.safe_load((ASSETS / f"{NAME}.yaml").read_text(encoding="utf-8"))
    return config


def build_network(config: dict[str, Any]) -> torch.nn.Module:
    """An ultralytics DetectionModel with random weights and the single class person."""
    network: torch.nn.Module = ultralytics().DetectionModel(dict(config), nc=1, verbose=False)
    network.names = {0: PERSON}  # type: ignore[assignment]
    network.args = ultralytics().defaults
    return network


def save_network(network: torch.nn.Module, file: Path) -> None:
    """Write the weights as float16 safetensors, without the counters of batch norm."""
    state = {
        name: value.detach().to("cpu", torch.float16).contiguous()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    with writing(file) as fresh:
        save_file(state, fresh)


def load_network(config: dict[str, Any], file: Path) -> torch.nn.Module:
    """A network of ``config`` with the weights of :func:`save_network`, float32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is broken, or its weights are of another network.
    """
    network = build_network(config)
    load_into(network, {name: value.float() for name, value in load_state(file).items()}, str(file))
    return network


def graph(source: str) -> tuple[torch.nn.Module, str, int]:
    """The network to write as a graph; see :mod:`hpnet.detect.families`."""
    network = load_network(packaged_config(), mannequin_file(source))
    return YoloNetwork(network), "yolo", person_of(network)
