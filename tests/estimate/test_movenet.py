"""MoveNet as a pose network: joints of rendered people, taps, wider crops."""

import numpy as np
import pytest

from hpnet.artifacts.features import FeatureMeta
from hpnet.artifacts.poses import ClipPoses, PoseMeta
from hpnet.core.geometry import apply_affine, crop_affine, widen
from hpnet.core.skeleton import COCO17
from hpnet.core.video import read_frames
from hpnet.detect.detector import build_detector
from hpnet.estimate.batches import ClipBoxes, ClipSource
from hpnet.estimate.estimator import PoseEstimator
from hpnet.estimate.params import EstimateParams
from hpnet.estimate.taps import split_tap
from hpnet.pool.features import clip_features, feature_meta, num_channels
from hpnet.pool.params import PoolParams
from hpnet.weights.places import ASSETS

LEFT, RIGHT = COCO17.joints.index("left_shoulder"), COCO17.joints.index("right_shoulder")
TAPS = ("blocks.9", "h3s2", "rgb", "rgb@2")


@pytest.fixture(scope="module")
def estimator() -> PoseEstimator:
    return PoseEstimator(EstimateParams(model="movenet-lightning", taps=TAPS, window=3), device="cpu", batch_size=4)


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    """A frame of a rendered person."""
    return next(iter(read_frames(ASSETS / "clip.mp4")))


@pytest.fixture(scope="module")
def poses(estimator: PoseEstimator, frame: np.ndarray) -> ClipPoses:
    ((boxes, _),) = build_detector("movenet-multipose", image_size=256).detect(frame[None])
    given = ClipBoxes(np.array([0]), np.array([0]), boxes[:1].astype(np.float64))
    (clip,) = estimator.estimate_clips([ClipSource("clip", lambda: iter([frame]), given)])
    assert isinstance(clip, ClipPoses)
    return clip


def test_the_detector_finds_the_rendered_person_once(frame: np.ndarray) -> None:
    detector = build_detector("movenet-multipose", image_size=512)
    (boxes, scores), again = detector.detect(np.stack([frame, frame]))
    assert (scores > 0.3).sum() == 1
    np.testing.assert_array_equal(boxes, again[0])
    (nothing, _) = detector.detect(np.zeros_like(frame)[None])[0]
    assert len(nothing) == 0 or detector.detect(np.zeros_like(frame)[None])[0][1].max() < 0.3


def test_joints_are_on_the_person_and_scored(poses: ClipPoses, frame: np.ndarray) -> None:
    joints, scores = poses.keypoints_px[0, 0], poses.scores[0, 0]
    assert (joints >= -0.5).all()
    assert (joints <= np.array(frame.shape[1::-1])).all()
    assert np.median(scores) > 0.3
    head, ankles = joints[COCO17.joints.index("nose"), 1], joints[-2:, 1]
    assert (ankles > head + 30).all()
    assert joints[LEFT, 0] != joints[RIGHT, 0]


def test_taps_have_the_channels_of_the_network(estimator: PoseEstimator, poses: ClipPoses) -> None:
    colours = (3, 256, 192)
    expected = {"blocks.9": (64, 16, 12), "h3s2": (96, 16, 12), "rgb": colours, "rgb@2": colours}
    assert estimator.meta.taps == expected
    assert poses.windows["blocks.9"].shape == (1, 1, 17, 3, 3, 64)


def test_a_wider_crop_shows_the_same_place(poses: ClipPoses, frame: np.ndarray) -> None:
    """The colour at a joint is the frame's, whichever crop it is read in."""
    joints = poses.keypoints_px[0, 0]
    near, wide = (poses.windows[tap][0, 0, :, 1, 1].astype(np.float32) for tap in ("rgb", "rgb@2"))
    inside = (poses.scores[0, 0] > 0.2) & (joints > 2).all(1) & (joints < np.array(frame.shape[1::-1]) - 3).all(1)
    assert inside.any()
    at = np.rint(joints[inside]).astype(int)
    truth = frame[at[:, 1], at[:, 0]] / 127.5 - 1
    assert np.abs(near[inside] - truth).mean() < 0.2
    assert np.abs(wide[inside] - truth).mean() < 0.2


