"""Crops that the device cuts, in the estimator; a CPU is a device too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import hpnet
from hpnet.core.geometry import crop_affine
from hpnet.core.video import read_frames
from hpnet.estimate.batches import ClipBoxes, ClipSource
from hpnet.estimate.crops import cut_on_device
from hpnet.estimate.estimator import PoseEstimator
from hpnet.estimate.params import EstimateParams
from hpnet.estimate.warp import warp_crops

CLIP = Path(hpnet.__file__).parent / "assets" / "clip.mp4"


def test_crops_are_opencvs_but_for_rounding() -> None:
    frame = next(iter(read_frames(CLIP)))
    height, width = frame.shape[:2]
    boxes = np.array([[0.1 * width, 0.1 * height, 0.6 * width, 0.9 * height], [-20.0, -10.0, 60.0, 80.0]])
    affines, size = crop_affine(boxes, (48, 64)), (48, 64)
    found = cut_on_device(torch.from_numpy(frame), affines, size, (1.0, 1.5))
    assert (tuple(found.shape), found.dtype) == ((2, 2, 64, 48, 3), torch.uint8)
    difference = np.abs(found[:, 0].numpy().astype(int) - warp_crops(frame, affines, size))
    assert difference.mean() < 0.5  # OpenCV rounds positions to 1/32 pixel
    assert difference.max() <= 8
    nobody = cut_on_device(torch.from_numpy(frame), affines[:0], size, (1.0,))
    assert tuple(nobody.shape) == (0, 1, 64, 48, 3)


def test_an_estimator_finds_the_same_joints() -> None:
    params = EstimateParams(model="mannequin-simcc", taps=("h2s3",), window=1)
    images = [image for image, _ in zip(read_frames(CLIP), range(3), strict=False)]
    height, width = images[0].shape[:2]
    rows = np.arange(3)
    boxes = ClipBoxes(
        rows, np.zeros(3, np.int64), np.tile([0.2 * width, 0.1 * height, 0.8 * width, 0.9 * height], (3, 1))
    )
    plain, cutting = (PoseEstimator(params, "cpu", batch_size=2, on_device=on) for on in (False, True))
    sources = {
        "host": (plain, lambda: images),
        "crops": (cutting, lambda: images),
        "frames": (cutting, lambda: [torch.from_numpy(image) for image in images]),
    }
    found = {
        name: next(iter(estimator.estimate_clips([ClipSource("a", frames, boxes)])))
        for name, (estimator, frames) in sources.items()
    }
    np.testing.assert_array_equal(found["frames"].keypoints_px, found["crops"].keypoints_px)
    apart = np.abs(found["crops"].keypoints_px - found["host"].keypoints_px)
    assert np.median(apart) < 0.5  # px
    np.testing.assert_allclose(found["crops"].scores, found["host"].scores, atol=0.05)
    assert found["crops"].valid.all()


@pytest.mark.parametrize("on", ["crops", "decode"])
def test_without_a_gpu_the_option_is_refused(on: str, tmp_path: Path) -> None:
    from hpnet.estimate.step import EstimateInput, EstimateOptions, run

    given = EstimateInput({}, tmp_path / "boxes.parquet", 1)
    options = EstimateOptions(device="cpu", on_device=on)
    with pytest.raises(ValueError, match=f"--on-device {on} is for GPUs"):
        run(EstimateParams(), given, tmp_path / "out", tmp_path / "m.json", max_failed=0.1, options=options)
