"""Scores of one stream: ``scores.parquet``. Axes: N clips, K classes.

Every score is of weights that did not see the clip. Those of the splits ``val`` and ``test`` were held out; a clip that
the final weights were fitted to, of ``train`` or ``val``, has the score of another fit without its fold, whose number
says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..core.clip_ids import check_clip_ids
from ..core.reading import decoding
from .files import AGAIN, writing
from .labelling import LABELLING, Labelling, metadata_labelling
from .missing import missing
from .parquet import NUMBERS, TEXT, WHOLE, read_columns

KINDS = {"clip_id": TEXT, "split": TEXT, "label": WHOLE, "logits": NUMBERS, "fold": WHOLE}


@dataclass(frozen=True)
class Scores:
    """Scores of one stream (``scores.parquet``): clip_id, split, label, logits (list of K float32), fold.

    ``labelling``: the labels they were made from, including training clips; None if unknown. ``folds``: (N,) the fold
    that a clip was left out with when its score was made, -1 for clips that no weights saw; None: all are such clips.
    """

    clip_ids: tuple[str, ...]
    splits: tuple[str, ...]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]
    labelling: Labelling | None = None
    folds: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        count = len(self.clip_ids)
        if not (len(self.splits) == len(self.labels) == len(self.logits) == count) or self.logits.ndim != 2:
            raise ValueError(
                f"scores: {count} clips, {len(self.splits)} splits, "
                f"labels {self.labels.shape}, logits {self.logits.shape}"
            )
        if self.folds is not None and len(self.folds) != count:
            raise ValueError(f"scores: {count} clips, {len(self.folds)} folds")
        check_clip_ids(self.clip_ids, "scores")
        if len(set(self.clip_ids)) != count:
            seen: set[str] = set()
            twice = next(c for c in self.clip_ids if c in seen or seen.add(c))  # type: ignore[func-returns-value]
            raise ValueError(f"scores: clip {twice!r} is listed twice")
        broken = np.flatnonzero(~np.isfinite(self.logits).all(1))
        if len(broken):
            raise ValueError(f"scores: clip {self.clip_ids[broken[0]]!r} has a score that is not finite")
        if self.labelling is not None:
            facts = dict(zip(self.clip_ids, zip(self.labels.tolist(), self.splits, strict=True), strict=True))
            rows = Labelling(self.labelling.classes, facts)
            if change := rows.change(self.labelling):
                raise ValueError(f"scores do not agree with their recorded labels: {change}")
            if len(self.labelling.classes) != self.logits.shape[1]:
                raise ValueError(
                    f"scores are of {self.logits.shape[1]} classes, they were made from {len(self.labelling.classes)}"
                )

    @property
    def unseen(self) -> NDArray[np.bool_]:
        """(N,) the clips that choices may be fitted on: those of the split val, and those that are out of fold."""
        held_out = np.array([split == "val" for split in self.splits], dtype=bool)
        return held_out if self.folds is None else held_out | (self.folds >= 0)

    def split(self, name: str) -> Scores:
        """The clips of one split."""
        return self.where(np.array([s == name for s in self.splits], dtype=bool))

    def where(self, keep: NDArray[np.bool_]) -> Scores:
        """The clips at which ``keep`` (N,) is true."""
        return replace(
            self,
            clip_ids=tuple(c for c, k in zip(self.clip_ids, keep, strict=True) if k),
            splits=tuple(s for s, k in zip(self.splits, keep, strict=True) if k),
            labels=self.labels[keep],
            logits=self.logits[keep],
            folds=None if self.folds is None else self.folds[keep],
        )

    def save(self, path: Path) -> None:
        """Write scores.parquet."""
        table = pa.table(
            {
                "clip_id": pa.array(self.clip_ids, pa.string()),
                "split": pa.array(self.splits, pa.string()),
                "label": pa.array(self.labels, pa.int64()),
                "logits": pa.array(list(self.logits.astype(np.float32)), pa.list_(pa.float32())),
                **({} if self.folds is None else {"fold": pa.array(self.folds, pa.int64())}),
            }
        )
        if self.labelling is not None:
            table = table.replace_schema_metadata({LABELLING: self.labelling.to_text()})
        with writing(path) as file:
            pq.write_table(table, file)

    @classmethod
    def load(cls, path: Path) -> Scores:
        """Read scores.parquet."""
        if not path.is_file():
            raise missing(path, "train that stream first")
        read = read_columns(path, KINDS, optional=("fold",))
        labelling = metadata_labelling(read.metadata, path)
        table = read.table
        if table.empty:
            raise ValueError(f"{path} has no clip: nothing was scored")
        with decoding(path, AGAIN, "is not what hpnet writes"):
            return cls(
                tuple(table["clip_id"].tolist()),
                tuple(table["split"].tolist()),
                table["label"].to_numpy(np.int64),
                read.lists["logits"],
                labelling,
                table["fold"].to_numpy(np.int64) if "fold" in table.columns else None,
            )
