"""Clips and boxes -> keypoints and windows: crops of many clips share batches, while threads decode ahead.

What looks at a batch of crops is a subclass of :class:`Estimator`; nothing here imports torch.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..artifacts.poses import ClipPoses, PoseMeta
from ..core import video
from ..core.geometry import apply_affine, crop_affine, invert_affine, released_crop_affine, widen
from .params import EstimateParams
from .reading import Weighed, read_streams_ahead
from .warp import warp_crops


@dataclass(frozen=True)
class ClipBoxes:
    """The boxes of one clip: one row per person and frame.

    Attributes:
        frames: (R,) int, frame of each row.
        tracks: (R,) int, rank of the person: 0 is the most prominent.
        boxes_xyxy_px: (R, 4) float, frame pixels.
    """

    frames: NDArray[np.int64]
    tracks: NDArray[np.int64]
    boxes_xyxy_px: NDArray[np.float64]

    @classmethod
    def nobody(cls) -> ClipBoxes:
        """No boxes."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4)))


@dataclass(frozen=True)
class ClipSource:
    """A clip to estimate.

    Attributes:
        frames: returns its frames, RGB, decoded on demand: arrays, or what the estimator's ``crops_of`` reads too.
        memory_bytes: memory that decoding needs; 0 if that is little.
    """

    clip_id: str
    frames: Callable[[], Iterable[Any]]
    boxes: ClipBoxes
    memory_bytes: int = 0


@dataclass(frozen=True)
class FailedClip:
    """A clip that could not be decoded, and the reason."""

    clip_id: str
    reason: str


@dataclass(frozen=True)
class CropPoses:
    """Results of the network for a batch of N crops; numpy, on the host.

    Attributes:
        keypoints_crop_px: (N, V, 2) float32.
        scores: (N, V) float32 in 0..1.
        windows: tap -> (N, V, W, W, C) float16.
        vectors: (N, V, Lx + Ly) float16, or None.
    """

    keypoints_crop_px: NDArray[np.float32]
    scores: NDArray[np.float32]
    windows: dict[str, NDArray[np.float16]]
    vectors: NDArray[np.float16] | None


