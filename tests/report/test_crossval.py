"""The page's section of cross-validation, from results that are written by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.crossval import ROW_COLUMNS, CrossvalSummary, Curve, CurvePoint, FoldScores, FoldSize, Gain
from hpnet.artifacts.files import write_json
from hpnet.params import Params
from hpnet.report import page
from hpnet.report.collect import Collected, collect
from hpnet.report.results import Judge
from hpnet.report.section import Given
from hpnet.report.sections import crossval

from ..train.test_loop import make_clips

CLIPS = 12


def write_result(root: Path, name: str, wrong: int, streams: tuple[str, ...] = ("hpj",)) -> None:
    """Two folds of six test clips each, of which ``wrong`` in the second take the class after their own."""
    table = Clips.load(root / "artifacts/data").table
    rows = table[["clip_id", "label"]].assign(
        fold=["a"] * 6 + ["b"] * 6, seed=1, split="test", unit=table.source, left_out=-1
    )
    logits = np.eye(3, dtype=np.float32)[[(int(k) + (at >= CLIPS - wrong)) % 3 for at, k in enumerate(rows.label)]]
    folder = root / "artifacts/crossval" / name
    scores = FoldScores(rows[list(ROW_COLUMNS)], logits, ("class0", "class1", "class2"))
    scores.save(folder / "scores.parquet")
    sizes = tuple(FoldSize(fold, 4, 2, 6, (2, 1, 1)) for fold in "ab")
    CrossvalSummary(sizes, "folds.csv", "source", (1,), streams, {"pool.kind": name}).save(folder)
    right = {"a": 1.0, "b": 1 - wrong / 6}
    mean = sum(right.values()) / 2
    values = {
        "top1": {"mean": mean, "low": mean - 0.1, "high": min(1.0, mean + 0.1), "sd": 0.01, "sd_seeds": None},
        "mean_class_accuracy": {"mean": mean, "sd": 0.01},
        "folds": {fold: {"clips": 6, "top1": value, "mean_class_accuracy": value} for fold, value in right.items()},
    }
    measured = dict.fromkeys((*streams, *(["fused"] if len(streams) > 1 else [])), values)
    matrix = np.zeros((3, 3), dtype=int)
    np.add.at(matrix, (rows.label.to_numpy(), logits.argmax(1)), 1)
    facts = {"folds": 2, "clips": CLIPS, "unit": "source", "units": 4, "seeds": [1]}
    write_json(root / "metrics/crossval" / f"{name}.json", {**facts, "streams": measured, "confusion": matrix.tolist()})


@pytest.fixture
def project(tmp_path: Path) -> Path:
    clips = make_clips(["train"] * CLIPS)
    table = clips.table.assign(source=[f"s{n // 3}" for n in range(CLIPS)])
    Clips(table, clips.classes).save(tmp_path / "artifacts/data")
    write_result(tmp_path, "default", wrong=3, streams=("hpj", "hpb"))
    write_result(tmp_path, "another", wrong=0)
    return tmp_path


def build(collected: Collected) -> tuple[crossval.Section | None, str]:
    given = Given(collected, Judge(collected.params.report, collected.clips), None)
    built = crossval.build(given)
    return built, page.render(given, (crossval,))


def test_a_learning_curve_is_drawn_and_said(project: Path) -> None:
    folder = project / "artifacts/crossval/default"
    half = CurvePoint(0.5, 12.0, 4.0, 3, 0.6, 0.5, 0.7, 0.02, Gain(0.15, 0.05, 0.25))
    Curve((half, CurvePoint(1.0, 24.0, 8.0, 1, 0.75, None, None, None, None))).save(folder)
    built, html = build(collect(project, Params()))
    assert built is not None
    assert [panel.title for panel in built.curves] == ["default: accuracy against training clips"]
    assert "From 4 to 8 training clips per action accuracy changed by +15.0 points (+5.0 to +25.0)" in html
    assert built.curve_table is not None
    assert [(row["per_action"], row["draws"]) for row in built.curve_table.rows] == [(4.0, 3), (8.0, 1)]
    assert built.curve_table.rows[0]["gain"].value == 0.15
    assert "gain" not in built.curve_table.rows[1]


def test_the_section_shows_every_result_and_the_difference_to_the_first(project: Path) -> None:
    built, html = build(collect(project, Params()))
    assert built is not None
    assert [row["result"] for row in built.table.rows] == ["another", "default"]
    streams, changed, folds = built.details
    assert [(row["result"], row["streams"]) for row in streams.rows] == [
        ("another", "hpj"),
        ("default", "hpj"),
        ("default", "hpb"),
        ("default", "fused"),
    ]
    assert {(row["result"], row["parameter"], row["value"]) for row in changed.rows} >= {
        ("another", "pool.kind", "another")
    }
    gains = [row.get("gain") for row in built.table.rows]
    assert gains[1] is None
    assert gains[0] is not None
    assert gains[0].value == pytest.approx(0.25)  # a quarter: 3 of 6 clips in one of two folds
    assert [(row["result"], row["fold"], row["test"], row["top1"]) for row in folds.rows] == [
        ("another", "a", 6, 1.0),
        ("another", "b", 6, 1.0),
        ("default", "a", 6, 1.0),
        ("default", "b", 6, 0.5),
    ]
    assert built.confused is not None
    assert sum(row["clips"] for row in built.confused.rows) == 3
    assert "resample 4 sources" in built.lead
    assert '<a href="#crossval">Cross-validation</a>' in html
    assert "Confusion of default, test clips of all folds" in html
    assert "pool.kind" in html


def test_without_a_result_there_is_no_section(tmp_path: Path) -> None:
    make_clips(["train"] * 3).save(tmp_path / "artifacts/data")
    built, html = build(collect(tmp_path, Params()))
    assert built is None
    assert "Cross-validation" not in html


def test_results_of_other_folds_are_not_compared(project: Path) -> None:
    folder = project / "artifacts/crossval/another"
    scores = FoldScores.load(folder / "scores.parquet")
    FoldScores(scores.table.assign(fold="c"), scores.logits, scores.classes).save(folder / "scores.parquet")
    built, _ = build(collect(project, Params()))
    assert built is not None
    assert "gain" not in built.table.rows[0]


def test_a_result_of_other_labels_or_without_metrics_is_refused(project: Path) -> None:
    clips = Clips.load(project / "artifacts/data")
    (project / "metrics/crossval/another.json").unlink()
    with pytest.raises(ValueError, match=r"metrics/crossval/another.json is missing: run `hpnet crossval"):
        collect(project, Params())
    write_result(project, "another", wrong=0)
    Clips(clips.table.assign(label=0), clips.classes).save(project / "artifacts/data")
    with pytest.raises(ValueError, match="'another' of cross-validation was made from other labels"):
        collect(project, Params())
