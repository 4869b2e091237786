"""The walk of a folder of videos: the videos, and the skipped files by reason."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..core.clip_ids import clip_id_fault
from ..core.video import VIDEO_SUFFIXES

COMMON = ".avi .mkv .mov .mp4 .webm"
SYSTEM = frozenset(
    ("__macosx", "$recycle.bin", "system volume information", "lost+found", "@eadir", "#recycle", "thumbs.db",
     "desktop.ini")
)  # fmt: skip
"""Names of files that operating systems and file servers leave in folders, in lower case."""
ALSO_TEXT = frozenset((".ts", ".mts"))
"""Suffixes of MPEG transport streams that TypeScript files also have."""
SYNC, PACKETS = 0x47, (188, 192, 204)
"""First byte of every packet of a transport stream, and the sizes of packets."""
BEGINNING = 4096
SHOWN = 3


@dataclass(frozen=True)
class FoundVideos:
    """The content of a folder.

    Attributes:
        files: the videos, sorted; each real file once.
        unusable: video -> why its name cannot be used; these are not in ``files``.
        hidden, system: names that begin with a dot; names of :data:`SYSTEM`.
        other: suffix -> number of files that are not videos; the suffix may be empty.
        links: target -> links that were not followed, by their path in the folder.
    """

    files: list[Path]
    unusable: dict[Path, str] = field(default_factory=dict)
    hidden: int = 0
    system: int = 0
    other: Counter[str] = field(default_factory=Counter)
    links: dict[str, list[str]] = field(default_factory=dict)

    def passed_over(self) -> str:
        """One line that counts the skipped files by reason; empty if there are none."""
        parts = [f"{self.hidden} hidden"] if self.hidden else []
        parts += [f"{self.system} of the system"] if self.system else []
        if self.other:
            ranked = sorted(self.other.items(), key=lambda item: (-item[1], item[0]))
            kinds = [f"{ending or 'no ending'} {count}" for ending, count in ranked[:SHOWN]]
            more = [f"{len(self.other) - SHOWN} more endings"] if len(self.other) > SHOWN else []
            count = sum(self.other.values())
            parts.append(f"{count} not {'videos' if count > 1 else 'a video'} ({', '.join([*kinds, *more])})")
        for where, places in sorted(self.links.items()):
            more = ["..."] if len(places) > SHOWN else []
            links = f"{len(places)} {'links' if len(places) > 1 else 'link'} {where}"
            parts.append(f"{links} ({', '.join([*map(repr, places[:SHOWN]), *more])})")
        return f"skipped: {', '.join(parts)}" if parts else ""

    def refuse_unusable(self) -> None:
        """Stop if a name cannot be used.

        Raises:
            ValueError: names the first such file, and counts them.
        """
        for file, why in self.unusable.items():
            more = f" (and {len(self.unusable) - 1} more)" if len(self.unusable) > 1 else ""
            raise ValueError(f"the name of {str(file)!r} {why}{more}: rename it, or move it out of the folder")


def find_videos(folder: Path) -> FoundVideos:
    """Every video below ``folder``, any depth; see :func:`walk`.

    Raises:
        FileNotFoundError: the folder is missing or holds no video.
        OSError: no permission to read a sub-folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"folder {folder} is missing: data.videos must name a folder of videos")
    found = walk(folder, is_video)
    if not found.files and not found.unusable:
        passed = found.passed_over()
        raise FileNotFoundError(
            f"folder {folder} holds no video (looked for {COMMON} and {len(VIDEO_SUFFIXES)} suffixes in all"
            f"{'; ' if passed else ''}{passed}): put videos there"
        )
    return found


def walk(folder: Path, wanted: Callable[[Path], bool]) -> FoundVideos:
    """Every wanted file below ``folder``, at any depth.

    Names that begin with a dot, files of operating systems and other files are skipped. Links to files and folders are
    followed, but not links to a folder above, or to files that are in the folder anyway.

    Raises:
        OSError: no permission to read a folder.
    """
    return _Walk(folder, wanted).run()


class _Walk:
    """One walk: real folders first, then targets of links; each real folder once."""

    def __init__(self, folder: Path, wanted: Callable[[Path], bool]) -> None:
        self.folder = folder
        self.wanted = wanted
        self.files: list[Path] = []
        self.unusable: dict[Path, str] = {}
        self.hidden = self.system = 0
        self.other: Counter[str] = Counter()
        self.links: dict[str, list[str]] = {}
        self.seen: set[str] = set()
        self.linked_folders: list[Path] = []
        self.linked_files: list[Path] = []

    def run(self) -> FoundVideos:
        self._tree(self.folder)
        while self.linked_folders:
            self.linked_folders.sort(reverse=True)
            link = self.linked_folders.pop()
            real = os.path.realpath(link)
            if os.path.commonpath([real, os.path.realpath(link.parent)]) == real:
                self._link("leading back to a folder above", link)
            elif real in self.seen:
                self._link("to what is here already", link)
            else:
                self._tree(link)
        own = {(os.path.realpath(file), file.name) for file in self.files} if self.linked_files else set()
        for link in sorted(self.linked_files):
            key = os.path.realpath(link), link.name
            if key in own:
                self._link("to what is here already", link)
            else:
                own.add(key)
                self._video(link)
        return FoundVideos(sorted(self.files), self.unusable, self.hidden, self.system, self.other, self.links)

    def _tree(self, top: Path) -> None:
        """A folder and the real folders below it; links come later."""
        folders = [top]
        while folders:
            folder = folders.pop()
            real = os.path.realpath(folder)
            if real in self.seen:
                continue
            self.seen.add(real)
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        self.hidden += 1
                    elif entry.name.casefold() in SYSTEM:
                        self.system += 1
                    elif not entry.is_symlink() and entry.is_dir():
                        folders.append(folder / entry.name)
                    else:
                        self._file_or_link(folder / entry.name, entry.is_symlink())

    def _file_or_link(self, path: Path, is_link: bool) -> None:
        if is_link and not path.exists():
            self._link("to nothing", path)
        elif path.is_dir():
            self.linked_folders.append(path)
        elif not path.is_file() or not self.wanted(path):
            self.other[path.suffix.lower()] += 1
        elif is_link:
            self.linked_files.append(path)
        else:
            self._video(path)

    def _video(self, path: Path) -> None:
        # checked below a folder, like a clip: x:y.mp4 alone is a valid file name, and not a drive
        wrong = clip_id_fault((Path("folder") / path.relative_to(self.folder).with_suffix("")).as_posix())
        if wrong:
            self.unusable[path] = wrong
        else:
            self.files.append(path)

    def _link(self, where: str, path: Path) -> None:
        self.links.setdefault(where, []).append(path.relative_to(self.folder).as_posix())


def is_video(path: Path) -> bool:
    """Whether a file has the suffix of a video and, if text files use the same suffix, is not text."""
    ending = path.suffix.lower()
    return ending in VIDEO_SUFFIXES and (ending not in ALSO_TEXT or not _is_text(path))


def _is_text(path: Path) -> bool:
    """Whether a file is text and not a transport stream. An empty file counts as a broken video, not as text."""
    with path.open("rb") as file:
        beginning = file.read(BEGINNING)
    if not beginning or b"\0" in beginning:
        return False
    for size in PACKETS:
        starts = (beginning[offset::size] for offset in range(min(size, len(beginning))))
        if any(len(places) > 2 and set(places) == {SYNC} for places in starts):
            return False
    try:
        beginning[:-3].decode()  # the last letter may be cut
    except UnicodeDecodeError as error:
        return error.start >= len(beginning) - 6
    return True
