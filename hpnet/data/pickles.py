"""Reading other projects' pickles and arrays safely: arrays, dicts, lists, strings and numbers, and nothing else.

A pickle can name any function to call. :mod:`hpnet.data.unpickle` calls none and reads the pickle as data, so a hostile
file is an error and not a program.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .unpickle import unpickle

LONGEST_REASON = 300
"""Maximum characters of an error's text, because part of it may come from the file."""

_BROKEN_ARRAY = (
    ValueError, EOFError, OSError, KeyError, TypeError, AttributeError, SyntaxError, NotImplementedError, OverflowError,
    MemoryError, zipfile.BadZipFile, zlib.error, tokenize.TokenError,
)  # fmt: skip
"""Exceptions of numpy on damaged .npy and .npz files."""


def load_pickle(path: str | Path) -> Any:
    """Contents of a pickle that holds arrays, dicts, lists, tuples, strings, bytes, numbers, booleans and None.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is broken, or names anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        return unpickle(path.read_bytes())
    except (ValueError, OverflowError, MemoryError) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path} cannot be read as a pickle of arrays: {reason[:LONGEST_REASON]}") from None


def load_array(path: Path) -> NDArray[Any]:
    """The array of a .npy file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, or contains objects; names it.
    """
    found = _load_numpy(path)
    if not isinstance(found, np.ndarray):
        raise ValueError(f"{path} holds several arrays; expected one (.npy)")
    return found


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file by name; errors as of :func:`load_array`."""
    found = _load_numpy(path)
    if isinstance(found, np.ndarray):
        raise ValueError(f"{path} holds one array {found.shape} without a name; expected an .npz of named ones")
    return found


def _load_numpy(path: Path) -> NDArray[Any] | dict[str, NDArray[Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            return {name: found[name] for name in found.files}
    except _BROKEN_ARRAY as error:
        # numpy treats unknown data as a pickle, and advises to load it unsafely
        reason = "not a numpy file" if "pickled (object) data" in str(error) else str(error) or type(error).__name__
        raise ValueError(f"{path} cannot be read as arrays of numbers: {reason}") from None
