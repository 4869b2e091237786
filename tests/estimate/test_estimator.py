import importlib.util
import json
import pickle
import re
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from hpnet.artifacts.boxes import Boxes
from hpnet.artifacts.files import read_json
from hpnet.artifacts.poses import ClipPoses, PoseStore
from hpnet.core.geometry import apply_affine, crop_affine
from hpnet.core.video import VideoError, write_video
from hpnet.data.walk import find_videos
from hpnet.estimate import networks
from hpnet.estimate.batches import ClipBoxes, ClipSource, FailedClip
from hpnet.estimate.estimator import PoseEstimator
from hpnet.estimate.evaluate import compare_with_truth, pose_figures
from hpnet.estimate.params import EstimateParams
from hpnet.estimate.reading import ROOM_BYTES, ReadAhead, Weighed, read_streams_ahead
from hpnet.estimate.specs import SPECS
from hpnet.estimate.step import EstimateWork, boxes_by_clip, clip_items, collect_shards, estimate_key, named_paths
from hpnet.pretrain.pose import save_weights
from hpnet.work.processes import Workers
from hpnet.work.shards import MANIFEST, ShardItem, run_shards


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_weights(networks.build(SPECS["mannequin-simcc"]), file)
    return str(file)


@pytest.fixture(scope="module")
def estimator(weights):
    params = EstimateParams(weights=weights, window=3, taps=("h2s3", "rgb"), vectors=True)
    return PoseEstimator(params, device="cpu", batch_size=4)


def _frames(count, seed=0, size=(60, 80)):
    return np.random.default_rng(seed).integers(0, 255, (count, *size, 3), dtype=np.uint8)


def _boxes(rows):
    frames, tracks = (np.array([r[i] for r in rows], np.int64) for i in (0, 1))
    return ClipBoxes(frames, tracks, np.array([[10.0, 5.0, 50.0, 55.0]] * len(rows)).reshape(-1, 4) + tracks[:, None])


def _source(clip_id, frames, rows):
    return ClipSource(clip_id, lambda: iter(frames), _boxes(rows))


HEADS = ("simcc", "heatmap")


def test_meta_says_what_is_cached(estimator):
    assert estimator.meta.taps == {"h2s3": (32, 16, 12), "rgb": (3, 128, 96)}
    assert estimator.meta.vectors == 448
    assert len(estimator.meta.weights_digest) == 64


def test_clips_of_every_kind_in_order(estimator):
    def breaks():
        yield _frames(1)[0]
        raise VideoError("breaks off after 1 of 9 frames")

    sources = [
        _source("two", _frames(3), [(0, 0), (1, 0), (2, 0), (1, 1)]),
        _source("nobody", _frames(4), []),
        ClipSource("broken", breaks, _boxes([(0, 0)])),
        _source("short", _frames(1, 1), [(0, 0), (5, 0)]),
        ClipSource("empty", lambda: iter(()), _boxes([])),
    ]
    two, nobody, broken, short, empty = estimator.estimate_clips(sources)
    assert isinstance(two, ClipPoses)
    assert two.valid.tolist() == [[True, False], [True, True], [True, False]]
    assert two.windows["h2s3"].shape == (3, 2, 17, 3, 3, 32)
    assert two.windows["h2s3"].dtype == np.float16
    assert two.vectors.shape == (3, 2, 17, 448)
    assert two.scores.min() >= 0
    assert two.scores.max() <= 1
    assert not two.keypoints_px[0, 1].any()
    assert isinstance(nobody, ClipPoses)
    assert nobody.valid.shape == (4, 1)
    assert not nobody.valid.any()
    assert broken == FailedClip("broken", "breaks off after 1 of 9 frames")
    assert short == FailedClip("short", "has boxes up to frame 5, but 1 frames: the boxes are of another video")
    assert empty == FailedClip("empty", "holds no frame")


