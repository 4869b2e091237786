"""The steps of CTR-GCN's blocks, arranged so that a training step moves little memory.

Arrays are (P, C, V, T), frames last: a channel's joints under all subsets of the graph are then the rows of one matrix.
While training on a CPU, products, batch norm and maximum have gradients of their own, in fewer passes than autograd's;
on a GPU, in evaluation, under ``torch.compile`` and ``torch.export`` they are plain torch operations. Layers keep their
own modules, whose weights are those of (P, C, T, V): so checkpoints do not depend on the layout.

The gradients serve whoever trains on a CPU at the paper's width, where a step takes 1.3 to 1.5 times less than in plain
operations of the same layout: `hpnet bench gradients`, benchmarks/train-own-gradients.md.

Axes: P people, C channels, T frames, V joints, S subsets of the graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CACHE_BYTES = 4 << 20
"""Per thread: what a graph convolution keeps for the next of its products."""


_plain = ContextVar("_plain", default=False)


@contextmanager
def plain_operations() -> Iterator[None]:
    """Steps taken in this block are plain torch operations, which own gradients are measured and tested against."""
    before = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(before)


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
    return torch.unflatten(y, 2, x.shape[2:])


def batch_norm(norm: nn.Module, x: Tensor) -> Tensor:
    """``norm(x)``, a batch norm of the channels; Ioffe and Szegedy, ICML 2015, Algorithm 1."""
    own = isinstance(norm, nn.BatchNorm2d) and norm.training and _own_gradients(x) and x.numel() > x.shape[1]
    if not own:
        y: Tensor = norm(x)  # of a single value torch says that it has no variance
    else:
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
        with torch.autocast("cpu", enabled=False):
            running = norm.running_mean, norm.running_var
            y = _BatchNorm.apply(x, norm.weight, norm.bias, *running, norm.momentum, norm.eps)
    return y


def maximum_of_three(x: Tensor, stride: int) -> Tensor:
    """The maximum over each frame and its neighbours, (P, C, V, T) -> (P, C, V, ceil(T / stride))."""
    if not _own_gradients(x):
        return F.max_pool2d(x, (1, 3), (1, stride), (0, 1))
    y: Tensor = _MaximumOfThree.apply(x, stride)
    return y


def graph_convolution(
    x: Tensor, weight: Tensor, bias: Tensor, relation: Tensor, xi: Tensor, xi_bias: Tensor, topology: Tensor
) -> Tensor:
    """Eq. (5) and (8) to (10) of CTR-GCN: every channel collects its joints over a topology of its own.

    Args:
        x: (P, C, V, T).
        weight, bias: (C' S, C) and (C' S,) of the transform, a channel's subsets one after another.
        relation: (P, S, r, V V), the last two joints [j, i] of M(psi(x_i), phi(x_j)).
        xi, xi_bias: (S, C', r) and (S, C', 1), times alpha.
        topology: (S, V V), A[j, i]: joint j where joint i collects.

    Returns:
        (P, C', V, T), the sum over the subsets.
    """
    if _own_gradients(x):
        given = [x, weight, bias, relation, xi, xi_bias, topology]
        if torch.is_autocast_enabled("cpu"):
            given = [array.to(torch.get_autocast_dtype("cpu")) for array in given]
        with torch.autocast("cpu", enabled=False):
            z: Tensor = _GraphConvolution.apply(*given)
        return z
    people, _, joints, frames = x.shape
    subsets, channels, _ = xi.shape
    # Eq. (5): X~ = X W
    values = pointwise(x, weight, bias).reshape(people * channels, subsets * joints, frames)  # (P C', S V, T)
    # Eq. (8): Q = xi(M); (S, C', r) @ (P, S, r, V V) -> (P, S, C', V V)
    q = xi @ relation
    # Eq. (9): R = A + alpha Q, the largest array of a late block: under autocast it stays as narrow as its factors
    refined = q + (topology.unsqueeze(1) + xi_bias).to(q.dtype)
    refined = refined.transpose(1, 2).reshape(people * channels, subsets * joints, joints)  # (P C', S V, V)
    # Eq. (10): z_c = R_c x~_c; (P C', V, S V) @ (P C', S V, T) -> (P C', V, T)
    return (refined.transpose(1, 2) @ values).reshape(people, channels, joints, frames)


def _own_gradients(x: Tensor) -> bool:
    on_cpu = x.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling()
    return on_cpu and not _plain.get()


class _BatchNorm(torch.autograd.Function):
    """Batch norm of a training batch; torch's kernel sums float32 statistics one number after another."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor, momentum: float,
        eps: float,
    ) -> Tensor:  # fmt: skip
        ctx.eps = eps
        if x.dtype != weight.dtype:  # bfloat16: torch's kernel is quick on arrays without gaps
            x = x.contiguous()
            y, mean, scale = torch.native_batch_norm(x, weight, bias, running_mean, running_var, True, momentum, eps)
            ctx.save_for_backward(x, weight, mean, scale)
            return y
        count, others = x.numel() // x.shape[1], (0, 2, 3)
        mean = x.sum(others) / count
        centred = x - mean[:, None, None]
        rows = centred.reshape(-1, 1, centred.shape[2] * centred.shape[3])  # (P C, 1, V T)
        variance = (rows @ rows.transpose(1, 2)).view(x.shape[:2]).sum(0) / count
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(variance * (count / (count - 1)), momentum)
        scale = torch.rsqrt(variance + eps)
        ctx.save_for_backward(centred, weight, torch.zeros_like(mean), scale)
        return torch.addcmul(bias[:, None, None], centred, (weight * scale)[:, None, None])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, weight, mean, scale = ctx.saved_tensors
        kernel = torch.ops.aten.native_batch_norm_backward
        back = kernel(grads[0].contiguous(), x, weight, None, None, mean, scale, True, ctx.eps, [True] * 3)
        return (*back, None, None, None, None)


