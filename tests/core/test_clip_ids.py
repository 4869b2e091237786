"""Clip ids: paths that cannot leave a folder, in text that every table reads back."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpnet.artifacts.boxes import BOX_COLUMNS, Boxes
from hpnet.artifacts.clips import CLIP_COLUMNS, Clips
from hpnet.artifacts.features import Features
from hpnet.artifacts.files import write_json
from hpnet.artifacts.poses import PoseMeta, PoseStore
from hpnet.artifacts.scores import Scores
from hpnet.artifacts.trained_features import TrainedFeatures
from hpnet.core.clip_ids import check_clip_ids, clip_id_fault, path_inside, refuse_alike
from hpnet.core.csv_text import read_csv_text, write_csv
from hpnet.core.skeleton import COCO17
from hpnet.data.feature_folder import pose_meta
from hpnet.data.importers import import_scores_csv, import_scores_npz
from hpnet.data.protocols import label_and_split
from hpnet.data.released import META, export_features, import_features
from hpnet.data.table import read_table
from hpnet.stages.cli import cli

HOSTILE = {
    "../x": "leads out of its folder",
    "a/../../x": "leads out of its folder",
    "a/..": "leads out of its folder",
    "/etc/x": "absolute path",
    "//host/x": "absolute path",
    "..\\x": "backslash",
    "C:\\x": "backslash",
    "C:/x": "drive letter",
    "c:x": "drive letter",
    "": "is empty",
    ".": "empty part",
    "a//b": "empty part",
    "a/": "empty part",
    "./a": "empty part",
    "a\0b": "control character",
    "a\nb": "line break",
    "a\rb": "line break",
    "a\u2028b": "control character",
    "a\x85b": "control character",
    "a\tb": "a tab",
    "a\x1b[31m": "control character",
    "caf\udce9": "not UTF-8",
    "x" * 300: "longer than",
    "/".join(["long"] * 300): "longer than",
}
TEXT = st.text(st.characters(exclude_categories=[]), max_size=40)
PATHS = st.one_of(
    TEXT, st.lists(st.sampled_from(["..", ".", "", "a", "b.c", "C:", "\\", "~", "é", "\n"])).map("/".join)
)


@pytest.mark.parametrize(("clip_id", "why"), HOSTILE.items())
def test_ids_that_are_refused(clip_id: str, why: str) -> None:
    assert why in clip_id_fault(clip_id)
    with pytest.raises(ValueError, match=r"somewhere: clip id .*; expected a relative path of plain parts"):
        check_clip_ids(["fine", clip_id], "somewhere")


@pytest.mark.parametrize("clip_id", [None, 3, float("nan"), b"x"])
def test_an_id_is_text(clip_id: object) -> None:
    assert "not text" in clip_id_fault(clip_id)


@pytest.mark.parametrize(
    "clip_id", ["S001C001P001R001A001", "wave/anna/x", "12:30:00", "a b/ c ", "日本/é", "~a", "..a", "-x"]
)
def test_ids_that_are_taken(clip_id: str) -> None:
    assert clip_id_fault(clip_id) == ""


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PATHS)
def test_a_file_named_after_a_clip_stays_in_its_folder_or_is_refused(tmp_path: Path, clip_id: str) -> None:
    folder = tmp_path / "out"
    try:
        file = path_inside(folder, clip_id, ".npy")
    except ValueError:
        return
    assert file.resolve().is_relative_to(folder.resolve())
    assert file.name.endswith(".npy")
    file.write_bytes(b"")
    file.unlink()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PATHS, min_size=1, max_size=4, unique=True), TEXT)
def test_a_clip_table_reads_back_equal_or_is_refused(tmp_path: Path, names: list[str], text: str) -> None:
    values = {"clip_id": names, "label": 0, "subject": text, "source": text, "camera": 0, "setup": 0, "repetition": 0}
    values |= {"split": "", "path": text, "width": 1, "height": 1, "fps": 1.5, "frames": 2, "error": text}
    try:
        made = Clips(
            pd.DataFrame(values, dtype=object),
            pd.DataFrame({"label": [0], "name": [text], "prompt": [text]}, dtype=object),
        )
        made.save(tmp_path)
    except ValueError:
        return
    back = Clips.load(tmp_path)
    for column in ("clip_id", "path", "subject", "source", "error"):
        assert back.table[column].tolist() == made.table[column].tolist()
    assert back.class_names == [text]


def test_text_of_other_kinds_reads_back_equal(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": ["x\ry", "x\r\ny", "x\ny", '"', ",", "01", "NA", "", " x "], "b": range(9)})
    write_csv(table, tmp_path / "t.csv")
    assert read_csv_text(tmp_path / "t.csv", "t").a.tolist() == table.a.tolist()
    with pytest.raises(ValueError, match=r"t\.csv: a 'caf\\udce9' is not UTF-8"):
        write_csv(pd.DataFrame({"a": ["caf\udce9"]}, dtype=object), tmp_path / "t.csv")


def test_a_class_called_01_stays_so(tmp_path: Path) -> None:
    table = pd.DataFrame(columns=list(CLIP_COLUMNS))
    Clips(table, pd.DataFrame({"label": [0, 1], "name": ["01", "1"], "prompt": ["01", "True"]})).save(tmp_path)
    assert Clips.load(tmp_path).class_names == ["01", "1"]


def test_names_that_look_the_same_are_one_too_many() -> None:
    refuse_alike(["café/a", "cafe/a"], "t")
    with pytest.raises(ValueError, match=r"'caf\\xe9' and 'cafe\\u0301' look the same"):
        refuse_alike(["caf\xe9", "cafe\u0301"], "t")


# --- wherever one enters ----------------------------------------------------------------------------------------------


def a_table(clip_id: str) -> pd.DataFrame:
    values = dict.fromkeys(CLIP_COLUMNS, 0) | {"clip_id": clip_id, "split": "", "subject": "", "source": ""}
    return pd.DataFrame([values])


@pytest.mark.parametrize("clip_id", ["../x", "/x", "a\rb"])
def test_every_artifact_refuses_them(clip_id: str, tmp_path: Path) -> None:
    one = np.zeros((1, 3), np.float32)
    index = pd.DataFrame({"clip_id": [clip_id], "person": 0, "row": 0, "valid": True})
    with pytest.raises(ValueError, match=r"clips\.csv: clip id"):
        Clips(a_table(clip_id), pd.DataFrame({"label": [0], "name": ["a"], "prompt": ["a"]}))
    with pytest.raises(ValueError, match="boxes: clip id"):
        Boxes(pd.DataFrame([(clip_id, 0, 0, 0, 0, 1, 1, 1)], columns=list(BOX_COLUMNS)))
    with pytest.raises(ValueError, match="boxes: clip id"):
        Boxes(pd.DataFrame(columns=list(BOX_COLUMNS)), {clip_id: "why"})
    with pytest.raises(ValueError, match="scores: clip id"):
        Scores((clip_id,), ("test",), np.zeros(1, np.int64), one)
    with pytest.raises(ValueError, match="trained features: clip id"):
        TrainedFeatures((clip_id,), one)
    with pytest.raises(ValueError, match="features index: clip id"):
        Features(np.zeros((1, 2, 17, 3), np.float16), index, META)
    of_poses = {"shard": "shard-00000.safetensors", "start": 0, "frames": 1, "persons": 1}
    index.assign(**of_poses).to_parquet(tmp_path / "index.parquet")
    write_json(tmp_path / "meta.json", PoseMeta("m", "", COCO17, (1, 1), {}, 1).to_json())
    with pytest.raises(ValueError, match=r"index\.parquet: clip id"):
        PoseStore(tmp_path)


@pytest.mark.parametrize("name", ["../../escaped/x", "/tmp/escaped/x", "..\\x", "a/../../x", "x\r"])
def test_pyskl_clips_are_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    keypoint = np.ones((1, 4, 17, 2), np.float32)
    clips = [{"frame_dir": n, "label": 0, "total_frames": 4, "keypoint": keypoint, "img_shape": (9, 9)}
             for n in ("fine", name)]  # fmt: skip
    content = {"split": {"train": ["fine"], "val": [name]}, "annotations": clips}
    (tmp_path / "h.pkl").write_bytes(pickle.dumps(content))
    done = CliRunner().invoke(cli, ["import", "pyskl", str(tmp_path / "h.pkl"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "h.pkl: clip id" in str(done.exception)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["h.pkl"]


def test_scores_of_others_are_refused(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("clip_id,label,0,1\n../x,0,0.5,0.5\n")
    with pytest.raises(ValueError, match=r"s\.csv: clip id '\.\./x' leads out"):
        import_scores_csv(tmp_path / "s.csv", "s")
    np.savez(tmp_path / "s.npz", clip_id=np.array(["/x"]), scores=np.zeros((1, 2)), labels=np.zeros(1, int))
    with pytest.raises(ValueError, match=r"s\.npz: clip id '/x' is an absolute path"):
        import_scores_npz(tmp_path / "s.npz", "s")


@pytest.mark.parametrize("name", ["../x.mp4", "/a/x.mp4", "..\\x.mp4", "a/../../x", "C:\\clips\\x.mp4", "a/b\rc.mp4"])
def test_lists_and_tables_of_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"clip name .*; expected a relative path"):
        label_and_split("folder", ["wave/a.mp4", name])
    pd.DataFrame({"video": ["a.mp4", name], "action": "wave"}).to_csv(tmp_path / "t.csv", index=False, quoting=1)
    with pytest.raises(ValueError, match=r"t\.csv, line 3: video .*; expected columns video"):
        read_table(tmp_path / "t.csv")


def test_a_table_of_windows_has_slashes_the_other_way(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("video,action\nwave\\a.mp4,wave\n")
    assert read_table(tmp_path / "t.csv").video.tolist() == ["wave/a.mp4"]
    assert label_and_split("folder", ["wave\\a.mp4"]).clip_id.tolist() == ["wave/a"]


def test_export_never_leaves_its_folder(tmp_path: Path) -> None:
    index = pd.DataFrame({"clip_id": ["wave/a"], "person": 0, "row": 0, "valid": True})
    features = Features(np.zeros((1, 2, 17, 3), np.float16), index, pose_meta("pose2d", COCO17))
    (file,) = export_features(features, tmp_path / "out")
    assert file == tmp_path / "out" / "wave" / "a.npy"
    object.__setattr__(features, "index", index.assign(clip_id="../a"))  # as if it had come in unseen
    with pytest.raises(ValueError, match="leads out of its folder"):
        export_features(features, tmp_path / "out")
    object.__setattr__(features, "index", index)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "wave").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(ValueError, match="would be written outside"):
        export_features(features, tmp_path / "linked")
    assert not list((tmp_path / "elsewhere").iterdir())
    assert not (tmp_path / "a.npy").exists()


def test_what_is_exported_comes_in_again_by_folders(tmp_path: Path) -> None:
    names = [f"{action}/anna/{n}" for action in ("clap", "wave") for n in range(3)]
    index = pd.DataFrame({"clip_id": names, "person": 0, "row": range(6), "valid": True})
    values = np.random.default_rng(0).normal(size=(6, 2, 17, 3)).astype(np.float16)
    export_features(Features(values, index, META), tmp_path / "out")
    (tmp_path / "out" / "clap" / "._0.npy").write_bytes(b"a Mac's note")
    import_features(tmp_path / "out", tmp_path / "in", "folder")
    clips = Clips.load(tmp_path / "in")
    assert clips.table.clip_id.tolist() == names
    assert clips.class_names == ["clap", "wave"]
