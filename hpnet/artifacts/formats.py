"""The files that stages exchange: a dataclass each, checked on construction, saved and loaded here and nowhere else.

Axes: N clips, T frames, M persons, V joints, C channels, K classes, W window, P persons-in-clips. On disk (T, M, V, C).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..core.clip_ids import check_clip_ids, refuse_alike
from ..core.csv_text import read_csv_text, write_csv
from ..core.skeleton import Skeleton

Meta = TypeVar("Meta")
CLIP_COLUMNS = (
    "clip_id", "path", "label", "subject", "camera", "setup", "repetition", "split", "width", "height", "fps", "frames",
    "error",
)  # fmt: skip
BOX_COLUMNS = ("clip_id", "frame", "track", "x1", "y1", "x2", "y2", "score")
SPLITS = ("train", "val", "test", "")
LABELLING = "labelling"
"""Where score files, models and config.json keep their :class:`Labelling`."""


def _require_columns(table: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    missing = [c for c in columns if c not in table.columns]
    if missing:
        raise ValueError(f"{what}: column {missing[0]!r} is missing (has {', '.join(map(str, table.columns))})")


def read_json(path: Path) -> Any:
    """Load JSON; a broken file is a ValueError that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None


def readable(path: Path) -> Path:
    """``path``, once it could be opened: safetensors calls a file that may not be read "No such file or directory".

    Raises:
        FileNotFoundError: no such file.
        PermissionError: it may not be read.
    """
    with path.open("rb"):
        return path


def fresh(path: Path) -> Path:
    """``path``, its folder made and no file there.

    DVC hard-links outputs into its cache: a file that is written over in place would change the cache with it, and
    every project that shares it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return path


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """``path``, fresh, to be written by a library whose errors do not say which file failed, or why.

    The file's permissions follow the umask, as those of its neighbours do; safetensors leaves 0600.

    Raises:
        OSError: the file could not be written; names it and says how much room the disk has.
    """
    path = fresh(path)
    try:
        path.touch()
        mode = path.stat().st_mode
        path.unlink()
        yield path
        if path.stat().st_mode != mode:
            path.chmod(mode)
    except (OSError, RuntimeError, SafetensorError) as error:
        if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
            raise
        free_mb = shutil.disk_usage(path.parent).free / 1e6
        raise OSError(
            f"{path} cannot be written ({' '.join(str(error).split())[:200]}); {free_mb:.0f} MB are free there: make "
            "room, then run the same command again (finished work is kept)"
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Save JSON, sorted and indented so that git diffs stay small."""
    fresh(path).write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def read_table(path: Path) -> pd.DataFrame:
    """Load Parquet without pandas' own notes on it; a broken file is a ValueError that names it."""
    try:
        return pq.read_table(path).replace_schema_metadata(None).to_pandas()
    except (pa.ArrowException, UnicodeDecodeError, KeyError) as error:
        raise ValueError(f"{path} is no whole Parquet file ({' '.join(str(error).split())[:200]})") from None


def load_meta(path: Path, build: Callable[[dict[str, Any]], Meta]) -> Meta:
    """A folder's meta.json as its dataclass; one that lacks something is a ValueError that names it."""
    try:
        return build(read_json(path))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not what the stage writes ({error}): run that stage again") from None


