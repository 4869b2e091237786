"""Key names of the released CTR-GCN checkpoints -> ours. A renaming and stacking of tensors; values do not change."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

_SUBSETS = 3
_SUFFIXES = ("weight", "bias")
_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def convert_ctrgcn(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A released CTR-GCN state dict (``l1.gcn1.convs.0.conv1.weight``, ...) -> the keys of
    :class:`hpnet.models.CTRGCN`.

    Works for any number of blocks, joints, classes and channels. The number of people is read from ``data_bn`` and the
    first block's input channels.

    Raises:
        ValueError: a key is missing or left over, or its shape does not fit the others'; names it.
    """
    source = {key.removeprefix("module."): value for key, value in state_dict.items()}
    numbers = sorted(int(m.group(1)) for key in source if (m := re.fullmatch(r"l(\d+)\.gcn1\.PA", key)))
    used: set[str] = set()

    def take(key: str) -> Tensor:
        if key not in source:
            raise ValueError(f"released CTR-GCN checkpoint: key {key!r} is missing ({len(source)} keys present)")
        used.add(key)
        return source[key]

    def alike(keys: Sequence[str], dimensions: int) -> list[Tensor]:
        values = [take(key) for key in keys]
        for key, value in zip(keys, values, strict=True):
            if value.shape != values[0].shape or value.ndim != dimensions:
                raise ValueError(
                    f"released CTR-GCN checkpoint: {key!r} is {tuple(value.shape)}, expected {dimensions} dimensions "
                    f"as of {keys[0]!r}, {tuple(values[0].shape)}"
                )
        return values

    result: dict[str, Tensor] = {}

    def copy(old: str, new: str, names: tuple[str, ...]) -> None:
        result.update({f"{new}.{name}": take(f"{old}.{name}") for name in names})

    if not numbers:
        raise ValueError("released CTR-GCN checkpoint: key 'l1.gcn1.PA' is missing; is this another network?")
    if numbers != list(range(1, len(numbers) + 1)):
        gone = next(number for number in range(1, numbers[-1]) if number not in numbers)
        raise ValueError(
            f"released CTR-GCN checkpoint: key 'l{gone}.gcn1.PA' is missing, but there is a block after it"
        )
    joints = alike(["l1.gcn1.PA"], 3)[0].shape[1]
    in_channels = alike(["l1.gcn1.convs.0.conv3.weight"], 4)[0].shape[1]
    for name in _NORM[:4]:
        values = take(f"data_bn.{name}")
        if values.numel() % (joints * in_channels):
            raise ValueError(
                f"released CTR-GCN checkpoint: 'data_bn.{name}' is {tuple(values.shape)}, expected a multiple of "
                f"{joints} joints times {in_channels} channels"
            )
        result[f"norm.{name}"] = values.reshape(-1, joints * in_channels)  # (M * V * C,) -> (M, V * C)
    used.add("data_bn.num_batches_tracked")

    for block, number in enumerate(numbers):
        gcn, tcn, new = f"l{number}.gcn1", f"l{number}.tcn1", f"blocks.{block}"
        graph = f"{new}.spatial.graph"
        result[f"{graph}.topology"] = take(f"{gcn}.PA")
        result[f"{graph}.alpha"] = take(f"{gcn}.alpha")
        for part, conv in (("psi", "conv1"), ("phi", "conv2"), ("transform", "conv3")):
            for name in _SUFFIXES:
                keys = [f"{gcn}.convs.{s}.{conv}.{name}" for s in range(_SUBSETS)]
                stacked = torch.cat(alike(keys, 4 if name == "weight" else 1))
                # psi and phi act on (P, C, V): (r, C, 1, 1) -> (r, C, 1)
                one_d = name == "weight" and part in ("psi", "phi")
                result[f"{graph}.{part}.{name}"] = stacked.squeeze(3) if one_d else stacked
        # (C', r, 1, 1) for each subset -> (S, C', r); (C',) -> (S, C', 1)
        weights, biases = (
            torch.stack(alike([f"{gcn}.convs.{s}.conv4.{name}" for s in range(_SUBSETS)], dimensions))
            for name, dimensions in (("weight", 4), ("bias", 1))
        )
        result[f"{graph}.xi_weight"], result[f"{graph}.xi_bias"] = weights.flatten(2), biases.unsqueeze(2)
        copy(f"{gcn}.bn", f"{new}.spatial.norm", _NORM)
        if f"{gcn}.down.0.weight" in source:
            copy(f"{gcn}.down.0", f"{new}.spatial.shortcut.0", _SUFFIXES)
            copy(f"{gcn}.down.1", f"{new}.spatial.shortcut.1", _NORM)
        for layer, names in ((0, _SUFFIXES), (1, _NORM[:4])):
            for name in names:
                keys = [f"{tcn}.branches.{b}.{layer}.{name}" for b in range(3)]
                stacked = torch.cat(alike(keys, 4 if layer == 0 and name == "weight" else 1))
                result[f"{new}.temporal.reduce.{layer}.{name}"] = stacked
        result[f"{new}.temporal.reduce.1.num_batches_tracked"] = take(f"{tcn}.branches.0.1.num_batches_tracked")
        used.update(f"{tcn}.branches.{b}.1.num_batches_tracked" for b in (1, 2))
        for branch in (0, 1):
            copy(f"{tcn}.branches.{branch}.3.conv", f"{new}.temporal.dilated.{branch}.0", _SUFFIXES)
            copy(f"{tcn}.branches.{branch}.3.bn", f"{new}.temporal.dilated.{branch}.1", _NORM)
        copy(f"{tcn}.branches.2.4", f"{new}.temporal.maximum.1", _NORM)
        copy(f"{tcn}.branches.3.0", f"{new}.temporal.point.0", _SUFFIXES)
        copy(f"{tcn}.branches.3.1", f"{new}.temporal.point.1", _NORM)
        if f"l{number}.residual.conv.weight" in source:
            copy(f"l{number}.residual.conv", f"{new}.residual.0", _SUFFIXES)
            copy(f"l{number}.residual.bn", f"{new}.residual.1", _NORM)
    copy("fc", "classifier", _SUFFIXES)

    left = sorted(set(source) - used)
    if left:
        raise ValueError(f"released CTR-GCN checkpoint: {len(left)} keys are not of this network, first {left[0]!r}")
    return result
