"""Reading files that somebody else may have made: bounds before memory, and failures in two lines.

Every reader states its bound as a constant (bytes, rows, elements, nesting), compares the file with it before memory is
allocated, and says what is over. A reader takes the bytes with :func:`read_bytes` or :func:`read_text` and gives them
their meaning inside :func:`decoding`, which is the one place where exceptions of parsers become a sentence about a
file. That block holds nothing but the parser and the checks of what it found, so that a mistake of ours elsewhere keeps
its traceback; one inside has its traceback with ``--debug``.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

LONGEST_REASON = 300
"""Maximum characters of a reason in a message, because part of it may come from the file."""

THROWN = (
    ValueError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError, MemoryError, RecursionError,
    NotImplementedError, SyntaxError, RuntimeError, struct.error, zlib.error, zipfile.BadZipFile, tokenize.TokenError,
)  # fmt: skip
"""What the standard library's and other parsers raise on files that are damaged or of another kind."""


class Damaged(ValueError):
    """A file that is damaged, of another kind, or over a bound; its text names the file and a remedy."""


def short(text: object, most: int = LONGEST_REASON) -> str:
    """A text on one line, cut after ``most`` characters."""
    words = " ".join(str(text)[: 4 * most].split())
    return words if len(words) <= most else f"{words[: most - 3]}..."


def require_at_most(found: int, most: int, what: str, path: Path | str, remedy: str = "") -> None:
    """Refuse a count over a bound, before anything is made of it.

    Args:
        what: the thing that is counted, such as ``rows``.

    Raises:
        Damaged: names the file, the count, the bound and, if given, the remedy.
    """
    if found > most:
        raise Damaged(f"{path} has {found:,} {what}, more than the {most:,} that are read{_line(remedy)}")


def file_bytes(path: Path, most: int, remedy: str = "") -> int:
    """Size of a plain file of at most ``most`` bytes.

    Raises:
        OSError: there is no such file, or it may not be read; names it.
        Damaged: it is larger, or is a device or a pipe, which may never end.
    """
    found = os.stat(path)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise Damaged(f"{path} is a device or a pipe, which may never end; expected a file{_line(remedy)}")
    require_at_most(found.st_size, most, "bytes", path, remedy)
    return found.st_size


def read_bytes(path: Path, most: int, remedy: str = "") -> bytes:
    """Contents of a plain file of at most ``most`` bytes; errors as of :func:`file_bytes`."""
    size = file_bytes(path, most, remedy)
    with open(path, "rb") as file:
        return file.read(size)


def read_text(path: Path, most: int, remedy: str = "") -> str:
    """Text of a UTF-8 file of at most ``most`` bytes, a byte order mark left out; errors as of :func:`file_bytes`.

    Raises:
        Damaged: it is not UTF-8.
    """
    with decoding(path, remedy):
        return read_bytes(path, most, remedy).decode("utf-8-sig")


@contextlib.contextmanager
def decoding(
    path: Path | str, remedy: str = "", fault: str = "cannot be read", also: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Turns what parsers raise inside the block into a sentence with the file, the reason and the remedy.

    Names that do not exist, failed assertions and errors of the system (permission, no such file) pass unchanged; so
    does a :class:`Damaged`, and a sentence that names the file already.

    Args:
        fault: what is said of the file before the reason, such as ``is not valid JSON``.
        also: exceptions of a library that are of no standard kind.

    Raises:
        Damaged: the block raised one of :data:`THROWN` or ``also``.
    """
    thrown: tuple[type[Exception], ...] = (*THROWN, *also)
    try:
        yield
    except (Damaged, UnboundLocalError):
        raise
    except OSError as error:
        if error.errno is not None:
            error.filename = error.filename or str(path)
            raise
        raise Damaged(f"{path} {fault}: {reason(error)}{_line(remedy)}") from error
    except thrown as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        raise Damaged(f"{path} {fault}: {reason(error)}{_line(remedy)}") from error


def reason(error: BaseException) -> str:
    """What an exception says, on one line and not long."""
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, KeyError):
        return f"{short(error)} is missing"
    return short(error) or type(error).__name__


def _line(remedy: str) -> str:
    return f"\n{remedy}" if remedy else ""


class BoundedReader(io.BufferedReader):
    """A file whose every read has a limit of ``most`` bytes, so that a length in the file is checked first."""

    def __init__(self, path: Path, most: int) -> None:
        """Open a plain file; errors as of :func:`file_bytes`."""
        self.size = file_bytes(path, 1 << 62)
        super().__init__(io.FileIO(path))
        self.path, self.most = path, most

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to ``size`` bytes, or the whole rest.

        Raises:
            Damaged: these are more than ``most``.
        """
        asked = max(0, self.size - self.tell()) if size is None or size < 0 else size
        require_at_most(asked, self.most, "bytes in one part", self.path)
        return super().read(asked)
