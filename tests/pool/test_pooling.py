from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hpnet.artifacts.features import Features
from hpnet.artifacts.files import read_json
from hpnet.artifacts.poses import ClipPoses, PoseMeta, PoseStore
from hpnet.core import poses, resampling
from hpnet.core.skeleton import COCO17, HAND21
from hpnet.data.released import export_features, to_released
from hpnet.pool import pooling
from hpnet.pool.features import clip_features, feature_meta, people_valid
from hpnet.pool.params import PoolParams
from hpnet.pool.step import FAULTS, PoolWork, merge, pool_items, pool_key, run
from hpnet.work.shards import run_shards
from tests import golden


def test_region_is_the_centre_of_the_window():
    window = np.random.default_rng(0).standard_normal((2, 1, 17, 5, 5, 4)).astype(np.float16)
    np.testing.assert_array_equal(pooling.pool_windows(window, 1), window[:, :, :, 2, 2].astype(np.float32))
    inner = window[:, :, :, 1:4, 1:4].astype(np.float32)
    np.testing.assert_allclose(pooling.pool_windows(window, 3), inner.mean((3, 4)), rtol=1e-6)
    np.testing.assert_array_equal(pooling.pool_windows(window, 3, "max"), inner.max((3, 4)))
    np.testing.assert_array_equal(pooling.pool_windows(window, 5, "max"), window.astype(np.float32).max((3, 4)))


def test_region_larger_than_the_window_names_the_parameter():
    window = np.zeros((1, 1, 1, 3, 3, 1), np.float16)
    with pytest.raises(ValueError, match=r"pool.region is 5.*estimate.window to 5"):
        pooling.pool_windows(window, 5)
    with pytest.raises(ValueError, match="odd"):
        pooling.pool_windows(window, 2)
    with pytest.raises(ValueError, match="mean, max"):
        pooling.pool_windows(window, 1, "median")


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 70))
def test_resampling_is_linear_interpolation_without_aligned_corners(count, frames):
    series = np.random.default_rng(count).standard_normal((count, 3)).astype(np.float32)
    expected = torch.nn.functional.interpolate(torch.from_numpy(series.T[None]), size=frames, mode="linear")[0].T
    np.testing.assert_allclose(resampling.resample(series, frames), expected.numpy(), atol=1e-5)


def test_released_features_are_16_frames_resampled_so_to_64():
    released = golden.load("pooling")["over_time"].transpose(1, 0, 2).reshape(64, -1).astype(np.float64)
    weights = resampling.resample(np.eye(16), 64).astype(np.float64)  # (64, 16): resampling is linear
    frames = np.linalg.lstsq(weights, released, rcond=None)[0]  # 64 equations for each 16 frames: they agree or not
    np.testing.assert_allclose(weights @ frames, released, rtol=0, atol=1e-4)
    assert np.abs(np.diff(frames, axis=0)).mean() > 1  # they move: another resampling does not fit by chance


def test_same_length_is_the_same():
    series = np.random.default_rng(0).standard_normal((24, 17, 3)).astype(np.float32)
    np.testing.assert_array_equal(resampling.resample(series, 24), series)


def test_nothing_to_resample_is_an_error():
    with pytest.raises(ValueError, match="0 frames"):
        resampling.resample(np.zeros((0, 3)), 4)


def test_gaps_are_bridged_and_never_zero():
    series = np.array([[9.0], [1.0], [99.0], [99.0], [4.0], [7.0]])
    valid = np.array([False, True, False, False, True, False])
    assert resampling.fill_gaps(series, valid)[:, 0].tolist() == [1, 1, 2, 3, 4, 4]
    assert resampling.person_features(series, valid, 3).min() >= 1
    assert resampling.person_features(series, np.zeros(6, bool), 3).tolist() == [[0], [0], [0]]


@pytest.mark.parametrize("seed", range(8))
def test_gaps_are_filled_by_linear_interpolation(seed):
    rng = np.random.default_rng(seed)
    series = rng.standard_normal((12, 3, 2)).astype(np.float32)
    valid = rng.random(12) < 0.5
    valid[rng.integers(12)] = True
    known = np.flatnonzero(valid)
    filled = resampling.fill_gaps(series, valid)
    for v, c in np.ndindex(3, 2):
        expected = np.interp(np.arange(12), known, series[known, v, c])
        np.testing.assert_allclose(filled[:, v, c], expected, atol=1e-5)