class Estimator(ABC):
    """A pose network with its taps, ready to look at crops.

    Attributes:
        params: section ``estimate``.
        widths: how many times as wide as usual the crops of each person are; the first is 1.
        batch_size: crops per forward pass.
        meta: description of the network.
        readers: number of clips that :meth:`estimate_clips` decodes at the same time, with one thread each.
        ahead: batches that compute while the next one is prepared.
        data_wait_s: seconds that :meth:`estimate_clips` has waited for frames so far.
    """

    params: EstimateParams
    widths: tuple[float, ...]
    batch_size: int
    meta: PoseMeta
    readers: int = 1
    ahead: int = 0
    data_wait_s: float = 0.0

    @abstractmethod
    def submit(self, crop_batch: NDArray[np.uint8]) -> Callable[[], CropPoses]:
        """Start to estimate crops, like :meth:`__call__`; the returned function waits for the result."""

    def __call__(self, crop_batch: NDArray[np.uint8]) -> CropPoses:
        """Estimate crops (N, height, width, 3), uint8 RGB; where taps see wider crops, (N, S, height, width, 3).

        S crops of each person: as wide as each of ``widths``, of which the first is 1.
        """
        return self.submit(crop_batch)()

    def frame_to_crop(self, boxes_xyxy_px: NDArray[np.float64], frame_size_px: tuple[int, int]) -> NDArray[np.float64]:
        """(N, 4) boxes in a frame of (width, height) -> (N, 2, 3) affines from frame to crop pixels."""
        if self.meta.parity != "none":
            return released_crop_affine(boxes_xyxy_px, frame_size_px, self.meta.input_size_px)
        return crop_affine(boxes_xyxy_px, self.meta.input_size_px, self.params.box_scale)

    def crops_of(self, frame: Any, frame_to_crop: NDArray[np.float64]) -> Any:
        """The crops (N, S, h, w, 3), uint8, of the people of a frame (H, W, 3) at affines (N, 2, 3)."""
        size_px = self.meta.input_size_px
        by_width = [warp_crops(frame, widen(frame_to_crop, size_px, times), size_px) for times in self.widths]
        return np.stack(by_width, axis=1)  # S of (N, h, w, 3) -> (N, S, h, w, 3)

    def estimate_clips(self, sources: Iterable[ClipSource]) -> Iterator[ClipPoses | FailedClip]:
        """Estimate clips, in order; crops of neighbouring clips share batches while threads decode ahead.

        A clip without people gives one person who is never valid. A clip that cannot be decoded gives a
        :class:`FailedClip`.
        """
        open_clips: deque[_OpenClip] = deque()
        batch: list[tuple[_OpenClip, _Crop]] = []
        in_flight: deque[tuple[list[tuple[_OpenClip, _Crop]], Callable[[], CropPoses]]] = deque()

        def launch() -> None:
            in_flight.append((list(batch), self.submit(self._stacked([crop.pixels for _, crop in batch]))))
            batch.clear()

        def land(most: int) -> None:
            while len(in_flight) > most:
                rows, result = in_flight.popleft()
                poses = result()
                for row, (clip, crop) in enumerate(rows):
                    clip.take(crop, poses, row)

        depth = max(4 * self.batch_size, 64 * self.readers)
        streams = (Weighed(self._crops(source), source.memory_bytes) for source in sources)
        events = read_streams_ahead(streams, self.readers, depth)
        for event in self._timed(events):
            if isinstance(event, _Begin):
                open_clips.append(_OpenClip(event.clip_id, self.meta))
            elif isinstance(event, _End):
                open_clips[-1].size, open_clips[-1].error = (event.frames, event.persons), event.error
            else:
                open_clips[-1].expected += 1
                batch.append((open_clips[-1], event))
                if len(batch) >= self.batch_size:
                    launch()
                    land(self.ahead)
            while open_clips and open_clips[0].is_whole:
                yield open_clips.popleft().result()
        if batch:
            launch()
        land(0)
        for clip in open_clips:
            yield clip.result()

    def cut(self, source: ClipSource) -> Iterator[NDArray[np.uint8]]:
        """The crops (S, h, w, 3) of a clip's people, in the order of its frames, as the network is to see them.

        Raises:
            VideoError: the clip cannot be decoded, or its boxes do not belong to it.
        """
        for event in self._crops(source):
            if isinstance(event, _Crop):
                yield event.pixels
            elif isinstance(event, _End) and event.error:
                raise video.VideoError(f"{source.clip_id}: {event.error}")

    def _stacked(self, pixels: list[Any]) -> Any:
        """Crops as one array (N, S, h, w, 3)."""
        return np.stack(pixels)

    def _timed(self, events: Iterator[_Begin | _Crop | _End]) -> Iterator[_Begin | _Crop | _End]:
        """The same events; measures the time spent waiting for them."""
        while True:
            started = time.perf_counter()
            event = next(events, None)
            self.data_wait_s += time.perf_counter() - started
            if event is None:
                return
            yield event

    def _crops(self, source: ClipSource) -> Iterator[_Begin | _Crop | _End]:
        yield _Begin(source.clip_id)
        boxes, count, error = source.boxes, 0, ""
        rows = {frame: np.flatnonzero(boxes.frames == frame) for frame in np.unique(boxes.frames).tolist()}
        try:
            for frame, image in enumerate(source.frames()):
                count += 1
                if frame not in rows:
                    continue
                size = (image.shape[1], image.shape[0])
                outside = _outside(boxes, rows[frame], size)
                if outside:
                    error = f"frame {frame} {outside}"
                    break
                affines = self.frame_to_crop(boxes.boxes_xyxy_px[rows[frame]], size)
                cut = self.crops_of(image, affines)
                for row, affine, crop in zip(rows[frame], affines, cut, strict=True):
                    yield _Crop(frame, int(boxes.tracks[row]), affine, crop)
            if count == 0:
                error = "holds no frame"
            elif not error and boxes.frames.max(initial=0) >= count:
                error = (
                    f"has boxes up to frame {boxes.frames.max()}, but {count} frames: the boxes are of another video"
                )
        except video.VideoError as problem:
            error = str(problem)
        persons = int(boxes.tracks[boxes.frames < count].max(initial=0)) + 1
        yield _End(count, persons, error)


