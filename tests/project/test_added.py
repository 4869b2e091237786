"""Videos that are added to a project: theirs alone are detected and estimated."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from hpnet.artifacts.boxes import Boxes
from hpnet.artifacts.poses import PoseStore
from hpnet.project.make import make_project
from tests.trained import hpnet, inside, know_mannequins, shrink

from .test_init import videos

FIRST = ("wave/a.mp4", "wave/d.mp4", "clap/c.mp4", "clap/g.mp4")
ADDED = ("clap/b.mp4", "wave/c.mp4")
STAGES = ("detect", "estimate")


def run(project: Path) -> dict[str, dict[str, int]]:
    """Run the stages up to estimate; stage -> shard -> when it was finished."""
    with inside(project):
        hpnet("data")
        for stage in STAGES:
            hpnet(stage, "--workers", "1", "--device", "cpu")
    return {
        stage: {
            file.parent.name: file.stat().st_mtime_ns for file in (project / ".work" / stage).glob("*/manifest.json")
        }
        for stage in STAGES
    }


def test_clips_that_are_added_are_the_only_ones_done(tmp_path: Path) -> None:
    folder, project = videos(tmp_path / "videos", FIRST), tmp_path / "p"
    make_project(project, "folder", videos=folder)
    know_mannequins(project)
    shrink(project, {"data": {"max_failed": 1.0}})
    before = run(project)
    assert [len(before[stage]) for stage in STAGES] == [len(FIRST)] * 2
    boxes = Boxes.load(project / "artifacts/detect")
    videos(folder, (*FIRST, *ADDED))
    after = run(project)
    for stage in STAGES:
        assert len(after[stage]) == len(FIRST) + len(ADDED)
        assert before[stage].items() <= after[stage].items()  # finished then, and not again
    clips = set(PoseStore(project / "artifacts/estimate").index.clip_id) | set(
        PoseStore(project / "artifacts/estimate").meta.failed
    )
    assert {clip.rpartition("/")[2] for clip in clips} == {"a", "b", "c", "d", "g"}
    now = Boxes.load(project / "artifacts/detect")
    old = now.table[now.table.clip_id.isin(set(boxes.table.clip_id))]
    pd.testing.assert_frame_equal(old.reset_index(drop=True), boxes.table.reset_index(drop=True))
