"""Whether a stage's outputs are up to date, as DVC says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hpnet.params import Params
from hpnet.project.code import content, digests
from hpnet.project.folder import Project
from hpnet.project.status import stale

GRAPH = {
    "stages": {
        "data": {
            "cmd": "mkdir -p artifacts/data && cp table.csv artifacts/data/videos.csv",
            "deps": ["code/data.txt", "table.csv"],
            "params": ["data"],
            "outs": ["artifacts/data"],
        },
        "pool": {
            "cmd": "mkdir -p artifacts/pool && cp artifacts/data/videos.csv artifacts/pool/features.npy",
            "deps": ["code/pool.txt", "artifacts/data"],
            "params": ["pool"],
            "outs": ["artifacts/pool"],
        },
    }
}


def dvc(root: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", "-q", *arguments], cwd=root, check=True)


def write_code(root: Path) -> None:
    (root / "code").mkdir(exist_ok=True)
    for name, digest in digests(Params(), ["data", "pool"]).items():
        (root / f"code/{name}.txt").write_text(content(digest))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    dvc(root, "init", "--no-scm")
    (root / "dvc.yaml").write_text(yaml.safe_dump(GRAPH))
    (root / "params.yaml").write_text("pool: {region: 1}\ndata: {seed: 7}\n")
    (root / "table.csv").write_text("1\n")
    write_code(root)
    dvc(root, "repro")
    return root


def test_what_has_run_is_up_to_date_until_something_changes(ran: Path) -> None:
    project = Project(ran)
    assert stale(project, "pool") == ""
    (ran / "params.yaml").write_text("pool: {region: 3}\ndata: {seed: 7}\n")
    assert stale(project, "pool") == "pool: pool changed"
    assert stale(project, "data") == ""
    (ran / "params.yaml").write_text("pool: {region: 1}\ndata: {seed: 7}\n")
    (ran / "table.csv").write_text("2\n")
    assert stale(project, "pool") == "data: table.csv modified"
    (ran / "table.csv").write_text("1\n")
    (ran / "artifacts/pool/features.npy").unlink()
    assert stale(project, "pool") == "pool: artifacts/pool modified"
    dvc(ran, "checkout")
    assert stale(project, "pool") == ""


def test_other_code_is_noticed_whatever_the_folder_says(ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpnet.project.status.digests", lambda params, names: dict.fromkeys(names, "0" * 32))
    assert stale(Project(ran), "pool") == "the code of data has changed since it ran"


def test_what_has_not_run_and_what_has_no_graph(tmp_path: Path) -> None:
    project = Project(tmp_path)
    assert stale(project, "pool") == ""  # made by hand
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(GRAPH))
    (tmp_path / "params.yaml").write_text("")
    assert stale(project, "pool") == "data has not run"
