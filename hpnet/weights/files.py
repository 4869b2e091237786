"""The files of a network's weights: origin, size, digest and place."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .places import ASSETS, is_packaged, packaged, search_folders


@dataclass(frozen=True)
class WeightsFile:
    """One file.

    Attributes:
        path: its path below a weights folder.
        url: its address; empty if it has none.
    """

    path: str
    url: str = ""

    @property
    def digest_start(self) -> str:
        """The first eight digits of its SHA-256 if the name has them, as OpenMMLab's names do; else empty."""
        match = re.search(r"-([0-9a-f]{8})(?:_\d{8})?\.pth$", self.path)
        return match[1] if match else ""


@dataclass(frozen=True)
class Weights:
    """The weights of one network.

    Attributes:
        name: of the network in params.yaml.
        role: detector, pose or video.
        origin: of the files, as text.
        about_mb: size of all files together, from the network's parameters; 0 if unknown.
    """

    name: str
    role: str
    files: tuple[WeightsFile, ...]
    origin: str
    about_mb: int = 0

    @property
    def packaged(self) -> bool:
        """Whether they are part of the package."""
        return all(is_packaged(file.path) for file in self.files)


def where(file: WeightsFile) -> Path | None:
    """The file in the first search folder that has it, the package's own of a packaged network; or None.

    Raises:
        ValueError: a searched folder has another file with the name of a packaged network.
    """
    if is_packaged(file.path):
        return packaged(file.path) if (ASSETS / file.path).is_file() else None
    places = (folder / file.path for folder in search_folders())
    return next((place for place in places if place.is_file()), None)


def destination() -> Path:
    """Folder for downloaded weights: $HPNET_WEIGHTS, or ``weights/`` of the project."""
    return Path(os.environ.get("HPNET_WEIGHTS") or "weights")


def missing(entry: Weights) -> list[WeightsFile]:
    """The files of an entry that are in no search folder."""
    return [file for file in entry.files if where(file) is None]


def by_hand(entry: Weights, file: WeightsFile, into: Path | None = None) -> str:
    """One line: what to download by hand and where to put it."""
    place = (into or destination()) / file.path
    if entry.packaged:
        return f"{file.path} belongs to the package: reinstall hpnet, or make it with `hpnet pretrain`"
    return f"fetch {file.url or entry.origin} by hand and save it as {place}"


def require(entries: Iterable[Weights]) -> None:
    """Stop before any work if weights are missing.

    Raises:
        FileNotFoundError: one line per network: what to download, how, and where to put it.
    """
    lines = []
    for entry in entries:
        files = missing(entry)
        if files:
            how = f"`hpnet weights fetch {entry.name}`, or " if files[0].url else ""
            more = f"; so too {', '.join(Path(file.path).name for file in files[1:])}" if files[1:] else ""
            lines.append(f"weights of {entry.name} are missing: {how}{by_hand(entry, files[0])}{more}")
    if lines:
        raise FileNotFoundError("\n".join(lines))
