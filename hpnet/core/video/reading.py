"""Video files -> frames and their times."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from av.video.stream import VideoStream
from numpy.typing import NDArray

from ..stretch import SAME_TIME_S, Stretch
from .opening import VideoError, frame_bytes, open_video, reason
from .pixels import RGBConverter, Upright, orientation, shown_size
from .timing import Clock, PacketTimes, Stamps, Timeline, timeline, typical_interval_s
from .truncation import missing_end

_SMALL_FRAME_PX = 640 * 480  # for smaller frames, decoding threads cost more time than they save
_THREAD_BYTES = 512 << 20
"""Maximum bytes of coded frames of all decoding threads together."""
_LARGE_BYTES = 16 << 20
_ONE_LARGE = threading.Lock()
"""Lock: many videos are probed at the same time, but only one with large frames."""
_HELD_BY_DECODER, _HELD_SHOWN = 5, 3
"""Number of frames in memory: reference frames of the decoder, and RGB frames in progress."""
_COUNTED_PX = 100_000_000
"""If packets may show no frame, frames are counted by decoding videos of up to this number of pixels."""
_NOTHING_NEW_BYTES = 16
"""Packets up to this size may only repeat the previous frame."""
_DEFAULT_FPS = 25.0  # of an elementary stream without a rate, as FFmpeg assumes
_FASTEST_FPS = 300
"""A higher rate in a header is the rate of a clock, not of frames."""
_TOLD = frozenset({"h264", "hevc", "av1", "libdav1d", "vp9", "mjpeg", "prores", "dnxhd"})
_INDEXED = ("mov", "matroska")
_ELEMENTARY = frozenset(
    {"mpegvideo", "h264", "hevc", "vvc", "m4v", "h263", "h261", "mjpeg", "jpeg_pipe", "vc1", "cavsvideo", "obu"}
)  # fmt: skip
"""Formats without timestamps (FFmpeg invents some). Their frames have the coded rate."""
_BROADCAST = _ELEMENTARY | {"mpegts", "mpeg"}
"""Formats that may be cut anywhere: data before the first and after the last complete frame is not damage."""
_MOST_LOST = 0.1
_SOUND_DELAY_S = 0.1
"""Maximum difference of the delays of sound and pictures by coding, seconds."""
_SOUGHT_S = 4.0
"""A stretch that starts earlier is read from the video's beginning; for later ones the reader seeks."""
_AS_STORED = Upright()
_LATE_FRAMES = 3.5
"""A decoder may end this number of intervals before the last packet, because the last packets may show no frame."""


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video, from its packets and first frame, not from its header.

    Attributes:
        width, height: of the frames as they are read: upright, with square pixels, and reduced in size if they are
        large.
        fps: frames per second, without gaps; 0 if unknown.
        frames: number of shown frames.
        seconds: from the first frame to the end of the last one, gaps included.
    """

    width: int
    height: int
    fps: float
    frames: int
    seconds: float


def probe(path: str | Path, stretch: Stretch | None = None) -> VideoInfo:
    """Size, rate, number of frames and duration of a video, or of a stretch of it.

    Reads the timestamps of all packets and decodes the first frame; for formats with packets that may show no frame
    (AVI, VP8, broadcast streams) a short video is decoded completely. The frames of a stretch are counted by the times
    of the whole video, which are kept, because a long video has many stretches.

    Raises:
        VideoError: the file is missing, empty, no video, too large, or its first frame cannot be decoded; or there is
            no frame in the stretch.
    """
    if stretch is None:
        return _probed(Path(path))[0]
    info, times = _kept(Path(path))
    frames = sum(map(stretch.holds, times))
    if not frames:
        raise VideoError(f"has no frame from {stretch.start_s:g} to {stretch.end_s:g} s, of {info.seconds:g} s")
    return replace(info, frames=frames, seconds=round(min(stretch.end_s, info.seconds) - stretch.start_s, 6))


def frame_times(path: str | Path) -> tuple[float, ...]:
    """The times of all frames, seconds, on the clock of :func:`read_timed`. Raises as :func:`probe`."""
    return _kept(Path(path))[1]


def _kept(path: Path) -> tuple[VideoInfo, tuple[float, ...]]:
    """:func:`_probed`, once per process while the file does not change."""
    try:
        facts = path.stat()
    except OSError:
        return _probed(path)  # says what is wrong
    return _kept_while(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=8)
def _kept_while(path: Path, changed_ns: int, size: int) -> tuple[VideoInfo, tuple[float, ...]]:
    return _probed(path)


def _probed(path: Path) -> tuple[VideoInfo, tuple[float, ...]]:
    """The properties of a whole video, and the times of its frames."""
    container, stream = open_video(path)
    with closing(container), _ONE_LARGE if frame_bytes(stream) > _LARGE_BYTES else nullcontext():
        stream.codec_context.thread_count = 1  # starting threads would take longer than decoding one frame
        walk = _Walk(container, stream)
        try:
            began = next(walk, None)
            if began is None:
                raise VideoError("holds no frame")
            first = began[1]
            size = shown_size(first.width, first.height, stream.sample_aspect_ratio)
            width, height = size[:: -1 if orientation(first).quarter_turns % 2 else 1]
            counted = None if walk.packets_tell else _count(began, walk)
            walk.skip_to_end()
        except (FFmpegError, MemoryError) as error:
            raise VideoError(f"first frame cannot be decoded ({reason(error)})") from None
        shown = walk.timeline(counted)
        times = tuple((shown.times_s - _begin_s(container, began[0])).tolist())
    return VideoInfo(width, height, shown.fps, len(shown.times_s), shown.seconds), times


def read_timed(
    path: str | Path, max_frames: int | None = None, threads: int | None = None, stretch: Stretch | None = None
) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Decode a video frame by frame: (seconds, uint8 RGB (H, W, 3)).

    Seconds start at the first visible or audible moment of the file, and always rise. Frames are upright and have
    square pixels; frames with a side above ``hpnet.core.video.pixels.MAX_SIDE_PX`` are reduced in size. If the frame
    size changes, frames are scaled to the size of the first. ``threads``: decoding threads; by default one per core,
    and one for small frames. ``stretch``: only its frames, ``max_frames`` of them at most.

    Raises:
        VideoError: nothing can be decoded, or the stream breaks off (the frames before it have been yielded).
    """
    path = Path(path)
    start = _Start() if stretch is None or stretch.start_s < _SOUGHT_S else _sought(path, stretch.start_s)
    container, stream = open_video(path)
    with closing(container):
        stream.codec_context.thread_count = _threads(stream, threads)
        if start.seek_s is not None:
            container.seek(_ticks(stream, start.seek_s), stream=stream)
        walk = _Walk(container, stream)
        convert = RGBConverter()
        count, now_s = 0, 0.0
        try:
            for now_s, frame in walk:
                if max_frames is not None and count >= max_frames:
                    return
                if start.size is None:
                    start = _Start.at(container, stream, now_s, frame)
                if stretch is not None and not stretch.holds(now_s - start.began_s):
                    if now_s - start.began_s < stretch.end_s - SAME_TIME_S:
                        continue
                    break
                assert start.size is not None
                yield now_s - start.began_s, convert(frame, start.size, start.upright)
                count += 1
        except (FFmpegError, MemoryError, ValueError) as error:
            raise VideoError(f"breaks off after {count} frames ({reason(error)})") from None
        if count == 0:
            where = f" from {stretch.start_s:g} to {stretch.end_s:g} s" if stretch else ""
            raise VideoError(f"holds no frame{where}")
        if (max_frames is None or count < max_frames) and (stretch is None or stretch.holds(now_s - start.began_s)):
            slack_s = _LATE_FRAMES * walk.interval_s
            lost = walk.lost() or missing_end(path, container, stream, now_s + walk.interval_s, slack_s)
            if lost:
                raise VideoError(f"breaks off after {count} frames, at {now_s - start.began_s:.2f} s ({lost})")


