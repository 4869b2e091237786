from dataclasses import replace

import numpy as np
import pytest
import torch

from hpnet.artifacts.files import read_json
from hpnet.core.skeleton import COCO_MIRROR
from hpnet.estimate.estimator import PoseEstimator
from hpnet.estimate.params import EstimateParams
from hpnet.pretrain import pose
from hpnet.pretrain.scenes import RenderedScene, SceneShard, write_shard
from hpnet.pretrain.steps import Job, Scenes


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _shard(folder, seeds, caption="a person in a red shirt is lifting a green dumbbell with the left hand"):
    scenes = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        joints = rng.uniform(20, 60, (2, 1, 17, 2)).astype(np.float32)
        boxes = np.array([[[15, 15, 65, 65]]] * 2, np.float32)
        frames = rng.integers(0, 255, (2, 80, 80, 3), dtype=np.uint8)
        scenes.append(RenderedScene(seed, caption, frames, boxes, joints, np.ones((2, 1, 17), bool)))
    folder.mkdir(exist_ok=True)
    file = folder / f"scenes-{seeds[0]}.safetensors"
    write_shard(file, scenes)
    return SceneShard(file)


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a person in a red shirt is lifting two green dumbbells", ("dumbbell", "green")),
        ("somebody is hugging a pink teddy bear", ("teddy bear", "pink")),
        ("a person in a white shirt marching on the spot", None),
    ],
)
def test_held_object_of_a_caption(caption, expected):
    kind, colour = pose.held_object(caption)
    if expected is None:
        assert (kind, colour) == (0, -1)
    else:
        assert (pose.OBJECTS[kind - 1], pose.COLOURS[colour]) == expected


def test_random_crops_keep_joints_on_the_picture():
    boxes = torch.tensor([[20.0, 10.0, 80.0, 130.0]]).repeat(64, 1)
    affine, mirrored = pose.random_affines(boxes, (96, 128), torch.Generator().manual_seed(0))
    joints = torch.rand(64, 17, 2) * 100
    points = pose.crop_keypoints(joints, affine, mirrored)
    named = torch.where(mirrored[:, None, None], points[:, list(COCO_MIRROR)], points)
    back = named @ affine[:, :, :2].transpose(1, 2) + affine[:, None, :, 2]
    torch.testing.assert_close(back, joints, atol=1e-2, rtol=1e-4)
    assert 10 < int(mirrored.sum()) < 54
    determinants = torch.linalg.det(affine[:, :, :2])
    assert ((determinants < 0) == mirrored).all()
    middle = pose.crop_keypoints(torch.tensor([[[50.0, 70.0]]]).expand(64, 17, 2), affine, mirrored)
    inside = (middle >= 0) & (middle <= torch.tensor([95.0, 127.0]))
    assert inside.all(), "the middle of a box stays in its crop"


def test_degraded_crops_stay_pictures():
    crops = torch.rand(16, 3, 32, 24) * 255
    seeded = [pose.degrade(crops, torch.Generator().manual_seed(5)) for _ in range(2)]
    assert torch.equal(*seeded)
    assert seeded[0].min() >= 0
    assert seeded[0].max() <= 255
    assert not torch.equal(seeded[0], crops)


def test_loss_is_least_at_the_truth_and_ignores_unknown_joints():
    bins = torch.arange(192.0)
    right, wrong = (-0.5 * ((bins - centre) / 5) ** 2 for centre in (60, 120))
    target = torch.tensor([[30.0, 30.0]])
    both = torch.ones(1, 2)
    good = pose.simcc_loss(torch.stack([right, right])[None], target, both, 2.0, 5.0)
    bad = pose.simcc_loss(torch.stack([right, wrong])[None], target, both, 2.0, 5.0)
    masked = pose.simcc_loss(torch.stack([right, wrong])[None], target, torch.tensor([[1.0, 0.0]]), 2.0, 5.0)
    assert good < bad
    torch.testing.assert_close(masked, good)


def test_people_out_of_view_are_left_out(tmp_path):
    shard = _shard(tmp_path, [1, 2])
    people = pose.load_people([shard], 2)
    assert people.frame.tolist() == [0, 1, 2, 3]
    assert people.held.tolist() == [[pose.OBJECTS.index("dumbbell") + 1, pose.COLOURS.index("green")]] * 4
    rng = np.random.default_rng(0)
    nobody = RenderedScene(
        5, "an empty room", rng.integers(0, 255, (1, 40, 40, 3), dtype=np.uint8),
        np.full((1, 1, 4), np.nan, np.float32), np.full((1, 1, 17, 2), np.nan, np.float32), np.zeros((1, 1, 17), bool),
    )  # fmt: skip
    write_shard(tmp_path / "none.safetensors", [nobody])
    with pytest.raises(ValueError, match="nobody can be seen"):
        pose.load_people([SceneShard(tmp_path / "none.safetensors")])


def test_training_writes_weights_that_load_and_a_card(tmp_path):
    train, held_out = _shard(tmp_path / "train", [1, 2]), _shard(tmp_path / "val", [100])
    losses = []
    settings = replace(pose.SETTINGS, steps=2, batch=3)
    job = Job("cpu", on_step=lambda step, loss: losses.append((step, loss)))
    training = pose.train_pose(tmp_path / "out", Scenes([train], [held_out], frames_per_scene=1), settings, job)
    assert [step for step, _ in losses] == [2]
    assert np.isfinite(losses[0][1])
    assert set(training.quality) == {"pck_torso", "pck_box", "oks_ap", "held_kind", "held_colour", "place_px"}
    weights = tmp_path / "out/mannequin-simcc.safetensors"
    assert weights.stat().st_size <= 4e6
    assert read_json(tmp_path / "out/mannequin-simcc.json")["steps"] == 2
    PoseEstimator(EstimateParams(weights=str(weights)), device="cpu")
    with pytest.raises(ValueError, match="seed 1 is in training and validation"):
        Scenes([train], [train])


def test_place_probe_reads_coordinates_and_skips_joints_of_no_weight():
    probe = pose.PlaceProbe(2, (96, 128))
    probe.requires_grad_(False)
    probe.place.weight.copy_(torch.eye(2))
    probe.place.bias.zero_()
    points = torch.tensor([[[24.0, 96.0], [0.0, 0.0]]])
    features = torch.tensor([[[-0.25, 0.25], [9.0, 9.0]]])
    assert float(probe(features, points, torch.tensor([[1.0, 0.0]]))) == pytest.approx(0, abs=1e-6)
    assert float(probe(features, points, torch.tensor([[1.0, 1.0]]))) > 1
