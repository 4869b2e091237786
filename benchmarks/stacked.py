"""Seconds per epoch of streams and seeds trained as one network (hpnet.train.stacked), against runs by themselves.

    python benchmarks/stacked.py params.yaml artifacts/data artifacts/pool

Joint and bone streams by themselves, as `hpnet train hpj` trains them (with CUDA graphs where they suit), then four
streams of one seed as one network, then of three seeds. Medians over all epochs but the first.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.features import Features
from hpnet.core.device import resolve_device
from hpnet.core.streams import TOPOLOGY_STREAMS
from hpnet.params import load_params
from hpnet.train.loop import fit, make_accelerator
from hpnet.train.stacked import StackedRun, fit_stacked
from hpnet.train.topology import graphs_suit, prepare_runs, record_graphs

EPOCHS = 6


def main(params_file: str, data: str, pool: str) -> None:
    """Print the table."""
    params = load_params(params_file).train.topology.model_copy(update={"epochs": EPOCHS})
    clips, features = Clips.load(Path(data)), Features.load(Path(pool))
    accelerator = make_accelerator(resolve_device("auto"))
    times: list[float] = []

    def per_epoch() -> float:
        found = statistics.median(after - before for before, after in itertools.pairwise(times))
        times.clear()
        return found

    with tempfile.TemporaryDirectory() as work:
        alone = []
        for stream in TOPOLOGY_STREAMS[:2]:
            (run,) = prepare_runs([(stream, 1)], clips, features, params, accelerator)
            if graphs_suit(run.task, accelerator):
                record_graphs(run.model.to(accelerator.device).train(), run.task, accelerator)
            fit(
                run.task,
                run.model,
                run.optimizer(run.model.parameters()),
                schedule=run.schedule(),
                epochs=EPOCHS,
                seed=1,
                folder=Path(work) / f"alone-{stream}",
                accelerator=accelerator,
                on_epoch=lambda epoch: times.append(time.perf_counter()),
            )
            alone.append(per_epoch())
            print(f"{stream} by itself: {alone[-1]:.3f} s/epoch")
        for seeds in ((1,), (1, 2, 3)):
            which = [(stream, seed) for stream in TOPOLOGY_STREAMS for seed in seeds]
            runs = prepare_runs(which, clips, features, params, accelerator)
            stack = [StackedRun(run, Path(work) / f"{len(runs)}-{n}") for n, run in enumerate(runs)]
            stack[0].on_epoch = lambda epoch: times.append(time.perf_counter())
            fit_stacked(stack, accelerator)
            together, apart = per_epoch(), statistics.mean(alone) * len(runs)
            print(
                f"{len(runs)} as one: {together:.3f} s/epoch, {together / apart:.2f} of {apart:.3f} one after another"
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
