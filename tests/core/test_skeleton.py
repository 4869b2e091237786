"""Skeletons and their graphs."""

import numpy as np
import pytest

from hpnet.core.skeleton import (
    COCO17,
    HALPE26,
    HAND21,
    RELEASED17,
    SKELETONS,
    WHOLEBODY133,
    Skeleton,
    adjacency,
    from_tree,
    of_joints,
    spatial_subsets,
)


@pytest.mark.parametrize("skeleton", [COCO17, HAND21, HALPE26, WHOLEBODY133], ids=lambda s: s.name)
def test_a_proper_tree_reaches_its_root_from_every_joint(skeleton: Skeleton) -> None:
    for joint in range(skeleton.num_joints):
        seen = {joint}
        while skeleton.parents[joint] != joint:
            joint = skeleton.parents[joint]
            assert joint not in seen
            seen.add(joint)
        assert joint == (skeleton.joints.index("hip") if skeleton is HALPE26 else 0)


@pytest.mark.parametrize("skeleton", [COCO17, HALPE26, WHOLEBODY133], ids=lambda s: s.name)
def test_left_and_right_are_mirrored_by_name_and_by_bone(skeleton: Skeleton) -> None:
    for joint, other in enumerate(skeleton.mirror):
        assert skeleton.parents[other] == skeleton.mirror[skeleton.parents[joint]]
        name = skeleton.joints[joint]
        if name.startswith("left_"):
            assert skeleton.joints[other] == name.replace("left_", "right_")


def test_wide_skeletons_begin_with_coco_and_have_published_facts() -> None:
    """Facts of the data sets' own descriptions."""
    assert of_joints(26) is HALPE26
    assert of_joints(133) is WHOLEBODY133
    for skeleton in (HALPE26, WHOLEBODY133):
        assert skeleton.joints[:17] == COCO17.joints
        assert skeleton.mirror[:17] == COCO17.mirror
    names = HALPE26.joints
    assert names[17:] == (
        "head", "neck", "hip", "left_big_toe", "right_big_toe", "left_small_toe", "right_small_toe", "left_heel",
        "right_heel",
    )  # fmt: skip
    at = WHOLEBODY133.joints.index
    starts = ("left_big_toe", "right_big_toe", "face-0", "face-67", "left_hand_root", "left_pinky_finger4")
    assert [at(name) for name in starts] == [17, 20, 23, 90, 91, 111]
    assert (at("right_hand_root"), at("right_pinky_finger4")) == (112, 132)
    swaps = {
        0: 16,
        8: 8,
        17: 26,
        21: 22,
        27: 27,
        31: 35,
        36: 45,
        37: 44,
        41: 46,
        48: 54,
        55: 59,
        60: 64,
        66: 66,
        67: 65,
    }
    assert {point: WHOLEBODY133.mirror[23 + point] - 23 for point in swaps} == swaps
    bones = {(WHOLEBODY133.joints[child], WHOLEBODY133.joints[parent]) for child, parent in WHOLEBODY133.edges}
    assert {
        ("left_hand_root", "left_wrist"), ("right_forefinger1", "right_hand_root"), ("left_heel", "left_ankle"),
        ("right_ring_finger4", "right_ring_finger3"), ("face-30", "nose"), ("face-36", "face-37"),
    } <= bones  # fmt: skip
    assert len(bones) == 132


def test_the_released_bones_hold_the_loop_and_its_graph_leaves_the_ears_out() -> None:
    pairs = ((0, 5), (1, 0), (2, 0), (3, 1), (4, 2), (5, 6), (6, 0), (7, 5), (8, 6), (9, 7), (10, 8), (11, 5), (12, 6),
             (13, 11), (14, 12), (15, 13), (16, 14))  # fmt: skip
    assert tuple(enumerate(RELEASED17.parents)) == pairs
    assert set(RELEASED17.edges) == (set(pairs) - {(3, 1), (4, 2)}) | {(12, 11)}


@pytest.mark.parametrize("skeleton", list(SKELETONS.values()))
def test_mirror_is_its_own_inverse_and_json_round_trips(skeleton: Skeleton) -> None:
    mirror = np.array(skeleton.mirror)
    np.testing.assert_array_equal(mirror[mirror], np.arange(skeleton.num_joints))
    assert Skeleton.from_json(skeleton.to_json()) == skeleton


def test_adjacency_is_symmetric_with_unit_spectral_radius() -> None:
    matrix = adjacency(COCO17)
    np.testing.assert_allclose(matrix, matrix.T)
    assert np.abs(np.linalg.eigvalsh(matrix)).max() == pytest.approx(1, abs=1e-5)


def test_subsets_of_a_chain() -> None:
    subsets = spatial_subsets(from_tree("chain", ("a", "b", "c"), (0, 0, 1), (0, 1, 2)))
    np.testing.assert_array_equal(subsets[0], np.eye(3))
    assert subsets[1].sum() == subsets[2].sum() == 2
    assert (subsets >= 0).all()


def test_bad_skeletons_are_refused() -> None:
    with pytest.raises(ValueError, match="2 joints, but 1 parents"):
        Skeleton("x", ("a", "b"), (0,), (), (0, 1))
    with pytest.raises(ValueError, match="joint index 7 is outside"):
        Skeleton("x", ("a", "b"), (0, 0), ((1, 7),), (0, 1))
