"""Which clips a person should look at: contradicted labels, nobody, and the wrong person."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hpnet.report.doubts import Doubt, by_clip, doubted_labels, lost_people, unseen_people, unsure_people
from hpnet.report.tables import Column, Link, Table

FRAMES = {"a": 10, "b": 10}


def boxes(clip: str, frames: range, track: int = 0, left: float = 0.0, step: float = 1.0) -> pd.DataFrame:
    x1 = left + step * np.arange(len(frames))
    return pd.DataFrame(
        {"clip_id": clip, "frame": frames, "track": track, "x1": x1, "y1": 0.0, "x2": x1 + 20, "y2": 50.0, "score": 0.9}
    )


def test_labels_are_doubted_where_another_class_is_much_more_probable() -> None:
    # right; wrong; wrong by little; wrong by most; without a label
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.45, 0.55], [0.05, 0.95], [0.0, 1.0]])
    labels = np.array([0, 0, 0, 0, -1])
    assert doubted_labels(probabilities, labels).tolist() == [3, 1]
    assert doubted_labels(probabilities, labels, times=1.0).tolist() == [3, 1, 2]
    assert doubted_labels(probabilities[:1], labels[:1]).tolist() == []
    many = np.full((2, 100), 0.5 / 98)
    many[:, 0] = (0.02, 0.2)
    many[:, 1] = 0.3  # the surest of a hundred, and sure enough beside 0.02
    assert doubted_labels(many, np.array([0, 0])).tolist() == [0]


def test_nobody_counts_in_clips_that_can_be_used() -> None:
    failed = {"a": "nobody was found", "gone": "file is missing"}
    assert list(unseen_people(failed, FRAMES)) == [Doubt("a", "nobody was found", 1.0)]


def test_a_person_who_is_followed_throughout_gives_no_doubt() -> None:
    assert list(lost_people(boxes("a", range(10)), FRAMES)) == []
    assert list(lost_people(boxes("a", range(10)).iloc[:0], FRAMES)) == []


def test_a_person_who_is_lost_or_exchanged_is_told() -> None:
    lost = boxes("a", range(4))
    (found,) = lost_people(lost, FRAMES)
    assert found.reason == "the first person is seen in 40% of the frames"
    (found,) = lost_people(pd.concat([lost, boxes("a", range(5, 10), track=1)]), FRAMES)
    assert found.reason.endswith("and others are in it")
    assert found.weight == pytest.approx(0.6)
    jumps = pd.concat([boxes("a", range(5)), boxes("a", range(5, 10), left=80), boxes("b", range(10))])
    (found,) = lost_people(jumps, FRAMES)
    assert (found.clip_id, found.reason) == ("a", "the box of the first person jumps at frame 5")
    gap = pd.concat([boxes("a", range(4)), boxes("a", range(6, 10), left=80)])  # two frames apart, no jump
    assert list(lost_people(gap, FRAMES)) == []


def test_low_scores_are_low_beside_the_other_clips() -> None:
    means = {"a": 0.8, "b": 0.78, "c": 0.5}
    (found,) = unsure_people(means, "boxes")
    assert (found.clip_id, found.reason) == ("c", "boxes score 0.50, 0.78 in the median clip")
    assert list(unsure_people({"a": 0.4, "b": 0.42}, "joints")) == []  # all alike: that is said of the whole run
    assert list(unsure_people({}, "joints")) == []


def test_a_clip_stands_once_with_all_reasons_the_worst_first() -> None:
    found = by_clip(iter([Doubt("a", "x", 0.2), Doubt("b", "y", 0.9), Doubt("a", "z", 0.5)]))
    assert found == [Doubt("b", "y", 0.9), Doubt("a", "x; z", 0.5)]


def test_a_link_is_a_text_in_csv_and_an_address_on_the_page() -> None:
    rows = [{"clip": Link("a", "../videos/a%20b.mp4")}]
    table = Table("t", "T", (Column("clip", "Clip", "code"),), rows)
    assert table.to_csv() == "clip\na\n"
    (cell,) = table.cells(rows[0])
    assert (cell.text, cell.sort, cell.address) == ("a", "a", "../videos/a%20b.mp4")
