"""CSV files: reading files of other programs, and writing files that read back equal."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd


def read_csv_text(file: Path, name: str) -> pd.DataFrame:
    """Read a CSV of another program, every field as text.

    Args:
        name: name of the file in errors.

    Raises:
        ValueError: it is not a CSV, or a line has more fields than the first.
    """
    try:
        rows = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{name} cannot be read as CSV ({' '.join(str(error).split())})") from None
    if not isinstance(rows.index, pd.RangeIndex):
        raise ValueError(f"{name}: lines have more fields than the first, which names the columns")
    return rows


def write_csv(table: pd.DataFrame, file: Path) -> None:
    """Write a table so that it reads back equal.

    Python's writer does not quote a carriage return, and readers treat it as the end of the line. So if there is one,
    all text is quoted.

    Raises:
        ValueError: a text cannot be in a CSV (it is not UTF-8, or has a zero byte); names the file and the text.
    """
    quoting: int = csv.QUOTE_MINIMAL
    for column in table.columns:
        if pd.api.types.is_numeric_dtype(table[column]):
            continue
        for value in table[column]:
            text = str(value)
            if "\0" in text or (not text.isascii() and not _is_utf8(text)):
                raise ValueError(f"{file}: {column} {text!r:.200} is not UTF-8, or holds a zero byte: rename it")
            if "\r" in text:
                quoting = csv.QUOTE_NONNUMERIC
    table.to_csv(file, index=False, quoting=quoting)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