def test_parity_smears_zeros():
    series, valid = np.full((4, 1), 8.0), np.array([True, False, True, True])
    assert resampling.person_features(series, valid, 4, smear_zeros=True)[:, 0].tolist() == [8, 0, 8, 8]
    assert 0 < resampling.person_features(series, valid, 7, smear_zeros=True)[1, 0] < 8


def _walk():
    rng = np.random.default_rng(3)
    return rng.uniform(50, 150, (6, 2, 17, 2)).astype(np.float32), rng.uniform(0, 1, (6, 2, 17)).astype(np.float32)


def test_pose2d_does_not_depend_on_place_or_size_in_the_frame():
    keypoints, scores = _walk()
    valid = np.ones((6, 2), bool)
    reference = poses.pose2d(keypoints, scores, valid, COCO17)
    moved = poses.pose2d(keypoints * 2.5 + np.array([40, -7]), scores, valid, COCO17)
    np.testing.assert_allclose(moved, reference, atol=1e-4)
    np.testing.assert_array_equal(reference[..., 2], scores)


@pytest.mark.parametrize("size_px", [90.0, 0.25])
@pytest.mark.parametrize(("first", "frames_seen"), [(0, 5), (1, 5), (1, 1)])
def test_pose2d_by_hand(size_px, first, frames_seen):
    rng = np.random.default_rng(4)
    keypoints = (rng.uniform(0, 1, (5, 2, 17, 2)) * [size_px, 0.7 * size_px] + 30).astype(np.float32)
    keypoints[1] *= 3  # a frame that the medians leave out
    scores = rng.uniform(0, 1, (5, 2, 17)).astype(np.float32)
    valid = np.array([[1, 1], [1, 0], [0, 1], [1, 1], [1, 1]], bool)
    if first == 1:
        valid[:, 0] = False
        valid[frames_seen:] = False
    seen = [keypoints[t, first] for t in range(5) if valid[t, first]]
    left, right = COCO17.joints.index("left_hip"), COCO17.joints.index("right_hip")
    origin = [np.median([(k[left, axis] + k[right, axis]) / 2 for k in seen]) for axis in (0, 1)]
    extent = np.median([max(np.ptp(k[:, 0]), np.ptp(k[:, 1])) for k in seen])
    features = poses.pose2d(keypoints, scores, valid, COCO17)
    assert features.shape == (5, 2, 17, 3)
    for t, m, v in np.ndindex(5, 2, 17):
        expected = [(keypoints[t, m, v, axis] - origin[axis]) / max(extent, 1) for axis in (0, 1)]
        expected = [*expected, scores[t, m, v]] if valid[t, m] else [0, 0, 0]
        np.testing.assert_allclose(features[t, m, v], expected, rtol=1e-4, atol=1e-5)


def test_pose2d_of_a_skeleton_without_hips_starts_at_the_middle_of_all_joints():
    hand = np.random.default_rng(5).uniform(0, 50, (1, 1, 21, 2)).astype(np.float32)
    features = poses.pose2d(hand, np.ones((1, 1, 21), np.float32), np.ones((1, 1), bool), HAND21)
    np.testing.assert_allclose(features[..., :2].mean((0, 1, 2)), 0, atol=1e-5)
    assert np.ptp(features[0, 0, :, :2], axis=0).max() == pytest.approx(1)


def test_pose2d_keeps_motion_and_the_distance_between_people():
    keypoints, scores = _walk()
    valid = np.ones((6, 2), bool)
    apart = keypoints.copy()
    apart[:, 1] += [300, 0]
    near, far = (poses.pose2d(k, scores, valid, COCO17) for k in (keypoints, apart))
    assert (far[:, 1, :, 0] - near[:, 1, :, 0]).min() > 1
    np.testing.assert_allclose(far[:, 0], near[:, 0], atol=1e-5)
    steps = np.diff(near[:, 0, 0, :2], axis=0)
    assert np.linalg.norm(steps) > 0


def test_pose2d_without_people_and_without_hips():
    keypoints, scores = _walk()
    assert not poses.pose2d(keypoints, scores, np.zeros((6, 2), bool), COCO17).any()
    hands = np.random.default_rng(0).uniform(0, 9, (1, 1, 21, 2))
    assert np.isfinite(poses.pose2d(hands, np.ones((1, 1, 21)), np.ones((1, 1), bool), HAND21)).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([COCO17, HAND21]), st.sampled_from(["f4", "f2", "f8"]))
