"""Numbers that the released code gave, so that parity is checked everywhere. README.md says where each is from."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

FOLDER = Path(__file__).resolve().parent
SEED = 1
HRNET_TENSORS = 1758
HRNET_DIGEST = "4a7303122b2f819641b546daeb898b02738eee1dbb9bb3bf345137000ecfe2ce"
"""How many tensors the released pose network's checkpoint holds, and :func:`digest_of_shapes` of them."""
CSPNEXT_DIGESTS = {
    "t": (206, "8aa28b50bb4b43936bd795483a95a543d6eb781f25b6c2ab968cdaef7bec0cdb"),
    "s": (242, "3d6c6c3b013c5b59849c450cde7300db976dd85b8cd9f9f7d2e31fcc1b7a2410"),
    "m": (350, "7525c2d42b99883684a046cd5053a6e8d136f3d8c2c10b5d65efe092636cbd6a"),
    "l": (458, "1e5b75b5d99da0518f1ee8ff4e06ca00bf34200d9b169b73f3fac7e700e759b2"),
}
"""The same of OpenMMLab's CSPNeXt, for each size of RTMPose."""


def load(name: str) -> dict[str, NDArray[Any]]:
    """The arrays of one file in this folder."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return dict(file)


def seeded_tensor(key: str, shape: Sequence[int], seed: int = SEED) -> NDArray[Any]:
    """The value of one parameter of a released network, decided by its key and the seed alone.

    Counters are int64, all else is float32. Running statistics are those of a new batch norm. Convolutions and linear
    layers are normal with a variance of 2 / fan-in and 1 / fan-in, scales are uniform between 0.8 and 1.2, and what is
    left (offsets) is normal with a deviation of 0.1.
    """
    constants = {"num_batches_tracked": np.int64(0), "running_mean": np.float32(0), "running_var": np.float32(1)}
    kind = key.rpartition(".")[2]
    if kind in constants:
        return np.full(shape, constants[kind])
    generator = np.random.default_rng([zlib.crc32(key.encode()), seed])
    fan_in = int(np.prod(shape[1:]))
    deviations = {4: (2 / fan_in) ** 0.5, 2: fan_in**-0.5}
    if len(shape) not in deviations and kind == "weight":
        return generator.uniform(0.8, 1.2, shape).astype(np.float32)
    return (generator.standard_normal(shape) * deviations.get(len(shape), 0.1)).astype(np.float32)


def seeded_input(stream: int, shape: Sequence[int], seed: int = SEED) -> torch.Tensor:
    """The input of a released network, standard normal: ``stream`` 77 is CTR-GCN's, 78 a text, 79 a condition."""
    return torch.from_numpy(np.random.default_rng([stream, seed]).standard_normal(shape).astype(np.float32))


def released_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Key -> shape of the released ``ctrgcn``, ``trmm`` or ``film``."""
    golden = load(name)
    return {
        key.decode(): tuple(int(size) for size in sizes if size >= 0)
        for key, sizes in zip(golden["keys"], golden["shapes"], strict=True)
    }


def released_state(name: str) -> dict[str, torch.Tensor]:
    """The seeded state dict of the released ``ctrgcn``, ``trmm`` or ``film``."""
    state = {key: torch.from_numpy(seeded_tensor(key, shape)) for key, shape in released_shapes(name).items()}
    for key, value in state.items():
        if key.endswith(".PA"):
            state[key] = torch.from_numpy(load(name)["adjacency"])
        elif key.endswith(".alpha"):
            state[key] = torch.full_like(value, 0.5)
    return state


def digest_of_shapes(shapes: Mapping[str, Sequence[int]]) -> str:
    """SHA-256 of the sorted lines ``key size size ...``."""
    lines = (" ".join([key, *map(str, sizes)]) for key, sizes in sorted(shapes.items()))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
