"""Opening a video file (and no other file), and choosing its stream."""

from __future__ import annotations

from pathlib import Path

import av
from av.error import ArgumentError, FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream

_ENDINGS = """
    mp4 m4v mov qt 3gp 3g2 mkv webm avi divx xvid wmv asf flv f4v ogv ogm gif apng
    ts mts m2ts m2t mpg mpeg mpe vob mod tod trp dav dv mxf gxf nut nsv wtv amv rm rmvb
    h264 264 avc h265 265 hevc h263 m1v m2v mjpeg mjpg y4m ivf obu av1 vc1
"""
VIDEO_SUFFIXES = frozenset(f".{ending}" for ending in _ENDINGS.split())
"""Suffixes, in lower case, of videos in a folder. How a file is read depends on its content, not its suffix."""

# Not included: lists of other files or addresses (HLS, DASH, concat, SDP, image patterns), scripts, subtitles, sound.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "asf", "asf_o", "flv", "live_flv", "kux", "ogg", "gif", "apng",
    "mpegts", "mpeg", "dhav", "dv", "mxf", "gxf", "nut", "nsv", "nuv", "wtv", "amv", "rm", "ivr", "pva", "ty", "swf",
    "h264", "hevc", "vvc", "h263", "h261", "m4v", "mpegvideo", "mjpeg", "mpjpeg", "jpeg_pipe", "yuv4mpegpipe", "ivf",
    "obu", "av1", "vc1", "vc1test", "cavsvideo", "dirac", "dnxhd",
)  # fmt: skip
_LISTS = (b"#EXTM3U", b"ffconcat", b"<?xml", b"<MPD", b"v=0\r", b"v=0\n", b"[Reference]", b"#!")
"""First bytes of files that name other files or addresses and contain no video."""
MAX_FRAME_BYTES = 200 << 20
"""Maximum bytes of a coded frame, because a decoder holds several; larger frames are refused."""
_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": ",".join(_FORMATS),
}
_MAX_PIXELS = {"max_pixels": str(MAX_FRAME_BYTES * 8 // 12)}


class VideoError(ValueError):
    """A video that cannot be used; the message is the reason, for a table of failures."""


def open_video(path: Path) -> tuple[av.container.InputContainer, VideoStream]:
    """Open a file and choose its stream: see :func:`best_stream`. No other file or address is opened.

    Raises:
        VideoError: the file is missing, empty, no video or a list of other files, or its frames are too large.
    """
    _require_file(path)
    try:
        # An absolute path after "file:" is never an address or an option, for every file name.
        container = av.open(f"file:{path.absolute()}", options=_OPTIONS, metadata_errors="replace")
    except MemoryError:
        raise VideoError("needs more memory than there is") from None
    except (FFmpegError, UnicodeError, ValueError) as error:
        raise VideoError(_why_unreadable(path, error)) from None
    try:
        stream = best_stream(list(container.streams.video))
        _require_room(stream)
        stream.codec_context.options = _MAX_PIXELS  # also if the size changes within the stream
    except VideoError:
        container.close()
        raise
    return container, stream


def best_stream(streams: list[VideoStream]) -> VideoStream:
    """The stream to read: not a cover picture; then in this order: marked as default, largest, most frames.

    Raises:
        VideoError: there is none, or none that can be decoded.
    """
    moving = [s for s in streams if not s.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails)]
    if not moving:
        raise VideoError("holds no video, only a cover picture" if streams else "holds no video")
    known = [s for s in moving if s.codec_context is not None]
    if not known:
        raise VideoError("is coded in a way that is not known here")

    def rank(stream: VideoStream) -> tuple[bool, bool, int, int]:
        still = stream.frames == 1 or bool(stream.disposition & Disposition.still_image)
        area = (stream.codec_context.width or 0) * (stream.codec_context.height or 0)
        return not still, bool(stream.disposition & Disposition.default), area, stream.frames or 0

    return max(known, key=rank)


def reason(error: Exception) -> str:
    """An error of FFmpeg as text."""
    if isinstance(error, MemoryError):
        return "needs more memory than there is"
    return str(getattr(error, "strerror", None) or error).strip()


def _require_file(path: Path) -> None:
    try:
        if not path.is_file():
            raise VideoError("is a folder" if path.is_dir() else "file is missing")
        if path.stat().st_size == 0:
            raise VideoError("file is empty (0 bytes)")
    except OSError as error:
        raise VideoError(f"cannot be opened ({reason(error)})") from None


def _why_unreadable(path: Path, error: Exception) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    except OSError as problem:
        return f"cannot be opened ({reason(problem)})"
    if head.startswith(_LISTS):
        return "is no readable video: it is a text that names other files or addresses, and those are not opened"
    known = "it is of a kind that is not read here" if isinstance(error, ArgumentError) else reason(error)
    return f"is no readable video ({known})"


def _require_room(stream: VideoStream) -> None:
    context = stream.codec_context
    width, height = context.width or 0, context.height or 0
    size = frame_bytes(stream)
    if size > MAX_FRAME_BYTES:
        raise VideoError(
            f"has frames of {width} x {height}, {size / 1e6:.0f} MB each, more than {MAX_FRAME_BYTES / 1e6:.0f}: "
            "make a smaller copy"
        )


def frame_bytes(stream: VideoStream) -> int:
    """Memory of one coded frame; 0 if the stream does not give its size."""
    context = stream.codec_context
    bits = context.format.padded_bits_per_pixel if context.format is not None else 12
    return (context.width or 0) * (context.height or 0) * max(bits, 12) // 8
