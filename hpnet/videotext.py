"""X-CLIP checkpoints on disk: the packaged one, a folder, or a name on the hub of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import XCLIPConfig, XCLIPModel

from .artifacts import read_json
from .models.xclip import IMAGE_MEAN, IMAGE_SD, resample_frame_positions, with_frames
from .weights import digest, load_into, load_state, search_folders

PACKAGED = "mannequin-xclip"
CONFIG, TOKENIZER, PREPROCESSOR = "config.json", "tokenizer.json", "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")


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
    """The folder of a checkpoint: ``name`` itself, or below one of :func:`hpnet.weights.search_folders`, or the hub's.

    Raises:
        FileNotFoundError: it is nowhere, and the hub cannot be reached; says which files to put where.
    """
    places = [Path(name), *(folder / part for folder in search_folders() for part in (name, Path(name).name))]
    for place in places:
        if (place / CONFIG).is_file():
            return place
    fetch = (
        f"fetch {CONFIG}, {TOKENIZER} and {' or '.join(WEIGHTS)} of huggingface.co/{name} and put them into "
        f"{search_folders()[0] / Path(name).name}/"
    )
    if name == PACKAGED:
        raise FileNotFoundError(f"X-CLIP {name!r} is missing from the package: run `hpnet pretrain xclip`")
    if "/" not in name or Path(name).is_absolute():
        raise FileNotFoundError(
            f"X-CLIP {name!r} is no folder with a {CONFIG}, nor {PACKAGED!r}, nor a hub name OWNER/NAME"
        )
    try:
        return Path(snapshot_download(name, allow_patterns=[CONFIG, TOKENIZER, PREPROCESSOR, *WEIGHTS]))
    except HFValidationError:
        raise FileNotFoundError(f"X-CLIP {name!r} is no folder with a {CONFIG}, and no hub name OWNER/NAME") from None
    except RepositoryNotFoundError:
        raise FileNotFoundError(f"X-CLIP {name!r} is not on the hub, and no folder here has its {CONFIG}") from None
    except (LocalEntryNotFoundError, OSError):
        raise FileNotFoundError(f"X-CLIP {name!r} is not here and the hub cannot be reached: {fetch}") from None


def load_xclip(name: str, frames: int | None = None) -> XCLIPCheckpoint:
    """Load an X-CLIP by name or folder, for ``frames`` frames per clip (None: as many as it was trained with).

    Raises:
        FileNotFoundError: the checkpoint or one of its files is missing.
        ValueError: a file is broken or does not fit.
    """
    folder = find_xclip(name)
    weights = _weights_file(name, folder)
    if not (folder / TOKENIZER).is_file():
        raise FileNotFoundError(f"X-CLIP {name!r}: {folder / TOKENIZER} is missing; it belongs beside {CONFIG}")
    config = XCLIPConfig.from_dict(read_json(folder / CONFIG))
    state = {key: value.float() for key, value in load_state(weights).items() if not key.endswith("position_ids")}
    if frames is not None:
        config = with_frames(config, frames)
        state = resample_frame_positions(state, frames)
    model: Any = XCLIPModel(config)
    load_into(model, state, str(weights))
    mean, sd = IMAGE_MEAN, IMAGE_SD
    if (folder / PREPROCESSOR).is_file():
        preprocessor = read_json(folder / PREPROCESSOR)
        mean, sd = (_triple(preprocessor[key], folder) for key in ("image_mean", "image_std"))
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    return XCLIPCheckpoint(name, model.eval(), tokenizer, mean, sd, digest(weights))


def xclip_digest(name: str) -> str:
    """SHA-256 of a checkpoint's weights, for the key of a run that starts from it; loads nothing."""
    return digest(_weights_file(name, find_xclip(name)))


def xclip_image_size(name: str) -> int:
    """Side of the pictures that a checkpoint sees, pixels; loads nothing."""
    return int(XCLIPConfig.from_dict(read_json(find_xclip(name) / CONFIG)).vision_config.image_size)


def save_xclip(folder: Path, model: Any, tokenizer: Tokenizer, dtype: torch.dtype = torch.float16) -> Path:
    """Write ``config.json``, ``model.safetensors`` (in ``dtype``) and ``tokenizer.json``; the weights' path."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.detach().to("cpu", dtype).contiguous() for key, value in model.state_dict().items()}
    save_file(state, folder / WEIGHTS[0], {"format": "pt"})
    (folder / CONFIG).write_text(model.config.to_json_string(use_diff=True), encoding="utf-8")
    tokenizer.save(str(folder / TOKENIZER))
    return folder / WEIGHTS[0]


def _weights_file(name: str, folder: Path) -> Path:
    for file in WEIGHTS:
        if (folder / file).is_file():
            return folder / file
    raise FileNotFoundError(f"X-CLIP {name!r}: {folder / WEIGHTS[0]} is missing; it belongs beside {CONFIG}")


def _triple(values: Sequence[float], folder: Path) -> tuple[float, float, float]:
    if len(values) != 3:
        raise ValueError(f"{folder / PREPROCESSOR}: expected one value per RGB channel, found {values}")
    red, green, blue = (float(v) for v in values)
    return red, green, blue
