"""The released extractor: number by number on the first frames of two real clips, its geometry on a drawn one."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from hpnet.core.geometry import apply_affine, invert_affine
from hpnet.core.video import read_frames
from hpnet.estimate import networks
from hpnet.estimate.batches import ClipBoxes, ClipSource
from hpnet.estimate.estimator import PoseEstimator
from hpnet.estimate.families import IMAGENET_MEAN, IMAGENET_SD
from hpnet.estimate.params import EstimateParams
from hpnet.estimate.specs import SPECS

SHARED = Path(__file__).resolve().parents[3] / "shared"
PARITY = SHARED / "data/parity"
CLIPS = ("S001C001P001R001A001", "S001C001P001R001A050")
FRAMES = 1

needs_parity = pytest.mark.skipif(not PARITY.is_dir(), reason="needs the shared parity data")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    spec = importlib.util.spec_from_file_location("make_weights", PARITY / "make_weights.py")
    make_weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_weights)
    file = tmp_path_factory.mktemp("weights") / "w48.pth"
    torch.save(make_weights.state_dict(1, "stats_seed1.npz"), file)
    return str(file)


@needs_parity
@pytest.mark.parametrize("mode", ["eval", "trainbn"])
def test_first_frames_of_both_clips(weights, mode):
    params = EstimateParams(model="hrnet-w48-simcc", weights=weights, window=1, parity=f"released-{mode}")
    estimator = PoseEstimator(params, device="cpu", batch_size=4)
    for clip_id in CLIPS:
        with np.load(PARITY / f"{clip_id}_seed1_{mode}.npz") as file:
            expected = dict(file)
        persons = len(expected["boxes_xyxy"])
        where = np.indices((FRAMES, persons)).reshape(2, -1)
        boxes = ClipBoxes(where[0], where[1], expected["boxes_xyxy"][where[1]])
        path = SHARED / f"data/ntu/{clip_id}_rgb.avi"
        (clip,) = estimator.estimate_clips([ClipSource(clip_id, lambda path=path: read_frames(path, FRAMES), boxes)])
        np.testing.assert_allclose(clip.frame_to_crop[0], expected["affine_frame_to_crop"], atol=1e-4)
        crop_px = np.stack([apply_affine(clip.frame_to_crop[:, m], clip.keypoints_px[:, m]) for m in range(persons)], 1)
        reference = expected["keypoints_crop_px"][:FRAMES, :persons]
        assert (np.abs(crop_px - reference) < 0.05).all(-1).mean() >= 0.995
        # With align_corners=False, frame 0 of 64 resampled from 16 lies before frame 0's centre: it is frame 0.
        pooled, released = clip.windows["h2s3"][0, :, :, 0, 0].astype(np.float32), expected["pooled"][0, :persons]
        assert np.abs(pooled - released).mean() / np.abs(released).mean() <= 2e-3


def waves(points_px):
    """A colour picture as a function of the place, (..., 2) -> (..., 3) in 0..255: RGB differ in their waves."""
    x, y = points_px[..., 0], points_px[..., 1]
    return np.stack([127 + 100 * np.sin(x / (30 + 9 * c)) * np.cos(y / (24 + 7 * c)) for c in range(3)], -1)


@pytest.mark.parametrize("mode", ["eval", "trainbn"])
def test_colours_pooled_from_a_drawn_frame_are_those_of_the_places_that_the_released_code_reads(tmp_path, mode):
    """Box to crop to reading: in a 96 x 128 crop (x, y) is read at (x 95/96, y 127/128), which x/48 - 1 and
    ``align_corners=True`` mean, and the crop's centre lies at (48, 64)."""
    torch.manual_seed(0)
    torch.save(networks.build(SPECS["mannequin-simcc"]).state_dict(), tmp_path / "w.pth")
    params = EstimateParams(weights=str(tmp_path / "w.pth"), taps=("rgb",), window=1, parity=f"released-{mode}")
    frame = np.rint(waves(np.stack(np.meshgrid(np.arange(640), np.arange(360)), -1))).astype(np.uint8)
    boxes = np.array([[200.4, 60.3, 330.2, 299.6], [350.0, 100.0, 520.0, 200.0]])
    source = ClipSource("drawn", lambda: iter([frame]), ClipBoxes(np.zeros(2, int), np.arange(2), boxes))
    (clip,) = PoseEstimator(params, device="cpu", batch_size=2).estimate_clips([source])
    for person, ((x, y), (width, height)) in enumerate([((265, 180), (130, 240)), ((435, 150), (170, 100))]):
        scale = 96 / (1.25 * max(width, height * 360 / 640))
        expected_affine = [[scale, 0, 48 - scale * x], [0, scale, 64 - scale * y]]
        np.testing.assert_allclose(clip.frame_to_crop[0, person], expected_affine, atol=1e-4)
        crop_px = apply_affine(expected_affine, clip.keypoints_px[0, person])
        read_px = apply_affine(invert_affine(expected_affine), crop_px * [95 / 96, 127 / 128])
        colours = clip.windows["rgb"][0, person, :, 0, 0] * np.array(IMAGENET_SD) + IMAGENET_MEAN
        inside = ((read_px > 0) & (read_px < [639, 359])).all(-1)
        assert inside.sum() >= 10
        assert np.ptp(crop_px[inside], axis=0).min() > 20
        np.testing.assert_allclose(255 * colours[inside], waves(read_px[inside]), atol=3)
