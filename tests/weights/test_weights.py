import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hpnet.weights import checkpoint as weights
from hpnet.weights import places, simcc
from tests import golden


class Evil:
    def __reduce__(self):
        return os.system, ("echo this must never run",)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "module.module."])
def test_wrappers_and_prefixes_come_off(tmp_path, wrapper, prefix):
    state = {f"{prefix}a.weight": torch.ones(2), f"{prefix}b": torch.zeros(1)}
    torch.save(state if wrapper is None else {wrapper: state, "epoch": 3}, tmp_path / "w.pth")
    assert set(weights.load_state(tmp_path / "w.pth")) == {"a.weight", "b"}


def test_safetensors(tmp_path):
    save_file({"a": torch.arange(3.0)}, tmp_path / "w.safetensors")
    assert weights.load_state(tmp_path / "w.safetensors")["a"].tolist() == [0, 1, 2]


def test_bookkeeping_of_openmmlab_is_read_as_inert_objects(tmp_path):
    from mmengine.logging import HistoryBuffer

    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    torch.save({"state_dict": {"backbone.a": torch.ones(2)}, "message_hub": {"loss": buffer}}, tmp_path / "w.pth")
    assert weights.load_state(tmp_path / "w.pth")["backbone.a"].tolist() == [1, 1]


def test_code_in_a_checkpoint_is_not_run(tmp_path, capfd):
    torch.save({"state_dict": {"a": torch.ones(1)}, "x": Evil()}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="not loaded"):
        weights.load_state(tmp_path / "w.pth")
    assert "must never run" not in capfd.readouterr().out


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_half_downloaded_file_is_named(tmp_path, suffix):
    file = tmp_path / f"w.{suffix}"
    state = {"a": torch.ones(1000)}
    torch.save(state, file) if suffix == "pth" else save_file(state, file)
    file.write_bytes(file.read_bytes()[:700])
    with pytest.raises(ValueError, match=rf"w.{suffix}.*half-downloaded.*fetch"):
        weights.load_state(file)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
def test_file_that_is_no_checkpoint(tmp_path, content):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(ValueError, match="no checkpoint"):
        weights.load_state(tmp_path / "w.pth")


def test_nothing_but_numbers_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="holds no tensors"):
        weights.load_state(tmp_path / "w.pth")


def test_released_names():
    one = torch.ones(1)
    released = {
        "conv1.weight": one,
        "stage4.0.branches.1.0.conv1.weight": one,
        "final_layer.bias": one,
        "mlp_head_x.bias": one,
    }
    assert set(simcc.convert_simcc(released)) == {
        "backbone.conv1.weight", "backbone.stage4.0.branches.1.0.conv1.weight", "head.final_layer.bias",
        "head.mlp_head_x.bias",
    }  # fmt: skip
    with_deconvolution = {"deconv_layers.0.weight": one, "final_layer.bias": one, "mlp_head_x.bias": one}
    assert set(simcc.convert_simcc(with_deconvolution)) == {
        "head.deconv_head.deconv_layers.0.weight", "head.deconv_head.final_layer.bias", "head.mlp_head_x.bias",
    }  # fmt: skip


def test_openmmlab_names_stay_and_old_heads_are_renamed():
    one = torch.ones(1)
    assert set(simcc.convert_pose({"backbone.a": one, "head.b": one})) == {"backbone.a", "head.b"}
    old = {"backbone.a": one, "keypoint_head.final_layer.bias": one, "data_preprocessor.mean": one}
    assert set(simcc.convert_pose(old)) == {"backbone.a", "head.final_layer.bias"}


def test_released_checkpoint_converts_one_to_one():
    """Our keys, in the released words, are the released ones with the released shapes, and conversion leads back."""
    from hpnet.estimate import networks
    from hpnet.estimate.specs import SPECS

    with torch.device("meta"):
        ours = networks.build(SPECS["hrnet-w48-simcc"]).state_dict()
    released = {key.partition(".")[2]: value for key, value in ours.items()}  # without "backbone." and "head."
    assert len(released) == golden.HRNET_TENSORS
    assert golden.digest_of_shapes({key: value.shape for key, value in released.items()}) == golden.HRNET_DIGEST
    assert simcc.convert_pose(released) == ours


def test_misfit_names_missing_unexpected_and_shapes():
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    state = {
        "0.weight": torch.ones(3, 5),
        "0.bias": torch.ones(3),
        "1.weight": torch.ones(1, 3),
        "extra": torch.ones(1),
    }
    with pytest.raises(
        ValueError, match=r"w.pth.*0.weight \(3, 5\) instead of \(3, 2\).*missing \(1.bias\).*\(extra\)"
    ):
        weights.load_into(module, state, "w.pth")


def test_values_that_are_not_finite_are_refused():
    state = {"weight": torch.tensor([[1.0, float("nan")]]), "bias": torch.ones(1)}
    with pytest.raises(ValueError, match="w.pth: tensor weight has values that are not finite"):
        weights.load_into(nn.Linear(2, 1), state, "w.pth")


def test_search_order(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/a.pth").write_bytes(b"1")
    assert places.find("a.pth", "somewhere") == Path("weights/a.pth")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.pth").write_bytes(b"2")
    monkeypatch.setenv("HPNET_WEIGHTS", str(tmp_path / "mine"))
    assert places.find("a.pth", "somewhere") == tmp_path / "mine/a.pth"
    with pytest.raises(FileNotFoundError, match=r"b.pth are missing: fetch https://x.*mine"):
        places.find("b.pth", "https://x")


def test_digest_is_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert places.digest(tmp_path / "f").startswith("ba7816bf")