def test_pose2d_with_every_joint_seen_is_the_plain_formula_to_the_last_bit(seed, skeleton, dtype):
    rng = np.random.default_rng(seed)
    size = (int(rng.integers(1, 40)), int(rng.integers(1, 4)), skeleton.num_joints)
    keypoints, scores = rng.uniform(0, 900, (*size, 2)).astype(dtype), rng.uniform(1e-3, 1, size).astype("f4")
    valid = rng.random(size[:2]) < 0.8
    valid[0, 0] = True
    joints = keypoints[valid[:, 0], 0].astype(np.float32)
    hips = (
        [skeleton.joints.index(f"{side}_hip") for side in ("left", "right")] if skeleton is COCO17 else list(range(21))
    )
    origin = np.median(joints[:, hips].mean(1), axis=0)
    extent = float(np.median((joints.max(1) - joints.min(1)).max(1)))
    expected = np.zeros((*size, 3), np.float32)
    expected[..., :2] = (keypoints - origin) / max(extent, 1.0)
    expected[..., 2] = scores
    expected[~valid] = 0
    np.testing.assert_array_equal(poses.pose2d(keypoints, scores, valid, skeleton), expected)


@pytest.mark.filterwarnings("error")
def test_pose2d_leaves_joints_with_score_0_out_wherever_they_lie():
    keypoints, scores = _walk()
    scores = scores + 0.01
    hidden = np.random.default_rng(1).random(scores.shape) < 0.4
    hidden[2, 0] = True  # nothing of this person was seen
    scores[hidden] = 0
    valid = np.ones((6, 2), bool)
    here, there = (poses.pose2d(np.where(hidden[..., None], x, keypoints), scores, valid, COCO17) for x in (0, 1e5))
    np.testing.assert_array_equal(here, there)
    assert not here[2, 0].any()
    assert poses.people_seen(scores, valid).sum() == 11
    seen = here[3, 1][~hidden[3, 1]]
    np.testing.assert_allclose(here[3, 1][hidden[3, 1]], [[*seen[:, :2].mean(0), 0]] * hidden[3, 1].sum(), atol=1e-5)


def test_pose2d_without_a_hip_ever_seen_starts_at_the_middle_of_what_was_seen():
    keypoints, scores = _walk()
    scores = scores + 0.01
    scores[..., 11:13] = 0
    keypoints[..., 11:13, :] = 5000
    features = poses.pose2d(keypoints[:1], scores[:1], np.ones((1, 2), bool), COCO17)
    np.testing.assert_allclose(np.delete(features[0, 0, :, :2], [11, 12], 0).mean(0), 0, atol=1e-5)


def test_a_frame_in_which_no_joint_was_seen_is_bridged_and_a_person_never_seen_is_nobody():
    frames = 5
    meta = PoseMeta("p", "digest", COCO17, (192, 256), {}, 1)
    keypoints = np.repeat(np.random.default_rng(0).uniform(50, 90, (1, 2, 17, 2)), frames, 0).astype(np.float32)
    scores = np.full((frames, 2, 17), 0.5, np.float32)
    scores[2, 0] = scores[:, 1] = 0
    keypoints[2, 0] = 0
    clip = ClipPoses("a", keypoints, scores, np.zeros((frames, 2, 2, 3), np.float32), np.ones((frames, 2), bool), {})
    params = PoolParams(kind="pose2d", frames=frames)
    features = clip_features(clip, params, meta)
    np.testing.assert_allclose(features[0], np.repeat(features[0, :1], frames, 0), atol=1e-6)
    assert not features[1].any()
    assert people_valid(clip, params).any(0).tolist() == [True, False]
    assert people_valid(clip, PoolParams(kind="simcc")).all()


def test_the_papers_2d_pose_is_what_the_network_gave():
    keypoints, scores = _walk()
    valid = np.ones(keypoints.shape[:2], bool)
    valid[:2, 0] = False
    scores = scores.copy()
    scores[3, 0, 5] = 0  # a joint that was not seen keeps its place
    found = poses.raw_pose(keypoints, scores, valid)
    assert found.shape == (*keypoints.shape[:3], 2)
    assert not found[:2, 0].any()
    np.testing.assert_array_equal(found[valid], keypoints[valid])