@dataclass(frozen=True)
class Labelling:
    """What scores or a model were made from: the class names in order, and the label and split of each clip.

    It lies in ``scores.parquet`` as metadata and, without the test clips, which nothing is chosen on, in
    ``model.safetensors``, whose digest ``config.json`` has. Clips that were not used are not in it: a table may grow,
    and its rows may change places.

    Attributes:
        classes: K names in label order; "0", "1", ... where only their number is known.
        clips: clip_id -> (label, split).
    """

    classes: tuple[str, ...]
    clips: Mapping[str, tuple[int, str]]

    @property
    def digest(self) -> str:
        """16 hexadecimal digits."""
        return hashlib.blake2b(self.to_text().encode(), digest_size=8).hexdigest()

    def to_text(self) -> str:
        """As JSON on one line, clips in order of their id."""
        clips = [[clip_id, *self.clips[clip_id]] for clip_id in sorted(self.clips)]
        return json.dumps({"classes": list(self.classes), "clips": clips}, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Labelling:
        """The inverse of :meth:`to_text`.

        Raises:
            ValueError: the text is something else.
        """
        try:
            raw = json.loads(text)
            clips = {str(clip_id): (int(label), str(split)) for clip_id, label, split in raw["clips"]}
            return cls(tuple(str(name) for name in raw["classes"]), clips)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"its record of labels is damaged ({error})") from None

    def of(self, clip_ids: Iterable[str]) -> Labelling:
        """That of some clips; those that it lacks are left out."""
        return Labelling(self.classes, {clip_id: self.clips[clip_id] for clip_id in clip_ids if clip_id in self.clips})

    def without_test(self) -> Labelling:
        """What weights are made from: that of all but the test clips."""
        return Labelling(self.classes, {clip: fact for clip, fact in self.clips.items() if fact[1] != "test"})

    def _nameless(self) -> bool:
        return self.classes == tuple(map(str, range(len(self.classes))))

    def renamed(self, now: Labelling) -> str:
        """The first class that is another one in ``now``, in words; empty where all are the same or have no names."""
        if len(self.classes) != len(now.classes):
            return f"{len(self.classes)} classes then, {len(now.classes)} now"
        if self._nameless() or now._nameless():
            return ""
        differ = [k for k, (then, name) in enumerate(zip(self.classes, now.classes, strict=True)) if then != name]
        return f"class {differ[0]} was {self.classes[differ[0]]!r}, now {now.classes[differ[0]]!r}" if differ else ""

    def change(self, now: Labelling) -> str:
        """The first difference of ``now`` in what this covers, in words; empty where there is none."""
        renamed = self.renamed(now)
        differ = sorted(clip_id for clip_id, then in self.clips.items() if now.clips.get(clip_id) != then)
        if renamed or not differ:
            return renamed
        (label, split), others = self.clips[differ[0]], f" ({len(differ)} such clips)" if len(differ) > 1 else ""
        if differ[0] not in now.clips:
            return f"clip {differ[0]!r} ({self._name(label)}, {split or 'no split'}) is not there any more{others}"
        new_label, new_split = now.clips[differ[0]]
        if new_label != label:
            return f"clip {differ[0]!r} had {self._name(label)}, now {now._name(new_label)}{others}"
        return f"clip {differ[0]!r} had split {split!r}, now {new_split!r}{others}"

    def _name(self, label: int) -> str:
        return f"label {label} ({self.classes[label]})" if 0 <= label < len(self.classes) else f"label {label}"

    def joined(self, other: Labelling) -> Labelling:
        """That of the clips of both, which agree, with names where one has them."""
        return Labelling(other.classes if self._nameless() else self.classes, {**self.clips, **other.clips})


def require_labelling(file: Path, made: Labelling | None, now: Labelling, command: str) -> None:
    """Refuse a file that was not made from the labels, splits and classes that the tables have now.

    Args:
        made: what the file says that it was made from; None: nothing.
        now: of the tables.
        command: makes the file again.

    Raises:
        ValueError: names the file, both labellings and the first difference.
    """
    remedy = f"run `{command}` or `dvc repro`"
    if made is None:
        raise ValueError(f"{file} does not say what labels it was made from (an earlier hpnet made it?): {remedy}")
    if change := made.change(now):
        raise ValueError(
            f"{file} was made from labels {made.digest}, clips.csv and classes.csv now have "
            f"{now.of(made.clips).digest}: {change}; {remedy}, or put the tables back"
        )


