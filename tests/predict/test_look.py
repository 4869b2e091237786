"""hpnet look: pictures, videos and a table of what the networks see, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from hpnet.core.video import load_clip, write_video
from hpnet.data.params import DataParams
from hpnet.mannequin.actions import ACTIONS
from hpnet.mannequin.benchmark import ClipSpec, write_clip
from hpnet.params import Params
from hpnet.predict.drawing import drawn_by_score, score_colour
from hpnet.predict.look import TILE_PX, TILES, folded, new_sight, save_sheet
from hpnet.stages.cli import cli
from tests.predict.test_suitability import FRAMES, window
from tests.trained import inside

FRAMES_SHOT = 6


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a mannequin who waves, and the same hidden by noise."""
    folder = tmp_path_factory.mktemp("look")
    spec = ClipSpec(1, 2, 1, 1, list(ACTIONS).index("wave"))
    write_clip(spec, DataParams(subjects=2, frames=FRAMES_SHOT, fps=8), folder / "shot")
    (folder / "in").mkdir()
    (folder / "shot" / "videos" / f"{spec.clip_id}.mp4").rename(folder / "in" / "clear.mp4")
    clip = load_clip(folder / "in" / "clear.mp4")
    noise = np.random.default_rng(0).normal(scale=70, size=clip.shape)
    write_video(folder / "in" / "noisy.mp4", (0.3 * clip + 20 + noise).clip(0, 255).astype(np.uint8), fps=8)
    return folder


def look(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["look", *arguments, "--preset", "mannequin", "--device", "cpu"])


def test_a_table_a_video_and_a_sheet(videos: Path) -> None:
    with inside(videos):
        done = look("in/clear.mp4", "--save", "seen.mp4")
        assert done.exit_code == 0, done.output
        _, line = done.stdout.splitlines()
        assert line.split()[:3] == ["in/clear.mp4", str(FRAMES_SHOT), "1"]
        assert line.split()[-1] == "yes"
        assert "warning" not in done.stderr
        drawn, plain = load_clip(videos / "seen.mp4"), load_clip(videos / "in" / "clear.mp4")
        assert drawn.shape == plain.shape
        assert (np.abs(drawn.astype(int) - plain).max((1, 2, 3)) > 80).all()  # in every frame

        done = look("in", "--save", "sheet.png")
        assert done.exit_code == 0, done.output
        verdicts = {line.split()[0]: line.split()[-1] for line in done.stdout.splitlines()[1:]}
        assert verdicts == {"in/clear.mp4": "yes", "in/noisy.mp4": "no"}
        sheet = cv2.imread("sheet.png")
        assert sheet.shape == (2 * round(TILE_PX * 240 / 320), FRAMES_SHOT * TILE_PX, 3)


def test_several_videos_go_into_a_folder_and_people_who_do_not_suit_are_told(videos: Path) -> None:
    with inside(videos):
        done = look("in/noisy.mp4", "in/clear.mp4", "--save", "out")
        assert done.exit_code == 0, done.output
        assert sorted(file.name for file in Path("out").iterdir()) == ["clear.mp4", "noisy.mp4"]
        done = look("in/noisy.mp4")
    assert done.exit_code == 0
    assert "warning: boxes of mannequin-yolo score" in done.stderr


