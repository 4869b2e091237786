"""The section of what to check: which clips, which scores say so, and where their videos are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from hpnet.artifacts.boxes import Boxes
from hpnet.artifacts.clips import Clips
from hpnet.artifacts.scores import Scores
from hpnet.params import Params
from hpnet.report.collect import Collected
from hpnet.report.results import Judge
from hpnet.report.section import Given
from hpnet.report.sections import check
from hpnet.report.tables import Link

CLIPS = ("wave/1", "wave/2", "clap/1", "clap/2")
LABELS = np.array([0, 0, 1, 1])


def given(scores: Scores | None, failed: dict[str, str] | None = None, out: Path | None = None) -> Given:
    table = pd.DataFrame({"clip_id": CLIPS, "label": LABELS, "split": ["train", "val", "test", "train"]}).assign(
        subject="", source="", camera=-1, setup=-1, repetition=-1, frames=8, error="",
        path=[f"videos/{clip} take.mp4" for clip in CLIPS],
    )  # fmt: skip
    classes = pd.DataFrame({"label": [0, 1], "name": ["wave", "clap"], "prompt": ["wave", "clap"]})
    seen = [clip for clip in CLIPS if clip not in (failed or {})]
    rows = [(clip, frame, 0, 1.0, 1.0, 9.0, 9.0, 0.8) for clip in seen for frame in range(8)]
    boxes = pd.DataFrame(rows, columns=["clip_id", "frame", "track", "x1", "y1", "x2", "y2", "score"])
    collected = Collected(
        Path("/project"), Params(), Clips(table, classes), boxes=Boxes(boxes, failed or {}), fused=scores
    )
    return Given(collected, Judge(collected.params.report, None), None, out=out)


def scores(splits: tuple[str, ...], wrong: tuple[int, ...] = ()) -> Scores:
    """Sure of every clip's label, but for those rows of which another class is sure."""
    logits = 3.0 * np.eye(2, dtype=np.float32)[LABELS]
    logits[list(wrong)] = logits[list(wrong), ::-1]
    return Scores(CLIPS[: len(splits)], splits, LABELS[: len(splits)], logits[: len(splits)])


def test_nothing_stands_out_where_all_is_well() -> None:
    built = check.build(given(scores(("val", "val", "test", "test"))))
    assert built is not None
    assert built.tables == ()
    assert built.lead.startswith("No clip stands out")
    assert "4 clips (2 validation, 2 test)" in built.notes[0]


def test_contradicted_labels_are_listed_with_their_scores_and_videos() -> None:
    page = given(scores(("train", "val", "test", "train"), wrong=(0, 2)), out=Path("/project/other/report"))
    built = check.build(page)
    assert built is not None
    (table,) = built.tables
    assert [str(row["clip"]) for row in table.rows] == ["wave/1", "clap/1"]
    assert [row["looks_like"] for row in table.rows] == ["clap", "wave"]
    assert [row["scores"] for row in table.rows] == ["training, scored out of fold", "test"]
    assert table.rows[0]["clip"] == Link("wave/1", "../../videos/wave/1%20take.mp4")
    assert "(1 validation, 1 test, 2 training, scored out of fold)" in built.notes[0]
    assert "check_labels" in page.files.tables


def test_clips_without_people_are_listed_and_missing_scores_are_said() -> None:
    built = check.build(given(None, {"clap/2": "nobody was found"}))
    assert built is not None
    (table,) = built.tables
    assert [(str(row["clip"]), row["reason"]) for row in table.rows] == [("clap/2", "nobody was found")]
    assert table.caption.endswith("1 of 4")
    assert built.notes == ("Nothing can be said of labels: there are no fused scores of labelled clips.",)


def test_clips_that_no_network_was_kept_from_are_not_used() -> None:
    built = check.build(given(scores(("", "", "", ""), wrong=(0,))))
    assert built is not None
    assert built.tables == ()
