"""Networks as ONNX files, run by onnxruntime on the CPU. Nothing here imports torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..artifacts.files import readable

INSTALL = "pip install onnxruntime"


class Graph:
    """A network in an ONNX file; ``outputs`` are the names of what it gives, in order.

    Args:
        threads: None: OMP_NUM_THREADS, or all cores.

    Raises:
        FileNotFoundError: no such file.
        ModuleNotFoundError: onnxruntime is not installed.
        ValueError: the file is damaged.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        try:
            import onnxruntime
            from onnxruntime.capi import onnxruntime_pybind11_state as faults
        except ModuleNotFoundError:
            raise ModuleNotFoundError(f"{path} is run by onnxruntime: {INSTALL}", name="onnxruntime") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or int(os.environ.get("OMP_NUM_THREADS") or 0)
        options.log_severity_level = 3
        # a thread that waits lets others work: with more processes than cores spinning took ten times as long
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(readable(path)), options, providers=["CPUExecutionProvider"]
            )
        except (faults.Fail, faults.InvalidGraph, faults.InvalidProtobuf, faults.RuntimeException) as error:
            raise ValueError(f"{path} is broken ({' '.join(str(error).split())[:160]}): export it again") from None
        self._inputs = [one.name for one in self._session.get_inputs()]
        self.outputs = tuple(one.name for one in self._session.get_outputs())

    def __call__(self, *inputs: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs for inputs, in the order in which they were written."""
        given = {name: np.ascontiguousarray(value) for name, value in zip(self._inputs, inputs, strict=True)}
        outputs: list[NDArray[Any]] = self._session.run(None, given)
        return outputs
