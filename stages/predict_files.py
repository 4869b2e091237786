"""``hpnet predict`` over files: in this process, or in several that share them."""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from torch import device as Device

    from hpnet.predict.project import TrainedProject
    from hpnet.predict.recognise import Prediction, Recogniser
    from hpnet.predict.windows import Cutting

    from .predict import Output

HANDED_OVER = 8
"""Files that a worker takes at a time: windows of several files are classified together."""
MOST_DEAD = 3
"""So many files in a row that end the process which reads them are not to blame."""


@dataclass(frozen=True)
class Task:
    """What `hpnet predict` was asked for; see its options."""

    project: Path
    streams: Sequence[str] | None
    people: int | None
    each: bool
    device: str
    precision: str
    cutting: Cutting
    top: int
    as_json: bool
    targets: Mapping[str, Path]

    def recogniser(self, trained: TrainedProject) -> Recogniser:
        """The networks at work."""
        from hpnet.predict.recognise import Recogniser

        return Recogniser(trained, people=self.people, each=self.each, device=self.device, precision=self.precision)


def default_workers(files: int, device: Device) -> int:
    """On CPU a process per core, as long as each has two turns of files, for it takes seconds to start; else one."""
    return 1 if device.type != "cpu" else max(1, min(os.cpu_count() or 1, 8, files // (2 * HANDED_OVER)))


def recognise_files(
    files: Sequence[Path], task: Task, trained: TrainedProject, workers: int, advance: Callable[..., None]
) -> list[str]:
    """Answer files in order; those that failed. Ctrl-C stops the workers.

    Raises:
        RuntimeError: worker processes die, whatever they read.
    """
    from .predict import Output

    if workers == 1:
        recogniser = task.recogniser(trained)
        output = Output(trained, recogniser, task.cutting, task.top, task.as_json, task.targets)
        _answer(files, recogniser, task.cutting, output, advance)
        return list(output.failed)
    failed: list[str] = []
    with closing(_shared(files, task, workers)) as told:
        for lines, lost, count in told:
            for text, err in lines:
                click.echo(text, err=err)
            failed += lost
            for _ in range(count):
                advance()
    return failed


_Told = tuple[list[tuple[str, bool]], list[str], int]
"""(text, whether for stderr) of lines, the files that failed, and how many files these are the answers of."""


def _shared(files: Sequence[Path], task: Task, workers: int) -> Generator[_Told]:
    """The answers of files, in order. Where a process dies, the files that it may have had are taken one by one."""
    waiting = deque(files[n : n + HANDED_OVER] for n in range(0, len(files), HANDED_OVER))
    while waiting:
        try:
            with _pool(workers) as pool:
                for lines, lost in pool.map(functools.partial(_work, task), list(waiting)):
                    yield lines, lost, len(waiting.popleft())
        except BrokenProcessPool:
            yield from _one_by_one(waiting.popleft(), task, workers)


def _one_by_one(files: Sequence[Path], task: Task, workers: int) -> Iterator[_Told]:
    """The answers of files by a process that has one of them at a time; whoever ends it is named.

    Raises:
        RuntimeError: ``MOST_DEAD`` files in a row ended it, so that it is hardly the files.
    """
    from .predict import one_line

    waiting, dead = deque(files), 0
    while waiting:
        try:
            with _pool(1, workers) as pool:
                for lines, lost in pool.map(functools.partial(_work, task), [[file] for file in waiting]):
                    waiting.popleft()
                    dead = 0
                    yield lines, lost, 1
        except BrokenProcessPool:
            dead += 1
            if dead == MOST_DEAD:
                raise RuntimeError("worker processes die (out of memory?): try fewer --workers") from None
            name = str(waiting.popleft())
            reason = "ended the process that read it (out of memory, or a fault in a decoder)"
            yield [(f"{one_line(name)}: {reason}", True)], [name], 1


@contextmanager
def _pool(workers: int, share: int | None = None) -> Iterator[ProcessPoolExecutor]:
    """Processes, each with the threads of one of ``share`` (by default of so many); an error ends them."""
    threads = max(1, (os.cpu_count() or 1) // (share or workers))
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker, (threads,))
    try:
        yield pool
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _answer(
    files: Sequence[Path], recogniser: Recogniser, cutting: Cutting, output: Output, advance: Callable[..., None]
) -> None:
    """Answer files in order in this process."""
    from hpnet.predict.windows import every_window

    for predictions in _by_video(recogniser.predict(every_window(list(files), cutting, output.fail), output.fail)):
        output.show(predictions)
        advance()


def _by_video(predictions: Iterator[Prediction]) -> Iterator[Iterator[Prediction]]:
    """One iterator per video; each must be used up before the next."""
    for _, group in itertools.groupby(predictions, key=lambda p: p.seen.window.video):
        yield group


# --- in the workers ---------------------------------------------------------------------------------------------------

_ready: dict[str, tuple[TrainedProject, Recogniser]] = {}


def _start_worker(threads: int) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)


def _work(task: Task, files: Sequence[Path]) -> tuple[list[tuple[str, bool]], list[str]]:
    """(text, whether for stderr) of the lines that some files gave, and the files that failed."""
    from hpnet.predict.project import TrainedProject

    from .predict import Output

    if "networks" not in _ready:
        trained = TrainedProject(task.project, task.streams, task.device)
        _ready["networks"] = trained, task.recogniser(trained)
    trained, recogniser = _ready["networks"]
    lines: list[tuple[str, bool]] = []

    def keep(text: Any, err: bool = False) -> None:
        lines.append((str(text), err))

    output = Output(trained, recogniser, task.cutting, task.top, task.as_json, task.targets, keep)
    _answer(files, recogniser, task.cutting, output, lambda: None)
    return lines, list(output.failed)
