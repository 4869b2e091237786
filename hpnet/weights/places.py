"""Places of weights: the package's own files, and folders that are searched. Files are only read for their digest."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

ASSETS = Path(__file__).resolve().parents[1] / "assets"
PACKAGED_NAMES = (
    "mannequin-yolo", "mannequin-simcc", "mannequin-xclip", "movenet-lightning", "movenet-thunder", "movenet-multipose",
)  # fmt: skip
"""Networks of the package; their names always mean the packaged files."""


def search_folders() -> list[Path]:
    """Folders that are searched for weights, in order: $HPNET_WEIGHTS, then ``weights/`` of the project."""
    named = os.environ.get("HPNET_WEIGHTS")
    return [*([Path(named)] if named else []), Path("weights")]


def is_packaged(file_name: str) -> bool:
    """Whether a name, or a path below a weights folder, is one of the package's own networks."""
    parts = Path(file_name).parts
    return bool(parts) and Path(parts[0]).stem in PACKAGED_NAMES


def packaged(file_name: str) -> Path:
    """A file of the package's own weights; it is never taken from a searched folder.

    Raises:
        FileNotFoundError: it is missing from the package.
        ValueError: a searched folder has another file of that name, which could be confused with it.
    """
    own = ASSETS / file_name
    if not own.is_file():
        raise FileNotFoundError(f"{own} is missing: reinstall hpnet, or make it with `hpnet pretrain`")
    for folder in search_folders():
        other = folder / file_name
        if other.is_file() and not other.samefile(own) and digest(other) != digest(own):
            raise ValueError(
                f"{other} is not read: {Path(file_name).parts[0]} is always the package's own. Rename that file and "
                "give it by its path, or remove it"
            )
    return own


def find(file_name: str, origin: str) -> Path:
    """The path of a weights file; of a packaged network the package's own (:func:`packaged`).

    Args:
        file_name: its name.
        origin: its address, or a text about its origin.

    Raises:
        FileNotFoundError: it is in none of :func:`search_folders`; says what to download and where to put it.
    """
    if is_packaged(file_name):
        return packaged(file_name)
    for folder in search_folders():
        if (folder / file_name).is_file():
            return folder / file_name
    place = os.environ.get("HPNET_WEIGHTS") or "weights"
    raise FileNotFoundError(
        f"weights {file_name} are missing: fetch {origin} and put it into {place}/ (or $HPNET_WEIGHTS){_elsewhere()}"
    )


def _elsewhere() -> str:
    """What to do in a copy of a project that DVC made for an experiment, which has the files of git alone."""
    if not {".dvc", "tmp", "exps"} <= set(Path.cwd().parts) or "HPNET_WEIGHTS" in os.environ:
        return ""
    return "\nan experiment in a folder of its own has no weights/: set HPNET_WEIGHTS to the project's, as a full path"


def digest(path: str | Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits; OpenMMLab's file names carry the first eight."""
    value = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            value.update(block)
    return value.hexdigest()
