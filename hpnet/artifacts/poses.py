"""Poses and windows of tapped maps: an estimate folder of shards.

Axes: T frames, M persons, V joints, W window, C channels. On disk (T, M, V, C).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..core.clip_ids import check_clip_ids
from ..core.reading import decoding
from ..core.skeleton import Skeleton
from .files import load_meta, readable, typed, write_json, writing
from .kinds import NUMBER, TEXT, WHOLE
from .missing import missing

if TYPE_CHECKING:
    import pandas as pd

INDEX_KINDS = {
    "clip_id": TEXT, "shard": TEXT, "start": WHOLE, "frames": WHOLE, "persons": WHOLE, "crops": WHOLE,
    "score_sum": NUMBER, "source": TEXT,
}  # fmt: skip
REMEDY = "run `hpnet estimate` again"


def mirrored_tap(tap: str) -> str:
    """The name of a tap's windows in the mirrored crop: of joint v, they are at the joint that has v's name there."""
    return f"{tap}~"


@dataclass(frozen=True)
class ClipPoses:
    """Results of the pose network for one clip.

    Attributes:
        keypoints_px: (T, M, V, 2) float32, frame pixels.
        scores: (T, M, V) float32 in 0..1.
        frame_to_crop: (T, M, 2, 3) float32, the affine from frame pixels to crop pixels.
        valid: (T, M) bool, false where the person has no box in that frame.
        windows: tap, or its :func:`mirrored_tap` -> (T, M, V, W, W, C) float16, bilinear samples of the tapped map at
            the joint and its neighbours one map cell apart (first W vertical, second horizontal).
        vectors: (T, M, V, Lx + Ly) float16 SimCC coordinate vectors, or None.
    """

    clip_id: str
    keypoints_px: NDArray[np.float32]
    scores: NDArray[np.float32]
    frame_to_crop: NDArray[np.float32]
    valid: NDArray[np.bool_]
    windows: dict[str, NDArray[np.float16]]
    vectors: NDArray[np.float16] | None = None

    def __post_init__(self) -> None:
        frames, persons, joints, _ = self.keypoints_px.shape
        expected = {
            "scores": (frames, persons, joints),
            "frame_to_crop": (frames, persons, 2, 3),
            "valid": (frames, persons),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"clip {self.clip_id!r}: {name} is {getattr(self, name).shape}, expected {shape}")
        for tap, window in self.windows.items():
            if window.shape[:3] != (frames, persons, joints) or window.ndim != 6:
                raise ValueError(
                    f"clip {self.clip_id!r}: window {tap!r} is {window.shape}, "
                    f"expected ({frames}, {persons}, {joints}, W, W, C)"
                )


@dataclass(frozen=True)
class PoseMeta:
    """How an estimate folder was made: network, weights digest, skeleton, taps, window and input size."""

    model: str
    weights_digest: str
    skeleton: Skeleton
    input_size_px: tuple[int, int]
    taps: dict[str, tuple[int, int, int]]
    window: int
    parity: str = "none"
    vectors: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            **self.__dict__,
            "skeleton": self.skeleton.to_json(),
            "taps": {k: list(v) for k, v in self.taps.items()},
        }

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> PoseMeta:
        """The inverse of :meth:`to_json`."""
        return typed(raw, cls)


def _check_index(table: pd.DataFrame, where: str) -> None:
    """Refuse names that are no clips, clips that stand twice, files of other folders, and rows that cannot be."""
    check_clip_ids(table.clip_id, where)
    twice = table.clip_id[table.clip_id.duplicated()]
    if len(twice):
        raise ValueError(f"clip {twice.iloc[0]!r} is listed twice")
    plain = table.shard.str.fullmatch(r"[A-Za-z0-9_-]+\.safetensors")
    if not plain.all():
        raise ValueError(f"{table.shard[~plain].iloc[0]!r:.100} is no name of a shard")
    wrong = table[(table.start < 0) | (table.frames < 0) | (table.persons < 0)]
    if len(wrong):
        row = wrong.iloc[0]
        raise ValueError(f"clip {row.clip_id!r} begins at {row.start}, with {row.frames} frames of {row.persons}")


class PoseStore:
    """An estimate folder: ``shard-*.safetensors``, ``index.parquet`` and ``meta.json``.

    Tensors hold one row per person and frame, person-major within a clip, so a clip with one person needs the space of
    one person. ``index.parquet``: clip_id, shard, start, frames, persons. Loading a clip gives :class:`ClipPoses`.
    """

    def __init__(self, folder: Path) -> None:
        from .parquet import read_table  # pandas and pyarrow take half a second, and a clip's poses need neither

        if not (folder / "index.parquet").is_file():
            raise missing(folder / "index.parquet", "run `hpnet estimate` first")
        self.folder = folder
        self.meta = load_meta(folder / "meta.json", PoseMeta.from_json)
        file = folder / "index.parquet"
        table = read_table(file, INDEX_KINDS, REMEDY, optional=("crops", "score_sum", "source"))
        with decoding(file, REMEDY, "is not an index of poses"):
            _check_index(table, str(file))
        self.index = table.set_index("clip_id", drop=False)

    @property
    def clip_ids(self) -> list[str]:
        """Every clip, in index order."""
        return [str(c) for c in self.index.clip_id]

    def __iter__(self) -> Iterator[ClipPoses]:
        return (self.load(clip_id) for clip_id in self.clip_ids)

    def load(self, clip_id: str, taps: Sequence[str] | None = None) -> ClipPoses:
        """Read one clip; ``taps`` limits which windows are read (None: all)."""
        if clip_id not in self.index.index:
            raise ValueError(f"{self.folder}: no clip {clip_id!r}")
        row = self.index.loc[clip_id]
        start, frames, persons = int(row.start), int(row.frames), int(row.persons)
        wanted = list(self.meta.taps) if taps is None else list(taps)
        shard = self.folder / str(row.shard)
        with decoding(shard, REMEDY, also=(SafetensorError,)), safe_open(readable(shard), framework="numpy") as file:

            def read(name: str) -> NDArray[Any]:
                rows = file.get_slice(name)[start : start + frames * persons]
                if len(rows) != frames * persons or rows.dtype.kind not in "fu":
                    raise ValueError(f"{name} has {rows.shape} of {rows.dtype} for {frames} frames of {persons} people")
                # (M * T, ...) -> (M, T, ...) -> (T, M, ...)
                return np.ascontiguousarray(rows.reshape(persons, frames, *rows.shape[1:]).swapaxes(0, 1))

            return ClipPoses(
                clip_id=clip_id,
                keypoints_px=read("keypoints_px"),
                scores=read("scores"),
                frame_to_crop=read("frame_to_crop"),
                valid=read("valid").astype(bool),
                windows={tap: read(f"window.{tap}") for tap in wanted},
                vectors=read("vectors") if self.meta.vectors else None,
            )

    @staticmethod
    def write_shard(folder: Path, name: str, clips: Sequence[ClipPoses], meta: PoseMeta) -> pd.DataFrame:
        """Write one shard and return its index rows (clip_id, shard, start, frames, persons)."""
        import pandas as pd

        folder.mkdir(parents=True, exist_ok=True)
        joints = meta.skeleton.num_joints
        empty: dict[str, NDArray[Any]] = {
            "keypoints_px": np.zeros((0, joints, 2), np.float32),
            "scores": np.zeros((0, joints), np.float32),
            "frame_to_crop": np.zeros((0, 2, 3), np.float32),
            "valid": np.zeros((0,), np.uint8),
        }
        for tap, (channels, _, _) in meta.taps.items():
            empty[f"window.{tap}"] = np.zeros((0, joints, meta.window, meta.window, channels), np.float16)
        if meta.vectors:
            empty["vectors"] = np.zeros((0, joints, meta.vectors), np.float16)
        parts: dict[str, list[NDArray[Any]]] = {key: [value] for key, value in empty.items()}
        rows, start = [], 0
        for clip in clips:
            frames, persons = clip.valid.shape
            values: dict[str, NDArray[Any]] = {
                "keypoints_px": clip.keypoints_px,
                "scores": clip.scores,
                "frame_to_crop": clip.frame_to_crop,
                "valid": clip.valid.astype(np.uint8),
                **{f"window.{tap}": clip.windows[tap] for tap in meta.taps},
            }
            if meta.vectors:
                if clip.vectors is None:
                    raise ValueError(f"clip {clip.clip_id!r}: coordinate vectors were expected but are missing")
                values["vectors"] = clip.vectors
            for key, value in values.items():
                # (T, M, ...) -> (M, T, ...) -> (M * T, ...)
                rows_first = value.swapaxes(0, 1).reshape(frames * persons, *value.shape[2:])
                parts[key].append(rows_first.astype(empty[key].dtype))
            rows.append((clip.clip_id, name, start, frames, persons))
            start += frames * persons
        tensors = {key: np.ascontiguousarray(np.concatenate(value)) for key, value in parts.items()}
        with writing(folder / name) as file:
            save_file(tensors, file)
        return pd.DataFrame(rows, columns=["clip_id", "shard", "start", "frames", "persons"])

    @staticmethod
    def write_index(folder: Path, index: pd.DataFrame, meta: PoseMeta) -> None:
        """Write index.parquet and meta.json."""
        with writing(folder / "index.parquet") as file:
            index.reset_index(drop=True).to_parquet(file, index=False)
        write_json(folder / "meta.json", meta.to_json())
