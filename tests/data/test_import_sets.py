"""hpnet import utd-mhad and sbu: joints in the right places, splits, folds, and damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from scipy.io import savemat

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.features import Features
from hpnet.core.skeleton import OPENNI15, UCLA20
from hpnet.data import pose3d, sbu, utd
from hpnet.data.protocols import label_and_split
from hpnet.data.sets import sbu as sbu_set
from hpnet.stages.import_ import command

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "real"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments))


# --- UTD-MHAD -------------------------------------------------------------------------------------------------------


def standing(frames: int = 6) -> NDArray[np.float64]:
    """A body (20, 3, T) in the file's order, 3 m away, its spine along y, walking to the camera."""
    heights = [1.7, 1.4, 1.1, 1.0, *[1.4, 1.2, 1.0, 0.9] * 2, *[0.95, 0.5, 0.1, 0.0] * 2]
    sides = [0.0] * 4 + [-0.2] * 4 + [0.2] * 4 + [-0.1] * 4 + [0.1] * 4
    body = np.stack([sides, heights, np.full(20, 3.0)], 1)
    return body[:, :, None] + np.array([0, 0, -0.1])[None, :, None] * np.arange(frames)


def write_utd(folder: Path, names: tuple[str, ...]) -> Path:
    folder.mkdir()
    for number, name in enumerate(names):
        savemat(folder / f"{name}_skeleton.mat", {"d_skel": standing(6 + number)}, do_compression=bool(number % 2))
    return folder


def test_joints_of_utd_mhad_are_put_into_kinects_order(tmp_path: Path) -> None:
    write_utd(tmp_path / "mats", ("a1_s1_t1",))
    joints, valid = utd.read_skeleton(tmp_path / "mats/a1_s1_t1_skeleton.mat")
    assert joints.shape == (6, 1, 20, 3)
    assert valid.all()
    for name, height, side in (("head", 1.7, 0), ("shoulder_centre", 1.4, 0), ("spine", 1.1, 0), ("hip_centre", 1, 0),
                               ("left_hand", 0.9, -0.2), ("right_elbow", 1.2, 0.2), ("left_knee", 0.5, -0.1),
                               ("right_foot", 0, 0.1)):  # fmt: skip
        np.testing.assert_allclose(joints[0, 0, UCLA20.joints.index(name)], [side, height, 3], atol=1e-6)


def test_utd_mhad_becomes_features_and_clips(tmp_path: Path) -> None:
    names = ("a1_s1_t1", "a1_s2_t1", "a27_s3_t2", "a27_s4_t2", "a9_s5_t1", "a9_s7_t1")
    source = write_utd(tmp_path / "mats", names)
    done = run("utd-mhad", str(source), "--out", str(tmp_path / "out"), "--frames", "4")
    assert done.exit_code == 0, done.output
    assert "6 clips, 6 people, 0 clips without people (0 of them failed)" in done.output
    clips, features = Clips.load(tmp_path / "out"), Features.load(tmp_path / "out")
    table = clips.table.set_index("clip_id")
    assert {table.split[name] for name in ("a1_s2_t1", "a27_s4_t2")} == {"test"}
    assert sorted(table.split[table.split != "test"]) == ["train", "train", "train", "val"]
    assert [clips.class_names[table.label[name]] for name in ("a1_s1_t1", "a27_s3_t2", "a9_s5_t1")] == [
        "swipe left", "squat", "draw circle clockwise",
    ]  # fmt: skip
    assert (features.meta.kind, features.meta.skeleton, features.array.shape) == ("pose3d", UCLA20, (6, 4, 20, 3))
    assert not features.meta.own_axes
    first = features.array[0, :, UCLA20.joints.index("hip_centre")].astype(np.float32)
    # turned square to the camera: who walks to it walks along their own front, z
    np.testing.assert_allclose(first[:, :2], 0, atol=1e-3)
    assert (np.diff(first[:, 2]) > 0.05).all()
    as_filmed = run("utd-mhad", str(source), "--out", str(tmp_path / "as-filmed"), "--frames", "4", "--no-align")
    assert as_filmed.exit_code == 0
    moved = Features.load(tmp_path / "as-filmed").array[0, :, UCLA20.joints.index("hip_centre")].astype(np.float32)
    assert (np.diff(moved[:, 2]) < -0.05).all()


