"""Averaged weights: an exponential moving average of a model, by torch's ``AveragedModel``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import exp
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


def moving_average(model: nn.Module, keep: Callable[[int], float], *, buffers: bool = True) -> AveragedModel:
    """A copy of ``model`` that ``update_parameters(model)`` moves towards its weights (Polyak and Juditsky, 1992).

    The first update is the second model of the average: the copy itself is the first.

    Args:
        keep: share of the old average that update n (from 1) keeps.
        buffers: average floating-point buffers (the statistics of batch norm) too; otherwise the last ones are used.
    """

    def update(slow: Any, fast: Any, _: Any) -> None:
        if slow[0].is_floating_point():  # counters do not change
            torch._foreach_lerp_(slow, fast, 1 - keep(int(average.n_averaged)))

    average = AveragedModel(model, multi_avg_fn=update, use_buffers=buffers)
    average.n_averaged.fill_(1)
    return average


def warming_up(decay: float) -> Callable[[int], float]:
    """``decay``, but less at the start: update n keeps at most (1 + n) / (10 + n); the first averages are random."""
    return lambda update: min(decay, (1 + update) / (10 + update))


def remembering(decay: float, updates: float) -> Callable[[int], float]:
    """``decay``, but less at the start: the kept share grows during about ``updates`` updates."""
    return lambda update: decay * (1 - exp(-update / updates))


@contextmanager
def lent(model: nn.Module, average: AveragedModel) -> Iterator[None]:
    """The model has the averaged weights inside the block, and its own weights afterwards."""
    own = {name: value.detach().clone() for name, value in model.state_dict().items()}
    averaged = average.module.state_dict()
    floating = {name: value for name, value in averaged.items() if value.is_floating_point()}
    model.load_state_dict({**own, **floating})
    try:
        yield
    finally:
        model.load_state_dict(own)
