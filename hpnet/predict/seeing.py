"""Windows -> people with their poses, as the stages detect and estimate find them."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from ..artifacts.poses import ClipPoses
from ..core.sampling import uniform_indices
from ..detect.detector import open_detector
from ..detect.params import DetectParams
from ..estimate.backends import TORCH, Running, open_estimator
from ..estimate.batches import ClipBoxes, ClipSource, Estimator, FailedClip
from ..estimate.params import EstimateParams
from .people import PeopleFinder, SeenWindow
from .windows import UNUSABLE, Image, OnFailure, Window, why

Kept = TypeVar("Kept")
CROPS_ON_CPU = 4
"""Crops of a pass; 16 are no faster for a single video, and need 200 MB more."""


@dataclass(frozen=True)
class Seen(Generic[Kept]):
    """A window with its people and their poses, in pixels of the frames as they were read.

    Attributes:
        kept: what was taken of the window while its frames were there.
    """

    window: SeenWindow
    poses: ClipPoses
    kept: Kept

    def in_video_px(self) -> tuple[SeenWindow, ClipPoses]:
        """Both in pixels of the video, where its frames were read at a reduced size."""
        window = self.window.in_video_px()
        if window.size_px == self.window.size_px:
            return window, self.poses
        factor = np.array(window.size_px, np.float32) / self.window.size_px
        affine = self.poses.frame_to_crop.copy()
        affine[..., :2] /= factor
        keypoints = (self.poses.keypoints_px * factor).astype(np.float32)
        return window, replace(self.poses, keypoints_px=keypoints, frame_to_crop=affine)


class Eyes:
    """A detector, its tracker and a pose network."""

    def __init__(self, estimator: Estimator, finder: PeopleFinder) -> None:
        self.estimator = estimator
        self.finder = finder

    def see(
        self,
        windows: Iterable[Window],
        keep: Callable[[SeenWindow], Kept],
        on_failure: OnFailure,
        read: Callable[[SeenWindow, Kept], ClipBoxes] | None = None,
    ) -> Iterator[Seen[Kept]]:
        """The people of windows, in order; crops of neighbouring windows share batches.

        A window that cannot be decoded is left out, and ``on_failure`` is told its video and the reason.

        Args:
            keep: what to keep of a window while its frames are there.
            read: the boxes that the pose network is to read; None: those of ``estimate.frames`` frames of each window.
        """
        waiting: deque[tuple[SeenWindow, Kept]] = deque()
        chosen = read or (lambda seen, _: clip_boxes(seen, self.estimator.params.frames))
        for poses in self.estimator.estimate_clips(self._sources(windows, keep, chosen, waiting, on_failure)):
            window, kept = waiting.popleft()
            if isinstance(poses, FailedClip):
                on_failure(poses.clip_id, poses.reason)
                continue
            yield Seen(window, poses, kept)

    def _sources(
        self,
        windows: Iterable[Window],
        keep: Callable[[SeenWindow], Kept],
        read: Callable[[SeenWindow, Kept], ClipBoxes],
        waiting: deque[tuple[SeenWindow, Kept]],
        on_failure: OnFailure,
    ) -> Iterator[ClipSource]:
        """What the pose network is to read; whose it is goes to ``waiting``."""
        for window in windows:
            try:
                seen = self.finder.find(window)
                kept = keep(seen)
            except UNUSABLE as error:
                window.frames.release()
                on_failure(window.video, why(error))
                continue
            waiting.append((seen, kept))
            yield ClipSource(window.video, functools.partial(_images, window), read(seen, kept))


def open_eyes(
    detect: DetectParams,
    estimate: EstimateParams,
    *,
    people: int | None = None,
    device: str = "auto",
    precision: str = "float32",
    graphs: Path = Path(".work/graphs"),
) -> Eyes:
    """The networks that parameters name.

    Args:
        people: people kept per window; None: ``detect.persons``.
        device, precision: see :mod:`hpnet.core.device`; backends other than torch run on the CPU.
        graphs: folder of the networks that were written as graphs, for these backends.
    """
    from ..core.device import resolve_device  # torch takes seconds, and files are refused before

    on_gpu = estimate.backend == TORCH and resolve_device(device).type == "cuda"
    running = Running(device, precision, None if on_gpu else CROPS_ON_CPU, graphs=graphs)
    detector = open_detector(detect, device, precision, graphs)
    return Eyes(open_estimator(estimate, running), PeopleFinder(detect, people or detect.persons, detector))


def _images(window: Window) -> Iterator[Image]:
    """The window's frames, for the last time where they are a file's."""
    try:
        for _, image in window.frames:
            yield image
    finally:
        if not window.keeps_frames:
            window.frames.release()


def clip_boxes(seen: SeenWindow, count: int) -> ClipBoxes:
    """The people's boxes as the estimator reads them, ranked, on ``count`` frames uniform in the window (0: on all)."""
    if not seen.people:
        return ClipBoxes.nobody()
    tracks = [person.track for person in seen.people]
    frames = np.concatenate([t.frames for t in tracks])
    ranks = np.concatenate([np.full(len(t.frames), m, np.int64) for m, t in enumerate(tracks)])
    boxes = np.concatenate([t.boxes_xyxy_px for t in tracks]).astype(np.float64)
    kept = np.isin(frames, uniform_indices(seen.count, count))
    return ClipBoxes(frames[kept], ranks[kept], boxes[kept])
