"""Reading and writing files, so that errors name the file and files in DVC's cache are never changed."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError

from ..core.reading import THROWN, Damaged, decoding, read_text, short

if TYPE_CHECKING:
    import pandas as pd

Meta = TypeVar("Meta")
Content = TypeVar("Content")
MOST_JSON_BYTES = 64 << 20
AGAIN = "make it again"


def require_columns(table: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    """Refuse a table that lacks a column.

    Raises:
        ValueError: names the first that is missing, and ``what`` the table is.
    """
    missing = [c for c in columns if c not in table.columns]
    if missing:
        raise ValueError(f"{what}: column {missing[0]!r} is missing (has {', '.join(map(str, table.columns))})")


def read_json(path: Path, most_bytes: int = MOST_JSON_BYTES) -> Any:
    """Load JSON of at most ``most_bytes``; a broken or larger file is a ValueError that names it."""
    return parse_json(read_text(Path(path), most_bytes), str(path))


def parse_json(text: str, source: str, remedy: str = "") -> Any:
    """The value of a JSON text; else a ValueError that names ``source``."""
    with decoding(source, remedy, "is not valid JSON"):
        return json.loads(text)


def read_object(path: Path) -> dict[str, Any]:
    """Load a JSON object; a broken file, or other content, is a ValueError that names it."""
    return parse_object(read_text(path, MOST_JSON_BYTES), str(path))


def parse_object(text: str, source: str) -> dict[str, Any]:
    """The same of a text from ``source``."""
    found = parse_json(text, source)
    if not isinstance(found, dict):
        raise Damaged(f"{source} holds a {type(found).__name__}; expected names and values: {AGAIN}")
    return found


def read_json_as(path: Path, kind: type[Content], remedy: str = AGAIN) -> Content:
    """Load JSON as a type; see :func:`typed`.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is broken, or a value is of another type; names the file, the value's place and the remedy.
    """
    raw = read_json(path)
    with decoding(path, remedy, "is not what hpnet writes"):
        return typed(raw, kind)


def typed(raw: Any, kind: type[Content]) -> Content:
    """A value of JSON as a type: a plain one, a container of them, or a dataclass of both.

    Nothing is converted but whole numbers to float and lists to tuples. Numbers that are not finite are refused.

    Raises:
        ValueError: a value is of another type; names its place.
    """
    try:
        adapter: TypeAdapter[Content] = _adapter(kind)  # type: ignore[arg-type]
        return adapter.validate_json(json.dumps(raw, allow_nan=False), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise ValueError(": ".join(filter(None, (".".join(map(str, first["loc"])), str(first["msg"]))))) from None


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def readable(path: Path) -> Path:
    """``path``, after it was opened once, because safetensors reports missing permission as a missing file.

    Raises:
        FileNotFoundError: no such file.
        PermissionError: no permission to read it.
    """
    with path.open("rb"):
        return path


def delete_old(path: Path) -> Path:
    """Delete the file at ``path``, if it exists, and make its folder; returns ``path``.

    DVC hard-links outputs into its cache. Writing into such a file would also change the cache, and every project that
    shares it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return path


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """``path`` for writing by a library whose errors do not name the file or the reason; an old file is deleted.

    The file's permissions follow the umask, like those of other files; safetensors sets 0600.

    Raises:
        OSError: the file could not be written; names it and the free space of the disk.
    """
    path = delete_old(path)
    try:
        path.touch()
        mode = path.stat().st_mode
        path.unlink()
        yield path
        if path.stat().st_mode != mode:
            path.chmod(mode)
    except (OSError, RuntimeError, SafetensorError) as error:
        if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
            raise
        free_mb = shutil.disk_usage(path.parent).free / 1e6
        raise OSError(
            f"{path} cannot be written ({' '.join(str(error).split())[:200]}); {free_mb:.0f} MB are free there: make "
            "room, then run the same command again (finished work is kept)"
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Save JSON, sorted and indented so that git diffs stay small."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"
    with writing(path) as file:
        file.write_text(text, encoding="utf-8")


def load_meta(path: Path, build: Callable[[dict[str, Any]], Meta]) -> Meta:
    """A folder's meta.json as its dataclass; an incomplete one is a ValueError that names it."""
    raw = read_object(path)
    try:
        return build(raw)
    except THROWN as error:
        why = short(error) or type(error).__name__
        raise Damaged(f"{path} is not what the stage writes ({why}): run that stage again") from error
