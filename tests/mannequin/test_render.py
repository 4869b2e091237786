"""The renderer of the mannequin benchmark: geometry, pictures, ground truth, corruptions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from hpnet.core.skeleton import COCO_JOINTS
from hpnet.mannequin import CORRUPTIONS, primitives, raster
from hpnet.mannequin.body import HAIR_STYLES, PATTERNS
from hpnet.mannequin.corruption import corrupt
from hpnet.mannequin.props import KINDS, prop_rows
from hpnet.mannequin.render import ground_truth, project, render, render_with_truth
from hpnet.mannequin.rooms import build_room
from hpnet.mannequin.scene import BODY_JOINTS, Build, Camera, Looks, Performer, Prop, Scene

WIDTH, HEIGHT = 160, 120
FRONT = Camera((4.2, 0.0, 1.3), (0.0, 0.0, 0.95), 40.0)
LOOKS = Looks(
    skin=(0.85, 0.65, 0.5), hair=(0.2, 0.12, 0.08), top=(0.8, 0.1, 0.1), top_second=(0.9, 0.9, 0.9),
    bottom=(0.15, 0.2, 0.5), shoes=(0.1, 0.1, 0.1),
)  # fmt: skip
STANDING: dict[str, tuple[float, float, float]] = {
    "pelvis": (0, 0, 0.92), "spine": (0, 0, 1.16), "neck": (0, 0, 1.41), "head": (0.01, 0, 1.6),
    "nose": (0.115, 0, 1.58), "left_eye": (0.094, 0.033, 1.62), "right_eye": (0.094, -0.033, 1.62),
    "left_ear": (0.006, 0.078, 1.6), "right_ear": (0.006, -0.078, 1.6),
    "left_shoulder": (0, 0.185, 1.385), "left_elbow": (0, 0.27, 1.11), "left_wrist": (0.03, 0.3, 0.86),
    "left_hand": (0.04, 0.3, 0.78), "left_hip": (0, 0.105, 0.92), "left_knee": (0.02, 0.11, 0.49),
    "left_ankle": (0, 0.11, 0.075), "left_toe": (0.16, 0.13, 0.03),
}  # fmt: skip


def performer(frames: int = 2, yaw: float = 0.0, shift: tuple[float, float] = (0.0, 0.0), **looks: object) -> Performer:
    """Somebody who stands still, arms down."""
    points = {
        **STANDING,
        **{k.replace("left", "right"): (x, -y, z) for k, (x, y, z) in STANDING.items() if "left" in k},
    }
    joints = np.array([points[name] for name in BODY_JOINTS])
    turn = primitives.turn("z", np.degrees(yaw))
    joints = joints @ turn.T + np.array([*shift, 0.0])
    return Performer(
        subject=1,
        build=Build(),
        looks=replace(LOOKS, **looks),  # type: ignore[arg-type]
        joints_m=np.tile(joints, (frames, 1, 1)).astype(np.float32),
        head_rotation=np.tile(turn, (frames, 1, 1)).astype(np.float32),
    )


def prop(kind: str, centre: tuple[float, float, float], frames: int = 2, scale: float = 1.0) -> Prop:
    rotation = np.tile(np.eye(3, dtype=np.float32), (frames, 1, 1))
    return Prop(kind, np.tile(np.array(centre, np.float32), (frames, 1)), rotation, (0.9, 0.75, 0.1), scale)


def scene(*performers: Performer, props: tuple[Prop, ...] = (), **other: object) -> Scene:
    settings: dict[str, object] = {"room_seed": 4, "camera": FRONT, "noise_seed": 3, **other}
    return Scene(performers, props, **settings)  # type: ignore[arg-type]


def difference(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Largest difference of the channels of each pixel."""
    return np.abs(first.astype(np.int64) - second).max(-1)


