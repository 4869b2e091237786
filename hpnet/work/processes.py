"""Worker processes: start, death, Ctrl-C and end, for shards, ``hpnet train all`` and ``hpnet predict``.

Every worker has its own pipe, and one task at a time. So the task of a dead worker is known, and the other workers
continue. (The pool of ``concurrent.futures`` breaks as a whole and does not know the task.)
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any, Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

PATIENCE_S = 5.0
"""Time for a worker to end after it is told to, seconds."""
MOST_ON_CPU = 8
"""Default maximum of workers on a CPU, because each holds a copy of the networks."""
RESULT, ERROR, TOLD, DEATH, NOTHING = "result", "error", "told", "death", "nothing"
"""Kinds of answers of a worker; the worker sends the first three."""
OUT_OF_MEMORY = 71
"""Exit status of a worker after a MemoryError. It ends because its state may be damaged."""


@dataclass(frozen=True)
class Died:
    """Result of a task if its worker died at every try.

    Attributes:
        exit_code: as :class:`multiprocessing.Process` has it: the negative number of a signal, or an exit status; None
            if unknown.
    """

    exit_code: int | None

    @property
    def reason(self) -> str:
        """The reason, as text."""
        known = {int(number): number.name for number in signal.Signals}
        name = known.get(-(self.exit_code or 0), f"exit status {self.exit_code}")
        memory = self.exit_code in (None, OUT_OF_MEMORY, -signal.SIGKILL)
        cause = "out of memory?" if memory else "a fault in native code?"
        return f"ended the process that worked on it ({cause if self.exit_code is None else f'{name}: {cause}'})"


@dataclass(frozen=True)
class Workers:
    """Number of processes, and the resources of each.

    Attributes:
        count: number of processes at the same time.
        threads: OMP_NUM_THREADS of each; None: unchanged.
        gpus: in the form of CUDA_VISIBLE_DEVICES; each process sees one of them in turn; if empty, no choice is made.
        preload: modules that a common parent process imports once. Workers are then forked from it, start at once, and
            share its memory; ``threads`` does not affect modules that it has imported. None: new processes.
    """

    count: int
    threads: int | None = None
    gpus: Sequence[str] = ()
    preload: Sequence[str] = ()


def run(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: Workers,
    *,
    retries: int = 0,
    on_told: Callable[[Any], None] | None = None,
) -> Generator[tuple[int, Result | Died]]:
    """Do tasks in worker processes; yields (number of the task, result) when a task is finished.

    A dead worker affects only its own task: the task is tried ``retries`` more times, each time by a new process, and
        then gives a :class:`Died`. MemoryError counts as a death. Any other exception ends all workers and is raised
        here, with the worker's traceback as its cause. Ctrl-C and SIGTERM end all workers and raise KeyboardInterrupt.
        Workers end with this process in every case.

    Args:
        work: picklable; sent to each worker once.
        on_told: called with the values that workers send with :func:`tell`.
    """
    context = _context(workers.preload)
    with _terminated_as_interrupted():
        crew = _Crew(work, tasks, workers, context, retries)
        try:
            crew.start()
            while busy := crew.busy():
                wait([end for worker in busy for end in (worker.link, worker.process.sentinel)])
                for worker in busy:
                    kind, value = worker.answer()
                    if kind == TOLD and on_told is not None:
                        on_told(value)
                    elif kind == ERROR:
                        error, text = value
                        raise error from WorkerTraceback(text)
                    elif kind == RESULT:
                        yield crew.next_task(worker), value
                    elif kind == DEATH and (number := crew.replace(worker)) is not None:
                        yield number, value
        except BaseException:
            crew.terminate()
            raise
        finally:
            crew.end()


def run_here(work: Callable[[Task], Result], tasks: Sequence[Task]) -> Generator[tuple[int, Result | Died]]:
    """:func:`run` in this process, one task after another: a crash ends everything, but a MemoryError does not."""
    for number, task in enumerate(tasks):
        try:
            result: Result | Died = work(task)
        except MemoryError:
            result = Died(OUT_OF_MEMORY)
        yield number, result


def tell(value: Any) -> None:
    """Send a value from a worker's main thread to :func:`run`, before the result; does nothing outside a worker."""
    if _link is not None:
        _link.send((TOLD, value))


