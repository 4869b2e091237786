"""A live source, watched: every frame is looked at once, and what is known of people slides with the newest window.

The detector looks every few frames; between them boxes are carried by joints. Pooled features are kept for the length
of a window, so when one ends only the streams and their fusion are left to do.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..artifacts.poses import ClipPoses
from ..core.geometry import apply_affine, invert_affine
from ..core.metrics import iou_matrix
from ..detect.bytetrack import OnlineTracker, tracker_options
from ..detect.detector import Detector
from ..detect.tracking import Track, interpolate, prominence, rank_tracks
from ..estimate.batches import CropPoses
from .carrying import Anchor
from .live import LiveFrame
from .people import Person, SeenWindow
from .pooled import Rows, pooled_clip, pooled_taps
from .seeing import Eyes, Seen
from .trained import Trained
from .windows import UNKNOWN_FPS, Window

DETECT_EVERY = 10
"""Frames from one look of the detector to the next."""
EARLY_SHARE = 0.25
"""It looks early after this share of them."""
MISSED = 2
"""A person whom the detector does not find is carried on through so many looks, if the joints are sure."""


SAME_PERSON_IOU = 0.7
"""A person whom the detector does not find, in a box that overlaps that of one whom it does find, is the same."""
_CLOCK_S = 1e-3
"""Times of frames are not more exact than this."""


@dataclass
class Watching:
    """The people of a live source.

    Args:
        project: gives the parameters.
        eyes: the detector and the pose network.
        window_s: length of a window, seconds.
        detect_every: frames from one look of the detector to the next, 1 or more. It looks sooner where somebody's
            joints become unsure and where somebody new is to be confirmed.
    """

    project: Trained
    eyes: Eyes
    window_s: float
    detect_every: int = DETECT_EVERY
    _times: deque[tuple[int, float]] = field(default_factory=deque, init=False)
    _present: dict[int, _Presence] = field(default_factory=dict, init=False)
    _tracker: OnlineTracker = field(default_factory=OnlineTracker, init=False)
    _size_px: tuple[int, int] = field(default=(1, 1), init=False)
    _since: float = field(default=math.inf, init=False)
    """Frames since the detector looked; 0: it looked at this one."""
    _place: int = field(default=-1, init=False)
    _looks: bool = field(default=False, init=False)
    """Whether the detector is to look early."""
    _posed: list[int] = field(default_factory=list, init=False)

    def look(self, frame: LiveFrame) -> None:
        """Find the people of the next frame, and their poses where the pose network reads it."""
        self._times.append((frame.number, frame.seconds))
        self._size_px = frame.image.shape[1], frame.image.shape[0]
        self._since += 1
        if self._is_read(frame.seconds):
            self._find(frame)
            self._estimate(frame)
        self._forget(frame.seconds - self.window_s)

    def window(self, window: Window) -> Seen[None]:
        """The people of a window that ends with the newest frame, ranked, and their poses, with pooled maps."""
        times_s = np.array([seconds for number, seconds in self._times if number >= window.first])
        frames = (window.first, len(times_s))
        known = [(number, p) for number, p in self._present.items() if p.has_pose(window.first)]
        tracks = {number: presence.track(*frames) for number, presence in known}
        ranked = rank_tracks(list(tracks.values()), len(times_s), self._size_px, window.fps)[: self.eyes.finder.keep]
        people = tuple(Person(next(n for n, own in tracks.items() if own is track), track) for track in ranked)
        seen = SeenWindow(window, times_s, self._size_px, people)
        clip = pooled_clip([self._present[p.number].stacked(window.first) for p in people], frames) if people else None
        return Seen(seen, clip or self._nobody(len(times_s)), None)

    def _is_read(self, seconds: float) -> bool:
        """Whether the pose network reads a frame: a window has as many poses as a clip in training."""
        frames = self.project.params.estimate.frames
        place = int((seconds + _CLOCK_S) * frames / self.window_s) if frames else self._place + 1
        read = place != self._place
        self._place = place
        return read

    def _find(self, frame: LiveFrame) -> None:
        """The boxes in which the pose network is to look."""
        detector = self.eyes.finder.detector
        if detector is None:
            width, height = self._size_px
            self._known(0).see(frame.number, np.array([0, 0, width, height], np.float64), 1.0)
            self._posed = [0]
        elif self._since >= self.detect_every * (EARLY_SHARE if self._looks else 1):
            self._detect(frame, detector)
            self._since, self._looks = 0, self._tracker.is_unsure
        else:
            for presence in self._present.values():
                presence.is_detected = False

    def _detect(self, frame: LiveFrame, detector: Detector) -> None:
        boxes, scores = detector.detect(frame.image[None])[0]
        options = tracker_options(self._reads_fps(), self.eyes.finder.params.confidence)
        found = self._tracker.detected((boxes, scores), options)
        for number, row in found.items():
            self._known(number).see(frame.number, boxes[row].astype(np.float64), float(scores[row]))
        taken = boxes[list(found.values())]
        for number, presence in self._present.items():
            if number not in found and presence.is_here:
                presence.miss(number in self._tracker.numbers and not _is_inside(presence.box_xyxy_px, taken))
        self._posed = self._most_prominent()

    def _known(self, number: int) -> _Presence:
        return self._present.setdefault(number, _Presence())

    def _most_prominent(self) -> list[int]:
        """The people whom the pose network reads, as many as are kept of a window."""
        first, count = self._times[0][0], len(self._times)
        span_s = self._times[-1][1] - self._times[0][1]
        fps = (count - 1) / span_s if span_s > 0 else UNKNOWN_FPS
        here = {number: p.track(first, count) for number, p in self._present.items() if p.is_here}
        order = sorted(here, key=lambda number: -prominence(here[number], count, self._size_px, fps))
        return order[: self.eyes.finder.keep]

    def _reads_fps(self) -> float:
        """Frames a second that the pose network reads."""
        frames = self.project.params.estimate.frames
        span_s = self._times[-1][1] - self._times[0][1]
        fps = (len(self._times) - 1) / span_s if span_s > 0 else UNKNOWN_FPS
        return min(fps, frames / self.window_s) if frames else fps

    def _estimate(self, frame: LiveFrame) -> None:
        """Poses of people in their boxes, and the boxes of those whom the detector did not look for."""
        people = [(n, self._present[n]) for n in self._posed if n in self._present and self._present[n].is_here]
        if people:
            boxes = np.stack([presence.box_xyxy_px for _, presence in people])
            affines = self.eyes.estimator.frame_to_crop(boxes, self._size_px)
            poses = self.eyes.estimator(self.eyes.estimator.crops_of(frame.image, affines))
            keypoints_px = apply_affine(invert_affine(affines), poses.keypoints_crop_px).astype(np.float32)
            rows = self._rows(frame, keypoints_px, poses)
            for n, (_, presence) in enumerate(people):
                sure = presence.pose(frame.number, keypoints_px[n], poses.scores[n], self._size_px)
                if presence.is_here:
                    presence.rows.append({name: values[n : n + 1] for name, values in rows.items()})
                self._looks = self._looks or not sure
        if self._since:
            self._tracker.carried({number: presence.box_xyxy_px for number, presence in people if presence.is_here})

    def _rows(self, frame: LiveFrame, keypoints_px: NDArray[np.float32], poses: CropPoses) -> Rows:
        """Rows of several people in one frame, in the order of the crops."""
        count = len(keypoints_px)
        rows: Rows = {
            "frame": np.full(count, frame.number),
            "keypoints_px": keypoints_px,
            "scores": poses.scores,
            "valid": np.ones(count, bool),
        }
        if poses.vectors is not None:
            rows["vectors"] = poses.vectors
        return rows | pooled_taps(poses.windows, self.project.params.pool)

    def _forget(self, begin_s: float) -> None:
        """Drop what no window needs any more."""
        while self._times[0][1] < begin_s:
            self._times.popleft()
        for presence in self._present.values():
            presence.forget(self._times[0][0])
        self._present = {number: p for number, p in self._present.items() if p.is_here or p.boxes}

    def _nobody(self, count: int) -> ClipPoses:
        """A window in which nobody is: one person who is never valid."""
        joints = self.eyes.estimator.meta.skeleton.num_joints
        zeros = np.zeros((count, 1, joints, 2), np.float32)
        return ClipPoses("window", zeros, zeros[..., 0], np.zeros((count, 1, 2, 3), np.float32),
                         np.zeros((count, 1), bool), {})  # fmt: skip


@dataclass
class _Presence:
    """What is kept of a person.

    Attributes:
        box_xyxy_px: (4,) float64, the newest.
        score: of the detector, when it last saw the person.
        is_here: whether the box is carried on.
        is_detected: whether the box is the detector's.
        boxes: frame, box and score of the newest window.
        rows: of one frame each.
    """

    box_xyxy_px: NDArray[np.float64] = field(default_factory=lambda: np.zeros(4))
    score: float = 0.0
    is_here: bool = False
    is_detected: bool = False
    missed: int = 0
    anchor: Anchor | None = None
    boxes: deque[tuple[int, NDArray[np.float64], float]] = field(default_factory=deque)
    rows: deque[Rows] = field(default_factory=deque)

    def see(self, frame: int, box_xyxy_px: NDArray[np.float64], score: float) -> None:
        """The detector found the person."""
        self.box_xyxy_px, self.score = box_xyxy_px, score
        self.is_here = self.is_detected = True
        self.missed = 0
        self.boxes.append((frame, box_xyxy_px, score))

    def miss(self, may_stay: bool) -> None:
        """The detector did not find the person."""
        self.is_detected = False
        self.missed += 1
        self.is_here = may_stay and self.missed <= MISSED and self.anchor is not None

    def pose(
        self, frame: int, keypoints_px: NDArray[np.float32], scores: NDArray[np.float32], size_px: tuple[int, int]
    ) -> bool:
        """Take the joints (V, 2) with scores (V,) that were found in the box, and carry the box.

        Returns:
            Whether the joints are sure enough to carry it on.
        """
        if self.is_detected or self.anchor is None:
            self.anchor = Anchor(self.box_xyxy_px, keypoints_px, scores)
            return True
        box = self.anchor.carried(keypoints_px, scores)
        if box is None:
            self.is_here = False
            return False
        limits = np.array(size_px, np.float64)
        box = np.concatenate([box[:2].clip(0, limits), box[2:].clip(0, limits)])
        self.is_here = bool((box[2:] - box[:2] >= 1).all())
        if self.is_here:
            self.box_xyxy_px = box
            self.boxes.append((frame, box, self.score))
        return self.is_here and not self.anchor.has_fallen(scores)

    def has_pose(self, first: int) -> bool:
        """Whether there is a pose from frame ``first`` on."""
        return bool(self.rows) and int(self.rows[-1]["frame"][0]) >= first

    def track(self, first: int, count: int) -> Track:
        """The boxes of ``count`` frames from ``first`` on; a person who is here has one until the last frame."""
        known = [(frame - first, box, score) for frame, box, score in self.boxes if frame >= first]
        if self.is_here and known[-1][0] < count - 1:
            known.append((count - 1, *known[-1][1:]))
        frames, boxes, scores = zip(*known, strict=True)
        return interpolate(
            Track(np.array(frames, np.int64), np.stack(boxes).astype(np.float32), np.array(scores, np.float32))
        )

    def stacked(self, first: int) -> Rows:
        """The rows from frame ``first`` on."""
        rows = [row for row in self.rows if int(row["frame"][0]) >= first]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    def forget(self, first: int) -> None:
        """Drop what is older than frame ``first``."""
        while self.boxes and self.boxes[0][0] < first:
            self.boxes.popleft()
        while self.rows and int(self.rows[0]["frame"][0]) < first:
            self.rows.popleft()


def _is_inside(box_xyxy_px: NDArray[np.float64], others: NDArray[np.float32]) -> bool:
    """Whether a box (4,) is where one of others (B, 4) is, so that both show one person."""
    return bool((iou_matrix(box_xyxy_px[None], others) > SAME_PERSON_IOU).any()) if len(others) else False