@dataclass(frozen=True)
class _Start:
    """What the first frame of a video says of all, and where reading starts.

    Attributes:
        began_s: start of the file on its own clock.
        size, upright: of the frames as they are read; None before the first frame.
        seek_s: where to seek, on the file's clock; None: read from the beginning.
    """

    began_s: float = 0.0
    size: tuple[int, int] | None = None
    upright: Upright = _AS_STORED
    seek_s: float | None = None

    @classmethod
    def at(
        cls, container: av.container.InputContainer, stream: VideoStream, time_s: float, frame: av.VideoFrame
    ) -> _Start:
        """From the first frame and its time on the file's clock."""
        size = shown_size(frame.width, frame.height, stream.sample_aspect_ratio)
        return cls(_begin_s(container, time_s), size, orientation(frame))


def _sought(path: Path, start_s: float) -> _Start:
    """Where to seek for a frame at ``start_s``; no seeking in formats without an index, or if it leads too far.

    Raises:
        VideoError: the file cannot be opened.
    """
    container, stream = open_video(path)
    with closing(container):
        stream.codec_context.thread_count = 1
        walk = _Walk(container, stream)
        try:
            began = next(walk, None)
            if began is None or not walk.packets_tell:
                return _Start()
            start = _Start.at(container, stream, *began)
        except (FFmpegError, MemoryError, ValueError):
            return _Start()
    container, stream = open_video(path)
    with closing(container):
        stream.codec_context.thread_count = 1
        try:
            container.seek(_ticks(stream, start.began_s + start_s - SAME_TIME_S), stream=stream)
            landed = next(_Walk(container, stream), None)
        except (FFmpegError, MemoryError, ValueError):
            return _Start()
    if landed is None or landed[0] - start.began_s > start_s + SAME_TIME_S:
        return _Start()
    return replace(start, seek_s=start.began_s + start_s - SAME_TIME_S)


