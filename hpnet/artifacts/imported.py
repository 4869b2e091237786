"""Files beside imported scores: the protocol of their labels, and the training clips per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.csv_text import read_csv_text
from .files import read_json

PROTOCOL_FILE = "protocol.json"
FREQUENCIES_FILE = "frequencies.csv"


def load_protocol(folder: Path) -> str:
    """The protocol of the labels of a folder of imported scores; empty if it is not recorded.

    Raises:
        ValueError: the file does not have an import's format.
    """
    file = folder / PROTOCOL_FILE
    found = read_json(file) if file.is_file() else {"protocol": ""}
    if not isinstance(found, dict) or not isinstance(found.get("protocol"), str):
        raise ValueError(f"{file} names no protocol: import the scores again")
    return str(found["protocol"])


def load_frequencies(path: Path) -> NDArray[np.int64]:
    """Training clips per class (K,) of a frequencies.csv (columns label, count; labels 0..K-1)."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: it must hold label,count, the training clips per class")
    table = read_csv_text(path, str(path))
    if not {"label", "count"} <= set(table.columns):
        raise ValueError(f"{path} has columns {', '.join(table.columns)}; expected label and count")
    table = table[["label", "count"]].apply(pd.to_numeric, errors="coerce").sort_values("label")
    if not (table["count"] >= 0).all() or (table["count"] % 1).any():
        raise ValueError(f"{path}: every count must be a whole number of clips, from 0 on")
    if list(table.label) != list(range(len(table))):
        raise ValueError(f"{path}: labels must be 0 to K-1, each once")
    return table["count"].to_numpy(dtype=np.int64)
