"""Pictures and ground truth of a scene: a software renderer of jointed people in furnished rooms.

Everything is a handful of primitives hit by rays (:mod:`.raster`), four samples per pixel. What stands still is drawn
once per room and camera and kept; each frame adds the people, what they hold, and their shadows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.skeleton import COCO_JOINTS
from .body import body_rows
from .primitives import OWNER, Rows, finish, place
from .props import prop_rows
from .raster import ACROSS, FAR, NEAR, TOWARDS, UP, cast_rows, develop, shade, shares
from .rooms import build_room, in_view
from .scene import Camera, Scene

Floats = NDArray[np.float64]
Frames = NDArray[np.uint8]

SHADOW_BIAS_M = 0.035
SHADOW_MAP = 160
SHADOW_RADIUS_M = 1.55
"""Half the side of the square, seen from the lamp, in which moving things throw shadows, for one person."""
OTHER_TOLERANCE_M = 0.09
OWN_TOLERANCE_M = 0.16
"""A joint is seen when it lies no deeper than this under a surface of something else, or of its own body (girth 1)."""
GRAIN = 1 << 21


@dataclass(frozen=True)
class GroundTruth:
    """Where everybody is, for T frames and M performers.

    Attributes:
        keypoints_px: (T, M, 17, 2) float32, COCO's joints; pixel centres are at integer coordinates. Points outside the
            frame keep their coordinates; points behind the camera are NaN.
        visible: (T, M, 17) bool: inside the frame, and neither furniture, an object, another person nor a good part of
            the own body is in front.
        boxes_xyxy_px: (T, M, 4) float32: tight box of what a person's body would cover if nothing hid it, clipped to
            the frame, in the same coordinates; NaN for a person out of the frame.
    """

    keypoints_px: NDArray[np.float32]
    visible: NDArray[np.bool_]
    boxes_xyxy_px: NDArray[np.float32]


@dataclass(frozen=True)
class _Lens:
    """A camera's axes (rows: right, down, forward), position, and focal length in pixels."""

    axes: Floats
    position: Floats
    focal_px: float


@dataclass(frozen=True)
class _Still:
    """What does not move, as seen by one camera; changed in place while it is being painted.

    Attributes:
        depth: (2 H, 2 W) of each sample, metres.
        ambient, direct: (H, W, 3) linear light without the lamp, and from it.
        place: (H, W, 3) the point seen, in the light's coordinates.
        light: (6, 3).
    """

    depth: NDArray[np.float32]
    ambient: NDArray[np.float32]
    direct: NDArray[np.float32]
    place: NDArray[np.float32]
    light: Floats


def _lens(camera: Camera, height: int) -> _Lens:
    position = np.array(camera.position_m, dtype=np.float64)
    forward = np.array(camera.target_m, dtype=np.float64) - position
    right = np.cross(forward, [0.0, 0.0, 1.0])
    if np.linalg.norm(right) < 1e-6 * max(1.0, float(np.linalg.norm(forward))):
        raise ValueError(f"a camera must not look straight up or down: {camera.position_m} to {camera.target_m}")
    if not 1.0 <= camera.vertical_fov_deg <= 120.0:
        raise ValueError(f"vertical_fov_deg of 1..120 expected, got {camera.vertical_fov_deg}")
    forward, right = forward / np.linalg.norm(forward), right / np.linalg.norm(right)
    focal = 0.5 * height / np.tan(np.radians(camera.vertical_fov_deg) / 2)
    return _Lens(np.stack([right, np.cross(forward, right), forward]), position, float(focal))


