"""Out of fold: every clip that is learnt is scored by a fit that did not see it, nor any clip of its group.

The final weights are then fitted to all of them. What is chosen afterwards (weights and temperatures of fusion,
thresholds) is fitted to the out-of-fold scores, never to those of the final weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.folds import grouped_folds
from .clips import Indices, LabelledClips

SEED = 0
"""Of the folds: the same ones for every stream and seed of training, so that their scores can be fused."""


@dataclass(frozen=True)
class Folds:
    """How the clips that are learnt, the labelled ones of the splits train and val, are cut.

    Attributes:
        of: (N,) the fold of each clip of the table; -1: in none.
        by: what is kept together: source, subject, clip, or the split val, which then is the only fold.
    """

    of: Indices
    by: str

    @property
    def count(self) -> int:
        """How many."""
        return int(self.of.max()) + 1

    @property
    def text(self) -> str:
        """For a reader: "out of fold (5 folds by source, 262 clips)"."""
        clips = int((self.of >= 0).sum())
        if self.by == "split":
            return f"held out (the validation split, {clips} clips), then learnt too"
        return f"out of fold ({self.count} folds by {self.by}, {clips} clips)"

    def to_json(self) -> dict[str, Any]:
        """For cards and metrics."""
        return {"folds": self.count, "by": self.by, "clips": int((self.of >= 0).sum())}

    def views(self, clips: LabelledClips) -> Iterator[LabelledClips]:
        """Per fold: its clips are the split val, all others that are learnt the split train."""
        for fold in range(self.count):
            yield _with_splits(clips, learnt(clips), np.where(self.of == fold, "val", "train"))


@dataclass(frozen=True)
class OutOfFold:
    """Scores (n, K) float32 of the clips at ``indices`` (n,), in ascending order, each by a fit without its fold."""

    indices: Indices
    logits: NDArray[np.float32]
    folds: Folds


def learnt(clips: LabelledClips) -> NDArray[np.bool_]:
    """(N,) the clips that final weights are fitted to: the labelled ones of the splits train and val."""
    return np.array([split in ("train", "val") for split in clips.splits]) & (clips.labels >= 0)


def whole(clips: LabelledClips) -> LabelledClips:
    """The same clips; those that are learnt are all of the split train."""
    return _with_splits(clips, learnt(clips), np.full(len(clips.splits), "train"))


def make_folds(clips: LabelledClips, count: int) -> Folds:
    """Cut the clips that are learnt into ``count`` folds by their groups; 1: the split val is the only fold.

    Raises:
        ValueError: there are not two groups, or no validation clips; says what to change.
    """
    own = np.flatnonzero(learnt(clips))
    found = np.full(len(clips.clip_ids), -1, dtype=np.int64)
    if count == 1:
        found[clips.of("val", labelled=True)] = 0
        if found.max(initial=-1) < 0:
            raise ValueError(
                "train.validation_folds is 1, the validation split, and no clip is of it: set it to 5, or "
                "data.val_fraction above 0"
            )
        return Folds(found, "split")
    groups = clips.groups or clips.clip_ids
    if len({groups[n] for n in own}) < 2:
        raise ValueError(
            f"{len(own)} clips to learn, expected at least two that are independent of each other: add clips"
        )
    found[own] = grouped_folds([groups[n] for n in own], clips.labels[own].tolist(), count, SEED)
    return Folds(found, clips.grouped_by)


def _with_splits(clips: LabelledClips, chosen: NDArray[np.bool_], splits: NDArray[np.str_]) -> LabelledClips:
    named = tuple(str(new) if use else old for old, new, use in zip(clips.splits, splits, chosen, strict=True))
    return replace(clips, splits=named)
