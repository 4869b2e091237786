"""CSV files: reading them with bounds, every field as text or by declared types, and writing files that read back
equal."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .reading import Damaged, decoding, read_bytes, require_at_most

MOST_CSV_BYTES = 256 << 20
MOST_CELLS = 40_000_000
"""Lines times columns; the scores of a data set of 120 classes have a third of that."""


def read_csv_text(file: Path, name: str) -> pd.DataFrame:
    """Read a CSV of another program, every field as text.

    Args:
        name: name of the file in errors.

    Raises:
        ValueError: it is not a CSV, a line has more fields than the first, or it is over a bound.
    """
    return _parsed(file, name, str)


def read_csv(file: Path, text: Collection[str], whole: Collection[str] = (), remedy: str = "") -> pd.DataFrame:
    """Read a CSV of our own.

    Args:
        text: columns that stay text, such as a class named 01. The others are numbers or text, as they look.
        whole: columns of whole numbers.
        remedy: the last line of errors.

    Raises:
        OSError: the file cannot be opened.
        Damaged: it is not a CSV, is over a bound, or a column has other values; names line and value.
    """
    table = _parsed(file, str(file), dict.fromkeys(text, str), remedy)
    for column in whole:
        if column in table.columns:
            table[column] = whole_numbers(table[column], f"{file}: column {column}", remedy)
    return table


def whole_numbers(values: pd.Series, what: str, remedy: str = "") -> pd.Series:
    """A column as int64.

    Raises:
        Damaged: a value is no whole number; names ``what``, its line and it.
    """
    if values.dtype.kind == "i":
        return values.astype(np.int64)
    found = pd.to_numeric(values, errors="coerce").astype(np.float64)
    whole = found.notna() & (found % 1 == 0) & (found.abs() < 2**53)
    _require(whole.to_numpy(bool), values, f"{what}: expected a whole number", remedy)
    return found.astype(np.int64)


def numbers(values: pd.Series, what: str, remedy: str = "") -> pd.Series:
    """A column as float64; empty cells become NaN.

    Raises:
        Damaged: a value is no number; names ``what``, its line and it.
    """
    if values.dtype.kind in "fi":
        return values.astype(np.float64)
    found = pd.to_numeric(values, errors="coerce")
    _require((found.notna() | (values == "")).to_numpy(bool), values, f"{what}: expected a number", remedy)
    return found.astype(np.float64)


def _require(fits: NDArray[np.bool_], values: pd.Series, what: str, remedy: str) -> None:
    if not fits.all():
        row = int(np.flatnonzero(~fits)[0])
        said = f"{what}, line {row + 2} has {str(values.iloc[row])!r:.100}"
        raise Damaged(f"{said}\n{remedy}" if remedy else said)


def _parsed(file: Path, name: str, dtype: type[str] | Mapping[str, Any], remedy: str = "") -> pd.DataFrame:
    content = read_bytes(file, MOST_CSV_BYTES, remedy)
    lines = max(content.count(b"\n"), content.count(b"\r")) + 1
    with decoding(name, remedy, "cannot be read as CSV", (csv.Error,)):
        require_at_most(lines * _columns(content), MOST_CELLS, "cells (lines times columns)", name, remedy)
        rows = pd.read_csv(
            io.BytesIO(content), dtype=dtype, keep_default_na=False, encoding="utf-8-sig", low_memory=False
        )
    if not isinstance(rows.index, pd.RangeIndex):
        raise Damaged(f"{name}: lines have more fields than the first, which names the columns")
    return rows


def _columns(content: bytes) -> int:
    """Fields of the first line that is not empty: pandas gives every line as many."""
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="")
    first = next((len(fields) for fields in csv.reader(text) if len(fields) > 1 or (fields and fields[0].strip())), 1)
    return max(first, content.lstrip().split(b"\n", 1)[0].count(b",") + 1)


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
    try:
        table.to_csv(file, index=False, quoting=quoting)
    except OSError as error:
        error.filename = error.filename or str(file)  # a full disk has no name
        raise


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
