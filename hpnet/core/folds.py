"""Folds for cross-validation: clips of one group (a source, a subject) are in one fold. Pure functions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def grouped_folds(groups: Sequence[str], labels: Sequence[int], count: int, seed: int = 0) -> NDArray[np.int64]:
    """The fold of every clip (N,), 0 to ``count`` - 1, or fewer where there are fewer groups.

    Groups go one by one, the largest first, to the fold that has the fewest clips of their actions, then the fewest
    clips, so that every fold shows every action as far as the groups allow. Which of two equal groups goes first
    depends on the seed and their names alone; the order of the clips does not matter.

    Args:
        groups: (N,) names; clips of one group are not independent.
        labels: (N,) of the clips.
        count: folds, at least 2.

    Raises:
        ValueError: there are fewer than two groups.
    """
    members: dict[str, list[int]] = {}
    for number, group in enumerate(groups):
        members.setdefault(group, []).append(number)
    if len(members) < 2 or count < 2:
        raise ValueError(f"{count} folds of {len(members)} groups: cross-validation needs at least two of both")
    count = min(count, len(members))
    place = {label: column for column, label in enumerate(sorted(set(labels)))}
    held = np.zeros((count, len(place)), np.int64)  # (folds, actions) clips
    folds = np.zeros(len(groups), np.int64)
    order = sorted(members, key=lambda g: (-len(members[g]), hashlib.sha256(f"{seed}:{g}".encode()).hexdigest()))
    for group in order:
        own = np.bincount([place[labels[n]] for n in members[group]], minlength=len(place))
        crowded = held @ own
        chosen = min(range(count), key=lambda fold: (crowded[fold], held[fold].sum(), fold))
        held[chosen] += own
        folds[members[group]] = chosen
    return folds
