"""The steps of CTR-GCN's blocks, arranged so that a training step moves little memory.

Arrays are (P, C, V, T), frames last: a channel's joints under all subsets of the graph are then the rows of one matrix.
While training on a CPU, products, batch norm and maximum have gradients of their own, in fewer passes than autograd's;
on a GPU, in evaluation, under autocast, ``torch.compile`` and ``torch.export`` they are plain torch operations. Layers
keep their own modules, whose weights are those of (P, C, T, V): checkpoints do not know about the layout.

Axes: P people, C channels, T frames, V joints, S subsets of the graph.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .synchronised import SynchronisedNorm


def convolve(conv: nn.Module, x: Tensor) -> Tensor:
    """A convolution over frames, a module for (P, C, T, V), of (P, C, V, T): (P, C', V, ceil(T / stride))."""
    assert isinstance(conv, nn.Conv2d)
    if conv.kernel_size == (1, 1):
        return pointwise(x, conv.weight.flatten(1), conv.bias, conv.stride[0])
    weight = conv.weight.transpose(2, 3)  # (C', C, k, 1) -> (C', C, 1, k)
    padding = (0, int(conv.padding[0]))
    return F.conv2d(x, weight, conv.bias, (1, conv.stride[0]), padding, (1, conv.dilation[0]))


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1) -> Tensor:
    """A 1x1 convolution, (P, C, V, T) and weight (C', C) -> (P, C', V, ceil(T / stride))."""
    if bias is None or not _own_gradients(x):
        return F.conv2d(x, weight[:, :, None, None], bias, (1, stride))
    x = x[..., ::stride]
    # (C', C) @ (P, C, V T) -> (P, C', V T)
    y = torch.baddbmm(bias[:, None], weight.expand(len(x), -1, -1), x.flatten(2))
    return y.view(len(x), -1, *x.shape[2:])


def batch_norm(norm: nn.Module, x: Tensor) -> Tensor:
    """``norm(x)``, a batch norm of the channels; Ioffe and Szegedy, ICML 2015, Algorithm 1."""
    assert isinstance(norm, nn.BatchNorm2d)
    if isinstance(norm, SynchronisedNorm) or not norm.training or not _own_gradients(x) or x.numel() == x.shape[1]:
        y: Tensor = norm(x)  # of a single value torch says that it has no variance
    else:
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
        y = _BatchNorm.apply(x, norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.momentum, norm.eps)
    return y


def maximum_of_three(x: Tensor, stride: int) -> Tensor:
    """The maximum over each frame and its neighbours, (P, C, V, T) -> (P, C, V, ceil(T / stride))."""
    if not _own_gradients(x):
        return F.max_pool2d(x, (1, 3), (1, stride), (0, 1))
    y: Tensor = _MaximumOfThree.apply(x, stride)
    return y


def refined_product(relation: Tensor, weight: Tensor, bias: Tensor, topology: Tensor, values: Tensor) -> Tensor:
    """Every channel's values collected over a topology of its own, summed over the subsets; Eq. (8) to (10) of CTR-GCN.

    Args:
        relation: (P, S, r, V V), the last two joints [j, i] of M(psi(x_i), phi(x_j)).
        weight, bias: (S, C', r) and (S, C', 1), xi times alpha.
        topology: (S, V V), A[j, i]: joint j where joint i collects.
        values: (P, C', S V, T), X~.

    Returns:
        (P, C', V, T).
    """
    if _own_gradients(values):
        z: Tensor = _RefinedProduct.apply(relation, weight, bias, topology, values)
        return z
    people, channels, rows, frames = values.shape
    q = weight @ relation  # (S, C', r) @ (P, S, r, V V) -> (P, S, C', V V)
    # the sum is the largest array of a late block: under autocast it stays as narrow as its factors
    refined = q + (topology.unsqueeze(1) + bias).to(q.dtype)
    refined = refined.transpose(1, 2).reshape(people * channels, rows, -1)  # (P C', S V, V)
    # (P C', V, S V) @ (P C', S V, T) -> (P C', V, T)
    z = refined.transpose(1, 2) @ values.reshape(people * channels, rows, frames)
    return z.view(people, channels, -1, frames)


