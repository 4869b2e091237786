"""What is shipped: the wheel and the sdist hold what an installed hpnet reads, and versions agree."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import hpnet
from hpnet.stages.cli import COMMANDS, cli

ROOT = Path(__file__).resolve().parents[2]
IMPORT = "import sys, hpnet; print(hpnet.__file__, 'torch' in sys.modules, 'numpy' in sys.modules, hpnet.__all__)"
EDITABLE = """
import sys
from importlib.util import spec_from_file_location
class Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return spec_from_file_location(name, {hpnet!r} + "/__init__.py") if name == "hpnet" else None
sys.meta_path.append(Finder)
"""
"""What `pip install -e` leaves of a project whose packages lie in several folders: a finder behind Python's own."""
KEPT = ("hpnet", "stages", "pyproject.toml", "README.md", "LICENSE")


def copy_of_the_sources(folder: Path) -> None:
    """What a build reads, without build folders and caches."""
    folder.mkdir(exist_ok=True)
    for name in KEPT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)


def build(source: Path, program: str) -> Path:
    """What setuptools builds in ``source``; the folder that it is in."""
    done = subprocess.run([sys.executable, "-c", program], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return source / "dist"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel and the sdist, built from a copy so that no build folder is left in the tree."""
    copy = tmp_path_factory.mktemp("source")
    copy_of_the_sources(copy)
    return build(copy, "from setuptools import build_meta as b; b.build_wheel('dist'); b.build_sdist('dist')")


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
    licences = f"hpnet-{hpnet.__version__}.dist-info/licenses"
    for notice in ("LICENSE", "hpnet/assets/NOTICE.txt", "hpnet/assets/LICENSE-APACHE-2.0.txt"):
        assert f"{licences}/{notice}" in names
    assert strangers == set()  # no bare `stages` or `tests` in site-packages
    assert wheel.stat().st_size < 45_000_000


def test_the_sdist_can_be_built_from(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "hpnet/params.py", "stages/cli.py"} <= names
    assert any(name.startswith("hpnet/assets/") and name.endswith(".safetensors") for name in names)


def test_a_wheel_from_the_sdist_is_the_wheel_from_the_tree(built: Path, tmp_path: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    again = build(source, "from setuptools import build_meta as b; b.build_wheel('dist')")
    from_sdist, from_tree = (zipfile.ZipFile(*folder.glob("*.whl")) for folder in (again, built))
    assert sorted(from_sdist.namelist()) == sorted(from_tree.namelist())
    for name in from_tree.namelist():
        assert from_sdist.read(name) == from_tree.read(name), name


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12"])
def test_every_python_has_one_pinned_version_of_each_package(python: str) -> None:
    pinned: dict[str, str] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            pin = Requirement(line)
            if pin.marker is None or pin.marker.evaluate({"python_version": python}):
                name = canonicalize_name(pin.name)
                assert name not in pinned, f"{name} is pinned twice for Python {python}"
                pinned[name] = str(pin.specifier).removeprefix("==")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert python in SpecifierSet(re.search(r'^requires-python = "(.+)"', project, re.M)[1])  # type: ignore[index]
    declared = [Requirement(line) for line in importlib.metadata.requires("hpnet") or []]
    assert len(declared) > 20
    for needed in declared:
        left_out = any(
            extra in str(needed.marker) for extra in ("cluster", "gpu", "supervision", "docs")
        )  # by make setup
        if needed.name != "hpnet" and not left_out:  # hpnet: an extra with two names
            assert needed.specifier.contains(pinned[canonicalize_name(needed.name)]), f"{needed}, Python {python}"


def test_versions_agree() -> None:
    said = CliRunner().invoke(cli, ["--version"]).output
    assert said.strip() == f"hpnet, version {hpnet.__version__}"
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == hpnet.__version__
    assert citation["license"] == re.search(r'^license = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)[1]  # type: ignore[index]
    assert f"## {hpnet.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_import_hpnet_is_light() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=3)[1:3] == ["False", "False"]


def test_the_public_names_are_few_and_there() -> None:
    assert hpnet.__all__ == sorted(hpnet.__all__, key=lambda name: (name.islower(), name))
    assert len(hpnet.__all__) <= 12
    assert set(dir(hpnet)) == {*hpnet.__all__, "__version__"}
    for name in hpnet.__all__:
        assert getattr(hpnet, name).__doc__, name
    with pytest.raises(AttributeError, match=r"module 'hpnet' has no name 'laod'; it has .*load"):
        _ = hpnet.laod


@pytest.mark.parametrize("set_up", [False, True])
def test_python_above_a_clone_imports_the_package(tmp_path: Path, set_up: bool) -> None:
    """The clone's folder is a namespace package for Python above it, which wins over what setuptools installs; a line
    that `make setup` adds puts the package first."""
    environment, above = tmp_path / "venv", tmp_path / "above"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", environment], check=True)
    installed = next((environment / "lib").glob("python*")) / "site-packages"
    (installed / "editable.py").write_text(EDITABLE.format(hpnet=str(ROOT / "hpnet")))
    (installed / "editable.pth").write_text("import editable")
    above.mkdir()
    (above / "hpnet").symlink_to(ROOT)
    if set_up:
        found = os.path.relpath(environment, ROOT)
        subprocess.run(["make", "-s", "importable", f"VENV={found}"], cwd=ROOT, check=True)
    (above / "script.py").write_text("import hpnet\nprint(hpnet.__file__)\nimport hpnet.metrics\n")
    done = subprocess.run([environment / "bin" / "python", "script.py"], cwd=above, capture_output=True, text=True)
    if set_up:
        assert done.stdout.strip() == str(ROOT / "hpnet" / "__init__.py")
        assert "No module named 'hpnet.metrics'" in done.stderr
    else:
        assert done.stdout.strip() == "None"  # what docs/troubleshooting.md describes
