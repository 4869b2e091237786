"""``graph.model: auto``: a linear classifier and a graph network, compared out of fold; the better one is kept.

Both are cross-validated on the same folds of the clips that are learnt (:mod:`hpnet.train.out_of_fold`). The one with
the higher accuracy (``train.measure``), then the lower cross-entropy, is fitted to all of them. The figures that
decided are in the card and the metrics; they are a little too good for the one that was chosen, as those of every
choice are.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..models import AUTO
from . import linear, refit, topology
from .clips import labelled_clips
from .loop import Run, validation
from .params import TopologyParams
from .run import Inputs, Machine

FITTED, GRAPH = AUTO


def train(
    stream: str,
    inputs: Inputs,
    params: TopologyParams,
    run: Run,
    *,
    out: Path,
    card: dict[str, Any],
    machine: Machine | None = None,
) -> dict[str, Any]:
    """Compare, and train what is better; files and metrics as of :func:`hpnet.train.topology.train`.

    Returns:
        The metrics of the network that is kept, ``auto`` (network -> accuracy and loss out of fold) and ``chosen``.

    Raises:
        ValueError, FloatingPointError: as the training of either.
    """
    settings = {name: _with_model(params, name) for name in AUTO}
    model, task, _ = linear.prepare(stream, inputs, settings[FITTED], run)
    clips = labelled_clips(inputs.clips)
    _, fitted = linear.fit(model, task, settings[FITTED], replace(run, on_epoch=None))
    make = functools.partial(topology.make, stream, inputs, settings[GRAPH], run, machine or Machine())
    trained, _ = refit.out_of_fold(make, clips, run)
    found = {}
    for name, unseen in ((FITTED, fitted), (GRAPH, trained)):
        loss, accuracy = validation(unseen.logits, clips.labels[unseen.indices], run.measure)
        found[name] = {run.measure: accuracy, "loss": loss}
    chosen = max(found, key=lambda name: (found[name][run.measure], -found[name]["loss"]))
    card = {**card, "auto": found}
    own = replace(run, refit=True, on_fold=None)  # their epochs were told already
    kept: dict[str, Any] = topology.train(stream, inputs, settings[chosen], own, out=out, card=card, machine=machine)
    return {**kept, "auto": found, "chosen": chosen}


def _with_model(params: TopologyParams, name: str) -> TopologyParams:
    return params.model_copy(update={"graph": params.graph.model_copy(update={"model": name})})
