"""Clips that a person should look at: labels that the scores contradict, and people who were lost or never found.

Pure functions over tables; nothing here knows which file a table came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.metrics import iou
from ..core.suitability import LEAST_RATIO

LEAST_TIMES = 3.0
"""A label is doubted where another class is so many times as probable: that holds for two classes and for 120."""
LEAST_PRESENCE = 0.6
"""The followed person should have a box in this share of the clip's frames."""
JUMP_IOU = 0.3
"""Boxes of one track in frames that follow each other overlap more than this, unless the track changes persons."""


@dataclass(frozen=True)
class Doubt:
    """A reason to look at a clip. ``weight``, 0..1, orders doubts of one kind: the greater comes first."""

    clip_id: str
    reason: str
    weight: float


def doubted_labels(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], times: float = LEAST_TIMES
) -> NDArray[np.int64]:
    """Rows whose best class is ``times`` as probable as their own, the greatest difference of both first.

    Args:
        probabilities: (N, K).
        labels: (N,); rows below 0 have no label and are left out.
    """
    own = np.where(labels >= 0, probabilities[np.arange(len(labels)), labels.clip(0)], np.inf)
    best = probabilities.max(1)  # (N,)
    margin, rows = best - own, np.flatnonzero((best > own) & (best >= times * own))
    return rows[np.argsort(-margin[rows], kind="stable")].astype(np.int64)


def unseen_people(failed: Mapping[str, str], frames: Mapping[str, int]) -> Iterator[Doubt]:
    """Clips in which nobody was found, of those that could be read.

    Args:
        failed: clip -> why it gave no boxes.
        frames: clip -> its frames, of the clips that count.
    """
    for clip_id, reason in sorted(failed.items()):
        if clip_id in frames:
            yield Doubt(clip_id, reason, 1.0)


def lost_people(boxes: pd.DataFrame, frames: Mapping[str, int]) -> Iterator[Doubt]:
    """Clips whose first track is missing in many frames, or jumps from one place to another.

    Args:
        boxes: clip_id, frame, track, x1, y1, x2, y2; the first track is 0.
        frames: clip -> its frames, of the clips that count.
    """
    first = boxes[(boxes.track == 0) & boxes.clip_id.isin(set(frames))].sort_values(["clip_id", "frame"], kind="stable")
    clip_ids, steps = first.clip_id.to_numpy(str), first.frame.to_numpy(np.int64)
    corners = first[["x1", "y1", "x2", "y2"]].to_numpy(np.float64).reshape(-1, 4)
    follows = (clip_ids[1:] == clip_ids[:-1]) & (steps[1:] == steps[:-1] + 1)
    jumps = np.flatnonzero(follows & (iou(corners[1:], corners[:-1]) < JUMP_IOU))
    jump_frame = {str(clip_ids[row + 1]): int(steps[row + 1]) for row in jumps[::-1]}  # the first of each clip
    others = set(boxes[boxes.track > 0].clip_id)
    for clip_id, count in first.clip_id.value_counts(sort=False).items():
        name = str(clip_id)
        presence = count / max(1, frames[name])
        if name in jump_frame:
            yield Doubt(name, f"the box of the first person jumps at frame {jump_frame[name]}", 1.0)
        elif presence < LEAST_PRESENCE:
            more = ", and others are in it" if name in others else ""
            yield Doubt(name, f"the first person is seen in {presence:.0%} of the frames{more}", 1 - presence)


def unsure_people(means: Mapping[str, float], what: str) -> Iterator[Doubt]:
    """Clips whose mean score is below 0.75 of the median clip's.

    Args:
        means: clip -> mean score of its boxes or joints.
        what: ``boxes`` or ``joints``.
    """
    if not means:
        return
    median = float(np.median(list(means.values())))
    for clip_id, mean in means.items():
        if mean < LEAST_RATIO * median:
            yield Doubt(clip_id, f"{what} score {mean:.2f}, {median:.2f} in the median clip", 1 - mean / median)


def by_clip(doubts: Iterator[Doubt]) -> list[Doubt]:
    """One doubt for each clip, with all reasons and the greatest weight, the greatest first."""
    found: dict[str, list[Doubt]] = {}
    for doubt in doubts:
        found.setdefault(doubt.clip_id, []).append(doubt)
    joined = [
        Doubt(clip_id, "; ".join(doubt.reason for doubt in own), max(doubt.weight for doubt in own))
        for clip_id, own in found.items()
    ]
    return sorted(joined, key=lambda doubt: (-doubt.weight, doubt.clip_id))
