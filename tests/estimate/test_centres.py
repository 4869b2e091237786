"""Where the cells of a pose network's maps look, and reading features there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hpnet.estimate import networks
from hpnet.estimate.estimator import PoseEstimator
from hpnet.estimate.families import NetworkSpec
from hpnet.estimate.params import EstimateParams
from hpnet.estimate.specs import SPECS
from hpnet.estimate.taps import TapReader, sample_windows

SMALL = (96, 128)
VIT = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3, "part_features": 12}
FAMILIES: dict[str, tuple[NetworkSpec, tuple[str, ...]]] = {
    "HRNet, SimCC": (SPECS["mannequin-simcc"], ("h1s1", "h2s1", "h2s2", "h3s2", "h1s3", "h2s3", "h3s3")),
    "HRNet, heatmaps": (SPECS["mannequin-heatmap"], ("h2s3",)),
    "ResNet": (replace(SPECS["res50"], input_size_px=SMALL), ("c2", "c3", "c4", "c5")),
    "RTMPose": (replace(SPECS["rtmpose-t"], input_size_px=SMALL), ("c2", "c3")),
    "MoveNet": (replace(SPECS["movenet-lightning"], input_size_px=SMALL), ("blocks.5", "blocks.9", "p3")),
    "ViTPose": (
        replace(
            SPECS["vitpose-plus-small"],
            input_size_px=SMALL,
            backbone={**SPECS["vitpose-plus-small"].backbone, **VIT},
            head_channels=48,
        ),
        ("layer1", "layer3"),
    ),
}


def looks_at(network: torch.nn.Module, spec: NetworkSpec, taps: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """Tap -> centre, x and y, of the squared gradients of its middle cell, in cells from what the family states."""
    width, height = spec.input_size_px
    stated = networks.cell_centre(spec, "structure")
    found = {}
    with TapReader(network, taps, spec.aliases) as reader:
        influence = {tap: torch.zeros(height, width) for tap in taps}
        for _ in range(4):
            crop = torch.randn(1, 3, height, width, requires_grad=True)
            network(crop)
            maps = dict(reader.maps)
            for tap in taps:
                rows, columns = maps[tap].shape[-2:]
                cell = maps[tap][0, :, rows // 2, columns // 2]
                (gradient,) = torch.autograd.grad((cell * torch.randn(len(cell))).sum(), crop, retain_graph=True)
                influence[tap] += gradient[0].square().sum(0)
        for tap in taps:
            rows, columns = maps[tap].shape[-2:]
            weights = influence[tap] / influence[tap].sum()
            stride = width / columns
            x = float((weights.sum(0) * torch.arange(width)).sum()) - (columns // 2) * stride
            y = float((weights.sum(1) * torch.arange(height)).sum()) - (rows // 2) * stride
            found[tap] = (x - stated * (stride - 1)) / stride, (y - stated * (stride - 1)) / stride
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_the_cells_of_every_family_look_where_it_states(family: str) -> None:
    torch.manual_seed(0)
    spec, taps = FAMILIES[family]
    for tap, (x, y) in looks_at(networks.build(spec), spec, taps).items():
        assert np.hypot(x, y) < 0.25, (tap, x, y)


def test_every_network_is_of_a_family_that_states_it() -> None:
    for spec in SPECS.values():
        assert 0 <= networks.cell_centre(spec, "structure") <= 1
        assert networks.cell_centre(spec, "network") == spec.cell_centre
        assert networks.cell_centre(spec, "middle") == 0.5


@pytest.mark.parametrize("centre", [0.0, 0.37, 0.5, 1.0])
@pytest.mark.parametrize("stride", [4, 8])
def test_a_map_of_the_places_where_its_cells_look_gives_the_place_of_a_joint(centre: float, stride: int) -> None:
    columns, rows = 24, 32
    places = torch.stack(torch.meshgrid(torch.arange(columns), torch.arange(rows), indexing="xy"))[None].float()
    looked = places * stride + centre * (stride - 1)  # (1, 2, h, w) as x, y
    joints = torch.tensor([[[30.0, 41.5], [50.25, 60.0]]])
    size = (columns * stride, rows * stride)
    found = sample_windows(looked, joints, size, 1, cell_centre=centre)
    torch.testing.assert_close(found[:, :, 0, 0], joints, rtol=0, atol=1e-3)


def test_the_reading_moves_features_and_no_keypoint() -> None:
    crops = np.random.default_rng(0).integers(0, 255, (2, 128, 96, 3), np.uint8)
    found = {}
    for cells in ("network", "middle", "structure"):
        estimator = PoseEstimator(EstimateParams.model_validate({"cells": cells, "window": 1}), device="cpu")
        found[cells] = estimator.submit(crops[:, None])()
    for one in found.values():
        np.testing.assert_array_equal(one.keypoints_crop_px, found["network"].keypoints_crop_px)
        np.testing.assert_array_equal(one.scores, found["network"].scores)
    windows = {cells: one.windows["h2s3"] for cells, one in found.items()}
    np.testing.assert_array_equal(windows["network"], windows["middle"])  # the mannequin networks' entries say so
    assert np.abs(windows["structure"] - windows["middle"]).max() > 0.01


def test_a_released_reading_has_no_other() -> None:
    params = EstimateParams.model_validate({"cells": "structure", "parity": "released-eval"})
    with pytest.raises(ValueError, match=r"set estimate\.cells to 'network'"):
        PoseEstimator(params, device="cpu")
