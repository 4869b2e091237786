"""Descriptions of classes in a user's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.csv_text import read_csv_text
from .files import read_json, require_columns

EXPECTED = "a CSV of class,description (a row for each description), or JSON of class -> description or descriptions"


def read_descriptions(file: Path) -> dict[str, tuple[str, ...]]:
    """Class name -> its descriptions, in the order of the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not a table of descriptions, a description is empty, or two are equal; names it.
    """
    if not file.is_file():
        raise FileNotFoundError(f"train.multimodal.text: {file} is missing\nexpected {EXPECTED}")
    rows = _of_json(file) if file.suffix == ".json" else _of_csv(file)
    found: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    for name, text in rows:
        plain = " ".join(text.split())
        if not plain:
            raise ValueError(f"{file}: a description of class {name!r} is empty: write it, or remove the row")
        if plain.lower() in first:
            raise ValueError(
                f"{file}: classes {first[plain.lower()]!r} and {name!r} have the same description {plain!r:.100}"
                "\nno text encoder can tell them apart: change or remove one"
            )
        first[plain.lower()] = name
        found.setdefault(name, []).append(plain)
    return {name: tuple(texts) for name, texts in found.items()}


def _of_csv(file: Path) -> list[tuple[str, str]]:
    table = read_csv_text(file, f"train.multimodal.text: {file}")
    require_columns(table, ("class", "description"), f"train.multimodal.text: {file}")
    return [(str(name), str(text)) for name, text in zip(table["class"], table["description"], strict=True)]


def _of_json(file: Path) -> list[tuple[str, str]]:
    raw = read_json(file)
    if not isinstance(raw, dict):
        raise ValueError(f"train.multimodal.text: {file} is {type(raw).__name__}, expected {EXPECTED}")
    rows = []
    for name, value in raw.items():
        texts: list[Any] = value if isinstance(value, list) else [value]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"train.multimodal.text: {file}: class {name!r} has {value!r:.100}, expected {EXPECTED}")
        rows += [(str(name), text) for text in texts]
    return rows
