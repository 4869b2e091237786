"""What is said of files that are not there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hpnet.artifacts.features import Features
from hpnet.artifacts.missing import missing
from hpnet.artifacts.scores import Scores
from hpnet.weights.places import find
from tests.trained import inside


def test_what_was_made_before_can_be_pulled(tmp_path: Path) -> None:
    stages = {"pool": {"cmd": "x", "outs": [{"path": "artifacts/pool", "md5": "ab"}]}}
    with pytest.raises(FileNotFoundError, match="run `hpnet pool` first$"):
        Features.load(tmp_path / "artifacts/pool")
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    with pytest.raises(FileNotFoundError, match="run `hpnet pool` first, or `dvc pull`: dvc.lock says"):
        Features.load(tmp_path / "artifacts/pool")
    assert "dvc pull" in str(missing(tmp_path / "artifacts", "x"))
    with pytest.raises(FileNotFoundError, match="train that stream first$"):
        Scores.load(tmp_path / "artifacts/train/hpj/scores.parquet")
    (tmp_path / "dvc.lock").write_text("stages: {pool: [1]}")
    with pytest.raises(FileNotFoundError, match="run `hpnet pool` first$"):
        Features.load(tmp_path / "artifacts/pool")


def test_an_experiment_in_its_own_folder_says_where_weights_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HPNET_WEIGHTS", raising=False)
    (tmp_path / ".dvc/tmp/exps/abc").mkdir(parents=True)
    for place, there in ((tmp_path / ".dvc/tmp/exps/abc", True), (tmp_path, False)):
        with inside(place), pytest.raises(FileNotFoundError) as said:
            find("w.pth", "it")
        assert ("HPNET_WEIGHTS to the project's" in str(said.value)) == there


def test_a_user_without_a_name_has_a_home() -> None:
    """As in containers that run as a number; libraries ask for the home folder when they are imported."""
    code = (
        "import os, pwd\n"
        "def nobody(number): raise KeyError(number)\n"
        "pwd.getpwuid = nobody\n"
        "from hpnet.stages.cli import _name_user\n"
        "_name_user()\n"
        "import getpass, pathlib\n"
        "print(getpass.getuser(), oct(pathlib.Path.home().stat().st_mode)[-3:], pathlib.Path.home())"
    )
    bare = {name: value for name, value in os.environ.items() if name not in ("HOME", "LOGNAME", "USER", "LNAME")}
    done = subprocess.run([sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=True)
    name, mode, home = done.stdout.split()
    assert (name, mode) == (f"user{os.getuid()}", "700")
    assert not Path(home).exists(), "it is removed at the end"
