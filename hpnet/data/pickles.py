"""Reading other projects' pickles and arrays safely: arrays, dicts, lists, strings and numbers, and nothing else.

A pickle can name any function to call. :mod:`hpnet.data.unpickle` calls none and reads the pickle as data, so a hostile
file is an error and not a program.
"""

from __future__ import annotations

import ast
import math
import struct
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..core.reading import BoundedReader, decoding, read_bytes, require_at_most, short
from .unpickle import unpickle

MOST_PICKLE_BYTES = 2 << 30
"""The poses of NTU RGB+D 120 have 1.5 GB."""
MOST_ARRAY_BYTES = 1 << 30
MOST_MEMBERS = 10_000
"""Arrays in an .npz, of which only those that are asked for are read."""
MOST_DIRECTORY_BYTES = 16 << 20
MOST_EMPTY = 1 << 20
"""Product of the other lengths of an array of no elements, or of elements of no bytes."""

MOST_HEADER_BYTES = 10_000
FAULT = "cannot be read as arrays of numbers"

_NPY, _ZIP = b"\x93NUMPY", b"PK"
_LARGEST_CHARACTER = 0x10FFFF


def load_pickle(path: str | Path) -> Any:
    """Contents of a pickle that holds arrays, dicts, lists, tuples, strings, bytes, numbers, booleans and None.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is broken, or names anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    content = read_bytes(path, MOST_PICKLE_BYTES)
    with decoding(path, fault="cannot be read as a pickle of arrays"):
        return unpickle(content)


def load_array(path: Path) -> NDArray[Any]:
    """The array of a .npy file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, contains objects, or is over a bound; names it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    with decoding(path, fault=FAULT), BoundedReader(path, MOST_ARRAY_BYTES) as file:
        if file.peek(4).startswith(_ZIP):
            raise ValueError("it holds several arrays; expected one (.npy)")
        return _array(file, file.size, str(path))


def load_arrays(path: Path, wanted: Collection[str]) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """Some arrays of an .npz file by name, those of ``wanted`` that it has; and the names of all, which stay unread.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, a wanted array contains objects, or is over a bound; names the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    with decoding(path, fault=FAULT), BoundedReader(path, MOST_DIRECTORY_BYTES) as file:
        if file.peek(6).startswith(_NPY):
            raise ValueError("it holds one array without a name; expected an .npz of named ones")
        with zipfile.ZipFile(file) as archive:
            members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
            require_at_most(len(members), MOST_MEMBERS, "arrays", path)
            found = {}
            for name in wanted:
                if name in members:
                    if members[name].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                        raise ValueError(f"array {name} is packed in another way than numpy does")
                    with archive.open(members[name]) as member:
                        found[name] = _array(member, members[name].file_size, f"{path}: array {name}")
            return found, tuple(members)


def _array(file: IO[bytes], size: int, what: str) -> NDArray[Any]:
    """The array of ``size`` bytes in .npy format, after its header was compared with them."""
    require_at_most(size, MOST_ARRAY_BYTES, "bytes", what)
    if file.read(len(_NPY)) != _NPY:
        raise ValueError("not a numpy file")
    version = tuple(file.read(2))
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"it is of numpy's format {version}, which is unknown")
    (length,) = struct.unpack("<H" if version == (1, 0) else "<I", file.read(2 if version == (1, 0) else 4))
    if length > MOST_HEADER_BYTES:
        raise ValueError(f"its header has {length:,} bytes, expected at most {MOST_HEADER_BYTES:,}")
    shape, fortran, dtype = _header(file.read(length).decode("utf-8" if version == (3, 0) else "latin1"))
    elements = math.prod(shape)
    nbytes = elements * dtype.itemsize
    if not nbytes and math.prod(max(n, 1) for n in shape) > MOST_EMPTY:
        raise ValueError(f"it has no numbers, and shape {short(shape, 80)}")
    header = len(_NPY) + 2 + (2 if version == (1, 0) else 4) + length
    if nbytes > size - header:
        raise ValueError(f"its shape {short(shape, 80)} of {dtype} needs {nbytes:,} bytes, there are {size - header:,}")
    data = bytearray(file.read(nbytes))
    if len(data) != nbytes:
        raise ValueError(f"{nbytes - len(data):,} of its {nbytes:,} bytes are missing")
    array = np.frombuffer(data, dtype, elements) if nbytes else np.zeros(elements, dtype)
    if dtype.kind == "U" and nbytes:
        points = np.frombuffer(data, f"{dtype.byteorder}u4")
        if int(points.max()) > _LARGEST_CHARACTER:
            raise ValueError("an array of text has numbers that are not characters")
    return array.reshape(shape, order="F" if fortran else "C")


def _header(text: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    found = ast.literal_eval(text.strip())
    if not isinstance(found, dict) or set(found) != {"descr", "fortran_order", "shape"}:
        raise ValueError("its header is not numpy's")
    shape, fortran, kind = found["shape"], found["fortran_order"], found["descr"]
    if not isinstance(shape, tuple) or len(shape) > 32 or not all(type(n) is int and 0 <= n < 1 << 48 for n in shape):
        raise ValueError("its shape is not a tuple of at most 32 lengths")
    if not isinstance(kind, str) or not isinstance(fortran, bool) or np.dtype(kind).kind not in "biufcSU":
        raise ValueError(f"it holds {short(kind, 40)}, not numbers or text")
    return shape, fortran, np.dtype(kind)
