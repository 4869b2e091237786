"""The work of ``hpnet train all``: the topology streams from one copy of the features, side by side on a CPU."""

from __future__ import annotations

import concurrent.futures
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from ..artifacts.features import Features
from ..core.device import resolve_device
from ..core.streams import TOPOLOGY_STREAMS
from ..work.console import progress
from .checkpoints import Epoch
from .histories import epoch_note
from .params import TrainParams
from .run import Folders, Machine, threads
from .step import Place, Trained, kind
from .step import run as train

PRELOADED = ("hpnet.train.topology", "dvclive", "hpnet.train.every")
"""Modules that the workers' common parent imports once; a worker is a fork of it and starts at once."""

_epochs: Any = None


def run(params: TrainParams, folders: Folders, place: Place, machine: Machine | None = None) -> list[Trained]:
    """Train hpj, hpb, hpjm and hpbm; each has the weights, scores and metrics of a run of its own with its seed.

    On CPU the streams run in processes that read one memory-mapped copy of the features, cores // threads of them at a
    time; on a GPU, and under ``accelerate launch``, one after another in this process.

    Args:
        place: folders; a stream writes ``out/STREAM`` and ``metrics/STREAM.json``.

    Returns:
        In the order of the streams.

    Raises:
        RuntimeError: a worker process died.
    """
    machine = machine or Machine()
    one = functools.partial(_run, params, folders, place, machine)
    workers = _workers(params, folders.pool, machine)
    if workers == 1:
        return [one(stream) for stream in TOPOLOGY_STREAMS]
    total = len(TOPOLOGY_STREAMS) * len(params.seeds) * params.topology.epochs
    with _terminated_as_interrupted(), progress("train all", total) as advance:
        found = _side_by_side(one, workers, advance)
    return [found[stream] for stream in TOPOLOGY_STREAMS]


def cores() -> int:
    """Of this machine."""
    return os.cpu_count() or 1


def _side_by_side(run: Callable[[str], Trained], workers: int, advance: Callable[..., None]) -> dict[str, Trained]:
    """``run`` of every stream, in processes of their own."""
    context = _context()
    queue = context.SimpleQueue()
    found: dict[str, Trained] = {}
    with concurrent.futures.ProcessPoolExecutor(workers, context, _start_worker, (queue,)) as pool:
        reader = threading.Thread(target=_show, args=(queue, advance), daemon=True)
        reader.start()
        try:
            with _undisturbed():  # a process that is stopped while it starts could not be told to stop
                futures = {pool.submit(run, stream): stream for stream in TOPOLOGY_STREAMS}
            for future in concurrent.futures.as_completed(futures):
                found[futures[future]] = future.result()
        except BrokenProcessPool:
            left = ", ".join(stream for stream in TOPOLOGY_STREAMS if stream not in found)
            raise RuntimeError(
                f"a worker process died (out of memory?) before {left} finished: train them one by one, finished "
                "epochs are kept"
            ) from None
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        queue.put(None)  # not after a failure: a worker that was ended may have held the queue's lock
        reader.join(timeout=1)
    return found


def _context() -> Any:
    """Of workers that are forks of a process that has imported everything.

    It imports for seconds, in which Ctrl-C would end it with a traceback: it and its forks ignore the signal.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver, resource_tracker

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    resource_tracker.ensure_running()  # before the signal is blocked: it would let it through again
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    ready = context.Process()
    ready.start()  # waits until all is imported
    ready.join()
    return context


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does: workers are stopped, and the command says that it can be resumed."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait for the end of the block."""
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def _run(params: TrainParams, folders: Folders, place: Place, machine: Machine, stream: str) -> Trained:
    own = Place(place.out / stream, place.metrics / f"{stream}.json", place.work)
    return train(stream, params, folders, own, machine, None if _epochs is None else _report)


def _workers(params: TrainParams, pool: Path, machine: Machine) -> int:
    """How many streams run at a time."""
    if resolve_device(machine.device).type != "cpu" or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return 1
    stream = TOPOLOGY_STREAMS[0]
    numbers = kind(stream).step_size(params.of(stream), Features.load(pool))
    return max(1, min(len(TOPOLOGY_STREAMS), cores() // (threads(numbers, machine.threads) or cores())))


def _start_worker(queue: Any) -> None:
    global _epochs
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _epochs = queue


def _end_with_parent() -> None:
    """A command that was killed could not stop its workers; the same command again must not meet them."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _report(stream: str, epoch: Epoch) -> None:
    _epochs.put(f"{stream}: {epoch_note(epoch)}")


def _show(queue: Any, advance: Any) -> None:
    while (note := queue.get()) is not None:
        advance(note=note)