def test_damaged_files_of_utd_mhad_are_counted_and_say_why(tmp_path: Path) -> None:
    source = write_utd(tmp_path / "mats", ("a1_s1_t1", "a1_s2_t1", "a1_s3_t1", "a1_s4_t1"))
    whole = (source / "a1_s2_t1_skeleton.mat").read_bytes()
    (source / "a2_s1_t1_skeleton.mat").write_bytes(whole[: len(whole) // 2])
    (source / "a2_s2_t1_skeleton.mat").write_bytes(b"")
    savemat(source / "a2_s3_t1_skeleton.mat", {"other": standing()})
    savemat(source / "a2_s4_t1_skeleton.mat", {"d_skel": standing()[:19]})
    savemat(source / "a2_s5_t1_skeleton.mat", {"d_skel": standing() * np.nan})
    savemat(source / "a2_s6_t1_skeleton.mat", {"d_skel": np.array([["text"]], object)})
    savemat(source / "a2_s7_t1_skeleton.mat", {"d_skel": np.zeros((20, 3, 4))})
    (source / "a2_s8_t1_skeleton.mat").write_bytes(whole + bytes(utd.MAX_BYTES))
    savemat(source / "a2_s9_t1_skeleton.mat", {"d_skel": standing() * np.arange(20)[:, None, None] * 1000})
    refused = run("utd-mhad", str(source), "--out", str(tmp_path / "out"))
    assert refused.exit_code == 1
    assert "8 of 13 clips failed" in refused.output
    table = Clips.load(tmp_path / "out").table.set_index("clip_id")
    for name, said in (("a2_s1_t1", "cannot be read as a MATLAB file"), ("a2_s2_t1", "cannot be read"),
                       ("a2_s3_t1", r"expected d_skel \(20, 3, T\), it has no such"), ("a2_s4_t1", r"\(19, 3, 6\)"),
                       ("a2_s5_t1", "not finite"), ("a2_s6_t1", "of object"),
                       ("a2_s8_t1", "expected at most 262,144"), ("a2_s9_t1", "m apart: it is damaged")):  # fmt: skip
        assert pd.Series([table.error[name]]).str.contains(said)[0], table.error[name]
    assert table.error["a2_s7_t1"] == "", "a clip of nobody is no damaged one"
    done = run("utd-mhad", str(source), "--out", str(tmp_path / "out"), "--max-failed", "0.9")
    assert "13 clips, 4 people, 9 clips without people (8 of them failed)" in done.output


def test_no_changed_byte_of_a_mat_file_is_more_than_an_error(tmp_path: Path) -> None:
    source = write_utd(tmp_path / "mats", ("a1_s1_t1", "a1_s1_t2"))
    draw = np.random.default_rng(5)
    for file in sorted(source.iterdir()):
        whole = bytearray(file.read_bytes())
        for place in draw.integers(100, len(whole), 60):
            changed = whole.copy()
            changed[place] ^= 1 << int(draw.integers(8))
            file.write_bytes(changed)
            try:
                joints, _ = utd.read_skeleton(file)
            except ValueError as error:
                assert str(file) in str(error)  # noqa: PT017
            else:
                assert joints.shape[1:] == (1, 20, 3)


def test_folders_without_such_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for layout, what in (("utd-mhad", "aA_sS_tT_skeleton.mat"), ("sbu", "skeleton_pos.txt")):
        done = run(layout, str(tmp_path / "empty"), "--out", str(tmp_path / "out"))
        assert isinstance(done.exception, FileNotFoundError)
        assert what in str(done.exception)


# --- SBU ------------------------------------------------------------------------------------------------------------


def meeting(apart_m: float = 1.2, steps: int = 5) -> NDArray[np.float64]:
    """Two people (T, 2, 15, 3), metres as of the sensor: the first stands, the second comes nearer."""
    body = np.stack([np.linspace(-0.1, 0.1, 15), np.linspace(0.7, -0.9, 15), np.zeros(15)], 1)
    body[OPENNI15.joints.index("torso")] = 0
    first, second = body + [0.6, 0, 2.4], body + [0.6 - apart_m, 0, 2.4]
    nearer = np.linspace(0, 0.4, steps)[:, None, None] * [1, 0, 0]
    return np.stack([np.broadcast_to(first, (steps, 15, 3)), second + nearer], 1)


def write_sbu(file: Path, joints_m: NDArray[np.floating], end: str = "\r\n") -> Path:
    """A file as published: shares of the picture and of the range."""
    millimetres = joints_m * 1000
    shares = np.stack([(1280 - millimetres[..., 0]) / 2560, (960 - millimetres[..., 1]) / 1920,
                       millimetres[..., 2] * 7.8125 / 10000], -1)  # fmt: skip
    rows = [",".join([str(n), *(f"{v:.6f}" for v in row.ravel())]) for n, row in enumerate(shares, start=7)]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(end.join([*rows, ""]), newline="")
    return file


def test_sbu_is_read_in_metres(tmp_path: Path) -> None:
    joints, valid = sbu.read_skeletons(write_sbu(tmp_path / "skeleton_pos.txt", meeting()))
    np.testing.assert_allclose(joints, meeting(), atol=5e-6 * 2560 / 1000 + 1e-4)
    assert valid.shape == (5, 2)
    assert valid.all()


def test_the_two_face_each_other_wherever_the_camera_is_and_whoever_is_first() -> None:
    joints, valid = meeting().astype(np.float32), np.ones((5, 2), bool)
    poses = pose3d.towards_each_other(joints, valid, sbu.TORSO)
    torsos = poses[:, :, sbu.TORSO]
    np.testing.assert_allclose(torsos[0], [[0, 0, -0.6], [0, 0, -0.6]], atol=1e-6)  # each looks along its own z
    np.testing.assert_allclose(torsos[-1], [[0, 0, -0.6], [0, 0, -0.2]], atol=1e-6)  # the second came nearer
    turn = np.array([[0.6, 0, 0.8], [0, 1, 0], [-0.8, 0, 0.6]])
    elsewhere = pose3d.towards_each_other(joints @ turn.T + np.float32([3, 1, 2]), valid, sbu.TORSO)
    np.testing.assert_allclose(elsewhere, poses, atol=1e-5)
    np.testing.assert_allclose(pose3d.towards_each_other(joints[:, ::-1], valid, sbu.TORSO), poses[:, ::-1], atol=1e-6)
    moved = pose3d.towards_each_other(joints, valid, sbu.TORSO, align=False)
    np.testing.assert_allclose(moved[:, 0] - moved[:, 1], joints[:, 0] - joints[:, 1], atol=1e-6)


def test_clips_in_which_both_are_never_seen_or_stand_in_one_place() -> None:
    joints, valid = meeting().astype(np.float32), np.zeros((5, 2), bool)
    assert not pose3d.towards_each_other(joints, valid, sbu.TORSO).any()
    valid[:, 1] = True
    alone = pose3d.towards_each_other(joints, valid, sbu.TORSO)
    assert not alone[:, 0].any()
    np.testing.assert_allclose(alone[0, 1, sbu.TORSO], 0, atol=1e-6)
    with pytest.raises(ValueError, match=r"the two people stand 0 m apart in frame 0: import without --align"):
        pose3d.towards_each_other(joints[:, [0, 0]], np.ones((5, 2), bool), sbu.TORSO)


def test_sbu_becomes_features_clips_and_folds(tmp_path: Path) -> None:
    pairs = {"s01s02": 1, "s03s04": 1, "s02s03": 2, "s01s03": 3, "s02s01": 4, "s04s02": 5}
    for pair in pairs:
        write_sbu(tmp_path / f"sbu/{pair}/03/001/skeleton_pos.txt", meeting(), "\n")
    done = run("sbu", str(tmp_path / "sbu"), "--out", str(tmp_path / "out"), "--frames", "4")
    assert done.exit_code == 0, done.output
    assert "6 clips, 12 people" in done.output
    clips, features = Clips.load(tmp_path / "out"), Features.load(tmp_path / "out")
    assert (features.meta.skeleton, features.array.shape) == (OPENNI15, (12, 4, 15, 3))
    assert features.meta.own_axes
    assert {clips.class_names[label] for label in clips.table.label} == {"kick"}
    table = clips.table.set_index("clip_id")
    assert table.split["s01s02_03_001"] == table.split["s03s04_03_001"] == "test"
    assert set(table.split[table.split != "test"]) == {"train", "val"}
    folds = pd.read_csv(tmp_path / "out/folds.csv")
    assert dict(zip(folds.video, folds.fold, strict=True)) == {f"{pair}_03_001": n for pair, n in pairs.items()}
    other = run("sbu", str(tmp_path / "sbu"), "--out", str(tmp_path / "out"), "--protocol", "sbu-fold2")
    assert other.exit_code == 0, other.output
    assert Clips.load(tmp_path / "out").table.set_index("clip_id").split["s02s03_03_001"] == "test"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no frame"),
        ("1,2,3\n", "line 1: expected a frame number and 90 numbers, .* found 3 values such as '3'"),
        (",".join(["1"] * 91) + "\n" + ",".join(["1"] * 90 + ["x"]) + "\n", "line 2: .* such as 'x'"),
        (",".join(["1"] * 90 + ["nan"]) + "\n", "line 1"),
        ("1," * 600_000, "1,200,000 bytes, expected at most 1,048,576"),
    ],
)
def test_damaged_files_of_sbu(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "skeleton_pos.txt").write_text(text)
    with pytest.raises(ValueError, match=rf"skeleton_pos.txt.*{said}"):
        sbu.read_skeletons(tmp_path / "skeleton_pos.txt")


