"""Skeletons: joint names, parents, edges and mirror pairs, and the adjacency matrices that graph networks use."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Skeleton:
    """A tree of joints.

    Attributes:
        joints: V joint names.
        parents: parent of each joint (V,), 0-based; the root is its own parent. Bones are joint - parent.
        edges: inward edges (child, parent) of the graph networks; the tree's own unless a graph says otherwise.
        mirror: for each joint, its counterpart under a left-right flip (itself for central joints).
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]
    mirror: tuple[int, ...]

    def __post_init__(self) -> None:
        count = len(self.joints)
        if len(self.parents) != count or len(self.mirror) != count:
            raise ValueError(
                f"skeleton {self.name!r}: {count} joints, "
                f"but {len(self.parents)} parents and {len(self.mirror)} mirrors"
            )
        bad = [i for i in (*self.parents, *self.mirror, *(i for e in self.edges for i in e)) if not 0 <= i < count]
        if bad:
            raise ValueError(f"skeleton {self.name!r}: joint index {bad[0]} is outside 0..{count - 1}")

    @property
    def num_joints(self) -> int:
        """V."""
        return len(self.joints)

    def to_json(self) -> dict[str, Any]:
        """As plain lists, for the metadata of an artifact."""
        return {
            "name": self.name,
            "joints": list(self.joints),
            "parents": list(self.parents),
            "edges": [list(e) for e in self.edges],
            "mirror": list(self.mirror),
        }

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Skeleton:
        """The inverse of :meth:`to_json`."""
        return cls(
            name=str(raw["name"]),
            joints=tuple(raw["joints"]),
            parents=tuple(raw["parents"]),
            edges=tuple((int(a), int(b)) for a, b in raw["edges"]),
            mirror=tuple(raw["mirror"]),
        )


def from_tree(name: str, joints: tuple[str, ...], parents: tuple[int, ...], mirror: tuple[int, ...]) -> Skeleton:
    """A skeleton whose graph is its own tree."""
    edges = tuple((child, parent) for child, parent in enumerate(parents) if child != parent)
    return Skeleton(name, joints, parents, edges, mirror)


COCO_JOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
COCO_MIRROR = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)

COCO17 = from_tree("coco17", COCO_JOINTS, (0, 0, 0, 1, 2, 0, 0, 5, 6, 7, 8, 5, 6, 11, 12, 13, 14), COCO_MIRROR)
"""COCO's 17 joints as a proper tree rooted at the nose, ears attached to the eyes."""

RELEASED17 = Skeleton(
    name="released17",
    joints=COCO_JOINTS,
    # The released bone pairs contain a loop nose -> left shoulder -> right shoulder -> nose.
    parents=(5, 0, 0, 1, 2, 6, 0, 5, 6, 7, 8, 5, 6, 11, 12, 13, 14),
    edges=(
        (0, 5), (1, 0), (2, 0), (5, 6), (6, 0), (7, 5), (8, 6), (9, 7), (10, 8), (11, 5), (12, 6), (13, 11), (14, 12),
        (15, 13), (16, 14), (12, 11),
    ),
    mirror=COCO_MIRROR,
)  # fmt: skip
"""The released code's bones and graph: ears isolated, hips joined."""

_FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
HAND21 = from_tree(
    "hand21",
    ("wrist", *(f"{finger}{k}" for finger in _FINGERS for k in (1, 2, 3, 4))),
    (0, *(0 if k == 0 else 4 * f + k for f in range(5) for k in range(4))),
    tuple(range(21)),
)

HALPE26 = from_tree(
    "halpe26",
    (
        *COCO_JOINTS, "head", "neck", "hip", "left_big_toe", "right_big_toe", "left_small_toe", "right_small_toe",
        "left_heel", "right_heel",
    ),
    (18, 0, 0, 1, 2, 18, 18, 5, 6, 7, 8, 19, 19, 11, 12, 13, 14, 18, 19, 19, 15, 16, 15, 16, 15, 16),
    (*COCO_MIRROR, 17, 18, 19, 21, 20, 23, 22, 25, 24),
)  # fmt: skip
"""Halpe's 26 joints: COCO's, the top of the head, neck, middle of the hips (the root) and feet."""


def _face(nose: int, first: int) -> tuple[list[int], list[int]]:
    """Parents and mirror of a face's 68 points (in the order of iBUG's 300-W) which are the joints from ``first`` on.

    The tip of the nose hangs on the joint ``nose``. From there it goes up to the eyes and brows, and down over the lips
    to the chin and along the jaw to the temples.
    """
    mirror = list(range(68))
    for low, high in ((0, 16), (17, 26), (31, 35), (48, 54), (55, 59), (60, 64), (65, 67)):
        mirror[low : high + 1] = range(high, low - 1, -1)
    mirror[36:48] = (45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40)
    middle = ((30, 29, 28, 27), (30, 33, 51, 62), (51, 57, 66), (57, 8))
    right = (
        (8, 7, 6, 5, 4, 3, 2, 1, 0), (27, 21, 20, 19, 18, 17), (33, 32, 31), (27, 39, 38, 37, 36), (39, 40, 41),
        (51, 50, 49, 48), (57, 58, 59), (62, 61, 60), (66, 67),
    )  # fmt: skip
    left = (tuple(mirror[point] for point in chain) for chain in right)
    parents = [nose] * 68
    for chain in (*middle, *right, *left):
        for above, point in pairwise(chain):
            parents[point] = first + above
    return parents, [first + point for point in mirror]


