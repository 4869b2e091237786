"""RTMPose: CSPNeXt and mmpose's RTMCC head, OpenMMLab's checkpoints, taps. Random weights throughout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hpnet.artifacts.poses import ClipPoses
from hpnet.core.skeleton import COCO17, HALPE26, WHOLEBODY133
from hpnet.estimate import networks
from hpnet.estimate.batches import ClipBoxes, ClipSource
from hpnet.estimate.estimator import PoseEstimator
from hpnet.estimate.params import EstimateParams
from hpnet.estimate.specs import SPECS, cspnext_aliases
from hpnet.estimate.taps import RGB, TapReader, resolve_tap, sample_windows
from hpnet.models.counting import count
from hpnet.weights.places import digest

# the authors' tables: millions of parameters, billions of multiply-accumulates at 256 x 192
PRINTED = {
    "rtmpose-t": (3.34, 0.36), "rtmpose-s": (5.47, 0.68), "rtmpose-m": (13.59, 1.93), "rtmpose-l": (27.66, 4.16),
    "rtmpose-t-halpe26": (3.51, 0.37), "rtmpose-s-halpe26": (5.70, 0.70), "rtmpose-m-halpe26": (13.93, 1.95),
    "rtmpose-l-halpe26": (28.11, 4.19), "rtmpose-t-wholebody": (None, 0.5), "rtmpose-s-wholebody": (None, 0.9),
    "rtmpose-m-wholebody": (None, 2.22), "rtmpose-l-wholebody": (None, 4.52),
}  # fmt: skip
JOINTS = {"": COCO17, "-halpe26": HALPE26, "-wholebody": WHOLEBODY133}


@pytest.mark.parametrize("name", [name for name in SPECS if name.startswith("rtmpose")])
def test_size_and_cost_are_the_printed_ones(name: str) -> None:
    spec = SPECS[name]
    assert spec.skeleton is JOINTS[name[len("rtmpose-t") :]]
    with torch.device("meta"):
        network = networks.build(spec)
        cost = count(network, torch.empty(1, 3, 256, 192))
        x, y = network(torch.empty(1, 3, 256, 192))
    parameters, macs = PRINTED[name]
    if parameters is not None:
        assert cost.parameters / 1e6 == pytest.approx(parameters, rel=0.01)
    assert cost.macs / 1e9 == pytest.approx(macs, rel=0.02, abs=0.05)  # some are printed with one digit
    joints = spec.skeleton.num_joints
    assert (x.shape, y.shape) == ((1, joints, 384), (1, joints, 512))
    size_mb = sum(value.numel() * value.element_size() for value in network.state_dict().values()) / 1e6
    assert size_mb == pytest.approx(spec.weights_mb, abs=0.5)
    assert spec.weights_from.endswith(spec.weights_file)


def test_the_head_has_openmmlab_names_and_shapes() -> None:
    with torch.device("meta"):
        state = networks.build(SPECS["rtmpose-m-halpe26"]).state_dict()
    assert {key: tuple(value.shape) for key, value in state.items() if key.startswith("head.")} == {
        "head.final_layer.weight": (26, 768, 7, 7), "head.final_layer.bias": (26,),
        "head.mlp.0.g": (1,), "head.mlp.1.weight": (256, 48),
        "head.gau.ln.g": (1,), "head.gau.uv.weight": (1152, 256), "head.gau.gamma": (2, 128),
        "head.gau.beta": (2, 128), "head.gau.o.weight": (256, 512), "head.gau.res_scale.scale": (256,),
        "head.cls_x.weight": (384, 256), "head.cls_y.weight": (512, 256),
    }  # fmt: skip


def published(path: Path, state: dict[str, Tensor], **more: Tensor) -> Path:
    """A file as OpenMMLab's trainer writes it: averaged weights in ``state_dict``, raw ones and notes beside them."""
    notes: dict[str, Any] = {"epoch": 420, "dataset_meta": {"sigmas": np.ones(17, np.float32), "name": "coco"}}
    raw = {f"module.{key}": value + 1 for key, value in state.items()}
    kept = {**state, "data_preprocessor.mean": torch.ones(3, 1, 1), "data_preprocessor.std": torch.ones(3, 1, 1)}
    torch.save(
        {"meta": notes, "state_dict": {**kept, **more}, "ema_state_dict": {**raw, "steps": torch.tensor(7)}}, path
    )
    return path


def test_a_checkpoint_of_openmmlab_comes_back_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = networks.build(SPECS["rtmpose-t"]).state_dict()
    file = published(tmp_path / "rtmpose.pth", state)
    loaded, its_digest = networks.load(SPECS["rtmpose-t"], str(file))
    assert its_digest == digest(file)
    assert not loaded.training
    for key, value in loaded.state_dict().items():
        torch.testing.assert_close(value, state[key], rtol=0, atol=0)


