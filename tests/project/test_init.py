"""hpnet init: every preset gives a project that loads; nothing is overwritten; nothing leaks between splits."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from dvc.repo import Repo
from hypothesis import given, settings
from hypothesis import strategies as st

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.files import read_json
from hpnet.artifacts.scores import Scores
from hpnet.core.skeleton import UCLA20
from hpnet.core.video import write_video
from hpnet.data.sets import SETS
from hpnet.data.table import read_table, split_table
from hpnet.params import Params, load_params, validate
from hpnet.project import presets
from hpnet.project.folder import Project
from hpnet.project.make import make_project
from hpnet.project.weights import lookup, of_preset
from hpnet.project.weights import needed as needed_weights
from hpnet.stages.cli import cli
from hpnet.stages.import_ import PROTOCOLS
from tests.trained import inside, run_graph, shrink

ROOT = Path(__file__).resolve().parents[2]
LONG = bool(os.environ.get("HPNET_LONG_TESTS"))


def videos(folder: Path, names: tuple[str, ...] = ("wave/a.mp4", "wave/b.mp4", "clap/c.mp4")) -> Path:
    for number, name in enumerate(names):
        write_video(folder / name, np.full((2, 16, 16, 3), 9 * number, np.uint8), fps=5)
    return folder


def poses_file(file: Path) -> Path:
    draw = np.random.default_rng(3)
    names = [f"a{a:02d}_s{s:02d}_e00_v{v:02d}" for a in (1, 2) for s in range(1, 8) for v in (1, 2, 3)]
    joints = draw.normal(size=(4 * len(names), UCLA20.num_joints, 3)).astype(np.float32)
    np.savez(file, names=np.array(names), offsets=np.arange(len(names) + 1) * 4, joints=joints)
    return file


def needed(name: str, folder: Path) -> dict[str, Path]:
    preset = presets.get(name)
    if preset.poses and preset.poses != "nw-ucla":
        (folder / "poses").mkdir()
        return {"poses": folder / "poses"}
    if preset.poses:
        return {"poses": poses_file(folder / "poses.npz")}
    return {"videos": videos(folder / "videos")} if preset.values["data"].get("source") == "folder" else {}


def test_every_list_of_presets_is_the_same() -> None:
    for name, preset in presets.PRESETS.items():
        of_poses = PROTOCOLS.get(preset.poses, "mannequin-xsub")
        protocol = preset.values.get("data", {}).get("protocol", of_poses)
        assert protocol in SETS
        if name in SETS:
            assert protocol == name
        models = [w.name for w in needed_weights(Params.model_validate(preset.values))]
        if not preset.poses:
            assert set(models) == {w.name for w in of_preset(name)}


@pytest.mark.parametrize("name", list(presets.PRESETS))
def test_a_preset_makes_a_project_that_loads(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    make_project(folder, name, **needed(name, tmp_path))
    params = load_params(folder / "params.yaml")
    values = dict(presets.get(name).values)
    if values.get("data", {}).get("source") == "folder":
        values["data"] = values["data"] | {"videos": str(tmp_path / "videos")}
    assert params == Params.model_validate(values)
    text = (folder / "params.yaml").read_text()
    assert text.count("  # ") > 5
    graph: dict[str, Any] = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"]
    raw = yaml.safe_load(text)
    written = {next(iter(out)) for out in graph["code"]["outs"]}
    read = {dep for stage in Project(folder).read_stages().values() for dep in [f"code/{stage.code}.txt"] if stage.code}
    assert read == written
    assert graph["code"]["always_changed"], "DVC cannot see an installed package"
    for stage, entry in graph.items():
        body = entry.get("do", entry)
        for dotted in body.get("params", []):
            top = dotted.split(".${item")[0]
            found: Any = raw
            for part in top.split("."):
                found = found[part]
        if stage != "code":
            assert [dep for dep in body["deps"] if dep.startswith("code/")] == body["deps"][-1:]
    assert "hpnet" in (folder / "README.md").read_text()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "README.md").write_text("mine")
    with pytest.raises(FileExistsError, match=r"README.md already exists and is not overwritten"):
        make_project(folder, "mannequin")
    assert sorted(p.name for p in folder.iterdir()) == ["README.md"]
    assert (folder / "README.md").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--preset", "folder"), "needs --videos"),
        (("--preset", "folder", "--videos", "nowhere"), "folder nowhere is missing"),
        (("--preset", "nw-ucla"), "needs --poses"),
        (("--preset", "nw-ucla", "--videos", "."), "give --poses"),
        (("--preset", "mannequin", "--videos", "."), "renders its clips"),
        (("--preset", "ntu60-xsub", "--videos", "videos", "--table", "t.csv"), "remove --table"),
        (("--preset", "folder", "--videos", "videos", "--table", "nowhere.csv"), "nowhere.csv is missing"),
    ],
)
def test_what_is_missing_or_too_much_is_said(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    videos(tmp_path / "videos")
    with inside(tmp_path):
        done = CliRunner().invoke(cli, ["init", "new", *arguments])
    assert done.exit_code != 0
    assert message in str(done.exception)
    assert not (tmp_path / "new").exists()


def test_nw_ucla_trains_four_streams_from_the_npz(tmp_path: Path) -> None:
    folder = tmp_path / "ucla"
    make_project(folder, "nw-ucla", poses=poses_file(tmp_path / "poses.npz"))
    small = {"graph": {"base_channels": 8, "blocks": 1}, "epochs": 1, "warmup_epochs": 0}
    shrink(folder, {"train": {"topology": small}})
    run_graph(folder)
    fused = Scores.load(folder / "artifacts" / "fuse" / "scores.parquet")
    assert len(fused.split("test").clip_ids) == 14  # camera 3
    assert fused.logits.shape[1] == 10
    assert set(read_json(folder / "artifacts/fuse/weights.json")["weighted"]["weights"]) == {
        "hpj",
        "hpb",
        "hpjm",
        "hpbm",
    }
    done = CliRunner().invoke(cli, ["predict", str(videos(tmp_path / "v") / "wave/a.mp4"), "--project", str(folder)])
    assert "read imported" in str(done.exception)


# --- through DVC -----------------------------------------------------------------------------------------------------


def dvc(folder: Path, *arguments: str) -> str:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def test_dvc_takes_the_project(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    make_project(folder, "folder", videos=videos(tmp_path / "videos"))
    dvc(folder, "repro", "data")
    assert len(Clips.load(folder / "artifacts" / "data").table) == 3
    again = dvc(folder, "repro", "data")
    assert "Running stage 'code'" in again
    assert "Running stage 'data'" not in again
    assert "Running stage 'detect'" in dvc(folder, "repro", "--dry", "detect")
    weights = [dep for stage in Repo(str(folder)).index.stages for dep in stage.deps if dep.def_path == "weights"]
    assert len(weights) == 6  # detect, estimate and four streams
    assert not any(dep.is_empty for dep in weights)  # of an empty one DVC warns after each of these stages
    assert "!/weights/README.txt" in (folder / ".gitignore").read_text()
    listed = dvc(folder, "stage", "list", "--name-only").split()
    assert "train@multimodal" not in listed  # the packaged X-CLIP knows mannequins alone
    assert {"estimate", "pool", "train@hpj", "train@hpbm", "compare@pooled", "fuse", "report"} <= set(listed)
    videos(tmp_path / "videos", ("clap/c.mp4", "clap/new.mp4"))
    assert "Running stage 'data'" in dvc(folder, "repro", "--dry", "data")


@pytest.mark.skipif(not LONG, reason="minutes: set HPNET_LONG_TESTS=1")
def test_the_walk_through_dvc(tmp_path: Path) -> None:
    from tests.trained import five_folders

    clips = five_folders(tmp_path / "videos")
    folder = tmp_path / "actions"
    make_project(folder, "folder", videos=clips)
    shrink(folder)
    dvc(folder, "repro")
    assert (folder / "report" / "index.html").is_file()
    assert read_json(folder / "metrics" / "fuse.json")["clips"] >= 10
    done = CliRunner().invoke(cli, ["predict", str(clips / "wave" / "01.mp4"), "--project", str(folder)])
    assert "person 0" in done.output


# --- tables -----------------------------------------------------------------------------------------------------------

ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["p1", "p2", "p3", "p4", "p5"])), min_size=5)


@settings(deadline=None)
@given(ROWS, st.integers(0, 5))
def test_a_source_is_never_on_two_sides(pairs: list[tuple[str, str]], seed: int) -> None:
    rows = pd.DataFrame([(f"v{n}.mp4", a, s, "") for n, (a, s) in enumerate(pairs)])
    rows.columns = pd.Index(["video", "action", "source", "split"])
    found = split_table(rows, seed=seed)
    sides = found.groupby(rows.source.to_numpy()).split.nunique()
    assert (sides == 1).all()
    if rows.source.nunique() >= 3:
        assert set(found.split) == {"train", "val", "test"}
    assert list(found.class_name) == list(rows.action)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,split\na.mp4,train\n", "no column 'action'"),
        ("video,action\na.mp4,x\na.mp4,y\n", "lists video 'a.mp4' twice"),
        ("video,action\na.mp4,\n", "line 2: video or action is empty"),
        ("video,action,split\na.mp4,x,trian\n", "split 'trian' is not"),
        ("video,action,source,split\na.mp4,x,p,train\nb.mp4,x,p,test\n", "source 'p' is in train and in test"),
        ("", "cannot be read as CSV"),
        ("video,action,mirror\na.mp4,x,y\n", "line 2: mirror of 'x' is 'y', which is no action"),
        ("video,action,mirror\na.mp4,x,x\nb.mp4,x,-\n", "the mirror of 'x' is 'x' and '-'"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        split_table(read_table(tmp_path / "t.csv"))


def test_init_says_what_it_found(tmp_path: Path) -> None:
    names = tuple(f"{action}/{n}.mp4" for action in ("clap", "wave") for n in range(5))
    videos(tmp_path / "videos", (*names, "loose.mp4"))
    with inside(tmp_path):
        done = CliRunner().invoke(cli, ["init", "p", "--videos", "videos"])
    assert done.exit_code == 0, done.output
    assert "11 videos, 2 actions: 6 train, 2 val, 2 test" in done.stdout
    assert "1 of them have no action or split" in done.stderr
    with inside(tmp_path / "p"):
        assert "1 clips have no class" in CliRunner().invoke(cli, ["data"]).stderr


def test_networks_that_know_mannequins_alone_are_told_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init = ["init", str(tmp_path / "p"), "--preset"]
    for preset in ("folder", "mannequin", "ntu60-xsub"):
        done = CliRunner().invoke(cli, [*init, preset, "--videos", str(tmp_path / "none")])
        assert "know rendered mannequins alone" not in done.stderr
    rendered = {"detect": "mannequin-yolo", "estimate": "mannequin-simcc"}
    monkeypatch.setattr("hpnet.project.weights.real_video_networks", lambda preset: rendered)
    done = CliRunner().invoke(cli, [*init, "folder", "--videos", str(tmp_path / "none")])
    assert done.exit_code == 1  # there are no videos; it was said before they were looked for
    assert "mannequin-yolo and mannequin-simcc know rendered mannequins alone" in done.stderr
    assert not (tmp_path / "p").exists()


def test_the_best_networks_that_are_here_are_chosen_once_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HPNET_WEIGHTS", raising=False)
    clips = videos(tmp_path / "videos")
    init = ["init", "--preset", "folder", "--videos", str(clips)]
    done = CliRunner().invoke(cli, [*init, str(tmp_path / "plain")], catch_exceptions=False)
    assert "pose network: movenet-lightning, which ships with hpnet" in done.stdout
    assert "multimodal stream: off" in done.stdout
    weights = tmp_path / "weights"
    monkeypatch.setenv("HPNET_WEIGHTS", str(weights))
    names = ("yolo11s", "rtmpose-m", "rtmpose-s", "microsoft/xclip-base-patch16")
    for file in (file for name in names for file in lookup(name).files):
        (weights / file.path).parent.mkdir(parents=True, exist_ok=True)
        (weights / file.path).touch()
    done = CliRunner().invoke(cli, [*init, str(tmp_path / "better")], catch_exceptions=False)
    assert "detector: yolo11s, the best whose weights are here" in done.stdout
    assert "pose network: rtmpose-m, the best whose weights are here" in done.stdout
    params = yaml.safe_load((tmp_path / "better" / "params.yaml").read_text())
    assert params["detect"]["model"] == "yolo11s"
    assert params["estimate"]["taps"] == ["c4", "c4@1.5"]
    assert params["pool"]["tap"] == "c4+c4@1.5"
    assert params["train"]["multimodal"]["video"] == "microsoft/xclip-base-patch16"
    assert "multimodal" in (tmp_path / "better" / "dvc.yaml").read_text()
    validate(params, "params.yaml")


def test_one_action_is_no_project(tmp_path: Path) -> None:
    for names, said in ((("a.mp4", "b.mp4"), "all have action 'flat'"), (("x/a.mp4",), "all have action 'x'")):
        folder = videos(tmp_path / str(len(names)) / "flat", names)
        with pytest.raises(ValueError, match=said):
            make_project(tmp_path / "p", "folder", videos=folder)
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("by_table", [False, True])
def test_a_copy_of_a_video_may_not_be_on_another_side(tmp_path: Path, by_table: bool) -> None:
    names = tuple(f"{action}/{n}.mp4" for action in ("clap", "wave") for n in range(5))
    folder = videos(tmp_path / "videos", names)
    table = None
    if by_table:
        table = tmp_path / "t.csv"
        rows = [f"{name},{name[:4]},{'test' if name[5] == '0' else 'train'}" for name in names]
        table.write_text("\n".join(["video,action,split", *rows]))
    make_project(tmp_path / "before", "folder", videos=folder, table=table)
    with inside(tmp_path / "before"):
        assert CliRunner().invoke(cli, ["data"]).exit_code == 0
    for n in range(1, 5):
        shutil.copy(folder / "wave" / "0.mp4", folder / "wave" / f"{n}.mp4")
    with pytest.raises(ValueError, match=r"0\.mp4 and .*\.mp4 are the same video, in \w+ and in \w+"):
        make_project(tmp_path / "p", "folder", videos=folder, table=table)
    assert not (tmp_path / "p").exists()
    with inside(tmp_path / "before"):
        done = CliRunner().invoke(cli, ["data"])
    assert "are the same video" in str(done.exception)


def test_a_project_by_table(tmp_path: Path) -> None:
    names = tuple(f"{n}.mp4" for n in range(6))
    folder = videos(tmp_path / "videos", names)
    lines = ["video,action,subject", *(f"{n},{'wave' if i % 2 else 'clap'},p{i // 2}" for i, n in enumerate(names))]
    (tmp_path / "t.csv").write_text("\n".join([*lines, "missing.mp4,wave,p0"]))
    project = tmp_path / "p"
    make_project(project, "folder", videos=folder, table=tmp_path / "t.csv")
    with inside(project):
        done = CliRunner().invoke(cli, ["data", "--max-failed", "0.5"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    clips = Clips.load(project / "artifacts" / "data")
    assert clips.class_names == ["clap", "wave"]
    assert clips.table.set_index("clip_id").error["missing"] == "file is missing"
    assert set(clips.usable().split) == {"train", "val", "test"}
    assert "${data.table}" in (project / "dvc.yaml").read_text()


def test_a_data_set_is_one_module_with_its_preset() -> None:
    """The list of presets is made from the modules of :data:`SETS` alone, in their order."""
    assert list(presets.PRESETS) == [
        name for module in dict.fromkeys(SETS.values()) for name in importlib.import_module(module).PRESETS
    ]
    for name, preset in presets.PRESETS.items():
        protocol = PROTOCOLS.get(preset.poses) or preset.values["data"].get("protocol", "mannequin-xsub")
        assert importlib.import_module(SETS[protocol]).PRESETS[name] is preset
