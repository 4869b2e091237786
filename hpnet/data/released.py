"""Pooled features as the released trainer reads them: one (64, 2, 17, 96) float32 .npy per clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..artifacts import Features


def to_released(persons: NDArray[np.floating]) -> NDArray[np.float32]:
    """One clip's rows (M, T, V, C) -> (T, 2, V, C) float32; with one person, slot 2 repeats slot 1."""
    if persons.ndim != 4 or len(persons) == 0:
        raise ValueError(f"a clip's features are {persons.shape}, expected (M, T, V, C) with at least one person")
    first, second = persons[0], persons[min(1, len(persons) - 1)]
    # 2 x (T, V, C) -> (T, 2, V, C)
    return np.stack([first, second], axis=1).astype(np.float32)


def export_features(features: Features, out: Path) -> list[Path]:
    """Write ``<clip_id>.npy`` for every clip; a clip with nobody is zeros, as in the released extractor."""
    out.mkdir(parents=True, exist_ok=True)
    files = []
    for clip_id, rows in features.index.sort_values(["clip_id", "person"]).groupby("clip_id"):
        found = rows[rows.valid] if rows.valid.any() else rows
        file = out / f"{clip_id}.npy"
        np.save(file, to_released(features.array[found.row.to_numpy()]))
        files.append(file)
    return files
