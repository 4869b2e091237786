"""Labels, splits and classes that change after a training are noticed by all that reads what was trained."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.files import read_json, write_json
from hpnet.artifacts.labelling import LABELLING, Labelling, model_labelling
from hpnet.artifacts.scores import Scores
from hpnet.fuse.fusion import fuse
from hpnet.stages.cli import cli
from tests.trained import hpnet, inside, shared_project

MADE = Labelling(("wave", "push", "clap"), {"a": (0, "train"), "b": (1, "val"), "c": (2, "test")})


@pytest.mark.parametrize(
    ("now", "change"),
    [
        (replace(MADE, clips=dict(reversed(MADE.clips.items()))), ""),
        (replace(MADE, clips=MADE.clips | {"new": (1, "train")}), ""),
        (replace(MADE, classes=("0", "1", "2")), ""),
        (replace(MADE, clips=MADE.clips | {"a": (1, "train")}), "clip 'a' had label 0 (wave), now label 1 (push)"),
        (replace(MADE, clips=MADE.clips | {"b": (1, "test")}), "clip 'b' had split 'val', now 'test'"),
        (replace(MADE, clips=MADE.clips | {"b": (-1, ""), "c": (0, "test")}), "label -1 (2 such clips)"),
        (MADE.of("bc"), "clip 'a' (label 0 (wave), train) does not exist any more"),
        (replace(MADE, classes=("wave", "clap", "push")), "class 1 was 'push', now 'clap'"),
        (replace(MADE, classes=("wave", "push")), "3 classes then, 2 now"),
    ],
)
def test_the_first_change_of_what_was_used_is_named(now: Labelling, change: str) -> None:
    assert MADE.change(now).endswith(change)
    assert bool(MADE.change(now)) == bool(change)
    assert Labelling.from_text(now.to_text()) == now


def test_names_and_clips_are_kept_as_they_are(tmp_path: Path) -> None:
    made = Labelling(('wörd "x"', "a,b\nc", "3"), {"ä/b'c": (0, "val"), "x": (2, "")})
    assert Labelling.from_text(made.to_text()) == made
    scores = Scores(("ä/b'c",), ("val",), np.array([0]), np.zeros((1, 3), np.float32), made)
    scores.save(tmp_path / "scores.parquet")
    assert Scores.load(tmp_path / "scores.parquet").labelling == made
    with pytest.raises(ValueError, match="do not agree with their recorded labels: clip .* now label 1"):
        replace(scores, labelling=replace(made, clips={"ä/b'c": (1, "val")}))


def test_streams_of_other_class_names_or_training_labels_are_not_fused() -> None:
    scores = Scores(("b", "c"), ("val", "test"), np.array([1, 2]), np.eye(3, dtype=np.float32)[1:], MADE)
    assert fuse({"hpj": scores, "hpb": scores}).scores.labelling == MADE
    for other, message in (
        (replace(MADE, classes=("push", "wave", "clap")), "class 0 was 'wave', now 'push' in hpb"),
        (replace(MADE, clips=MADE.clips | {"a": (2, "train")}), r"clip 'a' had label 0 \(wave\), now label 2"),
    ):
        with pytest.raises(ValueError, match=f"streams hpj and hpb were made from different labels.*{message}"):
            fuse({"hpj": scores, "hpb": replace(scores, labelling=other)})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_project(tmp_path_factory)


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    """A copy whose tables and scores may be changed."""
    copy = tmp_path / "actions"
    shutil.copytree(made, copy, ignore=shutil.ignore_patterns(".work", "estimate", "pool", "detect"))
    (tmp_path / "videos").symlink_to(made.parent / "videos")
    return copy


def said(project: Path, *arguments: str) -> str:
    """The error of a command, empty where it went well."""
    with inside(project):
        done = CliRunner().invoke(cli, list(arguments))
    assert (done.exit_code == 0) == (done.exception is None), done.output
    assert done.exception is None or isinstance(done.exception, ValueError), repr(done.exception)
    return "" if done.exception is None else str(done.exception)


READERS = {
    "fuse": ("fuse",),
    "report": ("report", "--examples", "0"),
    "predict": ("predict", "../videos/wave/01.mp4", "--streams", "hpj", "--device", "cpu"),
    "export": ("export", "onnx", "--out", "exported"),
}


def change_clip(project: Path, split: str, column: str, value: Callable[[pd.Series], object]) -> str:
    """Change a cell of the split's last clip; its id."""
    data = project / "artifacts" / "data"
    clips = Clips.load(data)
    row = clips.table.index[clips.table.split == split][-1]
    clips.table.loc[row, column] = value(clips.table.loc[row])
    clips.save(data)
    return str(clips.table.clip_id[row])


