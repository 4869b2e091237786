"""Weights: where they are, whether they are whole, and released key names -> ours. Nothing here runs a file's code."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..artifacts.files import readable
from .ctrgcn import convert_ctrgcn as convert_ctrgcn
from .torch_file import MOST_EMPTY, Made, StoredTensor, TorchFile

State = dict[str, Tensor]
ASSETS = Path(__file__).resolve().parents[1] / "assets"
WRAPPERS = ("state_dict", "model", "model_state_dict", "model_state", "net")
PREFIXES = ("module.", "_orig_mod.")
MOST_NAME_LENGTH = 500
PACKAGED_NAMES = ("mannequin-yolo", "mannequin-simcc", "mannequin-xclip")
"""Networks that ship with hpnet; their names mean those files and no others."""


def search_folders() -> list[Path]:
    """Where weights are looked for, in order: $HPNET_WEIGHTS, then ``weights/`` of the project."""
    named = os.environ.get("HPNET_WEIGHTS")
    return [*([Path(named)] if named else []), Path("weights")]


def is_packaged(file_name: str) -> bool:
    """Whether a name, or a path below a weights folder, is one of the package's own networks."""
    parts = Path(file_name).parts
    return bool(parts) and Path(parts[0]).stem in PACKAGED_NAMES


def packaged(file_name: str) -> Path:
    """A file of the package's own weights. A searched folder is never asked for it.

    Raises:
        FileNotFoundError: it is missing from the package.
        ValueError: a searched folder has another file of that name, which would be taken for the one in use.
    """
    own = ASSETS / file_name
    if not own.is_file():
        raise FileNotFoundError(f"{own} is missing: reinstall hpnet, or make it with `hpnet pretrain`")
    for folder in search_folders():
        other = folder / file_name
        if other.is_file() and not other.samefile(own) and digest(other) != digest(own):
            raise ValueError(
                f"{other} is not read: {Path(file_name).parts[0]} is always the package's own. Rename that file and "
                "give it by its path, or remove it"
            )
    return own


def find(file_name: str, origin: str) -> Path:
    """The path of a weights file; of a packaged network the package's own (:func:`packaged`).

    Args:
        file_name: its name.
        origin: an address, or words, saying where it comes from.

    Raises:
        FileNotFoundError: it is in none of :func:`search_folders`; says what to fetch and where to put it.
    """
    if is_packaged(file_name):
        return packaged(file_name)
    for folder in search_folders():
        if (folder / file_name).is_file():
            return folder / file_name
    place = os.environ.get("HPNET_WEIGHTS") or "weights"
    raise FileNotFoundError(
        f"weights {file_name} are missing: fetch {origin} and put it into {place}/ (or $HPNET_WEIGHTS)"
    )


def digest(path: str | Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits; OpenMMLab's file names carry the first eight."""
    value = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            value.update(block)
    return value.hexdigest()


def load_tensors(path: Path) -> State:
    """The tensors of a safetensors file, by their names there.

    Raises:
        FileNotFoundError: no such file.
        PermissionError: it may not be read.
        ValueError: it is broken or half-downloaded.
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

    A state dict inside ``state_dict``, ``model`` and the like is unwrapped, and a ``module.`` prefix that every key has
    is taken off. Bookkeeping beside it is dropped.

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
    """The flat name -> tensor dict (tensors, or their places in a file) inside whatever a trainer saved.

    Raises:
        ValueError: there are no tensors, a dict that holds itself, or names that are no names.
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


def convert_simcc(state: Mapping[str, Tensor]) -> State:
    """Key names of the SimCC authors' (and HRNet authors') networks -> mmpose's.

    ``final_layer``, ``mlp_head_x``, ``mlp_head_y`` -> ``head.*``, everything else -> ``backbone.*``. Networks with
    deconvolutions (ResNet) keep them and the final layer under ``head.deconv_head``.
    """
    # SimCC on deconvolutions (ResNet): mmpose nests a whole heatmap head
    nested = {"deconv_layers", "mlp_head_x"} <= {key.partition(".")[0] for key in state}
    mapped: State = {}
    for key, value in state.items():
        part = key.partition(".")[0]
        if part in ("mlp_head_x", "mlp_head_y"):
            mapped[f"head.{key}"] = value
        elif part in ("final_layer", "deconv_layers"):
            mapped[f"head.deconv_head.{key}" if nested else f"head.{key}"] = value
        else:
            mapped[f"backbone.{key}"] = value
    return mapped


def convert_pose(state: Mapping[str, Tensor]) -> State:
    """A pose checkpoint's keys -> ours: OpenMMLab 1.x as they are, 0.x with its head renamed, authors' converted."""
    if not any(key.startswith("backbone.") for key in state):
        return convert_simcc(state)
    renamed = {
        f"head.{key.removeprefix('keypoint_head.')}" if key.startswith("keypoint_head.") else key: value
        for key, value in state.items()
    }
    return {k: v for k, v in renamed.items() if not k.startswith(("data_preprocessor.", "head.loss"))}


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