def test_widened_affines_round_trip() -> None:
    size = (192, 256)
    affine = crop_affine([[10, 20, 90, 180]], size)
    np.testing.assert_allclose(widen(affine, size, 1.5), crop_affine([[10, 20, 90, 180]], size, 1.25 * 1.5))
    point = np.array([[33.0, 77.0]])
    crop, wide = apply_affine(affine[0], point), apply_affine(widen(affine, size, 1.5)[0], point)
    middle = (np.array(size) - 1) / 2
    np.testing.assert_allclose((crop - middle) / 1.5, wide - middle)


def test_tap_names_say_how_wide_their_crop_is() -> None:
    assert split_tap("blocks.12@1.5") == ("blocks.12", 1.5)
    assert split_tap("rgb") == ("rgb", 1.0)
    for wrong in ("rgb@", "rgb@x", "rgb@0.5", "rgb@9", "rgb@nan"):
        with pytest.raises(ValueError, match="expected MAP or MAP@TIMES"):
            split_tap(wrong)


def test_the_mirrored_crop_is_read_at_the_joints_that_have_the_same_names_there(frame: np.ndarray) -> None:
    """A colour does not care about the mirror: the left wrist of the mirrored picture is the right wrist."""
    params = EstimateParams(model="movenet-lightning", taps=("rgb", "rgb@2", "blocks.9"), window=3, mirrored=True)
    estimator = PoseEstimator(params, device="cpu", batch_size=2)
    given = ClipBoxes(np.array([0]), np.array([0]), np.array([[40.0, 10.0, 140.0, 200.0]]))
    (clip,) = estimator.estimate_clips([ClipSource("clip", lambda: iter([frame]), given)])
    assert isinstance(clip, ClipPoses)
    assert (
        list(clip.windows) == ["rgb", "rgb@2", "blocks.9", "rgb~", "rgb@2~", "blocks.9~"] == list(estimator.meta.taps)
    )
    for tap in ("rgb", "rgb@2"):
        swapped = clip.windows[tap][:, :, list(COCO17.mirror), :, ::-1]  # columns of the window too
        np.testing.assert_allclose(clip.windows[f"{tap}~"], swapped, atol=2e-3)
    assert np.abs(clip.windows["blocks.9~"].astype(np.float32) - clip.windows["blocks.9"]).max() > 0.1
    both = PoolParams(kind="both", tap="rgb+blocks.9", region=3, frames=4, mirrored=True)
    meta = feature_meta(both, estimator.meta)
    assert (meta.parts, meta.mirrored, meta.twice, meta.own_parts) == ((3, 64, 3, 64, 3), 2, 67, (3, 64, 3))
    assert FeatureMeta.from_json(meta.to_json()) == meta
    features = clip_features(clip, both, estimator.meta)
    assert features.shape[-1] == num_channels(both, estimator.meta) == 137
    np.testing.assert_allclose(features[..., 67:70], features[:, :, list(COCO17.mirror), :3], atol=2e-3)
    with pytest.raises(ValueError, match=r"pool.mirrored: 'h3s2' was not cached of mirrored crops.*estimate.mirrored"):
        feature_meta(PoolParams(tap="h3s2", region=3, mirrored=True), _meta_without_mirrored())


def _meta_without_mirrored() -> PoseMeta:
    return PoseMeta("x", "", COCO17, (192, 256), {"h3s2": (96, 16, 12)}, 3)


def test_crops_of_too_few_widths_are_refused(estimator: PoseEstimator) -> None:
    with pytest.raises(ValueError, match="crops of 1 widths, expected 2"):
        estimator(np.zeros((1, 256, 192, 3), np.uint8))


def test_released_parity_is_refused() -> None:
    with pytest.raises(ValueError, match="released-eval.*not for movenet-lightning"):
        PoseEstimator(EstimateParams(model="movenet-lightning", taps=("p3",), parity="released-eval"))


def test_several_maps_and_the_pose_are_pooled_together(estimator: PoseEstimator, poses: ClipPoses) -> None:
    one = clip_features(poses, PoolParams(tap="blocks.9", region=3, frames=4), estimator.meta)
    pose = clip_features(poses, PoolParams(kind="pose2d", frames=4), estimator.meta)
    params = PoolParams(kind="both", tap="blocks.9+h3s2", region=3, frames=4)
    both = clip_features(poses, params, estimator.meta)
    assert both.shape[-1] == num_channels(params, estimator.meta) == 64 + 96 + 3
    np.testing.assert_array_equal(both[..., :64], one)
    np.testing.assert_array_equal(both[..., -3:], pose)
