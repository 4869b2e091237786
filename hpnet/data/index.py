"""Folders of videos -> clip tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from ..artifacts import Clips
from ..params import DataParams
from ..video import VIDEO_SUFFIXES, VideoError, VideoInfo, probe
from .protocols import class_table, label_and_split
from .table import read_table, split_table


def find_videos(folder: Path) -> list[Path]:
    """Every video file below ``folder``, sorted.

    Raises:
        FileNotFoundError: the folder is missing or holds no video.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"folder {folder} is missing: data.videos must name a folder of videos")
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix.lower() in VIDEO_SUFFIXES)
    if not files:
        known = " ".join(sorted(VIDEO_SUFFIXES))
        raise FileNotFoundError(f"folder {folder} holds no video (looked for {known}): put videos there")
    return files


def index_folder(
    folder: Path, params: DataParams, workers: int = 8, on_progress: Callable[[int], None] | None = None
) -> Clips:
    """Index the videos below ``folder``: names, labels and splits by ``params.protocol``, sizes by probing each file.

    With protocol ``folder`` a video's class is the sub-folder it lies in; videos directly in ``folder`` are one class
    when there is no sub-folder, and unlabelled otherwise; with ``params.table`` that CSV says which videos, classes and
    splits there are. A file that cannot be read keeps its row, with the reason in ``error``.

    Raises:
        FileNotFoundError: the folder or the table is missing, or the folder holds no video.
        ValueError: the names or the table do not fit the protocol.
    """
    files, table = label_folder(folder, params)
    infos = _probe_all(files, workers, on_progress)
    rows = table.assign(
        path=[str(p) for p in files],
        width=[i.width if isinstance(i, VideoInfo) else 0 for i in infos],
        height=[i.height if isinstance(i, VideoInfo) else 0 for i in infos],
        fps=[i.fps if isinstance(i, VideoInfo) else 0.0 for i in infos],
        frames=[i.frames if isinstance(i, VideoInfo) else 0 for i in infos],
        error=[i if isinstance(i, str) else "" for i in infos],
    )
    return Clips(rows, class_table(params.protocol, rows))


def label_folder(folder: Path, params: DataParams) -> tuple[list[Path], pd.DataFrame]:
    """The videos of a folder, and their labels and splits in the same order. Raises as :func:`index_folder`."""
    if params.table:
        if params.protocol != "folder":
            raise ValueError(f"data.table goes with data.protocol: folder, not with {params.protocol!r}")
        rows = read_table(Path(params.table))
        return [folder / video for video in rows.video], split_table(rows, params.val_fraction, params.seed)
    files = find_videos(folder)
    names = [str(f.relative_to(folder)) for f in files]
    if params.protocol == "folder" and not any("/" in name for name in names):
        # A flat folder is one class: a video's class is the folder it lies in.
        names = [f"{folder.resolve().name}/{name}" for name in names]
    return files, label_and_split(
        params.protocol, names, params.val_fraction, params.seed, keep_missing=params.keep_missing
    )


def render_mannequins(
    params: DataParams, folder: Path, workers: int = 1, on_progress: Callable[[int], None] | None = None
) -> Clips:
    """Render the built-in benchmark into ``folder`` (videos/ and truth.parquet) and return its clip table.

    ``params.corruption`` touches the test clips of ``params.protocol`` alone.
    """
    from .mannequin.benchmark import plan, write_benchmark  # numba: only where something is rendered

    names = [spec.clip_id for spec in plan(params)]
    table = label_and_split(params.protocol, names, val_fraction=params.val_fraction, seed=params.seed)
    corrupt = frozenset(table.clip_id[table.split == "test"]) if params.corruption != "none" else frozenset()
    files, _ = write_benchmark(params, folder, workers=workers, on_progress=on_progress, corrupt_ids=corrupt)
    columns = ["clip_id", "path", "width", "height", "fps", "frames"]
    rows = table.merge(files[columns], on="clip_id", validate="one_to_one").assign(error="")
    return Clips(rows, class_table(params.protocol))


def _probe_all(files: Sequence[Path], workers: int, on_progress: Callable[[int], None] | None) -> list[VideoInfo | str]:
    def one(path: Path) -> VideoInfo | str:
        try:
            return probe(path)
        except VideoError as error:
            return str(error)

    infos: list[VideoInfo | str] = []
    with ThreadPoolExecutor(workers) as pool:
        for info in pool.map(one, files):
            infos.append(info)
            if on_progress:
                on_progress(1)
    return infos


def failures(clips: Clips) -> dict[str, str]:
    """clip_id -> reason of the clips that cannot be used."""
    broken: pd.DataFrame = clips.table[clips.table.error != ""]
    return {str(r.clip_id): str(r.error) for r in broken.itertuples()}