def _own_gradients(x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


class _BatchNorm(torch.autograd.Function):
    """Batch norm of a training batch; torch's own kernel sums the statistics one number after another."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor, momentum: float,
        eps: float,
    ) -> Tensor:  # fmt: skip
        count, others = x.numel() // x.shape[1], (0, 2, 3)
        mean = x.sum(others) / count
        centred = x - mean[:, None, None]
        rows = centred.reshape(-1, 1, centred.shape[2] * centred.shape[3])  # (P C, 1, V T)
        variance = (rows @ rows.transpose(1, 2)).view(x.shape[:2]).sum(0) / count
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(variance * (count / (count - 1)), momentum)
        scale = torch.rsqrt(variance + eps)
        ctx.save_for_backward(centred, weight, torch.zeros_like(mean), scale)
        ctx.eps = eps
        return torch.addcmul(bias[:, None, None], centred, (weight * scale)[:, None, None])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        centred, weight, mean, scale = ctx.saved_tensors
        kernel = torch.ops.aten.native_batch_norm_backward
        back = kernel(grads[0].contiguous(), centred, weight, None, None, mean, scale, True, ctx.eps, [True] * 3)
        return (*back, None, None, None, None)


class _MaximumOfThree(torch.autograd.Function):
    """Of equal frames the first gets the gradient, as in torch's pooling."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, stride: int) -> Tensor:
        y = x.clone(memory_format=torch.contiguous_format)
        torch.maximum(y[..., 1:], x[..., :-1], out=y[..., 1:])
        torch.maximum(y[..., :-1], x[..., 1:], out=y[..., :-1])
        y = y[..., ::stride].contiguous()
        ctx.save_for_backward(x, y)
        ctx.stride = stride
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, y = ctx.saved_tensors
        (grad,) = grads
        gradient = torch.zeros_like(x, memory_format=torch.contiguous_format)
        free = torch.ones_like(y, dtype=torch.bool)
        for shift in (-1, 0, 1):
            # the windows that have a frame at this shift of their middle, and those frames
            first = 1 if shift < 0 else 0
            start = first * ctx.stride + shift
            count = min(len(range(start, x.shape[3], ctx.stride)), y.shape[3] - first)
            windows = slice(first, first + count)
            frames = slice(start, start + count * ctx.stride, ctx.stride)
            chosen = (x[..., frames] == y[..., windows]) & free[..., windows]
            gradient[..., frames] += grad[..., windows] * chosen
            free[..., windows] &= ~chosen
        return gradient, None


class _RefinedProduct(torch.autograd.Function):
    """R = A + alpha Q is one product here, (alpha xi, alpha b, 1) times (M, 1, A), written where it is needed."""

    @staticmethod
    def forward(ctx: Any, relation: Tensor, weight: Tensor, bias: Tensor, topology: Tensor, values: Tensor) -> Tensor:
        people, subsets, _, pairs = relation.shape
        _, channels, rows, frames = values.shape
        constant = relation.new_ones(people, subsets, 1, pairs)
        graph = topology.view(1, subsets, 1, pairs).expand(people, -1, -1, -1)
        maps = torch.cat([relation, constant, graph], dim=2)  # (P, S, r + 2, V V)
        mixing = torch.cat([weight, bias, torch.ones_like(bias)], dim=2)  # (S, C', r + 2)
        refined = values.new_empty(people, channels, subsets, pairs)
        for s in range(subsets):  # (C', r + 2) @ (P, r + 2, V V) -> (P, C', V V)
            torch.bmm(mixing[s].expand(people, -1, -1), maps[:, s], out=refined[:, :, s])
        refined = refined.view(people * channels, rows, -1)  # (P C', S V, V)
        values = values.reshape(people * channels, rows, frames)
        ctx.save_for_backward(maps, mixing, refined, values)
        # (P C', V, S V) @ (P C', S V, T) -> (P C', V, T)
        return torch.bmm(refined.transpose(1, 2), values).view(people, channels, -1, frames)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        maps, mixing, refined, values = ctx.saved_tensors
        people, subsets, _, pairs = maps.shape
        _, channels, joints, frames = grads[0].shape
        grad = grads[0].reshape(people * channels, joints, frames)
        d_values = torch.bmm(refined, grad).view(people, channels, -1, frames)
        # (P C', S V, T) @ (P C', T, V) -> (P C', S V, V) -> (P, C', S, V V)
        d_refined = torch.bmm(values, grad.transpose(1, 2)).view(people, channels, subsets, pairs)
        d_maps, d_mixing = torch.empty_like(maps), torch.empty_like(mixing)
        for s in range(subsets):
            torch.bmm(mixing[s].t().expand(people, -1, -1), d_refined[:, :, s], out=d_maps[:, s])
            d_mixing[s] = torch.bmm(d_refined[:, :, s], maps[:, s].transpose(1, 2)).sum(0)
        d_topology = d_maps[:, :, -1].sum(0)
        return d_maps[:, :, :-2], d_mixing[:, :, :-2], d_mixing[:, :, -2:-1], d_topology, d_values
