"""CUDA graphs: a pass through a network is one launch instead of a thousand.

Many kernels are short: a GPU computes them faster than the CPU can launch them. A CUDA graph is a sequence of launches
that is recorded once and replayed. It needs the same shapes at the same addresses every time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

Result = TypeVar("Result")


class Replay(Generic[Result]):
    """A computation of one GPU tensor without gradients, recorded at its first input and again when the shape changes.

    The result is in the graph's own memory: use it before the next call, on the same stream.
    """

    def __init__(self, compute: Callable[[Tensor], Result]) -> None:
        self._compute = compute
        self._recorded: tuple[torch.cuda.CUDAGraph, Tensor, Result] | None = None

    def __call__(self, x: Tensor) -> Result:
        """The result of the computation for ``x``."""
        if self._recorded is None or self._recorded[1].shape != x.shape:
            self._recorded = None  # free its memory before more is allocated
            self._recorded = self._record(x)
        graph, static, result = self._recorded
        static.copy_(x)
        graph.replay()
        return result

    def _record(self, x: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Result]:
        static = x.clone()
        aside = torch.cuda.Stream(x.device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(x.device))
        with _cudnn_trials(True):
            with torch.cuda.stream(aside):
                for _ in range(2):
                    self._compute(static)
            torch.cuda.current_stream(x.device).wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may continue
                result = self._compute(static)
        return graph, static, result


class _EveryoneThere(nn.Module):
    """The network for clips with every person slot filled; the inputs of a graph are tensors, not None."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x, None)
        return logits


def record(
    network: nn.Module, sample: Tensor, precision: torch.dtype = torch.float32, *, deterministic: bool = False
) -> None:
    """Make ``network`` replay graphs from now on, in training on batches like ``sample``; in place.

    Other cases run without graphs: evaluation, batches of another shape, clips with an empty person slot. Weights,
        running statistics and random numbers are the same as without recording, and the graphs also use weights that
        are loaded later. Not for gradients that are accumulated over several batches, because a replay overwrites them,
        and not for several processes.

    Args:
        network: takes (N, C, T, V, M) and a mask (N, M) or None; on the GPU, in training mode.
        sample: (N, C, T, V, M) on the GPU; its values do not matter if they are finite.
        precision: of autocast; float32: none.
        deterministic: keep cuDNN from timing its kernels, whose choice may differ between runs.
    """
    plain = network.forward
    statistics = {name: buffer.clone() for name, buffer in network.named_buffers()}
    random_state = torch.cuda.get_rng_state(sample.device)
    # gradients come from the graphs' own stream by design; torch 2.10 and later warn of it
    warn = getattr(torch.autograd.graph, "set_warn_on_accumulate_grad_stream_mismatch", None)
    if warn is not None:
        warn(False)
    autocast = torch.autocast("cuda", precision, enabled=precision != torch.float32, cache_enabled=False)
    with autocast, _cudnn_trials(not deterministic):
        graphs: Any = torch.cuda.make_graphed_callables(_EveryoneThere(network), (sample.detach().clone(),))
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            buffer.copy_(statistics[name])
    for parameter in network.parameters():
        parameter.grad = None
    torch.cuda.set_rng_state(random_state, sample.device)
    like = (sample.shape, sample.dtype, sample.device)

    def forward(x: Tensor, valid: Tensor | None = None) -> Tensor:
        everyone = valid is None or (valid.device.type == "cpu" and bool(valid.all()))
        replaying = network.training and torch.is_grad_enabled() and everyone
        logits: Tensor = graphs(x) if replaying and (x.shape, x.dtype, x.device) == like else plain(x, valid)
        return logits

    network.forward = forward  # type: ignore[method-assign]


@contextmanager
def _cudnn_trials(allowed: bool) -> Iterator[None]:
    """In this block cuDNN may time its kernels and use the fastest, because shapes stay the same."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    if allowed:
        cudnn.benchmark, cudnn.deterministic = True, False
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before
