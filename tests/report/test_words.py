"""What the page says in words: what to do next, where clips come from, how the weights were made. Nothing is drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.features import FeatureMeta, Features
from hpnet.artifacts.scores import Scores
from hpnet.core.skeleton import COCO17
from hpnet.params import Params, validate
from hpnet.report import page
from hpnet.report.collect import Collected, Run
from hpnet.report.naming import clip_places, natural_key
from hpnet.report.results import Judge, compare_variants, evaluated
from hpnet.report.section import Given
from hpnet.report.sections import advice, claims, confusion, cost, features, method, run

NAMES = ("wave", "clap", "bow", "kick", "jump", "sit")
EACH, SPLITS = 8, ("train", "val", "test")
FOLDER = {"data": {"source": "folder", "videos": "videos"}, "report": {"bootstrap": 50}}


def make_clips(cameras: int = 1) -> Clips:
    """Eight clips of six actions in each split, of a source each; all of camera 0, or of several."""
    rows = [
        {"clip_id": f"{split}{label}-{number}", "path": f"videos/{split}{label}-{number}.mp4", "label": label,
         "subject": "", "source": f"person {number + EACH * at}", "camera": number % cameras, "setup": 0,
         "repetition": 0, "split": split, "frames": 8, "error": ""}
        for at, split in enumerate(SPLITS) for label in range(len(NAMES)) for number in range(EACH)
    ]  # fmt: skip
    classes = pd.DataFrame({"label": range(len(NAMES)), "name": NAMES, "prompt": NAMES, "pair": ""})
    return Clips(pd.DataFrame(rows), classes)


def make_scores(clips: Clips, right: dict[str, int]) -> Scores:
    """Of every class so many of a split's eight clips are right; the others are taken for the next class."""
    table = clips.table
    number = table.clip_id.str.rpartition("-")[2].astype(int)
    hit = number < table.split.map(right)
    labels = table.label.to_numpy(np.int64)
    taken = np.where(hit, labels, (labels + 1) % len(NAMES))
    logits = np.eye(len(NAMES), dtype=np.float32)[taken]
    kept = (table.split != "train").to_numpy()
    return Scores(tuple(table.clip_id), tuple(table.split), labels, logits).where(kept)


def make_run(clips: Clips, name: str, kind: str, right: dict[str, int], model: str = "linear") -> Run:
    meta = {"kind": kind, "tap": "h2s3", "region": 3, "operator": "mean"}
    card = {"features": meta, "params": {"graph": {"model": model, "blocks": 4, "base_channels": 16}}, "parameters": 9}
    history = {"val/loss": ([0.0], [0.5])}
    return Run(name, make_scores(clips, right), card, history, {"epoch": 0})


def given(own: int, pose: int, test: int = 8, cameras: int = 1, **more: Any) -> Given:
    """A folder of real videos; ``own``, ``pose``: right validation clips of eight, on both kinds of features."""
    clips, params = make_clips(cameras), validate(FOLDER)
    runs = {"hpj": make_run(clips, "hpj", "both", {"val": own, "test": test})}
    variants = {"pose2d": make_run(clips, "pose2d", "pose2d", {"val": pose, "test": test})}
    fused = make_scores(clips, {"val": 8, "test": test})
    collected = Collected(Path(), params, clips=clips, runs=runs, variants=variants, fused=fused, **more)
    judge = Judge(params.report, clips)
    return Given(collected, judge, evaluated(fused), compare_variants(collected, judge))


def advised(found: Given) -> list[str]:
    built = advice.build(found)
    return [] if built is None else [step.text for step in built.steps]


def test_another_kind_of_features_is_advised_by_validation_clips_alone() -> None:
    text = next(text for text in advised(given(own=0, pose=8)) if "loses" in text)
    assert text.startswith(
        "Pooled 3 × 3 and 2-D pose loses to 2-D pose here: 0.0 against 100.0 % of 48 validation clips. "
    )
    assert text.endswith("Set `pool.kind: pose2d` in params.yaml, then `dvc repro`.")
    few = next(text for text in advised(given(own=6, pose=7)) if "loses" in text)
    assert "87.5 % of 48 validation clips, not significant. Set" in few
    for own, pose in ((7, 4), (8, 8)):
        assert not any("loses" in text for text in advised(given(own, pose)))
    worse_on_test = given(own=8, pose=8)
    worse = make_run(make_clips(), "hpj", "both", {"val": 8, "test": 0})
    collected = replace(worse_on_test.collected, runs={"hpj": worse})
    assert not any("loses" in text for text in advised(replace(worse_on_test, collected=collected)))


def test_scores_out_of_fold_are_validation() -> None:
    found = given(own=0, pose=8)
    runs = {}
    for name, run_ in {**found.collected.runs, **found.collected.variants}.items():
        scores = run_.scores
        assert scores is not None
        splits = tuple(split.replace("val", "train") for split in scores.splits)
        folds = np.array([-1 if split == "test" else 0 for split in splits])
        runs[name] = replace(run_, scores=replace(scores, splits=splits, folds=folds))
    collected = replace(found.collected, runs={"hpj": runs["hpj"]}, variants={"pose2d": runs["pose2d"]})
    assert any("0.0 against 100.0 % of 48 validation" in text for text in advised(replace(found, collected=collected)))


def test_mistakes_and_a_wide_interval_are_told() -> None:
    texts = advised(given(own=8, pose=8, test=5))
    assert any(text.startswith("“wave” is most often taken for “clap”: 3 of 8 test clips.") for text in texts)
    assert any("`hpnet crossval` tests every clip once" in text for text in texts)
    assert advised(given(own=8, pose=8)) == []