def model_labelling(file: Path) -> Labelling | None:
    """What a ``model.safetensors`` was made from; None where it does not say.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        with safe_open(file, framework="numpy") as opened:
            text = (opened.metadata() or {}).get(LABELLING)
    except SafetensorError as error:
        raise ValueError(f"{file.parent} is broken: {file.name} ({error}); train that stream again") from None
    return None if text is None else _labelling(text, file)


def _labelling(text: str, file: Path) -> Labelling:
    try:
        return Labelling.from_text(text)
    except ValueError as error:
        raise ValueError(f"{file}: {error}: make it again") from None


def check_trained(folder: Path, now: Labelling | None, command: str) -> None:
    """Refuse the files of one training that were not made from the same labels, or not from those of the tables.

    Args:
        folder: of ``config.json`` and, where they are there, ``model.safetensors`` and ``scores.parquet``.
        now: of the tables; None where there are none: then only the files are compared.
        command: trains again.

    Raises:
        ValueError: names the file, both labellings and the first difference.
    """
    card = read_json(folder / "config.json") if (folder / "config.json").is_file() else None
    found = {}
    for name, read in (("scores.parquet", scores_labelling), ("model.safetensors", model_labelling)):
        if (folder / name).is_file():
            found[name] = read(folder / name)
            if now is not None:
                require_labelling(folder / name, found[name], now, command)
    if card is None:
        return
    if now is not None:
        named = Labelling(tuple(str(name) for name in card.get("classes", now.classes)), {})
        require_labelling(folder / "config.json", named, now, command)
    said = card.get(LABELLING)
    for name, made in found.items():
        digest = None if made is None else made.without_test().digest
        if digest != said:
            raise ValueError(
                f"{folder / 'config.json'} is of labels {said}, {name} beside it of {digest}: they are of two "
                f"trainings; run `{command}`"
            )


@dataclass(frozen=True)
class Clips:
    """The clip table (``clips.csv``) and the class names (``classes.csv``: label,name,prompt).

    ``label`` is -1 where unknown; ``split`` is train, val, test or empty; ``error`` is empty, or why the clip cannot be
    used. Paths are relative to the working directory of the project.
    """

    table: pd.DataFrame
    classes: pd.DataFrame

    def __post_init__(self) -> None:
        _require_columns(self.table, CLIP_COLUMNS, "clips.csv")
        _require_columns(self.classes, ("label", "name", "prompt"), "classes.csv")
        check_clip_ids(self.table.clip_id, "clips.csv")
        refuse_alike(self.table.clip_id, "clips.csv")
        repeated = self.table.clip_id[self.table.clip_id.duplicated()]
        if len(repeated):
            raise ValueError(f"clips.csv: clip {repeated.iloc[0]!r} is listed twice")
        unknown = set(self.table.split) - set(SPLITS)
        if unknown:
            raise ValueError(f"clips.csv: split {sorted(unknown)[0]!r} is none of train, val, test or empty")
        if list(self.classes.label) != list(range(len(self.classes))):
            raise ValueError("classes.csv: labels must be 0, 1, ... in order")
        outside = self.table[(self.table.label < -1) | (self.table.label >= len(self.classes))]
        if len(outside):
            row = outside.iloc[0]
            raise ValueError(
                f"clips.csv: clip {row.clip_id!r} has label {row.label}, classes.csv has {self.num_classes}"
            )

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes)

    @property
    def class_names(self) -> list[str]:
        """K names in label order."""
        return [str(n) for n in self.classes["name"]]

    def labelling(self) -> Labelling:
        """Classes, labels and splits of the whole table."""
        table = self.table
        facts = zip(map(int, table.label), map(str, table.split), strict=True)
        return Labelling(tuple(self.class_names), dict(zip(map(str, table.clip_id), facts, strict=True)))

    def usable(self) -> pd.DataFrame:
        """The rows without an error."""
        return self.table[self.table.error == ""].reset_index(drop=True)

    def save(self, folder: Path) -> None:
        """Write clips.csv and classes.csv."""
        write_csv(self.table[list(CLIP_COLUMNS)], fresh(folder / "clips.csv"))
        write_csv(self.classes[["label", "name", "prompt"]], fresh(folder / "classes.csv"))

    @classmethod
    def load(cls, folder: Path) -> Clips:
        """Read clips.csv and classes.csv of a data folder."""
        for name in ("clips.csv", "classes.csv"):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder / name} is missing: run `hpnet data` first")
        text = {"clip_id": str, "path": str, "split": str, "error": str, "subject": str}
        table = pd.read_csv(folder / "clips.csv", dtype=text, keep_default_na=False, na_values={"fps": [""]})
        # a class may be called 01, and is not 1
        classes = pd.read_csv(folder / "classes.csv", dtype={"name": str, "prompt": str}, keep_default_na=False)
        return cls(table, classes)


@dataclass(frozen=True)
class Boxes:
    """Person boxes (``boxes.parquet``): one row per clip, frame and track.

    Boxes are xyxy in frame pixels. Tracks are numbered by rank: track 0 is the most prominent person of its clip. A
    frame without a person has no row. ``failed`` maps the clips that gave no boxes to the reason.
    """

    table: pd.DataFrame
    failed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require_columns(self.table, BOX_COLUMNS, "boxes")
        check_clip_ids([*self.table.clip_id.unique(), *self.failed], "boxes")
        bad = self.table[(self.table.x2 < self.table.x1) | (self.table.y2 < self.table.y1)]
        if len(bad):
            row = bad.iloc[0]
            raise ValueError(
                f"boxes: clip {row.clip_id!r} frame {row.frame}: inverted box "
                f"({row.x1:g}, {row.y1:g}, {row.x2:g}, {row.y2:g}); expected x1 <= x2 and y1 <= y2"
            )

    def save(self, folder: Path) -> None:
        """Write boxes.parquet (and failed.json)."""
        table = self.table[list(BOX_COLUMNS)].reset_index(drop=True)
        types: dict[str, Any] = {"clip_id": str, "frame": "int32", "track": "int32"}
        types |= dict.fromkeys(BOX_COLUMNS[3:], "float32")
        table.astype(types).to_parquet(fresh(folder / "boxes.parquet"), index=False)
        write_json(folder / "failed.json", self.failed)

    @classmethod
    def load(cls, path: Path) -> Boxes:
        """Read a detect folder, or a boxes .parquet or .csv file."""
        file = path / "boxes.parquet" if path.is_dir() else path
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: run `hpnet detect` first")
        table = _boxes_csv(file) if file.suffix == ".csv" else read_table(file)
        failed = path / "failed.json"
        return cls(table, read_json(failed) if path.is_dir() and failed.is_file() else {})


def _boxes_csv(file: Path) -> pd.DataFrame:
    """A table of boxes that was made elsewhere: whole frame and track numbers, corners and scores as numbers."""
    table = read_csv_text(file, f"boxes: {file}")
    _require_columns(table, BOX_COLUMNS, f"{file}: boxes")
    for column in BOX_COLUMNS[1:]:
        values = pd.to_numeric(table[column], errors="coerce")
        bad = values.isna() | ((values % 1 != 0) if column in ("frame", "track") else False)
        if bad.any():
            row = table[bad].iloc[0]
            kind = "whole number" if column in ("frame", "track") else "number"
            raise ValueError(f"{file}: clip {row.clip_id!r} has {column} {str(row[column])!r}; expected a {kind}")
        table[column] = values
    return table


class PersonFrames:
    """Person frames for the RGB stream: Parquet shards of clip_id, frame, jpeg (bytes, square, RGB)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files = sorted(folder.glob("frames-*.parquet"))
        if not self._files:
            raise FileNotFoundError(f"{folder} holds no person frames: run `hpnet detect` first")
        self._where: dict[str, tuple[Path, int]] = {}
        for file in self._files:
            shard = pq.ParquetFile(file)
            missing = {"clip_id", "frame", "jpeg"} - set(shard.schema_arrow.names)
            if missing:
                raise ValueError(f"{file} lacks column {min(missing)!r}: it is damaged; run `hpnet detect` again")
            for group in range(shard.num_row_groups):
                ids = shard.read_row_group(group, columns=["clip_id"])["clip_id"].to_pylist()
                self._where.update(dict.fromkeys(ids, (file, group)))

    @staticmethod
    def write(file: Path, clips: Iterable[tuple[str, Sequence[tuple[int, bytes]]]]) -> None:
        """Write one shard: per clip one row group of (frame, jpeg)."""
        schema = pa.schema([("clip_id", pa.string()), ("frame", pa.int32()), ("jpeg", pa.binary())])
        with pq.ParquetWriter(file, schema, compression="none") as writer:
            for clip_id, frames in clips:
                if frames:
                    columns = [[clip_id] * len(frames), [f for f, _ in frames], [j for _, j in frames]]
                    writer.write_table(pa.table(columns, schema=schema))

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self._where

    def load(self, clip_id: str) -> list[tuple[int, bytes]]:
        """(frame, jpeg) of one clip in frame order; empty when it has none."""
        if clip_id not in self._where:
            return []
        file, group = self._where[clip_id]
        table = pq.ParquetFile(file).read_row_group(group)
        return sorted(zip(table["frame"].to_pylist(), table["jpeg"].to_pylist(), strict=True))


