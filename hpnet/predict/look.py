"""``hpnet look``: what a detector and a pose network see in videos, before anything is trained."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from ..artifacts.files import writing
from ..core.sampling import uniform_indices
from ..core.skeleton import Skeleton
from ..core.video import probe, write_timed
from ..params import Params
from ..weights.suitability import Comparison
from .drawing import drawn_by_score
from .recognise import Prediction
from .result import Shown, shown_frames
from .seeing import open_eyes
from .suitability import Sureness
from .windows import UNUSABLE, Cutting, Image, OnFailure, every_window, in_parts, why

WINDOW_S, WHOLE_S, OVERLAP = 4.0, 8.0, 0.25
"""People are tracked through windows of so many seconds; a video up to ``WHOLE_S`` is one."""
MOST_FPS = 60.0
"""Frames beyond this rate are left out."""
TILE_PX = 360
"""Width of a frame on a sheet."""
TILES, COLUMNS = 12, 4
"""Frames of a video that has a sheet to itself, and how many stand side by side."""
ROW_TILES = 6
"""Frames of each of several videos, which have a row each."""


@dataclass
class Sight:
    """What was seen in a video so far.

    Attributes:
        frames: frames looked at.
        numbers: the people, by their numbers.
        sureness: how sure both networks are.
    """

    sureness: Sureness
    frames: int = 0
    numbers: set[int] = field(default_factory=set)

    def add(self, seen: Prediction) -> None:
        """Take a window into account."""
        window = seen.seen
        self.frames = max(self.frames, window.window.first + window.count)
        self.numbers |= {person.number for person in window.people}
        self.sureness.add(window, seen.poses)

    @property
    def boxes(self) -> float | None:
        """Median over windows of the mean score of a box; None of no window."""
        return float(np.median(self.sureness.boxes)) if self.sureness.boxes else None

    @property
    def joints(self) -> float | None:
        """Median over windows of the mean score of a joint; None where nobody was found."""
        return float(np.median(self.sureness.joints)) if self.sureness.joints else None

    @property
    def comparisons(self) -> list[Comparison]:
        """See :meth:`hpnet.predict.suitability.Sureness.comparisons`."""
        return self.sureness.comparisons()


class Looker:
    """The networks of some parameters at work; no map is read.

    Args:
        params: sections ``detect`` and ``estimate`` count.
        device, precision: see :mod:`hpnet.core.device`.
    """

    def __init__(self, params: Params, *, device: str = "auto", precision: str = "float32") -> None:
        self.params = params
        self.cutting = Cutting(WINDOW_S, WHOLE_S, OVERLAP, MOST_FPS, params.detect.stride)
        nothing = {"taps": (), "mirrored": False, "window": 1, "vectors": False, "frames": 0}
        estimate = params.estimate.model_copy(update=nothing)
        self.eyes = open_eyes(params.detect, estimate, device=device, precision=precision)

    @property
    def skeleton(self) -> Skeleton:
        """Of the people."""
        return self.eyes.estimator.meta.skeleton

    def look(self, file: Path, on_failure: OnFailure, sight: Sight) -> Iterator[Prediction]:
        """The windows of a video with people and poses, which are added to ``sight``; nothing is asked of them."""
        for part in in_parts(every_window([file], self.cutting, on_failure)):
            for seen in self.eyes.see(part, lambda _: None, on_failure):
                window, poses = seen.in_video_px()
                found = Prediction(window, poses, (), None)
                sight.add(found)
                yield found

    def draw(self, shown: Shown) -> Image:
        """A frame with boxes, tracks and skeletons, as a new image."""
        return drawn_by_score(shown.prediction, shown.index, shown.frame, self.skeleton.edges)


def new_sight(params: Params) -> Sight:
    """Of a video that was not looked at yet."""
    return Sight(Sureness(params))


def save_video(looker: Looker, file: Path, target: Path, on_failure: OnFailure) -> Sight:
    """Write a video with what is seen in it; nothing where it has no frame that can be read."""
    sight = new_sight(looker.params)
    frames = ((s.seconds, looker.draw(s)) for s in shown_frames(looker.look(file, on_failure, sight), MOST_FPS))
    begun = next(frames, None)
    if begun is not None:
        write_timed(target, itertools.chain([begun], frames), probe(file).fps or MOST_FPS)
    return sight


def only_look(looker: Looker, file: Path, on_failure: OnFailure) -> Sight:
    """Look at a video and draw nothing."""
    sight = new_sight(looker.params)
    for _ in looker.look(file, on_failure, sight):
        pass
    return sight


def tiles(looker: Looker, file: Path, count: int, on_failure: OnFailure) -> tuple[Sight, list[Image]]:
    """``count`` frames of a video, evenly spaced, ``TILE_PX`` wide, with what is seen in them; all of a shorter one."""
    sight = new_sight(looker.params)
    try:
        info = probe(file)
    except UNUSABLE as error:
        on_failure(str(file), why(error))
        return sight, []
    shown_count = info.frames if info.fps <= MOST_FPS else max(1, int(info.seconds * MOST_FPS))
    chosen = set(uniform_indices(shown_count, min(count, shown_count)).tolist())
    found = []
    for number, shown in enumerate(shown_frames(looker.look(file, on_failure, sight), MOST_FPS)):
        if number in chosen:
            image = looker.draw(shown)
            size = TILE_PX, max(1, round(image.shape[0] * TILE_PX / image.shape[1]))
            found.append(np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8))
    return sight, found


def folded(row: list[Image]) -> list[list[Image]]:
    """The frames of one video in lines of ``COLUMNS``."""
    return [row[n : n + COLUMNS] for n in range(0, len(row), COLUMNS)]


def together(params: Params, sights: Sequence[Sight]) -> Sureness:
    """How sure the networks are in several videos: the medians of all, each video counts once."""
    boxes = [sight.boxes for sight in sights if sight.boxes is not None]
    return Sureness(params, boxes, [sight.joints for sight in sights if sight.joints is not None])


def save_sheet(rows: list[list[Image]], target: Path) -> None:
    """Write pictures (H, W, 3), row by row, as one picture; the rows of a sheet are as high as their highest.

    Raises:
        ValueError: there is no picture.
    """
    if not any(rows):
        raise ValueError(f"{target}: no frame to show")
    wide = max(len(row) for row in rows)
    lines = []
    for row in filter(None, rows):
        high = max(image.shape[0] for image in row)
        line = np.zeros((high, wide * TILE_PX, 3), np.uint8)
        for n, image in enumerate(row):
            line[: image.shape[0], n * TILE_PX : n * TILE_PX + image.shape[1]] = image
        lines.append(line)
    bgr = cv2.cvtColor(np.concatenate(lines), cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(target.suffix.lower(), bgr)
    if not done:
        raise ValueError(f"{target}: a picture of {bgr.shape[1]} x {bgr.shape[0]} cannot be written: name fewer videos")
    with writing(target) as file:
        file.write_bytes(data.tobytes())
