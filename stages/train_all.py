"""``hpnet train all``: the topology streams from one copy of the features, side by side on CPU, as one on a GPU."""

from __future__ import annotations

import concurrent.futures
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from hpnet.core.streams import TOPOLOGY_STREAMS
from hpnet.params import Params
from hpnet.work.console import progress

from .common import PROJECT, default_workers
from .train import (
    epoch_log,
    epoch_note,
    identify,
    model_card,
    seed_folder,
    summary,
    together,
    topology_threads,
    train_stream,
    training,
    warn_of_untrained,
)

if TYPE_CHECKING:
    from hpnet.train.checkpoints import Epoch

PRELOADED = ("hpnet.train.topology", "dvclive", "hpnet.stages.train_all")
"""Modules that the workers' common parent imports once; a worker is a fork of it and starts at once."""

_epochs: Any = None


def train_all(
    params: Params, *, out: Path, metrics: Path, device: str, threads: int | None, stacked: bool = True, **options: Any
) -> dict[str, dict[str, Any]]:
    """Train hpj, hpb, hpjm and hpbm; each has the weights, scores and metrics of a run of its own with its seed.

    On CPU the streams run in processes that read one memory-mapped copy of the features, cores // threads of them at a
    time. On a GPU all streams and seeds are trained as one network (:mod:`hpnet.train.stacked`) where that is possible;
    otherwise, and under ``accelerate launch``, one after another in this process.

    Args:
        out, metrics: folders; a stream writes ``out/STREAM`` and ``metrics/STREAM.json``.
        stacked: whether a GPU trains them as one.
        options: of :func:`stages.train.train_stream`.
    """
    if stacked and on_one_gpu(device) and not options["compiled"] and options["cuda_graphs"]:
        done = _train_stacked(params, out, metrics, device=device, **options)
        if done is not None:
            return done
    run = functools.partial(_run, params, out, metrics, {**options, "device": device, "threads": threads})
    workers = _workers(params, options["pool"], device, threads)
    if workers == 1:
        return {stream: run(stream) for stream in TOPOLOGY_STREAMS}
    total = len(TOPOLOGY_STREAMS) * len(params.train.seeds) * params.train.topology.epochs
    with _terminated_as_interrupted(), progress("train all", total) as advance:
        found = _side_by_side(run, workers, advance)
    for stream in TOPOLOGY_STREAMS:
        click.echo(summary(stream, found[stream], validated="val" in found[stream]))
    return found


def _side_by_side(
    run: Callable[[str], dict[str, Any]], workers: int, advance: Callable[..., None]
) -> dict[str, dict[str, Any]]:
    """``run`` of every stream, in processes of their own."""
    context = _context()
    queue = context.SimpleQueue()
    found: dict[str, dict[str, Any]] = {}
    with concurrent.futures.ProcessPoolExecutor(workers, context, _start_worker, (queue,)) as pool:
        reader = threading.Thread(target=_show, args=(queue, advance), daemon=True)
        reader.start()
        try:
            with _undisturbed():  # a process whose start is broken off could not be told to stop
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

    It imports for seconds, in which Ctrl-C would end it with a traceback; so it never hears of one, nor do its forks.
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
    """SIGTERM is what Ctrl-C is: workers are stopped, and the command says that it can go on."""

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


def on_one_gpu(device: str) -> bool:
    """Whether this is a single process on a GPU."""
    from hpnet.core.device import resolve_device

    return resolve_device(device).type == "cuda" and int(os.environ.get("WORLD_SIZE", "1")) == 1


def _train_stacked(
    params: Params, out: Path, metrics: Path, *, data: Path, pool: Path, device: str, precision: str,
    deterministic: bool, **_: Any,
) -> dict[str, dict[str, Any]] | None:  # fmt: skip
    """Every stream and seed as one network; None, having said why, where that cannot be."""
    from hpnet.artifacts.clips import Clips
    from hpnet.artifacts.features import Features
    from hpnet.artifacts.files import write_json
    from hpnet.core.device import resolve_device
    from hpnet.train.loop import Clock, make_accelerator
    from hpnet.train.stacked import StackedRun, fit_stacked, why_not_stacked
    from hpnet.train.topology import prepare_runs

    clips, features = Clips.load(data), Features.load(pool)
    target = resolve_device(device)
    accelerator = make_accelerator(target, precision, deterministic)
    topology, seeds = params.train.topology, params.train.seeds
    reason = why_not_stacked(clips, features, topology, accelerator)
    if reason is not None:
        click.echo(f"the streams are trained one after another: {reason}", err=True)
        return None
    warn_of_untrained(clips)
    made_from = model_card(pool, data, None)
    which = [(stream, seed) for stream in TOPOLOGY_STREAMS for seed in seeds]
    runs = prepare_runs(which, clips, features, topology, accelerator)
    epochs, clock = topology.epochs, Clock()
    folders = [seed_folder(run.seed, seeds, out / run.stream) for run in runs]
    identified = [
        identify(run.stream, params, run.seed, made_from, precision=precision, device=target.type, processes=1)
        for run in runs
    ]
    works = [PROJECT.work / "train" / key for _, key in identified]
    with ExitStack() as held:
        for work in sorted(works):  # in one order everywhere, so that two commands cannot wait for each other
            held.enter_context(training(work))
        advance = held.enter_context(progress("train all", len(runs) * epochs))

        def report(stream: str, epoch: Epoch) -> None:
            advance(note=f"{stream}: {epoch_note(epoch)}, waiting for data {clock.waiting:.0%}")

        stack = []
        for run, folder, work in zip(runs, folders, works, strict=True):
            log = epoch_log(folder / "history", run.stream, epochs, clock, report)
            stack.append(StackedRun(run, work, held.enter_context(log)))
        results = fit_stacked(stack, accelerator, clock)
    found: dict[str, list[dict[str, Any]]] = {stream: [] for stream in TOPOLOGY_STREAMS}
    how: dict[str, Any] = {"cuda_graphs": True, "compiled": False, "stacked": len(runs), "classes": clips.class_names}
    for run, result, folder, (card, _key) in zip(runs, results, folders, identified, strict=True):
        found[run.stream].append(run.finish(result, out=folder, accelerator=accelerator, card=card | how))
    done = {stream: together(each, seeds) for stream, each in found.items()}
    for stream, values in done.items():
        write_json(metrics / f"{stream}.json", values)
        click.echo(summary(stream, values, validated="val" in values))
    return done


def _run(params: Params, out: Path, metrics: Path, options: dict[str, Any], stream: str) -> dict[str, Any]:
    report = None if _epochs is None else _report
    return train_stream(stream, params, out=out / stream, metrics=metrics / f"{stream}.json", report=report, **options)


def _workers(params: Params, pool: Path, device: str, threads: int | None) -> int:
    """How many streams run at a time."""
    from hpnet.artifacts.features import Features
    from hpnet.core.device import resolve_device

    if resolve_device(device).type != "cpu" or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return 1
    each = threads or topology_threads(params, Features.load(pool).array.shape[1:3]) or default_workers()
    return max(1, min(len(TOPOLOGY_STREAMS), default_workers() // each))


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
