"""hpnet.load: the answers of the command line in Python; examples of docstrings, the page and the notebook."""

from __future__ import annotations

import doctest
import json
import re
import shlex
import shutil
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import hpnet
from hpnet.artifacts.clips import Clips
from hpnet.artifacts.trained_features import TrainedFeatures
from hpnet.core.video import VideoError, load_clip, write_video
from hpnet.mannequin.actions import ACTIONS
from hpnet.mannequin.benchmark import ClipSpec, write_clip
from hpnet.predict import model as model_module
from hpnet.predict import result as result_module
from hpnet.stages.cli import cli
from tests.documents import ROOT, fences
from tests.trained import SIZES, inside, linked_project, shared_project

pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore:.*does not suit these people:UserWarning")]
STREAMS = ["hpj", "hpb"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_project(tmp_path_factory)


@pytest.fixture(scope="module")
def folder(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples name: a trained project, a clip, and a folder with another; and a longer video."""
    made = tmp_path_factory.mktemp("python")
    videos = project.parent / "videos"
    linked_project(project, made / "actions")
    names = list(ACTIONS)
    for subject in range(1, 6):
        spec = ClipSpec(1, 2, subject, 1, names.index("drink"))
        write_clip(spec, SIZES, made)
        (made / "videos" / f"{spec.clip_id}.mp4").rename(made / f"drink{subject}.mp4")
    shutil.copy(videos / "wave" / "01.mp4", made / "clip.mp4")
    (made / "folder").mkdir()
    shutil.copy(videos / "wave" / "02.mp4", made / "folder" / "b.mp4")
    clips = [load_clip(videos / action / "03.mp4") for action in ("wave", "clap", "push")]
    write_video(made / "long.mp4", np.concatenate(clips), fps=8)
    return made


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[hpnet.Model]:
    with inside(folder):
        yield hpnet.load("actions", device="cpu", streams=STREAMS)


@pytest.fixture(autouse=True)
def there(folder: Path) -> Iterator[None]:
    with inside(folder):
        yield


def printed(*arguments: str) -> str:
    """What `hpnet predict` prints."""
    more = ["--project", "actions", "--device", "cpu", "--streams", ",".join(STREAMS), "--workers", "1"]
    done = CliRunner().invoke(cli, ["predict", *arguments, *more])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_command_line_prints_the_json_of_python(model: hpnet.Model) -> None:
    everything = ["long.mp4", "folder", "clip.mp4"]
    found = model(everything)
    assert found.to_json() == printed(*everything, "--json")
    assert len({window.video for window in found.windows}) == 3
    assert any(len(answer.tracks) > 1 for window in found.windows for answer in window.answers)
    cut = model("long.mp4", window_s=0.5, overlap=0.25, max_fps=4)
    assert cut.to_json(top=2) == printed("long.mp4", "--json", "--window=0.5", "--overlap=0.25", "--fps=4", "--top=2")
    assert f"{cut}\n" == printed("long.mp4", "--window=0.5", "--overlap=0.25", "--fps=4")


def test_a_result_per_window_says_what_the_whole_result_says(model: hpnet.Model) -> None:
    whole = model("long.mp4")
    parts = list(model(Path("long.mp4"), stream=True))
    assert len(parts) == len(whole.windows) > 2
    assert "".join(part.to_json() for part in parts) == whole.to_json()
    np.testing.assert_array_equal(parts[0].plot(), whole.plot(sum(parts[0].windows[0].frames) // 2))
    assert parts[1].windows[0].frames == whole.windows[1].frames


@pytest.mark.parametrize("video", ["clip.mp4", "long.mp4"])
def test_frames_in_memory_are_answered_as_their_file_is(model: hpnet.Model, video: str) -> None:
    frames = load_clip(video)
    found = model(frames, fps=8)
    assert found.to_json() == model(video).to_json().replace(f'"{video}"', '"frames"')
    assert found.save("of-frames.mp4") == [Path("of-frames.mp4")]
    assert load_clip("of-frames.mp4").shape == frames.shape


def test_what_is_saved_is_what_the_command_line_saves(model: hpnet.Model) -> None:
    found = model("long.mp4")
    found.save("python.mp4")
    printed("long.mp4", "--save", "command.mp4")
    ours, theirs = load_clip("python.mp4"), load_clip("command.mp4")
    np.testing.assert_array_equal(ours, theirs)
    assert np.abs(found.plot(10).astype(int) - ours[10]).mean() < 5  # coded, but the same picture
    assert (np.abs(found.plot(10).astype(int) - load_clip("long.mp4")[10]) > 80).any()
    both = model(["clip.mp4", "folder/b.mp4"])
    assert both.save("seen") == [Path("seen/clip.mp4"), Path("seen/folder/b.mp4")]
    for target, said in (("x.mp4", "is one file for 2 videos"), ("x.avi", "only mp4 can be written"),
                         (".", "would overwrite the video")):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            both.save(target)
    with pytest.raises(ValueError, match=r"frame 99 is in no window of long.mp4: the last is 23"):
        found.plot(99)


def test_people_are_joined_over_windows(model: hpnet.Model) -> None:
    found = model("long.mp4")
    assert len({p.track for p in found.people}) == len(found.people) > 0
    for person in found.people:
        count, joints = len(person.frames), 17
        assert (np.diff(person.frames) > 0).all()
        assert person.boxes_xyxy_px.shape == (count, 4)
        assert person.keypoints_px.shape == (count, joints, 2)
        assert person.keypoint_scores.shape == (count, joints)
        np.testing.assert_allclose(person.times_s, person.frames / 8, atol=1e-3)
        known = np.isfinite(person.keypoints_px).all(2)
        left, top, right, bottom = np.moveaxis(person.boxes_xyxy_px[:, None], 2, 0)
        x, y = person.keypoints_px[..., 0], person.keypoints_px[..., 1]
        inside_box = (x > left - 15) & (x < right + 15) & (y > top - 15) & (y < bottom + 15)
        assert inside_box[known].mean() > 0.9  # joints are in pixels of the video, as boxes are
    seen = {(p.track, f) for w in found.windows for p in w.people for f in p.frames.tolist()}
    assert {(p.track, f) for p in found.people for f in p.frames.tolist()} == seen


def test_a_table_has_the_answers_of_the_json(model: hpnet.Model) -> None:
    found = model("long.mp4")
    table, rows = found.to_pandas(), [json.loads(line) for line in found.to_json(top=1).splitlines()]
    assert table.action.tolist() == [row["actions"][0]["name"] for row in rows]
    assert [list(tracks) for tracks in table.tracks] == [row["tracks"] for row in rows]
    np.testing.assert_allclose(table.filter(like="p(").sum(axis=1), 1)


def test_every_answer_has_a_probability_of_unknown(model: hpnet.Model) -> None:
    found = model("long.mp4")
    answers = [answer for window in found.windows for answer in window.answers]
    rows = [json.loads(line) for line in found.to_json().splitlines()]
    assert [row["unknown"] for row in rows] == [round(answer.unknown or 0, 4) for answer in answers]
    assert all(0 < row["unknown"] < 1 for row in rows)
    np.testing.assert_allclose(found.to_pandas().unknown, [answer.unknown for answer in answers])


def test_unknown_is_said_first_where_it_is_more_likely_than_all_actions() -> None:
    doubted = hpnet.GroupAnswer((0,), ("wave", "clap"), np.array([0.75, 0.25]), {}, 0.6)
    sure = hpnet.GroupAnswer((0,), ("wave", "clap"), np.array([0.75, 0.25]), {}, 0.5)
    old = hpnet.GroupAnswer((0,), ("wave", "clap"), np.array([0.75, 0.25]), {})
    lines = [
        next(hpnet.WindowResult("a.mp4", 0, 0.0, 1.0, (0, 7), (), (answer,)).table_lines()).split("person 0")[1].strip()
        for answer in (doubted, sure, old)
    ]
    assert lines == ["unknown 60.0%, else wave 75.0%, clap 25.0%", *["wave 75.0%, clap 25.0%"] * 2]
    assert [answer.action for answer in (doubted, sure, old)] == ["wave"] * 3
    assert [answer.is_unknown for answer in (doubted, sure, old)] == [True, False, False]


@pytest.fixture
def own_fusion(folder: Path, tmp_path: Path) -> Path:
    """The project with a copy of what it fused, to change."""
    for name in ("params.yaml", "dvc.yaml", "code"):
        (tmp_path / name).symlink_to(folder / "actions" / name)
    (tmp_path / "artifacts").mkdir()
    for stage in (folder / "actions" / "artifacts").iterdir():
        if stage.name != "fuse":
            (tmp_path / "artifacts" / stage.name).symlink_to(stage)
    shutil.copytree(folder / "actions" / "artifacts" / "fuse", tmp_path / "artifacts" / "fuse")
    return tmp_path


def test_a_project_of_an_older_version_answers_without_it_and_says_so(own_fusion: Path) -> None:
    (own_fusion / "artifacts" / "fuse" / "unknown.json").unlink()
    more = ("--project", str(own_fusion), "--device=cpu", "--streams=hpj", "--json")
    done = CliRunner().invoke(cli, ["predict", "clip.mp4", *more], catch_exceptions=False)
    assert "unknown.json is missing: run `hpnet fuse` for it" in done.stderr
    assert "unknown" not in json.loads(done.stdout)
    found = hpnet.load(own_fusion, device="cpu", streams=["hpj"])("clip.mp4")
    assert found.windows[0].answers[0].unknown is None
    assert found.to_pandas().unknown.isna().all()


def test_an_action_called_background_is_no_answer(own_fusion: Path) -> None:
    """Its logits stay; its share of the probabilities is that of unknown."""
    file = own_fusion / "artifacts" / "fuse" / "unknown.json"
    plain = hpnet.load(own_fusion, device="cpu", streams=["hpj"])("clip.mp4").windows[0].answers[0]
    stored = json.loads(file.read_text())
    refusals = [{**each, "score": "energy", "likeness": None} for each in stored["refusals"]]  # likeness is of four
    file.write_text(json.dumps({**stored, "background": 1, "refusals": refusals}))
    model = hpnet.load(own_fusion, device="cpu", streams=["hpj"])
    answer = model("clip.mp4").windows[0].answers[0]
    assert model.names == answer.names == tuple(name for k, name in enumerate(plain.names) if k != 1)
    rest = np.delete(plain.probabilities, 1)
    np.testing.assert_allclose(answer.probabilities, rest / rest.sum())
    np.testing.assert_array_equal(answer.logits["hpj"], plain.logits["hpj"])


def test_unknown_of_other_scores_is_refused(own_fusion: Path) -> None:
    file = own_fusion / "artifacts" / "fuse" / "unknown.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "labellings": {"hpj": "other"}}))
    with pytest.raises(ValueError, match=r"unknown\.json is not of the weights beside it: run `hpnet fuse` again"):
        hpnet.load(own_fusion, device="cpu", streams=["hpj"])


@dataclass
class Detections:
    """Stands in for supervision's, with its arguments and its checks of lengths."""

    xyxy: np.ndarray
    mask: Any = None
    confidence: np.ndarray | None = None
    class_id: np.ndarray | None = None
    tracker_id: np.ndarray | None = None
    data: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.xyxy)
        assert self.xyxy.shape == (count, 4)
        for array in (self.confidence, self.class_id, self.tracker_id, *self.data.values()):
            assert array is not None
            assert array.shape == (count,)


def test_boxes_for_supervision(model: hpnet.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    found = model("long.mp4")
    supervision = ModuleType("supervision")
    supervision.Detections = Detections  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "supervision", supervision)
    everything, one, none = (found.to_supervision(frame) for frame in (None, 20, 99))
    boxes = {(p.track, f): box for p in found.people for f, box in zip(p.frames.tolist(), p.boxes_xyxy_px, strict=True)}
    assert len(everything.xyxy) == len(boxes)
    assert (np.diff(everything.data["frame"]) >= 0).all()
    for n, key in enumerate(zip(everything.tracker_id.tolist(), everything.data["frame"].tolist(), strict=True)):
        np.testing.assert_array_equal(everything.xyxy[n], boxes[key])
        assert everything.data["class_name"][n] == found.names[everything.class_id[n]]
    assert set(one.data["frame"]) == {20}
    assert len(none.xyxy) == 0
    own = {a.tracks[0]: a for w in found.windows if w.frames[0] <= 20 for a in w.answers if len(a.tracks) == 1
           and 20 in next(p for p in w.people if p.track == a.tracks[0]).frames}  # fmt: skip
    assert set(one.tracker_id.tolist()) == set(own)


def test_without_supervision_two_lines_say_what_to_do(model: hpnet.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ModuleNotFoundError, match="pip install supervision") as caught:
        model("clip.mp4").to_supervision()
    assert len(str(caught.value).splitlines()) == 2


def test_embeddings_are_what_the_trained_classifiers_read(model: hpnet.Model, project: Path) -> None:
    table = Clips.load(project / "artifacts" / "data").usable()
    table = table[(table.split == "test") & (table.label != "push")].head(4)
    count = 0
    for clip_id, path in zip(table.clip_id, table.path, strict=True):
        with inside(project):
            found = model.embed(Path(path).absolute())
        if len(found) != 1:
            continue  # what was stored is of all people together
        for stream in STREAMS:
            stored = TrainedFeatures.load(project / "artifacts" / "train" / stream / "trained_features.parquet")
            np.testing.assert_allclose(found[0].trained[stream], stored.of([clip_id])[0], atol=5e-3)
        assert found[0].pooled.ndim == 3
        count += 1
    assert count >= 2
    several = model.embed("long.mp4")
    assert [(e.window, e.track) for e in several] == [
        (w.number, p.track) for w in model("long.mp4").windows for p in w.people
    ]


def test_one_video_that_fails_is_an_error_and_one_of_several_is_named(model: hpnet.Model, tmp_path: Path) -> None:
    shutil.copy("clip.mp4", tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes(Path("clip.mp4").read_bytes()[:300])
    (tmp_path / "note.txt").write_text("x")
    with pytest.raises(VideoError, match=r"b\.mp4: "):
        model(tmp_path / "b.mp4")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = model(tmp_path)
    assert [Path(window.video).name for window in found.windows] == ["a.mp4"]
    assert [Path(video).name for video in found.failed] == ["b.mp4"]
    told = "\n".join(str(warning.message) for warning in said)
    assert "b.mp4: " in told
    assert "skipped: 1 not a video" in told
    (tmp_path / "a.mp4").unlink()
    with pytest.warns(UserWarning, match="b.mp4"), pytest.raises(VideoError, match="no video could be used: .*b.mp4"):
        model(tmp_path)


ZEROS = np.zeros((4, 48, 64, 3), np.uint8)


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("nowhere.mp4", {}, "nowhere.mp4 is missing: expected a video file"),
        ([], {}, r"\[\] is no source: expected a video file, a folder"),
        (3.5, {}, "3.5 is no source"),
        (None, {}, "None is no source"),
        (b"clip.mp4", {}, "b'clip.mp4' is no source"),
        ("clip.mp4", {"max_fps": 0}, "rate 0: expected"),
        ("clip.mp4", {"window_s": 0}, "window 0 s"),
        (ZEROS, {}, "has no times: give fps"),
        (ZEROS, {"fps": 0}, "fps is 0: expected"),
        (ZEROS, {"fps": 8, "live": True}, "not live"),
        (ZEROS.astype(np.float32), {"fps": 8}, r"frames are float32 \(4, 48, 64, 3\): expected uint8"),
        (ZEROS[0], {"fps": 8}, "expected uint8 RGB"),
        (ZEROS[:0], {"fps": 8}, "with a frame or more"),
        ("clip.mp4", {"fps": 8}, "fps is for an array"),
        ("clip.mp4", {"seconds": 3}, "seconds ends a live source"),
        ("clip.mp4", {"overlap": 1}, "overlap 1"),
        (0, {}, "0 has no end: use stream=True, or give seconds"),
        (0, {"live": False}, "0 has no end: leave out live=False"),
        (["clip.mp4", "rtsp://x/y"], {"stream": True}, "only one live source"),
        (97, {"seconds": 1}, "camera 97, /dev/video97: No such file"),
    ],
)
def test_sources_that_cannot_be_used(model: hpnet.Model, source: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises((ValueError, OSError), match=said):
        model(source, **options)


def test_options_of_load() -> None:
    assert hpnet.load("actions", device="cpu", streams="hpj,hpb").streams == ("hpj", "hpb")
    with pytest.raises(ValueError, match="people is 0: expected one or more"):
        hpnet.load("actions", device="cpu", people=0)
    with pytest.raises(ValueError, match="detect_every is 0: expected one or more frames"):
        hpnet.load("actions", device="cpu", detect_every=0)


def test_a_live_source_gives_results_as_they_come(model: hpnet.Model) -> None:
    parts = []
    for part in model("long.mp4", live=True, stream=True, window_s=1):
        assert part.plot().shape == (120, 160, 3)  # the frames of a window stay with its result
        parts.append(part)
    assert parts
    assert all(part.windows[0].latency_s is not None for part in parts)
    at_the_end = model("long.mp4", live=True, window_s=1)
    with pytest.raises(ValueError, match="the frames of long.mp4 are gone: use stream=True"):
        at_the_end.plot()


# --- examples ---------------------------------------------------------------------------------------------------------


def test_the_examples_of_the_docstrings_run(model: hpnet.Model) -> None:
    answered = model("clip.mp4")
    names = {"hpnet": hpnet, "model": model, "result": answered, "answer": answered.windows[0].answers[0]}
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    said: list[str] = []
    for module in (hpnet, model_module, result_module):
        for test in finder.find(module, extraglobs=dict(names)):
            runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)
    assert runner.tries > 20