def _whole_body() -> Skeleton:
    sides, wrists, face, hands = ("left", "right"), (9, 10), 23, (91, 112)
    face_parents, face_mirror = _face(nose=0, first=face)
    names = (
        *COCO_JOINTS,
        *(f"{side}_{part}" for side in sides for part in ("big_toe", "small_toe", "heel")),
        *(f"face-{point}" for point in range(68)),
        *(f"{side}_{joint}" for side in sides for joint in ("hand_root", *HAND21.joints[1:])),
    )
    hand_parents = (
        parent
        for hand, wrist in zip(hands, wrists, strict=True)
        for parent in (wrist, *(hand + above for above in HAND21.parents[1:]))
    )
    parents = (*COCO17.parents, *(15, 15, 15, 16, 16, 16), *face_parents, *hand_parents)
    mirror = (*COCO_MIRROR, *(20, 21, 22, 17, 18, 19), *face_mirror, *range(112, 133), *range(91, 112))
    return from_tree("wholebody133", names, parents, mirror)


WHOLEBODY133 = _whole_body()
"""COCO-WholeBody's 133 joints: COCO's 17, 6 of the feet, 68 of the face and 21 of each hand, rooted at the nose."""

_KINECT_BODY = (
    "left_shoulder", "left_elbow", "left_wrist", "left_hand", "right_shoulder", "right_elbow", "right_wrist",
    "right_hand", "left_hip", "left_knee", "left_ankle", "left_foot", "right_hip", "right_knee", "right_ankle",
    "right_foot",
)  # fmt: skip
_KINECT_MIRROR = (0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 16, 17, 18, 19, 12, 13, 14, 15)

NTU25 = from_tree(
    "ntu25",
    (
        "spine_base", "spine_middle", "neck", "head", *_KINECT_BODY, "spine_shoulder", "left_hand_tip", "left_thumb",
        "right_hand_tip", "right_thumb",
    ),
    (1, 20, 20, 2, 20, 4, 5, 6, 20, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18, 20, 22, 7, 24, 11),
    (*_KINECT_MIRROR, 20, 23, 24, 21, 22),
)  # fmt: skip
"""Kinect 2's 25 joints (NTU RGB+D's .skeleton files), rooted between the shoulders."""

UCLA20 = from_tree(
    "ucla20",
    ("hip_centre", "spine", "shoulder_centre", "head", *_KINECT_BODY),
    (1, 2, 2, 2, 2, 4, 5, 6, 2, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18),
    _KINECT_MIRROR,
)
"""Kinect 1's 20 joints (N-UCLA, UTD-MHAD), rooted between the shoulders."""

OPENNI15 = from_tree(
    "openni15",
    (
        "head", "neck", "torso", "left_shoulder", "left_elbow", "left_hand", "right_shoulder", "right_elbow",
        "right_hand", "left_hip", "left_knee", "left_foot", "right_hip", "right_knee", "right_foot",
    ),
    (1, 1, 1, 1, 3, 4, 1, 6, 7, 2, 9, 10, 2, 12, 13),
    (0, 1, 2, 6, 7, 8, 3, 4, 5, 12, 13, 14, 9, 10, 11),
)  # fmt: skip
"""OpenNI's 15 joints (SBU Kinect interactions), rooted between the shoulders."""

SKELETONS: dict[str, Skeleton] = {
    s.name: s for s in (COCO17, RELEASED17, HAND21, NTU25, UCLA20, OPENNI15, HALPE26, WHOLEBODY133)
}


def of_joints(count: int) -> Skeleton:
    """The first of :data:`SKELETONS` with this number of joints (17: COCO's); if there is none, a chain of joints."""
    known = next((skeleton for skeleton in SKELETONS.values() if skeleton.num_joints == count), None)
    if known is not None:
        return known
    names = tuple(f"joint_{joint}" for joint in range(count))
    return from_tree(f"chain{count}", names, (0, *range(count - 1)), tuple(range(count)))


def adjacency(skeleton: Skeleton) -> NDArray[np.float32]:
    """Symmetric adjacency with self-loops, normalised as in Eq. (4): D^-1/2 (A + I) D^-1/2, shape (V, V)."""
    matrix = np.eye(skeleton.num_joints, dtype=np.float32)
    for child, parent in skeleton.edges:
        matrix[child, parent] = matrix[parent, child] = 1
    scale = matrix.sum(1) ** -0.5
    return (scale[:, None] * matrix * scale[None, :]).astype(np.float32)


def spatial_subsets(skeleton: Skeleton) -> NDArray[np.float32]:
    """The three subsets of the spatial configuration (self, inward, outward), (3, V, V).

    Entry [s, i, j] is the weight of joint j in the sum of joint i (z_i = sum_j A[s, i, j] x_j): inward has 1 at
    [parent, child] for every edge, outward at [child, parent]. Both are divided by their column sums, so the weights of
    each joint sum to one, as in ST-GCN (Yan et al., AAAI 2018) and CTR-GCN (Chen et al., ICCV 2021).
    """
    count = skeleton.num_joints
    inward = np.zeros((count, count), dtype=np.float32)
    for child, parent in skeleton.edges:
        inward[parent, child] = 1
    subsets = [np.eye(count, dtype=np.float32)]
    for matrix in (inward, inward.T):
        degree = matrix.sum(0)
        subsets.append(np.divide(matrix, degree[None, :], out=np.zeros_like(matrix), where=degree[None, :] > 0))
    return np.stack(subsets).astype(np.float32)
