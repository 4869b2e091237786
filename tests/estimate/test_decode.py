import math

import numpy as np
import pytest
import torch

from hpnet.estimate import decode
from hpnet.estimate.mmpose_import import mmpose_classes


def _gaussian(bins, centre, sigma):
    return -0.5 * ((torch.arange(bins) - centre) / sigma) ** 2


def test_simcc_takes_the_bin_of_the_maximum():
    x = _gaussian(192, 61, 5.0).expand(2, 17, -1)
    y = _gaussian(256, 200, 5.0).expand(2, 17, -1)
    points = decode.decode_simcc(x, y, 2.0)
    assert points.shape == (2, 17, 2)
    assert points[1, 3].tolist() == [30.5, 100.0]


def test_simcc_equals_mmpose():
    mmpose_classes()
    from mmpose.codecs.utils.post_processing import get_simcc_maximum

    rng = np.random.default_rng(0)
    x, y = rng.uniform(0.01, 1, (3, 17, 192)).astype(np.float32), rng.uniform(0.01, 1, (3, 17, 256)).astype(np.float32)
    locations, values = get_simcc_maximum(x.copy(), y.copy())
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)
    np.testing.assert_array_equal(decode.decode_simcc(tx, ty, 2.0).numpy(), locations / 2)
    np.testing.assert_allclose(decode.simcc_maximum(tx, ty).numpy(), values, rtol=1e-6)


def test_heatmaps_equal_mmpose():
    mmpose_classes()
    from mmpose.codecs.utils import get_heatmap_maximum, refine_keypoints

    rng = np.random.default_rng(1)
    maps = rng.uniform(0.01, 1, (17, 64, 48)).astype(np.float32)
    maps[0, 0, 20], maps[1, 63, 47], maps[2, 30, 1], maps[3, 1, 30] = 2, 2, 2, 2  # borders
    locations, values = get_heatmap_maximum(maps)
    refined = refine_keypoints(locations[None].copy(), maps)[0]
    points, scores = decode.decode_heatmaps(torch.from_numpy(maps)[None], (192, 256))
    np.testing.assert_allclose(points[0].numpy(), refined * 4, atol=1e-5)
    np.testing.assert_allclose(scores[0].numpy(), np.clip(values, 0, 1), rtol=1e-6)


def test_sharpness_is_one_for_the_target_itself_whatever_the_offset():
    x, y = _gaussian(192, 80, 5.0)[None, None] + 37.0, _gaussian(256, 99, 5.0)[None, None] - 4.0
    assert decode.simcc_sharpness(x, y, 5.0).item() == pytest.approx(1.0, abs=1e-3)
    blurred = _gaussian(192, 80, 20.0)[None, None]
    assert decode.simcc_sharpness(blurred, y, 5.0).item() == pytest.approx(0.25, abs=0.01)
    flat = torch.zeros(1, 1, 192)
    assert decode.simcc_sharpness(flat, y, 5.0).item() == pytest.approx(5 * math.sqrt(2 * math.pi) / 192, rel=1e-4)
