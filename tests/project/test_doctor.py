"""hpnet doctor: what it finds, what it says to do, and its exit status."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hpnet.artifacts.files import write_json
from hpnet.core.suitability import score_figures
from hpnet.params import Params
from hpnet.project import doctor
from hpnet.project.folder import Project
from hpnet.project.make import make_project
from hpnet.stages.cli import cli
from hpnet.weights.cards import usual_score
from tests.project.test_init import videos
from tests.trained import inside

pytestmark = pytest.mark.usefixtures("roomy_disk")


def run(folder: Path) -> tuple[int, dict[str, dict[str, object]]]:
    with inside(folder):
        done = CliRunner().invoke(cli, ["doctor", "--json"])
    checks = json.loads(done.stdout)
    assert all(set(check) == {"name", "ok", "found", "remedy", "needed"} for check in checks)  # as docs/ say
    return done.exit_code, {check["name"]: check for check in checks}


def checks_of(project: Path) -> dict[str, doctor.Check]:
    with inside(project):
        return {check.name: check for check in doctor.examine()}


def test_a_whole_project_passes(tmp_path: Path) -> None:
    make_project(tmp_path / "p", "folder", videos=videos(tmp_path / "videos"))
    status, found = run(tmp_path / "p")
    assert status == 0
    assert {"Python", "torch", "device cpu", "mmpose", "video", "weights mannequin-yolo", "params.yaml"} <= set(found)
    assert "float32" in str(found["device cpu"]["found"])
    assert str(found["videos"]["found"]).startswith("3 in ")
    assert "hardlink" in str(found["DVC cache"]["found"])


def test_links_are_tried_from_where_the_cache_is(tmp_path: Path) -> None:
    make_project(tmp_path / "p", "folder", videos=videos(tmp_path / "videos"))
    config = tmp_path / "p/.dvc/config.local"
    for place, said in ((tmp_path / "shared", "work"), (Path("/dev/shm/none"), "on another disk: symlinks")):
        config.write_text(f"[cache]\n    dir = {place}\n")
        check = doctor._cache_links(tmp_path / "p")
        if place.parent.stat().st_dev != tmp_path.stat().st_dev or "work" in said:
            assert check.ok
            assert said in check.found
    config.write_text("[cache]\n    dir = /dev/shm/none\n    type = hardlink\n")
    if Path("/dev/shm").stat().st_dev != tmp_path.stat().st_dev:
        assert "files are stored twice" in doctor._cache_links(tmp_path / "p").found
    config.write_text("x")
    assert not doctor._cache_links(tmp_path / "p").ok


def test_a_project_that_cannot_run_exits_1_with_remedies(tmp_path: Path) -> None:
    make_project(tmp_path / "p", "ntu60-xsub", videos=videos(tmp_path / "videos"))
    shutil.rmtree(tmp_path / "videos")
    status, found = run(tmp_path / "p")
    assert status == 1
    assert not found["videos"]["ok"]
    assert not found["weights hrnet-w48-simcc"]["ok"]
    assert "weights" in str(found["weights yolov5mu"]["remedy"])
    (tmp_path / "p" / "params.yaml").write_text("pool: {regoin: 3}\n")
    status, found = run(tmp_path / "p")
    assert status == 1
    assert "did you mean 'pool.region'" in str(found["params.yaml"]["found"])


def test_copies_in_the_cache_are_remarked_on(tmp_path: Path) -> None:
    make_project(tmp_path, "mannequin")
    (tmp_path / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    _, found = run(tmp_path)
    assert not found["DVC cache"]["ok"]
    assert found["DVC cache"]["remedy"] == "dvc config cache.type reflink,hardlink,symlink,copy"


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ("No module named 'chumpy'", "--no-deps mmpose==1.1.0"),
        ("No module named 'mmcv._ext'", "mmcv-lite==2.1.0"),
        ("MMCV==2.3 is used but incompatible. Please install mmcv>=2.0.0", "mmcv-lite==2.1.0"),
        ("something else", "OTHERWISE"),
    ],
)
def test_known_breakages_have_their_command(message: str, command: str) -> None:
    assert command in doctor.mmpose_remedy(message, "OTHERWISE")


@pytest.mark.parametrize(("boxes", "joints"), [(0.74, 0.83), (0.45, 0.83), (0.45, 0.47)])
def test_networks_that_do_not_suit_the_people_are_remarked_on(tmp_path: Path, boxes: float, joints: float) -> None:
    make_project(tmp_path, "mannequin")
    usual = {"detect": usual_score("mannequin-yolo"), "estimate": usual_score("mannequin-simcc")}
    for stage, score in (("detect", boxes), ("estimate", joints)):
        write_json(tmp_path / "metrics" / f"{stage}.json", score_figures([score], usual[stage]))
    status, found = run(tmp_path)
    assert status == 0  # a remark, not a reason to stop
    for stage, score in (("detect", boxes), ("estimate", joints)):
        assert found[f"people of {stage}"]["ok"] is (score > 0.7)
        assert f"score {score:.2f}" in str(found[f"people of {stage}"]["found"])
        assert f"set {stage}.model" in str(found[f"people of {stage}"]["remedy"])
    with inside(tmp_path):
        text = CliRunner().invoke(cli, ["doctor"]).stdout
    assert ("warn  people of detect" in text) is (boxes < 0.7)
    shutil.rmtree(tmp_path / "metrics")
    assert "people of detect" not in checks_of(tmp_path)


def test_room_grows_with_the_square_of_the_window(tmp_path: Path) -> None:
    small = Params.model_validate({"estimate": {"window": 1}})
    large = Params.model_validate({"estimate": {"window": 5}})
    ratio = (doctor.needed_bytes(Project(tmp_path), large) - doctor.BASE_BYTES) / (
        doctor.needed_bytes(Project(tmp_path), small) - doctor.BASE_BYTES
    )
    assert 5 < ratio < 25


STUBS = {
    "av": "raise ModuleNotFoundError(\"No module named 'av'\", name='av')",
    "mmengine": "raise ModuleNotFoundError(\"No module named 'mmengine'\", name='mmengine')",
    "lap": "raise ImportError('lap: undefined symbol')",
    "torchvision": "raise RuntimeError('operator torchvision::nms does not exist')",
    "transformers": "raise OSError('libcudart.so.13: cannot open shared object file')",
    "dvc": "raise ImportError('cannot import name x from funcy')",
    "yaml": "raise ModuleNotFoundError(\"No module named 'yaml'\", name='yaml')",
}
"""Packages that are missing or broken -> what their import does then."""


def test_what_is_missing_or_broken_is_said_with_its_command_and_nothing_crashes(tmp_path: Path) -> None:
    make_project(tmp_path / "p", "mannequin")
    (tmp_path / "stubs").mkdir()
    for name, text in STUBS.items():
        (tmp_path / "stubs" / f"{name}.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", "from hpnet.stages.cli import main; main(['doctor', '--json'])"],
        cwd=tmp_path / "p", env=os.environ | {"PYTHONPATH": str(tmp_path / "stubs")}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    found = {check["name"]: check for check in json.loads(done.stdout)}
    expected = {
        "torch": ("operator torchvision::nms", "pip install -U torch torchvision"),
        "mmpose": ("mmengine is missing", "pip install mmengine==0.10.7"),
        "lap": ("lap: undefined symbol", "pip install --force-reinstall lap"),
        "transformers": ("libcudart.so.13", "pip install --force-reinstall transformers"),
        "dvc": ("funcy", "pip install --force-reinstall dvc"),
        "video": ("No module named 'av'", "pip install av"),
        "params.yaml": ("No module named 'yaml'", "pip install pyyaml"),
    }
    for name, (said, remedy) in expected.items():
        assert not found[name]["ok"], name
        assert said in found[name]["found"], found[name]
        assert remedy in found[name]["remedy"], found[name]
    assert found["Python"]["ok"]


def test_the_packaged_clip_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks_of(tmp_path)["video"].ok
    monkeypatch.setattr("hpnet.project.doctor.BUNDLED_CLIP", (9, 120, 160, 3))
    assert not checks_of(tmp_path)["video"].ok
    monkeypatch.setattr("hpnet.weights.places.ASSETS", tmp_path)
    found = checks_of(tmp_path)["video"]
    assert not found.ok
    assert "missing" in found.found


def test_declared_packages_are_compared_with_what_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "lap":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0" if name == "numpy" else real(name)

    assert checks_of(tmp_path)["packages"].ok
    monkeypatch.setattr(importlib.metadata, "version", version)
    found = checks_of(tmp_path)["packages"]
    assert not found.ok
    assert "lap is missing" in found.found
    assert "numpy 1.0" in found.found
    assert "'numpy>=1.26'" in found.remedy


def test_weights_that_are_not_whole_are_found(tmp_path: Path) -> None:
    project = tmp_path / "p"
    make_project(project, "ntu60-xsub", videos=videos(tmp_path / "videos"))
    (project / "weights" / "yolov5mu.pt").write_bytes(b"PK\x03\x04 half of it")
    found = checks_of(project)["weights yolov5mu"]
    assert not found.ok
    assert "yolov5mu.pt" in found.found
    assert "hpnet weights fetch yolov5mu" in found.remedy


@pytest.mark.parametrize(
    ("old", "new", "name", "said"),
    [
        ("model: movenet-multipose", "model: yolov9t.pt", "detect.model", "yolov9t.pt are missing"),
        ("model: movenet-multipose", "model: yollo", "detect.model", "'yollo' is unknown"),
        ("weights: null", "weights: mine.pth", "estimate.weights", "mine.pth is missing"),
        ("table: ''", "table: gone.csv", "table", "gone.csv is missing"),
        ("text: sentences", "text: texts.json", "texts", "texts.json is missing"),
    ],
)
def test_files_that_params_name_must_be_there(tmp_path: Path, old: str, new: str, name: str, said: str) -> None:
    project = tmp_path / "p"
    make_project(project, "folder", videos=videos(tmp_path / "videos"))
    text = (project / "params.yaml").read_text()
    assert old in text
    (project / "params.yaml").write_text(text.replace(old, new))
    found = checks_of(project)[name]
    assert not found.ok
    assert said in found.found


def test_poses_that_are_gone_are_found(tmp_path: Path) -> None:
    poses = tmp_path / "poses.npz"
    poses.write_bytes(b"x")
    make_project(tmp_path / "p", "nw-ucla", poses=poses)
    assert checks_of(tmp_path / "p")["poses"].ok
    poses.unlink()
    assert not checks_of(tmp_path / "p")["poses"].ok


def test_a_broken_graph_is_found(tmp_path: Path) -> None:
    make_project(tmp_path, "mannequin")
    (tmp_path / "dvc.yaml").write_text("stages: {data: [\n")
    check = checks_of(tmp_path)["dvc.yaml"]
    assert not check.ok
    assert "dvc.yaml is not valid YAML" in check.found


def test_a_full_or_read_only_disk_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_project(tmp_path, "mannequin")
    usage = shutil.disk_usage(tmp_path)._replace(free=200_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    before = checks_of(tmp_path)["disk"]
    assert not before.ok
    assert "estimate.window" in before.remedy
    (tmp_path / "artifacts").mkdir()
    with (tmp_path / "artifacts" / "windows").open("wb") as file:
        file.truncate(2_000_000_000)  # what is made already needs no more room
    assert checks_of(tmp_path)["disk"].ok
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "cannot be written to" in checks_of(tmp_path)["disk"].found