def cores() -> int:
    """Cores of this machine."""
    return os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, in the form of CUDA_VISIBLE_DEVICES, without initialising CUDA."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [d for d in named.split(",") if d.strip() and d.strip() != "-1"]
    import torch

    return [str(i) for i in range(torch.cuda.device_count())]


def gpu_workers(gpus: int) -> int:
    """Number of processes for ``gpus`` GPUs: up to four for each, if every process has four cores to decode with.

    One process uses less than half of a GPU, because Python runs one thread at a time.
    """
    return gpus * max(1, min(4, cores() // (4 * max(1, gpus))))


def gpus_in_turn(device: str, visible: Sequence[str]) -> tuple[str, ...]:
    """The GPUs that workers of a device use in turn, each worker sees its own only; empty if each sees all of them.

    ``cpu`` needs none. ``cuda:N`` names one of all visible GPUs; a worker that sees one GPU only has no such number.
    ``auto`` and ``cuda`` use all of them.
    """
    return tuple(visible) if device in ("auto", "cuda") else ()


def device_workers(device: str, count: int | None = None) -> Workers:
    """Processes for a device, which share its GPUs and the cores.

    Args:
        device: as the option ``--device`` has it.
        count: number of processes; None: :func:`gpu_workers` on GPUs; on CPU one per core, up to eight, because
            processes with one thread are faster than threads there.
    """
    from ..core.device import resolve_device

    on_gpu = resolve_device(device).type == "cuda"
    gpus = gpus_in_turn(device, visible_gpus()) if on_gpu else ()
    if count is None:
        count = gpu_workers(len(gpus) or 1) if on_gpu else min(cores(), MOST_ON_CPU)
    return share_cores(count, gpus)


def share_cores(count: int, gpus: Sequence[str] = ()) -> Workers:
    """Processes that share the cores of this machine."""
    return Workers(count, max(1, cores() // count), gpus)


class WorkerTraceback(Exception):
    """The cause of an error in a worker: the traceback in the worker."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


# --- in the parent ----------------------------------------------------------------------------------------------------


class _Worker(Generic[Task]):
    """One process and the pipe to it."""

    def __init__(self, context: Any, slot: int, environment: dict[str, str]) -> None:
        self.slot = slot
        self.task: tuple[int, int] | None = None
        self.link, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, environment))
        with _undisturbed():  # a process that did not finish its start could not be told to end
            self.process.start()
        theirs.close()

    def send(self, value: Any) -> None:
        """Send the work or a task."""
        with contextlib.suppress(OSError):  # it is dead; its next answer says so
            self.link.send(value)

    def take(self, task: tuple[int, int], value: Task) -> None:
        """Start a task, given as its number and the number of further tries."""
        self.task = task
        self.send(value)

    def answer(self) -> tuple[str, Any]:
        """Its answer, if there is one."""
        alive = self.process.is_alive()  # check this before the pipe, because a dead process sends nothing afterwards
        try:
            if self.link.poll():
                kind, value = self.link.recv()
                return kind, value
        except (EOFError, OSError):
            alive = False
        if alive:
            return NOTHING, None
        self.end()
        return DEATH, Died(self.process.exitcode)

    def end(self) -> None:
        """Tell it to end, and make sure that it ends."""
        self.link.close()
        for stop in (self.process.terminate, self.process.kill):
            self.process.join(PATIENCE_S)
            if self.process.exitcode is None:
                stop()
        self.process.join()


class _Crew(Generic[Task]):
    """The workers and the tasks that wait for them."""

    def __init__(
        self, work: Callable[[Task], Any], tasks: Sequence[Task], workers: Workers, context: Any, retries: int
    ) -> None:
        self.work, self.tasks, self.workers, self.context = work, tasks, workers, context
        self.waiting = deque((number, retries) for number in range(len(tasks)))
        self.crew: list[_Worker[Task]] = []

    def start(self) -> None:
        """All workers, each with its first task."""
        for slot in range(min(self.workers.count, len(self.tasks))):
            self._hire(slot)

    def busy(self) -> list[_Worker[Task]]:
        """Workers that have a task."""
        return [worker for worker in self.crew if worker.task is not None]

    def next_task(self, worker: _Worker[Task]) -> int:
        """Give a worker its next task, if there is one; returns the number of the finished task."""
        assert worker.task is not None
        number, _ = worker.task
        worker.task = None
        if self.waiting:
            task = self.waiting.popleft()
            worker.take(task, self.tasks[task[0]])
        return number

    def replace(self, worker: _Worker[Task]) -> int | None:
        """Replace a dead worker. Returns the dead worker's task; None if it is tried again."""
        assert worker.task is not None
        number, retries = worker.task
        self.crew.remove(worker)
        if retries:
            self.waiting.appendleft((number, retries - 1))
        if self.waiting:
            self._hire(worker.slot)
        return None if retries else number

    def terminate(self) -> None:
        """Kill every worker at once."""
        for worker in self.crew:
            worker.process.terminate()

    def end(self) -> None:
        """Wait until every worker has ended."""
        for worker in self.crew:
            worker.link.close()
        for worker in self.crew:
            worker.end()

    def _hire(self, slot: int) -> None:
        gpus, threads = self.workers.gpus, self.workers.threads
        environment = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
        worker: _Worker[Task] = _Worker(self.context, slot, environment)
        self.crew.append(worker)
        worker.send(self.work)
        task = self.waiting.popleft()
        worker.take(task, self.tasks[task[0]])


def _context(preload: Sequence[str]) -> Any:
    """Context for new processes, or for forks of a process that has imported modules and ignores Ctrl-C.

    Its imports take seconds, and Ctrl-C would end it with a traceback. Its forks do not receive Ctrl-C either.
    """
    from multiprocessing import forkserver, resource_tracker

    resource_tracker.ensure_running()  # before SIGINT is blocked anywhere, because it would unblock it
    if not preload or "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    with _without_interrupts():
        forkserver.ensure_running()
    ready = context.Process()
    ready.start()  # waits until all modules are imported
    ready.join()
    return context


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes that start in this block never receive Ctrl-C: a blocked signal stays blocked in a child."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM acts like Ctrl-C: workers end, and the command says that it can be resumed."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if not _in_main_thread():  # no other thread can set handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait for the end of the block, and processes started in it never receive Ctrl-C."""
    if not _in_main_thread():
        with _without_interrupts():
            yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        with _without_interrupts():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


# --- in the workers ---------------------------------------------------------------------------------------------------

_link: Connection | None = None


def _serve(link: Connection, environment: dict[str, str]) -> None:
    """Receive the work, then task after task, until the parent closes the pipe."""
    global _link
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    os.environ.update(environment)  # set before the work is received, because its modules read it on import
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _link = link
    try:
        work = _received(link)
        while work is not None and (task := _received(link)) is not None:
            link.send((RESULT, work[0](*task)))
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except Exception as error:  # noqa: BLE001 - the parent raises it, whatever it is
        link.send((ERROR, (_portable(error), traceback.format_exc())))


def _received(link: Connection) -> tuple[Any] | None:
    """The work or a task, in a tuple; None if the parent has closed the pipe."""
    try:
        return (link.recv(),)
    except EOFError:
        return None


def _end_with_parent() -> None:
    """End with the parent: a killed command cannot end its workers, and they must not disturb the next run."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _portable(error: Exception) -> Exception:
    """The error itself if it can be sent, else its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - whatever its class does when it is made again from its arguments
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
