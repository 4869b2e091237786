"""Pooled features as the released trainer reads them: one (64, 2, 17, 96) float32 .npy per clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..artifacts.features import FeatureMeta, Features
from ..core.clip_ids import path_inside
from ..core.skeleton import COCO17
from . import protocols
from .corrections import AS_PUBLISHED, Corrections
from .feature_folder import ImportedClip, ImportSummary, nobody, write_feature_folder
from .pickles import load_array
from .walk import walk

META = FeatureMeta(kind="pooled", tap="h2s3", region=1, operator="mean", skeleton=COCO17)
"""Description of the authors' files."""


def to_released(persons: NDArray[np.floating]) -> NDArray[np.float32]:
    """One clip's rows (M, T, V, C) -> (T, 2, V, C) float32; with one person, slot 2 repeats slot 1."""
    if persons.ndim != 4 or len(persons) == 0:
        raise ValueError(f"a clip's features are {persons.shape}, expected (M, T, V, C) with at least one person")
    first, second = persons[0], persons[min(1, len(persons) - 1)]
    # 2 x (T, V, C) -> (T, 2, V, C)
    return np.stack([first, second], axis=1).astype(np.float32)


def from_released(clip_id: str, array: NDArray[np.floating]) -> ImportedClip:
    """(T, 2, V, C) -> one clip: a second slot that repeats the first, or is zeros, is no person; all zeros: no person
    at all.

    Raises:
        ValueError: another shape.
    """
    if array.ndim != 4 or array.shape[1] != 2 or array.shape[2] != COCO17.num_joints or array.dtype.kind != "f":
        raise ValueError(f"holds {array.shape} {array.dtype}, expected (64, 2, 17, 96) float32 (T, 2, V, C)")
    # (T, 2, V, C) -> (2, T, V, C)
    slots = array.swapaxes(0, 1)
    people = slots[:1] if np.array_equal(slots[0], slots[1]) or not slots[1].any() else slots
    if not people.any():
        return nobody(clip_id, people.shape[1:])
    return ImportedClip(clip_id, people, np.ones(len(people), bool))


def import_features(
    source: Path,
    out: Path,
    protocol: str,
    *,
    val_fraction: float = 0.15,
    seed: int = 7,
    corrections: Corrections = AS_PUBLISHED,
    on_progress: Callable[[int], None] | None = None,
) -> ImportSummary:
    """Import the authors' pooled features (every .npy below ``source``) into ``out``.

    A file that cannot be read, or has other content, keeps its row, with the reason.

    Raises:
        FileNotFoundError: ``source`` has no .npy file.
        ValueError: a name that the protocol does not know, two files of one clip, or files of different sizes.
    """
    found = walk(source, lambda file: file.suffix == ".npy") if source.is_dir() else None
    if found is None or not (found.files or found.unusable):
        raise FileNotFoundError(f"folder {source} is missing or has no .npy file: give the folder of pooled features")
    found.refuse_unusable()
    files = found.files
    table = protocols.label_and_split(protocol, [str(f.relative_to(source)) for f in files], val_fraction, seed)
    size = _first_size(files)

    def clips() -> Iterator[ImportedClip]:
        for clip_id, file in zip(table.clip_id, files, strict=True):
            try:
                clip = from_released(clip_id, load_array(file))
            except ValueError as error:
                clip = nobody(clip_id, size, error=f"{file} cannot be used: {error}")
            yield clip
            if on_progress:
                on_progress(1)

    described = table.assign(path=[str(f) for f in files])
    classes = protocols.class_table(protocol, table)
    return write_feature_folder(out, clips(), described, classes, META, corrections)


def _first_size(files: list[Path]) -> tuple[int, ...]:
    """(T, V, C) of the first file that can be used."""
    first: Exception | None = None
    for file in files:
        try:
            return from_released("", load_array(file)).values.shape[1:]
        except ValueError as error:
            first = first or error
    raise ValueError(f"none of {len(files)} files can be used; the first, {files[0]}, {first}")


def export_features(features: Features, out: Path, on_progress: Callable[[int], None] | None = None) -> list[Path]:
    """Write ``<clip_id>.npy`` for every clip; a clip without people is zeros, as in the released extractor.

    Raises:
        ValueError: a file would lie outside ``out``, see :func:`hpnet.core.clip_ids.path_inside`.
    """
    files = []
    for clip_id, rows in features.index.sort_values(["clip_id", "person"]).groupby("clip_id"):
        found = rows[rows.valid] if rows.valid.any() else rows
        file = path_inside(out, clip_id, ".npy")
        np.save(file, to_released(features.array[found.row.to_numpy()]))
        files.append(file)
        if on_progress:
            on_progress(1)
    return files