def _ticks(stream: VideoStream, time_s: float) -> int:
    """A time on the file's clock in the stream's units."""
    return int(time_s / float(stream.time_base or 1))


def read_frames(
    path: str | Path, max_frames: int | None = None, threads: int | None = None, stretch: Stretch | None = None
) -> Iterator[NDArray[np.uint8]]:
    """The frames of :func:`read_timed` without their times. Raises the same errors."""
    for _, frame in read_timed(path, max_frames, threads, stretch):
        yield frame


def load_clip(path: str | Path, max_frames: int | None = None) -> NDArray[np.uint8]:
    """All frames of a video as uint8 RGB (T, H, W, 3). Raises the errors of :func:`read_timed`."""
    return np.stack(list(read_frames(path, max_frames)))


def decoding_bytes(path: str | Path, threads: int) -> int:
    """Approximate memory of frames while ``threads`` read a video; 0 if it cannot be read."""
    try:
        container, stream = open_video(Path(path))
    except VideoError:
        return 0
    with closing(container):
        width, height = shown_size(stream.width, stream.height, stream.sample_aspect_ratio)
        coded = _HELD_BY_DECODER + _threads(stream, threads)
        return coded * frame_bytes(stream) + _HELD_SHOWN * width * height * 3


class _Walk:
    """The decoded frames of a stream, and their times on the file's clock.

    The times of its packets are recorded meanwhile.

    Attributes:
        packets_tell: every packet is a shown frame, so packets can be counted instead of frames.
    """

    def __init__(self, container: av.container.InputContainer, stream: VideoStream) -> None:
        self._stream = stream
        self._packets = container.demux(stream)
        self._base_s = float(stream.time_base or 1)
        name = container.format.name.split(",")[0]
        self._broadcast, self._timed = name in _BROADCAST, name not in _ELEMENTARY
        self.packets_tell = name in _INDEXED and stream.codec_context.name in _TOLD
        self._coded_fps = _coded_fps(stream)
        self._times = PacketTimes(1 / self._coded_fps)
        self._stamps = Stamps(only_decoding=name == "avi")
        self._clock = Clock(1 / self._coded_fps)
        self._last_duration_s = 0.0
        self._latest_s = float("-inf")
        self._errors = self._decoded = 0
        self._reached_s: float | None = None
        self._frames = self._decode()

    def __iter__(self) -> Iterator[tuple[float, av.VideoFrame]]:
        return self._frames

    def __next__(self) -> tuple[float, av.VideoFrame]:
        return next(self._frames)

    def skip_to_end(self) -> None:
        """Record the times of the remaining packets, without decoding them."""
        for packet in self._packets:
            self._note(packet)

    def timeline(self, times_s: list[float] | None) -> Timeline:
        """The times of all frames: given times of decoded frames, or else times of packets."""
        return timeline(self._times.times_s if times_s is None else times_s, self._last_duration_s, self._coded_fps)

    @property
    def interval_s(self) -> float:
        """The usual time between frames, from the packets so far."""
        return typical_interval_s(np.sort(self._times.times_s)) or 1 / self._coded_fps

    def lost(self) -> str:
        """The part at the end that was not decoded, as text; empty if the decoder reached the last packet."""
        packets = len(self._times)
        if self._errors > max(2.0, _MOST_LOST * packets):
            return f"{self._errors} of {packets} packets cannot be decoded"
        if self._times.untimed == packets:
            short = packets - self._decoded > max(_LATE_FRAMES, _MOST_LOST * packets)
            return f"{packets} packets gave {self._decoded} frames" if short else ""
        last_s, reached_s = self._times.last_s, self._reached_s
        if last_s is None or reached_s is None:
            return ""
        if last_s - reached_s > _LATE_FRAMES * self.interval_s:
            return f"the last {last_s - reached_s:.2f} s cannot be decoded"
        return ""

    def _decode(self) -> Iterator[tuple[float, av.VideoFrame]]:
        for packet in self._packets:
            if self._note(packet):
                yield from self._shown(packet)
        yield from self._shown(None)

    def _shown(self, packet: av.Packet | None) -> Iterator[tuple[float, av.VideoFrame]]:
        try:
            frames = self._stream.codec_context.decode(packet)
        except FFmpegError:
            if not self._broadcast:
                raise
            self._errors += 1
            return
        for frame in frames:
            self._decoded += 1
            stamp_s = self._seconds(self._stamps(frame.pts, frame.dts))
            if stamp_s is not None:
                self._reached_s = stamp_s
            elif self._reached_s is not None:
                self._reached_s += self._clock.interval_s
            yield self._clock(stamp_s), frame

    def _seconds(self, stamp: int | None) -> float | None:
        return stamp * self._base_s if self._timed and stamp is not None else None

    def _note(self, packet: av.Packet) -> bool:
        """Record a packet's times, unless an edit list hides it; returns whether it has content."""
        if not packet.size:
            return False
        if not packet.is_discard:
            shown_s, decoded_s = self._seconds(packet.pts), self._seconds(packet.dts)
            self._times.add(shown_s, decoded_s, tells=packet.size > _NOTHING_NEW_BYTES)
            if self._times.times_s[-1] >= self._latest_s:
                self._latest_s = self._times.times_s[-1]
                self._last_duration_s = self._seconds(packet.duration) or 0.0
        return True


