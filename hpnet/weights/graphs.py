"""Networks as ONNX files, run on the CPU. Nothing here imports torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..artifacts.files import readable
from ..core.choices import load

RUNTIMES: dict[str, str] = {
    "onnxruntime": "hpnet.weights.graphs:OnnxGraph",
    "openvino": "hpnet.weights.openvino_graphs:OpenVinoGraph",
}
"""Name -> what runs a file, loaded on demand: called with a path, a precision and a number of threads."""
INSTALL = "pip install 'hpnet[cpu]'"
GRAPHS = "graphs"
"""Folder of kept graphs in a folder of finished work."""


class Graph(Protocol):
    """A network in an ONNX file.

    Attributes:
        path: the file.
        outputs: names of what it gives, in order.
    """

    path: Path
    outputs: tuple[str, ...]

    def __call__(self, *inputs: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs for inputs, in the order in which they were written."""


def open_graph(path: Path, runtime: str, precision: str = "float32", threads: int | None = None) -> Graph:
    """A network in an ONNX file, ready to run.

    Args:
        runtime: a name in :data:`RUNTIMES`.
        precision: float32, or what the runtime has besides.
        threads: None: OMP_NUM_THREADS, or all cores.

    Raises:
        FileNotFoundError: no such file.
        ModuleNotFoundError: the package of the runtime is not installed; says how to install it.
        ValueError: the file is damaged, or a name is unknown.
    """
    opened: Graph = load(RUNTIMES, runtime, "backend")(path, precision, threads or own_threads())
    return opened


def device_for(backend: str, device: str) -> str:
    """The device on which a backend runs: torch on the one that was asked for, others on the CPU.

    Raises:
        ValueError: another device was asked for; names it.
    """
    if backend not in RUNTIMES:
        return device
    if device not in ("auto", "cpu"):
        raise ValueError(f"--device {device}: {backend} runs on the CPU; for a GPU use the backend torch")
    return "cpu"


def own_threads() -> int:
    """OMP_NUM_THREADS, which a worker has; 0: all cores."""
    return int(os.environ.get("OMP_NUM_THREADS") or 0)


def broken(path: Path, error: Exception) -> ValueError:
    """The error of a file that a runtime cannot read."""
    return ValueError(f"{path} is broken ({' '.join(str(error).split())[:160]}): export it again")


class OnnxGraph:
    """A network run by onnxruntime; see :func:`open_graph`. It computes in float32, or in 8-bit integers where the file
    says so."""

    def __init__(self, path: Path, precision: str, threads: int) -> None:
        if precision != "float32":
            raise ValueError(f"--precision {precision}: onnxruntime computes in float32; openvino has bfloat16 too")
        try:
            import onnxruntime
            from onnxruntime.capi import onnxruntime_pybind11_state as faults
        except ModuleNotFoundError:
            raise ModuleNotFoundError(f"{path} is run by onnxruntime: {INSTALL}", name="onnxruntime") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # a thread that waits lets others work: with more processes than cores spinning took ten times as long
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(readable(path)), options, providers=["CPUExecutionProvider"]
            )
        except (faults.Fail, faults.InvalidGraph, faults.InvalidProtobuf, faults.RuntimeException) as error:
            raise broken(path, error) from None
        self.path = path
        self._inputs = [one.name for one in self._session.get_inputs()]
        self.outputs = tuple(one.name for one in self._session.get_outputs())

    def __call__(self, *inputs: NDArray[Any]) -> list[NDArray[Any]]:
        """See :class:`Graph`."""
        given = {name: np.ascontiguousarray(value) for name, value in zip(self._inputs, inputs, strict=True)}
        outputs: list[NDArray[Any]] = self._session.run(None, given)
        return outputs