def cast_parallel(part: primitives.Part, count: int = 80, reach: float = 1.0) -> tuple[NDArray[np.float64], ...]:
    """Parallel rays down from z = 3 on a (count, count) grid: the points hit (K, 3) and all grid positions (count,)."""
    rows = primitives.finish(primitives.place([part], np.zeros((1, 3)), np.eye(3)[None]))[0]
    grid = (np.arange(count) + 0.5) / count * 2 * reach - reach
    pitch = 2 * reach / count
    rays = np.array([[grid[0], grid[0], 3.0], [pitch, 0, 0], [0, pitch, 0], [0, 0, -1.0], [0, 0, 0], [0, 0, 0]])
    projection = np.array([[1 / pitch, 0, 0, -grid[0] / pitch], [0, 1 / pitch, 0, -grid[0] / pitch], [0, 0, 0, 1.0]])
    depth = np.full((count, count), raster.FAR, np.float32)
    ids = np.full((count, count), -1, np.int32)
    raster.cast_rows(rows, rays, projection, 1 / pitch, True, depth, ids, np.array([[count, count, -1, -1]]))
    j, i = np.nonzero(ids >= 0)
    return np.stack([grid[i], grid[j], 3.0 - depth[j, i]], axis=-1), grid


def test_project_follows_the_pinhole_model() -> None:
    camera = Camera((4.0, 0.0, 1.0), (0.0, 0.0, 1.0), 40.0)
    pixels, depth = project([[0, 0, 1], [0, 0.5, 1], [0, 0, 1.5], [6, 0, 1]], camera, 320, 240)
    focal = 120 / np.tan(np.radians(20))
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(depth, [4, 4, 4, -2], atol=1e-5)
    np.testing.assert_allclose(pixels[0], [159.5, 119.5], atol=1e-3)
    np.testing.assert_allclose(pixels[1], [159.5 + focal / 8, 119.5], atol=1e-3)
    np.testing.assert_allclose(pixels[2], [159.5, 119.5 - focal / 8], atol=1e-3)
    assert np.isnan(pixels[3]).all()


@pytest.mark.parametrize(("first", "second"), [(0.3, 0.3), (0.35, 0.12), (0.1, 0.4), (0.5, 0.05)])
def test_limb_surface_is_the_hull_of_its_balls(first: float, second: float) -> None:
    start, end = np.array([-0.3, -0.2, 0.1]), np.array([0.25, 0.2, 0.4])
    points, _ = cast_parallel(primitives.limb(start, end, first, second, primitives.Style((1, 1, 1))))
    share = np.linspace(0, 1, 2001)[:, None]
    centres, radii = start + share * (end - start), first + share[:, 0] * (second - first)
    distance = np.linalg.norm(points[:, None] - centres, axis=-1) - radii
    assert len(points) > 300
    assert np.abs(distance.min(1)).max() < 2e-4


def test_ball_box_and_drum_surfaces() -> None:
    style = primitives.Style((1, 1, 1))
    rotation = primitives.turn("x", 30) @ primitives.turn("y", 20)
    points, grid = cast_parallel(primitives.ball((0.1, 0, 0), (0.5, 0.3, 0.2), style, rotation))
    local = (points - [0.1, 0, 0]) @ rotation / [0.5, 0.3, 0.2]
    np.testing.assert_allclose(np.linalg.norm(local, axis=-1), 1, atol=1e-4)
    points, _ = cast_parallel(primitives.box((0, 0, 0), (1.0, 0.6, 0.4), style, rotation))
    np.testing.assert_allclose(np.abs(points @ rotation / [0.5, 0.3, 0.2]).max(-1), 1, atol=1e-4)
    points, _ = cast_parallel(primitives.drum((0, 0, 0), (0, 0, 0.5), 0.6, 0.3, style))
    radius = np.linalg.norm(points[:, :2], axis=-1)
    np.testing.assert_allclose(points[:, 2], np.where(radius <= 0.3, 0.5, 0.5 * (0.6 - radius) / 0.3), atol=1e-4)
    x, y = np.meshgrid(grid, grid)
    assert len(points) == (np.hypot(x, y) <= 0.6).sum()


def test_a_quad_shows_its_face_alone() -> None:
    up = primitives.quad((0, 0, 0), 1.0, 0.5, primitives.Style((1, 1, 1)), np.eye(3))
    down = primitives.quad((0, 0, 0), 1.0, 0.5, primitives.Style((1, 1, 1)), np.diag([1.0, -1.0, -1.0]))
    assert len(cast_parallel(up)[0]) == 40 * 20
    assert len(cast_parallel(down)[0]) == 0