# --- names and the data themselves ----------------------------------------------------------------------------------


def test_folds_of_sbu_are_pairs_and_every_pair_is_in_one() -> None:
    pairs = sorted(pair for fold in sbu_set.FOLDS for pair in fold)
    assert len(set(pairs)) == len(pairs) == 21
    assert [pairs[0], pairs[-1]] == [12, 73]
    name = "data/s05s02/08/002/skeleton_pos.txt"
    for fold in range(1, 6):
        row = label_and_split(f"sbu-fold{fold}", [name, "s05s02_08_003"], val_fraction=0).iloc[0]
        assert (row.clip_id, row.class_name, row.subject, row.setup) == ("s05s02_08_002", "punch", "52", 1)
        assert row.split == ("test" if fold == 1 else "train")
    with pytest.raises(ValueError, match=r"does not parse; expected sXXsYY/CLASS/TRIAL"):
        label_and_split("sbu-fold1", ["08/002/skeleton_pos.txt"])


def test_names_of_utd_mhad() -> None:
    table = label_and_split("utd-mhad", ["Skeleton/a10_s1_t2_skeleton.mat", "a3_s6_t4_color.avi", "a28_s1_t1"])
    assert table.clip_id.tolist() == ["a10_s1_t2", "a3_s6_t4", "a28_s1_t1"]
    assert table.class_name.tolist() == ["draw circle counter-clockwise", "wave", ""]
    assert table.split.tolist() == ["train", "test", ""]


