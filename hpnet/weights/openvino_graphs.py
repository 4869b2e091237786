"""Networks as ONNX files, run by OpenVINO on the CPU. Nothing here imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..artifacts.files import readable
from .graphs import INSTALL, broken

HINTS = {"float32": ("f32", "FP32"), "bfloat16": ("bf16", "BF16"), "float16": ("f16", "FP16")}
"""Precision -> OpenVINO's names, of what is asked for and of what a processor has."""

RESULT = "/sink_port_0"
"""What OpenVINO adds to the name of an output."""


class OpenVinoGraph:
    """A network run by OpenVINO; see :func:`hpnet.weights.graphs.open_graph`.

    With bfloat16 or float16, layers compute in it and what follows the last convolution is float32. OpenVINO takes
    bfloat16 by itself where the processor has it, so float32 is asked for too.

    Raises:
        ValueError: also: the processor has not got the precision.
    """

    def __init__(self, path: Path, precision: str, threads: int) -> None:
        if precision not in HINTS:
            raise ValueError(f"--precision {precision!r} is unknown; choose from {', '.join(HINTS)}")
        try:
            import openvino
        except ModuleNotFoundError:
            raise ModuleNotFoundError(f"{path} is run by openvino: {INSTALL}", name="openvino") from None
        core = openvino.Core()
        hint, capability = HINTS[precision]
        if capability not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ValueError(f"--precision {precision}: this processor has none: use float32")
        # threads are not bound to cores, because several processes would be bound to the same ones
        wanted = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
        if threads:
            wanted["INFERENCE_NUM_THREADS"] = threads
        try:
            model = core.read_model(str(readable(path)))
            compiled = core.compile_model(model, "CPU", wanted)
        except RuntimeError as error:
            raise broken(path, error) from None
        self.path = path
        self._request = compiled.create_infer_request()
        # an output can have more names than the one that the file gives it
        self.outputs = tuple(result.get_friendly_name().removesuffix(RESULT) for result in model.get_results())

    def __call__(self, *inputs: NDArray[Any]) -> list[NDArray[Any]]:
        """See :class:`hpnet.weights.graphs.Graph`."""
        found = self._request.infer(dict(enumerate(map(np.ascontiguousarray, inputs))))
        return [np.array(value) for value in found.values()]  # copied: the next call writes into the same memory
