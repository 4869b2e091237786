"""The graph: dvc.yaml is its rendering, and the whole of it runs on a handful of tiny clips."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.features import Features
from hpnet.artifacts.files import read_json
from hpnet.artifacts.scores import Scores
from hpnet.core.streams import MULTIMODAL, STREAMS, TOPOLOGY_STREAMS
from hpnet.models import TOPOLOGY_NETWORKS
from hpnet.params import Params, dotted_names, validate
from hpnet.project import dvc_yaml
from hpnet.project.code import codes
from hpnet.project.graph import CHOOSING, CODE, Kind, code_file, graph

ROOT = Path(__file__).resolve().parents[2]
GRAPH: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
STAGES = ("data", "detect", "estimate", "pool", "train", "compare", "fuse", "events", "report")
pytestmark = pytest.mark.timeout(900)  # the graph runs, nine commands
SMALL = replace(dvc_yaml.REPOSITORY, takes=False, streams=("hpj", MULTIMODAL), variants=("region3",))
"""This repository's graph with one stream of each kind and one comparison."""


def body(stage: str) -> dict[str, Any]:
    found: dict[str, Any] = GRAPH[stage].get("do", GRAPH[stage])
    return found


def test_the_committed_graph_is_the_rendering() -> None:
    text = (ROOT / "dvc.yaml").read_text()
    assert text == dvc_yaml.render(dvc_yaml.REPOSITORY), "run `make graph`"
    assert len(text.splitlines()) <= 165


@pytest.mark.parametrize(
    "kind",
    [
        dvc_yaml.REPOSITORY,
        Kind(),
        Kind(videos=True, table=True, weights=True, variants=("region3",)),
        Kind(poses="hpnet import nw-ucla a.npz", poses_from="a.npz", streams=TOPOLOGY_STREAMS),
    ],
)
def test_what_is_written_is_read_again(kind: Kind) -> None:
    read = dvc_yaml.read(yaml.safe_load(dvc_yaml.render(kind)))
    assert read == {name: replace(stage, note="") for name, stage in graph(kind).each().items()}


def test_every_stage_depends_on_its_own_code_alone() -> None:
    stages = graph(dvc_yaml.REPOSITORY).each()
    assert {name: stage.code for name, stage in stages.items()} == {
        "code": "",
        **{name: name for name in ("data", "detect", "estimate", "pool", "fuse", "events", "report")},
        **{f"train@{stream}": "train-topology" for stream in TOPOLOGY_STREAMS},
        f"train@{MULTIMODAL}": f"train-{MULTIMODAL}",
        **{f"compare@{name}": "compare" for name in dvc_yaml.REPOSITORY.variants},
    }
    for stage in stages.values():
        if stage.name != CODE:
            assert not [dep for dep in stage.deps if dep.startswith(("hpnet", "stages", "code"))], stage.name
    assert stages[CODE].deps == ("hpnet",)
    assert not stages[CODE].always, "DVC sees the package in its own repository"
    assert {code_file(name) for name in codes(Params()) if name != "import"} == set(stages[CODE].loose)


def test_code_depends_on_every_parameter_that_chooses_a_module_or_weights() -> None:
    """And on no other, so that an experiment runs no stage `code`."""
    choosing = set()
    before = codes(Params())
    for name in dotted_names():
        for value in others(name):
            with contextlib.suppress(ValueError):
                if codes(validate({}, overrides={name: value})) != before:
                    choosing.add(name)
    assert choosing <= set(CHOOSING)


def others(name: str) -> list[Any]:
    """Values for a parameter that it does not have by default; few of them fit."""
    words = ("folder", "ntu60-xsub", "balanced", "pose2d", "max", "yolov8n", "vitpose-b", "hrnet-w48-simcc", "other")
    names = [*TOPOLOGY_NETWORKS, *words]
    return [*names, True, False, 1, 2, 0.5]


def test_streams_and_sections_match_the_code() -> None:
    assert tuple(GRAPH["train"]["foreach"]) == STREAMS
    names = set(dotted_names())
    fields = set(Params.model_fields)
    for stage in STAGES:
        for name in body(stage)["params"]:
            base = name.split(".${item")[0].split(".${key")[0]
            assert base in names or base.startswith("compare.variants"), f"{stage}: {name}"
    used = {name.split(".")[0] for stage in STAGES for name in body(stage)["params"]}
    assert used == fields
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert set(GRAPH["compare"]["foreach"]) == set(params["compare"]["variants"])


def test_caches_are_ignored() -> None:
    assert {"__pycache__", ".work"} <= set((ROOT / ".dvcignore").read_text().split())