@pytest.mark.skipif(not (SHARED / "utd_mhad").is_dir(), reason="needs ../shared")
def test_utd_mhad_itself(tmp_path: Path) -> None:
    files = sorted((SHARED / "utd_mhad" / "Skeleton").glob("*.mat"))
    table = label_and_split("utd-mhad", [str(file) for file in files], val_fraction=0)
    assert table.split.value_counts().to_dict() == {"train": 431, "test": 430}
    assert set(table.label) == set(range(27))
    spine = []
    for file in files[::40]:
        joints, valid = utd.read_skeleton(file)
        assert valid.all()
        height = {name: joints[:, 0, UCLA20.joints.index(name), 1].mean() for name in UCLA20.joints}
        assert height["head"] > height["shoulder_centre"] > height["hip_centre"] > height["left_foot"]
        spine.append(height["shoulder_centre"] - height["hip_centre"])
    assert 0.3 < float(np.median(spine)) < 0.7, "metres"


@pytest.mark.skipif(not (SHARED / "sbu").is_dir(), reason="needs ../shared")
def test_sbu_itself(tmp_path: Path) -> None:
    done = run("sbu", str(SHARED / "sbu"), "--out", str(tmp_path / "out"), "--frames", "8", "--val-fraction", "0")
    assert done.exit_code == 0, done.output
    assert "282 clips, 564 people, 0 clips without people" in done.output
    clips, features = Clips.load(tmp_path / "out"), Features.load(tmp_path / "out")
    counts = pd.read_csv(tmp_path / "out/folds.csv").fold.value_counts()
    assert counts.sum() == 282
    assert counts.min() >= 50
    # what the classes mean is seen in how far the two are from each other
    distance = {}
    for name in ("approach", "depart", "hug", "kick"):
        own = set(clips.table.clip_id[clips.table.label == clips.class_names.index(name)])
        rows = features.index.row[features.index.clip_id.isin(own)].to_numpy()
        torsos = features.array[rows][:, :, sbu.TORSO, 2].astype(np.float32)  # (people, T), minus half the distance
        distance[name] = -2 * torsos.mean(0)
    assert distance["approach"][0] > 1.2 > 0.8 > distance["approach"][-1]
    assert distance["depart"][-1] > 1.2 > 0.8 > distance["depart"][0]
    assert distance["hug"].min() < 0.7 < 1 < distance["kick"].min()
    # bones keep their lengths: the axes are of one scale
    joints, _ = sbu.read_skeletons(SHARED / "sbu/s01s02/03/001/skeleton_pos.txt")
    bones = np.linalg.norm(joints - joints[:, :, list(OPENNI15.parents)], axis=-1)[..., [4, 5, 7, 8, 10, 11, 13, 14]]
    assert float(np.median(bones.std(0) / bones.mean(0))) < 0.03