def project(
    points_m: ArrayLike, camera: Camera, width: int, height: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where world points (..., 3) fall in the picture.

    Returns:
        pixels (..., 2) float32, x to the right and y down, pixel centres at integer coordinates; NaN behind the camera.
        depth (...) float32, metres along the viewing axis.
    """
    lens = _lens(camera, height)
    points = np.asarray(points_m, dtype=np.float64)
    seen = (points - lens.position) @ lens.axes.T
    depth = seen[..., 2]
    safe = np.where(depth > 1e-6, depth, np.nan)
    pixels = lens.focal_px * seen[..., :2] / safe[..., None] + 0.5 * (np.array([width, height]) - 1)
    return pixels.astype(np.float32), depth.astype(np.float32)


def _sample_rays(camera: Camera, width: int, height: int) -> tuple[Floats, Floats, float]:
    """Rays (6, 3), projection (3, 4) and focal length of the grid of two samples per pixel and axis."""
    lens = _lens(camera, height)
    focal = 2 * lens.focal_px
    # Sample i lies at pixel (i - 0.5) / 2, so the middle of the picture is at sample width - 0.5.
    middle_i, middle_j = width - 0.5, height - 0.5
    right, down, forward = lens.axes
    rays = np.zeros((6, 3))
    rays[0] = lens.position
    rays[3] = forward - (middle_i * right + middle_j * down) / focal
    rays[4], rays[5] = right / focal, down / focal
    intrinsics = np.array([[focal, 0.0, middle_i], [0.0, focal, middle_j], [0.0, 0.0, 1.0]])
    world = np.concatenate([lens.axes, -(lens.axes @ lens.position)[:, None]], axis=1)
    return rays, intrinsics @ world, focal


def _untouched(count: int, width: int, height: int) -> NDArray[np.int64]:
    """Empty boxes (count, 4) for ``cast_rows`` to grow."""
    return np.tile(np.array([2 * width, 2 * height, -1, -1], np.int64), (count, 1))


def _shadow_map(rows: Rows, light: Floats, centre_m: Floats, radius_m: float, shadow: NDArray[np.float32]) -> Floats:
    """Fills ``shadow`` (N, N) with what the lamp sees of ``rows`` around ``centre_m``; see :func:`.raster.shares`.

    Returns:
        (3,) the centre in the light's coordinates.
    """
    count = len(shadow)
    pitch = 2 * radius_m / count
    axes = np.stack([light[ACROSS], light[UP]])
    rays = np.zeros((6, 3))
    rays[0] = centre_m + 2 * radius_m * light[TOWARDS] + (0.5 - 0.5 * count) * pitch * axes.sum(0)
    rays[1:3] = axes * pitch
    rays[3] = -light[TOWARDS]
    projection = np.zeros((3, 4))
    projection[:2, :3] = axes / pitch
    projection[:2, 3] = 0.5 * count - 0.5 - axes @ centre_m / pitch
    projection[2, 3] = 1
    shadow.fill(FAR)
    cast_rows(
        rows, rays, projection, 1 / pitch, True, shadow, np.empty(shadow.shape, np.int32), np.zeros((1, 4), np.int64)
    )
    return np.array([light[ACROSS] @ centre_m, light[UP] @ centre_m, light[TOWARDS] @ centre_m])


def _paint_still(
    still: _Still, rows: Rows, casters: Rows, camera: Camera, centre_m: Floats, radius_m: float, map_size: int
) -> None:
    """Draws what stands still over ``still``, in place, with the shadows that ``casters`` throw on all of it."""
    height, width = still.ambient.shape[:2]
    rays, projection, focal = _sample_rays(camera, width, height)
    shadow = np.empty((map_size, map_size), np.float32)
    origin = _shadow_map(casters, still.light, centre_m, radius_m, shadow)
    reached = np.empty((height, width), np.float32)
    shares(still.place, shadow, radius_m, origin, SHADOW_BIAS_M, reached)
    still.direct[:] *= reached[..., None]
    ids = np.full(still.depth.shape, -1, np.int32)
    touched = _untouched(1, width, height)
    cast_rows(rows, rays, projection, focal, False, still.depth, ids, touched)
    if touched[0, 2] < 0:
        return
    i0, j0, i1, j1 = (int(edge) for edge in touched[0])
    ambient, direct, points = (np.zeros((2 * height, 2 * width, 3), np.float32) for _ in range(3))
    shade(
        rows, rays, still.light, ids, still.depth, touched[0], shadow, radius_m, origin, SHADOW_BIAS_M, ambient, direct,
        points,
    )  # fmt: skip
    across, down = slice(i0 // 2, i1 // 2 + 1), slice(j0 // 2, j1 // 2 + 1)

    def by_pixel(samples: NDArray[Any]) -> NDArray[Any]:
        """(2 H, 2 W, ...) -> the window's (h, w, 4, ...)."""
        inner = samples[2 * down.start : 2 * down.stop, 2 * across.start : 2 * across.stop]
        high, wide = inner.shape[0] // 2, inner.shape[1] // 2
        split = inner.reshape(high, 2, wide, 2, *inner.shape[2:]).swapaxes(1, 2)  # (h, w, 2, 2, ...)
        return split.reshape(high, wide, 4, *inner.shape[2:])

    fresh = by_pixel(np.asarray(ids >= 0))
    share = fresh.astype(np.float32).mean(-1, keepdims=True)
    for target, samples in ((still.ambient, ambient), (still.direct, direct)):
        target[down, across] = (1 - share) * target[down, across] + by_pixel(samples).mean(2)
    # The first fresh sample of a pixel stands for it when a shadow falls there.
    chosen = np.take_along_axis(by_pixel(points), fresh.argmax(-1)[..., None, None], axis=2)[:, :, 0]
    still.place[down, across] = np.where(fresh.any(-1, keepdims=True), chosen, still.place[down, across])


@lru_cache(maxsize=24)
def _room_still(room_seed: int, camera: Camera, width: int, height: int) -> _Still:
    """The empty room."""
    room = build_room(room_seed)
    pose = np.zeros((1, 3)), np.eye(3)[None]
    furniture = [part for item in in_view(room, camera) for part in item.parts]
    solid = finish(place(furniture, *pose))[0]
    shell = finish(place(room.shell, *pose))[0]
    still = _Still(
        depth=np.full((2 * height, 2 * width), FAR, np.float32),
        ambient=np.full((height, width, 3), 0.2, np.float32),
        direct=np.zeros((height, width, 3), np.float32),
        place=np.full((height, width, 3), 1e6, np.float32),
        light=room.light,
    )
    _paint_still(still, np.concatenate([shell, solid]), solid, camera, np.array([0.0, 0.0, 1.0]), 4.5, 900)
    return still


def _with_furniture(still: _Still, rows: Rows, camera: Camera) -> _Still:
    """The room with the pieces that an action needs."""
    added = _Still(still.depth.copy(), still.ambient.copy(), still.direct.copy(), still.place.copy(), still.light)
    _paint_still(added, rows, rows, camera, np.append(rows[:, 1:3].mean(0), 0.5), 1.8, 260)
    return added


@lru_cache(maxsize=1)
def _grain() -> NDArray[np.float32]:
    return np.random.default_rng(20).standard_normal(GRAIN, dtype=np.float32)


def _frame_count(scene: Scene) -> int:
    lengths = {len(performer.joints_m) for performer in scene.performers}
    lengths |= {len(performer.head_rotation) for performer in scene.performers}
    lengths |= {len(prop.centre_m) for prop in scene.props} | {len(prop.rotation) for prop in scene.props}
    if len(lengths) != 1:
        raise ValueError(f"performers and props of one scene need the same number of frames, got {sorted(lengths)}")
    return lengths.pop()


def _visible(
    joints: Floats, ids: NDArray[np.int32], depth: NDArray[np.float32], owners: Floats, own_tolerance_m: Floats
) -> NDArray[np.bool_]:
    """Which joints (M, V, 3), pixels and metres of depth, the samples ``depth`` (2 H, 2 W) leave in sight: (M, V)."""
    people = len(joints)
    spot = np.floor(2 * joints[..., :2] + 1)
    inside = (spot >= 0).all(-1) & (spot < np.array(depth.shape)[::-1]).all(-1) & (joints[..., 2] > NEAR)
    column, row = np.where(inside[..., None], spot, 0).astype(np.int64).transpose(2, 0, 1)  # (M, V) each
    front = ids[row, column]
    own = (front >= 0) & (owners[front] == np.arange(people)[:, None])
    slack = np.where(own, own_tolerance_m[:, None], OTHER_TOLERANCE_M)
    return np.asarray(inside & (joints[..., 2] - depth[row, column] <= slack), np.bool_)


def _draw(scene: Scene, width: int, height: int, paint: bool) -> tuple[Frames, GroundTruth]:
    if width < 2 or height < 2:
        raise ValueError(f"a picture of at least 2 x 2 pixels expected, got {width} x {height}")
    count, people, points = _frame_count(scene), len(scene.performers), len(COCO_JOINTS)
    still = _room_still(scene.room_seed, scene.camera, width, height)
    if scene.furniture:
        fixed = np.concatenate([prop_rows(piece)[0] for piece in scene.furniture])
        still = _with_furniture(still, finish(fixed), scene.camera)
    light = still.light
    moving = [body_rows(performer, owner) for owner, performer in enumerate(scene.performers)]
    rows = finish(np.concatenate([*moving, *(prop_rows(prop) for prop in scene.props)], axis=1))
    owners = rows[0, :, OWNER]
    rays, projection, focal = _sample_rays(scene.camera, width, height)
    # One shadow map over everything that moves.
    pivots = np.stack([p.joints_m.mean(1) for p in scene.performers] or [p.centre_m for p in scene.props]).astype(
        np.float64
    )
    centres_m = pivots.mean(0)
    radius_m = SHADOW_RADIUS_M + float(np.linalg.norm(pivots - centres_m, axis=-1).max())

    joints_m = np.zeros((count, people, points, 3), np.float32)
    for m, performer in enumerate(scene.performers):
        joints_m[:, m] = performer.joints_m[:, :points]
    pixels, distance = project(joints_m, scene.camera, width, height)
    joints = np.nan_to_num(np.concatenate([pixels, distance[..., None]], axis=-1)).astype(np.float64)
    girths = np.array([p.build.girth * p.build.height_m / 1.72 for p in scene.performers], dtype=np.float64)

    rng = np.random.default_rng((scene.noise_seed, 0x5E))
    gain = rng.uniform(0.88, 1.12) * (1 + 0.012 * rng.standard_normal(count))
    grain_scale = float(rng.uniform(0.006, 0.018))
    starts = rng.integers(0, GRAIN, count)

    frames = np.zeros((count if paint else 0, height, width, 3), np.uint8)
    boxes = np.full((count, people, 4), np.nan, np.float32)
    visible = np.zeros((count, people, points), np.bool_)
    depth, ids = np.empty_like(still.depth), np.empty(still.depth.shape, np.int32)
    samples = [np.empty((2 * height, 2 * width, 3), np.float32) for _ in range(3)]
    shadow, reached = np.empty((SHADOW_MAP, SHADOW_MAP), np.float32), np.empty((height, width), np.float32)
    for t in range(count):
        np.copyto(depth, still.depth)
        ids.fill(-1)
        touched = _untouched(people + 1, width, height)
        cast_rows(rows[t], rays, projection, focal, False, depth, ids, touched)
        drawn = touched[:people, 2] >= 0
        # Sample i covers pixel coordinates i / 2 - 0.5 to i / 2.
        boxes[t, drawn] = touched[:people][drawn] / 2 - np.array([0.5, 0.5, 0.0, 0.0])
        visible[t] = _visible(joints[t], ids, depth, owners, OWN_TOLERANCE_M * girths)
        if not paint:
            continue
        window = touched[people]
        origin = _shadow_map(rows[t], light, centres_m[t], radius_m, shadow)
        shade(rows[t], rays, light, ids, depth, window, shadow, radius_m, origin, SHADOW_BIAS_M, *samples)
        shares(still.place, shadow, radius_m, origin, SHADOW_BIAS_M, reached)
        develop(
            still.ambient, still.direct, reached, ids, samples[0], samples[1], window, gain[t], _grain(), starts[t],
            grain_scale, frames[t],
        )  # fmt: skip
    boxes = np.clip(boxes, 0, np.array([width, height, width, height], np.float32) - 1)
    return frames, GroundTruth(pixels, visible, boxes)


def render(scene: Scene, width: int, height: int) -> Frames:
    """The clip of a scene: (T, H, W, 3) uint8 RGB. The same scene gives the same bytes.

    Raises:
        ValueError: unequal numbers of frames, an unknown prop, pattern or hair style, a camera that looks straight
        down.
    """
    return _draw(scene, width, height, paint=True)[0]


def ground_truth(scene: Scene, width: int, height: int) -> GroundTruth:
    """Joints, their visibility and boxes of everybody in a scene, without painting it."""
    return _draw(scene, width, height, paint=False)[1]


def render_with_truth(scene: Scene, width: int, height: int) -> tuple[Frames, GroundTruth]:
    """Both, at the price of :func:`render` alone."""
    return _draw(scene, width, height, paint=True)
