"""An installed wheel, used as a user uses it: away from the checkout, which nothing may read.

The environment is made of the built wheel alone; what hpnet depends on is lent to it by the environment of the tests,
so that making it takes seconds.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project.test_package import ROOT, build, copy_of_the_sources
from tests.trained import shared_project, shrink

pytestmark = pytest.mark.long
SMALLEST = {
    "data": {
        "takes": 1,
        "take_seconds": 10,
        "subjects": 6,
        "cameras": 1,
        "setups": 1,
        "repetitions": 1,
        "frames": 8,
        "width": 160,
        "height": 120,
    },
    "detect": {"image_size": 160, "frames": 4},
    "pool": {"frames": 8},
    "train": {
        "topology": {"graph": {"base_channels": 8, "blocks": 2}, "epochs": 1, "warmup_epochs": 0},
        "multimodal": {"graph": {"base_channels": 8, "blocks": 2}, "epochs": 1, "frames": 2, "warmup_epochs": 0},
    },
}
GUARD = """
import sys
def guard(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], str):
        if arguments[0].startswith({inside!r}) and not arguments[0].startswith({lent!r}):
            raise PermissionError(1, "the checkout is read", arguments[0])
sys.addaudithook(guard)
"""
"""What Python runs at its start in the environment: a read of the checkout is an error."""


class Installed:
    """An environment that holds the built wheel and borrows everything else.

    Attributes:
        bin: its programs.
        work: an empty folder, where commands run.
    """

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "venv" / "bin"
        self.work = folder / "work"
        self.work.mkdir(parents=True)
        copy_of_the_sources(folder / "source")
        wheels = build(folder / "source", "from setuptools import build_meta as b; b.build_wheel('dist')")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
        pip = [sys.executable, "-m", "pip", "--python", self.bin / "python", "--disable-pip-version-check", "install"]
        subprocess.run([*pip, "--quiet", "--no-index", "--no-deps", *wheels.glob("*.whl")], check=True)
        # Folders named in a .pth are searched after the environment's own, and their own .pth files are not followed.
        lent = tuple(path for path in sys.path if Path(path).name == "site-packages")
        (site / "lent.pth").write_text("\n".join(lent), encoding="utf-8")
        guard = GUARD.format(inside=f"{ROOT}{os.sep}", lent=lent)
        (site / "sitecustomize.py").write_text(guard, encoding="utf-8")

    def run(self, *command: str, folder: Path | None = None, status: int = 0) -> str:
        """Run a command as a user would, with this environment first on PATH; what it printed."""
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        environment["PATH"] = f"{self.bin}{os.pathsep}{environment['PATH']}"
        where = folder or self.work
        done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True)
        assert done.returncode == status, f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"))


def test_the_environment_has_the_wheel_and_cannot_read_the_checkout(installed: Installed) -> None:
    said = installed.run("python", "-c", "import hpnet, hpnet.stages.cli as c; print(hpnet.__file__, c.__file__)")
    assert all(path.startswith(str(installed.bin.parent)) for path in said.split())
    code = f"open({str(ROOT / 'README.md')!r})"
    installed.run("python", "-c", f"try:\n {code}\nexcept PermissionError: pass\nelse: raise SystemExit(5)")


@pytest.mark.timeout(600)
def test_an_installed_hpnet_makes_a_project_and_predicts(
    installed: Installed, tmp_path_factory: pytest.TempPathFactory
) -> None:
    trained = shared_project(tmp_path_factory)
    assert installed.run("hpnet", "--version").startswith("hpnet, version ")
    installed.run("hpnet", "init", "mine", "--videos", str(trained.parent / "videos"))
    installed.run("hpnet", "data", folder=installed.work / "mine")
    installed.run("hpnet", "code", "--out", "code", folder=installed.work / "mine")
    clip = str(trained.parent / "videos" / "wave" / "01.mp4")
    row = json.loads(installed.run("hpnet", "predict", clip, "--project", str(trained), "--json").splitlines()[0])
    assert row["tracks"] == [0]
    assert len(row["actions"]) == 3


@pytest.mark.timeout(1200)
def test_an_installed_hpnet_runs_a_whole_project(installed: Installed) -> None:
    installed.run("hpnet", "init", "small", "--preset", "mannequin")
    project = installed.work / "small"
    shrink(project, SMALLEST)
    checks = {check["name"]: check for check in json.loads(installed.run("hpnet", "doctor", "--json", folder=project))}
    assert all(check["ok"] for check in checks.values() if check["needed"])
    installed.run("python", "-m", "dvc", "repro", folder=project)
    assert (project / "report" / "index.html").stat().st_size > 100_000
    assert json.loads((project / "metrics" / "fuse.json").read_text())["clips"] > 0
    clip = str(next((project / "artifacts" / "data" / "videos").glob("*.mp4")))
    installed.run("hpnet", "predict", clip, "--save", "seen.mp4", folder=project)
    assert (project / "seen.mp4").stat().st_size > 1000
    assert "Running stage 'data'" not in installed.run("python", "-m", "dvc", "repro", folder=project)
