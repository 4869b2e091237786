"""3-D poses of a depth camera -> features (x, y, z), the 3-D pose row of Table IV. Pure functions, metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.skeleton import Skeleton

Floats = NDArray[np.float32]
MIN_LENGTH_M = 1e-3
SPINE_M = 0.5
"""Length of the spine of a body whose size is made that of all others."""


@dataclass(frozen=True)
class BodyAxes:
    """The joints that define the position and orientation of a body, as indices.

    Attributes:
        root: its origin (base of the spine).
        top: the upper end of the spine; root -> top is up.
        left, right: the shoulders; right -> left is to the side.
    """

    root: int
    top: int
    left: int
    right: int

    @classmethod
    def of(cls, skeleton: Skeleton, root: str, top: str) -> BodyAxes:
        """From joint names."""
        places = [skeleton.joints.index(name) for name in (root, top, "left_shoulder", "right_shoulder")]
        return cls(*places)


def normalise(
    joints_m: NDArray[np.floating],
    valid: NDArray[np.bool_],
    axes: BodyAxes,
    align: bool = False,
    same_size: bool = False,
) -> Floats:
    """Move, and optionally rotate, a clip's people into the coordinates of one body.

    The origin is the root joint of the first person in the first frame that has them, for every frame and person, so
    motion through the room and the distance between people are kept. Units stay metres. With ``align`` everything is
    also rotated. Then, in that frame, y points up along that person's spine, x points from the right to the left
    shoulder (orthogonal to y), and z = x cross y. This removes the position of the camera. With ``same_size`` the clip
    is scaled so that this person's spine is :data:`SPINE_M` long in the median over frames, which removes how tall
    people are.

    Args:
        joints_m: (T, M, V, 3), camera coordinates.
        valid: (T, M).

    Returns:
        (T, M, V, 3) float32; zeros where not valid.

    Raises:
        ValueError: with ``align``, spine or shoulders in that frame are shorter than a millimetre, or parallel; with
            ``same_size``, the median spine is.
    """
    result = np.zeros(joints_m.shape, np.float32)
    if not valid.any():
        return result
    person = int(np.flatnonzero(valid.any(0))[0])
    body = joints_m[int(np.flatnonzero(valid[:, person])[0]), person].astype(np.float64)  # (V, 3)
    moved = joints_m - body[axes.root]
    if align:
        moved = moved @ body_rotation(body, axes).T
    if same_size:
        seen = joints_m[valid[:, person], person].astype(np.float64)  # (T', V, 3)
        spine = float(np.median(np.linalg.norm(seen[:, axes.top] - seen[:, axes.root], axis=-1)))
        if spine <= MIN_LENGTH_M:
            raise ValueError(f"the spine of the first body is {spine:.3g} m long: import without --same-size")
        moved = moved * (SPINE_M / spine)
    result[valid] = moved[valid]
    return result


def towards_each_other(
    joints_m: NDArray[np.floating], valid: NDArray[np.bool_], root: int, align: bool = True
) -> Floats:
    """Move, and if asked turn, each of two people into a frame of their own that faces the other.

    The origin is the middle between both roots in the first frame that has both; for each person z then points from
    there to where the other stood, y up and x to that person's left. So the people are alike wherever the camera stood
    and whoever is named first, and distance and approach survive. Without ``align`` they are moved alone, and a clip in
    which both are never seen together is centred on whom it has.

    Args:
        joints_m: (T, 2, V, 3), camera coordinates with y up.
        valid: (T, 2).
        root: the joint that says where a person is.

    Returns:
        (T, 2, V, 3) float32; zeros where not valid.

    Raises:
        ValueError: aligning, and the people stand in each other's place.
    """
    result = np.zeros(joints_m.shape, np.float32)
    if not valid.any():
        return result
    together = np.flatnonzero(valid.all(1))
    frame = int(together[0]) if len(together) else int(np.flatnonzero(valid.any(1))[0])
    roots = joints_m[frame, valid[frame], root].astype(np.float64)  # (1 or 2, 3)
    moved = joints_m - roots.mean(0)
    if align and len(roots) == 2:
        across = (roots[1] - roots[0]) * [1, 0, 1]
        distance = float(np.linalg.norm(across))
        if distance <= MIN_LENGTH_M:
            raise ValueError(f"the two people stand {distance:.3g} m apart in frame {frame}: import without --align")
        for person, front in enumerate((across / distance, -across / distance)):
            up = np.array([0.0, 1.0, 0.0])
            moved[:, person] = moved[:, person] @ np.stack([np.cross(up, front), up, front]).T
    result[valid] = moved[valid]
    return result


def body_rotation(body_m: NDArray[np.floating], axes: BodyAxes) -> NDArray[np.float64]:
    """The rotation (3, 3) that makes a body (V, 3) upright and facing the camera; rows are its x, y, z axes."""
    up = np.asarray(body_m[axes.top] - body_m[axes.root], np.float64)
    side = np.asarray(body_m[axes.left] - body_m[axes.right], np.float64)
    height = float(np.linalg.norm(up))
    if height > MIN_LENGTH_M:
        up = up / height
        side = side - (side @ up) * up
    width = float(np.linalg.norm(side))
    if height <= MIN_LENGTH_M or width <= MIN_LENGTH_M:
        raise ValueError(
            f"the first body cannot be aligned: its spine is {height:.3g} m long, its shoulders {width:.3g} m wide; "
            "import without --align"
        )
    x = side / width
    return np.stack([x, up, np.cross(x, up)])


def motion(joints_m: NDArray[np.floating]) -> float:
    """How much a body (T, V, 3) moves: the variance over time, summed over joints and coordinates."""
    return float(joints_m.astype(np.float64).var(axis=0).sum())


def is_wide(joints_m: NDArray[np.floating], ratio: float = 0.8, share: float = 0.7) -> bool:
    """Whether a body (T, V, 3) is wider than ``ratio`` of its height in more than ``share`` of its frames.

    Kinect finds people in furniture; such bodies are flat.
    """
    extent = joints_m.max(axis=1) - joints_m.min(axis=1)  # (T, 3)
    return bool((extent[:, 0] > ratio * extent[:, 1]).mean() > share)