@dataclass(frozen=True)
class ClipPoses:
    """What the pose network saw in one clip.

    Attributes:
        keypoints_px: (T, M, V, 2) float32, frame pixels.
        scores: (T, M, V) float32 in 0..1.
        frame_to_crop: (T, M, 2, 3) float32, the affine from frame pixels to crop pixels.
        valid: (T, M) bool, false where the person has no box in that frame.
        windows: tap -> (T, M, V, W, W, C) float16, bilinear samples of the tapped map at the joint and its neighbours
            one map cell apart (first W vertical, second horizontal).
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
        width, height = raw["input_size_px"]
        taps = {k: (int(c), int(h), int(w)) for k, (c, h, w) in raw["taps"].items()}
        return cls(
            **{**raw, "skeleton": Skeleton.from_json(raw["skeleton"]), "input_size_px": (width, height), "taps": taps}
        )


class PoseStore:
    """An estimate folder: ``shard-*.safetensors``, ``index.parquet`` and ``meta.json``.

    Tensors hold one row per person and frame, person-major within a clip, so a clip with one person costs one person's
    room. ``index.parquet``: clip_id, shard, start, frames, persons. Loading a clip gives :class:`ClipPoses`.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "index.parquet").is_file():
            raise FileNotFoundError(f"{folder / 'index.parquet'} is missing: run `hpnet estimate` first")
        self.folder = folder
        self.meta = load_meta(folder / "meta.json", PoseMeta.from_json)
        self.index = read_table(folder / "index.parquet").set_index("clip_id", drop=False)
        check_clip_ids(self.index.clip_id, str(folder / "index.parquet"))

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
        with safe_open(readable(self.folder / str(row.shard)), framework="numpy") as file:

            def read(name: str) -> NDArray[Any]:
                rows = file.get_slice(name)[start : start + frames * persons]
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
                    raise ValueError(f"clip {clip.clip_id!r}: coordinate vectors were promised but are missing")
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
        index.reset_index(drop=True).to_parquet(fresh(folder / "index.parquet"), index=False)
        write_json(folder / "meta.json", meta.to_json())


