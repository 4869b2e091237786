"""The trainings of a cross-validation: one for each fold, stream and seed, side by side, each done once.

A training lies in ``.work/crossval/runs/STREAM-KEY``, where KEY stands for everything that decides its scores:
features, the fold's clip table, parameters, code, seed and arithmetic. So one that is finished is not done again,
whichever result asks for it, and one that was stopped resumes after its last epoch.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..artifacts.clips import CLIP_COLUMNS, Clips
from ..artifacts.scores import Scores
from ..core.device import resolve_device
from ..core.streams import MULTIMODAL
from ..train.checkpoints import Epoch
from ..train.every import PRELOADED
from ..train.histories import epoch_note
from ..train.params import TrainParams
from ..train.run import Folders, Machine
from ..train.step import Place, kind, precision_of
from ..train.step import run as train
from ..work import processes
from ..work.console import progress
from ..work.locks import locked

SELF = "hpnet.crossval.training"


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        fold: its name.
        folder: of the run.
        folders: what it reads.
        params: with one seed.
        machine: that it runs on.
    """

    fold: str
    stream: str
    seed: int
    folder: Path
    folders: Folders
    params: TrainParams
    machine: Machine

    @property
    def finished(self) -> bool:
        """Whether its scores are there; the metrics are what a training writes last."""
        return (self.folder / "metrics.json").is_file()

    def scores(self) -> Scores:
        """Scores of its validation and test clips."""
        return Scores.load(self.folder / "out" / "scores.parquet")

    def run(self) -> None:
        """Train, unless it is finished. Checkpoints are deleted in the end."""
        with locked(self.folder / ".lock", f"another process is training {self.stream} of fold {self.fold}: waiting"):
            if self.finished:
                return
            work = self.folder / "work"
            place = Place(self.folder / "out", self.folder / "metrics.json", work)
            train(self.stream, self.params, self.folders, place, self.machine, functools.partial(_tell, self.fold))
            shutil.rmtree(work, ignore_errors=True)


def write_table(clips: Clips, work: Path) -> Path:
    """A fold's clip table as a folder of its own, named after what it says; returns it.

    Args:
        work: ``.work/crossval`` of the project.
    """
    rows, classes = clips.table[list(CLIP_COLUMNS)].to_csv(index=False), clips.classes.to_csv(index=False)
    folder = work / "tables" / _key(rows, classes, sorted(clips.failures().items()))
    with locked(work / "tables" / ".lock"):
        if not (folder / "classes.csv").is_file():  # which is written last
            clips.save(folder)
    return folder


@dataclass(frozen=True)
class Course:
    """What the trainings of a cross-validation have in common.

    Attributes:
        folders: features and person frames; the clip table in it is replaced by a fold's.
        work: ``.work/crossval`` of the project.
    """

    streams: tuple[str, ...]
    params: TrainParams
    folders: Folders
    machine: Machine
    work: Path

    def plan(self, tables: Mapping[str, Clips]) -> list[Training]:
        """Every training, fold by fold.

        Args:
            tables: fold -> its clip table.

        Raises:
            FileNotFoundError: features, frames or weights to start from are missing.
        """
        device = resolve_device(self.machine.device)
        whole = self.params.model_dump(mode="json", exclude={"seed"})
        found = []
        for fold, table in tables.items():
            own = replace(self.folders, data=write_table(table, self.work))
            digests = {frames: own.digests(frames=frames) for frames in {s == MULTIMODAL for s in self.streams}}
            for stream in self.streams:
                section = self.params.of(stream)
                made = (digests[stream == MULTIMODAL], section.code().digest(), kind(stream).started_from(section))
                for seed in self.params.seeds:
                    precision = precision_of(section, self.machine.precision, device)
                    key = _key(stream, whole, *made, seed, device.type, precision)
                    folder = self.work / "runs" / f"{stream}-{key}"
                    single = self.params.model_copy(update={"seed": seed})
                    found.append(Training(fold, stream, seed, folder, own, single, self.machine))
        return found


def run(trainings: Sequence[Training], jobs: int) -> None:
    """Do those that are not finished, ``jobs`` at a time.

    Raises:
        RuntimeError: a process died; what is finished is kept.
    """
    left = [training for training in trainings if not training.finished]
    with progress("crossval", len(left)) as advance:
        for number, result in _results(left, jobs, advance):
            if isinstance(result, processes.Died):
                one = left[number]
                raise RuntimeError(f"fold {one.fold}, {one.stream}: {result.reason}; give fewer --jobs")
            advance(note=f"fold {left[number].fold}: {left[number].stream} is trained")


def _results(left: Sequence[Training], jobs: int, advance: Any) -> Iterator[tuple[int, processes.Died | None]]:
    if min(jobs, len(left)) <= 1:
        yield from processes.run_here(Training.run, left)
        return
    crew = processes.Workers(min(jobs, len(left)), threads=1, preload=(*PRELOADED, SELF))
    with closing(processes.run(Training.run, left, crew, on_told=lambda note: advance(0, note=note))) as results:
        yield from results


def _tell(fold: str, stream: str, epoch: Epoch) -> None:
    """Of a worker: what stands behind the progress bar."""
    processes.tell(f"fold {fold}: {stream}, epoch {epoch.epoch + 1}, {epoch_note(epoch)}")


def _key(*parts: Any) -> str:
    """A hash of JSON values."""
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=8).hexdigest()
