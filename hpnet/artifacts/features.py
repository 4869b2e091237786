"""Features of fixed length: ``features.npy``, its index and a description of its channels.

Axes: P persons in clips, T frames, V joints, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.clip_ids import check_clip_ids
from ..core.reading import decoding
from ..core.skeleton import Skeleton
from .files import load_meta, require_columns, typed, write_json, writing
from .kinds import TEXT, TRUTH, WHOLE
from .missing import missing

if TYPE_CHECKING:
    import pandas as pd

KINDS = {"clip_id": TEXT, "person": WHOLE, "row": WHOLE, "valid": TRUTH}


@dataclass(frozen=True)
class FeatureMeta:
    """Description of the channels of a feature array.

    Attributes:
        parts: how many channels each map, and a pose beside them, has, one after another; empty: all are one part.
        mirrored: how many of the first parts were read in the mirrored crop too. These readings follow in the same
            order, at the joints that have the same names in the mirrored picture.
        own_axes: of poses: each person of a clip has an origin and axes of their own, so that coordinates of two people
            cannot be subtracted.
    """

    kind: str
    tap: str
    region: int
    operator: str
    skeleton: Skeleton
    parts: tuple[int, ...] = ()
    mirrored: int = 0
    own_axes: bool = False

    @property
    def twice(self) -> int:
        """How many of the first channels were read in the mirrored crop too; as many channels after them are these."""
        return sum(self.parts[: self.mirrored])

    @property
    def own_parts(self) -> tuple[int, ...]:
        """``parts`` without the second readings."""
        return (*self.parts[: self.mirrored], *self.parts[2 * self.mirrored :])

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; ``own_axes`` and ``mirrored`` only where they are not false."""
        values = {name: v for name, v in self.__dict__.items() if v or name not in ("own_axes", "mirrored")}
        return {**values, "skeleton": self.skeleton.to_json(), "parts": list(self.parts)}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> FeatureMeta:
        """The inverse of :meth:`to_json`."""
        return typed(raw, cls)


@dataclass(frozen=True)
class Features:
    """Pooled features: ``features.npy`` (P, T, V, C) float16, ``index.parquet`` and ``meta.json``.

    ``index``: clip_id, person, row, valid. Every clip has at least a row for person 0. If no person was found,
    ``valid`` is false and the row is zeros.
    """

    array: NDArray[np.float16]
    index: pd.DataFrame
    meta: FeatureMeta

    def __post_init__(self) -> None:
        require_columns(self.index, ("clip_id", "person", "row", "valid"), "features index")
        check_clip_ids(self.index.clip_id.unique(), "features index")
        if self.array.ndim != 4 or self.array.dtype.kind != "f":
            raise ValueError(f"features are {self.array.shape} of {self.array.dtype}, expected numbers (P, T, V, C)")
        if self.array.shape[2] != self.meta.skeleton.num_joints:
            raise ValueError(
                f"features have {self.array.shape[2]} joints, "
                f"skeleton {self.meta.skeleton.name!r} has {self.meta.skeleton.num_joints}"
            )
        if len(self.index) != len(self.array):
            raise ValueError(f"features have {len(self.array)} rows, their index {len(self.index)}")
        outside = self.index[~self.index["row"].between(0, len(self.array) - 1)]
        if len(outside):
            clip_id, row = outside.iloc[0][["clip_id", "row"]]
            raise ValueError(f"features index: clip {clip_id!r} is at row {row}, features have {len(self.array)} rows")

    def save(self, folder: Path) -> None:
        """Write the three files."""
        with writing(folder / "features.npy") as file:
            np.save(file, np.asarray(self.array, dtype=np.float16))
        self.save_index(folder, self.index, self.meta)

    @staticmethod
    def save_index(folder: Path, index: pd.DataFrame, meta: FeatureMeta) -> None:
        """Write index.parquet and meta.json beside a features.npy that was written through a memory map."""
        with writing(folder / "index.parquet") as file:
            index.reset_index(drop=True).to_parquet(file, index=False)
        write_json(folder / "meta.json", meta.to_json())

    @classmethod
    def load(cls, folder: Path) -> Features:
        """Open a pool folder; the array is memory-mapped, read-only."""
        from .parquet import read_table  # pandas and pyarrow take half a second, and descriptions need neither

        if not (folder / "features.npy").is_file():
            raise missing(folder / "features.npy", "run `hpnet pool` first")
        remedy = "run `hpnet pool` again"
        with decoding(folder / "features.npy", remedy, "is broken"):
            array = np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False)
        index = read_table(folder / "index.parquet", KINDS, remedy)
        meta = load_meta(folder / "meta.json", FeatureMeta.from_json)
        with decoding(folder, remedy, "holds files that do not belong together"):
            return cls(array, index, meta)
