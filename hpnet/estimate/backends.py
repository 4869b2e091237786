"""What runs a pose network: names of ``estimate.backend``, loaded on demand. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.choices import load
from ..weights.graphs import RUNTIMES

if TYPE_CHECKING:
    from .batches import Estimator
    from .params import EstimateParams

TORCH = "torch"
BACKENDS: dict[str, str] = {
    TORCH: "hpnet.estimate.estimator:open_estimator",
    "onnxruntime": "hpnet.estimate.exporting:open_estimator",
    "openvino": "hpnet.estimate.exporting:open_estimator",
}
"""Name -> function that takes section ``estimate`` and a :class:`Running`, and returns an estimator."""

ON_DEVICE = ("none", "crops", "decode")
"""What is done on a GPU beside the network: crops are cut out of frames that were decoded on the host; or frames are
decoded there too, and never come to the host."""

OF_INT8 = "openvino"
"""Computes in 8-bit integers; onnxruntime 1.32 computes such a file in floats, and is no faster."""


@dataclass(frozen=True)
class Running:
    """How a pose network runs; only precision, ``compiled`` and ``on_device`` affect the result.

    Attributes:
        device, precision: see :mod:`hpnet.core.device`.
        batch: crops per forward pass; None: the backend's own choice.
        compiled: use ``torch.compile``.
        graphs: folder of the networks that were written as graphs, for other backends than torch.
        on_device: one of :data:`ON_DEVICE`.
    """

    device: str = "auto"
    precision: str = "float32"
    batch: int | None = None
    compiled: bool = False
    graphs: Path = Path(".work/graphs")
    on_device: str = ON_DEVICE[0]


def open_estimator(params: EstimateParams, running: Running) -> Estimator:
    """The pose network of section ``estimate``, ready to look at crops.

    Raises:
        FileNotFoundError: the weights are missing.
        ModuleNotFoundError: the package of the backend is not installed; says how to install it.
        ValueError: the network, a tap, the window, the weights or a setting are wrong.
    """
    opened: Estimator = load(BACKENDS, params.backend, "estimate.backend")(params, running)
    return opened


def require_gpu(running: Running) -> None:
    """Refuse what only a GPU does, where there is none.

    Raises:
        ValueError: ``on_device`` is unknown, or the device is no GPU.
        ModuleNotFoundError: the package that decodes is not installed.
    """
    if running.on_device not in ON_DEVICE:
        raise ValueError(f"--on-device {running.on_device!r} is unknown; choose from {', '.join(ON_DEVICE)}")
    if running.on_device == ON_DEVICE[0]:
        return
    from ..core.device import resolve_device

    if resolve_device(running.device).type != "cuda":
        raise ValueError(f"--on-device {running.on_device} is for GPUs, and this runs on a CPU: leave it out")
    if running.on_device == "decode":
        from ..core.video.on_device import decoder_class

        decoder_class()


def modules(backend: str) -> tuple[str, ...]:
    """What of the package a backend runs, for the identity of the code."""
    return tuple(known[backend] for known in (BACKENDS, RUNTIMES) if backend in known)
