"""Folders of transformers' networks (X-CLIP, RT-DETR): their place, and their config.json as plain data with limits.

Nothing here uses the network: a name of the hub means files of `hpnet weights fetch` or of the hub's cache on this
machine. A configuration is read key by key. A key that names code, another library's network or another place is
refused. Unknown keys are left out, and sizes are limited before anything is built.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from ..artifacts.files import read_json
from .places import ASSETS, PACKAGED_NAMES, search_folders

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
MOST_JSON_BYTES = 4 << 20
MOST_NUMBER = 1_000_000
MOST_LAYERS = 100
MOST_SIDE_PX = 4096
MOST_LISTED = 10_000
MOST_LETTERS = 200

_REFUSED = (
    "auto_map", "backbone", "use_timm_backbone", "use_pretrained_backbone", "backbone_kwargs", "quantization_config",
    "custom_pipelines",
)  # fmt: skip
_NOT_OF_THE_NETWORK = ("transformers_version", "architectures", "dtype", "name_or_path")
_OLDER = {"text_config_dict": "text_config", "vision_config_dict": "vision_config"}


def find_folder(name: str, also: Sequence[str] = ()) -> Path | None:
    """The folder with a config.json for ``name``: a path, below a weights folder, or in the hub's cache.

    Args:
        also: further files, besides config.json and weights, that are searched in the hub's cache.
    """
    if name in PACKAGED_NAMES:
        return ASSETS / name if (ASSETS / name / CONFIG).is_file() else None
    places = [Path(name), *(folder / part for folder in search_folders() for part in (name, Path(name).name))]
    for place in places:
        if (place / CONFIG).is_file():
            return place
    with contextlib.suppress(HFValidationError, LocalEntryNotFoundError):
        cached = Path(snapshot_download(name, local_files_only=True, allow_patterns=[CONFIG, *WEIGHTS, *also]))
        return cached if (cached / CONFIG).is_file() else None
    return None


def weights_in(folder: Path, what: str) -> Path:
    """The weights of a folder, safetensors first; a missing file is an error that names it."""
    for file in WEIGHTS:
        if (folder / file).is_file():
            return folder / file
    raise FileNotFoundError(f"{what}: {folder / WEIGHTS[0]} is missing; it belongs beside {CONFIG}")


def small_json(file: Path) -> dict[str, Any]:
    """A JSON object of at most 4 MiB.

    Raises:
        ValueError: it is larger, broken, or no object.
    """
    if file.stat().st_size > MOST_JSON_BYTES:
        raise ValueError(f"{file} has {file.stat().st_size:,} bytes, expected at most {MOST_JSON_BYTES:,}")
    raw = read_json(file)
    if not isinstance(raw, dict):
        raise ValueError(f"{file} holds a {type(raw).__name__}, expected an object")
    return raw


def plain_config(raw: Mapping[str, Any], kind: Any, source: str) -> Any:
    """A configuration of transformers' class ``kind`` from a config.json.

    Raises:
        ValueError: it is of another network, names code or a place, or a value is over a limit; names the key.
    """
    written = raw.get("model_type", kind.model_type)
    if written != kind.model_type:
        raise ValueError(f"{source} is of {str(written)[:100]!r}, expected {kind.model_type!r}")
    with in_words(source):
        known: dict[str, Any] = kind().to_dict()
        return kind.from_dict(_checked(raw, known, source))


def _checked(raw: Mapping[str, Any], known: Mapping[str, Any], source: str) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in raw.items():
        if key in _REFUSED and value:
            raise ValueError(
                f"{source}: {key} {str(value)[:100]!r} names what is not in the folder, which is never fetched or run; "
                "only networks whose config.json describes them whole are read"
            )
        like = known.get(_OLDER.get(key, key))
        if isinstance(like, dict) and key.removesuffix("_dict").endswith("_config"):
            if value is not None:
                kept[key] = _part(value, like, f"{source}: {key}")
        elif key in known and key not in _NOT_OF_THE_NETWORK and not key.startswith("_"):
            _require_small(key, value, source)
            kept[key] = value
    return kept


def _part(value: Any, like: Mapping[str, Any], source: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{source} is no object")
    written = value.get("model_type", like["model_type"])
    if written != like["model_type"]:
        raise ValueError(f"{source} is of {str(written)[:100]!r}; only {like['model_type']!r} is built here")
    return _checked(value, like, source)


def _require_small(key: str, value: Any, source: str) -> None:
    values: list[Any] = [value]
    if isinstance(value, dict):
        values = [*value.keys(), *value.values()]
    elif isinstance(value, list):
        values = value
    layers = "layers" in key or key == "depths"
    most = MOST_LAYERS if layers else MOST_SIDE_PX if key.endswith("_size") and _is_side(key) else MOST_NUMBER
    if len(values) > MOST_LISTED:
        raise ValueError(f"{source}: {key} has {len(values):,} entries, expected at most {MOST_LISTED:,}")
    for one in values:
        if isinstance(one, str):
            fits = len(one) <= MOST_LETTERS
        elif isinstance(one, (int, float)):
            fits = math.isfinite(one) and abs(one) <= most
        else:
            fits = one is None
        if not fits:
            raise ValueError(f"{source}: {key} is {str(one)[:50]}, expected a plain value of at most {most:,}")


def _is_side(key: str) -> bool:
    return key in ("image_size", "patch_size", "eval_size", "anchor_image_size")


def require_size(config: Any, kind: Any, held: int, source: str) -> None:
    """Compare a network's size with its file's, before memory is allocated for it.

    Args:
        held: number of values in the file's tensors.

    Raises:
        ValueError: no network can be made from the configuration, or it is larger than the file.
    """
    import torch

    with in_words(source), torch.device("meta"):
        network = kind(config)
    needed = sum(parameter.numel() for parameter in network.parameters())
    if needed > held:
        raise ValueError(f"{source} describes a network of {needed:,} numbers, its weights have {held:,}")


@contextlib.contextmanager
def in_words(source: str) -> Iterator[None]:
    """Turn errors of transformers on inconsistent values into one sentence that names the file."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(source):
            raise
        raise ValueError(
            f"{source}: no network can be made from it ({' '.join(str(error).split())[:200] or type(error).__name__})"
        ) from None


@contextlib.contextmanager
def without_words() -> Iterator[None]:
    """In this block transformers prints nothing, because its reports hold names from the file."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """In this block the hub's libraries do not use the network, for every setting of the environment."""
    with mock.patch.object(constants, "HF_HUB_OFFLINE", True):
        yield
