"""Backends of the pose network: the results of torch, graphs that are kept, and 8-bit integers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from hpnet.artifacts.calibration import CalibrationCrops
from hpnet.artifacts.poses import ClipPoses
from hpnet.core.video import load_clip
from hpnet.estimate import exporting
from hpnet.estimate.backends import Running, open_estimator
from hpnet.estimate.batches import ClipBoxes, ClipSource, CropPoses, Estimator
from hpnet.estimate.params import EstimateParams
from hpnet.weights.places import ASSETS, packaged

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
RUNTIMES = ("onnxruntime", "openvino")
WIDE = "blocks.9@1.5"
Crops = NDArray[np.uint8]


def params(backend: str, **values: object) -> EstimateParams:
    given = {
        "model": "movenet-lightning",
        "taps": ("blocks.9", WIDE),
        "window": 3,
        "backend": backend,
    }
    return EstimateParams.model_validate(given | values)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="module")
def opened(graphs: Path) -> Callable[[str], Estimator]:
    made: dict[str, Estimator] = {}

    def one(backend: str) -> Estimator:
        if backend in RUNTIMES:
            pytest.importorskip(backend)
        if backend not in made:
            made[backend] = open_estimator(params(backend), Running("cpu", batch=2, graphs=graphs))
        return made[backend]

    return one


def pictures(count: int, height: int, width: int) -> Crops:
    """Blurred noise, (N, height, width, 3)."""
    noise = np.random.default_rng(0).integers(0, 256, (count, height // 8, width // 8, 3), dtype=np.uint8)
    return np.stack([cv2.resize(one, (width, height), interpolation=cv2.INTER_CUBIC) for one in noise])


def crops(count: int) -> Crops:
    return pictures(2 * count, 256, 192).reshape(count, 2, 256, 192, 3)


def same(one: CropPoses, other: CropPoses) -> None:
    np.testing.assert_allclose(one.keypoints_crop_px, other.keypoints_crop_px, atol=1e-3)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-3)
    assert one.windows.keys() == other.windows.keys()
    for tap, values in one.windows.items():
        scale = np.abs(values).max()
        assert np.abs(values.astype(np.float32) - other.windows[tap]).max() <= 1e-3 * scale


@pytest.mark.parametrize("backend", RUNTIMES)
def test_a_backend_gives_what_torch_gives(opened: Callable[[str], Estimator], backend: str) -> None:
    torch, other = opened("torch"), opened(backend)
    assert (other.meta, other.widths) == (torch.meta, torch.widths)
    for count in (1, 3):
        same(torch(crops(count)), other(crops(count)))


@pytest.mark.parametrize("people", [0, 1, 3])
def test_people_do_not_matter(opened: Callable[[str], Estimator], people: int) -> None:
    frames = pictures(1, 240, 320)
    boxes = np.array([[10.0 + 60 * m, 20, 120 + 60 * m, 220] for m in range(people)]).reshape(-1, 4)
    asked = ClipBoxes(np.zeros(people, np.int64), np.arange(people), boxes)
    found = []
    for backend in ("torch", "onnxruntime"):
        (clip,) = opened(backend).estimate_clips([ClipSource("a", partial(iter, frames), asked)])
        assert isinstance(clip, ClipPoses)
        found.append(clip)
    one, other = found
    assert (one.valid.tolist(), int(one.valid.sum())) == (other.valid.tolist(), people)
    np.testing.assert_allclose(one.keypoints_px, other.keypoints_px, atol=1e-3)


def test_a_graph_is_written_once_and_again_for_other_weights(
    graphs: Path, opened: Callable[[str], Estimator], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened("onnxruntime")
    written: list[Path] = []
    real = exporting._write
    monkeypatch.setattr(exporting, "_write", lambda given, file: written.append(file) or real(given, file))
    running = Running("cpu", graphs=graphs)
    for backend in RUNTIMES:
        if backend == "onnxruntime" or "openvino" in sys.modules:
            open_estimator(params(backend, box_scale=1.5), running)  # crops are cut outside of the graph
    assert not written
    state = load_file(packaged("movenet-lightning.safetensors"))
    save_file({name: value * np.float16(0.5) for name, value in state.items()}, tmp_path / "other.safetensors")
    other = open_estimator(params("onnxruntime", weights=str(tmp_path / "other.safetensors")), running)
    assert len(written) == 1
    assert np.abs(other(crops(1)).scores - opened("onnxruntime")(crops(1)).scores).max() > 1e-3


@pytest.mark.parametrize("backend", RUNTIMES)
def test_a_missing_package_is_named(
    graphs: Path, opened: Callable[[str], Estimator], monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    opened("onnxruntime")
    monkeypatch.setitem(sys.modules, backend, None)
    with pytest.raises(ModuleNotFoundError, match=rf"run by {backend}: pip install 'hpnet\[cpu\]'"):
        open_estimator(params(backend), Running("cpu", graphs=graphs))


def test_what_cannot_be_is_refused(graphs: Path) -> None:
    for given, running, said in (
        ({}, Running("cuda"), "--device cuda: onnxruntime runs on the CPU"),
        ({}, Running(compiled=True), "--compile is of the backend torch"),
        ({"parity": "released-eval"}, Running(), "is computed by torch"),
        ({}, Running(precision="bfloat16", graphs=graphs), "onnxruntime computes in float32"),
    ):
        with pytest.raises(ValueError, match=said):
            open_estimator(params("onnxruntime", **given), running)
    for backend in ("torch", "onnxruntime"):
        with pytest.raises(ValueError, match=f"int8 is not computed by {backend}: set backend to openvino"):
            params(backend, int8="weights/calibration.safetensors")
    with pytest.raises(ValueError, match="expected 'torch', 'onnxruntime' or 'openvino'"):
        params("onnx")


def test_the_backend_is_part_of_the_code(tmp_path: Path) -> None:
    calibration = tmp_path / "calibration.safetensors"
    calibration.write_bytes(b"one")
    chosen = [params(backend) for backend in ("torch", *RUNTIMES)]
    chosen.append(params("openvino", int8=str(calibration)))
    digests = [one.code().digest() for one in chosen]
    assert len(set(digests)) == 4
    calibration.write_bytes(b"other")
    assert chosen[-1].code().digest() != digests[-1]


def test_8_bit_integers_are_near(graphs: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    frames = [cv2.resize(frame, (192, 256)) for frame in load_clip(ASSETS / "clip.mp4", 4)]
    people = np.stack([frames, frames], axis=1)
    file = tmp_path / "calibration.safetensors"
    CalibrationCrops("movenet-lightning", people).save(file)
    given = {"taps": ("blocks.9",)}  # reads one width of the two that were cut
    running = Running("cpu", graphs=graphs)
    exact = open_estimator(params("openvino", **given), running)(people[:, :1])
    found = open_estimator(params("openvino", int8=str(file), **given), running)(people[:, :1])
    apart = np.linalg.norm(found.keypoints_crop_px - exact.keypoints_crop_px, axis=-1)
    assert 0 < np.median(apart) < 4
    CalibrationCrops("movenet-thunder", crops(1)).save(file)
    with pytest.raises(ValueError, match="for movenet-thunder, expected .* for movenet-lightning: run `hpnet weights"):
        open_estimator(params("openvino", int8=str(file), **given), running)
    with pytest.raises(FileNotFoundError, match="is missing: `hpnet weights calibrate` writes it"):
        open_estimator(params("openvino", int8=str(tmp_path / "absent"), **given), running)
    file.write_bytes(b"no safetensors")
    with pytest.raises(ValueError, match="holds no crops for 8-bit integers"):
        open_estimator(params("openvino", int8=str(file), **given), running)
