"""Reading and writing files, so that errors name the file and files in DVC's cache are never changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError

Meta = TypeVar("Meta")


def require_columns(table: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    """Refuse a table that lacks a column.

    Raises:
        ValueError: names the first that is missing, and ``what`` the table is.
    """
    missing = [c for c in columns if c not in table.columns]
    if missing:
        raise ValueError(f"{what}: column {missing[0]!r} is missing (has {', '.join(map(str, table.columns))})")


def read_json(path: Path) -> Any:
    """Load JSON; a broken file is a ValueError that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None


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
    delete_old(path).write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def read_table(path: Path) -> pd.DataFrame:
    """Load Parquet without pandas' own notes on it; a broken file is a ValueError that names it."""
    try:
        return pq.read_table(path).replace_schema_metadata(None).to_pandas()
    except (pa.ArrowException, UnicodeDecodeError, KeyError) as error:
        raise ValueError(f"{path} is not a complete Parquet file ({' '.join(str(error).split())[:200]})") from None


def load_meta(path: Path, build: Callable[[dict[str, Any]], Meta]) -> Meta:
    """A folder's meta.json as its dataclass; an incomplete one is a ValueError that names it."""
    try:
        return build(read_json(path))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not what the stage writes ({error}): run that stage again") from None