@dataclass(frozen=True)
class FeatureMeta:
    """What the channels of a feature array are."""

    kind: str
    tap: str
    region: int
    operator: str
    skeleton: Skeleton

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**self.__dict__, "skeleton": self.skeleton.to_json()}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> FeatureMeta:
        """The inverse of :meth:`to_json`."""
        return cls(**{**raw, "skeleton": Skeleton.from_json(raw["skeleton"])})


@dataclass(frozen=True)
class Features:
    """Pooled features: ``features.npy`` (P, T, V, C) float16, ``index.parquet`` and ``meta.json``.

    ``index``: clip_id, person, row, valid. Every clip has at least a row for person 0; ``valid`` is false, and the row
    zeros, where nobody was found.
    """

    array: NDArray[np.float16]
    index: pd.DataFrame
    meta: FeatureMeta

    def __post_init__(self) -> None:
        _require_columns(self.index, ("clip_id", "person", "row", "valid"), "features index")
        check_clip_ids(self.index.clip_id.unique(), "features index")
        if self.array.ndim != 4:
            raise ValueError(f"features are {self.array.shape}, expected (P, T, V, C)")
        if self.array.shape[2] != self.meta.skeleton.num_joints:
            raise ValueError(
                f"features have {self.array.shape[2]} joints, "
                f"skeleton {self.meta.skeleton.name!r} has {self.meta.skeleton.num_joints}"
            )
        if len(self.index) != len(self.array):
            raise ValueError(f"features have {len(self.array)} rows, their index {len(self.index)}")

    def save(self, folder: Path) -> None:
        """Write the three files."""
        with writing(folder / "features.npy") as file:
            np.save(file, np.asarray(self.array, dtype=np.float16))
        self.save_index(folder, self.index, self.meta)

    @staticmethod
    def save_index(folder: Path, index: pd.DataFrame, meta: FeatureMeta) -> None:
        """Write index.parquet and meta.json beside a features.npy that was written through a memory map."""
        index.reset_index(drop=True).to_parquet(fresh(folder / "index.parquet"), index=False)
        write_json(folder / "meta.json", meta.to_json())

    @classmethod
    def load(cls, folder: Path) -> Features:
        """Open a pool folder; the array is memory-mapped, read-only."""
        if not (folder / "features.npy").is_file():
            raise FileNotFoundError(f"{folder / 'features.npy'} is missing: run `hpnet pool` first")
        try:
            array = np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, SyntaxError, tokenize.TokenError, TypeError, OverflowError) as error:
            raise ValueError(f"{folder / 'features.npy'} is broken ({error}): run `hpnet pool` again") from None
        index = read_table(folder / "index.parquet")
        return cls(array, index, load_meta(folder / "meta.json", FeatureMeta.from_json))


