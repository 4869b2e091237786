"""ViTPose and the hand model: heatmaps, taps, weights of transformers' own networks. Random weights, small sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import VitPoseForPoseEstimation

from hpnet.core.skeleton import HAND21
from hpnet.estimate import networks
from hpnet.estimate.estimator import PoseEstimator
from hpnet.estimate.families import NetworkSpec
from hpnet.estimate.params import EstimateParams
from hpnet.estimate.specs import SPECS, resnet_aliases
from hpnet.estimate.taps import TapReader, resolve_tap
from hpnet.models.vitpose import VitPoseNetwork

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2}
EXPERTS = {"num_experts": 6, "part_features": 8}


def tiny(simple: bool, experts: bool = False) -> VitPoseNetwork:
    torch.manual_seed(0)
    network = VitPoseNetwork(SIZES | (EXPERTS if experts else {}), (48, 64), 17, simple).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize("simple", [True, False])
@pytest.mark.parametrize("experts", [True, False])
def test_equals_transformers_own_forward_and_state_dict(simple: bool, experts: bool) -> None:
    from transformers import VitPoseBackboneConfig, VitPoseConfig

    network = tiny(simple, experts)
    sizes = SIZES | (EXPERTS if experts else {})
    backbone = VitPoseBackboneConfig(image_size=(64, 48), out_indices=[2], **sizes)
    reference = VitPoseForPoseEstimation(
        VitPoseConfig(backbone_config=backbone, use_simple_decoder=simple, num_labels=17)
    ).eval()
    reference.load_state_dict(network.state_dict())  # the very same names
    crops = torch.randn(3, 3, 64, 48)
    with torch.inference_mode():
        expected = reference(crops, dataset_index=torch.zeros(3, dtype=torch.long) if experts else None).heatmaps
        got = network(crops)
    assert got.shape == (3, 17, 16, 12)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_tokens_are_maps_in_the_right_order() -> None:
    network = tiny(simple=True)
    aliases = SPECS["vitpose-base"].aliases
    assert list(aliases) == ["tokens", *(f"layer{k}" for k in range(1, 13))]
    with TapReader(network, ["layer1", "tokens", "rgb"], aliases) as reader, torch.inference_mode():
        crops = torch.randn(2, 3, 64, 48)
        network(crops)
        tokens = network.backbone.embeddings(crops)
        tokens = network.backbone.encoder.layer[0](tokens)
        first, last = reader.maps["layer1"], reader.maps["tokens"]
    assert first.shape == last.shape == (2, 32, 4, 3)
    torch.testing.assert_close(first[1, :, 2, 1], tokens[1, 2 * 3 + 1])
    with pytest.raises(ValueError, match=r"'h2s3' is no map of this network: aliases tokens, layer1"):
        resolve_tap(network, "h2s3", aliases)


def test_estimator_runs_vitpose_with_official_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SPECS["vitpose-base"]
    small = NetworkSpec(**{
        **spec.__dict__, "backbone": SIZES, "input_size_px": (48, 64), "head_channels": 32,
    })  # fmt: skip
    monkeypatch.setitem(SPECS, "vitpose-base", small)
    save_file({k: v.contiguous() for k, v in tiny(simple=False).state_dict().items()}, tmp_path / "w.safetensors")
    params = EstimateParams(
        model="vitpose-base", weights=str(tmp_path / "w.safetensors"), taps=("tokens", "layer1", "rgb"), window=3
    )
    estimator = PoseEstimator(params, device="cpu", batch_size=2)
    poses = estimator(np.random.default_rng(0).integers(0, 255, (2, 64, 48, 3), dtype=np.uint8))
    assert poses.keypoints_crop_px.shape == (2, 17, 2)
    assert poses.windows["tokens"].shape == (2, 17, 3, 3, 32)
    assert np.isfinite(poses.windows["layer1"].astype(np.float32)).all()
    assert estimator.meta.taps == {"tokens": (32, 4, 3), "layer1": (32, 4, 3), "rgb": (3, 64, 48)}


@pytest.mark.parametrize("name", [n for n in SPECS if n.startswith("vitpose")])
def test_published_sizes(name: str) -> None:
    with torch.device("meta"):
        state = networks.build(SPECS[name]).state_dict()
    size_mb = sum(4 * value.numel() for value in state.values()) / 1e6
    assert size_mb == pytest.approx(SPECS[name].weights_mb, rel=0.01)


def test_the_hand_model_has_21_joints_and_taps() -> None:
    spec = SPECS["res50-hand"]
    assert spec.skeleton is HAND21
    assert HAND21.num_joints == 21
    with torch.device("meta"):
        network = networks.build(SPECS["res50-hand"])
    for alias in resnet_aliases():
        assert isinstance(network.get_submodule(resolve_tap(network, alias, spec.aliases)), nn.Module)