def test_a_broken_video_costs_itself_alone(videos: Path) -> None:
    with inside(videos):
        Path("broken.mp4").write_bytes(b"no video")
        done = look("broken.mp4", "in/clear.mp4", "--save", "half.png")
    assert done.exit_code == 1
    assert "1 of 2 videos could not be read: broken.mp4" in done.stderr
    assert "in/clear.mp4" in done.stdout
    assert (videos / "half.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("none.mp4",), 1, "none.mp4 is missing: expected a video file or a folder"),
        (("empty",), 1, "empty"),
        (("in/clear.mp4", "--save", "there.mp4"), 1, "there.mp4 is there already, and nothing is overwritten"),
        (("in/clear.mp4", "--save", "there.png"), 1, "there.png is there already"),
        (("in", "--save", "one.mp4"), 2, "is one file for 2 videos"),
        (("in/clear.mp4", "--save", "in"), 2, "would overwrite the video"),
        (("in/clear.mp4", "--save", "x.avi"), 2, "only mp4 can be written"),
        (("in/clear.mp4", "--project", "none"), 2, "give one of them"),
        (("in/clear.mp4", "--detect-stride", "0"), 2, "--detect-stride: detect.stride = 0"),
        (("in/clear.mp4", "--detect-model", "yolo11m"), 1, "yolo11m"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(
    videos: Path, arguments: tuple[str, ...], status: int, message: str
) -> None:
    with inside(videos):
        Path("empty").mkdir(exist_ok=True)
        for name in ("there.mp4", "there.png"):
            Path(name).touch()
        done = look(*arguments)
    assert (done.exit_code, message in f"{done.output} {done.exception}") == (status, True), done.output
    assert not Path(videos / "one.mp4").exists()


def test_the_networks_are_those_of_the_project_of_the_preset_or_of_the_folder(tmp_path: Path) -> None:
    from hpnet.stages.look import chosen_params

    with inside(tmp_path):
        assert chosen_params(None, None, {}).data.source == "folder"
        assert chosen_params(None, "mannequin", {"detect.model": "yolo11m"}).detect.model == "yolo11m"
        Path("params.yaml").write_text("detect: {model: here.pt}\n")
        Path("other").mkdir()
        Path("other/params.yaml").write_text("detect: {model: there.pt}\n")
        assert chosen_params(None, None, {}).detect.model == "here.pt"
        assert chosen_params(Path("other"), None, {"estimate.box_scale": 1.5}).detect.model == "there.pt"
        assert chosen_params(Path("other"), None, {"estimate.box_scale": 1.5}).estimate.box_scale == 1.5


def picture(scores: float) -> NDArray[np.uint8]:
    """Black, with two joints on the middle line and the bone between them, of these scores."""
    seen = window(0, 0.9, scores)
    seen.poses.keypoints_px[:, 0, :, 0] = np.where(np.arange(17) == 0, 40, 100)
    seen.poses.keypoints_px[:, 0, :, 1] = 60
    black = np.zeros((120, 160, 3), np.uint8)
    whole = window(0, 0.9, scores).seen
    assert whole.size_px == (16, 12)
    factor = 160 / 16
    seen.poses.keypoints_px[...] /= factor
    return drawn_by_score(seen, FRAMES - 1, black, [(0, 1)])


def test_joints_and_bones_have_the_colour_of_their_score_and_fade_with_it() -> None:
    assert score_colour(0.0)[:2] == (255, 0)
    assert score_colour(0.5)[:2] == (255, 220)
    assert score_colour(1.0)[:2] == (0, 220)
    sure, unsure = picture(1.0)[60, 70].astype(int), picture(0.0)[60, 70].astype(int)  # in the middle of the bone
    assert sure[1] > 4 * max(1, sure[0])
    assert unsure[0] > 4 * max(1, unsure[1])
    assert 40 < unsure.max() < 0.5 * sure.max()
    assert not picture(0.9)[90:, 120:].any()


def test_nothing_is_drawn_of_people_who_are_not_there() -> None:
    black = np.zeros((12, 16, 3), np.uint8)
    assert not drawn_by_score(window(0, None, 0.0), 1, black, [(0, 1)]).any()


def test_a_sight_counts_people_once_and_frames_without_the_overlap() -> None:
    sight = new_sight(Params())
    for number in range(3):
        sight.add(window(number, 0.5 + 0.1 * number, 0.8))
    assert (sight.frames, sight.numbers) == (3 * FRAMES, {0})
    assert sight.boxes == pytest.approx(0.6)
    empty = new_sight(Params())
    assert (empty.boxes, empty.joints, empty.comparisons) == (None, None, [])


def test_a_sheet_folds_one_video_and_refuses_none(tmp_path: Path) -> None:
    row = [np.full((90, TILE_PX, 3), n, np.uint8) for n in range(TILES)]
    assert [len(line) for line in folded(row)] == [4, 4, 4]
    save_sheet([row[:2], [], [row[2][:60]]], tmp_path / "x.png")
    assert cv2.imread(str(tmp_path / "x.png")).shape == (150, 2 * TILE_PX, 3)
    with pytest.raises(ValueError, match="no frame to show"):
        save_sheet([[]], tmp_path / "y.png")
