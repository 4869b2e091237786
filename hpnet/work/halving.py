"""Halving a batch that does not fit into a GPU's memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import torch

Batch = TypeVar("Batch", bound=Any)
Result = TypeVar("Result")


def in_halves(
    compute: Callable[[Batch], Result], batch: Batch, what: tuple[str, str], on_halved: Callable[[int], None]
) -> list[Result]:
    """``compute`` of a batch, or of its parts if the GPU is out of memory: one result for each part, in order.

    Args:
        batch: has a length, and can be sliced.
        what: name of one item (``frame``), and the network.
        on_halved: called with the size of the parts, so that the next batch is not larger.

    Raises:
        RuntimeError: the GPU has no memory even for one item.
    """
    try:
        return [compute(batch)]
    except torch.OutOfMemoryError:
        item, network = what
        if len(batch) == 1:
            raise RuntimeError(
                f"the GPU has no memory for one {item} of {network}: free some, or use --device cpu"
            ) from None
        middle = len(batch) // 2
    on_halved(middle)
    torch.cuda.empty_cache()
    warnings.warn(f"the GPU is out of memory: batches are halved to {middle} {item}s", stacklevel=2)
    return [result for half in (batch[:middle], batch[middle:]) for result in in_halves(compute, half, what, on_halved)]
