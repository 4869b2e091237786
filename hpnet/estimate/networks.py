"""Pose networks from their descriptions: built by their family, with the weights that belong to them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..weights import places
from ..weights.checkpoint import load_into, load_state
from .families import NetworkSpec


def build(spec: NetworkSpec) -> nn.Module:
    """A pose network with random weights, in evaluation mode; see :mod:`hpnet.estimate.families`.

    Raises:
        ModuleNotFoundError: a library that its family needs is not installed.
    """
    network: nn.Module = _family(spec).build(spec)
    return network


def cell_centre(spec: NetworkSpec, cells: str) -> float:
    """Where a map's cells are taken to look, counted as :attr:`NetworkSpec.cell_centre`, for a value of
    ``estimate.cells``."""
    centres = {"network": spec.cell_centre, "middle": 0.5, "structure": _family(spec).FIELD_CENTRE}
    return float(centres[cells])


def load(spec: NetworkSpec, weights_path: str | None = None) -> tuple[nn.Module, str]:
    """A pose network with its weights, in evaluation mode, and the digest of the weights' file.

    Raises:
        FileNotFoundError: the weights are missing; says what to download and where to put it.
        ValueError: they are damaged, or of another network.
    """
    path = weights_file(spec, weights_path)
    return with_weights(spec, load_state(path), path), places.digest(path)


def with_weights(spec: NetworkSpec, state: Mapping[str, Tensor], source: str) -> nn.Module:
    """A pose network with a checkpoint's tensors, under any names that its family knows, in evaluation mode.

    Args:
        source: name of their place, for messages.

    Raises:
        ValueError: they are of another network.
    """
    network = build(spec)
    named = _family(spec).own_names(state)
    load_into(network, {k: v for k, v in named.items() if not k.startswith(spec.leaves_out)}, source)
    return network


def weights_file(spec: NetworkSpec, weights_path: str | None = None) -> str:
    """The weights file of a network: the given path, or the file in the first search folder that has it.

    Raises:
        FileNotFoundError: it is missing; says what to download and where to put it.
    """
    if weights_path is None:
        fetch = f" (`hpnet weights fetch {spec.name}`)" if spec.weights_from.startswith("https://") else ""
        return str(places.find(spec.weights_file, spec.weights_from + fetch))
    if Path(weights_path).is_file():
        return weights_path
    try:
        return str(places.find(weights_path, f"{spec.weights_from}, or correct estimate.weights"))
    except FileNotFoundError:
        raise FileNotFoundError(f"estimate.weights: {weights_path} is missing: fetch {spec.weights_from}") from None


def _family(spec: NetworkSpec) -> Any:
    return importlib.import_module(spec.family)
