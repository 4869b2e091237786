"""Networks without values, to compare their sizes with those of a file before memory is allocated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

FILLERS = frozenset({
    "constant_", "fill_", "kaiming_normal_", "kaiming_uniform_", "mul_", "normal_", "ones_", "trunc_normal_",
    "uniform_", "xavier_normal_", "xavier_uniform_", "zero_", "zeros_",
})  # fmt: skip
"""Functions that write values into their first argument, and change neither its shape nor its type."""


class _WithoutValues(TorchFunctionMode):
    """Leaves :data:`FILLERS` out."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__name__", "") in FILLERS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


@contextmanager
def sketching() -> Iterator[None]:
    """What is built inside has shapes and types, but no memory and no values.

    Nothing is drawn, because torch imports its compiler (a second, 200 MB) to draw on the device ``meta``.
    """
    with torch.device("meta"), _WithoutValues():
        yield
