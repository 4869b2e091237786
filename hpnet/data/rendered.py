"""The mannequins, rendered: the source ``mannequin`` of the stage data."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..artifacts.clips import Clips
from ..artifacts.takes import Takes
from ..artifacts.videos import VIDEO_COLUMNS
from ..mannequin.benchmark import plan, write_benchmark
from ..mannequin.takes import TakeSpec, plan_takes, write_takes
from ..work.console import note, progress
from .cutting import cut_clips, with_background
from .params import DataParams
from .protocols import class_table, label_and_split


def make(params: DataParams, out: Path, workers: int) -> Clips:
    """Render the built-in benchmark into ``out`` (videos/ and truth.parquet) and return its clip table.

    ``params.corruption`` changes only the test clips of ``params.protocol``. With ``params.takes`` or
    ``params.training_takes`` also takes/, takes_truth.parquet, takes.csv and events.csv.
    """
    names = [spec.clip_id for spec in plan(params)]
    table = label_and_split(params.protocol, names, val_fraction=params.val_fraction, seed=params.seed)
    specs = takes_of(params, table)
    corrupt = frozenset(table.clip_id[table.split == "test"]) if params.corruption != "none" else frozenset()
    with progress("rendering", len(names)) as advance:
        videos, _ = write_benchmark(params, out, workers=workers, on_progress=advance, corrupt_ids=corrupt)
    takes = render_takes(params, specs, out, workers) if specs else None
    rows, classes = (
        table.merge(videos[list(VIDEO_COLUMNS)], on="clip_id", validate="one_to_one"),
        class_table(params.protocol),
    )
    if takes is not None and params.training_takes:
        return with_takes(rows, classes, takes, params)
    return Clips(rows, classes)


def with_takes(rows: pd.DataFrame, classes: pd.DataFrame, takes: Takes, params: DataParams) -> Clips:
    """The clips of the benchmark and those that are cut from takes, of their actions and of the background."""
    cut = cut_clips(takes, params.background, params.seed)
    if cut.note():
        note(cut.note())
    classes = with_background(classes, cut.rows)
    label = dict(zip(classes.name, classes.label, strict=True))
    parts = cut.rows.assign(subject=cut.rows.source, camera=0, setup=0, repetition=0)
    parts = parts.assign(label=[label[name] for name in parts.class_name])
    return Clips(pd.concat([rows, parts], ignore_index=True), classes)


def takes_of(params: DataParams, table: pd.DataFrame) -> list[TakeSpec]:
    """The takes of these parameters: ``takes`` of test subjects, ``training_takes`` of those of train and val in turn.

    Nobody in a test take is in a clip of training. Where a protocol has every subject in training, test takes show
    people beyond those of the clips.

    Args:
        table: subject and split of every clip.
    """
    splits = {split: {int(subject) for subject in rows.subject} for split, rows in table.groupby("split")}
    train, val = splits.get("train", set()), splits.get("val", set())
    tested = sorted(splits.get("test", set()) - train - val)
    strangers = [params.subjects + 1 + n for n in range(params.takes)]
    specs = plan_takes(params, tested or strangers, "test", params.takes)
    for spec in plan_takes(params, sorted(train | val), "train", params.training_takes):
        specs.append(spec if spec.subject in train else spec.of_split("val"))
    return specs


def render_takes(params: DataParams, specs: list[TakeSpec], out: Path, workers: int) -> Takes:
    """Render takes into ``out`` and save their tables."""
    with progress("rendering takes", len(specs)) as advance:
        takes = write_takes(specs, params, out, workers=workers, on_progress=advance)
    takes.save(out)
    return takes
