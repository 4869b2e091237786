"""Video files in and out, through PyAV. Frames are uint8 RGB (H, W, 3), in display orientation, of square pixels.

All commands use one reader. It uses a file's timestamps, and not the rate or frame count of the header. It opens only
the given file.
"""

from __future__ import annotations

from .opening import VIDEO_SUFFIXES, VideoError, open_video
from .pixels import RGBConverter, shown_size
from .reading import VideoInfo, decoding_bytes, frame_times, load_clip, probe, read_frames, read_timed
from .writing import write_timed, write_video

__all__ = [
    "VIDEO_SUFFIXES",
    "RGBConverter",
    "VideoError",
    "VideoInfo",
    "decoding_bytes",
    "frame_times",
    "load_clip",
    "open_video",
    "probe",
    "read_frames",
    "read_timed",
    "shown_size",
    "write_timed",
    "write_video",
]
