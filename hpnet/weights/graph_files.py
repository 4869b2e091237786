"""Writing networks of torch as ONNX files."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ..artifacts.files import writing
from .graphs import INSTALL

OPSET = 20


def write_graph(
    network: nn.Module,
    examples: Mapping[str, Tensor],
    outputs: Sequence[str],
    path: Path,
    free: Mapping[str, Mapping[int, str]],
) -> None:
    """Write a network by following it with example inputs.

    Args:
        examples: name -> an input; its sizes are those of the graph, except the free ones.
        outputs: names of the outputs.
        free: name of an input -> axis -> name of its size, which may be any.

    Raises:
        ModuleNotFoundError: the package that writes ONNX is missing; says how to install it.
    """
    if importlib.util.find_spec("onnx") is None:
        raise ModuleNotFoundError(f"{path.name} is written by onnx: {INSTALL}", name="onnx")
    network.eval()  # the exporter leaves a network in the mode of its outermost module
    with torch.no_grad(), warnings.catch_warnings(), writing(path) as file:
        warnings.simplefilter("ignore")  # that sizes are taken as constants, which those that are not free are
        torch.onnx.export(
            network,
            tuple(examples.values()),
            str(file),
            input_names=list(examples),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamic_axes={name: dict(axes) for name, axes in free.items()},
            dynamo=False,
        )
