"""Untrimmed videos as the networks of a project see them, for the stage ``events``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..core.video import VideoError
from ..events.learning import Boxes, Watched
from .following import parts_of
from .model import Model
from .windows import every_window


class Watcher:
    """Watches videos with the networks of a project.

    Args:
        folder: the project.
        window_s: length of the windows that the networks read; None: the median of the training clips.
        device, precision: see :mod:`hpnet.core.device`.

    Attributes:
        classes: names of the K classes of the networks.
        plain: the rule that needs no untrimmed video.
    """

    def __init__(self, folder: Path, window_s: float | None, device: str, precision: str) -> None:
        self._model = Model(folder, device, precision=precision)
        self._model.project.taught = None  # what is learnt here is of the trained actions
        self._cutting = self._model.cutting(window_s=window_s)
        self._finder = self._model.finder(self._cutting.window_s)
        self.classes = tuple(self._model.project.classes)
        self.plain = self._finder.plain

    def __call__(self, file: Path) -> Watched:
        """A video, watched once.

        Raises:
            VideoError: it cannot be read to its end.
        """

        def fail(video: str, reason: str) -> None:
            raise VideoError(f"{video}: {reason}")

        following = self._finder.follow(every_window([file], parts_of(self._cutting), fail), fail)
        found: dict[int, dict[int, np.ndarray]] = {}
        for part in following:
            for person in part.seen.people:
                frames = (person.track.frames + part.seen.window.first).tolist()
                boxes = found.setdefault(person.number, {})
                boxes.update(zip(frames, person.track.boxes_xyxy_px, strict=True))
        boxes_of = {person: Boxes.of(boxes) for person, boxes in found.items()}
        return Watched(tuple(following.timelines), boxes_of)
