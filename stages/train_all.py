"""``hpnet train all``: the topology streams from one copy of the features, side by side on CPU."""

from __future__ import annotations

import concurrent.futures
import functools
import multiprocessing
import os
import signal
import threading
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpnet.params import TOPOLOGY_STREAMS, Params

from .common import default_workers, progress
from .train import epoch_note, summary, topology_threads, train_stream

if TYPE_CHECKING:
    from hpnet.checkpoints import Epoch

PRELOADED = ("hpnet.topology", "dvclive", "hpnet.stages.train_all")
"""Modules that the workers' common parent imports once; a worker is a fork of it and starts at once."""

_epochs: Any = None


def train_all(
    params: Params, *, out: Path, metrics: Path, device: str, threads: int | None, **options: Any
) -> dict[str, dict[str, Any]]:
    """Train hpj, hpb, hpjm and hpbm; each has the weights, scores and metrics of a run of its own with its seed.

    On CPU the streams run in processes that read one memory-mapped copy of the features, cores // threads of them at a
    time; elsewhere, and under ``accelerate launch``, one after another in this process.

    Args:
        out, metrics: folders; a stream writes ``out/STREAM`` and ``metrics/STREAM.json``.
        options: of :func:`stages.train.train_stream`.
    """
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context: Any = multiprocessing.get_context(method)
    context.set_forkserver_preload(list(PRELOADED))
    run = functools.partial(_run, params, out, metrics, {**options, "device": device, "threads": threads})
    workers = _workers(params, options["pool"], device, threads)
    if workers == 1:
        return {stream: run(stream) for stream in TOPOLOGY_STREAMS}
    queue = context.SimpleQueue()
    found: dict[str, dict[str, Any]] = {}
    total = len(TOPOLOGY_STREAMS) * len(params.train.seeds) * params.train.topology.epochs
    with (
        progress("train all", total) as advance,
        concurrent.futures.ProcessPoolExecutor(workers, context, _start_worker, (queue,)) as pool,
    ):
        futures = {pool.submit(run, stream): stream for stream in TOPOLOGY_STREAMS}
        reader = threading.Thread(target=_show, args=(queue, advance), daemon=True)
        reader.start()
        try:
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
        finally:
            queue.put(None)
            reader.join(timeout=1)
    for stream in TOPOLOGY_STREAMS:
        click.echo(summary(stream, found[stream], validated="val" in found[stream]))
    return found


def _run(params: Params, out: Path, metrics: Path, options: dict[str, Any], stream: str) -> dict[str, Any]:
    report = None if _epochs is None else _report
    return train_stream(stream, params, out=out / stream, metrics=metrics / f"{stream}.json", report=report, **options)


def _workers(params: Params, pool: Path, device: str, threads: int | None) -> int:
    """How many streams run at a time."""
    from hpnet.artifacts import Features
    from hpnet.device import resolve_device

    if resolve_device(device).type != "cpu" or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return 1
    each = threads or topology_threads(params, Features.load(pool).array.shape[1:3]) or default_workers()
    return max(1, min(len(TOPOLOGY_STREAMS), default_workers() // each))


def _start_worker(queue: Any) -> None:
    global _epochs
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _epochs = queue


def _report(stream: str, epoch: Epoch) -> None:
    _epochs.put(f"{stream}: {epoch_note(epoch)}")


def _show(queue: Any, advance: Any) -> None:
    while (note := queue.get()) is not None:
        advance(note=note)
