"""Which clips the benchmark has, what they show, writing them, and the scenes for pretraining."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpnet.artifacts.videos import VIDEO_COLUMNS
from hpnet.core.video import load_clip, probe
from hpnet.data.params import DataParams
from hpnet.mannequin import benchmark, pretraining
from hpnet.mannequin.actions import ACTIONS, NAMES, OBJECT_PAIRS, ORDER_PAIRS
from hpnet.mannequin.benchmark import TRUTH_COLUMNS, ClipSpec, build_scene, plan, write_benchmark
from hpnet.mannequin.people import person
from hpnet.mannequin.posture import Clock
from hpnet.mannequin.props import KINDS
from hpnet.mannequin.render import project
from hpnet.mannequin.scene import Scene
from hpnet.work.shards import file_digest

BENCHMARK_KINDS = {
    "cup", "phone", "apple", "sandwich", "toothbrush", "book", "tablet", "hat", "chair", "watch",
}  # fmt: skip
TINY = DataParams(subjects=2, cameras=1, frames=2, width=64, height=64, corruption="noise")


def scene_of(params: DataParams, label: int, subject: int = 1, camera: int = 1, repetition: int = 1) -> Scene:
    setup = benchmark.setup_of(subject, repetition, params.setups)
    return build_scene(ClipSpec(setup, camera, subject, repetition, label), params)


def test_plan_has_every_clip_once() -> None:
    specs = plan(DataParams())
    names = [spec.clip_id for spec in specs]
    assert len(names) == len(set(names)) == 540
    assert names[0] == "S001C001P001R001A001"
    assert all(re.fullmatch(r"S\d{3}C\d{3}P\d{3}R\d{3}A\d{3}", name) for name in names)
    table = pd.DataFrame([vars(spec) for spec in specs])
    assert set(table.label) == set(range(18))
    assert set(table.setup) == {1, 2}
    # One set-up per performance; both on both sides of cross-subject (NTU's training subjects 1 2 4 5 8 9).
    assert (table.groupby(["subject", "repetition"]).setup.nunique() == 1).all()
    training = table.subject.isin([1, 2, 4, 5, 8, 9])
    assert set(table[training].setup) == set(table[~training].setup) == {1, 2}
    assert {benchmark.setup_of(1, r, 2) for r in (1, 2)} == {1, 2}
    assert len(plan(DataParams(subjects=3, cameras=2, repetitions=2, setups=4))) == 3 * 2 * 2 * 18


def test_cameras_see_the_same_performance_in_the_same_room() -> None:
    params = DataParams()
    one, two, three = (scene_of(params, 13, camera=camera) for camera in (1, 2, 3))
    for other in (two, three):
        np.testing.assert_array_equal(one.performers[0].joints_m, other.performers[0].joints_m)
        assert one.room_seed == other.room_seed
        assert one.noise_seed != other.noise_seed
    angles = [np.degrees(np.arctan2(s.camera.position_m[1], s.camera.position_m[0])) for s in (one, two, three)]
    np.testing.assert_allclose(angles, [45, 0, -45], atol=4.1)
    assert scene_of(params, 13, subject=2).room_seed != one.room_seed
    assert scene_of(params, 13, subject=2).camera != one.camera


def test_a_clip_does_not_depend_on_the_others() -> None:
    small, large = DataParams(subjects=2, cameras=1), DataParams(subjects=40, repetitions=3)
    a, b = scene_of(small, 15, subject=2), scene_of(large, 15, subject=2)
    for first, second in zip(a.performers, b.performers, strict=True):
        np.testing.assert_array_equal(first.joints_m, second.joints_m)
        assert first.looks == second.looks
    assert (a.camera, a.room_seed, a.noise_seed) == (b.camera, b.room_seed, b.noise_seed)
    other = scene_of(DataParams(seed=8), 15, subject=2)
    assert np.abs(other.performers[0].joints_m - a.performers[0].joints_m).max() > 0.01
    repeated = scene_of(large, 15, subject=2, repetition=2)
    assert np.abs(repeated.performers[0].joints_m - a.performers[0].joints_m).max() > 0.01


@pytest.mark.parametrize("pair", OBJECT_PAIRS)
def test_pose_does_not_tell_an_object_pair_apart(pair: tuple[int, int]) -> None:
    params = DataParams()
    for subject in (1, 2, 7):
        a, b = (scene_of(params, label, subject) for label in pair)
        np.testing.assert_array_equal(a.performers[0].joints_m, b.performers[0].joints_m)
        assert a.performers[0].looks == b.performers[0].looks
        assert a.room_seed == b.room_seed
        assert a.props[0].kind != b.props[0].kind


@pytest.mark.parametrize("pair", ORDER_PAIRS)
def test_order_pairs_share_place_and_person(pair: tuple[int, int]) -> None:
    a, b = (scene_of(DataParams(), label) for label in pair)
    assert {p.kind for p in (*a.props, *a.furniture)} == {p.kind for p in (*b.props, *b.furniture)}
    forward, back = a.performers[0].joints_m, b.performers[0].joints_m
    assert np.linalg.norm(forward[0] - back[-1], axis=-1).max() < 0.15
    assert np.linalg.norm(forward[0] - back[0], axis=-1).max() > 0.2


def test_everybody_is_in_the_frame_and_large_enough() -> None:
    params = DataParams(frames=6, fps=3)
    heights = []
    for spec in plan(params):
        scene = build_scene(spec, params)
        for performer in scene.performers:
            pixels, _ = project(performer.joints_m, scene.camera, params.width, params.height)
            coco = pixels[:, :17]
            assert coco[..., 0].min() > 2, spec
            assert coco[..., 0].max() < params.width - 3, spec
            assert coco[..., 1].min() > 0, spec
            assert coco[..., 1].max() < params.height - 2, spec
            heights.append(np.ptp(coco[0, :, 1]) / params.height)
    assert 0.40 < np.median(heights) < 0.60


def test_partners_belong_to_one_subject() -> None:
    params = DataParams()
    partners = [scene_of(params, 15, subject).performers[1].subject for subject in range(1, 11)]
    assert len(set(partners)) == 10
    assert not set(partners) & set(range(1, 41))


def test_kinds_of_props() -> None:
    scenes = [scene_of(DataParams(frames=1), label) for label in range(18)]
    shown = {p.kind for scene in scenes for p in (*scene.props, *scene.furniture)}
    assert shown <= BENCHMARK_KINDS
    assert shown == BENCHMARK_KINDS - {"apple"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("mannequin")
    seen: list[int] = []
    rows, truth = write_benchmark(TINY, folder, workers=1, on_progress=seen.append)
    assert sum(seen) == len(rows) == 36
    return folder, rows, truth


def test_written_files(written: tuple[Path, pd.DataFrame, pd.DataFrame]) -> None:
    folder, rows, truth = written
    assert tuple(rows.columns) == VIDEO_COLUMNS
    assert set(rows.error) == {""}
    for path, *facts in zip(rows.path, rows.width, rows.height, rows.frames, rows.bytes, rows.digest, strict=True):
        info = probe(path)
        assert facts == [info.width, info.height, info.frames, Path(path).stat().st_size, file_digest(Path(path))]
    assert tuple(truth.columns) == TRUTH_COLUMNS
    persons = truth.groupby("clip_id").person.nunique()
    for clip_id in rows.clip_id:
        assert persons[clip_id] == list(ACTIONS.values())[int(clip_id[-3:]) - 1].persons
    assert len(truth) == 2 * persons.sum()
    assert all(len(k) == 34 for k in truth.keypoints)
    assert all(len(v) == 17 for v in truth.visible)
    found = truth.dropna()
    assert len(found) == len(truth)
    assert ((found.x2 > found.x1) & (found.y2 > found.y1)).all()
    inside = [
        (k[0::2].mean() > b[0]) & (k[0::2].mean() < b[1])
        for k, b in zip(found.keypoints, found[["x1", "x2"]].to_numpy(), strict=True)
    ]
    assert all(inside)
    assert np.mean([np.mean(v) for v in truth.visible]) > 0.6
    pd.testing.assert_frame_equal(
        pd.read_parquet(folder / "truth.parquet")[["clip_id", "frame", "x1"]], truth[["clip_id", "frame", "x1"]]
    )


def test_workers_change_nothing_and_corruption_only_its_clips(
    written: tuple[Path, pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    folder, rows, truth = written
    chosen = set(rows.clip_id[rows.clip_id.str.contains("P002")])
    _, again = write_benchmark(TINY, tmp_path, workers=2, corrupt_ids=chosen)
    pd.testing.assert_frame_equal(
        truth.drop(columns=["keypoints", "visible"]), again.drop(columns=["keypoints", "visible"])
    )
    np.testing.assert_array_equal(np.stack(truth.keypoints.tolist()), np.stack(again.keypoints.tolist()))
    for clip_id in rows.clip_id:
        before, after = (load_clip(at / "videos" / f"{clip_id}.mp4") for at in (folder, tmp_path))
        assert np.array_equal(before, after) == (clip_id not in chosen)


def test_unknown_clip_to_corrupt(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"S009.*no such clip"):
        write_benchmark(TINY, tmp_path, corrupt_ids={"S009C001P001R001A001"})


def test_pretraining_is_disjoint_from_the_benchmark() -> None:
    counts = []
    captions = set()
    for seed in range(150):
        scene, caption = pretraining.random_scene(seed, 3)
        counts.append(len(scene.performers))
        captions.add(caption)
        assert scene.room_seed >= benchmark.ROOM_SEEDS
        assert all(p.subject >= pretraining.FIRST_SUBJECT for p in scene.performers)
        kinds = {p.kind for p in (*scene.props, *scene.furniture)}
        assert kinds <= set(KINDS) - BENCHMARK_KINDS
        assert all(p.joints_m.shape[0] == 3 and np.isfinite(p.joints_m).all() for p in scene.performers)
        assert all(len(p.centre_m) == len(p.rotation) == 3 and np.isfinite(p.rotation).all() for p in scene.props)
        assert caption == caption.lower().strip()
        assert not re.search(r"\ba [aeiou]", caption)
        words = [pretraining.WORDS.get(p.kind, p.kind) for p in scene.props]
        if len(scene.performers) == 1:
            assert all(word in caption for word in words), (caption, words)
    assert {0, 1, 2, 3} <= set(counts)
    assert max(counts) >= 4
    assert len(captions) > 120
    assert not set(pretraining.DEEDS) & set(NAMES)
    assert all(spec.setup >= 1 for spec in plan(TINY))
    assert all(build_scene(spec, TINY).room_seed < benchmark.ROOM_SEEDS for spec in plan(TINY))


@pytest.mark.parametrize("name", sorted(pretraining.DEEDS))
def test_every_deed(name: str) -> None:
    for seed, frames in ((0, 1), (1, 12), (2, 24)):
        rng = np.random.default_rng(seed)
        who = person(pretraining.FIRST_SUBJECT + seed, 0, seed)
        deed = pretraining.DEEDS[name](who, Clock(frames, 12), rng)
        assert len(deed.performer.joints_m) == frames
        assert deed.performer.joints_m[..., 2].min() > -0.08
        assert all(
            np.linalg.norm(p.rotation @ p.rotation.transpose(0, 2, 1) - np.eye(3), axis=(1, 2)).max() < 1e-4
            for p in deed.props
        )


@pytest.mark.parametrize("name", sorted(pretraining.DEEDS_OF_TWO))
def test_every_deed_of_two(name: str) -> None:
    rng = np.random.default_rng(3)
    pair = (person(pretraining.FIRST_SUBJECT, 0, 3), person(pretraining.FIRST_SUBJECT + 1, 0, 3))
    deed = pretraining.DEEDS_OF_TWO[name](pair, Clock(12, 12), rng)
    pelvis = [p.joints_m[:, 17, :2] for p in deed.performers]
    assert 0.2 < np.linalg.norm(pelvis[0] - pelvis[1], axis=-1).min() < 1.7
    assert all(len(p.centre_m) == 12 for p in deed.props)


def test_pretraining_scene_is_a_function_of_its_seed() -> None:
    (a, said), (b, again) = pretraining.random_scene(5, 4), pretraining.random_scene(5, 4)
    assert said == again
    assert a.camera == b.camera
    for first, second in zip(a.performers, b.performers, strict=True):
        np.testing.assert_array_equal(first.joints_m, second.joints_m)
    assert pretraining.random_scene(6, 4)[0].room_seed != a.room_seed
