"""Events of a trained project: the command line, Python, saved videos, and what is refused."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import hpnet
from hpnet.core.video import load_clip, write_video
from hpnet.events.labelling import Threshold
from hpnet.predict.drawing import Course, drawn_events
from hpnet.predict.finding import EventFinder, VideoEvent
from hpnet.predict.following import Following, parts_of
from hpnet.predict.windows import every_window
from hpnet.stages.cli import cli
from tests.trained import inside, shared_project

pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore:.*does not suit these people:UserWarning")]
STREAMS = ["hpj", "hpb"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained project, a clip, three clips of one person joined, and two seconds without anybody."""
    project = shared_project(tmp_path_factory)
    made = tmp_path_factory.mktemp("events")
    videos = project.parent / "videos"
    (made / "actions").symlink_to(project)
    shutil.copy(videos / "wave" / "01.mp4", made / "clip.mp4")
    clips = [load_clip(videos / action / "03.mp4") for action in ("wave", "clap", "jump")]
    write_video(made / "long.mp4", np.concatenate(clips), fps=8)
    write_video(made / "empty.mp4", np.full((16, 120, 160, 3), 90, np.uint8), fps=8)
    (made / "broken.mp4").write_bytes((made / "long.mp4").read_bytes()[:2000])
    return made


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[hpnet.Model]:
    with inside(folder):
        found = hpnet.load("actions", device="cpu", streams=STREAMS)
        finder = found.finder(found.cutting().window_s)  # the small networks are sure of nothing
        finder.rule = replace(finder.rule, decoder=replace(finder.rule.decoder, entry=0.0), labeller=Threshold(0.2))
        yield found


@pytest.fixture(autouse=True)
def there(folder: Path) -> Iterator[None]:
    with inside(folder):
        yield


def invoke(*arguments: str) -> Result:
    more = ["--project", "actions", "--device", "cpu", "--streams", ",".join(STREAMS), "--workers", "1"]
    return CliRunner().invoke(cli, ["predict", "--events", *arguments, *more])


def refuse(video: str, reason: str) -> None:
    raise AssertionError(f"{video}: {reason}")


def follow(model: hpnet.Model, video: str) -> Following:
    cutting = model.cutting()
    finder = model.finder(cutting.window_s)
    following = finder.follow(every_window([Path(video)], parts_of(cutting), refuse), refuse)
    list(following)
    return following


def test_a_clip_of_one_window_gets_the_answer_of_that_window(model: hpnet.Model) -> None:
    """Features that were pooled once and cut into windows are those that a window of its own has."""
    (answer,) = model("clip.mp4").windows[0].answers
    (line,) = follow(model, "clip.mp4").timelines
    assert np.exp(line.log_probabilities) == pytest.approx(np.tile(answer.probabilities, (8, 1)), abs=0.01)


def test_the_command_line_prints_the_events_of_python() -> None:
    plain = hpnet.load("actions", device="cpu", streams=STREAMS)
    found = plain(["long.mp4", "empty.mp4"], events=True)
    done = invoke("long.mp4", "empty.mp4", "--json")
    assert done.exit_code == 0, done.output
    assert found.to_json() == done.stdout
    assert f"{found}\n" == invoke("long.mp4", "empty.mp4").stdout
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "video": "empty.mp4", "person": None, "action": None, "start_s": None, "end_s": None, "probability": None,
    }  # fmt: skip


def test_events_are_a_table_with_people_and_joints_beside_it(model: hpnet.Model) -> None:
    found = model("long.mp4", events=True)
    assert found.events
    table = found.to_pandas()
    assert table.columns.tolist() == ["video", "person", "action", "start_s", "end_s", "probability"]
    assert len(table) == len(found.events)
    tracks = {person.track: person for person in found.people}
    for event in found.events:
        assert event.action in found.names
        assert 0 <= event.start_s < event.end_s <= 3.0
        assert 0 < event.probability <= 1
        times_s = tracks[event.person].times_s
        assert times_s[0] <= event.start_s
        assert event.end_s <= times_s[-1] + 1 / 8 + 1e-6
    for person in tracks:
        own = [event for event in found.events if event.person == person]
        assert all(a.end_s <= b.start_s for a, b in itertools.pairwise(own))
    assert all(not window.answers for window in found.windows)
    assert found.people[0].keypoints_px.shape[1:] == (17, 2)


