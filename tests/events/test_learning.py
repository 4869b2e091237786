"""What is learnt from untrimmed videos, the baseline of sliding windows, and the step with fakes for networks."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpnet.artifacts.files import read_object
from hpnet.artifacts.found_events import FoundEvents
from hpnet.artifacts.takes import EVENT_COLUMNS, TAKE_COLUMNS, Takes
from hpnet.core.events import Event, actions_at
from hpnet.core.video import VideoError
from hpnet.events.decoding import Decoder
from hpnet.events.durations import Durations
from hpnet.events.finding import Rule, of_nobody, of_sliding_windows
from hpnet.events.labelling import Threshold, Timeline, Views
from hpnet.events.learning import Boxes, Example, Watched, folds_by_source, learn
from hpnet.events.params import EventsParams
from hpnet.events.step import Networks, run

CLASSES = ("clap", "wave")
STEP_S = 0.25
PARAMS = EventsParams(folds=2, bootstrap=20)


def plain(classes: tuple[str, ...] = CLASSES) -> Rule:
    decoder = Decoder(Durations((np.log(2.0),) * 2, (0.3,) * 2), STEP_S, 0.25, -1.0)
    return Rule(("clap", "wave"), 2.0, Threshold(0.9), decoder)


def truth(seed: int, person: int | None = 0) -> list[Event]:
    """Six events of 1.5 to 2.5 s in 30 s."""
    rng = np.random.default_rng(seed)
    starts_s = 5.0 * np.arange(6) + rng.uniform(0, 2, 6)
    return [
        Event(round(s, 2), round(s + rng.uniform(1.5, 2.5), 2), CLASSES[n % 2], person=person)
        for n, s in enumerate(starts_s.tolist())
    ]


def timeline(events: list[Event], seed: int, person: int = 0) -> Timeline:
    """Networks that know the actions, and take whoever is idle for one who claps, and does not move."""
    rng = np.random.default_rng(seed)
    doing = actions_at(events, (np.arange(120) + 0.5) * STEP_S)
    clap = np.array([{"clap": 0.97, "wave": 0.03}.get(action, 0.9) for action in doing])
    clap = (clap + rng.normal(0, 0.01, 120)).clip(0.01, 0.99)
    speeds = np.array([0.02 if action == "background" else 0.2 for action in doing])
    logs = np.log(np.column_stack([clap, 1 - clap]))
    views = Views(logs, np.full_like(logs, np.nan), np.full((120, 2), np.nan), np.zeros((120, 0)))
    return Timeline(person, 0.0, 30.0, 0, STEP_S, logs, speeds, views)


def example(seed: int) -> Example:
    events = truth(seed)
    return Example([timeline(events, seed)], events, 30.0, f"subject {seed // 2}")


def test_background_is_learnt_where_the_networks_alone_are_sure_of_an_action() -> None:
    learnt = learn([example(seed) for seed in range(6)], CLASSES, plain(), PARAMS)
    assert learnt.chosen["map_50"] > 0.9
    assert learnt.chosen["idle_with_action"] < 0.1
    assert learnt.tried == 75
    new = truth(99)
    found = learnt.rule.events([timeline(new, 99)])
    assert [event.action for event in found] == [event.action for event in new]
    assert [e.start_s for e in found] == pytest.approx([e.start_s for e in new], abs=0.75)
    assert np.exp(learnt.rule.decoder.durations.mean_log) == pytest.approx(2.0, abs=0.2)
    again = Rule.from_json(json.loads(json.dumps(learnt.rule.to_json())))
    assert again.events([timeline(new, 99)]) == found


def test_nothing_is_learnt_without_events_or_idle_time() -> None:
    idle = Example([timeline([], 1)], [], 30.0, "a")
    with pytest.raises(ValueError, match="have none of the networks' actions"):
        learn([idle], CLASSES, plain(), PARAMS)
    busy = [Event(0.0, 30.0, "wave", person=0)]
    with pytest.raises(ValueError, match="are never idle"):
        learn([Example([timeline(busy, 1)], busy, 30.0, "a")], CLASSES, plain(), PARAMS)


def test_a_source_is_in_one_fold() -> None:
    sources = ["a", "b", "a", "c", "d", "b", "a"]
    folds = folds_by_source(sources, 2)
    assert {source: {f for s, f in zip(sources, folds, strict=True) if s == source} for source in "abcd"} == {
        "a": {0}, "b": {1}, "c": {1}, "d": {0},
    }  # fmt: skip


def test_sliding_windows_name_every_instant() -> None:
    events = truth(3)
    found = of_sliding_windows([timeline(events, 3)], CLASSES, 2.0)
    assert found[0].start_s == 0.0
    assert found[-1].end_s == 30.0
    assert all(a.end_s == b.start_s and a.action != b.action for a, b in itertools.pairwise(found))


def test_what_several_people_do_at_once_is_one_event_of_nobody() -> None:
    found = of_nobody([Event(1, 3, "push", 0.8, 0), Event(1.2, 3, "push", 0.9, 1), Event(1, 3, "wave", 0.3, 0)])
    assert found == [Event(1, 3, "wave", 0.3), Event(1.2, 3, "push", 0.9)]


def test_boxes_are_spread_over_the_frames_of_a_video() -> None:
    boxes = Boxes.of({2: np.ones(4, np.float32), 0: np.zeros(4, np.float32), 9: np.ones(4, np.float32)})
    whole = boxes.over(4)
    assert np.isnan(whole[:, 0]).tolist() == [False, True, False, True]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Takes a to f with one person each, whose track has another number; e and f are of the test split."""
    data = tmp_path / "artifacts" / "data"
    data.mkdir(parents=True)
    splits = dict(zip("abcdef", ("train", "train", "val", "train", "test", "test"), strict=True))
    videos = [(v, f"{v}.mp4", "", 64, 48, 8.0, 240, 30.0, v, split, "") for v, split in splits.items()]
    events = [(v, e.start_s, e.end_s, e.action, 0) for n, v in enumerate(splits) for e in truth(n)]
    Takes(pd.DataFrame(videos, columns=list(TAKE_COLUMNS)), pd.DataFrame(events, columns=list(EVENT_COLUMNS))).save(
        data
    )
    frames = np.arange(240)
    one = [
        pd.DataFrame({"clip_id": v, "frame": frames, "person": 0, "x1": 5, "y1": 0, "x2": 20, "y2": 40}) for v in splits
    ]
    pd.concat(one).astype(dict.fromkeys(("x1", "y1", "x2", "y2"), np.float32)).to_parquet(data / "takes_truth.parquet")
    return tmp_path


