"""The released extractor, number by number, on the first frames of two real clips."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from hpnet.core.geometry import apply_affine
from hpnet.core.video import read_frames
from hpnet.estimate.estimator import ClipBoxes, ClipSource, PoseEstimator
from hpnet.estimate.params import EstimateParams

SHARED = Path(__file__).resolve().parents[3] / "shared"
PARITY = SHARED / "data/parity"
CLIPS = ("S001C001P001R001A001", "S001C001P001R001A050")
FRAMES = 1

pytestmark = pytest.mark.skipif(not PARITY.is_dir(), reason="needs the shared parity data")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    spec = importlib.util.spec_from_file_location("make_weights", PARITY / "make_weights.py")
    make_weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_weights)
    file = tmp_path_factory.mktemp("weights") / "w48.pth"
    torch.save(make_weights.state_dict(1, "stats_seed1.npz"), file)
    return str(file)


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