def _outside(boxes: ClipBoxes, rows: NDArray[np.intp], frame_size_px: tuple[int, int]) -> str:
    """An error message for the first box outside the frame; empty if there is none."""
    for row in rows:
        x1, y1, x2, y2 = boxes.boxes_xyxy_px[row]
        width, height = frame_size_px
        if min(x2, width) <= max(x1, 0) or min(y2, height) <= max(y1, 0):
            return (
                f"track {boxes.tracks[row]}: box ({x1:g}, {y1:g}, {x2:g}, {y2:g}) has no area inside the "
                f"{width} x {height} frame: correct the boxes"
            )
    return ""


@dataclass(frozen=True)
class _Begin:
    clip_id: str


@dataclass(frozen=True)
class _Crop:
    frame: int
    track: int
    affine: NDArray[np.float64]
    pixels: Any


@dataclass(frozen=True)
class _End:
    frames: int
    persons: int
    error: str


@dataclass(frozen=True)
class _Taken:
    """A crop's result: ``row`` of the batch ``poses``."""

    frame: int
    track: int
    affine: NDArray[np.float64]
    poses: CropPoses
    row: int


@dataclass
class _OpenClip:
    """Collects a clip's results while its crops are being estimated."""

    clip_id: str
    meta: PoseMeta
    expected: int = 0
    taken: list[_Taken] = field(default_factory=list)
    size: tuple[int, int] | None = None
    error: str = ""

    def take(self, crop: _Crop, poses: CropPoses, row: int) -> None:
        self.taken.append(_Taken(crop.frame, crop.track, crop.affine, poses, row))

    @property
    def is_whole(self) -> bool:
        return self.size is not None and len(self.taken) == self.expected

    def result(self) -> ClipPoses | FailedClip:
        if self.error or self.size is None:
            return FailedClip(self.clip_id, self.error or "was not read to its end")
        frames, persons = self.size
        joints, window = self.meta.skeleton.num_joints, self.meta.window
        clip = ClipPoses(
            self.clip_id,
            np.zeros((frames, persons, joints, 2), np.float32),
            np.zeros((frames, persons, joints), np.float32),
            np.zeros((frames, persons, 2, 3), np.float32),
            np.zeros((frames, persons), bool),
            {
                tap: np.zeros((frames, persons, joints, window, window, channels), np.float16)
                for tap, (channels, _, _) in self.meta.taps.items()
            },
            np.zeros((frames, persons, joints, self.meta.vectors), np.float16) if self.meta.vectors else None,
        )
        if not self.taken:
            return clip
        taken = self.taken
        where = np.array([one.frame for one in taken]), np.array([one.track for one in taken])
        affines = np.stack([one.affine for one in taken])  # (N, 2, 3)
        keypoints = np.stack([one.poses.keypoints_crop_px[one.row] for one in taken])  # (N, V, 2)
        clip.keypoints_px[where] = apply_affine(invert_affine(affines), keypoints)
        clip.scores[where] = np.stack([one.poses.scores[one.row] for one in taken])
        clip.frame_to_crop[where] = affines
        clip.valid[where] = True
        for tap, values in clip.windows.items():
            values[where] = np.stack([one.poses.windows[tap][one.row] for one in taken])
        if clip.vectors is not None:
            for one in taken:
                assert one.poses.vectors is not None
                clip.vectors[one.frame, one.track] = one.poses.vectors[one.row]
        return clip


def joined(parts: list[CropPoses]) -> CropPoses:
    """Several batches joined into one."""
    vectors = [part.vectors for part in parts if part.vectors is not None]
    return CropPoses(
        np.concatenate([part.keypoints_crop_px for part in parts]),
        np.concatenate([part.scores for part in parts]),
        {tap: np.concatenate([part.windows[tap] for part in parts]) for tap in parts[0].windows},
        np.concatenate(vectors) if vectors else None,
    )
