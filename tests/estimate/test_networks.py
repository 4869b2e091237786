import copy
import hashlib

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from hpnet.estimate import networks
from hpnet.estimate.estimator import crop_statistics, fuse_batch_norms
from hpnet.estimate.specs import SPECS, network_spec
from hpnet.weights.places import ASSETS


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    built = networks.build(SPECS["mannequin-simcc"])
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
    return built


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("mannequin-simcc", [(1, 17, 192), (1, 17, 256)]),
        ("mannequin-heatmap", [(1, 17, 32, 24)]),
        ("res50-simcc", [(1, 17, 384), (1, 17, 512)]),
        ("res50-hand", [(1, 21, 64, 64)]),
    ],
)
def test_output_shapes(name, shapes):
    width, height = SPECS[name].input_size_px
    with torch.inference_mode():
        output = networks.build(SPECS[name])(torch.zeros(1, 3, height, width))
    outputs = output if isinstance(output, tuple) else (output,)
    assert [tuple(o.shape) for o in outputs] == shapes


def test_packaged_network_is_small(network):
    assert 2 * sum(p.numel() for p in network.parameters()) <= 4e6, "float16 weights must stay under 4 MB"


def test_unknown_name_lists_the_choices():
    with pytest.raises(ValueError, match=r"estimate.model: 'hrnet'.*hrnet-w48-simcc"):
        network_spec("hrnet")


def test_missing_weights_name_file_origin_and_place(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"pose_hrnet_w48_256x192.*fetch .*SimCC.*weights/"):
        networks.load(SPECS["hrnet-w48-simcc"])
    with pytest.raises(FileNotFoundError, match=r"estimate.weights: nowhere.pth is missing"):
        networks.load(SPECS["res50"], "nowhere.pth")


def test_fusing_changes_nothing(network):
    fused = copy.deepcopy(network)
    fuse_batch_norms(fused)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())
    crops = torch.randn(2, 3, 128, 96)
    with torch.inference_mode():
        for got, expected in zip(fused(crops), network(crops), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)


def test_fusing_follows_deconvolutions():
    network = networks.build(SPECS["res50-hand"])
    crops = torch.randn(1, 3, 256, 256)
    with torch.inference_mode():
        expected = network(crops)
        fuse_batch_norms(network)
        torch.testing.assert_close(network(crops), expected, rtol=1e-3, atol=1e-4)


def test_fusing_refuses_a_norm_without_its_convolution():
    with pytest.raises(ValueError, match="does not follow a convolution"):
        fuse_batch_norms(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3)).eval())


def test_crop_statistics_equal_training_mode_on_single_crops(network):
    trained = copy.deepcopy(network).train()
    ours = copy.deepcopy(network)
    crop_statistics(ours)
    crops = torch.randn(3, 3, 128, 96)
    with torch.no_grad():
        batched = ours(crops)
        for index in range(3):
            for got, expected in zip(batched, trained(crops[index : index + 1]), strict=True):
                torch.testing.assert_close(got[index], expected[0], rtol=1e-3, atol=1e-3)
    assert not torch.allclose(batched[0], network(crops)[0], atol=1e-2), "statistics must have changed something"


@pytest.mark.parametrize("name", ["mannequin-simcc", "mannequin-heatmap"])
def test_packaged_weights_are_in_the_network_as_they_are_in_the_file(name):
    loaded, digest = networks.load(SPECS[name])
    file = ASSETS / "mannequin-simcc.safetensors"
    stored = load_file(file)
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
    state = {key: value for key, value in loaded.state_dict().items() if not key.endswith("num_batches_tracked")}
    assert set(stored) - set(state) == (set() if name == "mannequin-simcc" else {
        f"head.mlp_head_{axis}.{part}" for axis in "xy" for part in ("weight", "bias")
    })  # fmt: skip
    for key, value in state.items():
        assert torch.equal(value, stored[key].float()), key
