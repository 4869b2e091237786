"""Worker processes: their start, death, Ctrl-C and end, for shards, ``hpnet train all`` and ``hpnet predict`` alike.

Every worker has a pipe of its own, and one task at a time. So it is known which task a worker died of (the pool of
``concurrent.futures`` breaks as a whole and cannot tell), and the other workers carry on.
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
"""So long a worker may take to end once it is told to."""
MOST_ON_CPU = 8
"""Workers on a CPU by default: each holds the networks once more."""
RESULT, ERROR, TOLD, DEATH, NOTHING = "result", "error", "told", "death", "nothing"
"""What a worker answers: the first three are sent by it."""
OUT_OF_MEMORY = 71
"""Exit status of a worker that was refused memory. Its state is not to be trusted, so it ends."""


@dataclass(frozen=True)
class Died:
    """What a task comes to whose worker died, however often it was tried.

    Attributes:
        exit_code: as :class:`multiprocessing.Process` has it: the negative number of a signal, or an exit status; None
            where it is not known.
    """

    exit_code: int | None

    @property
    def reason(self) -> str:
        """Why, in words."""
        known = {int(number): number.name for number in signal.Signals}
        name = known.get(-(self.exit_code or 0), f"exit status {self.exit_code}")
        memory = self.exit_code in (None, OUT_OF_MEMORY, -signal.SIGKILL)
        cause = "out of memory?" if memory else "a fault in native code?"
        return f"ended the process that worked on it ({cause if self.exit_code is None else f'{name}: {cause}'})"


@dataclass(frozen=True)
class Workers:
    """How many processes, and what each of them gets.

    Attributes:
        count: processes at a time.
        threads: OMP_NUM_THREADS of each; None leaves it as it is.
        gpus: as CUDA_VISIBLE_DEVICES names them; each process sees one of them in turn, or all where there is none.
        preload: modules that a common parent imports once. Workers are then forks of it, which start at once, and
            share its memory; ``threads`` come too late for what it has imported. None: fresh processes.
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
    """Do tasks in worker processes; yields (number of the task, result) as they are finished.

    A worker that dies costs its own task alone: the task is tried ``retries`` more times, each time by a new process,
    and then comes to a :class:`Died`. MemoryError counts as a death. Any other exception ends all workers and is raised
    here, with the worker's traceback as its cause. Ctrl-C and SIGTERM end all workers and raise KeyboardInterrupt.
    Workers end with this process, whatever ends it.

    Args:
        work: picklable; sent to each worker once.
        on_told: called with what the workers :func:`tell`.
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


def run_here(work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result | Died]]:
    """:func:`run` in this process, one task after another: what kills it ends everything, but MemoryError does not."""
    for number, task in enumerate(tasks):
        try:
            result: Result | Died = work(task)
        except MemoryError:
            result = Died(OUT_OF_MEMORY)
        yield number, result


def tell(value: Any) -> None:
    """Send a value from a worker's main thread to :func:`run`, ahead of the result; nothing outside a worker."""
    if _link is not None:
        _link.send((TOLD, value))


def cores() -> int:
    """Cores of this machine."""
    return os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them, without initialising CUDA."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [d for d in named.split(",") if d.strip() and d.strip() != "-1"]
    import torch

    return [str(i) for i in range(torch.cuda.device_count())]


def gpu_workers(gpus: int) -> int:
    """Processes that keep ``gpus`` GPUs busy: up to four for each, as long as every one has four cores to decode with.

    One process hands its GPU less than half of what it can compute: Python runs one thread at a time.
    """
    return gpus * max(1, min(4, cores() // (4 * max(1, gpus))))


def device_workers(device: str) -> int:
    """Processes for a device: :func:`gpu_workers` on GPUs; on CPU one per core, up to eight, of one thread each.

    Processes of one thread beat threads there.
    """
    from ..core.device import resolve_device

    return gpu_workers(len(visible_gpus())) if resolve_device(device).type == "cuda" else min(cores(), MOST_ON_CPU)


class WorkerTraceback(Exception):
    """The cause of an error that was raised in a worker: its traceback there."""

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
        with _undisturbed():  # a process whose start is broken off could not be told to end
            self.process.start()
        theirs.close()

    def send(self, value: Any) -> None:
        """Put the work or a task into the pipe."""
        with contextlib.suppress(OSError):  # it is dead, which its next answer says
            self.link.send(value)

    def take(self, task: tuple[int, int], value: Task) -> None:
        """Start on a task, given as its number and how often it may be tried again."""
        self.task = task
        self.send(value)

    def answer(self) -> tuple[str, Any]:
        """What it has to say, if anything."""
        alive = self.process.is_alive()  # before the look into the pipe: what is dead sends nothing after it
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
        """Tell it to end, and see to it."""
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
        """Every worker, each with its first task."""
        for slot in range(min(self.workers.count, len(self.tasks))):
            self._hire(slot)

    def busy(self) -> list[_Worker[Task]]:
        """Workers that have a task."""
        return [worker for worker in self.crew if worker.task is not None]

    def next_task(self, worker: _Worker[Task]) -> int:
        """Give a worker that has finished its task another one, if any is left; returns the finished one's number."""
        assert worker.task is not None
        number, _ = worker.task
        worker.task = None
        if self.waiting:
            task = self.waiting.popleft()
            worker.take(task, self.tasks[task[0]])
        return number

    def replace(self, worker: _Worker[Task]) -> int | None:
        """Start a worker in the place of a dead one. Returns the dead one's task; None if it is tried again."""
        assert worker.task is not None
        number, retries = worker.task
        self.crew.remove(worker)
        if retries:
            self.waiting.appendleft((number, retries - 1))
        if self.waiting:
            self._hire(worker.slot)
        return None if retries else number

    def terminate(self) -> None:
        """End every worker at once, whatever it does."""
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
    """Of fresh processes; or of forks of a process that has imported modules and never sees Ctrl-C.

    It imports for seconds, in which Ctrl-C would end it with a traceback. Its forks do not see Ctrl-C either.
    """
    from multiprocessing import forkserver, resource_tracker

    resource_tracker.ensure_running()  # before SIGINT is blocked anywhere: it would unblock it
    if not preload or "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    with _without_interrupts():
        forkserver.ensure_running()
    ready = context.Process()
    ready.start()  # waits until all is imported
    ready.join()
    return context


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes that start in this block never see Ctrl-C: a blocked signal stays blocked in a child."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does: workers are ended, and the command says that it can be resumed."""

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
    """Ctrl-C and SIGTERM wait for the end of the block, and what starts in it never sees Ctrl-C."""
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    os.environ.update(environment)  # before anything is imported that reads it: the work is received after this
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
    """The work or a task, alone in a tuple; None once the parent has closed the pipe."""
    try:
        return (link.recv(),)
    except EOFError:
        return None


def _end_with_parent() -> None:
    """A command that was killed could not end its workers; the same command again must not meet them."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _portable(error: Exception) -> Exception:
    """The error itself where it can be sent; its words where it cannot."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - whatever its class does when it is made again from its arguments
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
