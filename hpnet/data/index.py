"""Folders of videos -> clip tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..artifacts.clips import Clips
from ..core.clip_ids import normal_form, text_fault
from ..core.video import VideoError, VideoInfo, probe
from .folders import read_layout
from .params import DataParams
from .protocols import class_table, label_and_split
from .table import read_table, split_table
from .walk import find_videos

SHOWN = 5
"""Actions that a note names."""


@dataclass(frozen=True)
class Labelled:
    """The videos of a folder with what they mean.

    Attributes:
        files: the videos.
        table: the columns of :func:`hpnet.data.protocols.label_and_split`, in the same order.
        notes: what a reader must know, a line each: what was passed over, what lacks test clips.
    """

    files: list[Path]
    table: pd.DataFrame
    notes: tuple[str, ...] = ()


def index_folder(
    folder: Path, params: DataParams, workers: int = 8, on_progress: Callable[[int], None] | None = None
) -> Clips:
    """Index the videos below ``folder``: names, labels and splits by ``params.protocol``, sizes by probing each file.

    With protocol ``folder`` a video's class is the first level below ``folder`` (see
    :func:`hpnet.data.folders.read_layout`); videos directly in ``folder`` are one class when there is no sub-folder,
    and unlabelled otherwise; with ``params.table`` that CSV says which videos, classes and splits there are. A file
    that cannot be read keeps its row, with the reason in ``error``.

    Raises:
        FileNotFoundError: the folder or the table is missing, or the folder holds no video.
        ValueError: the names or the table do not fit the protocol, or cannot stand in a table.
    """
    return probe_videos(label_folder(folder, params), params, workers, on_progress)


def probe_videos(
    labelled: Labelled, params: DataParams, workers: int = 8, on_progress: Callable[[int], None] | None = None
) -> Clips:
    """The clip table of labelled videos, with the size, rate and length of each; see :func:`index_folder`."""
    infos = _probe_all(labelled.files, workers, on_progress)
    rows = labelled.table.assign(
        path=[str(p) for p in labelled.files],
        width=[i.width if isinstance(i, VideoInfo) else 0 for i in infos],
        height=[i.height if isinstance(i, VideoInfo) else 0 for i in infos],
        fps=[i.fps if isinstance(i, VideoInfo) else 0.0 for i in infos],
        frames=[i.frames if isinstance(i, VideoInfo) else 0 for i in infos],
        error=[i if isinstance(i, str) else "" for i in infos],
    )
    return Clips(rows, class_table(params.protocol, rows))


def label_folder(folder: Path, params: DataParams) -> Labelled:
    """The videos of a folder, their labels and splits. Raises as :func:`index_folder`."""
    wrong = text_fault(str(folder))
    if wrong:
        raise ValueError(f"the name of folder {str(folder)!r} {wrong}: rename it")
    if params.table:
        if params.protocol != "folder":
            raise ValueError(f"data.table goes with data.protocol: folder, not with {params.protocol!r}")
        rows = read_table(Path(params.table))
        table = split_table(rows, params.val_fraction, params.seed)
        notes = _unserved(table, params.val_fraction)
        return Labelled(_on_disk(folder, rows.video.tolist()), table, notes)
    found = find_videos(folder)
    found.refuse_unusable()
    names = [f.relative_to(folder).as_posix() for f in found.files]
    if params.protocol == "folder" and not any("/" in name for name in names):
        # A flat folder is one class.
        names = [f"{folder.resolve().name or 'videos'}/{name}" for name in names]
    table = label_and_split(params.protocol, names, params.val_fraction, params.seed, keep_missing=params.keep_missing)
    notes = (found.passed_over(),)
    if params.protocol == "folder":
        notes += (read_layout(table.clip_id.tolist()).note, *_unserved(table, params.val_fraction))
    return Labelled(found.files, table, tuple(note for note in notes if note))


def _unserved(table: pd.DataFrame, val_fraction: float) -> tuple[str, ...]:
    """One line that says which actions have no clips in which split; none where all have."""
    actions = sorted(set(table.class_name) - {""})
    by_source = (table.subject != "").any()
    parts = []
    for split, fewest in (("train", 1), ("test", 2), ("val", 3)):
        served = set(table.class_name[table.split == split])
        without = [action for action in actions if action not in served]
        if without and not (split == "val" and not val_fraction):
            needs = f": {fewest} {'sources' if by_source else 'videos'} are needed" if fewest > 1 else ""
            more = f" and {len(without) - SHOWN} more" if len(without) > SHOWN else ""
            verb = "has" if len(without) == 1 else "have"
            parts.append(f"{len(without)} {verb} no {split} clips ({', '.join(without[:SHOWN])}{more}{needs})")
    return (f"of {len(actions)} actions, {', '.join(parts)}",) if parts else ()


def _on_disk(folder: Path, videos: Sequence[str]) -> list[Path]:
    """The files that a table names; a name in another Unicode form than the file's is its name too."""
    files = [folder / video for video in videos]
    lacking = [n for n, video in enumerate(videos) if not video.isascii() and not files[n].exists()]
    if lacking and folder.is_dir():
        by_name = {normal_form(f.relative_to(folder).as_posix()): f for f in find_videos(folder).files}
        for n in lacking:
            files[n] = by_name.get(normal_form(videos[n]), files[n])
    return files


def render_mannequins(
    params: DataParams, folder: Path, workers: int = 1, on_progress: Callable[[int], None] | None = None
) -> Clips:
    """Render the built-in benchmark into ``folder`` (videos/ and truth.parquet) and return its clip table.

    ``params.corruption`` touches the test clips of ``params.protocol`` alone.
    """
    from ..mannequin.benchmark import plan, write_benchmark  # numba: only where something is rendered

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
