"""Skeletons and their graphs."""

import numpy as np
import pytest

from hpnet.core.skeleton import (
    COCO17,
    HAND21,
    RELEASED17,
    SKELETONS,
    Skeleton,
    adjacency,
    from_tree,
    spatial_subsets,
)


@pytest.mark.parametrize("skeleton", [COCO17, HAND21])
def test_a_proper_tree_reaches_its_root_from_every_joint(skeleton: Skeleton) -> None:
    for joint in range(skeleton.num_joints):
        seen = {joint}
        while skeleton.parents[joint] != joint:
            joint = skeleton.parents[joint]
            assert joint not in seen
            seen.add(joint)
        assert joint == 0


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