def test_batches_across_clips_change_nothing(estimator):
    sources = [_source(f"c{i}", _frames(3, i), [(t, 0) for t in range(3)]) for i in range(3)]
    together = list(estimator.estimate_clips(sources))
    for source, clip in zip(sources, together, strict=True):
        (alone,) = estimator.estimate_clips([source])
        np.testing.assert_allclose(alone.keypoints_px, clip.keypoints_px, atol=1e-3)
        a, b = alone.windows["h2s3"].astype(np.float32), clip.windows["h2s3"].astype(np.float32)
        np.testing.assert_allclose(a, b, atol=2e-3 * np.abs(b).max())


def test_joints_lie_where_the_vectors_peak(estimator):
    (clip,) = estimator.estimate_clips([_source("a", _frames(2), [(0, 0), (1, 0)])])
    crop_px = apply_affine(clip.frame_to_crop[:, 0], clip.keypoints_px[:, 0])
    peaks = np.stack([clip.vectors[:, 0, :, :192].argmax(-1), clip.vectors[:, 0, :, 192:].argmax(-1)], -1) / 2
    assert (np.abs(crop_px - peaks) < 0.01).all(-1).mean() > 0.9  # float16 vectors may tie
    expected = crop_affine([[10, 5, 50, 55]], (96, 128))[0]
    np.testing.assert_allclose(clip.frame_to_crop[0, 0], expected, rtol=1e-5)


