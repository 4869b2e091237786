"""Checkpoints: reading their tensors, and loading them into a network. Nothing here runs a file's code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..artifacts.files import readable
from .torch_file import MOST_EMPTY, Made, StoredTensor, TorchFile

State = dict[str, Tensor]
WRAPPERS = ("state_dict", "model", "model_state_dict", "model_state", "net")
PREFIXES = ("module.", "_orig_mod.")
MOST_NAME_LENGTH = 500


def load_tensors(path: Path) -> State:
    """The tensors of a safetensors file, by their names there.

    Raises:
        FileNotFoundError: no such file.
        PermissionError: no permission to read it. ValueError: it is damaged or incomplete.
    """
    try:
        state = load_file(readable(path))
    except SafetensorError as error:
        raise ValueError(f"weights {path} are broken or half-downloaded ({error}): fetch them again") from None
    for name, value in state.items():
        if not value.numel() and math.prod(max(side, 1) for side in value.shape) > MOST_EMPTY:
            raise ValueError(f"weights {path} are not loaded: tensor {name[:200]} is empty, of shape {value.shape}")
    return state


def load_state(path: str | Path) -> State:
    """Read the tensors of a checkpoint: safetensors, or a torch file (:class:`hpnet.weights.torch_file.TorchFile`).

    A state dict inside ``state_dict``, ``model`` and similar keys is unwrapped, and a ``module.`` prefix of all keys is
    removed. Other content is dropped.

    Raises:
        FileNotFoundError: no such file.
        PermissionError: it may not be read.
        ValueError: the file is broken, half-downloaded, names objects besides tensors, is over a bound of
            :mod:`hpnet.weights.torch_file`, or holds no tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"weights {path} are missing")
    if path.suffix != ".safetensors":
        file = TorchFile(path)
        return file.tensors(unwrap(file.content, str(path)))
    return unwrap(load_tensors(path), str(path))


def unwrap(raw: Any, source: str = "checkpoint") -> dict[str, Any]:
    """The flat dict of name -> tensor (or its place in a file) in a saved file.

    Raises:
        ValueError: there are no tensors, a dict contains itself, or a name is invalid.
    """
    seen: set[int] = set()
    while isinstance(raw, Mapping):
        if id(raw) in seen:
            raise ValueError(f"{source} holds a dict that holds itself; expected a state dict")
        seen.add(id(raw))
        inner = next((raw[key] for key in WRAPPERS if isinstance(raw.get(key), Mapping)), None)
        if inner is None:
            break
        raw = inner
    found = raw.items() if isinstance(raw, Mapping) else ()
    state = {str(k): v for k, v in found if isinstance(v, (Tensor, StoredTensor))}
    if not state:
        kind = raw.kind if isinstance(raw, Made) else type(raw).__name__
        raise ValueError(f"{source} holds no tensors (found {kind}); expected a state dict")
    longest = max(map(len, state))
    if longest > MOST_NAME_LENGTH:
        raise ValueError(f"{source}: a tensor has a name of {longest} letters, expected at most {MOST_NAME_LENGTH}")
    stripped = True
    while stripped:
        stripped = False
        for prefix in PREFIXES:
            if all(key.startswith(prefix) for key in state):
                state = {key.removeprefix(prefix): value for key, value in state.items()}
                stripped = True
    return state


def in_float32(state: Mapping[str, Tensor]) -> State:
    """A state dict with its floating-point tensors in float32."""
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


def require_fit(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Compare a state dict with a network (which may be on the meta device): names, shapes, finite values.

    Raises:
        ValueError: keys are missing or unexpected, or shapes differ, or values are not finite; names the first few of
            each and the file.
    """
    expected = module.state_dict()
    optional = {k for k in expected if k.endswith("num_batches_tracked")}
    missing = [k for k in expected if k not in state and k not in optional]
    unexpected = [k for k in state if k not in expected]
    shapes = [
        f"{k} {tuple(state[k].shape)} instead of {tuple(v.shape)}"
        for k, v in expected.items()
        if k in state and state[k].shape != v.shape
    ]
    problems = [
        f"{len(names)} {what} ({', '.join(name[:200] for name in names[:3])}{', ...' if len(names) > 3 else ''})"
        for names, what in ((shapes, "of another shape"), (missing, "missing"), (unexpected, "unexpected"))
        if names
    ]
    if problems:
        raise ValueError(f"{source} does not fit this network: tensors {'; '.join(problems)}")
    for name, value in state.items():
        if not torch.isfinite(value).all():
            raise ValueError(f"{source}: tensor {name} has values that are not finite: it is garbled, fetch it again")


def load_into(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict strictly; errors as of :func:`require_fit`."""
    require_fit(module, state, source)
    module.load_state_dict(dict(state), strict=False)
