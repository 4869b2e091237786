"""MoveNet: what TensorFlow.js gave for a picture, and how its heads are read."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hpnet.models.movenet import (
    JOINTS,
    MULTI_HEADS,
    SINGLE_HEADS,
    MoveNet,
    decode_people,
    decode_single,
    rounded,
)
from hpnet.weights.checkpoint import in_float32, load_into, load_state
from hpnet.weights.places import packaged
from tests.models.make_movenet import NAMES, STEP, make

PARITY = Path(__file__).resolve().parents[3] / "shared" / "data" / "real" / "parity"
needs_parity = pytest.mark.skipif(not PARITY.is_dir(), reason="needs the shared parity data")
WIDTHS = {"thunder": 1.75, "lightning": 1.0, "multipose": 1.5}
HEADS = ("heatmaps", "centre", "regress", "offset", "box_scale", "box_offset")
LIGHTNING_SCALE = 0.0208282 * 48
"""Lightning's graph scales its keypoints by 0.0208282 where 1 / 48 is right."""


def network_of(name: str) -> MoveNet:
    file = packaged(f"movenet-{name}.safetensors")
    network = MoveNet(WIDTHS[name], MULTI_HEADS if name == "multipose" else SINGLE_HEADS).eval()
    load_into(network, in_float32(load_state(file)), str(file))
    return network


def compare(name: str, expected: dict[str, np.ndarray], step: int) -> None:
    """One picture: heads, maps, decoded people."""
    network = network_of(name)
    maps: dict[str, torch.Tensor] = {}
    for key in expected:
        path = f"backbone.blocks.{key[5:]}" if key.startswith("block") else f"backbone.{key}"
        if key.startswith("block") or key in ("p2", "p3", "p4"):
            network.get_submodule(path).register_forward_hook(lambda m, i, o, key=key: maps.update({key: o}))
    picture = expected["images_u8" if name == "multipose" else "crops_u8"]
    images = torch.from_numpy(picture)[None].permute(0, 3, 1, 2) / 127.5 - 1  # (1, H, W, 3) -> (1, 3, H, W)
    with torch.inference_mode():
        heads = network(images)
    for key in HEADS:
        if key in expected:
            got = heads["heatmap" if key == "heatmaps" else key][0].numpy()[:, ::step, ::step]
            # shares; the others are in cells, some of them stored in float16
            tolerance = 1e-4 if key in ("heatmaps", "centre") else 1e-3 * np.abs(expected[key]).max()
            np.testing.assert_allclose(got, expected[key], atol=tolerance, rtol=0, err_msg=key)
    for key, value in maps.items():
        reference = expected[key].astype(np.float32)
        assert np.abs(value[0].numpy()[:, ::step, ::step] - reference).max() <= 1e-3 * np.abs(reference).max(), key
    side = picture.shape[0]
    if name == "multipose":
        people, output = decode_people(heads, 6), expected["output_6x56"]
        count = len(people.scores)
        joints = output[:count, :51].reshape(count, JOINTS, 3)
        keypoints, boxes = people.keypoints_px.numpy(), people.boxes_xyxy_px.numpy()
        np.testing.assert_allclose(keypoints + 0.5, joints[..., 1::-1] * side, atol=0.01)
        np.testing.assert_allclose(boxes, output[:count, [52, 51, 54, 53]] * side, atol=0.01)
        np.testing.assert_allclose(people.scores.numpy(), output[:count, 55], atol=1e-4)
    else:
        keypoints_px, scores = decode_single(heads)
        scale = LIGHTNING_SCALE if name == "lightning" else 1.0
        yxs = expected["keypoints_yxs"]
        np.testing.assert_allclose(keypoints_px[0].numpy() + 0.5, yxs[:, 1::-1] * side / scale, atol=0.01)
        np.testing.assert_allclose(scores[0].numpy(), yxs[:, 2], atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_packaged_networks_give_what_tensorflow_gave(name: str) -> None:
    with np.load(Path(__file__).parent / f"movenet_{name}.npz") as file:
        compare(name, dict(file), STEP)


@needs_parity
@pytest.mark.parametrize("picture", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_whole_pictures(name: str, picture: int) -> None:
    with np.load(PARITY / f"movenet_{name}.npz") as file:
        compare(name, {key: file[key][picture] for key in file.files if file[key].ndim > 1}, 1)


@needs_parity
@pytest.mark.parametrize("name", NAMES)
def test_stored_numbers_are_those_of_the_parity_files(name: str) -> None:
    with np.load(Path(__file__).parent / f"movenet_{name}.npz") as file:
        for key, value in make(PARITY, name).items():
            np.testing.assert_array_equal(file[key], value, err_msg=key)


def blank(height: int, width: int, heads: dict[str, int]) -> dict[str, torch.Tensor]:
    return {name: torch.zeros(1, channels, height, width) for name, channels in heads.items()}


def test_a_joint_is_the_cell_near_its_guess_plus_its_own_offset() -> None:
    heads = blank(16, 12, SINGLE_HEADS)
    heads["centre"][0, 0, 8, 6] = 0.9
    heads["regress"][0, 0::2, 8, 6], heads["regress"][0, 1::2, 8, 6] = -3.0, 2.0  # the guess is cell (5, 8)
    heads["heatmap"][0, :, 5, 8] = 0.5
    heads["heatmap"][0, :, 14, 1] = 0.8  # another person's, too far away
    heads["offset"][0, 0::2, 5, 8], heads["offset"][0, 1::2, 5, 8] = 0.25, 0.75
    points, scores = decode_single(heads)
    assert points.shape == (1, JOINTS, 2)
    np.testing.assert_allclose(points[0].numpy(), np.tile([8.75 * 4 - 0.5, 5.25 * 4 - 0.5], (JOINTS, 1)))
    np.testing.assert_allclose(scores[0].numpy(), 0.5)


def test_two_people_keep_their_own_joints_and_boxes() -> None:
    heads = blank(16, 16, MULTI_HEADS)
    for row, column, score in ((8, 3, 0.9), (8, 12, 0.6)):
        heads["centre"][0, 0, row, column] = score
        heads["box_scale"][0, :, row, column] = torch.tensor([8.0, 4.0])
        heads["heatmap"][0, :, row + 1, column] = score / 2
    people = decode_people(heads, 5)
    np.testing.assert_allclose(people.boxes_xyxy_px.numpy(), [[4, 16, 20, 48], [40, 16, 56, 48]])
    np.testing.assert_allclose(people.keypoints_px[:, 0].numpy(), [[11.5, 35.5], [47.5, 35.5]])
    np.testing.assert_allclose(people.centres.numpy(), [0.9, 0.6], rtol=1e-6)
    assert (people.scores < people.centres).all()


def test_nobody_there() -> None:
    people = decode_people(blank(8, 8, MULTI_HEADS), 5)
    assert people.boxes_xyxy_px.shape == (0, 4)
    assert people.keypoints_px.shape == (0, JOINTS, 2)
    assert people.scores.shape == (0,)


@pytest.mark.parametrize(("channels", "expected"), [(16 * 1.75, 32), (24 * 1.5, 40), (10, 16), (96, 96), (3, 8)])
def test_channels_are_rounded_as_keras_does(channels: float, expected: int) -> None:
    assert rounded(channels) == expected