def test_rgb_tap_is_the_crop_at_the_joint(estimator):
    grey = np.full((1, 128, 96, 3), 128, np.uint8)
    poses = estimator(grey)
    expected = (128 / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(poses.windows["rgb"][0, 4, 1, 1], expected, rtol=2e-3)


def test_wrong_parameters_are_named(weights):
    with pytest.raises(ValueError, match=r"estimate\.window is 4"):
        PoseEstimator(EstimateParams(weights=weights, window=4), device="cpu")
    with pytest.raises(ValueError, match=r"estimate\.vectors needs a SimCC head"):
        PoseEstimator(EstimateParams(model="res50", weights=weights, vectors=True), device="cpu")
    with pytest.raises(ValueError, match=r"random\.safetensors does not fit"):
        PoseEstimator(EstimateParams(model="hrnet-w32", weights=weights), device="cpu")


def test_the_packaged_network_has_heatmaps_too():
    """`mannequin-heatmap` reads joints off the maps of the packaged checkpoint, `mannequin-simcc` off its vectors."""
    frame = np.random.default_rng(0).integers(0, 255, (4, 128, 96, 3), dtype=np.uint8)
    vectors, heatmaps = (PoseEstimator(EstimateParams(model=f"mannequin-{head}"), device="cpu") for head in HEADS)
    assert vectors.meta.weights_digest == heatmaps.meta.weights_digest
    ours, theirs = vectors(frame), heatmaps(frame)
    assert ours.keypoints_crop_px.shape == theirs.keypoints_crop_px.shape == (4, 17, 2)
    assert not np.array_equal(ours.keypoints_crop_px, theirs.keypoints_crop_px)


def test_reading_ahead_keeps_order_errors_and_stops():
    assert list(ReadAhead(range(50), 3)) == list(range(50))

    def fails():
        yield 1
        raise RuntimeError("inside the thread")

    iterator = ReadAhead(fails(), 2)
    assert next(iterator) == 1
    with pytest.raises(RuntimeError, match="inside the thread"):
        next(iterator)
    endless = ReadAhead(iter(int, 1), 2)
    next(endless)
    endless.close()
    assert list(endless) == []


@pytest.mark.parametrize("readers", [1, 4])
def test_streams_are_read_at_once_and_given_in_turn(readers):
    before = set(threading.enumerate())
    streams = [[(s, i) for i in range(s)] for s in (5, 0, 3, 40, 1, 2)]
    expected = [item for stream in streams for item in stream]
    assert list(read_streams_ahead(iter(streams), readers, depth=8)) == expected
    first = read_streams_ahead((iter(int, s) for s in range(1, 9)), readers, depth=8)
    assert next(first) == 0
    first.close()  # leaves no thread behind
    assert set(threading.enumerate()) <= before


def test_streams_that_hold_much_memory_are_read_in_turn():
    open_now, most = set(), []

    def stream(number: int) -> Iterator[tuple[int, int]]:
        open_now.add(number)
        for i in range(200):
            most.append(len(open_now))
            time.sleep(1e-4)
            yield number, i
        open_now.discard(number)

    heavy = [Weighed(stream(n), ROOM_BYTES // 2) for n in range(5)]
    found = list(read_streams_ahead(iter(heavy), 4, depth=8))
    assert found == [(n, i) for n in range(5) for i in range(200)]
    assert max(most) <= 2
    too_large = [Weighed(iter([n]), 3 * ROOM_BYTES) for n in range(3)]
    assert list(read_streams_ahead(iter(too_large), 4, depth=8)) == [0, 1, 2]


def test_several_readers_change_nothing(estimator, monkeypatch):
    sources = [_source(f"c{i}", _frames(2 + i, i), [(t, 0) for t in range(2 + i)]) for i in range(5)]
    alone = list(estimator.estimate_clips(sources))
    monkeypatch.setattr(estimator, "readers", 3)
    for one, other in zip(alone, estimator.estimate_clips(sources), strict=True):
        assert one.clip_id == other.clip_id
        np.testing.assert_array_equal(one.windows["h2s3"], other.windows["h2s3"])
        np.testing.assert_array_equal(one.keypoints_px, other.keypoints_px)


def test_a_full_gpu_halves_the_batches_and_says_so(weights):
    estimator = PoseEstimator(EstimateParams(weights=weights, window=1), device="cpu", batch_size=8)
    crop_batch = _frames(7, size=(128, 96))
    expected = estimator(crop_batch)
    room = [2]

    def crowded(network, inputs):
        if len(inputs[0]) > room[0]:
            raise torch.OutOfMemoryError("CUDA out of memory")

    estimator.network.register_forward_pre_hook(crowded)
    with pytest.warns(UserWarning, match="out of memory: batches are halved to 3 crops"):
        poses = estimator(crop_batch)
    assert 1 <= estimator.batch_size <= 2, "later batches start at the size that fits"
    np.testing.assert_allclose(poses.keypoints_crop_px, expected.keypoints_crop_px)
    assert poses.windows["h2s3"].shape == expected.windows["h2s3"].shape
    room[0] = 0
    with (
        pytest.warns(UserWarning, match="halved to 1"),
        pytest.raises(RuntimeError, match="no memory for one crop of mannequin-simcc"),
    ):
        estimator(crop_batch)


# --- over clips -------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    videos = tmp_path / "videos"
    for name, count in (("walk_rgb", 5), ("wave", 1)):
        write_video(videos / f"{name}.mp4", _frames(count), 10)
    (videos / "broken.mp4").write_bytes(b"")
    rows = [("walk", t, 0, 10, 5, 50, 55, 0.9) for t in range(5)] + [
        ("wave", 0, m, 5, 5, 40, 50, 0.8) for m in range(5)
    ]
    table = pd.DataFrame(rows, columns=["clip_id", "frame", "track", "x1", "y1", "x2", "y2", "score"])
    Boxes(table).save(tmp_path / "detect")
    table.to_csv(tmp_path / "boxes.csv", index=False)
    return tmp_path


def test_plain_folder_takes_the_names_of_the_boxes(folder):
    paths = named_paths(find_videos(folder / "videos").files, folder / "boxes.csv")
    assert sorted(paths) == ["broken", "walk", "wave"]
    (folder / "videos/walk_rgb.mp4").rename(folder / "videos/other.mp4")
    with pytest.raises(ValueError, match="no video of clip 'walk'"):
        named_paths(find_videos(folder / "videos").files, folder / "boxes.csv")


def test_no_more_people_than_asked_for(folder):
    assert set(boxes_by_clip(folder / "detect", 2)["wave"].tracks) == {0, 1}
    assert set(boxes_by_clip(folder / "detect", 8)["wave"].tracks) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((200, 300, 260, 400), r"frame 0 track 1: box \(200, 300, 260, 400\) has no area inside the 80 x 60 frame"),
        ((-90, -80, -50, -20), "has no area inside the 80 x 60 frame: correct the boxes"),
        ((20, 20, 20, 40), "has no area inside the 80 x 60 frame"),
        ((-5, -5, 85, 65), ""),
        ((79, 59, 200, 200), ""),
    ],
)
def test_a_box_outside_the_frame_is_named_and_one_over_its_edge_is_estimated(estimator, box, reason):
    frames = _frames(1)
    boxes = ClipBoxes(np.zeros(2, np.int64), np.arange(2), np.array([(10, 5, 50, 55), box], np.float64))
    (clip,) = estimator.estimate_clips([ClipSource("far", lambda: iter(frames), boxes)])
    if reason:
        assert re.search(reason, clip.reason)
    else:
        assert clip.valid.all()
        assert np.isfinite(clip.keypoints_px).all()


def test_boxes_of_frames_that_a_video_does_not_have(folder, weights):
    table = pd.read_csv(folder / "boxes.csv")
    table.loc[4, "frame"] = 99
    table.to_csv(folder / "boxes.csv", index=False)
    for limit, failed in ((None, {"walk"}), (5, set())):
        work = EstimateWork(EstimateParams(weights=weights, window=1), folder / "boxes.csv", 2, limit, "cpu")
        out = folder / f"out-{limit}"
        out.mkdir()
        work([ShardItem("walk", folder / "videos/walk_rgb.mp4", "")], out)
        reasons = read_json(out / "failed.json")
        assert set(reasons) == failed
        assert all("boxes up to frame 99, but 5 frames" in reason for reason in reasons.values())


def test_videos_that_show_nobody_at_all(folder, weights):
    Boxes(pd.read_csv(folder / "boxes.csv").iloc[:0]).save(folder / "detect")
    work = EstimateWork(EstimateParams(weights=weights, window=1), folder / "detect", 2, device="cpu")
    (folder / "out").mkdir()
    work([ShardItem("walk", folder / "videos/walk_rgb.mp4", "")], folder / "out")
    index = pd.read_parquet(folder / "out/index.parquet")
    assert (index.clip_id.tolist(), index.crops.tolist()) == (["walk"], [0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x1": float("nan")}, r"boxes\.csv: clip 'walk' has x1 ''; expected a number"),
        ({"x1": "left"}, "clip 'walk' has x1 'left'; expected a number"),
        ({"x2": float("inf")}, "clip 'walk' frame 2 track 0 has a corner that is not a number"),
        ({"frame": 2.5}, "clip 'walk' has frame '2.5'; expected a whole number"),
        ({"frame": 1}, "clip 'walk' frame 1 track 0 has a second box of the same track"),
        ({"track": -1}, "clip 'walk' frame 2 track -1 has a negative frame or track"),
        ({"x2": 1.0}, "clip 'walk' frame 2: inverted box"),
    ],
)
def test_boxes_that_cannot_be_are_named(folder, change, message):
    table = pd.read_csv(folder / "boxes.csv")
    for column, value in change.items():
        table[column] = table[column].astype(object)
        table.loc[2, column] = value
    table.to_csv(folder / "boxes.csv", index=False)
    with pytest.raises(ValueError, match=message):
        boxes_by_clip(folder / "boxes.csv", 2)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"clip_id,frame\nwalk,1\n"])
