"""The source a user gives: a camera, a stream's address, or a file."""

from __future__ import annotations

import re
from pathlib import Path

SCHEMES = frozenset({"http", "https", "rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "tcp", "tls", "udp"})
"""Schemes of addresses, before ``://``; every other name is a file."""


def is_camera(source: str) -> bool:
    """Whether this is a camera's number and no file of that name exists."""
    return re.fullmatch(r"[0-9]+", source) is not None and not Path(source).exists()


def is_address(source: str) -> bool:
    """Whether this is a stream's address and no file of that name exists."""
    scheme, found, rest = source.partition("://")
    return bool(found and rest) and scheme.lower() in SCHEMES and not Path(source).exists()
