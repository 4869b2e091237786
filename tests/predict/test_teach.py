"""Teaching a trained project an action by a few clips, and what it refuses; the command and Python alike."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

import hpnet
from hpnet.artifacts.labelling import LABELLING, model_labelling
from hpnet.artifacts.taught import FILE, Taught
from hpnet.core.video import VideoError, load_clip, write_video
from hpnet.events.labelling import Timeline
from hpnet.mannequin.actions import ACTIONS
from hpnet.mannequin.benchmark import ClipSpec, write_clip
from hpnet.predict import teaching
from hpnet.predict.following import parts_of
from hpnet.predict.head import Check
from hpnet.predict.windows import every_window
from hpnet.stages.cli import cli
from tests.trained import SIZES, inside, linked_project, shared_project

pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore:.*does not suit these people:UserWarning")]
STREAMS = ["hpj", "hpb"]
LOSS = 0.3
"""The networks of this project are trained for seconds, and tell little."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``drink`` by six people, one of them for long, two people who shake hands, and a room without anybody."""
    folder = tmp_path_factory.mktemp("clips")
    for action, subjects in (("drink", range(1, 7)), ("handshake", range(1, 4))):
        for subject in subjects:
            spec = ClipSpec(1, 2, subject, 1, list(ACTIONS).index(action))
            write_clip(spec, SIZES, folder)
            (folder / "videos" / f"{spec.clip_id}.mp4").rename(folder / f"{action}{subject}.mp4")
    drinking = load_clip(folder / "drink6.mp4")
    write_video(folder / "long.mp4", np.concatenate([drinking] * 3), fps=8)
    write_video(folder / "nobody.mp4", np.zeros_like(drinking), fps=8)
    return folder


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, clips: Path) -> Iterator[Path]:
    """A trained project to which something can be taught, beside the clips."""
    folder = linked_project(shared_project(tmp_path_factory), tmp_path / "actions")
    with inside(clips):
        yield folder


def load(project: Path) -> hpnet.Model:
    return hpnet.load(project, device="cpu", streams=STREAMS)


def command(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli, list(arguments))
    assert done.exit_code == code, done.output
    return done.output if code == 0 else f"{done.output}{done.exception}"


def drinks(count: int, first: int = 1) -> list[str]:
    return [f"drink{n}.mp4" for n in range(first, first + count)]


def test_a_taught_action_is_among_the_answers_until_it_is_forgotten(project: Path) -> None:
    model = load(project)
    trained = model.names
    before = model(drinks(1, 6)).windows[0].answers[0].probabilities
    taught = model.teach("drink", drinks(5), most_loss=LOSS)
    assert (taught.name, taught.left_out, len(taught.clips)) == ("drink", 5, 5)
    assert taught.recognised >= 1
    assert taught.taken <= LOSS
    assert taught.nearest in trained
    assert model.names == (*trained, "drink")
    found = model(drinks(1, 6))
    after = found.windows[0].answers[0].probabilities
    assert after.shape == (len(trained) + 1,)
    assert after.sum() == pytest.approx(1)
    np.testing.assert_allclose(after[:-1] / after[:-1].sum(), before, rtol=1e-6)
    assert "p(drink)" in found.to_pandas().columns
    printed = command("predict", "drink6.mp4", "--json", "--project", str(project), "--streams", "hpj,hpb",
                      "--top", "6", "--device", "cpu")  # fmt: skip
    assert {a["name"] for a in json.loads(printed.splitlines()[0])["actions"]} == set(model.names)
    assert load(project)(drinks(1, 6)).to_json() == found.to_json()
    model.forget("drink")
    assert model.names == trained
    assert not (project / "taught").exists()
    np.testing.assert_array_equal(model(drinks(1, 6)).windows[0].answers[0].probabilities, before)


def test_a_taught_action_is_among_the_events(project: Path) -> None:
    model = load(project)
    finder = model.finder(model.cutting().window_s)
    (line,) = _timelines(model, "long.mp4")
    assert line.taught is None
    model.teach("drink", drinks(5), most_loss=LOSS)
    assert model.finder(model.cutting().window_s) is not finder
    (line,) = _timelines(model, "drink6.mp4")
    assert line.taught is not None
    window = model(drinks(1, 6)).windows[0].answers[0].probabilities[-1]
    assert line.taught.shape == (len(line), 1)
    assert line.taught[:, 0] == pytest.approx(window, abs=0.02)
    rule = model.finder(model.cutting().window_s).rule.knowing(["drink"])
    sure = replace(line, taught=np.full((len(line), 1), 0.99))
    assert {event.action for event in rule.events([sure])} == {"drink"}
    assert model("long.mp4", events=True).names[-1] == "drink"
    model.forget("drink")
    assert _timelines(model, "long.mp4")[0].taught is None


def _timelines(model: hpnet.Model, video: str) -> list[Timeline]:
    cutting = model.cutting()
    following = model.finder(cutting.window_s).follow(every_window([Path(video)], parts_of(cutting), refuse), refuse)
    list(following)
    return following.timelines


def refuse(video: str, reason: str) -> None:
    raise AssertionError(f"{video}: {reason}")


def test_two_taught_actions_and_clips_of_several_windows_and_people(project: Path) -> None:
    model = load(project)
    model.teach("drink", [*drinks(3), "long.mp4"], most_loss=LOSS)
    shaken = model.teach("shake hands", ["handshake1.mp4", "handshake2.mp4"], most_loss=LOSS)
    assert [len(clip.windows) for clip in shaken.clips] == [1, 1]
    assert shaken.clips[0].windows[0].features.shape[0] == 2
    kept = Taught.load(project / "taught")
    assert kept is not None
    assert [len(clip.windows) > 1 for clip in kept.actions[0].clips] == [False, False, False, True]
    answers = model("handshake3.mp4").windows[0].answers
    assert {answer.names[-2:] for answer in answers} == {("drink", "shake hands")}
    np.testing.assert_allclose([answer.probabilities.sum() for answer in answers], 1)
    listed = command("teach", "--list", "--project", str(project)).splitlines()
    assert [line.split(":")[0] for line in listed] == ["drink", "shake hands"]
    assert "4 clips (" in listed[0]
    model.forget("drink")
    assert model.names[-1] == "shake hands"
    assert model.project.names == load(project).names


