"""Batches in parts: where a device's memory is out, a batch is computed in halves, and the step stays the same."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from itertools import pairwise
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def part_of(batch: Any, start: int, stop: int) -> Any:
    """The clips start..stop of a batch: a tensor, or a dataclass of tensors (or None), with clips on the first axis."""
    if isinstance(batch, Tensor):
        return batch[start:stop]
    values = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    return dataclasses.replace(batch, **{k: None if v is None else v[start:stop] for k, v in values.items()})


def has_batch_norm(model: nn.Module) -> bool:
    """Whether what a network makes of a clip depends, in training, on the other clips that it sees at once."""
    return any(isinstance(module, _BatchNorm) for module in model.modules())


class Parts:
    """How many clips of a batch are computed at once: all; after the memory was out, half as many, and so on.

    Args:
        fewest: clips of the smallest part; batch statistics need two.
    """

    def __init__(self, fewest: int = 1) -> None:
        self.fewest = fewest
        self.largest: int | None = None

    def of(self, batch: Any, clips: int) -> list[tuple[Any, float]]:
        """The parts of a batch, and each one's share of its clips. Parts are as equal as possible."""
        if self.largest is None or clips <= self.largest:
            return [(batch, 1.0)]
        count = max(1, min(ceil(clips / self.largest), clips // self.fewest))
        edges = [clips * k // count for k in range(count + 1)]
        return [(part_of(batch, a, b), (b - a) / clips) for a, b in pairwise(edges)]

    def halve(self, clips: int, what: str, consequence: str = "") -> None:
        """Smaller parts from now on, with a warning; frees what the device's allocator holds back.

        Call it after the block that caught the error, because the error keeps the memory.

        Args:
            clips: of the batch that did not fit.
            what: what was computed.
            consequence: what smaller parts change.

        Raises:
            RuntimeError: the smallest part did not fit.
        """
        before = clips if self.largest is None else min(clips, self.largest)
        if before // 2 < self.fewest:
            raise RuntimeError(
                f"the GPU has no memory for {what} of {before} clip{'s' if before > 1 else ''} at once: use "
                "--precision bfloat16, for multimodal also train.multimodal.checkpointing, or --device cpu"
            )
        self.largest = before // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        now = f"{self.largest} clip{'s' if self.largest > 1 else ''} at a time"
        warnings.warn(f"the GPU is out of memory: {what} takes {now}{consequence}", stacklevel=2)

    def looked(self, look: Callable[[Any], Tensor | None], batch: Any, clips: int) -> Tensor | None:
        """What ``look`` gives for each part of a batch, joined; None if it gives none.

        Raises:
            RuntimeError: as :meth:`halve`.
        """
        while True:
            try:
                found = [look(part) for part, _ in self.of(batch, clips)]
                break
            except torch.OutOfMemoryError:
                pass
            self.halve(clips, "scoring")
        parts = [part for part in found if part is not None]
        return torch.cat(parts) if parts else None
