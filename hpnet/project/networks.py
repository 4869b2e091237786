"""The networks of a new project of real videos: the best that are on this machine, chosen once and written down."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.preset import Values, merged
from ..weights import published
from .weights import here, lookup

POSES: dict[str, tuple[str, ...]] = {
    **{f"rtmpose-{size}": ("c4", "c4@1.5") for size in "lms"},
    "hrnet-w48-simcc": ("h2s3", "h2s3@1.5"),
    "hrnet-w48": ("h2s3", "h2s3@1.5"),
    "hrnet-w32-simcc": ("h2s3", "h2s3@1.5"),
    "hrnet-w32": ("h2s3", "h2s3@1.5"),
    "vitpose-base": ("tokens", "tokens@1.5"),
}
"""Pose networks that are better than the packaged MoveNet, best first -> the maps to pool."""
DETECTORS = ("yolo26m", "yolo26s", "yolo11m", "yolo11s", "yolo26n", "yolo11n", "yolov8m", "yolov8s", "yolov8n")
"""Detectors that are better than the packaged MoveNet, best first."""


@dataclass(frozen=True)
class Chosen:
    """The networks of a project, as parameters, and a line about each choice."""

    values: Values
    lines: tuple[str, ...]


def choose(values: Values, folders: list[Path]) -> Chosen:
    """Better networks than those of ``values``, as far as their weights are in ``folders``.

    Args:
        values: of a preset that reads real videos.
        folders: where weights are looked for.
    """
    found: Values = {}
    lines = []
    detector = _first(DETECTORS, folders)
    packaged = values["detect"]["model"]
    if detector:
        found["detect"] = {"model": detector, "image_size": 640, "confidence": 0.25}
    lines.append(_line("detector", detector, packaged))
    pose = _first(tuple(POSES), folders)
    if pose:
        found["estimate"] = {"model": pose, "taps": list(POSES[pose])}
        found["pool"] = {"tap": "+".join(POSES[pose])}
    lines.append(_line("pose network", pose, values["estimate"]["model"]))
    video = _first(tuple(published.XCLIP_MB), folders)
    if video:
        found["train"] = {"multimodal": {"video": video}}
        lines.append(f"multimodal stream: {video}, whose weights are here")
    else:
        lines.append("multimodal stream: off, because no X-CLIP of real people is here (`hpnet weights list`)")
    return Chosen(merged(values, found), tuple(lines))


def _first(names: tuple[str, ...], folders: list[Path]) -> str:
    """The first network all of whose files are there; empty: none."""
    return next((name for name in names if here(lookup(name), folders)), "")


def _line(what: str, fetched: str, packaged: Any) -> str:
    if fetched:
        return f"{what}: {fetched}, the best whose weights are here"
    return f"{what}: {packaged}, which ships with hpnet; better ones can be fetched (`hpnet weights list`)"
