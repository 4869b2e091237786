"""Weights: where they are, whether they are whole, and released key names -> ours. Nothing here runs a file's code."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from .weights_ctrgcn import convert_ctrgcn as convert_ctrgcn

State = dict[str, Tensor]
ASSETS = Path(__file__).resolve().parent / "assets"
WRAPPERS = ("state_dict", "model", "model_state_dict", "model_state", "net")
PREFIXES = ("module.", "_orig_mod.")


def search_folders() -> list[Path]:
    """Where weights are looked for, in order: $HPNET_WEIGHTS, ``weights/`` of the project, the package's own."""
    named = os.environ.get("HPNET_WEIGHTS")
    return [*([Path(named)] if named else []), Path("weights"), ASSETS]


def find(file_name: str, origin: str) -> Path:
    """The path of a weights file.

    Args:
        file_name: its name.
        origin: an address, or words, saying where it comes from.

    Raises:
        FileNotFoundError: it is in none of :func:`search_folders`; says what to fetch and where to put it.
    """
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


def load_state(path: str | Path) -> State:
    """Read the tensors of a checkpoint: safetensors, or a torch file read with ``weights_only``.

    A state dict inside ``state_dict``, ``model`` and the like is unwrapped, and a ``module.`` prefix that every key has
    is taken off. Bookkeeping of OpenMMLab's runner beside it (message buffers) is read as inert objects and dropped.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is broken, half-downloaded, would run code, or holds no tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"weights {path} are missing")
    if path.suffix == ".safetensors":
        try:
            raw: Any = load_file(path)
        except SafetensorError as error:
            raise ValueError(f"weights {path} are broken or half-downloaded ({error}): fetch them again") from None
    else:
        try:
            with _inert_bookkeeping():
                raw = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            unsafe = next((line.strip() for line in str(error).splitlines() if "GLOBAL" in line), None)
            if unsafe:
                raise ValueError(f"weights {path} hold objects besides tensors and are not loaded: {unsafe}") from None
            raise ValueError(f"weights {path} are no checkpoint, or half-downloaded: fetch them again") from None
        except (RuntimeError, EOFError, OSError, LookupError, ValueError, AttributeError) as error:
            why = str(error).strip().partition(". ")[0] or type(error).__name__
            raise ValueError(
                f"weights {path} are no checkpoint, or half-downloaded ({why}): fetch them again"
            ) from None
    return unwrap(raw, str(path))


def unwrap(raw: Any, source: str = "checkpoint") -> State:
    """The flat name -> tensor dict inside whatever a trainer saved."""
    while isinstance(raw, Mapping):
        inner = next((raw[key] for key in WRAPPERS if isinstance(raw.get(key), Mapping)), None)
        if inner is None:
            break
        raw = inner
    state = {str(k): v for k, v in raw.items() if isinstance(v, Tensor)} if isinstance(raw, Mapping) else {}
    if not state:
        raise ValueError(f"{source} holds no tensors (found {type(raw).__name__}); expected a state dict")
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


def load_into(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict strictly.

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
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for names, what in ((shapes, "of another shape"), (missing, "missing"), (unexpected, "unexpected"))
        if names
    ]
    if problems:
        raise ValueError(f"{source} does not fit this network: tensors {'; '.join(problems)}")
    for name, value in state.items():
        if not torch.isfinite(value).all():
            raise ValueError(f"{source}: tensor {name} has values that are not finite: it is garbled, fetch it again")
    module.load_state_dict(dict(state), strict=False)


class _Inert:
    """Takes the place of any bookkeeping object: accepts everything, does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


@contextlib.contextmanager
def _inert_bookkeeping() -> Iterator[None]:
    """Let torch.load read OpenMMLab's message buffers as inert objects: no function of theirs, or of numpy's, runs."""
    classes = ("mmengine.logging.history_buffer.HistoryBuffer", "mmengine.config.config.ConfigDict")
    functions = ("getattr", "scalar", "_reconstruct")
    places = {"getattr": ("builtins", "__builtin__"), "scalar": ("numpy.core.multiarray", "numpy._core.multiarray")}
    stand_ins: list[Any] = [(_Inert, name) for name in classes]
    for function in functions:
        for place in places.get(function, places["scalar"]):
            stand_ins.append((_Inert, f"{place}.{function}"))
    stand_ins += [(_Inert, "numpy.ndarray"), (_Inert, "numpy.dtype")]
    with torch.serialization.safe_globals(stand_ins):
        yield
