"""The list of contents at the end of a Parquet file: how many rows and values each column has, before any is read.

Pyarrow's own view of it ends the process on some damaged files. Format: Thrift's compact protocol, as in
https://github.com/apache/parquet-format (``parquet.thrift``: FileMetaData, RowGroup, ColumnChunk, ColumnMetaData).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..core.reading import BoundedReader

MOST_FOOTER_BYTES = 64 << 20
MOST_ENTRIES = 5_000_000
DEEPEST = 16

_MAGIC = b"PAR1"
_TRUE, _FALSE, _BYTE, _DOUBLE, _TEXT, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_NUMBERS = (4, 5, 6)


@dataclass(frozen=True)
class ColumnPart:
    """A column in a group of rows: its name, number of values (those of lists count each), bytes unpacked."""

    name: str
    values: int
    nbytes: int


@dataclass(frozen=True)
class Group:
    """A group of rows."""

    rows: int
    columns: tuple[ColumnPart, ...]


def read_groups(path: Path) -> tuple[Group, ...]:
    """The groups of rows of a Parquet file.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is damaged, over a bound, or keeps a column in another file.
    """
    with BoundedReader(path, MOST_FOOTER_BYTES) as file:
        if file.size < 12:
            raise ValueError(f"it has {file.size} bytes")
        file.seek(-8, 2)
        length = int.from_bytes(file.read(4), "little")
        if file.read(4) != _MAGIC or length > file.size - 12:
            raise ValueError("its list of contents is not at its end")
        file.seek(-8 - length, 2)
        return _Footer(file.read(length)).groups()


class _Footer:
    """Takes values off the front of a footer; a footer that is cut off is an IndexError."""

    def __init__(self, content: bytes) -> None:
        self._content, self._place, self._entries = content, 0, 0

    def groups(self) -> tuple[Group, ...]:
        found: list[Group] = []
        self._struct({4: lambda: found.extend(self._list(self._group))})
        return tuple(found)

    def _group(self) -> Group:
        columns: list[ColumnPart] = []
        rows: list[int] = []
        self._struct({1: lambda: columns.extend(self._list(self._chunk)), 3: lambda: rows.append(self._number())})
        return Group(_one(rows), tuple(columns))

    def _chunk(self) -> ColumnPart:
        about: list[ColumnPart] = []
        self._struct({1: self._refuse_other_file, 3: lambda: about.append(self._column())})
        if len(about) != 1:
            raise ValueError("a column is not described")
        return about[0]

    def _column(self) -> ColumnPart:
        path: list[str] = []
        values: list[int] = []
        nbytes: list[int] = []
        self._struct(
            {
                3: lambda: path.extend(self._list(lambda: self._text().decode())),
                5: lambda: values.append(self._number()),
                6: lambda: nbytes.append(self._number()),
            }
        )
        return ColumnPart(path[0], _one(values), _one(nbytes))

    def _refuse_other_file(self) -> None:
        raise ValueError("it keeps a column in another file")

    # Thrift's compact protocol

    def _struct(self, known: dict[int, Callable[[], None]], depth: int = 0) -> None:
        """Read a struct; fields in ``known`` by their own functions, others are passed over."""
        if depth > DEEPEST:
            raise ValueError("it is nested too deep")
        number = 0
        while head := self._byte():
            self._count(1)
            number = number + (head >> 4) if head >> 4 else self._number()
            if number in known:
                known[number]()
            else:
                self._skip(head & 15, depth)

    def _list(self, one: Callable[[], object]) -> list:  # type: ignore[type-arg]
        size, _ = self._list_head()
        return [one() for _ in range(size)]

    def _list_head(self) -> tuple[int, int]:
        head = self._byte()
        size = head >> 4 if head >> 4 < 15 else self._varint()
        self._count(size)
        return size, head & 15

    def _skip(self, kind: int, depth: int, inside: bool = False) -> None:
        if kind in (_TRUE, _FALSE):
            self._place += inside  # a field's truth is in its head
        elif kind == _BYTE:
            self._place += 1
        elif kind in _NUMBERS:
            self._varint()
        elif kind == _DOUBLE:
            self._place += 8
        elif kind == _TEXT:
            self._text()
        elif kind in (_LIST, _SET):
            size, of = self._list_head()
            for _ in range(size):
                self._skip(of, depth + 1, inside=True)
        elif kind == _MAP:
            if size := self._varint():
                self._count(2 * size)
                kinds = self._byte()
                for _ in range(size):
                    self._skip(kinds >> 4, depth + 1, inside=True)
                    self._skip(kinds & 15, depth + 1, inside=True)
        elif kind == _STRUCT:
            self._struct({}, depth + 1)
        else:
            raise ValueError(f"it has a value of the unknown kind {kind}")
        if depth > DEEPEST:
            raise ValueError("it is nested too deep")

    def _count(self, entries: int) -> None:
        self._entries += entries
        if self._entries > MOST_ENTRIES:
            raise ValueError(f"its list of contents has more than {MOST_ENTRIES:,} entries")

    def _byte(self) -> int:
        self._place += 1
        return self._content[self._place - 1]

    def _varint(self) -> int:
        found = shift = 0
        while True:
            byte = self._byte()
            found |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return found
            if shift > 63:
                raise ValueError("a number is longer than 64 bits")

    def _number(self) -> int:
        found = self._varint()
        return (found >> 1) ^ -(found & 1)

    def _text(self) -> bytes:
        size = self._varint()
        start, self._place = self._place, self._place + size
        if self._place > len(self._content):
            raise ValueError("a text goes beyond its end")
        return self._content[start : self._place]


def _one(found: list[int]) -> int:
    if len(found) != 1 or found[0] < 0:
        raise ValueError("a count is missing or negative")
    return found[0]
