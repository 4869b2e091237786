"""Reading other projects' pickles and arrays safely: arrays, dicts, lists, strings and numbers, and nothing else.

A pickle can name any function to call. This reader knows the handful that numpy needs to rebuild an array and refuses
every other name, so a hostile file is an error instead of a program.
"""

from __future__ import annotations

import collections
import io
import pickle
import pickletools
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def _encode_latin1(text: str, encoding: str = "latin1") -> bytes:
    """Stand-in for ``codecs.encode``, which old pickles use for bytes: that one encoding alone."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes encoded as {encoding!r} are not read, only latin1")
    return text.encode("latin1")


def _array_builders() -> dict[tuple[str, str], Callable[..., Any]]:
    """numpy's own helpers, found through numpy, under the module names of numpy 1 and 2."""
    reconstruct = np.zeros(1).__reduce__()[0]
    scalar = np.float32(0).__reduce__()[0]
    from_buffer = np.zeros(1).__reduce_ex__(5)[0]
    allowed: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("_codecs", "encode"): _encode_latin1,
    }
    for core in ("numpy.core", "numpy._core"):
        allowed[(f"{core}.multiarray", "_reconstruct")] = reconstruct
        allowed[(f"{core}.multiarray", "scalar")] = scalar
        allowed[(f"{core}.numeric", "_frombuffer")] = from_buffer
    return allowed


_ALLOWED = _array_builders()
_BROKEN_ARRAY = (
    ValueError, EOFError, OSError, KeyError, TypeError, AttributeError, SyntaxError, NotImplementedError, OverflowError,
    MemoryError, zipfile.BadZipFile, zlib.error, tokenize.TokenError,
)  # fmt: skip
"""What numpy raises on damaged .npy and .npz files."""


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Only what arrays are made of."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f"it wants {module}.{name}; only arrays, dicts, lists, text and numbers are read"
            )
        return _ALLOWED[(module, name)]

    def persistent_load(self, pid: Any) -> Any:
        """Refused: nothing outside the file is loaded."""
        raise pickle.UnpicklingError("it refers to objects outside the file")


def _refuse_huge_memo(content: bytes) -> None:
    """A damaged memo index makes the reader reserve memory for all indices before it: gigabytes from a few bytes."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content), start=1):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > count:
            raise pickle.UnpicklingError(f"it stores object {argument} after {count} steps")


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
        content = path.read_bytes()
        _refuse_huge_memo(content)
        return _Reader(io.BytesIO(content)).load()
    except (
        pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError, OverflowError,
        MemoryError, UnicodeDecodeError,
    ) as error:  # fmt: skip
        raise ValueError(f"{path} cannot be read as a pickle of arrays: {error or type(error).__name__}") from None


def load_array(path: Path) -> NDArray[Any]:
    """The array of a .npy file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is broken, or holds objects; names it.
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
        # numpy takes whatever it does not know for a pickle, and advises to load that unsafely
        reason = "no numpy file" if "pickled (object) data" in str(error) else str(error) or type(error).__name__
        raise ValueError(f"{path} cannot be read as arrays of numbers: {reason}") from None
