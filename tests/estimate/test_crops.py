import numpy as np
import torch

from hpnet.core.geometry import crop_affine, invert_affine
from hpnet.estimate.crops import bilinear_crops, normalise
from hpnet.estimate.families import IMAGENET_MEAN, IMAGENET_SD
from hpnet.estimate.warp import warp_crops

SIZE = (48, 64)
BOXES = np.array([[10.0, 5.0, 60.0, 90.0], [-20.0, -10.0, 30.0, 40.0], [70.0, 50.0, 140.0, 120.0]])


def _frames():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (2, 12, 16, 3)).astype(np.float32)
    smooth = torch.nn.functional.interpolate(
        torch.from_numpy(coarse).permute(0, 3, 1, 2), size=(96, 128), mode="bicubic"
    )
    return smooth.permute(0, 2, 3, 1).clamp(0, 255).to(torch.uint8).contiguous()


def test_device_crops_equal_opencv_crops():
    frames = _frames()
    affines = crop_affine(BOXES, SIZE)
    expected = warp_crops(frames[1].numpy(), affines, SIZE)
    which = torch.ones(3, dtype=torch.int64)
    got = bilinear_crops(frames, which, torch.from_numpy(invert_affine(affines)).float(), SIZE)
    difference = (got.permute(0, 2, 3, 1) - torch.from_numpy(expected).float()).abs()
    assert difference.mean() < 0.5  # OpenCV rounds to whole numbers and to 1/32 pixel
    assert difference.max() < 8


def test_outside_the_frame_is_black():
    frames = np.full((40, 40, 3), 200, np.uint8)
    crop = warp_crops(frames, crop_affine([[-30.0, -30.0, 10.0, 20.0]], SIZE), SIZE)[0]
    assert crop[0, 0].sum() == 0
    assert crop[-20, -10].tolist() == [200, 200, 200]


def test_normalise_is_imagenet():
    crops = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    got = normalise(crops, IMAGENET_MEAN, IMAGENET_SD)[0, :, 0, 0]
    expected = (1 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_SD)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5)


def test_no_affines_no_crops():
    assert warp_crops(np.zeros((4, 4, 3), np.uint8), np.zeros((0, 2, 3)), SIZE).shape == (0, 64, 48, 3)
