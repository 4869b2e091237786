"""Answers for somebody else's poses, in a project that was trained on such poses."""

from __future__ import annotations

import json
import math
import os
import pickle
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

import hpnet
from hpnet.predict import given_poses
from hpnet.stages.cli import cli
from tests.documents import ROOT
from tests.trained import hpnet as run
from tests.trained import inside

ACTIONS = 3
FRAMES = 12
PARAMS = "train:\n  topology:\n    graph: {model: linear}\n"


def poses(action: int, seed: int, people: int = 1, frames: int = FRAMES) -> NDArray[np.float32]:
    """(M, T, 17, 2) pixels of standing people who move another joint for each action."""
    draw = np.random.default_rng([action, seed])
    body = np.stack([np.linspace(-20, 20, 17), np.linspace(0, 160, 17)], -1)
    found = 200 + body + draw.normal(0, 2, (people, 1, 17, 1)) + 60 * np.arange(people)[:, None, None, None]
    found = np.repeat(found, frames, 1)
    found[:, :, 3 + 4 * action] += 40 * np.sin(np.linspace(0, 6, frames))[:, None]
    return (found + draw.normal(0, 1, found.shape)).astype(np.float32)


def annotation(name: str, action: int, seed: int, people: int = 1, **more: Any) -> dict[str, Any]:
    keypoint = poses(action, seed, people)
    scores = np.ones(keypoint.shape[:3], np.float32)
    return {"frame_dir": name, "total_frames": FRAMES, "keypoint": keypoint, "keypoint_score": scores, **more}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was trained on imported poses, by the commands that docs/reproduce.md shows."""
    made = tmp_path_factory.mktemp("poses")
    clips = [annotation(f"a{a}-{n:02d}", a, n, 1 + n % 2, label=a) for a in range(ACTIONS) for n in range(12)]
    split = {"train": [c["frame_dir"] for n, c in enumerate(clips) if n % 12 < 9]}
    split["val"] = [c["frame_dir"] for n, c in enumerate(clips) if n % 12 >= 9]
    (made / "all.pkl").write_bytes(pickle.dumps({"split": split, "annotations": clips}))
    (made / "params.yaml").write_text(PARAMS)
    with inside(made):
        run("import", "pyskl", "all.pkl", "--out", "artifacts/data", "--frames", "8", "--val-fraction", "0.3")
        run("train", "hpj", "--input", "artifacts/data", "--data", "artifacts/data")
        run("fuse")
    new = [annotation("new/0", 0, 50), annotation("new/1", 1, 51), annotation("nobody", 0, 52)]
    new[2]["keypoint"][:] = 0
    new.append({**annotation("two", 2, 53, people=2), "keypoint_score": None})
    (made / "new.pkl").write_bytes(pickle.dumps(new))
    return made


@pytest.fixture(autouse=True)
def there(folder: Path) -> Iterator[None]:
    with inside(folder):
        yield


@pytest.fixture(scope="module")
def model(folder: Path) -> hpnet.Model:
    return hpnet.load(folder, device="cpu")


def test_clips_are_answered_as_in_training(model: hpnet.Model) -> None:
    found = model.from_poses("new.pkl")
    assert [w.video for w in found.windows] == ["new/0", "new/1", "nobody", "two"]
    first, second, empty, two = found.windows
    assert [first.answers[0].action, second.answers[0].action] == ["0", "1"]
    assert empty.answers == ()
    assert [a.tracks for a in two.answers] == [(0, 1), (0,), (1,)]
    np.testing.assert_allclose([a.probabilities.sum() for a in two.answers], 1)
    assert first.frames == (0, FRAMES - 1)
    assert math.isnan(first.start_s)
    stored = model.from_poses("all.pkl").to_pandas().set_index("video").action
    assert (stored == [name[1] for name in stored.index]).mean() > 0.9


def test_the_command_prints_the_json_of_python(model: hpnet.Model) -> None:
    done = CliRunner().invoke(cli, ["predict", "--poses", "new.pkl", "--json", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert done.stdout == model.from_poses("new.pkl").to_json()
    row = json.loads(done.stdout.splitlines()[0])
    assert (row["start_s"], row["frames"], row["tracks"], row["people"]) == (None, [0, FRAMES - 1], [0], [])
    table = CliRunner().invoke(cli, ["predict", "--poses", "new.pkl", "--no-each", "--device", "cpu"]).stdout
    assert [line.split()[0] for line in table.splitlines()] == ["new/0", "new/1", "nobody", "two"]
    assert "frames 0-11" in table


def test_an_array_is_answered_as_its_file(model: hpnet.Model) -> None:
    whole = model.from_poses("new.pkl").windows[0].answers[0]
    clip = annotation("new/0", 0, 50)
    found = model.from_poses(clip["keypoint"].swapaxes(0, 1), clip["keypoint_score"].swapaxes(0, 1))
    np.testing.assert_allclose(found.windows[0].answers[0].probabilities, whole.probabilities, rtol=1e-5)


def test_people_have_the_numbers_of_the_file(model: hpnet.Model) -> None:
    keypoints = poses(1, 3, people=3).swapaxes(0, 1)
    keypoints[:, 0] = 0  # nobody
    keypoints[6:, 1] = 0
    answers = model.from_poses(keypoints).windows[0].answers
    assert {track for answer in answers for track in answer.tracks} <= {1, 2}
    assert answers[0].tracks[0] == 2  # there longest


def test_the_lines_of_the_tutorial_run(folder: Path, tmp_path: Path) -> None:
    """As a new user types them: poses in a folder of their own, and answers for others."""
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8").split("### Poses instead of videos")[1]
    block = page.split("```console\n")[1].split("```")[0]
    shutil.copy(folder / "all.pkl", tmp_path / "poses.pkl")
    shutil.copy(folder / "new.pkl", tmp_path / "new.pkl")
    first, second, *lines = [shlex.split(line.removeprefix("$ ")) for line in block.strip().splitlines()]
    assert first == ["mkdir", "poses", "&&", "cd", "poses"]
    assert (second[0], *second[2:]) == ("echo", ">", "params.yaml")
    (tmp_path / "poses").mkdir()
    with inside(tmp_path / "poses"):
        Path("params.yaml").write_text(second[1])
        said = [run(*words[1:]) for words in lines]
        found = hpnet.load(".").from_poses("../new.pkl")
    assert said[-1] == f"{found}\n"
    assert found.windows[0].answers[0].action == "0"
    assert len(lines) == 4


def test_answers_have_a_probability_of_unknown(folder: Path, tmp_path: Path) -> None:
    """So many clips of three actions are enough; a class called background is no answer here either."""
    fresh = shutil.copytree(folder, tmp_path / "copy")
    file = fresh / "artifacts" / "fuse" / "unknown.json"
    stored = json.loads(file.read_text())
    refusal = {**stored["refusals"][0], "score": "energy", "likeness": None}
    file.write_text(json.dumps({**stored, "background": 1, "refusals": [refusal]}))
    other = hpnet.load(fresh, device="cpu")
    first, second, *_ = (window.answers[0] for window in other.from_poses("new.pkl").windows if window.answers)
    assert first.names == ("0", "2")
    assert first.probabilities.sum() == pytest.approx(1)
    assert first.unknown is not None
    assert second.unknown is not None
    assert first.unknown < second.unknown  # the second clip is of background
    plain = hpnet.load(folder, device="cpu").from_poses("new.pkl").windows[0].answers[0]
    assert plain.unknown is not None
    assert 0 <= plain.unknown < 0.5


def test_a_clip_that_is_not_finite_fails_alone(model: hpnet.Model) -> None:
    clips = [annotation("good", 0, 60), annotation("bad", 0, 61)]
    clips[1]["keypoint"][0, 0, 0] = np.nan
    Path("some.pkl").write_bytes(pickle.dumps(clips))
    with pytest.warns(UserWarning, match="bad"):
        found = model.from_poses("some.pkl")
    assert [window.video for window in found.windows] == ["good"]
    assert "not finite" in found.failed["bad"]
    done = CliRunner().invoke(cli, ["predict", "--poses", "some.pkl", "--device", "cpu"])
    assert done.exit_code == 1
    assert "1 of 2 clips could not be used" in done.output


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("touch hacked",)


def test_files_and_arrays_that_are_refused(model: hpnet.Model) -> None:
    Path("hostile.pkl").write_bytes(pickle.dumps([{**annotation("x", 0, 1), "more": Hostile()}]))
    Path("3d.pkl").write_bytes(pickle.dumps([{"frame_dir": "x", "keypoint": np.ones((1, 4, 25, 3), np.float32)}]))
    for source, said in (
        ("hostile.pkl", "hostile.pkl cannot be read as a pickle of arrays"),
        ("3d.pkl", r"clip x has pose3d poses of 25 joints.*the\s+networks read 'pose2d' features of 17 joints"),
        ("none.pkl", "none.pkl is missing"),
        (np.zeros((4, 17, 2)), "expected .T, M, 17, 2."),
        (np.zeros((0, 1, 17, 2)), "expected .T, M, 17, 2."),
    ):
        with pytest.raises((ValueError, OSError), match=said):
            model.from_poses(source)
    assert not Path("hacked").exists()
    with pytest.raises(ValueError, match=r"scores are \(3, 1, 17\); expected \(4, 1, 17\)"):
        model.from_poses(np.ones((4, 1, 17, 2)), np.ones((3, 1, 17)))
    assert given_poses.clips_of("new.pkl", None)[0]["frame_dir"] == "new/0"


@pytest.mark.parametrize("arguments", [(), ("--poses", "new.pkl", "clip.mp4"), ("--poses", "new.pkl", "--events"),
                                       ("--poses", "new.pkl", "--save", "x.mp4")])  # fmt: skip
def test_options_of_videos_are_refused(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(cli, ["predict", *arguments]).exit_code == 2


def test_a_video_is_refused_by_networks_that_read_poses() -> None:
    done = CliRunner().invoke(cli, ["predict", "all.pkl", "--device", "cpu"])
    assert done.exit_code == 1