def test_other_checkpoints_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    state = networks.build(SPECS["rtmpose-t"]).state_dict()
    extra = published(tmp_path / "extra.pth", state, **{"head.gau.w": torch.ones(2)})
    with pytest.raises(ValueError, match=r"extra.pth does not fit this network: tensors 1 unexpected \(head.gau.w\)"):
        networks.load(SPECS["rtmpose-t"], str(extra))
    whole = published(tmp_path / "t.pth", state)
    with pytest.raises(ValueError, match=r"head.final_layer.weight \(17, 384, 7, 7\) instead of \(26, 384, 7, 7\)"):
        networks.load(SPECS["rtmpose-t-halpe26"], str(whole))
    with pytest.raises(FileNotFoundError, match=r"rtmpose-s_simcc.*hpnet weights fetch rtmpose-s.*weights/"):
        networks.load(SPECS["rtmpose-s"])


@pytest.mark.parametrize(("name", "joints"), [("rtmpose-t", 17), ("rtmpose-t-wholebody", 133)])
def test_a_clip_is_estimated(name: str, joints: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = published(tmp_path / "w.pth", networks.build(SPECS[name]).state_dict())
    params = EstimateParams(model=name, weights=str(weights), taps=("c4", "final", "rgb"), window=3, vectors=True)
    estimator = PoseEstimator(params, device="cpu", batch_size=2)
    assert estimator.meta.taps == {"c4": (192, 16, 12), "final": (joints, 8, 6), "rgb": (3, 256, 192)}
    frames = np.random.default_rng(0).integers(0, 255, (3, 60, 80, 3), dtype=np.uint8)
    boxes = ClipBoxes(np.arange(3), np.zeros(3, np.int64), np.tile([10.0, 5.0, 50.0, 55.0], (3, 1)))
    (clip,) = estimator.estimate_clips([ClipSource("one", lambda: iter(frames), boxes)])
    assert isinstance(clip, ClipPoses)
    assert clip.keypoints_px.shape == (3, 1, joints, 2)
    assert clip.windows["c4"].shape == (3, 1, joints, 3, 3, 192)
    assert clip.vectors is not None
    assert clip.vectors.shape == (3, 1, joints, 896)
    assert clip.scores.min() >= 0
    assert clip.scores.max() <= 1
    assert all(np.isfinite(values.astype(np.float32)).all() for values in clip.windows.values())


def test_every_alias_is_a_map() -> None:
    spec = replace(SPECS["rtmpose-t"], input_size_px=(96, 128))
    network = networks.build(spec)
    with TapReader(network, [*spec.aliases, RGB], spec.aliases) as reader, torch.inference_mode():
        network(torch.zeros(1, 3, 128, 96))
    shapes = {tap: tuple(value.shape[1:]) for tap, value in reader.maps.items() if tap != RGB}
    assert shapes == {
        "c2": (48, 32, 24), "c3": (96, 16, 12), "c4": (192, 8, 6), "c5": (384, 4, 3), "final": (17, 4, 3),
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"'h2s3' is no map of this network: aliases c2, c3, c4, c5, final; rgb"):
        resolve_tap(network, "h2s3", cspnext_aliases())


@pytest.mark.parametrize("tap", ["c2", "c3", "c4"])
def test_a_joint_is_read_where_the_cells_look(tap: str) -> None:
    """The pixels that a sample at a joint depends on lie around the joint, within 0.15 cells of the map."""
    torch.manual_seed(0)
    spec = SPECS["rtmpose-s"]
    network = networks.build(spec)
    width, height = spec.input_size_px
    point = torch.tensor([[[96.0, 128.0]]])
    influence = torch.zeros(height, width)
    with TapReader(network, [tap], spec.aliases) as reader:
        for _ in range(4):
            crops = torch.randn(1, 3, height, width, requires_grad=True)
            network(crops)
            cells = width / reader.maps[tap].shape[-1]
            window = sample_windows(reader.maps[tap], point, spec.input_size_px, 1, cell_centre=spec.cell_centre)
            (gradient,) = torch.autograd.grad((window * torch.randn(window.shape[-1])).sum(), crops)
            influence += gradient[0].square().sum(0)
    influence /= influence.sum()
    x = float((influence.sum(0) * torch.arange(width)).sum())
    y = float((influence.sum(1) * torch.arange(height)).sum())
    assert np.hypot(x - 96, y - 128) < 0.15 * cells, (x, y)
