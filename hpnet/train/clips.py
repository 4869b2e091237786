"""The clips of a training run: their splits, labels and mirrored classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..artifacts.clips import Clips
from ..artifacts.labelling import Labelling

Indices: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class LabelledClips:
    """The clips of a task: ids, splits (train, val, test or empty) and labels (N,) int64, -1 where unknown.

    Attributes:
        partners: (K,) the class of each class's mirror image, -1 for none; by default every class is its own.
        groups: source of each clip: clips of one group are not independent; empty: every clip is its own.
        grouped_by: what the groups are: source, subject or clip.
    """

    clip_ids: tuple[str, ...]
    splits: tuple[str, ...]
    labels: Indices
    num_classes: int
    partners: Indices | None = None
    groups: tuple[str, ...] = ()
    grouped_by: str = "clip"

    def __post_init__(self) -> None:
        if self.partners is not None and len(self.partners) != self.num_classes:
            raise ValueError(f"{len(self.partners)} mirror partners of {self.num_classes} classes")
        if not len(self.clip_ids) == len(self.splits) == len(self.labels):
            raise ValueError(f"{len(self.clip_ids)} clips, {len(self.splits)} splits, {len(self.labels)} labels")
        if self.groups and len(self.groups) != len(self.clip_ids):
            raise ValueError(f"{len(self.clip_ids)} clips, {len(self.groups)} groups")

    def of(self, split: str, *, labelled: bool = False) -> Indices:
        """Indices of a split's clips, in table order; ``labelled``: only those with a known class."""
        known = self.labels >= 0
        return np.array(
            [i for i, s in enumerate(self.splits) if s == split and (known[i] or not labelled)], dtype=np.int64
        )

    def require_training(self) -> None:
        """Refuse a table without a single labelled training clip."""
        if not len(self.of("train", labelled=True)):
            raise ValueError(
                f"none of the {len(self.clip_ids)} clips is a labelled training clip: check data.protocol and clips.csv"
            )

    def mirror_partners(self) -> Indices:
        """(K,) :attr:`partners`, or every class itself."""
        return np.arange(self.num_classes) if self.partners is None else self.partners

    @property
    def sided(self) -> bool:
        """Whether the mirror image of some action is another action, or none."""
        return bool((self.mirror_partners() != np.arange(self.num_classes)).any())

    def labelling(self, class_names: Sequence[str]) -> Labelling:
        """The clips that a run uses: labelled training clips, and validation and test clips."""
        used = {
            clip_id: (int(label), split)
            for clip_id, label, split in zip(self.clip_ids, self.labels, self.splits, strict=True)
            if split in ("val", "test") or (split == "train" and label >= 0)
        }
        return Labelling(tuple(class_names), used)

    def untrained_classes(self) -> list[int]:
        """Classes without a training clip; the network cannot learn them."""
        return sorted(set(range(self.num_classes)) - set(self.labels[self.of("train", labelled=True)].tolist()))


def labelled_clips(clips: Clips) -> LabelledClips:
    """The usable clips of a table, in its order."""
    table = clips.usable()
    groups, grouped_by = _groups(table)
    return LabelledClips(
        tuple(str(c) for c in table.clip_id),
        tuple(str(s) for s in table.split),
        table.label.to_numpy(dtype=np.int64, copy=True),
        clips.num_classes,
        clips.mirror_partners(),
        groups,
        grouped_by,
    )


def _groups(table: pd.DataFrame) -> tuple[tuple[str, ...], str]:
    """Who or what each clip comes from, and what that is: its source, where the labelled clips that are trained and
    validated on are of two or more, else its subject, else the clip. A clip that names none is one by itself."""
    learnt = table.split.isin(("train", "val")) & (table.label >= 0)
    ids = [str(clip_id) for clip_id in table.clip_id]
    for column in ("source", "subject"):
        named = [str(value) for value in table[column]]
        groups = tuple(f"{column} {value}" if value else clip for value, clip in zip(named, ids, strict=True))
        if any(named) and len({group for group, own in zip(groups, learnt, strict=True) if own}) > 1:
            return groups, column
    return tuple(ids), "clip"
