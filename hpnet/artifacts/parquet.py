"""Reading Parquet with bounds: rows, elements, bytes and text are compared with the file's own list of contents first.

A megabyte of Parquet can hold billions of equal numbers. So a reader states its columns and their types, columns that
nobody asked for are left unread, and rows come in batches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..core.reading import Damaged, decoding, file_bytes, require_at_most
from .files import AGAIN
from .parquet_footer import read_groups

TEXT, WHOLE, NUMBER, TRUTH = pa.string(), pa.int64(), pa.float64(), pa.bool_()
NUMBERS, TRUTHS = pa.list_(pa.float32()), pa.list_(pa.bool_())
"""Columns of a list in each row; all rows have lists of one length."""

MOST_FILE_BYTES = 4 << 30
MOST_ROWS = 20_000_000
"""The boxes of NTU RGB+D 120 have half of that."""
MOST_ELEMENTS = 100_000_000
"""In the lists of a column; the scores of 800,000 clips of 120 classes."""
LONGEST_LIST = 200_000
MOST_PAGE_BYTES = 4 << 30
"""Of the columns that are read, before encodings such as run lengths are undone."""
MOST_TEXT_BYTES = 1 << 30
"""Of a column of text with every cell written out."""
LONGEST_TEXT = 10_000
MOST_COLUMNS = 200
MOST_CONTAINER = 1_000_000
"""Entries of a list in the file's own list of contents, such as groups of rows."""
_BATCH = 1 << 16


@dataclass(frozen=True)
class Columns:
    """What was read of a Parquet file.

    Attributes:
        table: its flat columns.
        lists: (rows, K) of each column of lists.
        metadata: the file's own notes.
    """

    table: pd.DataFrame
    lists: dict[str, NDArray[Any]]
    metadata: Mapping[bytes, bytes]


def read_table(
    path: Path, kinds: Mapping[str, pa.DataType | str], remedy: str = AGAIN, optional: Collection[str] = ()
) -> pd.DataFrame:
    """The flat columns ``kinds`` of a Parquet file; see :func:`read_columns`."""
    return read_columns(path, kinds, optional, remedy=remedy).table


def read_columns(
    path: Path,
    kinds: Mapping[str, pa.DataType | str],
    optional: Collection[str] = (),
    gaps: Collection[str] = (),
    remedy: str = AGAIN,
) -> Columns:
    """Some columns of a Parquet file.

    Args:
        kinds: name -> type that the column is read as, of those above, or its name (:mod:`hpnet.artifacts.kinds`).
        optional: columns of ``kinds`` that may be missing.
        gaps: columns of numbers that may have empty cells, which become NaN.
        remedy: the last words of an error.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is no Parquet file, a column is missing, of another type or has empty cells, the lists of a
            column have different lengths, or it is over a bound; names the file.
    """
    kinds = {name: pa.type_for_alias(kind) if isinstance(kind, str) else kind for name, kind in kinds.items()}
    file_bytes(path, MOST_FILE_BYTES, remedy)
    with decoding(path, remedy, "is not a complete Parquet file", (pa.ArrowException,)):
        with open_parquet(path) as file:
            schema = file.schema_arrow
            wanted = _wanted(schema, kinds, optional, path)
        _require_bounds(path, wanted, remedy)
        with open_parquet(path, [name for name in wanted if kinds[name] == TEXT]) as file:
            batches = [
                pa.RecordBatch.from_arrays(
                    [
                        _cast(batch.column(name), kinds[name], name in gaps, f"{path}: column {name!r}")
                        for name in wanted
                    ],
                    wanted,
                )
                for batch in _counted(file.iter_batches(_BATCH, columns=wanted), path)
            ]
            metadata = dict(schema.metadata or {})
        kept = pa.schema([(name, kinds[name]) for name in wanted])
        table = pa.Table.from_batches(batches, kept)
        lists = {name: _stacked(table[name], name, path) for name in wanted if pa.types.is_list(kinds[name])}
        flat = table.drop_columns(list(lists)).to_pandas()
    return Columns(flat, lists, metadata)


def open_parquet(path: Path, text: Collection[str] = ()) -> pq.ParquetFile:
    """A Parquet file; equal cells of the columns ``text`` are held once."""
    return pq.ParquetFile(path, read_dictionary=list(text), thrift_container_size_limit=MOST_CONTAINER)


def require_groups(path: Path, most_rows: int) -> None:
    """Refuse a file with more than ``most_rows`` rows in a group, of which one at a time is read; or too many groups.

    Raises:
        ValueError: the file is damaged, or over a bound.
    """
    groups = read_groups(path)
    require_at_most(len(groups), MOST_CONTAINER, "groups of rows", path)
    require_at_most(max((group.rows for group in groups), default=0), most_rows, "rows in a group", path)


