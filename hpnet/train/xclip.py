"""X-CLIP checkpoints on disk: the packaged one, a folder, or a name on the hub of transformers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import XCLIPConfig, XCLIPModel

from ..artifacts.files import writing
from ..models.xclip import IMAGE_MEAN, IMAGE_SD, resample_frame_positions, with_frames
from ..weights.checkpoint import load_into, load_state
from ..weights.hub_folder import (
    CONFIG,
    WEIGHTS,
    find_folder,
    offline,
    plain_config,
    require_size,
    small_json,
    weights_in,
)
from ..weights.places import digest, packaged, search_folders

PACKAGED = "mannequin-xclip"
TOKENIZER, PREPROCESSOR = "tokenizer.json", "preprocessor_config.json"
MOST_TOKENIZER_BYTES = 64 << 20


@dataclass(frozen=True)
class XCLIPCheckpoint:
    """A pretrained X-CLIP, on the CPU, float32, in evaluation mode.

    Attributes:
        model: transformers' ``XCLIPModel``.
        mean, sd: of the RGB channels (0..1) that it was trained with.
        digest: SHA-256 of the weights file.
    """

    name: str
    model: Any
    tokenizer: Tokenizer
    mean: tuple[float, float, float]
    sd: tuple[float, float, float]
    digest: str


def find_xclip(name: str) -> Path:
    """The folder of a checkpoint: the packaged one, a folder, one below a weights folder, or the hub's cache.

    Raises:
        FileNotFoundError: it is not on this machine; says how to download it.
    """
    folder = find_folder(name, (TOKENIZER, PREPROCESSOR))
    if folder is not None:
        if name == PACKAGED:
            packaged(f"{PACKAGED}/{WEIGHTS[0]}")  # another folder of that name would be confusing
        return folder
    if name == PACKAGED:
        raise FileNotFoundError(f"X-CLIP {name!r} is missing from the package: run `hpnet pretrain xclip`")
    if "/" not in name or Path(name).is_absolute():
        raise FileNotFoundError(
            f"X-CLIP {name!r} is not a folder with a {CONFIG}, not {PACKAGED!r}, and not a hub name OWNER/NAME"
        )
    raise FileNotFoundError(
        f"X-CLIP {name!r} is not here: `hpnet weights fetch {name}`, or fetch {CONFIG}, {TOKENIZER} and "
        f"{' or '.join(WEIGHTS)} of huggingface.co/{name} and put them into {search_folders()[0] / Path(name).name}/"
    )


def load_xclip(name: str, frames: int | None = None) -> XCLIPCheckpoint:
    """Load an X-CLIP by name or folder, for ``frames`` frames per clip (None: as many as it was trained with).

    Nothing is downloaded, whatever its config.json names.

    Raises:
        FileNotFoundError: the checkpoint or one of its files is missing.
        ValueError: a file is broken or does not fit.
    """
    folder = find_xclip(name)
    weights = weights_in(folder, f"X-CLIP {name!r}")
    if not (folder / TOKENIZER).is_file():
        raise FileNotFoundError(f"X-CLIP {name!r}: {folder / TOKENIZER} is missing; it must be beside {CONFIG}")
    config = _config(folder)
    state = {key: value.float() for key, value in load_state(weights).items() if not key.endswith("position_ids")}
    require_size(config, XCLIPModel, sum(value.numel() for value in state.values()), str(folder / CONFIG))
    if frames is not None:
        config = with_frames(config, frames)
        state = resample_frame_positions(state, frames)
    with offline():
        model: Any = XCLIPModel(config)
    load_into(model, state, str(weights))
    mean, sd = IMAGE_MEAN, IMAGE_SD
    if (folder / PREPROCESSOR).is_file():
        preprocessor = small_json(folder / PREPROCESSOR)
        mean, sd = (_triple(preprocessor.get(key), key, folder) for key in ("image_mean", "image_std"))
    return XCLIPCheckpoint(name, model.eval(), _tokenizer(folder / TOKENIZER), mean, sd, digest(weights))


def _config(folder: Path) -> XCLIPConfig:
    return plain_config(small_json(folder / CONFIG), XCLIPConfig, str(folder / CONFIG))


def _tokenizer(file: Path) -> Tokenizer:
    if file.stat().st_size > MOST_TOKENIZER_BYTES:
        raise ValueError(f"{file} has {file.stat().st_size:,} bytes, expected at most {MOST_TOKENIZER_BYTES:,}")
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # noqa: BLE001  (the tokenizers library has no class of its own for a broken file)
        raise ValueError(f"{file} is no tokenizer ({str(error)[:200]})") from None


def xclip_digest(name: str) -> str:
    """SHA-256 of a checkpoint's weights, for the key of a run that starts from it; loads nothing."""
    return digest(weights_in(find_xclip(name), f"X-CLIP {name!r}"))


def xclip_image_size(name: str) -> int:
    """Side of a checkpoint's input images, pixels; loads nothing."""
    return int(_config(find_xclip(name)).vision_config.image_size)


def save_xclip(folder: Path, model: Any, tokenizer: Tokenizer, dtype: torch.dtype = torch.float16) -> Path:
    """Write ``config.json``, ``model.safetensors`` (in ``dtype``) and ``tokenizer.json``; the weights' path."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.detach().to("cpu", dtype).contiguous() for key, value in model.state_dict().items()}
    with writing(folder / WEIGHTS[0]) as file:
        save_file(state, file, {"format": "pt"})
    (folder / CONFIG).write_text(model.config.to_json_string(use_diff=True), encoding="utf-8")
    tokenizer.save(str(folder / TOKENIZER))
    return folder / WEIGHTS[0]


def _triple(values: Any, key: str, folder: Path) -> tuple[float, float, float]:
    numbers = values if isinstance(values, list) else []
    if len(numbers) != 3 or not all(isinstance(v, (int, float)) and math.isfinite(v) for v in numbers):
        raise ValueError(f"{folder / PREPROCESSOR}: {key} is {str(values)[:100]}, expected a number per RGB channel")
    red, green, blue = (float(v) for v in numbers)
    return red, green, blue
