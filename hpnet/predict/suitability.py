"""Whether a project's detector and pose network suit the people of a video that it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..artifacts.poses import ClipPoses
from ..core.suitability import score_figures
from ..weights.cards import usual_score
from ..weights.suitability import Comparison, compare
from ..work.console import one_line
from .people import SeenWindow
from .recognise import Prediction

if TYPE_CHECKING:
    from ..params import Params

LIVE_WINDOWS = 5
"""After so many windows of a live source it is said whether the networks suit its people."""


@dataclass
class Sureness:
    """How sure both networks are, window by window.

    Attributes:
        boxes: mean score of the boxes of each window so far; 0 where nobody was found.
        joints: mean score of the joints of each window with people.
    """

    params: Params
    boxes: list[float] = field(default_factory=list)
    joints: list[float] = field(default_factory=list)

    def add(self, seen: SeenWindow, poses: ClipPoses) -> None:
        """Take a window into account."""
        scores = [score for person in seen.people for score in person.track.scores.tolist()]
        self.boxes.append(sum(scores) / len(scores) if scores else 0.0)
        if poses.valid.any():
            self.joints.append(float(poses.scores[poses.valid].mean()))

    @property
    def windows(self) -> int:
        """Windows so far."""
        return len(self.boxes)

    def comparisons(self) -> list[Comparison]:
        """What they are usually, beside what they are here; nothing of networks of which nothing is known."""
        stages = (("detect", self.params.detect.rated_model, self.boxes),
                  ("estimate", self.params.estimate.rated_model, self.joints))  # fmt: skip
        found = (compare(stage, model, score_figures(means, usual_score(model))) for stage, model, means in stages)
        return [comparison for comparison in found if comparison is not None]


def watched(predictions: Iterator[Prediction], params: Params, warn: Callable[[str], None]) -> Iterator[Prediction]:
    """The same predictions of one video; ``warn`` is told where the networks do not suit the people.

    That is at a video's end, and early where it has none.
    """
    sureness, video, live = Sureness(params), "", False

    def judge() -> None:
        for comparison in sureness.comparisons():
            if not comparison.suits:
                warn(f"{one_line(video)}: warning: {comparison.warning}")

    for prediction in predictions:
        video, live = prediction.seen.window.video, prediction.latency_s is not None
        sureness.add(prediction.seen, prediction.poses)
        yield prediction
        if live and sureness.windows == LIVE_WINDOWS:
            judge()
    if sureness.windows < LIVE_WINDOWS or not live:
        judge()