def test_only_the_second_person_seen():
    keypoints, scores = _walk()
    valid = np.zeros((6, 2), bool)
    valid[2:, 1] = True
    features = poses.pose2d(keypoints, scores, valid, COCO17)
    assert not features[:, 0].any()
    assert not features[:2].any()
    assert features[2:, 1].any()


# --- the step over shards ---------------------------------------------------------------------------------------------

META = PoseMeta("test", "0", COCO17, (96, 128), {"h2s3": (4, 16, 12)}, 3, failed={"broken": "file is empty"}, vectors=6)


def _clip(clip_id, frames, persons, seen=True):
    rng = np.random.default_rng(len(clip_id) + frames)
    shape = (frames, persons, 17)
    return ClipPoses(
        clip_id,
        rng.uniform(0, 99, (*shape, 2)).astype(np.float32),
        rng.uniform(0, 1, shape).astype(np.float32),
        np.zeros((frames, persons, 2, 3), np.float32),
        np.full((frames, persons), seen),
        {"h2s3": (rng.uniform(1, 2, (*shape, 3, 3, 4)) * seen).astype(np.float16)},
        rng.standard_normal((*shape, 6)).astype(np.float16),
    )


@pytest.fixture
def store(tmp_path):
    clips = [_clip("alone", 7, 1), _clip("single-frame", 1, 1), _clip("pair", 9, 2), _clip("nobody", 5, 1, seen=False)]
    folder = tmp_path / "estimate"
    index = PoseStore.write_shard(folder, "shard-00000.safetensors", clips, META)
    PoseStore.write_index(folder, index, META)
    return PoseStore(folder)


def _run(store, tmp_path, **values):
    params = PoolParams(frames=8, **values)
    parts = run_shards(
        pool_items(store),
        PoolWork(params, store.folder),
        stage_dir=tmp_path / ".work",
        key=pool_key(params, store.meta),
        shard_size=2,
    )
    figures = merge(parts, tmp_path / "pool", feature_meta(params, store.meta))
    return Features.load(tmp_path / "pool"), figures


def test_a_clip_that_kills_its_process_has_zeros_and_its_reason(store, tmp_path):
    params = PoolParams(frames=8)
    killed = [replace(item, fault="killed it") if item.clip_id == "pair" else item for item in pool_items(store)]
    parts = run_shards(killed, PoolWork(params, store.folder), stage_dir=tmp_path / ".work", key={}, shard_size=2)
    figures = merge(parts, tmp_path / "pool", feature_meta(params, store.meta))
    features = Features.load(tmp_path / "pool")
    rows = features.index[features.index.clip_id == "pair"]
    assert not rows.valid.any()
    assert not features.array[rows.row].any()
    assert figures["persons"] == 2, "of the two other clips in which somebody is seen"
    assert {c: why for part in parts for c, why in read_json(part / FAULTS).items()} == {"pair": "killed it"}


def test_the_step_writes_its_figures_and_counts_what_failed(store, tmp_path, monkeypatch, capsys):
    params = PoolParams(frames=8)
    places = (store.folder, tmp_path / "pool", tmp_path / "pool.json")
    done = run(params, *places, max_failed=0, work=tmp_path / ".work")
    assert read_json(tmp_path / "pool.json") == done.figures
    assert done.failed == {}
    whole = run_shards

    def one_is_killed(items, *arguments, **options):
        return whole([replace(items[0], fault="killed it"), *items[1:]], *arguments, **options)

    monkeypatch.setattr("hpnet.work.shards.run_shards", one_is_killed)
    assert run(params, *places, max_failed=0.25, work=tmp_path / "again").failed == {"alone": "killed it"}
    assert capsys.readouterr().err == "alone: killed it\n"
    with pytest.raises(ValueError, match=r"1 of \d clips failed, more than data\.max_failed = 0\.1: fix or remove"):
        run(params, *places, max_failed=0.1, work=tmp_path / "once more")