def test_boxes_of_samples_stay_inside_small_arrays_for_many_owners() -> None:
    """Owners beyond the boxes asked for count into the last one, and nothing is written elsewhere."""
    rows = primitives.place(
        [primitives.ball((0, 0, 0), 0.4, primitives.Style((1, 1, 1)))], np.zeros((1, 3)), np.eye(3)[None]
    )
    rows[..., primitives.OWNER] = 1
    guarded = np.full((3, 4), 7, np.int64)
    guarded[1] = [80, 80, -1, -1]
    rays = np.array([[-1, -1, 3.0], [0.025, 0, 0], [0, 0.025, 0], [0, 0, -1.0], [0, 0, 0], [0, 0, 0]])
    projection = np.array([[40.0, 0, 0, 40], [0, 40, 0, 40], [0, 0, 0, 1.0]])
    depth, ids = np.full((80, 80), raster.FAR, np.float32), np.full((80, 80), -1, np.int32)
    raster.cast_rows(primitives.finish(rows)[0], rays, projection, 40.0, True, depth, ids, guarded[1:2])
    assert (guarded[[0, 2]] == 7).all()
    assert np.abs(guarded[1] - [24, 24, 56, 56]).max() <= 1


def test_render_is_deterministic_and_noise_is_its_own_seed() -> None:
    here = scene(performer())
    frames = render(here, WIDTH, HEIGHT)
    assert frames.shape == (2, HEIGHT, WIDTH, 3)
    assert frames.dtype == np.uint8
    np.testing.assert_array_equal(frames, render(here, WIDTH, HEIGHT))
    noisy = render(replace(here, noise_seed=4), WIDTH, HEIGHT)
    assert (frames != noisy).any()
    assert np.median(difference(frames, noisy)) < 40
    assert np.median(difference(frames, render(replace(here, room_seed=5), WIDTH, HEIGHT))) > 5


def test_one_frame_and_odd_sizes() -> None:
    frames, truth = render_with_truth(scene(performer(1)), 101, 77)
    assert frames.shape == (1, 77, 101, 3)
    assert truth.keypoints_px.shape == (1, 1, 17, 2)


def test_frames_and_truth_agree_whichever_way_they_are_asked_for() -> None:
    here = scene(performer(), performer(shift=(0.2, 0.8)))
    frames, truth = render_with_truth(here, WIDTH, HEIGHT)
    alone = ground_truth(here, WIDTH, HEIGHT)
    np.testing.assert_array_equal(frames, render(here, WIDTH, HEIGHT))
    np.testing.assert_array_equal(truth.boxes_xyxy_px, alone.boxes_xyxy_px)
    np.testing.assert_array_equal(truth.visible, alone.visible)
    np.testing.assert_array_equal(truth.keypoints_px, alone.keypoints_px)


def test_truth_of_one_standing_person() -> None:
    body = performer()
    truth = ground_truth(scene(body), WIDTH, HEIGHT)
    pixels, _ = project(body.joints_m[:, :17], FRONT, WIDTH, HEIGHT)
    np.testing.assert_array_equal(truth.keypoints_px[:, 0], pixels)
    assert truth.visible.all(), [COCO_JOINTS[k] for k in np.nonzero(~truth.visible[0, 0])[0]]
    x0, y0, x1, y1 = truth.boxes_xyxy_px[0, 0]
    ends, _ = project([[0, 0, 1.72], [0, 0, 0]], FRONT, WIDTH, HEIGHT)
    assert abs(y0 - ends[0, 1]) < 2
    assert abs(y1 - ends[1, 1]) < 4
    assert x0 < pixels[..., 0].min() < pixels[..., 0].max() < x1
    assert 0.2 < (x1 - x0) / (y1 - y0) < 0.5


def test_the_box_is_where_the_picture_changes() -> None:
    """Compared with the same person gone far away, pixels change inside the box, and below it (the shadow) at most."""
    with_person, truth = render_with_truth(scene(performer(1)), WIDTH, HEIGHT)
    without = render(scene(performer(1, shift=(0.0, 50.0))), WIDTH, HEIGHT)
    changed = difference(with_person[0], without[0]) > 45
    x0, y0, x1, y1 = truth.boxes_xyxy_px[0, 0]
    rows, columns = np.nonzero(changed[: int(y0 + 0.7 * (y1 - y0))])
    assert abs(columns.min() - x0) <= 2
    assert abs(columns.max() - x1) <= 2
    assert abs(rows.min() - y0) <= 2


