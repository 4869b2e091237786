"""``hpnet predict`` for files: in this process, or in several processes that share them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..work import processes
from ..work.console import one_line
from ..work.processes import MOST_ON_CPU, Died, Workers, cores, device_workers
from .following import parts_of
from .model import Model
from .output import Output, say
from .recognise import Prediction
from .windows import Cutting, every_window

HANDED_OVER = 8
"""Number of files a worker gets at a time, because windows of several files are classified together."""
MOST_DEAD = 3
"""If this number of files in a row kill their process, the files are probably not the cause."""


@dataclass(frozen=True)
class Task:
    """The options of `hpnet predict`."""

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
    events: bool = False
    backend: str | None = None

    def model(self) -> Model:
        """The model that answers."""
        return Model(
            self.project, self.device, self.streams, people=self.people, each=self.each, precision=self.precision,
            backend=self.backend,
        )  # fmt: skip


def default_workers(files: int, on_gpu: bool) -> int:
    """On CPU one process per core, if each gets files at least twice, because its start takes seconds. Else one."""
    return 1 if on_gpu else max(1, min(cores(), MOST_ON_CPU, files // (2 * HANDED_OVER)))


def recognise_files(
    files: Sequence[Path], task: Task, model: Model, workers: int, advance: Callable[..., None]
) -> list[str]:
    """Answer files in order; returns those that failed. Ctrl-C stops the workers.

    Raises:
        RuntimeError: worker processes die with every file.
    """
    if workers == 1:
        output = Output(model.project, model.recogniser, task.cutting, task.top, task.as_json, task.targets)
        _answer(files, model, task, output, advance)
        return list(output.failed)
    failed: list[str] = []
    with closing(_shared(files, task, workers)) as told:
        for lines, lost, count in told:
            for text, err in lines:
                say(text, err)
            failed += lost
            for _ in range(count):
                advance()
    return failed


_Lines = list[tuple[str, bool]]
"""(text, whether for stderr)."""
_Told = tuple[_Lines, list[str], int]
"""Lines, the files that failed, and the number of files answered."""


def _shared(files: Sequence[Path], task: Task, workers: int) -> Generator[_Told]:
    """The answers of files, in order. If a process dies, its files are tried one by one."""
    turns = [files[n : n + HANDED_OVER] for n in range(0, len(files), HANDED_OVER)]
    share = device_workers(task.device, workers)
    found: dict[int, tuple[_Lines, list[str]] | Died] = {}
    told = 0
    with closing(processes.run(functools.partial(_work, task), turns, share)) as done:
        for number, result in done:
            found[number] = result
            while told in found:
                ready = found.pop(told)
                if isinstance(ready, Died):
                    yield from _one_by_one(turns[told], task, share)
                else:
                    yield (*ready, len(turns[told]))
                told += 1


def _one_by_one(files: Sequence[Path], task: Task, share: Workers) -> Iterator[_Told]:
    """The answers of files by a process that gets one file at a time; a file that kills it is named.

    Raises:
        RuntimeError: ``MOST_DEAD`` files in a row killed it, so the files are probably not the cause.
    """
    dead = 0
    work, alone = functools.partial(_work, task), replace(share, count=1)
    with closing(processes.run(work, [[file] for file in files], alone)) as done:
        for number, result in done:
            if not isinstance(result, Died):
                dead = 0
                yield (*result, 1)
                continue
            dead += 1
            if dead == MOST_DEAD:
                raise RuntimeError(f"each of {dead} files in a row {result.reason}: try fewer --workers")
            name = str(files[number])
            yield [(f"{one_line(name)}: {result.reason}", True)], [name], 1


def _answer(files: Sequence[Path], model: Model, task: Task, output: Output, advance: Callable[..., None]) -> None:
    """Answer files in order in this process."""
    if task.events:
        finder = model.finder(task.cutting.window_s)
        for file in files:
            windows = every_window([file], parts_of(task.cutting), output.fail)
            output.show_events(finder, finder.follow(windows, output.fail))
            advance()
        return
    windows = every_window(list(files), task.cutting, output.fail)
    for predictions in _by_video(model.recogniser.predict(windows, output.fail)):
        output.show(predictions)
        advance()


def _by_video(predictions: Iterator[Prediction]) -> Iterator[Iterator[Prediction]]:
    """One iterator per video; each must be used up before the next."""
    for _, group in itertools.groupby(predictions, key=lambda p: p.seen.window.video):
        yield group


# --- in the workers ---------------------------------------------------------------------------------------------------

_ready: dict[str, Model] = {}


def _work(task: Task, files: Sequence[Path]) -> tuple[_Lines, list[str]]:
    """The lines that some files gave, and the files that failed."""
    if "model" not in _ready:
        _ready["model"] = task.model()
    model = _ready["model"]
    lines: _Lines = []

    def keep(text: Any, err: bool = False) -> None:
        lines.append((str(text), err))

    output = Output(model.project, model.recogniser, task.cutting, task.top, task.as_json, task.targets, keep)
    _answer(files, model, task, output, lambda: None)
    return lines, list(output.failed)
