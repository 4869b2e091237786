"""``hpnet train all``: the topology streams from one copy of the features, side by side on CPU, as one on a GPU."""

from __future__ import annotations

import concurrent.futures
import functools
import multiprocessing
import os
import signal
import threading
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpnet.params import TOPOLOGY_STREAMS, Params

from .common import PROJECT, default_workers, progress
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
    warn_of_untrained,
)

if TYPE_CHECKING:
    from hpnet.checkpoints import Epoch

PRELOADED = ("hpnet.topology", "dvclive", "hpnet.stages.train_all")
"""Modules that the workers' common parent imports once; a worker is a fork of it and starts at once."""

_epochs: Any = None


def train_all(
    params: Params, *, out: Path, metrics: Path, device: str, threads: int | None, stacked: bool = True, **options: Any
) -> dict[str, dict[str, Any]]:
    """Train hpj, hpb, hpjm and hpbm; each has the weights, scores and metrics of a run of its own with its seed.

    On CPU the streams run in processes that read one memory-mapped copy of the features, cores // threads of them at a
    time. On a GPU all streams and seeds are trained as one network (:mod:`hpnet.stacked`) where that is possible;
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


def on_one_gpu(device: str) -> bool:
    """Whether this is a single process on a GPU."""
    from hpnet.device import resolve_device

    return resolve_device(device).type == "cuda" and int(os.environ.get("WORLD_SIZE", "1")) == 1


def _train_stacked(
    params: Params, out: Path, metrics: Path, *, data: Path, pool: Path, device: str, precision: str,
    deterministic: bool, **_: Any,
) -> dict[str, dict[str, Any]] | None:  # fmt: skip
    """Every stream and seed as one network; None, having said why, where that cannot be."""
    from hpnet.artifacts import Clips, Features, write_json
    from hpnet.device import resolve_device
    from hpnet.stacked import StackedRun, fit_stacked, why_not_stacked
    from hpnet.topology import prepare_runs
    from hpnet.training import Clock, make_accelerator

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
    folders = [seed_folder(run.stream, run.seed, seeds, out / run.stream) for run in runs]
    with ExitStack() as logs, progress("train all", len(runs) * epochs) as advance:

        def report(stream: str, epoch: Epoch) -> None:
            advance(note=f"{stream}: {epoch_note(epoch)}, waiting for data {clock.waiting:.0%}")

        cards, stack = [], []
        for run, folder in zip(runs, folders, strict=True):
            card, key = identify(
                run.stream, params, run.seed, made_from, precision=precision, device=target.type, processes=1
            )
            log = epoch_log(folder / "history", run.stream, epochs, clock, report)
            stack.append(StackedRun(run, PROJECT.work / "train" / key, logs.enter_context(log)))
            cards.append({**card, "cuda_graphs": True, "compiled": False, "stacked": len(runs)})
        results = fit_stacked(stack, accelerator, clock)
    found: dict[str, list[dict[str, Any]]] = {stream: [] for stream in TOPOLOGY_STREAMS}
    for run, result, folder, card in zip(runs, results, folders, cards, strict=True):
        card = {**card, "classes": clips.class_names}
        found[run.stream].append(run.finish(result, out=folder, accelerator=accelerator, card=card))
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
