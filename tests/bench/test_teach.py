"""`hpnet bench teach`: actions that networks never saw; clips of one source are never taught and asked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.features import FeatureMeta, Features
from hpnet.bench import teach
from hpnet.core.skeleton import COCO17
from hpnet.stages.cli import cli
from hpnet.train.clips import LabelledClips, labelled_clips

ACTIONS, SOURCES, FRAMES, CHANNELS = 8, 9, 6, 4


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pooled features of eight actions that differ in a joint that moves; nine sources, three of them for testing."""
    folder = tmp_path_factory.mktemp("bench") / "small"
    rows, arrays, draw = [], [], np.random.default_rng(0)
    for source in range(SOURCES):
        for action in range(ACTIONS):
            values = draw.normal(0, 0.3, (FRAMES, 17, CHANNELS))
            values[:, 2 * action] += np.linspace(0, 4, FRAMES)[:, None]
            arrays.append(values)
            rows.append((f"s{source}-a{action}", action, f"s{source}", "test" if source >= 6 else "train"))
    table = pd.DataFrame(rows, columns=["clip_id", "label", "source", "split"])
    table = table.assign(subject="", camera=0, setup=0, repetition=0)
    names = [f"action {n}" for n in range(ACTIONS)]
    Clips(table, pd.DataFrame({"label": range(ACTIONS), "name": names, "prompt": names})).save(
        folder / "artifacts/data"
    )
    index = pd.DataFrame({"clip_id": table.clip_id, "person": 0, "row": range(len(table)), "valid": True})
    meta = FeatureMeta("pooled", "h2s3", 1, "mean", COCO17, (CHANNELS,))
    Features(np.stack(arrays).astype(np.float16), index, meta).save(folder / "artifacts/pool")
    (folder / "params.yaml").write_text(
        "train:\n  topology:\n    graph: {model: linear}\n    linear: {components: [10], strengths: [10.0]}\n"
    )
    return folder


def clips(project: Path) -> LabelledClips:
    return labelled_clips(Clips.load(project / "artifacts" / "data"))


def test_actions_that_are_easy_to_tell_apart_are_taught(project: Path) -> None:
    found = teach.run(project, teach.Plan(("hpj",), group=3, ways=3, draws=2))
    results = found["results"]
    assert len(found["groups"]) == 2
    assert results["ways"]["mean"] > 0.9
    assert results["recalled"]["mean"] > 0.9
    assert results["before"]["mean"] > 0.9
    assert results["lost"]["mean"] < 0.05
    assert results["ways"]["outcomes"] == 2 * 2 * 3
    assert results["ways"]["low"] <= results["ways"]["mean"] <= results["ways"]["high"]
    page = teach.markdown({"small": {**found, "command": "hpnet bench teach"}}, "")
    assert "| networks | hpj linear |" in page
    assert "| seconds of `hpnet teach` | not measured |" in page


def test_networks_do_not_see_the_actions(project: Path, tmp_path: Path) -> None:
    inputs = teach.Inputs(Clips.load(project / "artifacts/data"), Features.load(project / "artifacts/pool"))
    params = teach.Project(project).read_params()
    seen = teach.train_without(np.array([1, 4]), inputs, params, ["hpj"], tmp_path, "cpu")
    best = seen.logits.argmax(1)
    assert not np.isin(best, [1, 4]).any()
    others = ~np.isin(seen.clips.labels, [1, 4])
    assert (best == seen.clips.labels)[others].mean() > 0.95


def test_no_source_is_taught_and_asked(project: Path) -> None:
    table = clips(project)
    mixed = np.array(table.groups)
    mixed[-ACTIONS:] = mixed[0]  # a test source that is a training source too
    table = LabelledClips(table.clip_ids, table.splits, table.labels, ACTIONS, None, tuple(mixed), "source")
    for draw in range(5):
        taught, asked = teach.drawn(table, np.array([0, 3]), 5, np.random.default_rng(draw))
        assert np.bincount(table.labels[taught], minlength=ACTIONS).tolist() == [5, 0, 0, 5, 0, 0, 0, 0]
        assert len(set(mixed[taught[:5]])) == 5
        assert not set(mixed[taught]) & set(mixed[asked])
        assert set(table.labels[asked]) == {0, 3}
    with pytest.raises(ValueError, match="action 0 has 6 training clips; expected 7 or more"):
        teach.drawn(table, np.array([0]), 7, np.random.default_rng(0))


def test_the_command_writes_a_page(project: Path, tmp_path: Path) -> None:
    arguments = ["bench", "teach", "--project", str(project), "--group", "3", "--ways", "2", "--draws", "1",
                 "--no-time", "--out", str(tmp_path / "teach")]  # fmt: skip
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "teach.json").read_text())["projects"]["small"]["ways"] == 2
    assert "--project small --streams hpj --group 3 --ways 2" in (tmp_path / "teach.md").read_text()
    taking = {"seconds": 9.5, "processor_s": 12.0, "clips": 5, "frames": 80, "load": 0.5, "said": ""}
    page = teach.keep(tmp_path / "teach", {"small": {"teaching": taking, "time_command": "only the time"}}, "a note")
    assert "9.5, 12.0 of them processor time (5 clips, 80 frames, load 0.5 before)" in page
    assert "    only the time\n" in page
    assert "right among themselves" in page
    with pytest.raises(ValueError, match="has no figures of other: run `hpnet bench teach` without --only-time first"):
        teach.keep(tmp_path / "teach", {"other": {"teaching": taking}}, "")
    assert CliRunner().invoke(cli, [*arguments, "--ways", "4"]).exit_code == 1