def _typed_scores(table: pa.Table, path: Path) -> pa.Table:
    """The four columns of a score file in their types, without nulls; anything else is a ValueError that names it."""
    types = {"clip_id": pa.string(), "split": pa.string(), "label": pa.int64(), "logits": pa.list_(pa.float32())}
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
    """Scores of one stream (``scores.parquet``): clip_id, split, label, logits (list of K float32).

    ``labelling``: what they were made from, training clips included; None where that is not known.
    """

    clip_ids: tuple[str, ...]
    splits: tuple[str, ...]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]
    labelling: Labelling | None = None

    def __post_init__(self) -> None:
        count = len(self.clip_ids)
        if not (len(self.splits) == len(self.labels) == len(self.logits) == count) or self.logits.ndim != 2:
            raise ValueError(
                f"scores: {count} clips, {len(self.splits)} splits, "
                f"labels {self.labels.shape}, logits {self.logits.shape}"
            )
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
                raise ValueError(f"scores do not agree with what they were made from: {change}")
            if len(self.labelling.classes) != self.logits.shape[1]:
                raise ValueError(
                    f"scores are of {self.logits.shape[1]} classes, they were made from {len(self.labelling.classes)}"
                )

    def split(self, name: str) -> Scores:
        """The clips of one split."""
        keep = np.array([s == name for s in self.splits], dtype=bool)
        return replace(
            self,
            clip_ids=tuple(c for c, k in zip(self.clip_ids, keep, strict=True) if k),
            splits=tuple(s for s, k in zip(self.splits, keep, strict=True) if k),
            labels=self.labels[keep],
            logits=self.logits[keep],
        )

    def save(self, path: Path) -> None:
        """Write scores.parquet."""
        table = pa.table(
            {
                "clip_id": pa.array(self.clip_ids, pa.string()),
                "split": pa.array(self.splits, pa.string()),
                "label": pa.array(self.labels, pa.int64()),
                "logits": pa.array(list(self.logits.astype(np.float32)), pa.list_(pa.float32())),
            }
        )
        if self.labelling is not None:
            table = table.replace_schema_metadata({LABELLING: self.labelling.to_text()})
        pq.write_table(table, fresh(path))

    @classmethod
    def load(cls, path: Path) -> Scores:
        """Read scores.parquet."""
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: train that stream first")
        table = pq.read_table(path)
        labelling = _schema_labelling(table.schema, path)
        missing = {"clip_id", "split", "label", "logits"} - set(table.column_names)
        if missing:
            raise ValueError(f"{path}: column {sorted(missing)[0]!r} is missing")
        table = _typed_scores(table, path)
        if table.num_rows == 0:
            raise ValueError(f"{path} holds no clip: nothing was scored")
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
        )


def scores_labelling(file: Path) -> Labelling | None:
    """What a ``scores.parquet`` was made from, without its scores; None where it does not say.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        schema = pq.read_schema(file)
    except pa.ArrowException as error:
        raise ValueError(f"{file} is no whole Parquet file ({' '.join(str(error).split())[:200]})") from None
    return _schema_labelling(schema, file)


def _schema_labelling(schema: pa.Schema, file: Path) -> Labelling | None:
    text = (schema.metadata or {}).get(LABELLING.encode())
    return None if text is None else _labelling(text.decode("utf-8", "replace"), file)


@dataclass(frozen=True)
class TrainedFeatures:
    """What a classifier sees of clips (``trained_features.parquet``): clip_id, features (list of D float32)."""

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
            KeyError: a clip has none.
        """
        row_of = {clip_id: row for row, clip_id in enumerate(self.clip_ids)}
        return self.array[np.array([row_of[clip_id] for clip_id in clip_ids], dtype=np.int64)]

    def save(self, path: Path) -> None:
        """Write trained_features.parquet."""
        columns = {
            "clip_id": pa.array(self.clip_ids, pa.string()),
            "features": pa.array(list(self.array.astype(np.float32)), pa.list_(pa.float32())),
        }
        pq.write_table(pa.table(columns), fresh(path))

    @classmethod
    def load(cls, path: Path) -> TrainedFeatures:
        """Read trained_features.parquet.

        Raises:
            ValueError: a column is missing, or rows have different lengths.
        """
        table = pq.read_table(path)
        missing = {"clip_id", "features"} - set(table.column_names)
        if missing:
            raise ValueError(f"{path}: column {sorted(missing)[0]!r} is missing")
        rows = table["features"].to_pylist()
        if len({len(row) for row in rows}) > 1:
            raise ValueError(f"{path}: rows have different lengths")
        return cls(tuple(table["clip_id"].to_pylist()), np.array(rows, np.float32).reshape(len(rows), -1))