def watch(path: Path) -> Watched:
    number = "abcdef".index(path.stem)
    if path.stem == "d":
        raise VideoError(f"{path}: breaks off")
    boxes = Boxes(np.arange(240), np.tile(np.array([6, 1, 19, 40], np.float32), (240, 1)))
    return Watched([timeline(truth(number), number, person=7)], {7: boxes})


def test_the_step_learns_on_training_and_measures_on_test(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, metrics = project / "artifacts" / "events", project / "metrics" / "events.json"
    done = run(PARAMS, Networks(CLASSES, plain(), watch), project, out, metrics)
    assert (done.takes, done.learnt) == (2, 3)
    assert "d.mp4: breaks off" in capsys.readouterr().err
    written = read_object(metrics)
    assert written["videos"] == 2
    assert written["learnt"]["videos"] == 3
    assert written["events"]["map_50"] > 0.9 > written["windows"]["map_50"]
    gain = written["events"]["map_50"] - written["windows"]["map_50"]
    assert written["gain"]["map_50"] == pytest.approx(gain, abs=1e-3)
    assert list(written["by_people"]) == ["one"]
    found = FoundEvents.load(out)
    assert set(found.table.video) == {"e", "f"}
    assert found.of("e", "truth") == truth(4)
    assert {event.person for event in found.of("e", "events")} == {0}
    assert Rule.from_json(read_object(out / "rule.json")).actions == CLASSES


def test_without_training_takes_the_plain_rule_is_measured(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = project / "artifacts" / "data"
    Takes.load(data).of(["test"]).save(data)
    out, metrics = project / "artifacts" / "events", project / "metrics" / "events.json"
    done = run(PARAMS, Networks(CLASSES, plain(), watch), project, out, metrics)
    assert (done.takes, done.learnt) == (2, 0)
    assert "durations and background are those of the trimmed clips" in capsys.readouterr().err
    assert Rule.from_json(read_object(out / "rule.json")) == plain()


def test_a_project_without_untrimmed_videos_says_where_they_come_from(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"untrimmed videos come from data\.takes"):
        run(PARAMS, Networks(CLASSES, plain(), watch), tmp_path, tmp_path / "out", tmp_path / "m.json")
