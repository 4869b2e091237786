"""hpnet predict: the project's own scores for its own clips, windows of long videos, live sources, and refusals."""

import copy
import itertools
import json
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from click.testing import CliRunner, Result

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.files import read_json, write_json
from hpnet.artifacts.scores import Scores
from hpnet.core.sampling import uniform_indices
from hpnet.core.streams import STREAMS
from hpnet.core.video import load_clip, read_timed, write_timed, write_video
from hpnet.detect.params import DetectParams
from hpnet.detect.tracking import Track
from hpnet.fuse.applied import fuse_as_fitted
from hpnet.fuse.fusion import fuse
from hpnet.predict.files import default_workers
from hpnet.predict.live import LiveReader, live_windows
from hpnet.predict.output import Output
from hpnet.predict.people import PeopleFinder, Person, SeenWindow, shared_iou
from hpnet.predict.project import TrainedProject
from hpnet.predict.recognise import Prediction, Recogniser
from hpnet.predict.seeing import clip_boxes
from hpnet.predict.windows import Cutting, HeldFrames, Window, every_window
from hpnet.project.folder import Project as ProjectFolder
from hpnet.stages.cli import cli
from hpnet.stages.predict import find_targets
from tests.trained import inside, shared_project

pytestmark = pytest.mark.timeout(600)  # the first test waits for the shared project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_project(tmp_path_factory)


@pytest.fixture(scope="module")
def recogniser(project: Path) -> Recogniser:
    with inside(project):
        return Recogniser(TrainedProject(Path(), device="cpu"), device="cpu")


