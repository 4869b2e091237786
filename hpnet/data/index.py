"""Folders of videos -> clip tables: the source ``folder`` of the stage data."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ..artifacts.clips import Clips
from ..artifacts.videos import UNKNOWN
from ..core.clip_ids import normal_form, text_fault
from ..core.video import VideoError, probe
from ..work.console import note, progress
from ..work.shards import file_digest
from .cutting import cut_clips, with_background
from .events_table import is_events_table, read_events_table, split_events, takes_of_table
from .folders import read_layout
from .params import DataParams
from .protocols import class_table, label_and_split
from .table import copies, mirrors, read_table, refuse_copies, split_table
from .walk import find_videos

SHOWN = 5
"""Maximum number of actions that a note names."""


@dataclass(frozen=True)
class Labelled:
    """The videos of a folder with their labels and splits.

    Attributes:
        files: the videos.
        table: the columns of :func:`hpnet.data.protocols.label_and_split`, in the same order.
        notes: lines for the reader: skipped files, actions without test clips.
        mirrors: action -> the action that its mirror image shows, where a table says so.
        events: rows of a table of events (:func:`hpnet.data.events_table.read_events_table`), of which ``files`` and
            ``table`` have one entry each; None if every video is a clip.
    """

    files: list[Path]
    table: pd.DataFrame
    notes: tuple[str, ...] = ()
    mirrors: Mapping[str, str] = field(default_factory=dict)
    events: pd.DataFrame | None = None


def make(params: DataParams, out: Path, workers: int) -> Clips:
    """The clips of the folder ``params.videos``; prints the notes.

    With a table of events, clips are cut from its videos, and ``out`` gets takes.csv and events.csv; otherwise nothing.

    Raises:
        FileNotFoundError, ValueError: as :func:`index_folder`; or one video is in two splits under two names and hpnet
            chooses the splits.
    """
    labelled = label_folder(Path(params.videos), params)
    for line in labelled.notes:
        note(line)
    if labelled.events is not None:
        split_of = dict(zip(labelled.files, labelled.table.split, strict=True))
        refuse_copies(list(split_of), list(split_of.values()))
        return _cut(labelled, params, out, workers)
    with progress("indexing", len(labelled.files)) as advance:
        clips = probe_videos(labelled, params, workers, advance)
    files, splits = labelled.files, labelled.table.split.tolist()
    if params.protocol == "folder":
        refuse_copies(files, splits)
    elif twins := copies(files, splits):  # a published data set with its published split
        found = len({n for pair in twins for n in pair})
        first, second = (files[n] for n in twins[0])
        note(
            f"{found} videos have a copy in another split, such as {first} and {second}: their accuracy may be too "
            "heart"
        )
    return clips


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
        ValueError: the names or the table do not match the protocol, or cannot be written into a table.
    """
    return probe_videos(label_folder(folder, params), params, workers, on_progress)


def probe_videos(
    labelled: Labelled, params: DataParams, workers: int = 8, on_progress: Callable[[int], None] | None = None
) -> Clips:
    """The clip table of labelled videos, with the properties of each file; see :func:`index_folder`."""
    facts: list[dict[str, object]] = []
    with ThreadPoolExecutor(workers) as pool:
        for fact in pool.map(video_facts, labelled.files):
            facts.append(fact)
            if on_progress:
                on_progress(1)
    columns = pd.DataFrame(facts, columns=list(UNKNOWN))
    rows = labelled.table.assign(**{name: columns[name].to_numpy() for name in columns})
    classes = class_table(params.protocol, rows)
    if labelled.mirrors:
        classes = classes.assign(mirror=[labelled.mirrors.get(str(name), "") for name in classes.name])
    return Clips(rows, classes)