def written_bytes(words: pa.DictionaryArray, path: Path, name: str, longest: int) -> int:
    """Bytes of a column whose equal cells are held once, with every cell written out.

    Raises:
        Damaged: a cell is longer than ``longest``.
    """
    lengths = pc.binary_length(words.dictionary).fill_null(0).to_numpy(zero_copy_only=False)
    require_at_most(int(lengths.max(initial=0)), longest, f"bytes in a cell of column {name!r}", path)
    used = words.indices.drop_null().to_numpy(zero_copy_only=False)
    return int(lengths[used].sum(dtype=np.int64))


def _wanted(schema: pa.Schema, kinds: Mapping[str, pa.DataType], optional: Collection[str], path: Path) -> list[str]:
    require_at_most(len(schema.names), MOST_COLUMNS, "columns", path)
    found = []
    for name, kind in kinds.items():
        if schema.names.count(name) != 1:
            if name in optional and name not in schema.names:
                continue
            raise Damaged(f"{path}: column {name!r} is {'there twice' if name in schema.names else 'missing'}")
        have = schema.field(name).type
        if pa.types.is_dictionary(have):
            have = have.value_type
        listed = pa.types.is_list(have) or pa.types.is_large_list(have) or pa.types.is_fixed_size_list(have)
        if listed != pa.types.is_list(kind) or pa.types.is_nested(have.value_type if listed else have):
            raise Damaged(f"{path}: column {name!r} cannot be read as {_plainly(kind)} (it is {str(have)[:80]})")
        found.append(name)
    return found


def _plainly(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"a list of {_plainly(kind.value_type)}"
    names = {pa.string(): "text", pa.int64(): "whole numbers", pa.bool_(): "true or false"}
    return names.get(kind, "numbers")


def _require_bounds(path: Path, wanted: Collection[str], remedy: str) -> None:
    groups = read_groups(path)
    rows = sum(group.rows for group in groups)
    require_at_most(rows, MOST_ROWS, "rows", path, remedy)
    elements = dict.fromkeys(wanted, 0)
    pages = 0
    for part in (column for group in groups for column in group.columns if column.name in elements):
        elements[part.name] += part.values
        pages += part.nbytes
    for name, count in elements.items():
        require_at_most(count, MOST_ELEMENTS, f"values in column {name!r}", path, remedy)
        require_at_most(count // max(1, rows), LONGEST_LIST, f"values in a row of column {name!r}", path, remedy)
    require_at_most(pages, MOST_PAGE_BYTES, "bytes after decompression", path, remedy)


def _counted(batches: Iterable[pa.RecordBatch], path: Path) -> Iterator[pa.RecordBatch]:
    """The batches, after their text was counted as if every cell were written out."""
    written: Counter[str] = Counter()
    for batch in batches:
        for name, cells in zip(batch.schema.names, batch.columns, strict=True):
            if isinstance(cells, pa.DictionaryArray) and _is_text(cells.dictionary.type):
                written[name] += written_bytes(cells, path, name, LONGEST_TEXT)
                require_at_most(written[name], MOST_TEXT_BYTES, f"bytes of text in column {name!r}", path)
        yield batch


def _is_text(kind: pa.DataType) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(kind) for test in tests)


def _cast(cells: pa.Array, kind: pa.DataType, gaps: bool, what: str) -> pa.Array:
    """A column as a type, without empty cells unless ``gaps``."""
    try:
        if isinstance(cells, pa.DictionaryArray):
            cells = cells.dictionary_decode()
        found = cells.cast(kind)
        found.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        raise Damaged(f"{what} cannot be read as {_plainly(kind)} ({str(error)[:200]})") from None
    inside = found.flatten().null_count if pa.types.is_list(kind) else 0
    if (found.null_count and (inside or not gaps or pa.types.is_list(kind))) or (inside and not gaps):
        raise Damaged(f"{what} has empty cells")
    return found


def _stacked(column: pa.ChunkedArray, name: str, path: Path) -> NDArray[Any]:
    """(rows, K) of lists of one length."""
    rows, width = len(column), None
    parts = []
    for chunk in column.chunks:
        lengths = np.diff(chunk.offsets.to_numpy(zero_copy_only=False))
        found = sorted({*lengths.tolist(), *({width} - {None})})
        if len(found) > 1:
            raise Damaged(f"{path}: rows of {name!r} have different lengths ({found[0]} and {found[-1]} values)")
        width = found[0] if found else width
        parts.append(chunk.flatten().to_numpy(zero_copy_only=False))
    kind = np.bool_ if column.type.value_type == pa.bool_() else np.float32
    return np.concatenate(parts or [np.zeros(0)]).astype(kind, copy=False).reshape(rows, width or 0)
