"""hpnet.artifacts.takes: untrimmed videos and their events on disk."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from hpnet.artifacts.takes import EVENT_COLUMNS, NOBODY, TAKE_COLUMNS, Takes
from hpnet.core.events import Event


def takes() -> Takes:
    rows = [
        ("long/01", "videos/long/01.mp4", "d", 320, 240, 8.0, 160, 20.0, "P001", "train", ""),
        ("02", "videos/02.mp4", "d", 320, 240, 8.0, 80, 10.0, "", "test", ""),
        ("03", "videos/03.mp4", "", 0, 0, 0.0, 0, 0.0, "", "test", "is empty"),
    ]
    events = [("long/01", 5.0, 7.5, "wave", 1), ("long/01", 1.0, 3.0, "01", 0), ("long/01", 1.5, 2.0, "kick", NOBODY)]
    return Takes(pd.DataFrame(rows, columns=list(TAKE_COLUMNS)), pd.DataFrame(events, columns=list(EVENT_COLUMNS)))


def test_the_tables_read_back_equal(tmp_path: Path) -> None:
    takes().save(tmp_path)
    again = Takes.load(tmp_path)
    pd.testing.assert_frame_equal(again.videos, takes().videos)
    pd.testing.assert_frame_equal(again.events, takes().events)
    empty = Takes(takes().videos, takes().events[:0])
    empty.save(tmp_path)
    assert Takes.load(tmp_path).truth == {"long/01": [], "02": [], "03": []}


def test_truth_is_in_order_of_time_and_has_videos_without_events() -> None:
    found = takes().of(["train", "test"])
    assert found.truth == {
        "long/01": [Event(1.0, 3.0, "01", person=0), Event(1.5, 2.0, "kick"), Event(5.0, 7.5, "wave", person=1)],
        "02": [],
    }
    assert found.durations_s == {"long/01": 20.0, "02": 10.0}
    assert found.paths["02"] == Path("videos/02.mp4")
    assert takes().of(["test"]).truth == {"02": []}


def test_a_project_without_takes_says_where_they_come_from(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"takes.csv is missing: .*data.takes"):
        Takes.load(tmp_path)


def test_tables_that_do_not_fit_are_refused() -> None:
    good = takes()
    with pytest.raises(ValueError, match="'04' is not in takes.csv"):
        Takes(good.videos, good.events.assign(video="04"))
    with pytest.raises(ValueError, match="listed twice"):
        Takes(good.videos.assign(video="02"), good.events[:0])
    with pytest.raises(ValueError, match="'dev' is not train"):
        Takes(good.videos.assign(split="dev"), good.events)
    with pytest.raises(ValueError, match="column 'split' is missing"):
        Takes(good.videos.drop(columns="split"), good.events)