def shape_of(text: str) -> list[str]:
    """Printed lines with numbers and names of actions left open, because another training gives others."""
    names = "|".join(sorted(("stand up", "wave", "push", "clap", "jump"), key=len, reverse=True))
    rows = [re.sub(r"\s+", " ", re.sub(rf"\b({names})\b", "ACTION", line)).strip() for line in text.splitlines()]
    return [re.sub(r"((?<!\S)-)?\d+(\.\d+)?", "#", row) for row in rows]


def test_the_page_shows_what_python_prints(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = list(fences(ROOT / "docs" / "python.md"))
    names: dict[str, Any] = {}
    shown = 0
    for place, (kind, code) in enumerate(blocks):
        if kind != "python":
            continue
        exec(compile(code, f"docs/python.md, block {place}", "exec"), names)
        found = capsys.readouterr().out
        if place + 1 < len(blocks) and blocks[place + 1][0] == "text":
            assert shape_of(found) == shape_of(blocks[place + 1][1])
            shown += 1
    assert shown >= 3


def test_the_lines_of_the_readme_run(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = (text for kind, text in fences(ROOT / "README.md") if kind == "python")
    for name in ("params.yaml", "artifacts"):
        (tmp_path / name).symlink_to(folder / "actions" / name)
    shutil.copy(folder / "clip.mp4", tmp_path / "new.mp4")
    with inside(tmp_path):
        exec(compile(code, "README.md", "exec"), {})
    assert shape_of(capsys.readouterr().out) == ["new.mp# #-# s person # ACTION #%, ACTION #%, ACTION #%"]


def test_the_lines_of_the_tutorial_run(
    project: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Section 4, as a new user types it, but the camera: answers, events, Python, an action taught and forgotten."""
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    section = page.split("## 4. Use it")[1].split("### Poses instead of videos")[0]
    home = linked_project(project, tmp_path / "actions")
    for name in ("clip.mp4", "long.mp4", "folder"):
        (home / name).symlink_to(folder / name)
    (home / "door").mkdir()
    for number in range(1, 6):
        (home / "door" / f"{number}.mp4").symlink_to(folder / f"drink{number}.mp4")
    said: dict[str, str] = {}
    with inside(home):
        for kind, text in re.findall(r"```(console|python)\n(.*?)```", section, re.DOTALL):
            if kind == "python":
                exec(compile(text, "docs/tutorial.md", "exec"), {})
                continue
            for line in text.strip().splitlines():
                _, *words = shlex.split(line.removeprefix("$ "))
                if words == ["predict", "0"]:
                    continue
                least = ["--max-loss", "30"] if words[0] == "teach" and words[1][:2] != "--" else []  # small networks
                more = ["--device", "cpu"] if words[0] == "predict" or least else []
                done = CliRunner().invoke(cli, [*words, *more, *least], catch_exceptions=False)
                assert done.exit_code == 0, done.output
                said[line] = done.stdout
        assert {name.name for name in home.glob("*.mp4")} == {"clip.mp4", "long.mp4", "annotated.mp4", "seen.mp4"}
        assert not (home / "taught").exists()
    assert "open the door" in said["$ hpnet teach --list"]
    assert json.loads(said["$ hpnet predict folder --json"])["unknown"] is not None
    assert shape_of(capsys.readouterr().out)[-1] == "(#,) ACTION #%, unknown #%"
    assert len(said) == 8


def test_the_notebook_runs() -> None:
    notebook = json.loads((ROOT / "docs" / "python.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["metadata"]["kernelspec"]["language"]) == (4, "python")
    names: dict[str, Any] = {}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells):
        assert (cell["outputs"], cell["execution_count"]) == ([], None)  # outputs of another machine say nothing
        exec(compile("".join(cell["source"]), f"docs/python.ipynb, cell {number}", "exec"), names)
    assert len(cells) >= 5
