"""hpnet doctor: what it finds, what it says to do, and its exit status."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from hpnet import doctor
from hpnet.params import Params
from hpnet.presets.make import make_project
from hpnet.stages.cli import cli
from tests.test_init import videos
from tests.trained import inside


def run(folder: Path) -> tuple[int, dict[str, dict[str, object]]]:
    with inside(folder):
        done = CliRunner().invoke(cli, ["doctor", "--json"])
    return done.exit_code, {check["name"]: check for check in json.loads(done.stdout)}


def test_a_whole_project_passes(tmp_path: Path) -> None:
    make_project(tmp_path / "p", "folder", videos=videos(tmp_path / "videos"))
    status, found = run(tmp_path / "p")
    assert status == 0
    assert {"Python", "torch", "device cpu", "mmpose", "video", "weights mannequin-yolo", "params.yaml"} <= set(found)
    assert "float32" in str(found["device cpu"]["found"])
    assert str(found["videos"]["found"]).startswith("3 in ")
    assert "hardlink" in str(found["DVC cache"]["found"])


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


def test_room_grows_with_the_square_of_the_window(tmp_path: Path) -> None:
    small = Params.model_validate({"estimate": {"window": 1}})
    large = Params.model_validate({"estimate": {"window": 5}})
    ratio = (doctor.needed_bytes(tmp_path, large) - doctor.BASE_BYTES) / (
        doctor.needed_bytes(tmp_path, small) - doctor.BASE_BYTES
    )
    assert 5 < ratio < 25