class _MaximumOfThree(torch.autograd.Function):
    """Of equal frames the first gets the gradient, as in torch's pooling."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, stride: int) -> Tensor:
        padded = F.pad(x, (1, 1), value=-torch.inf)  # (P, C, V, 1 + T + 1)
        before, middle, after = _MaximumOfThree.frames(padded, stride)
        y = torch.maximum(torch.maximum(before, middle), after)
        ctx.save_for_backward(padded, y)
        ctx.stride = stride
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        padded, y = ctx.saved_tensors
        (left,) = grads  # what no frame has taken yet
        gradient = torch.zeros_like(padded)
        frames = _MaximumOfThree.frames(padded, ctx.stride)
        *first, last = _MaximumOfThree.frames(gradient, ctx.stride)
        for frame, into in zip(frames, first, strict=False):
            taken = left * (frame == y)
            into += taken
            left = left - taken
        last += left
        return gradient[..., 1:-1], None

    @staticmethod
    def frames(padded: Tensor, stride: int) -> list[Tensor]:
        """The first, second and third frame of every window, (P, C, V, 1 + T + 1) -> three of (P, C, V, T')."""
        stop = padded.shape[3] - 2
        return [padded[..., shift : stop + shift : stride] for shift in range(3)]


class _GraphConvolution(torch.autograd.Function):
    """:func:`graph_convolution`, a few people after another, so that what passes between its products stays in cache.

    Eq. (8) and (9) are one product: R = (alpha xi, alpha b, 1) (M, 1, A).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, relation: Tensor, xi: Tensor, xi_bias: Tensor,
        topology: Tensor,
    ) -> Tensor:  # fmt: skip
        people, _, joints, frames = x.shape
        subsets, channels, _ = xi.shape
        constant = relation.new_ones(people, subsets, 1, joints * joints)
        graph = topology.view(1, subsets, 1, -1).expand(people, -1, -1, -1)
        maps = torch.cat([relation, constant, graph], dim=2)  # (P, S, r + 2, V V)
        mixing = torch.cat([xi, xi_bias, torch.ones_like(xi_bias)], dim=2)  # (S, C', r + 2)
        x = x.flatten(2)  # (P, C, V T)
        values = x.new_empty(people, channels * subsets, joints * frames)
        refined = x.new_empty(people, channels, subsets, joints * joints)
        z = x.new_empty(people, channels, joints, frames)
        for few in _few(people, values):
            count = len(x[few])
            torch.baddbmm(bias[:, None], weight.expand(count, -1, -1), x[few], out=values[few])
            for s in range(subsets):  # (C', r + 2) @ (p, r + 2, V V) -> (p, C', V V)
                torch.bmm(mixing[s].expand(count, -1, -1), maps[few, s], out=refined[few, :, s])
            # (p C', V, S V) @ (p C', S V, T) -> (p C', V, T)
            r, v = refined[few].view(-1, subsets * joints, joints), values[few].view(-1, subsets * joints, frames)
            torch.bmm(r.transpose(1, 2), v, out=z[few].view(-1, joints, frames))
        ctx.save_for_backward(x, weight, maps, mixing, refined, values)
        return z

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, weight, maps, mixing, refined, values = ctx.saved_tensors
        people, channels, joints, frames = grads[0].shape
        subsets = len(mixing)
        grad = grads[0].contiguous()
        d_x, d_maps = torch.empty_like(x), torch.empty_like(maps)
        # sums over the people, float32 also where the arrays are bfloat16
        wide = torch.promote_types(weight.dtype, torch.float32)
        d_weight, d_mixing = torch.zeros_like(weight, dtype=wide), torch.zeros_like(mixing, dtype=wide)
        d_bias = weight.new_zeros(len(weight), dtype=wide)
        for few in _few(people, values):
            count = len(x[few])
            g, v = grad[few].view(-1, joints, frames), values[few].view(-1, subsets * joints, frames)
            # (p C', S V, T) @ (p C', T, V) -> (p C', S V, V) -> (p, C', S, V V)
            d_refined = torch.bmm(v, g.transpose(1, 2)).view(count, channels, subsets, -1)
            for s in range(subsets):
                torch.bmm(mixing[s].t().expand(count, -1, -1), d_refined[:, :, s], out=d_maps[few, s])
                d_mixing[s] += torch.bmm(d_refined[:, :, s], maps[few, s].transpose(1, 2)).sum(0)
            # (p C', S V, V) @ (p C', V, T) -> (p C', S V, T) -> (p, C' S, V T)
            d_values = torch.bmm(refined[few].view(-1, subsets * joints, joints), g).view(count, len(weight), -1)
            torch.bmm(weight.t().expand(count, -1, -1), d_values, out=d_x[few])
            d_weight += torch.bmm(d_values, x[few].transpose(1, 2)).sum(0)
            d_bias += d_values.sum((0, 2))
        d_x = torch.unflatten(d_x, 2, (joints, frames))  # (P, C, V T) -> (P, C, V, T)
        d_weight, d_bias, d_mixing = (d.to(weight.dtype) for d in (d_weight, d_bias, d_mixing))
        d_xi, d_xi_bias, _ = d_mixing.split([mixing.shape[2] - 2, 1, 1], dim=2)
        return d_x, d_weight, d_bias, d_maps[:, :, :-2], d_xi, d_xi_bias, d_maps[:, :, -1].sum(0)


def _few(people: int, array: Tensor) -> list[slice]:
    """Slices of the people whose part of ``array`` (P, ...) fits into the threads' caches."""
    size = max(1, CACHE_BYTES * torch.get_num_threads() * people // array.nbytes) if array.nbytes else 1
    return [slice(start, start + size) for start in range(0, people, size)]
