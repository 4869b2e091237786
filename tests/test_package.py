"""What is shipped: the wheel and the sdist hold what an installed hpnet reads, and versions agree."""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

import hpnet
from hpnet.stages.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
KEPT = ("hpnet", "stages", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel and the sdist, built from a copy so that no build folder is left in the tree."""
    copy = tmp_path_factory.mktemp("source")
    for name in KEPT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    program = "from setuptools import build_meta as b; b.build_wheel('dist'); b.build_sdist('dist')"
    done = subprocess.run([sys.executable, "-c", program], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return copy / "dist"


def packaged_files() -> set[str]:
    """What of hpnet/ and stages/ an installed copy needs, as paths in the wheel."""
    needed = set()
    for folder, inside in (("hpnet", "hpnet"), ("stages", "hpnet/stages")):
        for file in (ROOT / folder).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts and not file.name.endswith((".pyc", ".nbi", ".nbc")):
                needed.add(f"{inside}/{file.relative_to(ROOT / folder).as_posix()}")
    return needed


def test_the_wheel_holds_every_module_weight_template_and_table(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert packaged_files() - names == set()
    for suffix in (".safetensors", ".json", ".html", ".css", ".js", ".csv", ".txt", ".typed"):
        assert any(name.endswith(suffix) for name in names), suffix
    for module, _ in COMMANDS.values():
        assert f"hpnet/stages/{module}.py" in names or f"hpnet/stages/{module}/__init__.py" in names
    strangers = {name.split("/")[0] for name in names} - {"hpnet", f"hpnet-{hpnet.__version__}.dist-info"}
    assert strangers == set()  # no bare `stages` or `tests` in site-packages
    assert wheel.stat().st_size < 25_000_000


def test_the_sdist_can_be_built_from(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "hpnet/params.py", "stages/cli.py"} <= names
    assert any(name.startswith("hpnet/assets/") and name.endswith(".safetensors") for name in names)


def test_versions_agree() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == hpnet.__version__
    assert citation["license"] == re.search(r'^license = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)[1]  # type: ignore[index]
    assert f"## {hpnet.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
