"""A network in an ONNX file whose convolutions compute in 8-bit integers: static quantisation, by what they see.

Weights are symmetric per output channel, activations per tensor between the extremes that were seen (Jacob et al., CVPR
2018). In float stay the first convolution, which sees the picture; the last two, whose maps are decoded to places; and
those of groups, which have few multiplications and lose most. OpenVINO runs such a file.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..artifacts.files import writing
from .graphs import INSTALL

METHOD = "dense convolutions but the first and the last two, MinMax"
"""What is done, in words: another text is another result."""
BATCH = 4
LAST = 2
"""Convolutions at the end that stay in float."""
CONVOLUTION = "Conv"
ACTIVATIONS = ("Relu", "Clip")
"""They become part of the convolution before them."""


def quantise(source: Path, examples: NDArray[np.uint8], target: Path) -> None:
    """Write a network of one input with convolutions in 8-bit integers.

    Args:
        source: the network in floats, an ONNX file.
        examples: (N, ...) inputs that stand for what it will see; its layers' ranges are taken from them.
        target: the file to write.

    Raises:
        ModuleNotFoundError: onnx or onnxruntime is not installed; says how to install them.
    """
    try:
        import onnx
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"int8 needs onnx and onnxruntime: {INSTALL}", name=error.name) from None
    with writing(target) as file, tempfile.TemporaryDirectory(dir=file.parent) as folder:
        ready = Path(folder) / "ready.onnx"
        quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
        model = onnx.load(str(ready), load_external_data=False)
        silent = logging.root.manager.disable
        logging.disable(logging.WARNING)  # it advises to do what was done
        try:
            quantization.quantize_static(
                str(ready),
                str(file),
                _Examples(model.graph.input[0].name, examples),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=[CONVOLUTION, *ACTIVATIONS],
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                nodes_to_exclude=left_in_float(model.graph),
                calibrate_method=quantization.CalibrationMethod.MinMax,
                extra_options={"OpTypesToExcludeOutputQuantization": [CONVOLUTION]},  # sums of them stay in float
            )
        finally:
            logging.disable(silent)


def left_in_float(graph: Any) -> list[str]:
    """Names of the convolutions of an ONNX graph that stay in float: the first, the last two, and those of groups."""
    nodes = list(graph.node)  # in the order in which they run
    before, after = _on_the_way(nodes, "input", "output"), _on_the_way(nodes[::-1], "output", "input")
    found = []
    for node in nodes:
        grouped = any(given.name == "group" and given.i > 1 for given in node.attribute)
        if node.op_type == CONVOLUTION and (grouped or not before[node.name] or after[node.name] < LAST):
            found.append(node.name)
    return found


def _on_the_way(nodes: Sequence[Any], comes_in: str, goes_out: str) -> dict[str, int]:
    """Name of each node -> the most convolutions on a way to it."""
    most: dict[str, int] = {}  # of a value
    found = {}
    for node in nodes:
        found[node.name] = max((most.get(name, 0) for name in getattr(node, comes_in)), default=0)
        passed = found[node.name] + (node.op_type == CONVOLUTION)
        for name in getattr(node, goes_out):
            most[name] = max(most.get(name, 0), passed)
    return found


class _Examples:
    """Batches as onnxruntime's calibration reads them."""

    def __init__(self, name: str, examples: NDArray[np.uint8]) -> None:
        self._name = name
        self._batches: Iterator[NDArray[np.uint8]] = (
            examples[start : start + BATCH] for start in range(0, len(examples), BATCH)
        )

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """The next batch; None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}
