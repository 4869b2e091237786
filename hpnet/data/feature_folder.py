"""Imported clips, one after the other -> a folder with features and clip table, with constant memory.

The folder has the files of ``hpnet data`` and ``hpnet pool`` (videos.csv, clips.csv, classes.csv, features.npy,
index.parquet, meta.json), so it can be both inputs of ``hpnet train``. It has no videos: videos.csv names the imported
file of each clip, the video's properties in that file, and why a clip cannot be used. Validation and test clips with
exactly the features of a training clip are listed in repeats.csv, because a network that memorised the training clip
recognises them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..artifacts.clips import CLIP_COLUMNS, Clips
from ..artifacts.features import FeatureMeta, Features
from ..artifacts.videos import UNKNOWN, VIDEO_COLUMNS
from ..core.clip_ids import check_clip_ids, refuse_alike
from ..core.csv_text import write_csv
from ..core.resampling import person_features
from ..core.skeleton import Skeleton
from .corrections import AS_PUBLISHED, Corrections, relabelled


@dataclass(frozen=True)
class ImportedClip:
    """One clip's features.

    Attributes:
        values: (M, T, V, C) float, people by rank; all clips of one import have the same T, V, C.
        valid: (M,) bool; a clip without people has M = 1, no valid person, and zeros as values.
        frames: length of the clip before resampling.
        width, height, fps: of the video, 0 if unknown.
        error: why the clip cannot be used; empty if it can.
    """

    clip_id: str
    values: NDArray[np.floating]
    valid: NDArray[np.bool_]
    frames: int = 0
    width: int = 0
    height: int = 0
    fps: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class ImportSummary:
    """Result of an import: counts; clip_id -> reason of unusable clips; clip_id of a validation or test clip ->
    the training clip with the same features; notes for the reader, one sentence each."""

    clips: int
    persons: int
    without_person: int
    failed: dict[str, str] = field(default_factory=dict)
    repeats: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def pose_meta(kind: str, skeleton: Skeleton) -> FeatureMeta:
    """Description of the channels of imported poses."""
    return FeatureMeta(kind=kind, tap="", region=1, operator="mean", skeleton=skeleton)


def pose_clip(
    clip_id: str,
    poses: NDArray[np.floating],
    valid: NDArray[np.bool_],
    frames: int,
    video: tuple[int, int, float] = (0, 0, 0.0),
) -> ImportedClip:
    """A clip of normalised poses (T, M, V, C) with mask (T, M), resampled to ``frames``; gaps are interpolated.

    Args:
        video: width, height and fps.
    """
    found = np.flatnonzero(valid.any(0))
    if not len(found):
        return nobody(clip_id, (frames, *poses.shape[2:]), len(poses), video)
    values = np.stack([person_features(poses[:, m], valid[:, m], frames) for m in found])
    return ImportedClip(clip_id, values, np.ones(len(found), bool), len(poses), *video)


def nobody(
    clip_id: str, size: tuple[int, ...], frames: int = 0, video: tuple[int, int, float] = (0, 0, 0.0), error: str = ""
) -> ImportedClip:
    """A clip without a person, (T, V, C) zeros; with ``error`` an unusable clip."""
    return ImportedClip(clip_id, np.zeros((1, *size), np.float32), np.zeros(1, bool), frames, *video, error)


def write_feature_folder(
    out: Path,
    clips: Iterable[ImportedClip],
    table: pd.DataFrame,
    classes: pd.DataFrame,
    meta: FeatureMeta,
    corrections: Corrections = AS_PUBLISHED,
) -> ImportSummary:
    """Write clips one after the other.

    Args:
        clips: each is written before the next is taken.
        table: clip_id, path, label, split, subject, source, camera, setup, repetition of the same clips, in the same
            order.
        classes: label, name, prompt.

    Raises:
        ValueError: ``corrections`` do not fit (see :func:`~hpnet.data.corrections.relabelled`); a clip has a name that
            cannot be an id (:mod:`hpnet.core.clip_ids`), is listed twice, has features of another size than the first,
            has values that are not finite or too large for float16, or is not in the order of ``table``; or there is no
            clip. Names the clip.
    """
    check_clip_ids(table.clip_id, "import")
    refuse_alike(table.clip_id, "import")
    repeated = table.clip_id[table.clip_id.duplicated()]
    if len(repeated):
        raise ValueError(f"clip {repeated.iloc[0]!r} is listed twice")
    table = relabelled(table, classes, corrections.actions)
    out.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, int, int, bool]] = []
    facts: list[tuple[int, int, float, int, str]] = []
    digests: list[bytes] = []
    size: tuple[int, ...] | None = None
    names = [str(name) for name in table.clip_id]
    unfinished = out / "features.npy.part"
    with unfinished.open("wb") as file:
        for clip in clips:
            if len(facts) >= len(names) or clip.clip_id != names[len(facts)]:
                raise ValueError(f"clip {clip.clip_id!r} is not in the order of the clip table")
            if size is None:
                size = clip.values.shape[1:]
                _write_header(file, (0, *size))
            values = _checked(clip, size)
            file.write(values.tobytes())
            for person, is_valid in enumerate(clip.valid):
                rows.append((clip.clip_id, person, len(rows), bool(is_valid)))
            digests.append(hashlib.sha256(values.tobytes()).digest() if clip.valid.any() else b"")
            facts.append((clip.width, clip.height, clip.fps, clip.frames, clip.error))
        if size is None:
            raise ValueError("there is no clip to import")
        file.seek(0)
        _write_header(file, (len(rows), *size))
    if len(facts) != len(names):
        raise ValueError(
            f"{len(facts)} of {len(names)} clips were imported; the first missing one is {names[len(facts)]!r}"
        )
    unfinished.replace(out / "features.npy")
    index = pd.DataFrame(rows, columns=["clip_id", "person", "row", "valid"])
    Features.save_index(out, index, meta)
    failed = {name: fact[4] for name, fact in zip(names, facts, strict=True) if fact[4]}
    repeats = _repeats(names, [str(split) for split in table.split], digests)
    _write_repeats(out / "repeats.csv", repeats, table)
    if corrections.drop_repeats:
        facts = [
            (*fact[:4], fact[4] or (f"the same features as training clip {repeats[name]}" if name in repeats else ""))
            for name, fact in zip(names, facts, strict=True)
        ]
    columns = ("width", "height", "fps", "frames", "error")
    described = table.reset_index(drop=True).assign(
        **UNKNOWN | {"path": table.path.tolist()} | dict(zip(columns, map(list, zip(*facts, strict=True)), strict=True))
    )
    described = described.assign(seconds=(described.frames / described.fps).where(described.fps > 0, 0.0))
    Clips(described[list(dict.fromkeys((*CLIP_COLUMNS, *VIDEO_COLUMNS)))], classes).save(out)
    found = index.groupby("clip_id").valid.any()
    return ImportSummary(len(names), int(index.valid.sum()), int((~found).sum()), failed, repeats)


def _repeats(names: Sequence[str], splits: Sequence[str], digests: Sequence[bytes]) -> dict[str, str]:
    """Validation or test clip -> the first training clip with the same digest; an empty digest matches nothing."""
    clips = list(zip(names, splits, digests, strict=True))
    trained: dict[bytes, str] = {}
    for name, split, digest in clips:
        if split == "train" and digest:
            trained.setdefault(digest, name)
    return {name: trained[digest] for name, split, digest in clips if split in ("val", "test") and digest in trained}


def _write_repeats(file: Path, repeats: dict[str, str], table: pd.DataFrame) -> None:
    """Write clip_id, split, same_as of every repeat; no file if there is none."""
    file.unlink(missing_ok=True)
    if repeats:
        split = dict(zip(table.clip_id, table.split, strict=True))
        rows = [(name, split[name], twin) for name, twin in repeats.items()]
        write_csv(pd.DataFrame(rows, columns=["clip_id", "split", "same_as"]), file)


def _checked(clip: ImportedClip, size: tuple[int, ...]) -> NDArray[np.float16]:
    if clip.values.shape[1:] != size or len(clip.valid) != len(clip.values):
        raise ValueError(
            f"clip {clip.clip_id!r}: features are {clip.values.shape[1:]} (T, V, C), the clips before it {size}"
        )
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(clip.values, dtype=np.float16)
    if not np.isfinite(values).all():
        raise ValueError(f"clip {clip.clip_id!r}: features are not finite, or beyond float16's 65504")
    return values


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """The .npy header; numpy pads it so that the first axis can grow without moving the data."""
    np.lib.format.write_array_header_1_0(
        file, {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float16)), "fortran_order": False, "shape": shape}
    )
