"""Importers of poses and features: kinect, nw-ucla, pyskl, features-hpnet, and what they refuse."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.features import Features
from hpnet.core import poses, resampling
from hpnet.core.skeleton import COCO17, NTU25, OPENNI15, UCLA20, Skeleton
from hpnet.data import kinect, pose3d, pyskl, ucla
from hpnet.data.released import export_features, import_features, to_released
from hpnet.stages.import_ import command

SHARED = Path(__file__).resolve().parents[3] / "shared"


def body(skeleton: Skeleton, root: str, top: str, seed: int = 0) -> NDArray[np.float32]:
    """A person (V, 3) in metres, upright, shoulders along x."""
    joints = np.random.default_rng(seed).normal(0, 0.05, (skeleton.num_joints, 3))
    for name, place in ((root, (0, 0, 0)), (top, (0, 0.5, 0)), ("left_shoulder", (0.2, 0.45, 0)),
                        ("right_shoulder", (-0.2, 0.45, 0)), ("head", (0, 0.8, 0)),
                        ("left_foot", (0.1, -0.9, 0)), ("right_foot", (-0.1, -0.9, 0))):  # fmt: skip
        joints[skeleton.joints.index(name)] = place
    return joints.astype(np.float32)


def write_skeleton(path: Path, frames: list[dict[str, NDArray[np.floating]]]) -> None:
    """A .skeleton file: per frame, body number -> joints (25, 3)."""
    lines = [str(len(frames))]
    for bodies in frames:
        lines.append(str(len(bodies)))
        for number, joints in bodies.items():
            lines += [f"{number} 0 1 1 1 1 0 0.1 -0.2 2", str(len(joints))]
            lines += [" ".join(map(str, [*xyz, *[0.5] * 8, 2])) for xyz in joints.tolist()]
    path.write_text("\n".join(lines) + "\n")


KINECT_BODY = body(NTU25, "spine_base", "spine_shoulder")


def moving(speed: float, frames: int = 20, at: float = 0.0) -> list[NDArray[np.floating]]:
    return [KINECT_BODY + np.array([at + speed * t, 0, 3]) for t in range(frames)]


# --- skeletons and normalisation ------------------------------------------------------------------------------------


@pytest.mark.parametrize("skeleton", [NTU25, UCLA20, OPENNI15])
def test_skeletons_are_trees_whose_mirror_keeps_bones(skeleton: Skeleton) -> None:
    names, mirror = skeleton.joints, skeleton.mirror
    for child, parent in enumerate(skeleton.parents):
        assert skeleton.parents[mirror[child]] == mirror[parent]
        swapped = names[child].replace("left", "x").replace("right", "left").replace("x", "right")
        assert names[mirror[child]] == swapped
    for joint in range(skeleton.num_joints):  # every joint leads to the root
        for _ in range(skeleton.num_joints):
            joint = skeleton.parents[joint]
        assert skeleton.parents[joint] == joint
        assert names[joint] in ("spine_shoulder", "shoulder_centre", "neck")


def test_normalise_centres_on_the_first_frame_and_keeps_distances() -> None:
    joints = np.stack([np.stack([KINECT_BODY + np.array([1, 2, 3]), KINECT_BODY + np.array([2, 2, 3])])] * 4).astype(
        np.float32
    )
    joints[2] += 0.5
    valid = np.ones((4, 2), bool)
    valid[0, 0] = valid[3, 1] = False
    poses = pose3d.normalise(joints, valid, kinect.AXES)
    np.testing.assert_allclose(poses[1, 0, 0], 0, atol=1e-6)  # frame 1 is the first that has person 0
    np.testing.assert_allclose(poses[2, 0, 0], 0.5, atol=1e-6)
    np.testing.assert_allclose(poses[1, 1] - poses[1, 0], np.broadcast_to([1, 0, 0], (25, 3)), atol=1e-6)
    assert not poses[~valid].any()
    assert not pose3d.normalise(joints, np.zeros((4, 2), bool), kinect.AXES).any()


def test_bodies_of_the_same_size_have_a_spine_of_half_a_metre() -> None:
    draw = np.random.default_rng(0)
    joints, valid = draw.standard_normal((5, 2, 25, 3)), np.ones((5, 2), bool)
    poses = pose3d.normalise(joints, valid, kinect.AXES, same_size=True)
    spine = np.linalg.norm(poses[:, 0, kinect.AXES.top] - poses[:, 0, kinect.AXES.root], axis=-1)
    assert np.median(spine) == pytest.approx(pose3d.SPINE_M)
    np.testing.assert_allclose(pose3d.normalise(3 * joints, valid, kinect.AXES, same_size=True), poses, atol=1e-5)
    with pytest.raises(ValueError, match="the spine of the first body is 0 m long: import without --same-size"):
        pose3d.normalise(np.ones((1, 1, 25, 3)), np.ones((1, 1), bool), kinect.AXES, same_size=True)


def test_aligned_poses_do_not_depend_on_the_camera() -> None:
    joints = np.stack(moving(0.03))[:, None]
    valid = np.ones((20, 1), bool)
    angle = np.deg2rad(70)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    tilt = np.array([[1, 0, 0], [0, np.cos(0.2), -np.sin(0.2)], [0, np.sin(0.2), np.cos(0.2)]])
    first = pose3d.normalise(joints, valid, kinect.AXES, align=True)
    second = pose3d.normalise(joints @ (turn @ tilt).T + [1, 2, 3], valid, kinect.AXES, align=True)
    np.testing.assert_allclose(first, second, atol=1e-5)
    np.testing.assert_allclose(first[0, 0], KINECT_BODY, atol=1e-6)  # it was aligned already
    rotation = pose3d.body_rotation(joints[0, 0] @ turn.T, kinect.AXES)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1)
    with pytest.raises(ValueError, match=r"cannot be aligned.*without --align"):
        pose3d.normalise(np.ones((1, 1, 25, 3)), np.ones((1, 1), bool), kinect.AXES, align=True)


# --- kinect ---------------------------------------------------------------------------------------------------------


def test_bodies_are_ranked_by_motion_and_furniture_is_left_out(tmp_path: Path) -> None:
    chair = KINECT_BODY[:, [1, 0, 2]] * [1, 0.3, 1]  # wide and low
    frames = [
        {"1": s, "72057594037931101": a, "72057594037931102": b, "4": chair + np.array([0.4 * t, 0, 0])}
        for t, (s, a, b) in enumerate(zip(moving(0), moving(0.05), moving(0.02, at=2), strict=True))
    ]
    write_skeleton(tmp_path / "x.skeleton", frames)
    count, bodies = kinect.read_skeleton(tmp_path / "x.skeleton")
    assert (count, len(bodies)) == (20, 4)  # numbers that differ in the last digit alone stay apart
    joints, valid = kinect.people(count, bodies)
    assert valid.all()
    np.testing.assert_allclose(joints[:, 0], np.stack(moving(0.05)), atol=1e-5)
    np.testing.assert_allclose(joints[:, 1], np.stack(moving(0.02, at=2)), atol=1e-5)


def test_a_lost_and_found_person_is_one_person(tmp_path: Path) -> None:
    steps = moving(0.05, 40)
    frames: list[dict[str, Any]] = [
        {} if 18 <= t < 22 else {"1" if t < 18 else "2": step} for t, step in enumerate(steps)
    ]
    frames[30]["2"] = np.zeros((25, 3))  # tracked, but nowhere
    write_skeleton(tmp_path / "x.skeleton", frames)
    joints, valid = kinect.people(*kinect.read_skeleton(tmp_path / "x.skeleton"))
    assert not valid[:, 1].any()
    assert np.flatnonzero(~valid[:, 0]).tolist() == [18, 19, 20, 21, 30]
    np.testing.assert_allclose(joints[25, 0], steps[25], atol=1e-5)


def test_a_lone_wide_or_short_body_stays(tmp_path: Path) -> None:
    lying = KINECT_BODY[:, [1, 0, 2]]
    write_skeleton(tmp_path / "x.skeleton", [{"1": lying}] * 3)
    assert kinect.people(*kinect.read_skeleton(tmp_path / "x.skeleton"))[1][:, 0].all()


def test_kinect_becomes_features_and_clips(tmp_path: Path) -> None:
    source = tmp_path / "skeletons"
    source.mkdir()
    names = [f"S001C001P00{p}R001A00{a}" for p in (1, 2, 3, 6) for a in (1, 2)]
    for name in names:
        pair = [{"1": a, "2": b} for a, b in zip(moving(0.05), moving(0.02, at=1), strict=True)]
        write_skeleton(source / f"{name}.skeleton", pair if name.endswith("2") else [{"1": a} for a in moving(0.05)])
    write_skeleton(source / "S001C001P008R001A001.skeleton", [{}] * 5)
    (source / "S001C001P008R001A002.skeleton").write_text("5\n1\n")
    arguments = ["kinect", str(source), "--out", str(tmp_path / "out"), "--frames", "16"]
    assert "needs --protocol" in CliRunner().invoke(command, arguments).output
    arguments += ["--protocol", "ntu60-xsub"]
    failed = CliRunner().invoke(command, arguments)
    assert failed.exit_code == 1
    assert "1 of 10 clips failed, more than --max-failed 0.05" in failed.output
    result = CliRunner().invoke(command, [*arguments, "--max-failed", "0.2"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "10 clips, 12 people, 2 clips without people (1 of them failed)" in result.output
    clips, features = Clips.load(tmp_path / "out"), Features.load(tmp_path / "out")
    assert features.array.shape == (14, 16, 25, 3)
    assert features.array.dtype == np.float16
    assert (features.meta.kind, features.meta.skeleton) == ("pose3d", NTU25)
    table = clips.table.set_index("clip_id")
    assert table.split[names[-1]] == "test"  # subject 6
    assert set(table.split) == {"train", "val", "test"}
    assert table.label[names[1]] == 1
    assert clips.num_classes == 60
    assert "truncated" in table.error["S001C001P008R001A002"]
    assert table.frames[names[0]] == 20
    index = features.index.set_index("clip_id")
    assert index.valid[names[1]].tolist() == [True, True]
    assert not index.valid["S001C001P008R001A001"]
    first = features.array[index.row[names[0]]].astype(np.float32)
    expected = resampling.resample(np.stack(moving(0.05)) - KINECT_BODY[0] - [0, 0, 3], 16)
    np.testing.assert_allclose(first, expected, atol=2e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "truncated"),
        ("1\n1\n72 0 0 0 0 0 0 0 0 2\n24\n", "24 joints, expected 25"),
        ("one", "not a .skeleton file of NTU"),
        ("0\n1 2 3", "has data after its 0 frames"),
    ],
)
def test_bad_skeleton_files(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.skeleton").write_text(text)
    with pytest.raises(ValueError, match=rf"x.skeleton.*{message}"):
        kinect.read_skeleton(tmp_path / "x.skeleton")


def test_kinect_refuses_names_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no .skeleton file"):
        kinect.import_kinect(tmp_path, tmp_path / "out", "ntu60-xsub")
    write_skeleton(tmp_path / "walk.skeleton", [{}])
    with pytest.raises(ValueError, match=r"'walk.skeleton' does not parse; expected SsssCccc"):
        kinect.import_kinect(tmp_path, tmp_path / "out", "ntu60-xsub")
    (tmp_path / "walk.skeleton").unlink()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_skeleton(tmp_path / folder / "S001C001P001R001A001.skeleton", [{}])
    with pytest.raises(ValueError, match="is given twice"):
        kinect.import_kinect(tmp_path, tmp_path / "out", "ntu60-xsub")


# --- N-UCLA ---------------------------------------------------------------------------------------------------------


def write_ucla(path: Path, **changes: Any) -> None:
    person = body(UCLA20, "hip_centre", "shoulder_centre")
    steps = np.stack([person + np.array([0, 0, 0.1 * t]) for t in range(12)]).astype(np.float32)
    arrays: dict[str, Any] = {
        "names": np.array([f"a0{a}_s0{s}_e00_v0{v}" for a in (1, 2) for s in (1, 2) for v in (1, 3)]),
        "offsets": np.array([0, 1, 2, 3, 4, 5, 6, 7, 12]),
        "joints": steps,
    }
    np.savez(path, **{k: v for k, v in {**arrays, **changes}.items() if v is not None})


def test_ucla(tmp_path: Path) -> None:
    write_ucla(tmp_path / "u.npz")
    arguments = ["nw-ucla", str(tmp_path / "u.npz"), "--out", str(tmp_path / "out"), "--frames", "5"]
    assert CliRunner().invoke(command, arguments, catch_exceptions=False).exit_code == 0
    clips, features = Clips.load(tmp_path / "out"), Features.load(tmp_path / "out")
    assert features.meta.skeleton == UCLA20
    assert clips.table.split.tolist() == ["train", "test"] * 4
    last = features.array[7].astype(np.float32)  # 5 frames, which walk along z
    np.testing.assert_allclose(last[:, 0], np.arange(5)[:, None] * [0, 0, 0.1], atol=1e-3)


def test_a_view_held_out_instead_of_subjects(tmp_path: Path) -> None:
    names = np.array([f"a01_s0{s}_e00_v0{v}" for s in (1, 2, 4, 5) for v in (1, 2)][:7] + ["a01_s01_e00_v03"])
    write_ucla(tmp_path / "u.npz", names=names)
    arguments = ["nw-ucla", str(tmp_path / "u.npz"), "--out", str(tmp_path / "out"), "--val-view"]
    assert CliRunner().invoke(command, [*arguments, "2"], catch_exceptions=False).exit_code == 0
    table = Clips.load(tmp_path / "out").table
    assert dict(zip(table.camera, table.split, strict=True)) == {1: "train", 2: "val", 3: "test"}
    with pytest.raises(ValueError, match=r"view 3 cannot be held out: nw-ucla trains on \[1, 2\]"):
        CliRunner().invoke(command, [*arguments, "3"], catch_exceptions=False)
    refused = CliRunner().invoke(command, ["pyskl", *arguments[1:], "2"])
    assert "--val-view is for nw-ucla" in refused.output


def test_test_clips_that_are_training_clips_are_listed_and_can_be_left_out(tmp_path: Path) -> None:
    person = body(UCLA20, "hip_centre", "shoulder_centre")
    walk = np.stack([person + np.array([0, 0, 0.1 * t]) for t in range(4)]).astype(np.float32)
    # view 3 comes before view 2 here, and holds the clip of view 2 in one action and a slower one in the other
    names = np.array(["a01_s01_e00_v03", "a01_s01_e00_v02", "a02_s01_e00_v02", "a02_s01_e00_v03"])
    joints = np.concatenate([walk, walk, walk[::-1], walk[::-1] * 0.9])
    write_ucla(tmp_path / "u.npz", names=names, offsets=np.array([0, 4, 8, 12, 16]), joints=joints)
    arguments = ["nw-ucla", str(tmp_path / "u.npz"), "--out", str(tmp_path / "out"), "--val-fraction", "0"]

    kept = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "1 validation and test clips equal a training clip" in kept.output
    assert "a01_s01_e00_v03 and a01_s01_e00_v02" in kept.output
    assert "--drop-repeats leaves them" in kept.output
    assert (tmp_path / "out/repeats.csv").read_text().splitlines() == [
        "clip_id,split,same_as",
        "a01_s01_e00_v03,test,a01_s01_e00_v02",
    ]
    assert len(Clips.load(tmp_path / "out").usable()) == 4

    dropped = CliRunner().invoke(command, [*arguments, "--drop-repeats"], catch_exceptions=False)
    assert "(0 of them failed)" in dropped.output
    assert "they are left out" in dropped.output
    clips = Clips.load(tmp_path / "out")
    assert clips.usable().clip_id.tolist() == ["a01_s01_e00_v02", "a02_s01_e00_v02", "a02_s01_e00_v03"]
    assert clips.table.error.tolist()[0] == "the same features as training clip a01_s01_e00_v02"

    write_ucla(tmp_path / "u.npz", names=names[1:], offsets=np.array([0, 4, 8, 12]), joints=joints[4:])
    none = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "equal a training clip" not in none.output
    assert not (tmp_path / "out/repeats.csv").exists()
    refused = CliRunner().invoke(command, ["scores-npz", *arguments[1:4], "--drop-repeats"])
    assert "--drop-repeats is for poses and features" in refused.output


@pytest.mark.skipif(not (SHARED / "data/nw_ucla.npz").is_file(), reason="needs ../shared")
def test_the_lists_of_n_ucla_are_what_the_import_finds(tmp_path: Path) -> None:
    lists = Path(__file__).resolve().parents[2] / "benchmarks"
    source, relabel = str(SHARED / "data/nw_ucla.npz"), str(lists / "nw-ucla-relabel.csv")
    arguments = ["nw-ucla", source, "--out", str(tmp_path), "--frames", "2", "--val-fraction", "0"]
    done = CliRunner().invoke(command, [*arguments, "--relabel", relabel], catch_exceptions=False)
    assert "24 clips have the action from" in done.output
    assert "95 validation and test clips equal a training clip" in done.output
    found = pd.read_csv(tmp_path / "repeats.csv")
    assert (found.split == "test").all()
    pd.testing.assert_frame_equal(found[["clip_id", "same_as"]], pd.read_csv(lists / "nw-ucla-repeats.csv"))


def test_training_clips_under_the_wrong_name_are_relabelled_and_test_clips_are_not(tmp_path: Path) -> None:
    person = body(UCLA20, "hip_centre", "shoulder_centre")
    names = np.array(["a05_s01_e00_v01", "a06_s01_e00_v01", "a05_s04_e00_v02", "a05_s04_e00_v03"])
    joints = np.concatenate([person[None] + 0.1 * n for n in range(4)]).astype(np.float32)
    write_ucla(tmp_path / "u.npz", names=names, offsets=np.arange(5), joints=joints)
    arguments = ["nw-ucla", str(tmp_path / "u.npz"), "--out", str(tmp_path / "out"), "--val-fraction", "0"]
    file = tmp_path / "actions.csv"

    def run(*lines: str) -> Result:
        file.write_text("\n".join(["clip_id,action,why", *lines, ""]))
        return CliRunner().invoke(command, [*arguments, "--relabel", str(file)])

    CliRunner().invoke(command, arguments, catch_exceptions=False)
    before = Clips.load(tmp_path / "out").table
    done = run("a05_s04_e00_v02,stand up,she rises")
    assert done.exit_code == 0, done.output
    assert "1 clips have the action from" in done.output
    clips = Clips.load(tmp_path / "out")
    assert [clips.class_names[label] for label in clips.table.label] == ["sit down", "stand up", "stand up", "sit down"]
    pd.testing.assert_frame_equal(clips.table.drop(columns="label"), before.drop(columns="label"))

    for lines, message in (
        (["a05_s04_e00_v03,stand up,"], "test clip 'a05_s04_e00_v03' has new action 'stand up': test clips keep"),
        (["a05_s04_e09_v02,stand up,"], "'a05_s04_e09_v02' (new action 'stand up') does not exist"),
        (["a05_s04_e00_v02,rise,"], "'a05_s04_e00_v02' has new action 'rise', which is no class; choose from pick up"),
        (["a05_s04_e00_v02,stand up,"] * 2, "names clip 'a05_s04_e00_v02' twice"),
    ):
        refused = run(*lines)
        assert isinstance(refused.exception, ValueError)
        assert message in str(refused.exception)
    assert Clips.load(tmp_path / "out").table.label.tolist() == clips.table.label.tolist()  # refused before anything
    file.write_text("clip_id,label\n")
    with pytest.raises(ValueError, match="has no column 'action'"):
        CliRunner().invoke(command, [*arguments, "--relabel", str(file)], catch_exceptions=False)
    with pytest.raises(FileNotFoundError, match="expected a CSV with columns clip_id and action"):
        CliRunner().invoke(command, [*arguments, "--relabel", str(tmp_path / "no.csv")], catch_exceptions=False)
    scores = CliRunner().invoke(command, ["scores-npz", *arguments[1:4], "--relabel", str(file)])
    assert "--relabel is for poses and features" in scores.output


@pytest.mark.skipif(not (SHARED / "data/nw_ucla.npz").is_file(), reason="the real skeletons are not here")
def test_view_3_of_two_actions_of_n_ucla_is_view_2_again(tmp_path: Path) -> None:
    summary = ucla.import_ucla(SHARED / "data/nw_ucla.npz", tmp_path, val_fraction=0)
    assert {clip[:3] for clip in summary.repeats} == {"a02", "a03"}
    assert len(summary.repeats) == 95
    assert all(twin == clip.replace("_v03", "_v02") for clip, twin in summary.repeats.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joints": np.zeros((12, 25, 3))}, "expected names"),
        ({"offsets": np.arange(9)}, "offsets increasing from 0 to the number of frames"),
        ({"names": None}, "cannot be read as an .npz"),
        ({"names": np.array([{}] * 8, dtype=object)}, "cannot be read as arrays of numbers"),
        ({"names": np.array(["a01_s01"] * 8)}, "does not parse"),
        ({"joints": np.full((12, 20, 3), np.nan)}, "a01_s01_e00_v01.*not finite"),
    ],
)
def test_bad_ucla(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_ucla(tmp_path / "u.npz", **changes)
    with pytest.raises(ValueError, match=message):
        ucla.import_ucla(tmp_path / "u.npz", tmp_path / "out")


@pytest.mark.skipif(not (SHARED / "data/nw_ucla.npz").is_file(), reason="N-UCLA is not here")
def test_the_whole_of_ucla(tmp_path: Path) -> None:
    summary = ucla.import_ucla(SHARED / "data/nw_ucla.npz", tmp_path, frames=4)
    splits = Clips.load(tmp_path).table.split.value_counts()
    assert (summary.clips, splits["train"] + splits["val"], splits["test"]) == (1484, 1020, 464)


# --- pyskl ----------------------------------------------------------------------------------------------------------


def annotation(name: str, label: int, people: int = 1, frames: int = 9, joints: int = 17) -> dict[str, Any]:
    rng = np.random.default_rng(sum(map(ord, name)))
    return {
        "frame_dir": name,
        "label": label,
        "img_shape": (1080, 1920),
        "original_shape": (1080, 1920),
        "total_frames": frames,
        "keypoint": rng.uniform(100, 900, (people, frames, joints, 2)).astype(np.float16),
        "keypoint_score": rng.uniform(0.2, 1, (people, frames, joints)).astype(np.float16),
    }


NTU = [f"S001C00{c}P00{p}R001A00{a}" for c in (1, 2) for p in (1, 2, 3, 5) for a in (1, 2)]


def ntu_pickle(path: Path, **changes: Any) -> list[dict[str, Any]]:
    annotations = [annotation(name, int(name[-1]) - 1, people=int(name[-1])) for name in NTU]
    content: dict[str, Any] = {
        "split": {
            "xsub_train": [n for n in NTU if n[11] != "3"],
            "xsub_val": [n for n in NTU if n[11] == "3"],
            "xview_train": [n for n in NTU if "C002" in n],
            "xview_val": [n for n in NTU if "C001" in n],
        },
        "annotations": annotations,
    }
    path.write_bytes(pickle.dumps({**content, **changes}))
    return annotations


def test_pyskl_poses_equal_our_own_normalisation(tmp_path: Path) -> None:
    annotations = ntu_pickle(tmp_path / "ntu.pkl")
    annotations[1]["keypoint"][1, 3:5] = 0  # person 2 is not there in two frames
    ntu_pickle(tmp_path / "ntu.pkl", annotations=annotations)
    arguments = ["pyskl", str(tmp_path / "ntu.pkl"), "--out", str(tmp_path / "out"), "--frames", "9",
                 "--protocol", "ntu60-xview"]  # fmt: skip
    assert CliRunner().invoke(command, arguments, catch_exceptions=False).exit_code == 0
    clips, features = Clips.load(tmp_path / "out"), Features.load(tmp_path / "out")
    assert (features.meta.kind, features.meta.skeleton) == ("pose2d", COCO17)
    assert set(clips.table.split[clips.table.camera == 1]) == {"test"}
    assert set(clips.table.split[clips.table.camera == 2]) == {"train", "val"}
    assert clips.table.width.tolist() == [1920] * len(NTU)
    joints = annotations[1]["keypoint"].astype(np.float32).swapaxes(0, 1)
    valid = np.ones((9, 2), bool)
    valid[3:5, 1] = False
    expected = poses.pose2d(joints, annotations[1]["keypoint_score"].swapaxes(0, 1), valid, COCO17)
    rows = features.index[features.index.clip_id == NTU[1]].row.to_numpy()
    assert len(rows) == 2
    np.testing.assert_allclose(features.array[rows[0]], expected[:, 0], atol=2e-3)
    np.testing.assert_allclose(features.array[rows[1]], resampling.fill_gaps(expected[:, 1], valid[:, 1]), atol=2e-3)


def test_pyskl_without_protocol_uses_the_files_own_splits(tmp_path: Path) -> None:
    ntu_pickle(tmp_path / "ntu.pkl")
    with pytest.raises(ValueError, match="splits 'xsub', 'xview': choose one with --split"):
        pyskl.import_pyskl(tmp_path / "ntu.pkl", tmp_path / "out")
    with pytest.raises(ValueError, match="no split 'xset'; it has 'xsub', 'xview'"):
        pyskl.import_pyskl(tmp_path / "ntu.pkl", tmp_path / "out", split="xset")
    pyskl.import_pyskl(tmp_path / "ntu.pkl", tmp_path / "out", split="xsub", val_fraction=0.25)
    table = Clips.load(tmp_path / "out").table.set_index("clip_id")
    assert table.split.value_counts().to_dict() == {"train": 9, "test": 4, "val": 3}
    assert {name[11] for name in table.index[table.split == "test"]} == {"3"}


def test_their_val_is_val_only_beside_a_test_list() -> None:
    assert pyskl.choose_split({"train": ["a"], "val": ["b"]}, None) == {"a": "train", "b": "test"}
    three = {"train": ["a"], "val": ["b"], "test": ["c"]}
    assert pyskl.choose_split(three, None) == {"a": "train", "b": "val", "c": "test"}
    assert pyskl.choose_split({"train1": ["a"], "test1": ["b"]}, "1") == {"a": "train", "b": "test"}
    with pytest.raises(ValueError, match="'a' is in train and in val"):
        pyskl.choose_split({"train": ["a"], "val": ["a"]}, None)


def test_pyskl_3d_and_plain_lists(tmp_path: Path) -> None:
    joints = np.stack(moving(0.05))[None].astype(np.float16)
    item = {"frame_dir": "S001C001P001R001A001", "label": 0, "total_frames": 20, "keypoint": joints}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([item]))
    pyskl.import_pyskl(tmp_path / "x.pkl", tmp_path / "out", "ntu60-xsub", frames=20)
    features = Features.load(tmp_path / "out")
    assert (features.meta.kind, features.meta.skeleton) == ("pose3d", NTU25)
    np.testing.assert_allclose(features.array[0, 0, 0], 0, atol=1e-3)


def test_people_are_ranked_by_presence(tmp_path: Path) -> None:
    item = annotation("a", 0, people=3)
    item["keypoint"][0, 2:] = 0
    poses, valid = pyskl.annotation_poses(item, persons=2)
    assert poses.shape == (9, 2, 17, 3)
    assert valid.all()  # persons 1 and 2; person 0 was there for two frames


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoint": np.zeros((1, 9, 13, 2))}, r"keypoints \(1, 9, 13, 2\); expected 17 joints of 2"),
        ({"keypoint": None}, "has no keypoint"),
        ({"keypoint_score": np.zeros((1, 9, 3))}, "keypoint_score is"),
        ({"label": None}, "has no label"),
        ({"label": 7}, "has label 7, ntu60-xsub says 0"),
        ({"frame_dir": "v_Archery_g01"}, "does not parse"),
        ({"frame_dir": NTU[1]}, "is given twice"),
    ],
)
def test_bad_annotations(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    annotations = [annotation(NTU[0], 0), annotation(NTU[1], 1)]
    annotations[0].update(change)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"split": {}, "annotations": annotations}))
    with pytest.raises(ValueError, match=message):
        pyskl.import_pyskl(tmp_path / "x.pkl", tmp_path / "out", "ntu60-xsub")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("place", [(0, 0), (9000, -9000), (np.nan, np.inf)])
def test_joints_that_were_not_seen_neither_move_nor_scale_a_pose(place: tuple[float, float]) -> None:
    item = annotation("a", 0, people=2, frames=12)
    unseen = np.random.default_rng(5).random((2, 12, 17)) < 0.3
    unseen[..., 0] = False
    item["keypoint_score"][unseen] = 0
    somewhere = {
        **item,
        "keypoint": np.where(unseen[..., None], item["keypoint"].mean(2, keepdims=True), item["keypoint"]),
    }
    item["keypoint"] = np.where(unseen[..., None], place, item["keypoint"])
    poses, valid = pyskl.annotation_poses(item, persons=2)
    expected, _ = pyskl.annotation_poses(somewhere, persons=2)
    np.testing.assert_array_equal(poses, expected)
    assert valid.all()
    # by hand: the first person's median hip centre, and the median longer side of the box of what was seen
    order = pyskl.person_order(valid, item["keypoint_score"].astype(np.float32).swapaxes(0, 1))
    joints, hidden = item["keypoint"].astype(np.float32)[order], unseen[order]
    joints[hidden] = np.nan
    hips = [j[11:13][~h[11:13]].mean(0) for j, h in zip(joints[0], hidden[0], strict=True) if not h[11:13].all()]
    sides = [np.nanmax(np.nanmax(j, 0) - np.nanmin(j, 0)) for j in joints[0]]
    by_hand = (joints - np.median(hips, 0)) / np.median(sides)
    seen = ~hidden.swapaxes(0, 1)
    np.testing.assert_allclose(poses[seen][:, :2], by_hand.swapaxes(0, 1)[seen], rtol=1e-4, atol=1e-4)
    for frame, person in np.ndindex(12, 2):
        mine, there = poses[frame, person], seen[frame, person]
        assert (mine[~there, 2] == 0).all()
        assert (mine[~there, :2] >= mine[there, :2].min(0)).all()
        assert (mine[~there, :2] <= mine[there, :2].max(0)).all()


def test_a_joint_at_exactly_zero_was_not_seen_whatever_its_score() -> None:
    item = annotation("a", 0)
    item["keypoint"][:, :, 9] = 0
    item["keypoint"][0, 4] = 0
    low = {**item, "keypoint_score": item["keypoint_score"].copy()}
    low["keypoint_score"][:, :, 9] = 0
    low["keypoint_score"][0, 4] = 0
    poses, valid = pyskl.annotation_poses(item, persons=1)
    np.testing.assert_array_equal(poses, pyskl.annotation_poses(low, persons=1)[0])
    assert np.flatnonzero(~valid[:, 0]).tolist() == [4]  # nothing seen: nobody there
    assert not poses[4].any()
    item.pop("keypoint_score")
    without, valid = pyskl.annotation_poses(item, persons=1)
    np.testing.assert_allclose(without[..., :2], poses[..., :2])
    assert np.flatnonzero(~valid[:, 0]).tolist() == [4]
    assert (without[valid][:, 9, 2] == 0).all()
    assert (without[valid][:, 8, 2] == 1).all()


def test_scores_that_are_not_finite_cost_the_clip() -> None:
    item = annotation("a", 0)
    item["keypoint_score"][0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="scores that are not finite"):
        pyskl.annotation_poses(item, persons=1)


def own_pickle(path: Path, split: Any, **changes: Any) -> Path:
    annotations = [{**annotation(f"wave/v{n}", n % 2), **changes} for n in range(6)]
    path.write_bytes(pickle.dumps({"split": split, "annotations": annotations}))
    return path


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        (["wave\\v0.mp4"], ["nothere"], "0 of 1 names in train, 0 of 1 names in val are among its 6 clips"),
        (["wave/v0", "wave/v1", "x"], ["v2", "v3"], "2 of 3 names in train, 0 of 2 names in val are among its 6 clips"),
        (["v0"], [], "0 of 1 names in train, 0 of 0 names in val are among its 6 clips.*'v0'.*'wave/v0'"),
    ],
)
def test_split_lists_that_name_other_clips_are_refused(
    tmp_path: Path, train: list[str], val: list[str], message: str
) -> None:
    source = own_pickle(tmp_path / "x.pkl", {"train": train, "val": val})
    result = CliRunner().invoke(command, ["pyskl", str(source), "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, ValueError)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match=message):
        pyskl.import_pyskl(source, tmp_path / "out")


def test_a_protocol_does_not_hide_lists_that_name_other_clips(tmp_path: Path) -> None:
    ntu_pickle(tmp_path / "x.pkl", split={"xsub_train": ["a"], "xsub_val": ["b"]})
    with pytest.raises(
        ValueError, match=r"0 of 1 names in xsub_train, 0 of 1 names in xsub_val are among its 16 clips"
    ):
        pyskl.import_pyskl(tmp_path / "x.pkl", tmp_path / "out", "ntu60-xsub")


def test_names_without_a_clip_and_clips_without_a_list_are_counted(tmp_path: Path) -> None:
    source = own_pickle(tmp_path / "x.pkl", {"train": ["wave/v0", "wave/v1", "gone"], "val": ["wave/v2", "lost"]})
    arguments = ["pyskl", str(source), "--out", str(tmp_path / "out"), "--val-fraction", "0"]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "note: of 5 names in train, val, 3 are among the 6 clips" in result.output
    assert "2 names have no clip, 3 clips are in no list" in result.output
    assert Clips.load(tmp_path / "out").table.split.fillna("").tolist() == ["train", "train", "test", "", "", ""]
    complete = {"train": [f"wave/v{n}" for n in range(3)], "val": [f"wave/v{n}" for n in range(3, 6)]}
    assert not pyskl.import_pyskl(own_pickle(tmp_path / "x.pkl", complete), tmp_path / "out").notes


WHOLE = {"train": ["wave/v0", "wave/v1", "wave/v2"], "val": ["wave/v3", "wave/v4", "wave/v5"]}


@pytest.mark.parametrize(
    ("shape", "width"), [(None, 0), ((480, 640), 640), ([480, 640], 640), (np.array([480, 640]), 640)]
)
def test_a_size_that_is_unknown_is_not_needed(tmp_path: Path, shape: Any, width: int) -> None:
    pyskl.import_pyskl(own_pickle(tmp_path / "x.pkl", WHOLE, img_shape=shape), tmp_path / "out")
    assert set(Clips.load(tmp_path / "out").table.width) == {width}


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ((480, 640, 3), r"\(480, 640, 3\)"),
        ((480,), r"\(480\)"),
        (("480", "640"), r"\('480', '640'\)"),
        ("480x640", "'480x640'"),
        ((0, 0), r"\(0, 0\)"),
        ((-480, 640), r"\(-480, 640\)"),
        ((480.5, 640), r"\(480.5, 640\)"),
        ((True, 640), r"\(True, 640\)"),
        (480, "480"),
        ({"height": 480}, "a dict"),
        (np.zeros((2, 2)), r"an array \(2, 2\)"),
        ([[]] * 2, "a list"),
    ],
)
def test_a_size_that_is_none_is_named(tmp_path: Path, shape: Any, shown: str) -> None:
    source = own_pickle(tmp_path / "x.pkl", WHOLE, img_shape=shape)
    with pytest.raises(ValueError, match=rf"x\.pkl: clip 'wave/v0': img_shape is {shown}; expected \(height, width\)"):
        pyskl.import_pyskl(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"split": ["a"], "annotations": [annotation("a", 0)]}, "split is a list; expected a dict of lists"),
        ({"split": None, "annotations": [annotation("a", 0)]}, "split is a NoneType; expected a dict of lists"),
        ({"split": {"train": "a"}, "annotations": [annotation("a", 0)]}, "split 'train' is a str; expected a list"),
        ({"split": {"train": [3]}, "annotations": [annotation("a", 0)]}, "split 'train' lists a int that is no frame"),
        ({"split": {"train": [["a"]]}, "annotations": [annotation("a", 0)]}, "lists a list that is no frame_dir"),
        ({"split": {}, "annotations": {"a": annotation("a", 0)}}, "expected split and annotations, a list"),
        ([["a"]], "annotation 0 is a list; expected a dict with frame_dir"),
        ([annotation("a", 0), "b"], "annotation 1 is a str; expected a dict"),
        ([{**annotation("a", 0), "frame_dir": 7}], "annotation 0 has no frame_dir, text of"),
        ([{**annotation("a", 0), "frame_dir": "a" * 2000}], "annotation 0 has no frame_dir, text of"),
        ([{**annotation("a", 0), "keypoint": np.zeros((9, 17, 2))}], r"no keypoint \(M, T.*an array \(9, 17, 2\)"),
        ([{**annotation("a", 0), "keypoint": [[0.0]]}], r"clip 'a' has no keypoint .*but a list"),
        ([{**annotation("a", 0), "keypoint": np.full((1, 9, 17, 2), "x")}], "keypoint is of <U1; expected numbers"),
        ([{**annotation("a", 0), "keypoint_score": [0.5]}], "keypoint_score is a list, expected"),
        ([{**annotation("a", 0), "label": True}], "clip 'a' has no label"),
        ([{**annotation("a", 0), "label": 2**40}], "has label 1099511627776; expected fewer than 100000"),
    ],
)
def test_annotations_of_another_form_are_named_in_one_line(tmp_path: Path, content: Any, message: str) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=rf"x\.pkl.*{message}") as caught:
        pyskl.import_pyskl(tmp_path / "x.pkl", tmp_path / "out", "ntu60-xsub")
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500


@pytest.mark.filterwarnings("error")
def test_clips_without_usable_poses_keep_their_rows(tmp_path: Path) -> None:
    annotations = [annotation(name, int(name[-1]) - 1) for name in NTU[:3]]
    annotations[0]["keypoint"] = np.full((1, 9, 17, 2), np.nan)
    annotations[1]["keypoint"] = np.zeros((2, 0, 17, 2), np.float16)  # no frame
    for item in annotations[:2]:
        item.pop("keypoint_score", None)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(annotations))
    summary = pyskl.import_pyskl(tmp_path / "x.pkl", tmp_path / "out", "ntu60-xsub", frames=9)
    assert (summary.clips, summary.without_person) == (3, 2)
    assert list(summary.failed) == [NTU[0]]
    assert "not finite" in summary.failed[NTU[0]]
    assert Clips.load(tmp_path / "out").usable().clip_id.tolist() == NTU[1:3]


def test_a_list_without_splits_needs_a_protocol(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([annotation(NTU[0], 0)]))
    with pytest.raises(ValueError, match="no splits: give training and test clips with --protocol"):
        pyskl.import_pyskl(tmp_path / "x.pkl", tmp_path / "out")


def test_a_split_that_contradicts_the_protocol(tmp_path: Path) -> None:
    ntu_pickle(tmp_path / "x.pkl", split={"xsub_train": [n for n in NTU if n[11] == "3"], "xsub_val": []})
    with pytest.raises(ValueError, match=r"P003R001A001' is in xsub train, but in test of ntu60-xsub"):
        pyskl.import_pyskl(tmp_path / "x.pkl", tmp_path / "out", "ntu60-xsub")


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch was_here",)


def test_a_hostile_annotation_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.pkl").write_bytes(pickle.dumps({"annotations": [Hostile()]}))
    with pytest.raises(ValueError, match="only arrays"):
        pyskl.import_pyskl(Path("x.pkl"), Path("out"))
    assert not Path("was_here").exists()


# --- the authors' pooled features -----------------------------------------------------------------------------------


def test_released_features_come_in_and_go_out_again(tmp_path: Path) -> None:
    source = tmp_path / "npy"
    source.mkdir()
    rng = np.random.default_rng(0)
    people = {"S001C001P001R001A001": 1, "S001C001P003R001A050": 2, "S001C001P002R001A002": 0}
    for name, count in people.items():
        rows = np.abs(rng.normal(1, 1, (max(1, count), 64, 17, 96))) * bool(count)
        np.save(source / f"{name}.npy", to_released(rows.astype(np.float16)))
    (source / "S001C001P005R001A001.npy").write_bytes(b"\x93NUMPY half")
    np.save(source / "S001C001P004R001A001.npy", np.zeros((64, 2, 25, 96), np.float32))
    arguments = ["features-hpnet", str(source), "--out", str(tmp_path / "out"), "--protocol", "ntu60-xsub"]
    result = CliRunner().invoke(command, [*arguments, "--max-failed", "0.5"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "expected (64, 2, 17, 96)" in result.output
    features = Features.load(tmp_path / "out")
    assert features.index.groupby("clip_id").valid.sum()[list(people)].tolist() == [1, 2, 0]
    assert (features.meta.kind, features.meta.tap) == ("pooled", "h2s3")
    assert features.array[0].nbytes == 208_896
    export_features(features, tmp_path / "again")
    for name in people:
        np.testing.assert_array_equal(
            np.load(tmp_path / "again" / f"{name}.npy"), np.load(source / f"{name}.npy"), err_msg=name
        )


def test_released_features_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no .npy"):
        import_features(tmp_path, tmp_path / "out", "ntu60-xsub")
    (tmp_path / "S001C001P001R001A001.npy").write_bytes(b"")
    with pytest.raises(ValueError, match="none of 1 files can be used"):
        import_features(tmp_path, tmp_path / "out", "ntu60-xsub")
    np.save(tmp_path / "S001C001P001R001A001.npy", np.ones((8, 2, 17, 4), np.float32))
    np.save(tmp_path / "S001C001P002R001A001.npy", np.ones((9, 2, 17, 4), np.float32))
    with pytest.raises(ValueError, match=r"P002R001A001': features are \(9, 17, 4\).*clips before it \(8, 17, 4\)"):
        import_features(tmp_path, tmp_path / "out", "ntu60-xsub")
    np.save(tmp_path / "S001C001P002R001A001.npy", np.full((8, 2, 17, 4), 1e6, np.float32))
    with pytest.raises(ValueError, match=r"P002R001A001': features are not finite"):
        import_features(tmp_path, tmp_path / "out", "ntu60-xsub")


@pytest.mark.skipif(not (SHARED / "data/ntu").is_dir(), reason="the authors' features are not here")
def test_the_authors_own_files(tmp_path: Path) -> None:
    summary = import_features(SHARED / "data/ntu", tmp_path / "out", "ntu60-xsub")
    assert (summary.clips, summary.persons) == (2, 3)
    features = Features.load(tmp_path / "out")
    for file in export_features(features, tmp_path / "again"):
        original = np.load(SHARED / "data/ntu" / file.name)
        np.testing.assert_allclose(np.load(file), original, rtol=1e-3, atol=1e-6)
