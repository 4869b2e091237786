"""SIGKILL at random moments of a whole graph: the final metrics are those of an unbroken run, finished shards stay.

Minutes long, so it runs when HPNET_KILLS says how often to kill (20 for the full trial).
"""

import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpnet.artifacts.files import read_json
from hpnet.project.make import make_project
from tests.trained import TINY, five_folders, merged, shrink

KEPT = ("hpj", "multimodal")
KILLS = int(os.environ.get("HPNET_KILLS", "0"))
SMALL = merged(
    TINY,
    {"train": {"topology": {"epochs": 1}}, "compare": {"variants": {}}, "report": {"examples": 0, "bootstrap": 20}},
)


def start(project: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    log = (project / "log.txt").open("ab")
    command = [sys.executable, "-m", "dvc", "repro"]
    return subprocess.Popen(command, cwd=project, env=environment, stdout=log, stderr=log, start_new_session=True)


def new_project(folder: Path, videos: Path) -> Path:
    """A small project of every kind of stage; of the streams, one of either kind."""
    make_project(folder, "folder", videos=videos)
    graph = yaml.safe_load((folder / "dvc.yaml").read_text())
    stages = graph["stages"]
    del stages["compare"]
    stages["code"]["outs"] = [out for out in stages["code"]["outs"] if "code/compare.txt" not in out]
    stages["report"]["deps"].remove("artifacts/compare")
    stages["train"]["foreach"] = {s: stages["train"]["foreach"][s] for s in KEPT}
    stages["fuse"]["deps"] = [d for d in stages["fuse"]["deps"] if "train/" not in d or d.split("/")[2] in KEPT]
    (folder / "dvc.yaml").write_text(yaml.safe_dump(graph, sort_keys=False))
    shrink(folder, SMALL)
    return folder


def metrics(project: Path) -> dict[str, Any]:
    return {str(f.relative_to(project)): read_json(f) for f in sorted((project / "metrics").rglob("*.json"))}


def finished_stages(project: Path) -> set[str]:
    """Stages whose outcome DVC has recorded; ``code`` runs every time by intent."""
    lock = project / "dvc.lock"
    recorded = yaml.safe_load(lock.read_text()) if lock.is_file() else {}
    return set(recorded.get("stages", {})) - {"code"}


def shards(project: Path) -> dict[Path, int]:
    return {f: f.stat().st_ino for f in (project / ".work").glob("*/*/manifest.json")}


@pytest.mark.skipif(not KILLS, reason="minutes: set HPNET_KILLS=20")
@pytest.mark.timeout(3600)
def test_killed_again_and_again_the_graph_ends_where_an_unbroken_run_does(tmp_path: Path) -> None:
    videos = five_folders(tmp_path / "videos", subjects=6)
    whole = new_project(tmp_path / "whole", videos)
    began = time.monotonic()
    assert start(whole).wait() == 0, (whole / "log.txt").read_text()[-3000:]
    lasted = time.monotonic() - began
    draw = random.Random(6)
    died = 0
    for attempt in itertools.count():  # a graph that ended before the kill is no test: try another
        broken = new_project(tmp_path / f"broken-{attempt}", videos)
        died += killed_until_whole(broken, draw, lasted, KILLS - died)
        assert metrics(broken) == metrics(whole)
        shutil.rmtree(broken)
        if died == KILLS:
            return


def killed_until_whole(project: Path, draw: random.Random, longest_s: float, kills: int) -> int:
    """Kill the graph again and again, ``kills`` times at most, until it ends; how often. Nothing finished is redone.

    Moments are uniform over ``longest_s``, what a whole graph takes, so that its last stages are hit as its first are.
    """
    finished: dict[Path, int] = {}
    recorded: set[str] = set()
    for died in range(kills + 1):
        (project / "log.txt").write_text("")
        running = start(project)
        try:
            running.wait(draw.uniform(1, longest_s) if died < kills else None)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
        said = (project / "log.txt").read_text()
        ran = re.findall(r"Running stage '([^']+)'", said)
        assert not recorded & set(ran), f"finished stages ran again: {recorded & set(ran)}"
        now = shards(project)
        assert {f: now.get(f) for f in finished} == finished, "a finished shard was made again"
        if running.returncode == 0:
            return died
        assert running.returncode == -signal.SIGKILL, said[-3000:]
        print(f"killed in {ran[-1] if ran else 'the start'}", flush=True)
        finished, recorded = now, finished_stages(project)
    raise AssertionError("the graph did not end")
