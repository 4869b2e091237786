"""The authors' own CTR-GCN, for ``hpnet bench train --against``: read from the file ``model/ctrgcn.py`` of its
repository, which whoever measures has fetched. Nothing of it is part of this package. The file is run as it is.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..core.skeleton import of_joints, spatial_subsets
from ..models.ctrgcn import CTRGCN
from ..weights.checkpoint import load_into
from ..weights.ctrgcn import convert_ctrgcn


class Graph:
    """What their network asks for by name: the adjacency (S, V, V) of a skeleton of so many joints."""

    def __init__(self, joints: int) -> None:
        self.A: NDArray[np.float32] = spatial_subsets(of_joints(joints))


def load(file: Path, *, channels: int, joints: int, persons: int, classes: int) -> nn.Module:
    """Their network with new weights, of which every branch takes part in the result.

    Raises:
        ValueError: the file has no such network.
    """
    spec = importlib.util.spec_from_file_location("ctrgcn_of_its_authors", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"--against {file}: expected a Python file, model/ctrgcn.py of CTR-GCN's repository")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "Model"):
        raise ValueError(f"--against {file} has no class Model: expected model/ctrgcn.py of CTR-GCN's repository")
    made: Any = module.Model(
        num_class=classes, num_point=joints, num_person=persons, graph=f"{__name__}.Graph",
        graph_args={"joints": joints}, in_channels=channels,
    )  # fmt: skip
    for name, parameter in made.named_parameters():
        if name.endswith("gcn1.alpha"):
            nn.init.constant_(parameter, 0.5)
        elif name.endswith("gcn1.bn.weight"):
            nn.init.ones_(parameter)
    network: nn.Module = made
    return network


def ours(theirs: nn.Module, *, channels: int, joints: int, persons: int, classes: int) -> CTRGCN:
    """Our network with their weights."""
    network = CTRGCN(in_channels=channels, num_classes=classes, num_persons=persons, skeleton=of_joints(joints))
    load_into(network, convert_ctrgcn({k: v.detach().clone() for k, v in theirs.state_dict().items()}), "--against")
    return network


def seeded(file: Path, seed: int = 0, **sizes: int) -> tuple[CTRGCN, nn.Module]:
    """Both, with the same weights."""
    torch.manual_seed(seed)
    theirs = load(file, **sizes)
    return ours(theirs, **sizes), theirs
