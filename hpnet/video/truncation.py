"""Whether a file ends before its own structure says that it does."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import av
from av.video.stream import VideoStream

_SEGMENT = 0x18538067
_MOST_OUTER_PARTS = 10_000


def missing_end(path: Path, container: av.container.InputContainer, stream: VideoStream) -> str:
    """What is missing at the end of a file that was read, in words; empty where nothing is known to be missing.

    Counts and durations of headers are not asked. A file is cut off where its index lists data behind its end (MP4), or
    where one of its outermost parts reaches beyond it (AVI, Matroska, ASF).
    """
    size = path.stat().st_size
    name = container.format.name.split(",")[0]
    if name == "mov":
        ends = (entry.pos + entry.size for entry in stream.index_entries if not entry.is_discard)
        end = max(ends, default=0)
    elif name in _PARTS:
        with path.open("rb") as file:
            end = max(_PARTS[name](file, size), default=0)
    else:
        return ""
    return f"the file has {size} of {end} bytes" if end > size else ""


def _riff_ends(file: BinaryIO, size: int) -> Iterator[int]:
    """Where the lists of frames in an AVI end. A wrong length of the whole alone is no loss."""
    at = 0
    for _ in range(_MOST_OUTER_PARTS):
        head = _read(file, at, 12)
        if head[:4] != b"RIFF":
            return
        whole = at + 8 + int.from_bytes(head[4:8], "little")
        if whole > size:
            yield from _movi_ends(file, at + 12, size)
            return
        at = whole + whole % 2


def _movi_ends(file: BinaryIO, at: int, size: int) -> Iterator[int]:
    while at < size:
        head = _read(file, at, 12)
        end = at + 8 + int.from_bytes(head[4:8], "little")
        if head[:4] == b"LIST" and head[8:12] == b"movi":
            yield end
        at = end + end % 2


def _segment_ends(file: BinaryIO, size: int) -> Iterator[int]:
    """Where the segments of a Matroska file end; one of unknown size (a live recording) ends with the file."""
    at = 0
    for _ in range(_MOST_OUTER_PARTS):
        head = _read(file, at, 12)
        if len(head) < 12:
            return
        id_bytes = 9 - head[0].bit_length()
        length_bytes = 9 - head[id_bytes].bit_length() if id_bytes <= 4 else 9
        if length_bytes > 8 or at >= size:
            return
        kind = int.from_bytes(head[:id_bytes], "big")
        unknown = (1 << 7 * length_bytes) - 1
        length = int.from_bytes(head[id_bytes : id_bytes + length_bytes], "big") & unknown
        if length == unknown:
            return
        at += id_bytes + length_bytes + length
        if kind == _SEGMENT:
            yield at


def _asf_ends(file: BinaryIO, size: int) -> Iterator[int]:
    """Where the outermost objects of an ASF file (WMV) end."""
    at = 0
    for _ in range(_MOST_OUTER_PARTS):
        head = _read(file, at, 24)
        if len(head) < 24 or at >= size:
            return
        (length,) = struct.unpack("<Q", head[16:])
        if length < 24:  # a live recording
            return
        at += length
        yield at


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)


_PARTS = {"avi": _riff_ends, "matroska": _segment_ends, "asf": _asf_ends}
