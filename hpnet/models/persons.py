"""From (N, C, T, V, M) clips to their valid people, and back to one vector per clip.

The released networks send all M slots of every clip through every layer. Most slots of most data sets are empty, so
here only valid people are computed, and a clip's vector is the mean over them. With every slot valid both are the same.
An exported graph (``torch.export``, ONNX) cannot have a number of rows that depends on the people. So during export
every slot is computed, and the mean leaves empty slots out, which gives the same vectors.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

EPSILON = 1e-5


def processes() -> int:
    """Number of processes that train together; 1 outside of ``torchrun`` and ``accelerate launch``."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_exporting() -> bool:
    """Whether the network is being written as a graph, by ``torch.export`` or by tracing for ONNX."""
    return bool(torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export())


def all_valid(features: Tensor) -> Tensor:
    """The mask (N, M) that makes every slot count, as the released networks do."""
    return torch.ones(features.shape[0], features.shape[4], dtype=torch.bool, device=features.device)


def who_is_there(valid: Tensor | None) -> Tensor | None:
    """A mask (N, M), or None where every slot is known to be valid; never waits for a device to find out."""
    if valid is None or is_exporting() or valid.device.type != "cpu":
        return valid
    return None if bool(valid.all()) else valid


class PersonNorm(nn.Module):
    """Batch norm of the input, its own for every person slot, joint and channel, over clips and frames.

    A training batch with a single value per channel (one person, one frame) has no variance of its own; such a slot
    is normalised by its running statistics instead.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_persons: int, num_joints: int, in_channels: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.sizes = (num_persons, num_joints, in_channels)
        self.momentum = momentum
        size = num_joints * in_channels
        self.weight = nn.Parameter(torch.ones(num_persons, size))
        self.bias = nn.Parameter(torch.zeros(num_persons, size))
        self.register_buffer("running_mean", torch.zeros(num_persons, size))
        self.register_buffer("running_var", torch.ones(num_persons, size))

    def forward(self, features: Tensor, valid: Tensor | None) -> Tensor:
        """(N, C, T, V, M) and a mask (N, M), None for all -> (P, C, T, V), the P valid people, slot by slot.

        The frames lie together in memory. A mask on the host costs no wait for the device.
        """
        persons, joints, channels = self.sizes
        if features.ndim != 5 or (features.shape[4], features.shape[3], features.shape[1]) != self.sizes:
            raise ValueError(f"input is {tuple(features.shape)}, expected (N, {channels}, T, {joints}, {persons})")
        if valid is None or is_exporting():
            slots = [features[..., m] for m in range(persons)]
        else:
            slots = [features[..., m].index_select(0, _positions(valid[:, m], features)) for m in range(persons)]
        # (p, C, V, T) of every slot -> (P, C, V, T) -> (P, C, T, V)
        return torch.cat([self._slot(people, m) for m, people in enumerate(slots)]).transpose(2, 3)

    def _slot(self, people: Tensor, m: int) -> Tensor:
        """(p, C, T, V) of slot m -> (p, C, V, T), normalised."""
        count, channels, frames, joints = people.shape
        together = self.training and processes() > 1
        if count == 0 and not together:
            return people.transpose(2, 3)
        # (p, C, T, V) -> (p, V, C, T) -> (p, V * C, T)
        x = people.permute(0, 3, 1, 2).reshape(count, joints * channels, frames)
        mean, variance, affine = self.running_mean[m], self.running_var[m], (self.weight[m], self.bias[m])
        training = self.training and count * frames > 1
        if together:
            x = _norm_of_all_processes(x, (mean, variance), affine, self.momentum)
        else:
            x = F.batch_norm(x, mean, variance, *affine, training, self.momentum, EPSILON)
        # (p, V * C, T) -> (p, V, C, T) -> (p, C, V, T)
        return x.view(count, joints, channels, frames).transpose(1, 2)


def _norm_of_all_processes(
    x: Tensor, statistics: tuple[Tensor, Tensor], affine: tuple[Tensor, Tensor], momentum: float
) -> Tensor:
    """Batch norm of (p, D, T) over the people of all processes, by torch's own layer; a process may have p = 0.

    All processes must call this in the same order. Without two values in all, the running statistics are used.
    """
    values = torch.tensor(float(len(x) * x.shape[2]), device=x.device)
    dist.all_reduce(values)
    (mean, variance), (weight, bias) = statistics, affine
    if float(values) < 2:
        scale = weight * torch.rsqrt(variance + EPSILON)
        return x * scale[:, None] + (bias - mean * scale)[:, None]
    layer: Any = nn.SyncBatchNorm(x.shape[1], EPSILON, momentum, device="meta")
    counted = torch.zeros((), dtype=torch.long, device=x.device)
    given = {
        "weight": weight, "bias": bias, "running_mean": mean, "running_var": variance, "num_batches_tracked": counted,
    }  # fmt: skip
    normed: Tensor = functional_call(layer, given, (x,))
    return normed


def mean_over_persons(people: Tensor, valid: Tensor | None, clips: int) -> Tensor:
    """(P, D) in the order of :class:`PersonNorm` -> (N, D), each clip's mean; zeros for a clip without people.

    Args:
        valid: (N, M), or None: all, so that P = M N.
        clips: N.
    """
    if valid is None:
        return people.view(-1, clips, people.shape[1]).mean(0)  # (M, N, D) -> (N, D)
    if is_exporting():
        # (M * N, D) -> (M, N, D), zeros where nobody is
        slots = people.reshape(valid.shape[1], -1, people.shape[1]) * valid.t()[..., None]
    else:
        slots = people.new_zeros(valid.numel(), people.shape[1])  # (M * N, D)
        slots = slots.index_copy(0, _positions(valid.t(), people), people).view(-1, clips, people.shape[1])
    return slots.sum(0) / valid.sum(1, keepdim=True).clamp(min=1).to(people.device, non_blocking=True)


def _positions(mask: Tensor, where: Tensor) -> Tensor:
    """Positions of what is true in the flattened mask, on the device of ``where``."""
    return mask.flatten().nonzero().squeeze(1).to(where.device, non_blocking=True)
