from __future__ import annotations

import numpy as np
import pytest
import torch

from hpnet.core.skeleton import COCO17, RELEASED17
from hpnet.core.streams import TOPOLOGY_STREAMS
from hpnet.models.streams import STREAM_TRANSFORMS, bone, bone_motion, joint, joint_motion, transform

PARENTS = COCO17.parents


def clip(seed: int = 0, frames: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((2, 3, frames, 17, 2)).astype(np.float32)


def test_streams_are_those_of_the_parameters() -> None:
    assert tuple(STREAM_TRANSFORMS) == TOPOLOGY_STREAMS


@pytest.mark.parametrize("stream", TOPOLOGY_STREAMS)
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_numpy_and_torch_agree_and_the_input_is_untouched(stream: str, frames: int) -> None:
    x = clip(frames=frames)
    kept = x.copy()
    of_array = transform(stream, x, PARENTS)
    of_tensor = transform(stream, torch.from_numpy(x), PARENTS)
    assert of_array.shape == x.shape
    assert of_array.dtype == x.dtype
    np.testing.assert_array_equal(of_array, of_tensor.numpy())
    np.testing.assert_array_equal(x, kept)


def test_bone_by_hand_on_the_released_pairs() -> None:
    x = clip()
    expected = np.empty_like(x)
    for child, parent in enumerate(RELEASED17.parents):
        expected[:, :, :, child] = x[:, :, :, child] - x[:, :, :, parent]
    np.testing.assert_array_equal(bone(x, RELEASED17.parents), expected)


def test_bones_ignore_translation_and_the_root_has_none() -> None:
    x = clip()
    moved = x + np.array([1.0, -2.0, 3.0], np.float32).reshape(1, 3, 1, 1, 1)
    np.testing.assert_allclose(bone(moved, PARENTS), bone(x, PARENTS), atol=1e-5)
    assert not bone(x, PARENTS)[:, :, :, 0].any()
    assert np.abs(joint(moved, PARENTS) - joint(x, PARENTS)).min() > 0.5


def test_bones_add_up_to_the_joints_along_the_tree() -> None:
    x = clip()
    bones = bone(x, PARENTS)
    wrist = bones[:, :, :, 9] + bones[:, :, :, 7] + bones[:, :, :, 5] + x[:, :, :, 0]
    np.testing.assert_allclose(wrist, x[:, :, :, 9], atol=1e-5)


def test_a_still_pose_has_no_motion() -> None:
    still = np.repeat(clip()[:, :, :1], 6, axis=2)
    assert not joint_motion(still, PARENTS).any()
    assert not bone_motion(still, PARENTS).any()


def test_motion_is_next_minus_this_and_the_last_frame_is_zero() -> None:
    x = clip()
    moved = joint_motion(x, PARENTS)
    np.testing.assert_array_equal(moved[:, :, 1], x[:, :, 2] - x[:, :, 1])
    assert not moved[:, :, -1].any()
    # motion summed over time is where the person ended up
    np.testing.assert_allclose(moved.sum(2), x[:, :, -1] - x[:, :, 0], atol=1e-5)


def test_bone_motion_commutes() -> None:
    x = clip()
    np.testing.assert_allclose(bone_motion(x, PARENTS), bone(joint_motion(x, PARENTS), PARENTS), atol=1e-5)


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"'hpx'.*hpj, hpb, hpjm, hpbm"):
        transform("hpx", clip(), PARENTS)
    with pytest.raises(ValueError, match=r"\(2, 3, 5, 17, 2\), expected \(N, C, T, 3, M\)"):
        bone(clip(), (0, 0, 1))
