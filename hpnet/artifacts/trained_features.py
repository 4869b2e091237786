"""Inputs of a trained classifier for clips: ``trained_features.parquet``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..core.clip_ids import check_clip_ids
from ..core.reading import decoding
from .files import writing
from .parquet import NUMBERS, TEXT, read_columns


@dataclass(frozen=True)
class TrainedFeatures:
    """Inputs of a trained classifier (``trained_features.parquet``): clip_id, features (list of D float32)."""

    clip_ids: tuple[str, ...]
    array: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.array.ndim != 2 or len(self.array) != len(self.clip_ids):
            raise ValueError(f"trained features: {len(self.clip_ids)} clips, array {self.array.shape}; expected (N, D)")
        check_clip_ids(self.clip_ids, "trained features")
        if not np.isfinite(self.array).all():
            raise ValueError("trained features hold values that are not finite")

    def of(self, clip_ids: Sequence[str]) -> NDArray[np.float32]:
        """(n, D) of some clips, in their order.

        Raises:
            KeyError: a clip has no features.
        """
        row_of = {clip_id: row for row, clip_id in enumerate(self.clip_ids)}
        return self.array[np.array([row_of[clip_id] for clip_id in clip_ids], dtype=np.int64)]

    def save(self, path: Path) -> None:
        """Write trained_features.parquet."""
        columns = {
            "clip_id": pa.array(self.clip_ids, pa.string()),
            "features": pa.array(list(self.array.astype(np.float32)), pa.list_(pa.float32())),
        }
        with writing(path) as file:
            pq.write_table(pa.table(columns), file)

    @classmethod
    def load(cls, path: Path) -> TrainedFeatures:
        """Read trained_features.parquet.

        Raises:
            ValueError: a column is missing, or rows have different lengths.
        """
        read = read_columns(path, {"clip_id": TEXT, "features": NUMBERS}, remedy="train that stream again")
        with decoding(path, "train that stream again"):
            return cls(tuple(read.table["clip_id"].tolist()), read.lists["features"])