def test_the_lead_names_features_that_hold_both() -> None:
    lead = features.build(given(own=8, pose=8)).lead
    assert "On all clips pooled features with the 2-D pose reach 100.0 % and the 2-D pose alone 100.0 %" in lead


def test_a_camera_is_named_only_where_there_are_several() -> None:
    assert clip_places(given(8, 8).collected)["test0-1"] == "source person 17,"
    assert clip_places(given(8, 8, cameras=2).collected)["test0-1"] == "source person 17, camera 1,"


def test_people_without_subjects_are_sources_in_the_order_of_numbers() -> None:
    facts = dict(run.build_facts(given(8, 8).collected))
    assert facts["Sources, val"] == "8: " + ", ".join(f"person {number}" for number in range(8, 16))
    assert not any(name.startswith("Subjects") for name in facts)
    assert sorted(["10", "9", "person 11", "person 2", "1"], key=natural_key) == [
        "1",
        "9",
        "10",
        "person 2",
        "person 11",
    ]


def test_a_folder_of_real_videos_lacks_no_stream_that_its_project_does_not_train() -> None:
    folder = given(8, 8).collected
    assert "multimodal" not in " ".join(run.missing_parts(folder))
    assert "hpb, hpjm, hpbm." in " ".join(run.missing_parts(folder))
    assert "multimodal" in " ".join(run.missing_parts(replace(folder, params=Params())))


def test_a_project_of_imported_poses_lacks_neither_boxes_nor_the_multimodal_stream() -> None:
    index = pd.DataFrame({"clip_id": ["a"], "person": [0], "row": [0], "valid": [True]})
    features = Features(np.zeros((1, 4, 17, 3), np.float16), index, FeatureMeta("pose3d", "", 0, "", COCO17))
    folder = replace(given(8, 8).collected, params=Params(), features=features)
    said = " ".join(run.missing_parts(folder))
    assert "hpb, hpjm, hpbm." in said
    assert "boxes" not in said
    assert "poses" not in said
    assert [stage.name for stage in run.build_flow(folder)] == ["data", "pool", "train", "fuse"]


@pytest.mark.parametrize(
    ("fit", "words"),
    [
        ({"split": "out of fold", "clips": 303}, "weights fitted on 303 clips, out of fold"),
        ({"split": "val", "clips": 108}, "weights fitted on 108 validation clips"),
        (None, "too few validation clips: equal weights"),
    ],
)
def test_fusion_is_described_by_what_was_done(fit: dict[str, Any] | None, words: str) -> None:
    weights = {"chosen": "weighted", "weighted": {"origin": "equal" if fit is None else "validation", "fit": fit}}
    assert run.weights_in_words(Collected(Path(), Params(), weights=weights)) == words


def test_networks_without_epochs_have_no_column_of_epochs() -> None:
    found = given(8, 8)
    titles = [column.title for column in cost.build(found).tables[0].columns]
    assert titles == ["Network", "Parameters"]
    graph = make_run(make_clips(), "hpj", "both", {"val": 8, "test": 8}, model="ctrgcn")
    collected = replace(found.collected, runs={"hpj": graph})
    assert [c.title for c in cost.build(replace(found, collected=collected)).tables[0].columns][2:] == [
        "Epoch kept",
        "of",
    ]


def test_extremes_are_three_each_and_only_where_they_differ() -> None:
    found, clips = given(8, 8), make_clips()
    alike = make_run(clips, "multimodal", "pooled", {"val": 8, "test": 6})
    assert confusion._extremes(replace(found, collected=replace(found.collected, runs={"multimodal": alike}))) is None
    scores = alike.scores
    assert scores is not None
    logits = scores.logits.copy()
    easy = scores.labels < 3
    logits[easy] = np.eye(len(NAMES), dtype=np.float32)[scores.labels[easy]]
    runs = {"multimodal": replace(alike, scores=replace(scores, logits=logits))}
    table = confusion._extremes(replace(found, collected=replace(found.collected, runs=runs)))
    assert table is not None
    assert [(row["part"], row["name"]) for row in table.rows] == [
        *(("accurate", name) for name in NAMES[:3]), *(("confused", name) for name in NAMES[:2:-1]),
    ]  # fmt: skip


def test_the_claims_are_one_sentence() -> None:
    rows = [
        {"table": "III", "claim": "c", "here": here, "numbers": "", "p": "", "q": ""}
        for here in ("held", "held", "not run")
    ]
    built = claims.build(Given(Collected(Path(), Params(), claims=rows), Judge(Params().report, None), None))
    assert built is not None
    assert built.lead == "2 of 3 claims of the paper's tables held on this project; 1 not run."


def test_what_is_confused_and_examples_come_before_calibration_and_claims() -> None:
    order = [section.__name__.rpartition(".")[2] for section in page.SECTIONS]
    early = ["accuracy", "confusion", "events", "clips", "examples"]
    late = ["calibration", "claims", "training", "cost", "run", "method"]
    assert [name for name in order if name in (*early, *late)] == early + late


def test_the_method_says_how_this_project_chose() -> None:
    folder = given(8, 8)
    stepped = " ".join(method.build(folder).paragraphs)
    assert "validation split" in stepped
    assert "Which of the two" not in stepped, "no action has a look-alike partner"
    runs = {name: replace(one, config={**one.config, "out_of_fold": {"text": "5 folds"}})
            for name, one in folder.collected.runs.items()}  # fmt: skip
    fitted = " ".join(method.build(replace(folder, collected=replace(folder.collected, runs=runs))).paragraphs)
    assert "not fitted to them" in fitted
    assert "validation split" not in fitted
