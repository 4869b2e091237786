"""CSV files that somebody else wrote."""

from __future__ import annotations

from pathlib import Path

import pandas as pd


def read_csv_text(file: Path, name: str) -> pd.DataFrame:
    """A CSV somebody else wrote, every field as text.

    Args:
        name: what errors call the file.

    Raises:
        ValueError: it is no CSV, or a line has more fields than the first.
    """
    try:
        rows = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{name} cannot be read as CSV ({' '.join(str(error).split())})") from None
    if not isinstance(rows.index, pd.RangeIndex):
        raise ValueError(f"{name}: lines have more fields than the first, which names the columns")
    return rows