def _cut(labelled: Labelled, params: DataParams, out: Path, workers: int) -> Clips:
    """The clips that are cut from the videos of a table of events; saves the videos and events."""
    assert labelled.events is not None
    files = dict(zip(labelled.events.video, labelled.files, strict=True))
    with progress("indexing", len(files)) as advance, ThreadPoolExecutor(workers) as pool:
        facts = {}
        for video, found in zip(files, pool.map(video_facts, files.values()), strict=True):
            facts[video] = found
            advance(1)
    takes = takes_of_table(labelled.events, labelled.table.split.tolist(), facts, Path(params.table))
    takes.save(out)
    cut = cut_clips(takes, params.background, params.seed)
    if cut.note():
        note(cut.note())
    rows = cut.rows.assign(subject="", camera=0, setup=0, repetition=0)
    names = sorted(set(rows.class_name))
    rows = rows.assign(label=[names.index(name) for name in rows.class_name])
    classes = with_background(class_table(params.protocol, rows), rows)
    if labelled.mirrors:
        classes = classes.assign(mirror=[labelled.mirrors.get(str(name), "") for name in classes.name])
    return Clips(rows, classes)


def video_facts(file: Path) -> dict[str, object]:
    """The row of a video in videos.csv, without its clip id; if it cannot be read, the reason is in ``error``."""
    facts: dict[str, object] = {**UNKNOWN, "path": str(file)}
    with contextlib.suppress(OSError):  # probing gives the reason
        facts["bytes"] = file.stat().st_size
        facts["digest"] = file_digest(file)
    try:
        info = probe(file)
    except VideoError as error:
        return facts | {"error": str(error)}
    return facts | dataclasses.asdict(info)


def label_folder(folder: Path, params: DataParams) -> Labelled:
    """The videos of a folder, their labels and splits. Raises as :func:`index_folder`."""
    wrong = text_fault(str(folder))
    if wrong:
        raise ValueError(f"the name of folder {str(folder)!r} {wrong}: rename it")
    if params.table:
        if params.protocol != "folder":
            raise ValueError(f"data.table needs data.protocol: folder, not {params.protocol!r}")
        if is_events_table(Path(params.table)):
            return _label_events(folder, params)
        rows = read_table(Path(params.table))
        table = split_table(rows, params.val_fraction, params.seed)
        files = _on_disk(folder, rows.video.tolist())
        notes = (*_absent(folder, files, Path(params.table)), *_unserved(table, params.val_fraction))
        return Labelled(files, table, notes, mirrors(rows))
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


def _label_events(folder: Path, params: DataParams) -> Labelled:
    """The events of a table with times, each with its file, action and split; background is cut later."""
    rows = read_events_table(Path(params.table))
    splits = split_events(rows, params.val_fraction, params.seed)
    named = rows.assign(class_name=rows.action, split=splits)
    files = _on_disk(folder, rows.video.tolist())
    unserved = _unserved(named[named.class_name != ""], params.val_fraction)
    columns = ["video", "class_name", "split", "source"]
    notes = (*_absent(folder, files, Path(params.table)), *unserved)
    return Labelled(files, named[columns], notes, mirrors(rows), rows)


def _unserved(table: pd.DataFrame, val_fraction: float) -> tuple[str, ...]:
    """One line that names the actions without clips in a split; empty if there are none."""
    actions = sorted(set(table.class_name) - {""})
    by_source = (table.source != "").any()
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


def _absent(folder: Path, files: Sequence[Path], table: Path) -> tuple[str, ...]:
    """One line about the videos of a table that are not there; empty if all are."""
    named = list(dict.fromkeys(files))
    lacking = [file for file in named if not file.is_file()]
    if not lacking:
        return ()
    verb = "is" if len(lacking) == 1 else "are"
    first = lacking[0].relative_to(folder).as_posix()
    return (
        f"{len(lacking)} of {len(named)} videos of {table} {verb} not in {folder}, the first {first}: column video is "
        "the path below that folder; correct it, or the folder (data.videos, --videos)",
    )


def _on_disk(folder: Path, videos: Sequence[str]) -> list[Path]:
    """The files that a table names; a name in another Unicode form matches too."""
    files = [folder / video for video in videos]
    lacking = [n for n, video in enumerate(videos) if not video.isascii() and not files[n].exists()]
    if lacking and folder.is_dir():
        by_name = {normal_form(f.relative_to(folder).as_posix()): f for f in find_videos(folder).files}
        for n in lacking:
            files[n] = by_name.get(normal_form(videos[n]), files[n])
    return files