def _count(began: tuple[float, av.VideoFrame], walk: _Walk) -> list[float] | None:
    """The times of all frames, from decoding; None if that takes too long or breaks off."""
    times, first = [began[0]], began[1]
    most = _COUNTED_PX / max(1, first.width * first.height)
    try:
        for now_s, _ in walk:
            times.append(now_s)
            if len(times) > most:
                return None
    except FFmpegError:
        return None
    return times


def _coded_fps(stream: VideoStream) -> float:
    for rate in (stream.codec_context.framerate, stream.guessed_rate, stream.average_rate):
        if rate and 1 <= rate <= _FASTEST_FPS:
            return float(rate)
    return _DEFAULT_FPS


def _threads(stream: VideoStream, threads: int | None) -> int:
    """Decoding threads: FFmpeg takes 0 as one per core."""
    small = (stream.width or 0) * (stream.height or 0) < _SMALL_FRAME_PX
    wanted = threads or (1 if small else 0)
    room = _THREAD_BYTES // max(1, frame_bytes(stream))
    return wanted if room >= 64 else max(1, min(wanted or room, room))


def _begin_s(container: av.container.InputContainer, first_s: float) -> float:
    """Start of the file on its own clock: the first frame, or sound that starts well before it."""
    starts = [
        stream.start_time * float(stream.time_base)
        for stream in container.streams.audio
        if stream.start_time is not None and stream.time_base is not None
    ]
    heard_s = min(starts, default=first_s)
    return heard_s if heard_s < first_s - _SOUND_DELAY_S else first_s