def test_the_command_teaches_lists_and_forgets(project: Path) -> None:
    where = ("--project", str(project), "--device", "cpu")
    said = command("teach", "drink", *drinks(1), *where)
    assert "drink: 1 clip; how well it is recognised is not known" in said
    assert said == command("teach", "--list", *where)
    assert json.loads((project / "taught" / "card.json").read_text())["actions"][0]["name"] == "drink"
    assert "'drimk' is no taught action" in command("teach", "--forget", "drimk", *where, code=1)
    assert "forgot 'drink'" in command("teach", "--forget", "drink", *where)
    assert "no action is taught" in command("teach", "--list", *where)
    for wrong in ((), ("drink",), ("drink", "drink1.mp4", "--list"), ("--list", "--again")):
        command("teach", *wrong, *where, code=2)


def test_what_cannot_be_taught(project: Path) -> None:
    model = load(project)
    model.teach("drink", drinks(1))
    before = (project / "taught" / FILE).read_bytes()
    for name, clips, said in (
        ("wave", drinks(1, 2), "'wave' is a trained action"),
        ("drink", drinks(1, 2), "'drink' is taught already: run `hpnet teach --forget 'drink'` first"),
        ("unknown", drinks(1, 2), "has a meaning of its own"),
        ("two\nlines", drinks(1, 2), "is no name: expected text"),
        ("sip", [], "no clip was given"),
        ("sip", ["nowhere.mp4"], "nowhere.mp4 is missing"),
        ("sip", ["drink2.mp4", "drink2.mp4"], "drink2.mp4 is given already"),
        ("sip", drinks(2), "drink1.mp4 is an example of 'drink' already"),
        ("sip", ["drink2.mp4", "nobody.mp4"], "nobody was found in nobody.mp4: leave it out"),
    ):
        with pytest.raises((ValueError, OSError), match=said.replace("(", r"\(")):
            model.teach(name, clips)
    Path("half.mp4").write_bytes(Path("drink2.mp4").read_bytes()[:300])
    with pytest.raises(VideoError, match=r"half\.mp4: "):
        model.teach("sip", ["half.mp4"])
    assert (project / "taught" / FILE).read_bytes() == before
    assert model.names[-1] == "drink"


def test_an_action_that_is_like_a_trained_one_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = teaching.fit_head
    monkeypatch.setattr(teaching, "fit_head", lambda *a: (fitted(*a)[0], [Check(0, 3, 0.01, 4)]))
    model = load(project)
    with pytest.raises(ValueError, match="'drink' cannot be told from trained actions: none of its 3 clips"):
        model.teach("drink", drinks(3))
    assert not (project / "taught").exists()
    assert "drink" not in model.names


def test_the_command_teaches_again(project: Path) -> None:
    """After another training, without the clips, unless the pose network is another one too."""
    where = ("--project", str(project), "--device", "cpu")
    command("teach", "drink", *drinks(2), "--max-loss", "30", *where)
    shared = (project / "artifacts").resolve()
    (project / "artifacts").unlink()
    shutil.copytree(shared, project / "artifacts")
    fused = json.loads((project / "artifacts" / "fuse" / "weights.json").read_text())
    weights = fused[fused["chosen"]]["weights"]
    used = next(stream for stream, weight in weights.items() if weight and stream != "multimodal")
    retrain(project / "artifacts" / "train" / used / "model.safetensors")
    said = command("predict", "drink3.mp4", *where, code=1)
    assert "taught to other networks than these" in said
    assert "`hpnet teach --again`" in said
    assert command("teach", "--again", *where).startswith("drink: 2 clips; ")
    assert hpnet.load(project, device="cpu").names[-1] == "drink"
    estimated = project / "artifacts" / "estimate" / "meta.json"
    meta = json.loads(estimated.read_text())
    estimated.write_text(json.dumps({**meta, "weights_digest": "another"}))
    said = command("teach", "--again", *where, code=1)
    assert "the pose network or the features are others" in said
    assert "drink1.mp4 drink2.mp4" in said
    assert "forgot 'drink'" in command("teach", "--forget", "drink", *where)


def test_other_streams_than_it_was_taught_to_are_refused(project: Path) -> None:
    load(project).teach("drink", drinks(1))
    with pytest.raises(ValueError, match="need the stream 'hpb': use all of hpj, hpb"):
        hpnet.load(project, device="cpu", streams=["hpj"])


def retrain(file: Path) -> None:
    """The same network from slightly other weights."""
    made = model_labelling(file)
    assert made is not None
    tensors = load_file(file)
    name = next(n for n, values in tensors.items() if n.endswith("weight") and values.ndim > 1)
    tensors[name] = tensors[name] * np.float32(1.01)
    save_file(tensors, file, {LABELLING: made.to_text()})


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_damaged_files_are_refused(project: Path, damage: str) -> None:
    load(project).teach("drink", drinks(1))
    file = project / "taught" / FILE
    content = file.read_bytes()
    file.write_bytes({"cut": content[: len(content) // 2], "text": b"{}" * 50, "empty": b""}[damage])
    with pytest.raises(ValueError, match=r"taught.safetensors is not what `hpnet teach` writes.*\ndelete it"):
        load(project)