def test_every_clip_has_a_row(store, tmp_path):
    features, figures = _run(store, tmp_path, region=3)
    assert features.array.shape == (6, 8, 17, 4)
    assert features.array.dtype == np.float16
    assert isinstance(features.array, np.memmap)
    table = features.index.set_index(["clip_id", "person"])
    assert sorted(table.index) == [
        ("alone", 0),
        ("broken", 0),
        ("nobody", 0),
        ("pair", 0),
        ("pair", 1),
        ("single-frame", 0),
    ]
    for clip_id in ("nobody", "broken"):
        assert not table.valid[clip_id, 0]
        assert not features.array[table.row[clip_id, 0]].any()
    clip = store.load("pair")
    expected = resampling.resample(pooling.pool_windows(clip.windows["h2s3"], 3)[:, 1], 8)
    np.testing.assert_allclose(features.array[table.row["pair", 1]], expected, rtol=1e-3)
    assert figures["clips"] == 5
    assert figures["persons"] == 4
    assert figures["without_person"] == 2
    assert figures["zeros"] == pytest.approx(2 / 6)


def test_a_clip_of_paper_size_takes_a_quarter_of_the_released_file_and_keeps_its_values(tmp_path):
    meta = PoseMeta("test", "0", COCO17, (192, 256), {"h2s3": (96, 32, 24)}, 1)
    rng = np.random.default_rng(0)
    seen = np.maximum(rng.normal(1.7, 3.0, (90, 1, 17, 1, 1, 96)), 0)  # as a network's: 0 to 30, many zeros
    shape = (90, 1, 17)
    poses = ClipPoses("clip", np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32),
                      np.zeros((90, 1, 2, 3), np.float32), np.ones((90, 1), bool),
                      {"h2s3": seen.astype(np.float16)})  # fmt: skip
    index = PoseStore.write_shard(tmp_path / "estimate", "shard-00000.safetensors", [poses], meta)
    PoseStore.write_index(tmp_path / "estimate", index, meta)
    store = PoseStore(tmp_path / "estimate")
    params = PoolParams(frames=64)
    parts = run_shards(pool_items(store), PoolWork(params, store.folder), stage_dir=tmp_path / ".work", key={})
    figures = merge(parts, tmp_path / "pool", feature_meta(params, store.meta))
    features = Features.load(tmp_path / "pool")
    assert figures["bytes_per_clip"] == features.array.nbytes <= 208_896
    assert isinstance(features.array, np.memmap)
    exact = resampling.resample(seen[:, 0, :, 0, 0].astype(np.float32), 64)
    np.testing.assert_allclose(features.array[0], exact, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("kind", "channels"), [("pose2d", 3), ("xy", 2), ("simcc", 6)])
def test_other_kinds(store, tmp_path, kind, channels):
    features, _ = _run(store, tmp_path, kind=kind)
    assert features.array.shape == (6, 8, 17, channels)
    assert features.meta.kind == kind


def test_errors_name_what_to_change(store, tmp_path):
    with pytest.raises(ValueError, match=r"estimate.window to 5"):
        feature_meta(PoolParams(region=5), store.meta)
    with pytest.raises(ValueError, match=r"'h1s3' was not cached.*estimate.taps"):
        feature_meta(PoolParams(tap="h1s3"), store.meta)
    without = PoseMeta.from_json({**store.meta.to_json(), "vectors": 0})
    with pytest.raises(ValueError, match=r"estimate\.vectors"):
        feature_meta(PoolParams(kind="simcc"), without)


def test_release_format(store, tmp_path):
    features, _ = _run(store, tmp_path)
    files = export_features(features, tmp_path / "out")
    assert {f.stem for f in files} == {"alone", "broken", "nobody", "pair", "single-frame"}
    alone, pair, nobody = (np.load(tmp_path / "out" / f"{name}.npy") for name in ("alone", "pair", "nobody"))
    assert alone.shape == (8, 2, 17, 4)
    assert alone.dtype == np.float32
    np.testing.assert_array_equal(alone[:, 0], alone[:, 1])
    assert not np.array_equal(pair[:, 0], pair[:, 1])
    assert not nobody.any()
    with pytest.raises(ValueError, match="at least one person"):
        to_released(np.zeros((0, 64, 17, 96)))


def test_command(store, tmp_path, monkeypatch):
    from hpnet.artifacts.files import read_json
    from hpnet.stages.cli import main

    monkeypatch.chdir(tmp_path)
    main(["pool", "--input", str(store.folder), "--frames", "8", "--out", "B"])
    assert len(Features.load(tmp_path / "B").array) == 6
    assert read_json(tmp_path / "metrics/pool.json")["clips"] == 5
    with pytest.raises(SystemExit) as stopped:
        main(["pool", "--input", str(store.folder), "--region", "5", "--out", "B"])
    assert stopped.value.code == 1
