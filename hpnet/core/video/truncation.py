"""Detects files that end earlier than their own structure says."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import av
from av.video.stream import VideoStream

_SEGMENT = 0x18538067
_MOST_OUTER_PARTS = 10_000
_LARGEST_OGG_PAGE = 27 + 255 + 255 * 255
_TRAILERS = {"gif": b"\x3b", "apng": b"IEND\xaeB`\x82"}
_MICROSECONDS = 1e-6


def missing_end(
    path: Path, container: av.container.InputContainer, stream: VideoStream, end_s: float, slack_s: float
) -> str:
    """The missing part at the end of a file, as text; empty if nothing is known to be missing.

    Counts and durations in headers are not enough evidence. A file is cut off if its index lists frames after its end
    (MP4). It is also cut off if one of its outermost parts is longer than the file and, if there is a duration, frames
    are missing. Formats without such a structure (MPEG streams, elementary streams) may end anywhere.

    Args:
        end_s: end of the last frame read, on the file's clock.
        slack_s: this time may be missing.
    """
    size = path.stat().st_size
    name = container.format.name.split(",")[0]
    if name == "mov":
        ends = (entry.pos + entry.size for entry in stream.index_entries if not entry.is_discard)
        end = max(ends, default=0)
    elif name in _PARTS:
        with path.open("rb") as file:
            end = max(_PARTS[name](file, size), default=0)
        if end > size and (stated_s := _stated_end_s(name, container, stream)) is not None:
            end = end if stated_s - end_s > slack_s else 0
    elif name in _TRAILERS:
        with path.open("rb") as file:
            file.seek(max(0, size - 4096))
            return "" if file.read().rstrip(b"\0").endswith(_TRAILERS[name]) else "the file's end is missing"
    else:
        return ""
    return f"the file has {size} of {end} bytes" if end > size else ""


def _stated_end_s(name: str, container: av.container.InputContainer, stream: VideoStream) -> float | None:
    """End of the file from its header, on the file's clock; None if the header has none."""
    if name == "avi":  # it counts slots, also empty ones; FFmpeg shortens the duration
        return stream.frames * float(stream.time_base) if stream.frames and stream.time_base else None
    if name not in _TIMED or container.duration is None:
        return None
    return ((container.start_time or 0) + container.duration) * _MICROSECONDS


def _riff_ends(file: BinaryIO, size: int) -> Iterator[int]:
    """End of the lists of frames in an AVI. A wrong total length alone is not a loss."""
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
    for _ in range(_MOST_OUTER_PARTS):
        head = _read(file, at, 12)
        if len(head) < 12 or at >= size:
            return
        end = at + 8 + int.from_bytes(head[4:8], "little")
        if head[:4] == b"LIST" and head[8:12] == b"movi":
            yield end
        at = end + end % 2


def _segment_ends(file: BinaryIO, size: int) -> Iterator[int]:
    """End of the segments of a Matroska file; a segment of unknown size (a live recording) ends with the file."""
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
    """End of the outermost objects of an ASF file (WMV)."""
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


def _flv_ends(file: BinaryIO, size: int) -> Iterator[int]:
    """One byte after the end of a Flash video if its last tag is incomplete."""
    length = int.from_bytes(_read(file, size - 4, 4), "big")
    head = _read(file, size - 4 - length, 4) if 11 <= length <= size - 4 else b""
    if int.from_bytes(head[1:4], "big") != length - 11:
        yield size + 1


def _ogg_ends(file: BinaryIO, size: int) -> Iterator[int]:
    """End of the last page of an Ogg file."""
    begin = max(0, size - _LARGEST_OGG_PAGE)
    tail = _read(file, begin, _LARGEST_OGG_PAGE)
    at = tail.rfind(b"OggS")
    count = tail[at + 26] if 0 <= at < len(tail) - 26 else 0
    yield begin + at + 27 + count + sum(tail[at + 27 : at + 27 + count])


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)


_PARTS = {"avi": _riff_ends, "matroska": _segment_ends, "asf": _asf_ends, "flv": _flv_ends, "ogg": _ogg_ends}
_TIMED = ("matroska", "asf", "flv")
"""Formats with a duration in their header."""