def test_a_person_throws_a_shadow() -> None:
    with_person, truth = render_with_truth(scene(performer(1)), WIDTH, HEIGHT)
    without = render(scene(performer(1, shift=(0.0, 50.0))), WIDTH, HEIGHT)
    outside = np.ones((HEIGHT, WIDTH), bool)
    x0, y0, x1, y1 = truth.boxes_xyxy_px[0, 0].round().astype(int)
    outside[y0 - 1 : y1 + 2, x0 - 1 : x1 + 2] = False
    change = with_person[0].astype(int).sum(-1) - without[0].astype(int).sum(-1)
    assert (change[outside] < -60).sum() > 20
    assert (change[outside] > 60).sum() < 5


def test_visibility_from_behind_and_behind_others() -> None:
    index = {name: k for k, name in enumerate(COCO_JOINTS)}
    away = ground_truth(scene(performer(1, yaw=np.pi)), WIDTH, HEIGHT).visible[0, 0]
    assert not away[[index["nose"], index["left_eye"], index["right_eye"]]].any()
    assert away[[index["left_elbow"], index["right_knee"]]].all()
    near, far = performer(1, shift=(0.6, 0.0)), performer(1, shift=(-0.6, 0.0))
    seen = ground_truth(scene(near, far), WIDTH, HEIGHT).visible[0]
    assert seen[0].all()
    assert seen[1].sum() <= 8
    hidden = ground_truth(scene(performer(1), furniture=(prop("box", (0.6, 0, 0.3), 1, 2.5),)), WIDTH, HEIGHT)
    assert not hidden.visible[0, 0, index["left_ankle"]]
    assert hidden.visible[0, 0, index["nose"]]
    open_view = ground_truth(scene(performer(1)), WIDTH, HEIGHT)
    np.testing.assert_array_equal(hidden.boxes_xyxy_px, open_view.boxes_xyxy_px)


def test_people_out_of_the_frame_or_absent() -> None:
    truth = ground_truth(
        scene(performer(1), performer(1, shift=(0.0, 9.0)), performer(1, shift=(8.0, 0.0))), WIDTH, HEIGHT
    )
    assert np.isfinite(truth.boxes_xyxy_px[0, 0]).all()
    assert np.isnan(truth.boxes_xyxy_px[0, 1:]).all()
    assert not truth.visible[0, 1:].any()
    assert np.isnan(truth.keypoints_px[0, 2]).any()
    frames, truth = render_with_truth(scene(props=(prop("chair", (0, 0, 0)),)), WIDTH, HEIGHT)
    assert frames.shape[0] == 2
    assert truth.boxes_xyxy_px.shape == (2, 0, 4)


def test_boxes_are_clipped_to_the_frame() -> None:
    near = Camera((1.6, 0.0, 1.5), (0.0, 0.0, 1.4), 40.0)
    box = ground_truth(scene(performer(1), camera=near), WIDTH, HEIGHT).boxes_xyxy_px[0, 0]
    assert box[3] == HEIGHT - 1
    assert box[1] >= 0


def test_front_and_back_of_the_head_differ() -> None:
    front, truth = render_with_truth(scene(performer(1)), 320, 240)
    back = render(scene(performer(1, yaw=np.pi)), 320, 240)
    x, y = truth.keypoints_px[0, 0, 0].round().astype(int)
    skin = front[0, y - 1 : y + 3, x - 3 : x + 4].mean((0, 1))
    hair = back[0, y - 1 : y + 3, x - 3 : x + 4].mean((0, 1))
    assert skin.sum() > hair.sum() + 80


