"""hpnet export: the authors' .npy, and ONNX."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from hpnet.artifacts.features import FeatureMeta, Features
from hpnet.core.skeleton import COCO17
from hpnet.project import export as onnx_export
from hpnet.stages.export import command
from hpnet.train.datasets import ChannelStatistics
from hpnet.train.params import GraphParams, TopologyParams
from hpnet.train.topology import assemble, load_topology

SIZES = {"in_channels": 6, "num_classes": 4, "num_joints": 17, "num_persons": 2}


def pool_folder(folder: Path) -> Features:
    """Three clips: one person, two people, nobody."""
    array = np.random.default_rng(0).uniform(1, 9, (4, 8, 17, 6)).astype(np.float16)
    array[3] = 0
    index = pd.DataFrame(
        [("a/one", 0, 0, True), ("a/two", 0, 1, True), ("a/two", 1, 2, True), ("none", 0, 3, False)],
        columns=["clip_id", "person", "row", "valid"],
    )
    features = Features(array, index, FeatureMeta("pooled", "h2s3", 1, "mean", COCO17))
    features.save(folder)
    return features


def test_one_npy_per_clip(tmp_path: Path) -> None:
    features = pool_folder(tmp_path / "pool")
    arguments = ["features-hpnet", "--input", str(tmp_path / "pool"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "3 files (8, 2, 17, 6)" in result.output
    one, two, none = (np.load(tmp_path / "out" / f"{name}.npy") for name in ("a/one", "a/two", "none"))
    assert one.dtype == np.float32
    for slot, row in ((one[:, 0], 0), (one[:, 1], 0), (two[:, 0], 1), (two[:, 1], 2)):
        np.testing.assert_array_equal(slot, features.array[row].astype(np.float32))
    assert not none.any()


def test_missing_input_says_what_to_run(tmp_path: Path) -> None:
    for layout, remedy in (("features-hpnet", "hpnet pool"), ("onnx", "hpnet train hpj")):
        arguments = [layout, "--input", str(tmp_path / "hpj"), "--out", str(tmp_path / "out")]
        error = CliRunner().invoke(command, arguments).exception
        assert isinstance(error, FileNotFoundError)
        assert remedy in str(error)


@pytest.fixture(scope="module", params=[1, 2], ids=["as it is", "two draws"])
def stream(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stream folder as `hpnet train` leaves it, with random weights; also one that averages test draws."""
    folder = tmp_path_factory.mktemp("train") / "hpb"
    folder.mkdir()
    torch.manual_seed(0)
    graph = GraphParams(base_channels=8, blocks=2)
    params = TopologyParams(graph=graph, crop=0.5, places="random", test_draws=request.param)
    statistics = ChannelStatistics(torch.full((6,), 4.0), torch.full((6,), 2.0))
    model = assemble("hpb", params, SIZES, COCO17, statistics)
    save_file(model.state_dict(), folder / "model.safetensors")
    card = {"stream": "hpb", "params": params.model_dump(mode="json"), "sizes": SIZES, "frames": 8,
            "skeleton": COCO17.to_json()}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(card))
    return folder


def test_onnx_without_its_packages_names_the_command(
    stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="needs onnx and onnxscript: pip install onnx onnxscript"):
        onnx_export.export_onnx(stream, tmp_path)


def test_onnx_gives_the_same_logits(stream: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    arguments = ["onnx", "--input", str(stream), "--out", str(tmp_path)]
    assert CliRunner().invoke(command, arguments, catch_exceptions=False).exit_code == 0
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"))
    model = load_topology(stream)
    for count in (1, 3):
        features = torch.from_numpy(np.random.default_rng(count).uniform(0, 9, (count, 6, 8, 17, 2)).astype(np.float32))
        valid = torch.tensor([[True, clip % 2 == 0] for clip in range(count)])
        (got,) = session.run(None, {"features": features.numpy(), "valid": valid.numpy()})
        with torch.inference_mode():
            np.testing.assert_allclose(got, model(features, valid).numpy(), rtol=1e-3, atol=1e-4)
