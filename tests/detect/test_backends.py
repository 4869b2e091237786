"""Backends of the detector: the boxes of torch, and graphs that are kept."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from hpnet.core.video import load_clip
from hpnet.detect.detector import open_detector
from hpnet.detect.params import DetectParams
from hpnet.weights.places import ASSETS

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_backend_finds_who_torch_finds(graphs: Path, backend: str) -> None:
    pytest.importorskip(backend)
    frames = load_clip(ASSETS / "clip.mp4", 2)
    found = []
    for name in ("torch", backend):
        params = DetectParams.model_validate({"model": "movenet-multipose", "image_size": 256, "backend": name})
        detector = open_detector(params, "cpu", "float32", graphs)
        assert detector is not None
        found.append(detector.detect(frames))
    for (boxes, scores), (others, their_scores) in zip(*found, strict=True):
        np.testing.assert_allclose(boxes, others, atol=1e-2)
        np.testing.assert_allclose(scores, their_scores, atol=1e-3)
    assert len(list(graphs.glob("*/network.onnx"))) == 1, "both run one graph"


def test_what_cannot_be_is_refused(graphs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="--device cuda: openvino runs on the CPU"):
        open_detector(DetectParams(model="movenet-multipose", backend="openvino"), "cuda", "float32", graphs)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ModuleNotFoundError, match="is run by openvino: pip install"):
        open_detector(DetectParams(model="movenet-multipose", backend="openvino"), "cpu", "float32", graphs)


def test_the_backend_is_part_of_the_code() -> None:
    assert len({DetectParams(backend=name).code().digest() for name in ("torch", "onnxruntime", "openvino")}) == 3
