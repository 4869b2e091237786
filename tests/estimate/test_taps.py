import pytest
import torch
from torch import nn

from hpnet.estimate import networks
from hpnet.estimate.specs import SPECS, hrnet_aliases
from hpnet.estimate.taps import TapReader, resolve_tap, sample_windows
from tests import golden


@pytest.fixture(scope="module")
def network():
    return networks.build(SPECS["mannequin-simcc"])


def test_paper_names_are_the_released_maps():
    aliases = hrnet_aliases()
    assert aliases["h2s3"] == "backbone.stage4.0.branches.1"
    assert len(aliases) == 8
    assert "h3s1" not in aliases


def test_every_alias_has_its_shape(network):
    aliases = hrnet_aliases()
    with TapReader(network, [*aliases, "rgb"], aliases) as reader, torch.inference_mode():
        crops = torch.randn(2, 3, 128, 96)
        network(crops)
    for name in aliases:
        scale = 2 ** (int(name[1]) - 1)
        assert reader.maps[name].shape == (2, 16 * scale, 32 // scale, 24 // scale), name
    assert reader.maps["rgb"] is crops
    reader.maps.clear()
    network(torch.randn(1, 3, 128, 96))
    assert not reader.maps, "hooks must be gone after the block"


def test_path_with_brackets(network):
    assert resolve_tap(network, "backbone.stage4[0].branches[1]", {}) == "backbone.stage4.0.branches.1"


def test_branch_that_a_stage_lacks_lists_what_there_is(network):
    with pytest.raises(ValueError, match=r"'h3s1'.*h1s1, h2s1, h1s2") as error:
        resolve_tap(network, "h3s1", hrnet_aliases())
    assert "backbone.stage2" in str(error.value)
    with pytest.raises(ValueError, match=r"branches\.0, backbone\.stage2\.0\.branches\.1$"):
        resolve_tap(network, "backbone.stage2.0.branches.2", {})


def test_alias_of_another_network_lists_module_paths():
    with pytest.raises(ValueError, match=r"no aliases for this network.*backbone\.layer1"):
        resolve_tap(networks.build(SPECS["res50"]), "h2s3", {})


def test_module_that_gives_no_map_is_refused(network):
    with (
        TapReader(network, ["head.mlp_head_x"], {}),
        pytest.raises(ValueError, match="expected one map"),
        torch.inference_mode(),
    ):
        network(torch.zeros(1, 3, 128, 96))


def _ramp(height, width, size):
    """A map whose channels are the crop coordinates of its cells' centres."""
    x = (torch.arange(width) + 0.5) * size[0] / width - 0.5
    y = (torch.arange(height) + 0.5) * size[1] / height - 0.5
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)])[None]


@pytest.mark.parametrize("shape", [(32, 24), (16, 12), (128, 96), (5, 7)])
def test_pooling_a_map_of_coordinates_gives_the_coordinates(shape):
    size = (96, 128)
    points = torch.rand(1, 17, 2) * (torch.tensor(size) * 0.5) + torch.tensor(size) * 0.25
    window = sample_windows(_ramp(*shape, size), points, size, 1)
    assert window.shape == (1, 17, 1, 1, 2)
    torch.testing.assert_close(window[:, :, 0, 0], points, atol=1e-3, rtol=1e-5)


def test_neighbours_are_one_cell_apart_rows_vertical():
    size, (height, width) = (96, 128), (16, 12)
    points = torch.tensor([[[50.0, 60.0]]])
    window = sample_windows(_ramp(height, width, size), points, size, 3)[0, 0]
    steps = torch.tensor([-8.0, 0.0, 8.0])
    torch.testing.assert_close(window[..., 0], (50 + steps).expand(3, 3), atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(window[..., 1], (60 + steps)[:, None].expand(3, 3), atol=1e-3, rtol=1e-5)


def test_border_value_continues_by_default_and_zeros_do_when_released():
    ones, corner = torch.ones(1, 1, 4, 3), torch.tensor([[[0.0, 0.0]]])
    assert sample_windows(ones, corner, (96, 128), 3).min() == 1
    released = sample_windows(ones, corner, (96, 128), 3, released=True)[0, 0, :, :, 0]
    assert released.tolist() == [[0, 0, 0], [0, 1, 1], [0, 1, 1]]


def test_released_reading_is_grid_sample_with_aligned_corners():
    feature_map, points = torch.randn(2, 5, 32, 24), torch.rand(2, 17, 2) * torch.tensor([191.0, 255.0])
    grid = torch.stack([points[..., 0] / 96 - 1, points[..., 1] / 128 - 1], -1)[:, :, None]
    expected = nn.functional.grid_sample(feature_map, grid, align_corners=True)[..., 0].transpose(1, 2)
    got = sample_windows(feature_map, points, (192, 256), 1, released=True)[:, :, 0, 0]
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_released_pooled_values_come_from_the_four_cells_around_a_joint():
    """Each joint in a map that holds the released cells around it and nonsense elsewhere."""
    released = {key: torch.from_numpy(value) for key, value in golden.load("pooling").items()}
    people, joints, channels = released["pooled"].shape
    feature_map = torch.full((people * joints, channels, 32, 24), 1e4)
    for own, (x, y), cells in zip(
        feature_map, released["corners"].flatten(0, 1), released["cells"].flatten(0, 1), strict=True
    ):
        own[:, y : y + 2, x : x + 2] = cells.permute(2, 0, 1)  # (2, 2, C) -> (C, 2, 2)
    points = released["points_crop_px"].reshape(-1, 1, 2)
    got = sample_windows(feature_map, points, (192, 256), 1, released=True).reshape(people, joints, channels)
    torch.testing.assert_close(got, released["pooled"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("window", [0, 2, 4])
def test_even_window_is_refused(window):
    with pytest.raises(ValueError, match="odd number"):
        sample_windows(torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 2), (8, 8), window)
