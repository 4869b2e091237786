"""What runs a detector: names of ``detect.backend``, loaded on demand. Nothing here imports torch."""

from __future__ import annotations

from ..weights.graphs import RUNTIMES

BACKENDS: dict[str, str] = {
    "torch": "hpnet.detect.detector:build_for",
    "onnxruntime": "hpnet.detect.exporting:build_for",
    "openvino": "hpnet.detect.exporting:build_for",
}
"""Name -> function of section ``detect``, a device, a precision and the folder of kept graphs, which returns a
detector."""


def modules(backend: str) -> tuple[str, ...]:
    """What of the package a backend runs, for the identity of the code."""
    return tuple(known[backend] for known in (BACKENDS, RUNTIMES) if backend in known)
