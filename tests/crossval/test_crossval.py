"""``hpnet crossval`` in a small project without videos."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner, Result

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.crossval import CrossvalSummary, Curve, FoldScores
from hpnet.artifacts.files import read_json
from hpnet.artifacts.labelling import Labelling
from hpnet.artifacts.scores import Scores
from hpnet.crossval import training
from hpnet.stages.crossval import command

from ..train.test_loop import make_clips, make_features

TINY = {"train": {"topology": {"graph": {"base_channels": 4, "blocks": 1}, "epochs": 1, "warmup_epochs": 0}}}
SOURCES = 8


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two finished results: hpj and hpb of two folds, and hpj alone with another learning rate."""
    root = tmp_path_factory.mktemp("project")
    clips = make_clips(["train"] * 48)
    table = clips.table.assign(source=[f"s{n // 3 % SOURCES}" for n in range(48)])
    Clips(table, clips.classes).save(root / "artifacts/data")
    make_features(clips).save(root / "artifacts/pool")
    (root / "params.yaml").write_text(yaml.safe_dump(TINY))
    sides = ["test" if n // 3 % SOURCES < 4 else "train" for n in range(48)]
    other = ["", *("train" if side == "test" else "test" for side in sides[1:])]  # the first clip is absent from it
    rows = pd.DataFrame({"video": clips.table.clip_id, "split1": sides, "split2": other})
    rows.to_csv(root / "folds.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run("--folds", "folds.csv", "--streams", "hpj,hpb", "--jobs", "2")
        run("--folds", "folds.csv", "--streams", "hpj", "--train-topology-lr", "0.02", "--name", "slow", "--jobs", "1")
    return root


@pytest.fixture
def project(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(command, [*arguments, "--device", "cpu"])


def run(*arguments: str) -> str:
    done = invoke(*arguments)
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    return done.output


def test_every_fold_is_trained_and_all_test_scores_are_kept(project: Path) -> None:
    folder = project / "artifacts/crossval/default"
    summary = CrossvalSummary.load(folder)
    assert [(fold.name, fold.train + fold.val, fold.test) for fold in summary.folds] == [
        ("split1", 24, 24),
        ("split2", 23, 24),  # one clip is absent
    ]
    assert all(fold.val for fold in summary.folds)
    assert sum(summary.folds[0].frequencies) == summary.folds[0].train
    scores = FoldScores.load(folder / "scores.parquet")
    tested = scores.tested().table
    assert len(tested) == 48
    assert not tested.duplicated(["fold", "clip_id"]).any()
    assert set(scores.table.split) == {"val", "test"}
    table = Clips.load(project / "artifacts/data").table
    pairs = {(source, scores.units[clip]) for clip, source in zip(table.clip_id, table.source, strict=True)}
    assert len(pairs) == len(set(scores.units.values())) == SOURCES  # clips of one source are one unit
    for stream in ("hpj", "hpb"):
        assert len(FoldScores.load(folder / "streams" / f"{stream}.parquet").table) == len(scores.table)


def test_the_metrics_are_means_over_folds_with_an_interval_of_sources(project: Path) -> None:
    found = read_json(project / "metrics/crossval/default.json")
    assert set(found["streams"]) == {"hpj", "hpb", "fused"}
    assert (found["folds"], found["clips"], found["unit"], found["units"]) == (2, 48, "source", SOURCES)
    tested = FoldScores.load(project / "artifacts/crossval/default/scores.parquet").tested()
    right = tested.right()
    by_fold = [right[(tested.table.fold == fold).to_numpy()].mean() for fold in ("split1", "split2")]
    fused = found["streams"]["fused"]
    assert fused["top1"]["mean"] == pytest.approx(np.mean(by_fold))
    assert fused["top1"]["sd"] == pytest.approx(np.std(by_fold, ddof=1))
    assert fused["top1"]["low"] <= fused["top1"]["mean"] <= fused["top1"]["high"]
    assert np.sum(found["confusion"]) == 48
    assert np.trace(found["confusion"]) == right.sum()


def test_the_table_names_folds_streams_and_the_unit(project: Path) -> None:
    said = run("--folds", "folds.csv", "--streams", "hpj,hpb")
    lines = said.splitlines()
    head = next(at for at, line in enumerate(lines) if line.startswith("default: top-1, %, folds.csv; intervals"))
    assert lines[head].endswith("resample 8 sources")
    assert lines[head + 1].split() == ["fold", "clips", "hpj", "hpb", "fused"]
    assert lines[head + 2].split()[:2] == ["split1", "24"]
    assert [line.split()[0] for line in lines[head + 4 :]] == ["mean", "sd", "95", "mean"]


def test_a_finished_training_is_not_done_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(*arguments: Any) -> None:
        raise AssertionError("trained again")

    before = (project / "metrics/crossval/default.json").read_text()
    monkeypatch.setattr(training, "train", trained)
    run("--folds", "folds.csv", "--streams", "hpj,hpb", "--jobs", "1")
    assert (project / "metrics/crossval/default.json").read_text() == before
    run("--folds", "folds.csv", "--streams", "hpb", "--name", "bone", "--jobs", "1")  # of the same trainings
    assert invoke("--folds", "folds.csv", "--streams", "hpj", "--train-seed", "2", "--jobs", "1").exit_code == 1


def test_a_stopped_cross_validation_does_what_is_left(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    really = training.train

    def train(stream: str, *arguments: Any) -> Any:
        done.append(stream)
        if len(done) == 3:
            raise KeyboardInterrupt
        return really(stream, *arguments)

    monkeypatch.setattr(training, "train", train)
    arguments = (
        "--folds",
        "folds.csv",
        "--streams",
        "hpj,hpb",
        "--train-seed",
        "5",
        "--name",
        "stopped",
        "--jobs",
        "1",
    )
    assert invoke(*arguments).exit_code == 1
    assert not (project / "artifacts/crossval/stopped").exists()
    run(*arguments)
    assert done == ["hpj", "hpb", "hpj", "hpj", "hpb"]
    run(*arguments)
    assert len(done) == 5


def test_several_seeds_are_averaged(project: Path) -> None:
    said = run("--folds", "folds.csv", "--streams", "hpj", "--train-seed", "1,2", "--name", "seeds", "--jobs", "1")
    found = read_json(project / "metrics/crossval/seeds.json")
    assert found["seeds"] == [1, 2]
    assert found["streams"]["hpj"]["top1"]["sd_seeds"] is not None
    assert len(FoldScores.load(project / "artifacts/crossval/seeds/scores.parquet").tested().table) == 2 * 48
    assert "sd of seeds" in said


def test_what_is_not_as_in_params_yaml_is_recorded(project: Path) -> None:
    summary = CrossvalSummary.load(project / "artifacts/crossval/slow")
    assert summary.changed == {"train.topology.lr": 0.02}
    assert summary.streams == ("hpj",)


def test_results_are_listed_and_compared_on_the_same_clips(project: Path) -> None:
    listed = run("--list").splitlines()
    assert any(line.startswith("slow ") and "train.topology.lr=0.02" in line for line in listed)
    said = run("--compare", "default,slow").splitlines()[-1]
    assert said.startswith("slow - default: ")
    assert "points (" in said
    assert said.endswith("on the same clips, resampling 8 sources")
    means = [read_json(project / f"metrics/crossval/{name}.json")["streams"] for name in ("slow", "default")]
    change = 100 * (means[0]["hpj"]["top1"]["mean"] - means[1]["fused"]["top1"]["mean"])
    assert f"{change:+.1f} points" in said


def test_a_result_of_an_older_hpnet_is_named_and_the_others_are_listed(project: Path) -> None:
    folder = project / "artifacts/crossval/aged"
    shutil.copytree(project / "artifacts/crossval/slow", folder)
    for file in folder.rglob("*.parquet"):
        pq.write_table(pq.read_table(file).drop_columns(["left_out"]), file)
    listed = run("--list").splitlines()
    shutil.rmtree(folder)
    assert any(line.startswith("slow ") for line in listed)
    said = [line for line in listed if line.startswith("aged")]
    assert len(said) == 1
    assert said[0].startswith("aged is left out: ")
    assert "no column 'left_out': an older hpnet wrote it): run it again" in said[0]


def test_results_are_fused_fold_by_fold(project: Path) -> None:
    run("--fuse", "default:hpb,slow", "--name", "both")
    summary = CrossvalSummary.load(project / "artifacts/crossval/both")
    assert summary.streams == ("default:hpb", "slow")
    assert summary.fusion.startswith("weighted, ")
    assert set(read_json(project / "metrics/crossval/both.json")["streams"]) == {"default:hpb", "slow", "fused"}
    assert len(FoldScores.load(project / "artifacts/crossval/both/scores.parquet").tested().table) == 48


def test_scores_out_of_fold_are_kept_and_weights_are_fitted_on_them(project: Path) -> None:
    linear = ("--train-topology-graph-model", "linear", "--train-topology-linear-components", "5")
    run("--folds", "folds.csv", "--streams", "hpj,hpb", *linear, "--name", "linear", "--jobs", "1")
    folder = project / "artifacts/crossval/linear"
    scores, summary = FoldScores.load(folder / "scores.parquet"), CrossvalSummary.load(folder)
    trained = scores.table[scores.table.split == "train"]
    assert len(trained) == sum(fold.train for fold in summary.folds)
    assert (trained.left_out >= 0).all()
    assert (scores.table.left_out[scores.table.split == "test"] == -1).all()
    part = scores.parts()["split1", 1]
    assert part.unseen.sum() == sum(split != "test" for split in part.splits)
    assert summary.fusion == "weighted, validation weights"
    run(
        "--fuse", "linear:hpj,default:hpb", "--name", "mixed"
    )  # of the second, the validation clips alone were held out
    mixed = FoldScores.load(project / "artifacts/crossval/mixed/scores.parquet")
    assert set(mixed.table.split) == {"val", "test"}


def test_a_curve_tests_the_same_clips_with_fewer_to_train_on(project: Path) -> None:
    linear = ("--train-topology-graph-model", "linear", "--train-topology-linear-components", "5")
    common = ("--folds", "folds.csv", "--streams", "hpj,hpb", *linear, "--name", "curved", "--jobs", "1")
    said = run(*common, "--curve", "0.5", "--draws", "2")
    curve = Curve.load(project / "artifacts/crossval/curved")
    assert curve is not None
    assert [(point.share, point.draws) for point in curve.points] == [(0.5, 2), (1.0, 1)]
    assert curve.points[0].clips == pytest.approx(12, abs=1)
    whole = read_json(project / "metrics/crossval/curved.json")["streams"]["fused"]["top1"]
    assert curve.points[1].top1 == whole["mean"]
    assert any(line.startswith("49%") for line in said.splitlines())
    assert "clips per action" in said.splitlines()[-1]
    assert len(FoldScores.load(project / "artifacts/crossval/curved/scores.parquet").tested().table) == 48
    run(*common)  # without the option there is none
    assert Curve.load(project / "artifacts/crossval/curved") is None
    assert "expected shares above 0" in str(invoke(*common, "--curve", "2").exception)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--fuse", "default", "--name", "x"), "expected two different results"),
        (("--fuse", "default,none", "--name", "x"), "none/summary.json is missing: `hpnet crossval --list`"),
        (("--fuse", "default,slow", "--name", "slow"), "is one of the results that are fused"),
        (("--fuse", "default,slow"), "give it a --name"),
        (("--name", "../x"), "is no name of a result"),
        (("--streams", "hpx"), "'hpx' is unknown"),
        (("--streams", "hpnet"), "is called 'multimodal' now"),
        (("--folds", "folds.csv", "--k", "3"), "leave out --group, --k and --fold-seed"),
        (("--group", "source", "--k", "9"), "there are 8 groups by source"),
        (("--pool-kind", "pose2d"), "run `hpnet estimate` first"),
        (("--train-topology-lr", "x"), "--train-topology-lr: train.topology.lr = 'x'"),
    ],
)
def test_what_cannot_be_done_is_refused(project: Path, arguments: tuple[str, ...], words: str) -> None:
    done = invoke(*arguments)
    assert done.exit_code
    assert words in f"{done.output}{done.exception}"


def test_other_folds_are_neither_compared_nor_fused(project: Path) -> None:
    run("--group", "source", "--k", "2", "--streams", "hpj", "--name", "grouped", "--jobs", "1")
    for arguments in (("--compare", "default,grouped"), ("--fuse", "default,grouped", "--name", "x")):
        done = invoke(*arguments)
        assert done.exit_code == 1
        assert "folds" in str(done.exception)


def test_scores_of_other_labels_are_refused(project: Path) -> None:
    scores = FoldScores.load(project / "artifacts/crossval/default/scores.parquet")
    clips = Clips.load(project / "artifacts/data")
    scores.require_labels(clips.labelling(), "default")
    swapped = Clips(clips.table.assign(label=(clips.table.label + 1) % 3), clips.classes)
    with pytest.raises(ValueError, match="'default' of cross-validation was made from other labels"):
        scores.require_labels(swapped.labelling(), "default")


def test_a_damaged_file_of_scores_is_named(project: Path, tmp_path: Path) -> None:
    (tmp_path / "scores.parquet").write_text("x")
    with pytest.raises(ValueError, match=r"scores.parquet is not what `hpnet crossval` writes"):
        FoldScores.load(tmp_path / "scores.parquet")


def test_parts_are_what_was_joined() -> None:
    labelling = Labelling(("a", "b"), {"x": (0, "val"), "y": (-1, "test")})
    scores = {
        ("split2", seed): Scores(("x", "y"), ("val", "test"), np.array([0, -1]), np.eye(2, dtype=np.float32), labelling)
        for seed in (3, 1)
    }
    joined = FoldScores.join(scores, {"x": "s1", "y": "s2"})
    assert list(joined.table.unit) == ["s1", "s2"] * 2
    assert set(joined.table.left_out) == {-1}
    parts = joined.parts()
    assert list(parts) == [("split2", 3), ("split2", 1)]
    again = FoldScores.join(parts, joined.units)
    pd.testing.assert_frame_equal(again.table, joined.table)
    np.testing.assert_array_equal(again.logits, joined.logits)
    with pytest.raises(ValueError, match="no fold has a labelled test clip"):
        joined.tested()
