"""The clips of each batch and their order; they depend on seeds only, so a resumed run repeats them."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import numpy as np
import torch
from torch import Tensor

from .clips import Indices


def batch_count(clips: int, batch_size: int) -> int:
    """Number of batches of :func:`shuffled_batches`: a last batch of one clip joins the one before it."""
    count = ceil(clips / batch_size)
    return count - 1 if batch_size > 1 and clips > batch_size and clips % batch_size == 1 else count


def shuffled_batches(
    indices: Indices, batch_size: int, *, seed: int, epoch: int, process: int = 0, processes: int = 1
) -> Iterator[Indices]:
    """One epoch's batches of clip indices, shuffled by (seed, epoch); each process takes its slice of every batch.

    A last batch of a single clip, which batch statistics cannot use, joins the batch before it. If a batch has fewer
    clips than there are processes, clips repeat, so that all processes take the same number of steps.
    """
    order = np.random.default_rng([seed, epoch]).permutation(indices)
    count = batch_count(len(order), batch_size)
    for number in range(count):
        stop = len(order) if number == count - 1 else (number + 1) * batch_size
        batch = order[number * batch_size : stop]
        if len(batch) < processes:
            batch = np.resize(batch, processes)
        yield batch[process::processes]


def ordered_batches(indices: Indices, batch_size: int, *, process: int = 0, processes: int = 1) -> Iterator[Indices]:
    """Batches in the given order; each process takes every ``processes``-th batch."""
    starts = range(0, len(indices), batch_size)
    return (indices[s : s + batch_size] for s in starts[process::processes])


def endless_batches(
    count: int, batch_size: int, generator: torch.Generator, *, repeat: bool = True
) -> Iterator[Tensor]:
    """Endless row indices (batch_size,); each row at most once per pass, and an incomplete last batch is skipped.

    Args:
        repeat: a set smaller than a batch repeats to fill it; otherwise its batches are smaller.
    """
    if not repeat:
        batch_size = min(batch_size, count)
    while True:
        order = torch.randperm(count, generator=generator)
        if count < batch_size:
            order = order.repeat(-(-batch_size // count))
        yield from (order[start : start + batch_size] for start in range(0, len(order) - batch_size + 1, batch_size))
