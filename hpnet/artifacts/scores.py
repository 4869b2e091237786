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
from .files import delete_old
from .labelling import LABELLING, Labelling, schema_labelling


def _typed_scores(table: pa.Table, path: Path) -> pa.Table:
    """The columns of a score file with their types and without nulls; else a ValueError that names the problem."""
    types = {"clip_id": pa.string(), "split": pa.string(), "label": pa.int64(), "logits": pa.list_(pa.float32())}
    if "fold" in table.column_names:
        types["fold"] = pa.int64()
    columns = {}
    for name, kind in types.items():
        try:
            columns[name] = table[name].cast(kind)
            columns[name].validate(full=True)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ValueError(f"{path}: column {name!r} cannot be read as {kind} ({error})") from None
        values = columns[name].combine_chunks()
        if values.null_count or (name == "logits" and values.flatten().null_count):
            raise ValueError(f"{path}: column {name!r} has empty cells")
    return pa.table(columns)


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
        pq.write_table(table, delete_old(path))

    @classmethod
    def load(cls, path: Path) -> Scores:
        """Read scores.parquet."""
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: train that stream first")
        table = pq.read_table(path)
        labelling = schema_labelling(table.schema, path)
        missing = {"clip_id", "split", "label", "logits"} - set(table.column_names)
        if missing:
            raise ValueError(f"{path}: column {sorted(missing)[0]!r} is missing")
        table = _typed_scores(table, path)
        if table.num_rows == 0:
            raise ValueError(f"{path} has no clip: nothing was scored")
        lengths = {len(row) for row in table["logits"].to_pylist()}
        if len(lengths) > 1:
            raise ValueError(f"{path}: rows have {sorted(lengths)} classes; expected one number")
        logits = np.array(table["logits"].to_pylist(), dtype=np.float32).reshape(table.num_rows, -1)
        return cls(
            tuple(table["clip_id"].to_pylist()),
            tuple(table["split"].to_pylist()),
            np.array(table["label"].to_pylist(), dtype=np.int64),
            logits,
            labelling,
            np.array(table["fold"].to_pylist(), dtype=np.int64) if "fold" in table.column_names else None,
        )
