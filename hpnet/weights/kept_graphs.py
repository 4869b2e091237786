"""Networks that were written as ONNX files once and are kept, until something that they were made of is another."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..artifacts.files import read_object, write_json
from ..work.locks import locked

CARD = "card.json"
NETWORK = "network.onnx"


def kept_graph(
    folder: Path, key: Mapping[str, Any], write: Callable[[Path], Mapping[str, Any]]
) -> tuple[Path, dict[str, Any]]:
    """The file of a network and its card; written where they are not there yet.

    Of several processes one writes and the others wait.

    Args:
        folder: of all kept networks; each has a folder of its own.
        key: JSON values, everything that decides what is written, besides the version of torch.
        write: writes the network into a file and returns its card, JSON values.
    """
    whole = {**key, "torch": importlib.metadata.version("torch")}
    name = hashlib.blake2b(json.dumps(whole, sort_keys=True).encode(), digest_size=16).hexdigest()
    place = folder / name
    if not (place / CARD).is_file():  # the card comes last: with it everything is there
        with locked(folder / f"{name}.lock"):
            if not (place / CARD).is_file():
                write_json(place / CARD, dict(write(place / NETWORK)))
    return place / NETWORK, read_object(place / CARD)
