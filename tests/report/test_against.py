"""Two runs side by side, and the clip browser's previews."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml

from hpnet.artifacts.poses import ClipPoses
from hpnet.artifacts.scores import Scores
from hpnet.params import Params
from hpnet.report import against, previews
from hpnet.report.collect import Collected
from hpnet.report.output import Files
from hpnet.report.results import Judge
from hpnet.report.section import Given
from hpnet.report.sections.against import Against, build


def scores(right: int, clips: int = 40) -> Scores:
    labels = np.arange(clips, dtype=np.int64) % 4
    guess = np.where(np.arange(clips) < right, labels, (labels + 1) % 4)
    ids = tuple(f"c{i:02d}" for i in range(clips))
    return Scores(ids, ("test",) * clips, labels, np.eye(4, dtype=np.float32)[guess])


def make_other(folder: Path, right: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump({"pool": {"region": 3, "kind": "pooled"}}))
    (folder / "metrics").mkdir()
    (folder / "metrics" / "fuse.json").write_text(json.dumps({"top1": right / 40, "clips": 40}))
    scores(right).save(folder / "artifacts" / "fuse" / "scores.parquet")


def make_project(root: Path, right: int) -> Collected:
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(yaml.safe_dump({"pool": {"region": 1, "kind": "pooled"}}))
    return Collected(root, Params(), fused=scores(right), metrics={"fuse": {"top1": right / 40, "clips": 40}})


def section(collected: Collected, other: against.Other) -> tuple[Against, Files]:
    given = Given(collected, Judge(collected.params.report, None), None, other=other)
    part = build(given)
    assert part is not None
    return part, given.files


def test_against_a_folder(tmp_path: Path) -> None:
    make_other(tmp_path / "old", 20)
    part, kept = section(
        make_project(tmp_path / "new", 30), against.read_other(tmp_path / "new", str(tmp_path / "old"))
    )
    assert "1 parameter differs" in part.lead
    assert "50.0 % before, 75.0 % now" in part.lead
    rows = {table.name: list(table.rows) for table in part.tables}
    assert rows["against_params"] == [{"name": "pool.region", "before": "3", "after": "1"}]
    accuracy = rows["against_accuracy"][0]
    assert accuracy["gain"].value == pytest.approx(0.25)
    assert (accuracy["changed"], accuracy["n"]) == ("10 / 0", 40)
    assert rows["against_metrics"] == [{"metric": "fuse.top1", "before": 0.5, "after": 0.75}]
    assert "against_accuracy" in kept.tables


def test_against_a_revision_takes_scores_out_of_the_cache(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    def store(content: bytes, ending: str = "") -> str:
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest() + ending
        place = tmp_path / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return md5

    make_other(tmp_path, 20)
    file = tmp_path / "artifacts" / "fuse" / "scores.parquet"
    listing = json.dumps([{"md5": store(file.read_bytes()), "relpath": "scores.parquet"}]).encode()
    lock = {"stages": {"fuse": {"outs": [{"path": "artifacts/fuse", "md5": store(listing, ".dir")}]}}}
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump(lock))
    git("init", "-q")
    git("add", "params.yaml", "metrics", "dvc.lock")
    git("commit", "-qm", "old")
    project = make_project(tmp_path, 30)
    part, _ = section(project, against.read_other(tmp_path, "HEAD"))
    assert "50.0 % before, 75.0 % now" in part.lead
    assert part.notes == ()
    (tmp_path / ".dvc" / "cache" / "files" / "md5").rename(tmp_path / "gone")
    part, _ = section(project, against.read_other(tmp_path, "HEAD"))
    assert "only metrics are compared" in part.notes[0]
    assert [table.name for table in part.tables] == ["against_params", "against_metrics"]


def test_what_is_neither_a_folder_nor_a_revision(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither a project folder nor a git revision"):
        against.read_other(tmp_path, "nonsense")
    with pytest.raises(ValueError, match="has no params.yaml"):
        against.read_other(tmp_path, str(tmp_path))


def test_previews_show_mistakes_first_and_then_every_class_in_turn() -> None:
    labels, right = np.array([0, 0, 1, 1, 2]), np.array([True, True, True, False, True])
    assert previews.preview_order(labels, right) == [3, 0, 2, 4, 1]


def test_a_strip_has_its_shape_whatever_the_video_and_draws_the_joints() -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (90, 200, 3)).astype(np.uint8) for _ in range(3)]
    joints = np.array([[[[20.0, 20.0], [150.0, 70.0]]]] * 3, np.float32)
    poses = ClipPoses(
        "c", joints, np.ones((3, 1, 2), np.float32), np.zeros((3, 1, 2, 3), np.float32), np.ones((3, 1), bool), {}
    )
    width, height = previews.SIZE_PX
    plain, drawn = previews.draw_strip(frames, None, ()), previews.draw_strip(frames, poses, ((0, 1),))
    assert plain.shape == drawn.shape == (height, width * previews.FRAMES, 3)
    assert (plain != drawn).any(2).sum() > 50
    assert previews.encode_strip(plain) == previews.encode_strip(plain)
    assert previews.encode_strip(plain)[:2] == b"\xff\xd8"


def test_tables_of_hpnet_ablate_survive_a_report(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    for name in ("table9.csv", "claims.csv", "stale.csv"):
        (tmp_path / "tables" / name).write_text("x")
    Files().write(tmp_path)
    assert sorted(file.name for file in (tmp_path / "tables").iterdir()) == ["claims.csv", "table9.csv"]