def change_classes(project: Path, names: Callable[[list[str]], list[str]]) -> str:
    data = project / "artifacts" / "data"
    clips = Clips.load(data)
    before = clips.class_names
    clips.classes["name"] = names(before)
    clips.save(data)
    return f"class 1 was {before[1]!r}"


EDITS: dict[str, Callable[[Path], str]] = {
    "label of a training clip": lambda p: change_clip(p, "train", "label", lambda row: (row.label + 1) % 5),
    "label of a validation clip": lambda p: change_clip(p, "val", "label", lambda row: -1),
    "label of a test clip": lambda p: change_clip(p, "test", "label", lambda row: (row.label + 1) % 5),
    "training clip to test": lambda p: change_clip(p, "train", "split", lambda row: "test"),
    "test clip to training": lambda p: change_clip(p, "test", "split", lambda row: "train"),
    "class name": lambda p: change_classes(p, lambda names: [names[0], "other", *names[2:]]),
    "class order": lambda p: change_classes(p, lambda names: [names[0], names[2], names[1], *names[3:]]),
}


@pytest.mark.parametrize("edit", EDITS)
def test_tables_changed_after_training_are_refused_and_accepted_when_put_back(project: Path, edit: str) -> None:
    data = project / "artifacts" / "data"
    kept = {name: (data / name).read_bytes() for name in ("clips.csv", "classes.csv")}
    named = EDITS[edit](project)
    for reader, arguments in READERS.items():
        error = said(project, *arguments)
        assert named in error, (reader, error)
        assert "run `hpnet train hpj` or `dvc repro`" in error, (reader, error)
        assert "hpj/scores.parquet was made from labels" in error, (reader, error)
    for name, content in kept.items():
        (data / name).write_bytes(content)
    for reader in ("fuse", "predict"):
        assert said(project, *READERS[reader]) == ""


def test_rows_in_another_order_and_new_clips_change_nothing(project: Path) -> None:
    data = project / "artifacts" / "data"
    clips = Clips.load(data)
    new = clips.table[:1].assign(clip_id="new", split="train", label=3)
    Clips(pd.concat([clips.table[::-1], new]), clips.classes).save(data)
    for reader in ("fuse", "report", "predict"):
        assert said(project, *READERS[reader]) == "", reader


def test_files_that_do_not_say_what_they_were_made_from_are_refused(project: Path) -> None:
    file = project / "artifacts" / "train" / "hpj" / "scores.parquet"
    pq.write_table(pq.read_table(file).replace_schema_metadata(None), file)
    for reader in ("fuse", "report", "predict"):
        error = said(project, *READERS[reader])
        assert "hpj/scores.parquet does not record the labels it was made from" in error
        assert "run `hpnet train hpj` or `dvc repro`" in error
    elsewhere = said(project, "fuse", "--input", "artifacts/train", "--out", "fused")
    assert "hpj/scores.parquet does not record" in elsewhere


def test_a_card_and_fusion_weights_of_other_labels_are_refused(project: Path) -> None:
    card = project / "artifacts" / "train" / "hpj" / "config.json"
    whole = read_json(card)
    assert whole[LABELLING] == model_labelling(card.with_name("model.safetensors")).digest  # type: ignore[union-attr]
    classes = [*whole["classes"][1:], whole["classes"][0]]
    for changed, message in (
        (whole | {"classes": classes}, "class 0 was"),
        (whole | {LABELLING: "0" * 16}, "they are of two trainings; run `hpnet train hpj`"),
    ):
        write_json(card, changed)
        for reader in ("report", "predict"):
            assert message in said(project, *READERS[reader])
    write_json(card, whole)
    weights = project / "artifacts" / "fuse" / "weights.json"
    fitted = read_json(weights)
    write_json(weights, fitted | {"labellings": fitted["labellings"] | {"hpj": "0" * 16}})
    assert "run `hpnet fuse` or `dvc repro`" in said(project, *READERS["predict"])


def test_a_stream_trained_again_needs_the_others_again(made: Path, tmp_path: Path) -> None:
    copy = tmp_path / "actions"
    shutil.copytree(made, copy, ignore=shutil.ignore_patterns("estimate", "detect"))
    named = EDITS["label of a training clip"](copy)
    with inside(copy):
        hpnet("train", "hpj", "--device", "cpu")
    error = said(copy, "fuse")
    assert "hpb/scores.parquet was made from labels" in error
    assert named in error
