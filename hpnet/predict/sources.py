"""The source a user gives: a camera, a stream's address, a file, or a folder of videos."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.video import VideoError, open_video
from ..data.walk import find_videos
from ..work.console import one_line

SCHEMES = frozenset({"http", "https", "rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "tcp", "tls", "udp"})
"""Schemes of addresses, before ``://``; every other name is a file."""
EXPECTED = "a video file, a folder, a camera's number or an address such as rtsp://HOST/PATH"


def is_camera(source: str) -> bool:
    """Whether this is a camera's number and no file of that name exists."""
    return re.fullmatch(r"[0-9]+", source) is not None and not Path(source).exists()


def is_address(source: str) -> bool:
    """Whether this is a stream's address and no file of that name exists."""
    scheme, found, rest = source.partition("://")
    return bool(found and rest) and scheme.lower() in SCHEMES and not Path(source).exists()


def has_no_end(source: str) -> bool:
    """Whether it is a camera's number or a stream's address."""
    return is_camera(source) or is_address(source)


@dataclass(frozen=True)
class GatheredFiles:
    """The files that names stand for.

    Attributes:
        files: given files, and all videos below given folders, each once.
        unusable: video -> why its name cannot be used; these are not in ``files``.
        notes: a line for each folder in which files were passed over.
    """

    files: list[Path]
    unusable: dict[Path, str]
    notes: list[str]


def unreadable(files: Sequence[Path]) -> dict[Path, str]:
    """Why none of these files can be opened as a video; empty as soon as one can, and where there is no file."""
    reasons: dict[Path, str] = {}
    for file in files:
        try:
            container, _ = open_video(file)
        except VideoError as error:
            reasons[file] = str(error)
        else:
            container.close()
            return {}
    return reasons


def gather_files(names: Sequence[str], expected: str = EXPECTED) -> GatheredFiles:
    """Files of names of files and folders.

    Args:
        expected: what a name may be, for the error of one that is nothing.

    Raises:
        FileNotFoundError: a name is no file and no folder, or a folder holds no video.
    """
    found = GatheredFiles([], {}, [])
    for name in names:
        path = Path(name)
        if not path.exists():
            raise FileNotFoundError(f"{one_line(name)} is missing: expected {expected}")
        if not path.is_dir():
            found.files.append(path)
            continue
        videos = find_videos(path)
        found.files.extend(videos.files)
        found.unusable.update(videos.unusable)
        if videos.passed_over():
            found.notes.append(videos.passed_over())
    return GatheredFiles(list(dict.fromkeys(found.files)), found.unusable, found.notes)