@pytest.fixture(scope="module")
def long_video(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips of one person, joined: 24 frames at 8 a second."""
    videos = project.parent / "videos"
    clips = [load_clip(videos / action / "03.mp4") for action in ("wave", "clap", "jump")]
    file = tmp_path_factory.mktemp("long") / "long.mp4"
    write_video(file, np.concatenate(clips), fps=8)
    return file


def invoke(*arguments: str, project: Path) -> Result:
    return CliRunner().invoke(cli, ["predict", *arguments, "--project", str(project), "--device", "cpu"])


def refuse(video: str, reason: str) -> None:
    raise AssertionError(f"{video}: {reason}")


def test_frames_are_left_out_as_in_training(project: Path, tmp_path: Path) -> None:
    """With estimate.frames, a clip is predicted from the poses that the estimate stage gave the networks."""
    from hpnet.artifacts.poses import PoseStore
    from hpnet.estimate.step import EstimateWork
    from hpnet.work.shards import ShardItem

    with inside(project):
        trained = TrainedProject(Path(), device="cpu")
        thinned_params = trained.params.estimate.model_copy(update={"frames": 3})
        trained.params = trained.params.model_copy(update={"estimate": thinned_params})
        clip = Clips.load(Path("artifacts/data")).usable().iloc[0]
        cutting = Cutting(1.0, 1.0)
        recogniser = Recogniser(trained, device="cpu")
        (found,) = recogniser.predict(every_window([Path(clip.path)], cutting, refuse), refuse)
        boxes, persons = Path("artifacts/detect").absolute(), trained.params.detect.persons
        EstimateWork(thinned_params, boxes, persons, device="cpu")(
            [ShardItem(clip.clip_id, Path(clip.path).absolute(), "")], tmp_path
        )
    stored = PoseStore(tmp_path).load(clip.clip_id)
    assert found.poses.valid.any(1).sum() == 3
    np.testing.assert_array_equal(found.poses.valid[:, 0], stored.valid[:, 0])
    np.testing.assert_allclose(found.poses.windows["h2s3"], stored.windows["h2s3"], atol=2e-2)


@pytest.mark.parametrize("crop", ["square", "box"])
def test_person_frames_are_the_middle_ones_of_those_that_detect_keeps(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crop: Literal["square", "box"]
) -> None:
    from hpnet.artifacts.frames import PersonFrames
    from hpnet.detect.step import DetectWork, merge
    from hpnet.predict.trained import Sample
    from hpnet.work.shards import ShardItem

    samples: list[Sample] = []
    with inside(project):
        trained = TrainedProject(Path(), device="cpu")
        detect = trained.params.detect.model_copy(update={"crop": crop, "frames": 2, "candidates": 3})
        trained.params = trained.params.model_copy(update={"detect": detect})
        clip = Clips.load(Path("artifacts/data")).usable().iloc[0]
        logits = trained.logits
        monkeypatch.setattr(trained, "logits", lambda given: samples.extend(given) or logits(given))
        windows = every_window([Path(clip.path)], Cutting(1.0, 1.0), refuse)
        list(Recogniser(trained, device="cpu").predict(windows, refuse))
        DetectWork(detect, device="cpu")([ShardItem(clip.clip_id, Path(clip.path).absolute(), "")], tmp_path / "part")
    merge([tmp_path / "part"], tmp_path / "detect")
    stored = PersonFrames(tmp_path / "detect" / "frames").load(clip.clip_id)
    assert len(stored) == 6
    assert samples[0].jpegs == [stored[1][1], stored[4][1]]  # train.multimodal.frames is 2


def test_own_clips_get_the_scores_that_the_stages_stored(project: Path, recogniser: Recogniser) -> None:
    table = Clips.load(project / "artifacts" / "data").usable()
    table = table[table.split == "test"]
    cutting = Cutting(1.0, 1.0)
    found: dict[str, Prediction] = {}
    for prediction in recogniser.predict(every_window(map(Path, table.path), cutting, refuse), refuse):
        found[prediction.seen.window.video] = prediction
    assert len(found) == len(table) >= 10
    fused = Scores.load(project / "artifacts" / "fuse" / "scores.parquet")
    of_clip = dict(zip(fused.clip_ids, fused.logits, strict=True))
    for stream in recogniser.project.models:
        stored = Scores.load(project / "artifacts" / "train" / stream / "scores.parquet")
        rows = dict(zip(stored.clip_ids, stored.logits, strict=True))
        for clip_id, path in zip(table.clip_id, table.path, strict=True):
            together = found[path].answers[0]
            np.testing.assert_allclose(together.logits[stream], rows[clip_id], atol=2e-3, err_msg=f"{stream} {clip_id}")
    for clip_id, path in zip(table.clip_id, table.path, strict=True):
        expected = np.exp(of_clip[clip_id] - of_clip[clip_id].max())
        np.testing.assert_allclose(found[path].answers[0].probabilities, expected / expected.sum(), atol=2e-3)


def test_answers_do_not_depend_on_batches(recogniser: Recogniser, long_video: Path) -> None:
    cutting = Cutting(1.0, 1.0, 0.5, stride=2)
    one, many = (
        list(recogniser.predict(every_window([long_video], cutting, refuse), refuse, group=group)) for group in (1, 8)
    )
    assert [len(p.answers) for p in one] == [len(p.answers) for p in many]
    for a, b in zip(one, many, strict=True):
        for left, right in zip(a.answers, b.answers, strict=True):
            np.testing.assert_allclose(left.probabilities, right.probabilities, atol=2e-3)


def scores(seed: int, clips: int = 60, classes: int = 4) -> Scores:
    draw = np.random.default_rng(seed)
    labels = np.arange(clips) % classes
    logits = draw.normal(size=(clips, classes)) + 2 * np.eye(classes)[labels]
    splits = tuple("val" if n % 2 else "test" for n in range(clips))
    return Scores(tuple(f"c{n:03d}" for n in range(clips)), splits, labels, logits.astype(np.float32))


@pytest.mark.parametrize("rule", ["weighted", "balanced"])
@pytest.mark.parametrize("fitted_on", [60, 4])
def test_new_clips_are_fused_as_the_project_fused_its_own(rule: str, fitted_on: int) -> None:
    streams = {"hpj": scores(1, fitted_on), "multimodal": scores(2, fitted_on)}
    result = fuse(streams, rule, class_frequency=[5, 1, 2, 9])
    stored = json.loads(json.dumps(result.to_json()))
    again = fuse_as_fitted(stored, {stream: s.logits for stream, s in streams.items()})
    np.testing.assert_allclose(again, result.scores.logits, atol=1e-5)
    with pytest.raises(ValueError, match="is missing"):
        fuse_as_fitted(stored, {"hpj": streams["hpj"].logits} if result.weights["multimodal"] else {})


# --- people -----------------------------------------------------------------------------------------------------------


def test_a_person_keeps_their_number_from_window_to_window(recogniser: Recogniser, long_video: Path) -> None:
    cutting = Cutting(1.0, 1.0, 0.5, stride=2)
    predictions = list(recogniser.predict(every_window([long_video], cutting, refuse), refuse))
    assert [p.seen.window.first for p in predictions] == [0, 4, 8, 12, 16]
    seen = [{p.number for p in prediction.seen.people} for prediction in predictions]
    assert all(seen)
    assert seen[0] & seen[1]  # half of the frames are the same ones


@pytest.mark.parametrize(("count", "expected"), [(0, [2, 3, 4, 5, 6, 7]), (3, [4, 6]), (99, [2, 3, 4, 5, 6, 7])])
def test_poses_are_estimated_on_as_many_frames_as_in_training(count: int, expected: list[int]) -> None:
    track = Track(np.arange(2, 8), np.tile(np.array([[0, 0, 9, 9]], np.float32), (6, 1)), np.ones(6, np.float32))
    window = Window("x", 0, 0, 8.0, HeldFrames(()), (64, 48))
    seen = SeenWindow(window, np.arange(8) / 8, (64, 48), (Person(0, track), Person(1, track)))
    boxes = clip_boxes(seen, count)
    assert boxes.frames.tolist() == 2 * expected  # estimate.frames of a window of 8, where the track has a box
    assert set(expected) == set(uniform_indices(8, count)) & set(range(2, 8))
    assert boxes.tracks.tolist() == [0] * len(expected) + [1] * len(expected)
    assert len(boxes.boxes_xyxy_px) == 2 * len(expected)


def test_iou_of_tracks_counts_shared_frames_alone() -> None:
    boxes = np.tile(np.array([[0, 0, 10, 10]], np.float32), (4, 1))
    early = Track(np.arange(4), boxes, np.ones(4, np.float32))
    late = Track(np.arange(4), boxes + [5, 0, 5, 0], np.ones(4, np.float32))
    assert shared_iou(early, early, 0) == 1
    assert shared_iou(early, early, 4) == 0
    assert shared_iou(late, early, 2) == pytest.approx(1 / 3)


def test_frames_that_windows_share_are_detected_on_once() -> None:
    asked: list[int] = []

    class Counting:
        def detect(self, frames: np.ndarray) -> list[Any]:
            asked.extend(int(f[0, 0, 0]) for f in frames)
            return [(np.array([[2, 2, 30, 40]], np.float32), np.array([0.9], np.float32)) for _ in frames]

    finder = PeopleFinder(DetectParams(stride=2), 2, Counting())
    timed = [(n / 8, np.full((48, 64, 3), n, np.uint8)) for n in range(12)]
    for number, first in enumerate((0, 4)):
        finder.find(Window("x", number, first, 8.0, HeldFrames(tuple(timed[first : first + 8])), (64, 48)))
    assert sorted(asked) == [0, 2, 4, 6, 7, 8, 10, 11]


# --- the command ------------------------------------------------------------------------------------------------------


def test_table_json_and_annotated_video(project: Path, long_video: Path, tmp_path: Path) -> None:
    arguments = (str(long_video), "--window", "1", "--streams", "hpj,hpb")
    table = invoke(*arguments, project=project)
    assert table.exit_code == 0, table.output
    assert "person 0" in table.stdout
    target = tmp_path / "seen.mp4"
    done = invoke(*arguments, "--json", "--save", str(target), project=project)
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["start_s"] for row in rows if len(row["tracks"]) == 1][:2] == [0.0, 0.5]
    for row in rows:
        chances = [action["probability"] for action in row["actions"]]
        assert chances == sorted(chances, reverse=True)
        assert len(chances) == 3
        for person in row["people"]:
            assert len(person["frames"]) == len(person["times_s"]) == len(person["boxes_xyxy_px"])
            assert row["frames"][0] <= person["frames"][0] <= person["frames"][-1] <= row["frames"][1]
    drawn, plain = load_clip(target), load_clip(long_video)
    assert drawn.shape == plain.shape
    assert (np.abs(drawn.astype(int) - plain).max((1, 2, 3)) > 80).all()  # something is drawn in every frame


def test_json_lines_are_as_the_page_says(project: Path, long_video: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "predict.md").read_text(encoding="utf-8")
    table = page.split("## JSON lines")[1].split("\n## ")[0]
    said = set(re.findall(r"^\| `(\w+(?:\[\]\.\w+)?)`", table, re.MULTILINE))
    live = ("--live", "--window", "1", "--seconds", "60")
    found: set[str] = set()
    for more in ((), live):
        done = invoke(str(long_video), "--streams", "hpj", "--json", *more, project=project)
        row = json.loads(done.stdout.splitlines()[0])
        found |= set(row)
        for name in ("actions", "people"):
            found |= {f"{name}[].{key}" for key in row[name][0]}
    assert found == said


@pytest.fixture(scope="module")
def interrupted_video(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of one person with a minute between them."""
    videos = project.parent / "videos"
    file = tmp_path_factory.mktemp("gap") / "gap.mp4"
    timed = [
        (begin_s + n / 8, frame)
        for begin_s, action in ((0.0, "wave"), (63.0, "clap"))
        for n, frame in enumerate(load_clip(videos / action / "03.mp4"))
    ]
    write_timed(file, timed, fps=8)
    return file


def test_times_are_the_files_own(project: Path, interrupted_video: Path, tmp_path: Path) -> None:
    target = tmp_path / "seen.mp4"
    arguments = (str(interrupted_video), "--window", "0.5", "--streams", "hpj", "--json", "--save", str(target))
    done = invoke(*arguments, project=project)
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    spans = list(dict.fromkeys((row["start_s"], row["end_s"]) for row in rows))
    assert spans == [(0.0, 0.5), (0.25, 0.75), (0.5, 1.0), (63.0, 63.5), (63.25, 63.75), (63.5, 64.0)]
    for row in rows:
        for person in row["people"]:
            assert row["start_s"] <= person["times_s"][0] <= person["times_s"][-1] < row["end_s"]
            assert person["times_s"] == [n / 8 if n < 8 else 63 + (n - 8) / 8 for n in person["frames"]]
    before, after = (
        {row["tracks"][0] for row in rows if row["tracks"] and (row["start_s"] > 60) is late} for late in (False, True)
    )
    assert before
    assert after
    assert not before & after  # who comes back after a minute has a number of their own
    plain, drawn = ([t for t, _ in read_timed(path)] for path in (interrupted_video, target))
    assert drawn == pytest.approx(plain, abs=1e-3)
    table = invoke(*arguments[:-3], project=project)
    assert "63.00-63.50 s" in table.stdout


def test_each_half_of_an_interrupted_video_is_answered_as_its_clip_is(
    project: Path, interrupted_video: Path, recogniser: Recogniser
) -> None:
    clips = [project.parent / "videos" / action / "03.mp4" for action in ("wave", "clap")]
    cutting = Cutting(1.0, 1.0, stride=2)
    alone = list(recogniser.predict(every_window(clips, cutting, refuse), refuse))
    joined = list(recogniser.predict(every_window([interrupted_video], cutting, refuse), refuse))
    assert [p.seen.start_s for p in joined] == [0.0, 63.0]
    for a, b in zip(alone, joined, strict=True):
        # both are H.264, the second of the first
        np.testing.assert_allclose(a.answers[0].probabilities, b.answers[0].probabilities, atol=0.1)


def test_a_heavy_file_does_not_end_the_run(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos = project.parent / "videos" / "wave"
    shutil.copy(videos / "01.mp4", tmp_path / "a.mp4")
    blank = np.zeros((360, 640, 3), np.uint8)
    write_video(tmp_path / "heavy.mp4", (blank for _ in range(60)), fps=30)
    shutil.copy(videos / "03.mp4", tmp_path / "z.mp4")
    monkeypatch.setattr("hpnet.predict.windows.WINDOW_BYTES", 4 << 20)
    done = invoke(str(tmp_path), "--streams", "hpj", "--json", project=project)
    assert done.exit_code == 1
    answered = [Path(json.loads(line)["video"]).name for line in done.stdout.splitlines()]
    assert list(dict.fromkeys(answered)) == ["a.mp4", "z.mp4"]
    (said,) = [line for line in done.stderr.splitlines() if "heavy.mp4: " in line]
    assert "frames of 640 x 360 needs" in said
    assert "1 of 3 videos" in done.stderr


def test_frames_read_at_a_reduced_size_give_boxes_in_the_videos_pixels(
    recogniser: Recogniser, long_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cutting = Cutting(1.0, 1.0, 0.0, stride=2)
    full = list(recogniser.predict(every_window([long_video], cutting, refuse), refuse))
    monkeypatch.setattr("hpnet.predict.windows.LEAST_SIDE_PX", 32)
    monkeypatch.setattr("hpnet.predict.windows.WINDOW_BYTES", round(8 * 160 * 120 * 3 * 0.7))
    small = list(recogniser.predict(every_window([long_video], cutting, refuse), refuse))
    compared = 0
    for a, b in zip(full, small, strict=True):
        assert a.seen.size_px == b.seen.size_px == (160, 120)
        for one, other in itertools.product(a.seen.people[:1], b.seen.people[:1]):
            shared, left, right = np.intersect1d(one.track.frames, other.track.frames, return_indices=True)
            if len(shared):
                np.testing.assert_allclose(
                    one.track.boxes_xyxy_px[left], other.track.boxes_xyxy_px[right], atol=12, err_msg="boxes"
                )
                joints = [p.poses.keypoints_px[shared, 0] for p in (a, b)]
                assert np.median(np.abs(joints[0] - joints[1])) < 6
                compared += len(shared)
    assert compared >= 8


@pytest.mark.parametrize("name", ["12:30:00.mp4", "http:/x.mp4", "-x.mp4", "a\nb.mp4", "\udcff.mp4"])
def test_odd_names_are_files(project: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    shutil.copy(project.parent / "videos" / "wave" / "01.mp4", tmp_path / name)
    with inside(tmp_path):
        for more in ((), ("--json", "--save", "seen.mp4")):
            arguments = ["predict", "--project", str(project), "--device", "cpu", "--streams", "hpj", *more, "--", name]
            done = CliRunner().invoke(cli, arguments)
            assert done.exit_code == 0, done.output + str(done.exception)
            lines = done.stdout.splitlines()
            assert all(json.loads(line)["video"] == name for line in lines if "--json" in more)
            assert more or all("person" in line or "nobody" in line for line in lines)
    assert len(load_clip(tmp_path / "seen.mp4")) == 8


def test_a_stream_that_shows_nothing_is_an_error_in_words(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpnet.predict.live.NO_PICTURE_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        done = invoke(address, "--streams", "hpj", "--seconds", "60", project=project)
    assert done.exit_code == 1
    assert str(done.exception) == f"{address}: no picture for 0.5 s"


def test_one_long_clip_in_training_does_not_make_all_windows_long(
    project: Path, recogniser: Recogniser, tmp_path: Path
) -> None:
    clips = Clips.load(project / "artifacts" / "data")
    other = copy.copy(recogniser.project)
    other.project = ProjectFolder(project)
    assert other.training_seconds() == (1.0, 1.0)
    assert other.training_fps() == 8
    table = clips.table.copy()
    rows = table.index[table.split == "train"]
    table.loc[rows[0], "frames"] = 8 * 66
    table.loc[rows[1], "frames"] = 8 * 3
    (tmp_path / "artifacts" / "data").mkdir(parents=True)
    Clips(table, clips.classes).save(tmp_path / "artifacts" / "data")
    other.project = ProjectFolder(tmp_path)
    assert other.training_seconds() == (1.0, 3.0)


@pytest.mark.parametrize(
    ("save", "files", "expected"),
    [
        ("x.mp4", ["in/a.avi"], ["x.mp4"]),
        ("out", ["in/a.avi", "in/b.mp4"], ["out/a.mp4", "out/b.mp4"]),
        ("out", ["in/x/1.mp4", "in/y/1.mp4"], ["out/x/1.mp4", "out/y/1.mp4"]),
        ("out", ["in/a.avi", "in/a.mp4"], ["out/a.avi.mp4", "out/a.mp4.mp4"]),
    ],
)
def test_every_video_is_saved_to_a_file_of_its_own(
    tmp_path: Path, save: str, files: list[str], expected: list[str]
) -> None:
    with inside(tmp_path):
        found = find_targets(Path(save), [Path(name) for name in files])
    assert found == dict(zip(files, map(Path, expected), strict=True))


@pytest.mark.parametrize(
    ("save", "message"),
    [
        ("in/a.mp4", "would overwrite the video in/a.mp4"),
        ("in/../in/a.mp4", "would overwrite the video"),
        ("in", "would overwrite the video in/a.mp4"),
        ("x.avi", "only mp4 can be written, name it x.mp4"),
    ],
)
@pytest.mark.parametrize("more", [(), ("--live",)])
def test_a_video_is_never_written_over(
    project: Path, long_video: Path, tmp_path: Path, save: str, message: str, more: tuple[str, ...]
) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(long_video, tmp_path / "in" / "a.mp4")
    with inside(tmp_path):
        done = CliRunner().invoke(cli, ["predict", "in/a.mp4", "--save", save, "--project", str(project), *more])
    assert done.exit_code == 2
    assert message in done.output
    assert (tmp_path / "in" / "a.mp4").read_bytes() == long_video.read_bytes()


@pytest.mark.parametrize("saved", [False, True])
def test_ctrl_c_ends_the_whole_run_and_keeps_what_there_is(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: bool
) -> None:
    shown: list[str] = []

    def interrupted(self: Output, prediction: Prediction) -> None:
        shown.append(prediction.seen.window.video)
        if len(shown) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Output, "print", interrupted)
    videos = [str(project.parent / "videos" / "wave" / f"{n:02d}.mp4") for n in (1, 2, 3)]
    more = ("--save", str(tmp_path)) if saved else ()
    done = invoke(*videos, "--streams", "hpj", *more, project=project)
    assert (done.exit_code, shown) == (1, videos[:2])
    assert "Error: interrupted" in done.output
    if saved:
        assert len(load_clip(tmp_path / "01.mp4")) == 8
        assert [file.name for file in tmp_path.iterdir()] == ["01.mp4"]


def test_a_folder_with_a_broken_video_answers_the_others_and_exits_1(project: Path, tmp_path: Path) -> None:
    videos = project.parent / "videos" / "wave"
    shutil.copy(videos / "01.mp4", tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes((videos / "02.mp4").read_bytes()[:300])
    shutil.copy(videos / "03.mp4", tmp_path / "c.mp4")
    done = invoke(str(tmp_path), "--streams", "hpj", "--json", project=project)
    assert done.exit_code == 1
    answered = [Path(json.loads(line)["video"]).name for line in done.stdout.splitlines()]
    assert list(dict.fromkeys(answered)) == ["a.mp4", "c.mp4"]
    assert "b.mp4: " in done.stderr
    assert "1 of 3 videos" in done.stderr


def test_names_that_cannot_be_used_are_named_and_the_others_answered(project: Path, tmp_path: Path) -> None:
    videos = project.parent / "videos" / "wave"
    shutil.copy(videos / "01.mp4", tmp_path / "a.mp4")
    for name in (b"caf\xe9.mp4", b"two\nlines.mp4"):
        shutil.copy(videos / "02.mp4", os.fsencode(tmp_path) + b"/" + name)
    (tmp_path / ".trash.mp4").write_bytes(b"x")
    done = invoke(str(tmp_path), "--streams", "hpj", "--json", project=project)
    assert done.exit_code == 1
    assert {Path(json.loads(line)["video"]).name for line in done.stdout.splitlines()} == {"a.mp4"}
    assert "skipped: 1 hidden" in done.stderr
    assert "caf\\udce9.mp4': its name is not UTF-8: rename it" in done.stderr
    assert "two\\nlines.mp4': its name holds a line break" in done.stderr
    assert "2 of 3 videos" in done.stderr


@pytest.mark.long
def test_workers_answer_as_one_process_does(project: Path, tmp_path: Path) -> None:
    videos = sorted((project.parent / "videos").rglob("*.mp4"))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    arguments = [*map(str, videos[:10]), str(tmp_path / "broken.mp4"), "--streams", "hpj"]
    one, two = (
        invoke(*arguments, "--save", str(tmp_path / f"by{n}"), "--workers", str(n), project=project) for n in (1, 2)
    )
    assert one.exit_code == two.exit_code == 1
    assert one.stdout.replace("by1", "by2") == two.stdout
    assert "broken.mp4: " in two.stderr
    assert "1 of 11 videos" in two.stderr
    assert len(list((tmp_path / "by2").rglob("*.mp4"))) == len(list((tmp_path / "by1").rglob("*.mp4"))) == 10


def test_few_files_are_not_worth_processes() -> None:
    assert default_workers(15, on_gpu=False) == 1
    assert default_workers(10_000, on_gpu=True) == 1
    assert default_workers(10_000, on_gpu=False) == min(os.cpu_count() or 1, 8)


def test_two_people_are_answered_together_and_each(project: Path) -> None:
    pushed = [str(project.parent / "videos" / "push" / f"{n:02d}.mp4") for n in (1, 2, 3)]
    done = invoke(*pushed, "--json", "--streams", "hpj", project=project)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    both = [row for row in rows if len(row["tracks"]) == 2]
    assert both
    for row in both:
        alone = [r for r in rows if r["video"] == row["video"] and len(r["tracks"]) == 1]
        assert [r["tracks"][0] for r in alone] == row["tracks"]
    quiet = invoke(*pushed, "--json", "--no-each", "--streams", "hpj", project=project)
    assert len(quiet.stdout.splitlines()) == 3


def test_live_drops_frames_instead_of_falling_behind(long_video: Path) -> None:
    threads = set(threading.enumerate())
    cutting = Cutting(0.6, 0.6, 0.5, max_fps=8)
    with LiveReader(str(long_video), cutting.window_s, cutting.max_fps) as reader:
        found = []
        for window in live_windows(reader, cutting):
            found.append(window)
            time.sleep(0.9)  # slower than the footage
        captured = reader.captured
    assert 2 <= len(found) <= 5
    assert found[1].dropped > 0
    ends = [w.captured_s for w in found]
    assert [w.first for w in found] == sorted(w.first for w in found)
    assert all(later > earlier for earlier, later in itertools.pairwise(ends))
    shown = {w.first + n for w in found for n in range(len(list(w.frames)))}
    assert sum(w.dropped for w in found) + len(shown) == captured <= 24
    assert set(threading.enumerate()) <= threads


def test_live_command_reports_latency(project: Path, long_video: Path) -> None:
    done = invoke(
        str(long_video), "--live", "--window", "1", "--streams", "hpj", "--json", "--seconds", "60", project=project
    )
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows
    assert all(row["latency_s"] > 0 and row["dropped_frames"] >= 0 for row in rows)
    assert "latency median" in done.stderr


@pytest.mark.parametrize("saved", [False, True])
def test_ctrl_c_ends_a_live_run_cleanly(
    project: Path, long_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: bool
) -> None:
    shown: list[Prediction] = []

    def interrupted(self: Output, prediction: Prediction) -> None:
        shown.append(prediction)
        if len(shown) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Output, "print", interrupted)
    more = ("--save", str(tmp_path / "live.mp4")) if saved else ()
    done = invoke(
        str(long_video), "--live", "--window", "0.5", "--fps", "8", "--streams", "hpj", *more, project=project
    )
    assert done.exit_code == 0, done.output
    assert "Traceback" not in done.output
    if saved:
        assert len(load_clip(tmp_path / "live.mp4")) == shown[0].seen.count


Damage = Callable[[Path], Any]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: (p / "artifacts/fuse/weights.json").write_text("{}"), "run `hpnet fuse` again"),
        (lambda p: (p / "artifacts/fuse/weights.json").unlink(), "run `dvc repro`, or `hpnet fuse`"),
        (lambda p: (p / "artifacts/train/hpj/model.safetensors").write_bytes(b"x" * 99), "hpj is broken"),
        (lambda p: (p / "artifacts/train/hpj/config.json").write_text('{"classes": []}'), "lacks 'features'"),
        (lambda p: swap(p / "params.yaml", "region: 1", "region: 3"), "pool.region is 3, the networks were trained"),
        (lambda p: write_json(p / "artifacts/train/hpj/config.json",
                              read_json(p / "artifacts/train/hpj/config.json") | {"frames": 99}), "pool.frames is 8"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_words(project: Path, tmp_path: Path, damage: Damage, message: str) -> None:
    copy = tmp_path / "p"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns(".work", "estimate", "pool", "detect"))
    damage(copy)
    done = invoke(str(project.parent / "videos/wave/01.mp4"), "--streams", "hpj", project=copy)
    assert isinstance(done.exception, ValueError | OSError), done.output
    assert message in str(done.exception), done.exception


def swap(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.mp4",), "nowhere.mp4 is missing"),
        (("rtsp://x/y", "0"), "only one live source"),
        (("rtsp://x/y", "--no-live"), "has no end"),
        (("97", "--streams", "hpj", "--seconds", "1"), "camera 97, /dev/video97: No such file"),
        (("rtsp://127.0.0.1:9/x", "--streams", "hpj"), "Connection refused; expected a running stream"),
        ((".", "--streams", ","), "names no stream"),
        ((".", "--streams", "nope"), "holds no video"),
    ],
)
def test_sources_that_are_not_there(project: Path, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    with inside(tmp_path):
        done = CliRunner().invoke(cli, ["predict", *arguments, "--project", str(project), "--device", "cpu"])
    assert message in done.output + str(done.exception)
    assert done.exit_code != 0


def test_all_streams_of_the_project_are_known(recogniser: Recogniser) -> None:
    weights = recogniser.project.fusion["weights"]
    assert set(weights) == set(STREAMS)
    assert set(recogniser.project.models) == {s for s, w in weights.items() if w}
