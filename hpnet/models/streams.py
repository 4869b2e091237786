"""Joint, bone, joint motion and bone motion: the inputs of the topology streams, from the same features.

The transform module of HP-Net (section III-C): spatial features are differences of joints that share a bone, motion
features differences of consecutive frames. Arrays are (N, C, T, V, M), numpy or torch; the result has the input's shape
and dtype.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

Array = TypeVar("Array", NDArray[Any], torch.Tensor)


def joint(features: Array, parents: Sequence[int]) -> Array:
    """The features as they are; ``parents`` is not used."""
    _require_joints(features, parents)
    return features


def bone(features: Array, parents: Sequence[int]) -> Array:
    """Joint minus parent, F_s of section III-C. The root, its own parent, gets zero.

    Args:
        features: (N, C, T, V, M).
        parents: parent of each joint (V,), 0-based.
    """
    _require_joints(features, parents)
    return features - features[:, :, :, joints_at(parents, features)]


def joint_motion(features: Array, parents: Sequence[int]) -> Array:
    """Next frame minus this one, F_m of section III-C; zero in the last frame."""
    _require_joints(features, parents)
    moved: Array = torch.zeros_like(features) if isinstance(features, torch.Tensor) else np.zeros_like(features)
    moved[:, :, :-1] = features[:, :, 1:] - features[:, :, :-1]
    return moved


def bone_motion(features: Array, parents: Sequence[int]) -> Array:
    """Joint motion of the bones."""
    return joint_motion(bone(features, parents), parents)


STREAM_TRANSFORMS: dict[str, Callable[..., Any]] = {
    "hpj": joint,
    "hpb": bone,
    "hpjm": joint_motion,
    "hpbm": bone_motion,
}


def transform(stream: str, features: Array, parents: Sequence[int]) -> Array:
    """Input of stream ``stream`` from ``features`` (N, C, T, V, M).

    Raises:
        ValueError: unknown stream (lists the choices), or features of other joints than ``parents``.
    """
    if stream not in STREAM_TRANSFORMS:
        raise ValueError(f"unknown topology stream {stream!r}: choose from {', '.join(STREAM_TRANSFORMS)}")
    result: Array = STREAM_TRANSFORMS[stream](features, parents)
    return result


def joints_at(order: Sequence[int], features: Any) -> Any:
    """An index of joints for ``features[:, :, :, index]``.

    On a GPU it is a tensor that is there already: a list would be sent at every use, and waited for.
    """
    if isinstance(features, torch.Tensor) and features.device.type == "cuda":
        return _on_device(tuple(order), features.device)
    return list(order)


@functools.lru_cache(maxsize=64)
def _on_device(order: tuple[int, ...], device: torch.device) -> torch.Tensor:
    return torch.tensor(order, device=device)


def _require_joints(features: Any, parents: Sequence[int]) -> None:
    if features.ndim != 5 or features.shape[3] != len(parents):
        raise ValueError(f"features are {tuple(features.shape)}, expected (N, C, T, {len(parents)}, M)")