def test_files_that_hold_no_boxes_are_named(tmp_path, content):
    (tmp_path / "boxes.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"boxes\.csv.*(cannot be read as CSV|column '(clip_id|track)' is missing)"):
        boxes_by_clip(tmp_path / "boxes.csv", 2)


def test_key_follows_weights_and_parameters_but_not_the_path(weights, tmp_path):
    copied = tmp_path / "elsewhere.safetensors"
    shutil.copy(weights, copied)
    key = estimate_key(EstimateParams(weights=weights), 2, None, "float32")
    assert estimate_key(EstimateParams(weights=str(copied)), 2, None, "float32") == key
    assert estimate_key(EstimateParams(weights=weights, window=3), 2, None, "float32") != key
    json.dumps(key)


def test_work_is_light_to_send(weights, folder):
    work = EstimateWork(EstimateParams(weights=weights), folder / "detect", 2, device="cpu")
    assert len(pickle.dumps(work)) < 2000
    assert pickle.loads(pickle.dumps(work)) == work


def test_from_videos_to_a_store_and_again_without_work(weights, folder):
    params = EstimateParams(weights=weights, window=1)
    paths = named_paths(find_videos(folder / "videos").files, folder / "detect")
    items = clip_items(paths, folder / "detect", 2)
    work = EstimateWork(params, folder / "detect", 2, device="cpu")
    key = estimate_key(params, 2, None, "float32")
    parts = run_shards(items, work, stage_dir=folder / ".work", key=key, shard_size=2)
    meta = collect_shards(parts, folder / "estimate")
    assert meta.failed == {"broken": "file is empty (0 bytes)"}
    store = PoseStore(folder / "estimate")
    assert sorted(store.clip_ids) == ["walk", "wave"]
    assert store.load("walk").valid.shape == (5, 1)
    assert store.load("wave").valid.shape == (1, 2)
    assert store.index.crops.to_dict() == {"walk": 5, "wave": 2}

    def never(items, out):
        raise AssertionError("finished shards were done again")

    assert run_shards(items, never, stage_dir=folder / ".work", key=key, shard_size=2) == parts


def test_a_clip_that_kills_its_process_is_recorded_as_failed(weights, folder):
    items = clip_items(named_paths(find_videos(folder / "videos").files, folder / "detect"), folder / "detect", 2)
    killed = [replace(item, fault="killed it") if item.clip_id == "walk" else item for item in items]
    work = EstimateWork(EstimateParams(weights=weights, window=1), folder / "detect", 2, device="cpu")
    for given, shard_size in ((killed, 4), (killed, 1)):
        parts = run_shards(given, work, stage_dir=folder / f".work{shard_size}", key={}, shard_size=shard_size)
        meta = collect_shards(parts, folder / "estimate")
        assert meta.failed == {"broken": "file is empty (0 bytes)", "walk": "killed it"}
        assert PoseStore(folder / "estimate").clip_ids == ["wave"]


def test_a_few_frames_uniform_in_time(weights, folder):
    params = EstimateParams(weights=weights, window=1, frames=2)
    paths = named_paths(find_videos(folder / "videos").files, folder / "detect")
    work = EstimateWork(params, folder / "detect", 2, device="cpu")
    parts = run_shards(clip_items(paths, folder / "detect", 2), work, stage_dir=folder / ".work", key={"frames": 2})
    collect_shards(parts, folder / "estimate")
    store = PoseStore(folder / "estimate")
    assert store.load("walk").valid[:, 0].tolist() == [False, True, False, True, False], "middles of the two halves"
    assert store.load("wave").valid.tolist() == [[True, True]], "a shorter clip keeps what it has"
    truth = _truth("walk", store.load("walk").keypoints_px + np.array([0.0, 1.0]))
    assert compare_with_truth([store.load("walk")], truth)["found"] < 1
    assert compare_with_truth([store.load("walk")], truth, frames=2)["found"] == 1, "frames left out are no misses"


@pytest.mark.long
def test_workers_and_engines_write_the_same_bytes(weights, folder):
    params = EstimateParams(weights=weights, window=1)
    paths = named_paths(find_videos(folder / "videos").files, folder / "detect")
    items = clip_items(paths, folder / "detect", 2)
    work = EstimateWork(params, folder / "detect", 2, device="cpu")
    ways = [("local", 1), ("local", 2), *([("ray", 2)] if importlib.util.find_spec("ray") else [])]
    digests = []
    for engine, workers in ways:
        stage = folder / f"{engine}{workers}"
        parts = run_shards(items, work, stage_dir=stage, key={}, shard_size=1, workers=Workers(workers), engine=engine)
        digests.append({part.name: (part / MANIFEST).read_text() for part in parts})
    assert all(other == digests[0] for other in digests[1:])


def test_command(weights, folder, monkeypatch, capsys):
    from hpnet.stages.cli import main

    monkeypatch.chdir(folder)
    (folder / "videos/broken.mp4").unlink()
    main(["estimate", "--videos", "videos", "--boxes", "boxes.csv", "--weights", weights, "--window", "1",
          "--max-frames", "3", "--device", "cpu", "--out", "A"])  # fmt: skip
    assert PoseStore(folder / "A").load("walk").valid.shape == (3, 1)
    figures = read_json(folder / "metrics/estimate.json")
    assert (figures["clips"], figures["failed"], figures["crops"]) == (2, 0, 5)
    with pytest.raises(SystemExit) as stopped:
        main(["estimate", "--videos", "videos", "--boxes", "boxes.csv", "--weights", weights, "--taps", "h3s1",
              "--device", "cpu", "--out", "B"])  # fmt: skip
    assert stopped.value.code == 1
    assert "h3s1" in capsys.readouterr().err


# --- against truth ----------------------------------------------------------------------------------------------------


def _truth(clip_id, joints):
    rows = []
    for frame, people in enumerate(joints):
        for person, points in enumerate(people):
            low, high = points.min(0), points.max(0)
            rows.append((clip_id, frame, person, *low, *high, points.reshape(-1), np.ones(17, bool)))
    columns = ["clip_id", "frame", "person", "x1", "y1", "x2", "y2", "keypoints", "visible"]
    return pd.DataFrame(rows, columns=columns)


def _poses(clip_id, joints, valid=None):
    frames, persons = joints.shape[:2]
    valid = np.ones((frames, persons), bool) if valid is None else valid
    scores = np.full((frames, persons, 17), 0.9, np.float32)
    return ClipPoses(clip_id, joints, scores, np.zeros((frames, persons, 2, 3), np.float32), valid, {})


def test_perfect_estimates_in_any_order_of_people():
    joints = np.random.default_rng(0).uniform(0, 100, (4, 2, 17, 2)).astype(np.float32)
    joints[:, 1] += 200
    figures = compare_with_truth([_poses("a", joints[:, ::-1])], _truth("a", joints))
    assert figures == {"pck_torso": 1.0, "pck_box": 1.0, "oks_ap": pytest.approx(1.0), "found": 1.0}


def test_missed_people_lower_found_and_ap():
    joints = np.random.default_rng(0).uniform(0, 100, (4, 1, 17, 2)).astype(np.float32)
    valid = np.array([[True], [True], [False], [False]])
    figures = compare_with_truth([_poses("a", joints, valid)], _truth("a", joints))
    assert figures["found"] == 0.5
    assert figures["pck_torso"] == 1.0
    assert figures["oks_ap"] == pytest.approx(0.5, abs=0.02)


def test_far_off_joints_are_wrong_by_both_scales():
    truth = np.zeros((1, 17, 2))
    truth[0, 5], truth[0, 12] = (0, 0), (0, 50)  # torso 50
    truth[0, 6], truth[0, 11] = (10, 0), (10, 50)
    estimate = truth + np.array([15.0, 0.0])  # over 0.2 x 51, under 0.2 x 100
    box = np.array([[0.0, 0.0, 40.0, 100.0]])
    ones = np.ones((1, 17), bool)
    figures = pose_figures(estimate, np.ones((1, 17)), np.ones(1, bool), truth, ones, box)
    assert figures["pck_torso"] == 0
    assert figures["pck_box"] == 1


def test_no_truth_no_figures():
    assert (
        compare_with_truth([_poses("a", np.zeros((1, 1, 17, 2), np.float32))], _truth("b", np.zeros((1, 1, 17, 2))))
        == {}
    )