def test_frames_in_memory_have_the_events_of_their_file(model: hpnet.Model) -> None:
    found = model(load_clip("long.mp4"), fps=8, events=True)
    assert found.to_json() == model("long.mp4", events=True).to_json().replace('"long.mp4"', '"frames"')


def test_a_saved_video_shows_events_and_their_course(model: hpnet.Model) -> None:
    found = model("long.mp4", events=True)
    assert found.save("python.mp4") == [Path("python.mp4")]
    assert len(load_clip("python.mp4")) == 24
    picture = found.plot(12)
    assert picture.shape == (120, 160, 3)
    assert (np.abs(picture.astype(int) - load_clip("long.mp4")[12])[-8:] > 40).any()
    done = invoke("long.mp4", "--save", "command.mp4")
    assert done.exit_code == 0, done.output
    assert "command.mp4" in done.stderr
    assert len(load_clip("command.mp4")) == 24


def test_the_course_marks_events_and_the_time(model: hpnet.Model) -> None:
    found = model("long.mp4", events=True)
    prediction = found._predictions[0]
    event = VideoEvent(1.0, 2.0, "wave", 0.9, 7, video="long.mp4")
    image = np.full((120, 160, 3), 200, np.uint8)
    drawn = drawn_events(prediction, 0, image, [], Course([event], 0.5, 4.0))
    row = drawn[-6].astype(int)  # the bar of the only person
    assert (row[45:75] == row[60]).all()
    assert (row[60] != row[100]).any()
    assert (row[19:20] == 255).all()
    assert Course([event], 1.5, 4.0).now(7) == event
    assert Course([event], 2.0, 4.0).now(7) is None
    np.testing.assert_array_equal(drawn_events(prediction, 0, image, [], Course([], 0.5, 4.0))[-6], image[-6])


@pytest.mark.parametrize(("arguments", "said"), [
    (["0"], "0 is live: --events are known at the end of a video"),
    (["long.mp4", "--live"], "long.mp4 is live: --events are known at the end of a video"),
])  # fmt: skip
def test_what_is_live_has_no_events(arguments: list[str], said: str) -> None:
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert said in done.output


def test_python_refuses_events_of_what_has_no_end(model: hpnet.Model) -> None:
    for wrong in ({"stream": True}, {"live": True}):
        with pytest.raises(ValueError, match="events are known at the end of a video"):
            model("long.mp4", events=True, **wrong)


def test_a_broken_video_fails_and_the_others_have_their_events(model: hpnet.Model) -> None:
    done = invoke("broken.mp4", "empty.mp4")
    assert done.exit_code == 1
    assert "broken.mp4: " in done.stderr
    assert done.stdout == "empty.mp4  no event was found\n"
    with pytest.raises(hpnet.predict.model.VideoError, match=r"broken\.mp4"):
        model("broken.mp4", events=True)


def test_a_stream_that_reads_whole_windows_finds_no_events() -> None:
    both = hpnet.load("actions", device="cpu", streams=["hpj", "multimodal"])
    assert list(EventFinder(both.recogniser, 1.0).project.models) == ["hpj"]
    alone = hpnet.load("actions", device="cpu", streams=["multimodal"])
    with pytest.raises(ValueError, match="the stream multimodal finds no events"):
        alone("clip.mp4", events=True)


def test_what_people_do_together_is_told_by_the_training_clips(model: hpnet.Model) -> None:
    """Of the five actions of the project one is done by two people."""
    assert [name for name, mutual in zip(model.names, model.project.mutual, strict=True) if mutual] == ["push"]