TINY = {
    "data": {"subjects": 3, "cameras": 1, "setups": 1, "frames": 6, "width": 160, "height": 120, "takes": 0},
    "detect": {"image_size": 160, "stride": 2, "frames": 4},
    "estimate": {"window": 3},
    "pool": {"frames": 8},
    "train": {
        "topology": {"graph": {"base_channels": 8, "blocks": 2}, "epochs": 1, "warmup_epochs": 0},
        "multimodal": {"graph": {"base_channels": 8, "blocks": 2}, "epochs": 1, "frames": 2, "warmup_epochs": 0},
    },
    "report": {"examples": 1, "bootstrap": 20},
}  # fmt: skip


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``base`` with nested ``changes``."""
    result = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        result[key] = merged(base[key], value) if nested else value
    return result


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """:func:`reproduced`, read only."""
    return reproduced(tmp_path_factory.mktemp("project"))


def reproduced(folder: Path) -> Path:
    """A project on tiny clips in an empty folder, with a cache of its own, after one `dvc repro`."""
    for name in ("hpnet", "stages"):
        (folder / name).symlink_to(ROOT / name)
    for name in (".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "dvc.yaml").write_text(dvc_yaml.render(SMALL))
    params = merged(yaml.safe_load((ROOT / "params.yaml").read_text()), TINY)
    params["compare"]["variants"] = {"region3": {"region": 3}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    dvc(folder, "init", "--no-scm", "-q")
    dvc(folder, "config", "core.analytics", "false")
    dvc(folder, "repro")
    return folder


def dvc(folder: Path, *args: str) -> str:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *args], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"dvc {' '.join(args)}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def test_the_whole_graph_runs_and_every_clip_is_accounted_for(project: Path) -> None:
    artifacts = project / "artifacts"
    clips = Clips.load(artifacts / "data")
    assert len(clips.table) == 54
    features = Features.load(artifacts / "pool")
    assert set(features.index.clip_id) == set(clips.table.clip_id)
    scored = set(clips.table.clip_id[clips.table.split.isin(["val", "test"])])
    for stream in SMALL.streams:
        assert set(Scores.load(artifacts / "train" / stream / "scores.parquet").clip_ids) == scored
    fused = Scores.load(artifacts / "fuse" / "scores.parquet")
    test = fused.split("test")
    accuracy = float((test.logits.argmax(1) == test.labels).mean())
    assert read_json(project / "metrics" / "fuse.json")["top1"] == pytest.approx(accuracy)
    page = (project / "report" / "index.html").read_text()
    assert len(page) < 15_000_000
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert isinstance(pd.read_csv(project / "report" / "plots" / "confusion.csv"), pd.DataFrame)
    assert "Running stage" not in dvc(project, "repro"), "nothing changed"


@pytest.mark.long
def test_a_second_run_gives_the_same_outputs_metrics_and_tables(project: Path, tmp_path: Path) -> None:
    """So that git has nothing to say after it: seconds, bytes on disk and revisions are in no output of DVC."""
    second = reproduced(tmp_path)
    for out in sorted({out for stage in lock(project).values() for out in stage}):
        for file in [f for f in (project / out).rglob("*") if f.is_file()]:  # a file says more than a folder's md5
            assert (second / file.relative_to(project)).read_bytes() == file.read_bytes(), file
    assert lock(second) == lock(project)
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}
    for folder in ("metrics", "report"):
        for file in [f for f in (project / folder).rglob("*") if f.is_file()]:
            name = file.relative_to(project)
            if not {str(name), *(str(parent) for parent in name.parents)} & ignored:
                assert (second / name).read_bytes() == file.read_bytes(), name
    for page in (project, second):
        assert "Wall time of each command" in (page / "report" / "index.html").read_text()
        assert set(pd.read_csv(page / "report" / "run" / "seconds.csv").command) >= {"hpnet data", "hpnet train hpj"}


def lock(project: Path) -> dict[str, dict[str, str]]:
    """Stage -> output -> md5."""
    stages = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    return {name: {out["path"]: out["md5"] for out in stage["outs"]} for name, stage in stages.items()}


@pytest.mark.long
def test_an_experiment_runs_only_what_follows(project: Path, tmp_path: Path) -> None:
    assert "up to date" in dvc(project, "status")
    folder = tmp_path / "copy"
    shutil.copytree(project, folder, symlinks=True)
    (folder / ".dvc" / ".gitignore").write_text("/cache\n/tmp\n/config.local\n")
    git(folder, "init", "-q")
    dvc(folder, "config", "--unset", "core.no_scm")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "start")
    said = dvc(folder, "exp", "run", "-S", "pool.region=3")
    ran = re.findall(r"Running stage '([^']+)'", said)
    assert set(ran) == {"pool", *(f"train@{stream}" for stream in SMALL.streams), "fuse", "report"}
    assert read_json(folder / "artifacts" / "pool" / "meta.json")["region"] == 3


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)
