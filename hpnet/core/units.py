"""Which clips are no independent samples, and are therefore resampled together: subjects, sources or performances.

Pure functions on the clip table; nothing here touches a disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

UnitName = Literal["subject", "source", "performance", "clip"]

FEWEST_SOURCES = 10
"""With fewer sources in the test split, performances are resampled where the table tells them: an interval over a few
sources hangs on each of them, and a sign-flip test over nine has no p-value below 0.0039, too much for many claims."""
PERFORMANCE = ["source", "subject", "label", "setup", "repetition"]
"""Clips that agree in these columns and differ in the camera show one performance."""


@dataclass(frozen=True)
class Units:
    """What is resampled as one.

    Attributes:
        name: of one unit.
        reason: why it is the unit, a clause.
        number_of: clip_id -> number of its unit.
    """

    name: UnitName
    reason: str
    number_of: Mapping[str, int] = field(repr=False)

    def numbers(self, clip_ids: Sequence[str]) -> NDArray[np.int64]:
        """Unit of each clip (N,); a clip that the table lacks is a unit of its own."""
        first = 1 + max(self.number_of.values(), default=-1)
        return np.array([self.number_of.get(clip, first + at) for at, clip in enumerate(clip_ids)], dtype=np.int64)

    def count(self, clip_ids: Sequence[str]) -> int:
        """How many units these clips are of."""
        return len(np.unique(self.numbers(clip_ids)))

    @property
    def plural(self) -> str:
        """'performances'."""
        return f"{self.name}s"

    def counted(self, count: int) -> str:
        """'108 performances', '1 source'."""
        return f"{count} {self.name if count == 1 else self.plural}"


UNKNOWN = Units("clip", "no table says which clips belong together", {})
"""Every clip by itself."""


def independent_units(table: pd.DataFrame) -> Units:
    """The unit that accuracies on the test split are resampled by.

    The source (in data sets of people the subject) where the test split has :data:`FEWEST_SOURCES` or more. With fewer,
    the performance: what several cameras see at once, where the table tells cameras and repetitions. Where it does not,
    the sources, however few; where it tells no sources either, the clip. A clip of unknown source is a source of its
    own.

    Args:
        table: of all clips, with columns clip_id, label, subject, source, camera, setup, repetition, split. The choice
            is made on the labelled test clips, or on all clips where there are none.

    Returns:
        The units of every clip of the table.
    """
    clip_ids = table.clip_id.astype(str)
    among = (table.split == "test") & (table.label >= 0)
    tested = table[among] if among.any() else table
    sources = table.source.astype(str).where(table.source != "", "\n" + clip_ids)  # no source can be called so
    known = bool((tested.source != "").any())
    name: UnitName = "subject" if known and (tested.source == tested.subject).all() else "source"
    count = sources[tested.index].nunique()
    by_source = Units(name, f"clips of one {name} resemble each other", _numbered(clip_ids, sources))
    if known and count >= FEWEST_SOURCES:
        return by_source
    if _tells_performances(tested):
        why = "all cameras of a performance show the same"
        why += f"; {by_source.counted(count)} in the test split say little of others" if known else ""
        performances = table.groupby(PERFORMANCE).ngroup()
        return Units("performance", why, _numbered(clip_ids, performances))
    return by_source if known else Units("clip", "the clip table names no sources", {})


def _numbered(clip_ids: pd.Series, keys: pd.Series) -> dict[str, int]:
    """clip_id -> number of its key, from 0 in the keys' order."""
    return dict(zip(clip_ids, np.unique(keys.to_numpy(), return_inverse=True)[1].tolist(), strict=True))


def _tells_performances(rows: pd.DataFrame) -> bool:
    """Whether the columns tell cameras or repetitions apart: numbers are 0 where nothing is known."""
    numbered = bool(((rows.camera > 0) | (rows.repetition > 0)).all())
    return numbered and not rows.duplicated([*PERFORMANCE, "camera"]).any()
