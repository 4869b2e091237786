"""Batch norm whose batch is that of all processes, on any device: several processes then train as one would.

torch's own SyncBatchNorm needs a GPU. Statistics are gathered by differentiable sums (Ioffe and Szegedy, ICML 2015,
Algorithm 1, over the union of the processes' batches).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def world_size() -> int:
    """How many processes train together; 1 outside of ``torchrun`` and ``accelerate launch``."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def batch_norm(
    x: Tensor, running_mean: Tensor, running_var: Tensor, weight: Tensor, bias: Tensor, *, momentum: float, eps: float
) -> Tensor:
    """Normalise (n, C, ...) by the mean and variance over all processes' n, and update the running ones.

    A process may have n = 0; all must call this in the same order. Without two values in all, the running statistics
    are used.
    """
    others = [0, *range(2, x.ndim)]
    shape = (1, -1, *[1] * (x.ndim - 2))
    count = _sum(torch.tensor([float(x.numel() // x.shape[1])], device=x.device))
    mean = _sum(x.sum(others)) / count.clamp(min=1)
    variance = _sum((x - mean.view(shape)).square().sum(others)) / count.clamp(min=1)
    if float(count) < 2:
        mean, variance = running_mean, running_var
    else:
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((variance * count / (count - 1)).to(running_var.dtype), momentum)
    scale = weight * torch.rsqrt(variance + eps)
    return x * scale.view(shape) + (bias - mean * scale).view(shape)


def _sum(x: Tensor) -> Tensor:
    """The sum of all processes' ``x``, with gradients."""
    total: Tensor = _Sum.apply(x)
    return total


class _Sum(torch.autograd.Function):
    """Every process's sum has what each process adds in it, so that the gradient is the sum of all gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total


class SynchronisedNorm(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` with :func:`batch_norm` while training; shares another layer's tensors."""

    def __init__(self, layer: nn.BatchNorm2d) -> None:
        super().__init__(layer.num_features, layer.eps, layer.momentum)
        self.weight, self.bias = layer.weight, layer.bias
        for name, value in layer.named_buffers():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, ...) -> the same."""
        if not self.training or self.running_mean is None or self.running_var is None:
            return super().forward(x)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        return batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            momentum=self.momentum or 0.0,
            eps=self.eps,
        )


def synchronise(model: nn.Module) -> None:
    """Replace every ``nn.BatchNorm2d`` of ``model`` in place; parameters, buffers and their names stay."""
    for name, child in model.named_children():
        if type(child) is nn.BatchNorm2d:
            setattr(model, name, SynchronisedNorm(child))
        else:
            synchronise(child)
