"""A small trained project, made as a user makes one: 50 videos in 5 folders, `hpnet init`, the graph."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from hpnet.core.streams import STREAMS
from hpnet.data.params import DataParams
from hpnet.mannequin.actions import ACTIONS
from hpnet.mannequin.benchmark import ClipSpec, write_clip
from hpnet.project import dvc_yaml, presets
from hpnet.stages.cli import cli

README = Path(__file__).resolve().parents[1] / "README.md"
CHOSEN = ("stand up", "wave", "push", "clap", "jump")
SIZES = DataParams(subjects=10, frames=8, fps=8, width=160, height=120)
TINY: dict[str, Any] = {
    "detect": {"image_size": 160, "stride": 2, "frames": 4},
    "estimate": {"window": 3},
    "pool": {"frames": 8},
    "train": {
        "topology": {"graph": {"base_channels": 8, "blocks": 2}, "epochs": 3, "warmup_epochs": 0},
        "multimodal": {"graph": {"base_channels": 8, "blocks": 2}, "epochs": 1, "frames": 2, "warmup_epochs": 0},
    },
}


RENDERED: dict[str, Any] = {
    "detect": {"model": "mannequin-yolo", "image_size": 256, "confidence": 0.25, "stride": 2},
    "estimate": {"model": "mannequin-simcc", "taps": ["h2s3"], "window": 5, "frames": 0},
    "pool": {"kind": "pooled", "tap": "h2s3", "region": 1},
    "train": {"topology": {"graph": {"model": "ctrgcn"}}},
    "compare": {"variants": {"pose2d": {"kind": "pose2d"}, "region3": {"region": 3}}},
}
"""The people of the videos are rendered: with the networks that know them every stream can be trained."""


def five_folders(folder: Path, subjects: int = 10) -> Path:
    """``videos/ACTION/SUBJECT.mp4``: five actions by each of ``subjects`` people."""
    names = list(ACTIONS)
    for action in CHOSEN:
        for subject in range(1, subjects + 1):
            spec = ClipSpec(1, 2, subject, 1, names.index(action))
            write_clip(spec, SIZES, folder)
            target = folder / action / f"{subject:02d}.mp4"
            target.parent.mkdir(parents=True, exist_ok=True)
            (folder / "videos" / f"{spec.clip_id}.mp4").rename(target)
    (folder / "videos").rmdir()
    return folder


def shrink(project: Path, changes: dict[str, Any] = TINY) -> None:
    """Set parameters of a project's params.yaml."""
    file = project / "params.yaml"
    file.write_text(yaml.safe_dump(merged(yaml.safe_load(file.read_text()), changes), sort_keys=False))


def know_mannequins(project: Path) -> None:
    """Give a project of preset ``folder`` the packaged networks for rendered people, and all five streams."""
    file = project / "params.yaml"
    values = yaml.safe_load(file.read_text())
    del values["compare"]
    file.write_text(yaml.safe_dump(merged(values, RENDERED), sort_keys=False))
    kind = replace(presets.kind(presets.get("folder"), merged(values, RENDERED)), streams=STREAMS)
    (project / "dvc.yaml").write_text(dvc_yaml.render(kind))


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``base`` with nested ``changes``."""
    result = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        result[key] = merged(base[key], value) if nested else value
    return result


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in ``folder``."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def hpnet(*arguments: str) -> str:
    """Run one hpnet command here, in this process; its output."""
    done = CliRunner().invoke(cli, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, f"hpnet {' '.join(arguments)}\n{done.output}"
    return done.output


def run_graph(project: Path) -> None:
    """The commands of dvc.yaml in its order, without DVC; one process each, for speed."""
    stages: dict[str, Any] = yaml.safe_load((project / "dvc.yaml").read_text())["stages"]
    with inside(project):
        for name, stage in stages.items():
            each = stage.get("foreach", [None])
            if name in ("compare", "report"):
                continue
            for item in each:
                command = stage.get("do", stage)["cmd"].replace("${key}", str(item)).replace("${item}", str(item))
                program, *arguments = shlex.split(command)
                assert program == "hpnet"
                workers = ["--workers", "1"] if arguments[0] in ("data", "detect", "estimate", "pool") else []
                hpnet(*arguments, *workers)


def walk() -> list[list[str]]:
    """The four commands of the README, from a folder of videos to predictions, as words."""
    text = README.read_text(encoding="utf-8")
    section = text.split("## Your own videos")[1].split("\n## ")[0]
    block = re.search(r"```console\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return [line[2:].partition("  #")[0].split() for line in block[1].splitlines() if line.startswith("$ ")]


def trained_project(folder: Path) -> Path:
    """Videos, project and trained streams below ``folder``, by the README's first three commands at a tiny size.

    ``dvc repro`` is replaced by the commands of dvc.yaml in its order, one process instead of fifteen.
    """
    five_folders(folder / "videos")
    (program, *init), enter, repro, _ = walk()
    assert (program, enter, repro) == ("hpnet", ["cd", "actions"], ["dvc", "repro"])
    with inside(folder):
        hpnet(*init)
    project = folder / "actions"
    know_mannequins(project)
    shrink(project)
    run_graph(project)
    assert all((project / "artifacts" / "train" / s / "model.safetensors").is_file() for s in STREAMS)
    return project


def shared_project(factory: pytest.TempPathFactory) -> Path:
    """The trained project, made once for all test processes; read only."""
    base = factory.getbasetemp()
    root = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "trained"
    root.mkdir(exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "done").exists():
            trained_project(root)
            (root / "done").touch()
    return root / "actions"


def linked_project(project: Path, folder: Path) -> Path:
    """A project whose parameters and artifacts are those of another, to which something can be taught."""
    folder.mkdir()
    for name in ("params.yaml", "artifacts"):
        (folder / name).symlink_to(project / name)
    return folder
