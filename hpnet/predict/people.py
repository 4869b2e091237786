"""The people of a window, with one track number per person from window to window."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..core.metrics import iou
from ..core.video import VideoError
from ..detect.bytetrack import track
from ..detect.detector import Detection, Detector
from ..detect.params import DetectParams
from ..detect.tracking import Track, interpolate, rank_tracks
from .windows import Image, Window

BATCH_BYTES = 128 << 20
"""Maximum bytes of the frames of one call of the detector, unless it is a single frame."""
SAME_PERSON_IOU = 0.3
"""Tracks of two windows are one person from this mean IoU on, over the shared frames."""


@dataclass(frozen=True)
class Person:
    """A person in a window: the number in the video and the boxes; frames count from the window's first."""

    number: int
    track: Track


@dataclass(frozen=True)
class SeenWindow:
    """A window and its people, most prominent first.

    Attributes:
        times_s: (T,) float64, seconds of each frame.
        size_px: (width, height) of the frames in which the boxes are given.
    """

    window: Window
    times_s: NDArray[np.float64]
    size_px: tuple[int, int]
    people: tuple[Person, ...]

    @property
    def count(self) -> int:
        """Frames of the window."""
        return len(self.times_s)

    @property
    def start_s(self) -> float:
        """Time of the window's first frame."""
        return float(self.times_s[0])

    @property
    def end_s(self) -> float:
        """Time at which the window's last frame ends."""
        return float(self.times_s[-1]) + 1 / self.window.fps

    def in_video_px(self) -> SeenWindow:
        """The same with boxes in pixels of the video, if its frames were read at a reduced size."""
        if self.size_px == self.window.size_px:
            return self
        factor = np.array(self.window.size_px, np.float32) / self.size_px
        people = tuple(
            Person(p.number, replace(p.track, boxes_xyxy_px=p.track.boxes_xyxy_px * np.tile(factor, 2)))
            for p in self.people
        )
        return replace(self, size_px=self.window.size_px, people=people)


@dataclass
class PeopleFinder:
    """Detects and tracks like the detect stage, and reuses the detections that overlapping windows share.

    Args:
        params: section ``detect``.
        keep: people kept per window.
        detector: None: the whole frame is the only box.
        batch: frames per call of the detector.
    """

    params: DetectParams
    keep: int
    detector: Detector | None
    batch: int = 32
    _known: dict[int, Detection] = field(default_factory=dict, init=False, repr=False)
    _before: tuple[int, tuple[Person, ...]] = field(default=(0, ()), init=False, repr=False)
    _next: int = field(default=0, init=False, repr=False)

    def find(self, window: Window) -> SeenWindow:
        """The people of ``window``; windows of a video must come in order.

        Raises:
            VideoError: its frames cannot be decoded, or it has none.
        """
        if window.number == 0:
            self._known, self._before, self._next = {}, (window.first, ()), 0
        times_s, size_px, steps = self._detect(window)
        count = len(times_s)
        if self.detector is None:
            boxes = np.tile(np.array([0, 0, *size_px], dtype=np.float32), (count, 1))  # (T, 4)
            whole = Track(np.arange(count), boxes, np.ones(count, np.float32))
            return SeenWindow(window, times_s, size_px, (Person(0, whole),))
        detections = [self._known[window.first + step] for step in steps]
        rate_fps = window.fps / self.params.stride
        tracks = track(detections, steps, rate_fps=rate_fps, confidence=self.params.confidence)
        ranked = rank_tracks([interpolate(t) for t in tracks], count, size_px, window.fps)[: self.keep]
        people = self._number(ranked, window.first)
        self._before = (window.first, people)
        return SeenWindow(window, times_s, size_px, people)

    def _detect(self, window: Window) -> tuple[NDArray[np.float64], tuple[int, int], list[int]]:
        """Detect on frames without detections: every ``stride``-th frame of the window and its last."""
        self._known = {index: found for index, found in self._known.items() if index >= window.first}
        waiting: list[tuple[int, Image]] = []
        times_s: list[float] = []
        steps: list[int] = []
        last: Image | None = None
        for index, (seconds, frame) in enumerate(window.frames):
            times_s.append(seconds)
            last = frame
            if index % self.params.stride == 0:
                steps.append(index)
                waiting.append((window.first + index, frame))
            if len(waiting) >= min(self.batch, max(1, BATCH_BYTES // frame.nbytes)):
                self._flush(waiting)
        if last is None:
            raise VideoError("has no frame")
        if steps[-1] != len(times_s) - 1:
            steps.append(len(times_s) - 1)
            waiting.append((window.first + len(times_s) - 1, last))
        self._flush(waiting)
        return np.array(times_s), (last.shape[1], last.shape[0]), steps

    def _flush(self, waiting: list[tuple[int, Image]]) -> None:
        fresh = [(index, frame) for index, frame in waiting if index not in self._known]
        waiting.clear()
        if fresh and self.detector is not None:
            found = self.detector.detect(np.stack([frame for _, frame in fresh]))
            self._known.update((index, detection) for (index, _), detection in zip(fresh, found, strict=True))

    def _number(self, ranked: list[Track], first: int) -> tuple[Person, ...]:
        """Give each track the number of the person in the previous window that it overlaps most, or a new number."""
        offset = first - self._before[0]
        left = list(self._before[1])
        numbers: dict[int, int] = {}
        overlaps = sorted(
            ((shared_iou(t, p.track, offset), place, p.number) for place, t in enumerate(ranked) for p in left),
            key=lambda found: (-found[0], found[1]),
        )
        for overlap, place, number in overlaps:
            if overlap >= SAME_PERSON_IOU and place not in numbers and number not in numbers.values():
                numbers[place] = number
        for place in range(len(ranked)):
            if place not in numbers:
                numbers[place] = self._next
                self._next += 1
        return tuple(Person(numbers[place], t) for place, t in enumerate(ranked))


def shared_iou(later: Track, earlier: Track, offset: int) -> float:
    """Mean IoU of two tracks over their common frames; 0 without common frames.

    Args:
        offset: frame number in ``earlier`` of frame 0 of ``later``.
    """
    shared, a, b = np.intersect1d(later.frames + offset, earlier.frames, return_indices=True)
    if not len(shared):
        return 0.0
    return float(iou(later.boxes_xyxy_px[a], earlier.boxes_xyxy_px[b]).mean())
