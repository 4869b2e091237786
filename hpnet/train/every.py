"""The work of ``hpnet train all``: the topology streams from one copy of the features, in parallel on a CPU."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from ..artifacts.features import Features
from ..core.device import resolve_device
from ..core.streams import TOPOLOGY_STREAMS
from ..work import processes
from ..work.console import progress
from ..work.processes import cores
from .checkpoints import Epoch
from .histories import Report, epoch_note
from .params import TrainParams
from .run import Folders, Machine, threads
from .step import Place, Trained, kind, total_epochs
from .step import run as train

PRELOADED = ("hpnet.train.topology", "dvclive", "hpnet.train.every")
"""Modules that the workers' parent process imports once; a worker is forked from it and starts at once."""


def run(params: TrainParams, folders: Folders, place: Place, machine: Machine | None = None) -> list[Trained]:
    """Train hpj, hpb, hpjm and hpbm; weights, scores and metrics of each are those of a single run with its seed.

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
    workers = _workers(params, folders.pool, machine)
    one = functools.partial(_run, params, folders, place, machine, None if workers == 1 else _report)
    if workers == 1:
        return [one(stream) for stream in TOPOLOGY_STREAMS]
    total = len(TOPOLOGY_STREAMS) * len(params.seeds) * total_epochs(params, TOPOLOGY_STREAMS[0])
    with progress("train all", total) as advance:
        found = _side_by_side(one, workers, advance)
    return [found[stream] for stream in TOPOLOGY_STREAMS]


def _side_by_side(run: Callable[[str], Trained], workers: int, advance: Callable[..., None]) -> dict[str, Trained]:
    """``run`` of every stream, each in its own process. If one dies, the others continue to their end."""
    found: dict[str, Trained] = {}
    died: dict[str, str] = {}
    share = processes.Workers(workers, preload=PRELOADED)
    with closing(processes.run(run, TOPOLOGY_STREAMS, share, on_told=lambda epoch: advance(note=epoch))) as done:
        for number, result in done:
            if isinstance(result, processes.Died):
                died[TOPOLOGY_STREAMS[number]] = result.reason
            else:
                found[TOPOLOGY_STREAMS[number]] = result
    if died:
        reasons = "; ".join(f"{stream} {reason}" for stream, reason in died.items())
        raise RuntimeError(f"{reasons}: train the remaining streams one by one; finished epochs are kept")
    return found


def _run(
    params: TrainParams, folders: Folders, place: Place, machine: Machine, report: Report | None, stream: str
) -> Trained:
    if machine.start_from is not None:
        machine = replace(machine, start_from=machine.start_from / stream)
    own = Place(place.out / stream, place.metrics / f"{stream}.json", place.work)
    return train(stream, params, folders, own, machine, report)


def _workers(params: TrainParams, pool: Path, machine: Machine) -> int:
    """Number of streams that run at the same time."""
    if resolve_device(machine.device).type != "cpu" or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return 1
    stream = TOPOLOGY_STREAMS[0]
    numbers = kind(stream).step_size(params.of(stream), Features.load(pool))
    return max(1, min(len(TOPOLOGY_STREAMS), cores() // (threads(numbers, machine.threads) or cores())))


def _report(stream: str, epoch: Epoch) -> None:
    """Note of a worker behind the progress bar."""
    processes.tell(f"{stream}: {epoch_note(epoch)}")