@pytest.mark.parametrize("hair_style", HAIR_STYLES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_clothes_and_hair_are_drawn(hair_style: str, pattern: str) -> None:
    plain = render(scene(performer(1)), 80, 60)
    other = render(scene(performer(1, hair_style=hair_style, pattern=pattern, sleeves=0.4, trousers=0.4)), 80, 60)
    assert (difference(plain, other) > 30).sum() > 5


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_prop_can_be_seen(kind: str) -> None:
    closer = Camera((1.2, 0.0, 1.3), (0.0, 0.0, 1.2), 40.0)
    shown = prop(kind, (0, 0, 1.2), 1)
    hidden = replace(shown, shown=np.zeros(1, bool))
    rows = prop_rows(shown)
    assert rows.shape[::2] == (1, primitives.WIDTH)
    assert np.isfinite(rows).all()
    with_prop, without = (render(scene(props=(p,), camera=closer), 80, 60) for p in (shown, hidden))
    assert (difference(with_prop, without) > 25).sum() > 12


def test_a_cup_and_a_phone_at_the_head_are_told_apart() -> None:
    cup, phone = (
        render(scene(performer(1), props=(prop(k, (0.12, -0.09, 1.56), 1),)), 320, 240) for k in ("cup", "phone")
    )
    assert (difference(cup, phone) > 40).sum() > 40


def test_rooms_differ_and_leave_the_middle_free() -> None:
    for seed in range(12):
        room = build_room(seed)
        assert len(room.items) > 4
        np.testing.assert_allclose(room.light[raster.TOWARDS :] @ room.light[raster.TOWARDS :].T, np.eye(3), atol=1e-9)
        for item in room.items:
            if item.height_m > 0.05:
                assert np.linalg.norm(item.centre_m) > 2.0
    first, second = build_room(1), build_room(1)
    np.testing.assert_array_equal(first.light, second.light)
    assert len(first.items) == len(second.items)
    assert (first.light != build_room(2).light).any()


def test_bad_scenes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown prop 'cupp'.*cup"):
        render(scene(performer(), props=(prop("cupp", (0, 0, 1)),)), 80, 60)
    with pytest.raises(ValueError, match=r"pattern 'zebra'.*stripes"):
        render(scene(performer(pattern="zebra")), 80, 60)
    with pytest.raises(ValueError, match=r"hair style 'mohawk'.*short"):
        render(scene(performer(hair_style="mohawk")), 80, 60)
    with pytest.raises(ValueError, match=r"same number of frames.*\[2, 3\]"):
        render(scene(performer(2), performer(3)), 80, 60)
    with pytest.raises(ValueError, match="straight up or down"):
        render(scene(performer(), camera=Camera((0, 0, 4), (0, 0, 1))), 80, 60)
    with pytest.raises(ValueError, match="vertical_fov_deg"):
        render(scene(performer(), camera=replace(FRONT, vertical_fov_deg=170.0)), 80, 60)
    short = performer()
    with pytest.raises(ValueError, match=r"\(T, 25, 3\) expected, got \(2, 17, 3\)"):
        render(scene(replace(short, joints_m=short.joints_m[:, :17])), 80, 60)


def test_corruptions() -> None:
    clip = render(scene(performer(3)), WIDTH, HEIGHT)
    before = clip.copy()
    made = {kind: corrupt(clip, kind, 5) for kind in CORRUPTIONS}
    np.testing.assert_array_equal(clip, before)
    np.testing.assert_array_equal(made["none"], clip)
    for kind, frames in made.items():
        assert frames.shape == clip.shape
        assert frames.dtype == np.uint8
        np.testing.assert_array_equal(frames, corrupt(clip, kind, 5))
        if kind != "none":
            assert (frames != corrupt(clip, kind, 6)).any()
    assert made["night"].mean() < 0.45 * clip.mean()
    assert (made["overexposure"] == 255).mean() > (clip == 255).mean() + 0.1
    covered = (difference(made["occlusion"], clip) > 0).mean((1, 2))
    assert (covered > 0.1).all()
    assert (covered < 0.4).all()
    sharp, soft, rough = (np.abs(np.diff(made[k].astype(int), axis=2)).mean() for k in ("none", "blur", "noise"))
    assert soft < 0.7 * sharp
    assert rough > 3 * sharp


def test_corrupt_refuses_bad_input() -> None:
    with pytest.raises(ValueError, match=r"unknown corruption 'fog'.*night"):
        corrupt(np.zeros((1, 4, 4, 3), np.uint8), "fog", 0)
    with pytest.raises(ValueError, match=r"\(T, H, W, 3\)"):
        corrupt(np.zeros((4, 4, 3), np.uint8), "night", 0)
