"""hpnet.data.events_table and hpnet.data.cutting: labelled stretches of untrimmed videos become clips."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.takes import EVENT_COLUMNS, NOBODY, TAKE_COLUMNS, Takes
from hpnet.artifacts.videos import stretches
from hpnet.core.events import BACKGROUND
from hpnet.core.video import write_video
from hpnet.data import cutting, step
from hpnet.data.events_table import is_events_table, read_events_table, split_events
from hpnet.data.index import label_folder
from hpnet.data.params import DataParams

HEAD = "video,start_s,end_s,action,person,source,split\n"
GOOD = """\
a.mp4,0.5,2.0,wave,,anna,train
a.mp4,2.0,3.1,clap,,anna,train
b/b.mp4,1,2.5,wave,,ben,test
b/b.mp4,3.0,4.1,clap,,ben,test
c.mp4,,,,,cid,train
"""


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of 4 s, 10 frames a second."""
    folder = tmp_path_factory.mktemp("videos")
    for number, name in enumerate(("a.mp4", "b/b.mp4", "c.mp4")):
        frames = (np.full((32, 32, 3), (5 * t + 40 * number) % 255, np.uint8) for t in range(40))
        write_video(folder / name, frames, 10)
    return folder


def table(folder: Path, text: str) -> Path:
    file = folder / "t.csv"
    file.write_text(HEAD + text)
    return file


def params(videos: Path, file: Path, **more: object) -> DataParams:
    values = {"source": "folder", "protocol": "folder", "videos": str(videos), "table": str(file), **more}
    return DataParams.model_validate(values)


def made(videos: Path, file: Path, out: Path, **more: object) -> Clips:
    step.run(params(videos, file, **more), out, out / "metrics.json", 1)
    return Clips.load(out)


def test_a_clip_for_each_event_and_background_between(videos: Path, tmp_path: Path) -> None:
    clips = made(videos, table(tmp_path, GOOD), tmp_path / "data")
    assert clips.class_names == [BACKGROUND, "clap", "wave"]
    assert clips.classes.prompt[0] == cutting.BACKGROUND_PROMPT
    rows = clips.table.assign(name=[clips.class_names[label] for label in clips.table.label])
    events = rows[rows.name != BACKGROUND].set_index("clip_id")
    assert events.name.to_dict() == {
        "a/0000500-0002000": "wave",
        "a/0002000-0003100": "clap",
        "b/b/0001000-0002500": "wave",
        "b/b/0003000-0004000": "clap",
    }
    assert events.loc["a/0000500-0002000", "frames"] == 15
    assert events.loc["b/b/0003000-0004000", "seconds"] == pytest.approx(1.0)
    assert set(events.split[:2]) == {"train"}
    assert set(events.split[2:]) == {"test"}
    idle = rows[rows.name == BACKGROUND]
    parts = stretches(clips.table)
    lengths = {1.5, 1.1}
    for row in idle.itertuples():
        part = parts[str(row.clip_id)]
        assert any(part.end_s - part.start_s == pytest.approx(length, abs=2e-3) for length in lengths)
        assert row.path != str(videos / "a.mp4") or part.start_s >= 3.1 or part.end_s <= 0.5
    assert (idle.path == str(videos / "c.mp4")).any()
    takes = Takes.load(tmp_path / "data")
    assert {video: len(events) for video, events in takes.truth.items()} == {"a": 2, "b/b": 2, "c": 0}
    assert takes.truth["b/b"][1].end_s == 4.0
    again = made(videos, table(tmp_path, GOOD), tmp_path / "again")
    pd.testing.assert_frame_equal(again.table, clips.table)
    none = made(videos, table(tmp_path, GOOD), tmp_path / "none", background=0)
    assert none.class_names == ["clap", "wave"]


def test_a_video_that_cannot_be_read_makes_failed_clips(videos: Path, tmp_path: Path) -> None:
    file = table(tmp_path, GOOD + "gone.mp4,1,2,wave,,dora,train\n")
    clips = made(videos, file, tmp_path / "data", max_failed=0.5)
    assert clips.failures() == {"gone/0001000-0002000": "file is missing"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.mp4,3,2,wave,,,\n", r"line 2: start_s 3 is not before end_s 2; expected columns video, start_s"),
        ("a.mp4,2,2,wave,,,\n", "not before"),
        ("a.mp4,-1,2,wave,,,\n", "no times in a video"),
        ("a.mp4,nan,2,wave,,,\n", "no times in a video"),
        ("a.mp4,0:10,2,wave,,,\n", "start_s '0:10' is no number of seconds"),
        ("a.mp4,1,2,,,,\n", "line 2: action is empty"),
        ("a.mp4,1,,wave,,,\n", "line 2: end_s is empty"),
        (",1,2,wave,,,\n", "video '' is empty"),
        ("../a.mp4,1,2,wave,,,\n", "leads out"),
        ("a.mp4,1,2,background,,,\n", "leave it out"),
        ("a.mp4,1,2,wave,left,,\n", "person 'left' is no number"),
        ("a.mp4,,,,1,,\n", "person without an event"),
        ("a.mp4,1,2,wave,,,dev\n", "split 'dev' is not"),
        ("a.mp4,1,2,wave,,,\na.mp4,1,2,wave,,,\n", "lines 2 and 3 are the same event of video 'a.mp4'"),
        ("a.mp4,1,3,wave,,,\na.mp4,0,1.5,clap,,,\n", r"lines 2 and 3: 'clap' \(0 to 1.5 s\) and 'wave' .* overlap"),
        ("a.mp4,1,3,wave,2,,\na.mp4,2,4,wave,2,,\n", "of person 2 in 'a.mp4' overlap: shorten one"),
        ("a.mp4,1,3,wave,2,,\na.mp4,2,4,wave,,,\n", "line 3: no person, but other events"),
        ("a.mp4,1,2,wave,,,\na.mp4,,,,,,\n", "line 3: nothing happens in video 'a.mp4', but line 2"),
        ("a.mp4,1,2,wave,,,test\na.mp4,3,4,wave,,,train\n", "split of video 'a.mp4' is 'test' and 'train'"),
        ("a.mp4,1,2,wave,,anna,\na.mp4,3,4,wave,,ben,\n", "source of video 'a.mp4' is 'anna' and 'ben'"),
    ],
)
def test_impossible_rows_are_named(rows: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_events_table(table(tmp_path, rows))


def test_a_missing_column_is_named_and_the_other_form_is_none(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("video,start_s,action\na.mp4,1,wave\n")
    assert is_events_table(file)
    with pytest.raises(ValueError, match="no column 'end_s'; expected columns video"):
        read_events_table(file)
    file.write_text("video,action\na.mp4,wave\n")
    assert not is_events_table(file)
    assert not is_events_table(tmp_path / "none.csv")


def test_an_event_may_end_a_frame_after_its_video_and_no_later(videos: Path, tmp_path: Path) -> None:
    rows = GOOD.replace("c.mp4,,,,", "c.mp4,3,4,clap,") + "c.mp4,4,4.2,wave,,cid,train\n"
    with pytest.raises(ValueError, match="line 7: 'wave' ends at 4.2 s, but 'c.mp4' is 4 s long"):
        made(videos, table(tmp_path, rows), tmp_path)


def test_persons_may_overlap_and_what_mixes_two_actions_is_no_clip(videos: Path, tmp_path: Path) -> None:
    rows = GOOD + "d.mp4,0,2,wave,0,dora,train\nd.mp4,1,3,clap,1,dora,train\nd.mp4,3,4,wave,0,dora,train\n"
    rows += "d.mp4,3,4,wave,1,dora,train\n"
    write_video(videos / "d.mp4", (np.full((32, 32, 3), 250 - 5 * t, np.uint8) for t in range(40)), 10)
    clips = made(videos, table(tmp_path, rows), tmp_path / "data")
    own = [str(clip_id) for clip_id in clips.table.clip_id if str(clip_id).startswith("d/")]
    assert own == ["d/0003000-0004000"]
    assert len(Takes.load(tmp_path / "data").truth["d"]) == 4


def test_splits_keep_sources_and_videos_whole(tmp_path: Path) -> None:
    text = "".join(f"v{n}.mp4,{k},{k}.5,{action},,,\n" for n in range(6) for k, action in enumerate(("wave", "clap")))
    rows = read_events_table(table(tmp_path, text))
    splits = split_events(rows, 0.15, 7)
    assert set(splits) == {"train", "val", "test"}
    assert pd.DataFrame({"video": rows.video, "split": splits}).groupby("video").split.nunique().max() == 1
    named = rows.assign(source=["left" if video < "v3" else "right" for video in rows.video])
    assert pd.Series(split_events(named, 0, 7)).groupby(named.source).nunique().max() == 1
    with pytest.raises(ValueError, match="source 'left' is in test and in train"):
        split_events(named.assign(split=["test" if v == "v0.mp4" else "train" for v in named.video]), 0, 7)
    with pytest.raises(ValueError, match=r"v0\.mp4"):
        split_events(pd.concat([rows, rows.assign(video=rows.video.str.replace("mp4", "avi"))]), 0, 7)


def test_init_sees_the_actions_of_a_table_of_events(videos: Path, tmp_path: Path) -> None:
    labelled = label_folder(videos, params(videos, table(tmp_path, GOOD)))
    assert labelled.table.class_name.tolist() == ["wave", "clap", "wave", "clap", ""]
    assert labelled.files[2] == videos / "b/b.mp4"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 80), st.integers(5, 30), st.integers(0, 2)), max_size=8), st.integers(0, 5))
def test_background_never_touches_an_event_and_is_counted(draws: list[tuple[int, int, int]], background: int) -> None:
    events, now = [], 0
    for pause, length, action in draws:
        events.append(("v", (now + pause) / 10, (now + pause + length) / 10, f"a{action}", NOBODY))
        now += pause + length
    row = ("v", "gone.mp4", "", 32, 32, 10.0, now + 50, (now + 50) / 10, "", "train", "is missing")
    takes = Takes(pd.DataFrame([row], columns=list(TAKE_COLUMNS)), pd.DataFrame(events, columns=list(EVENT_COLUMNS)))
    rows = cutting.cut_clips(takes, background, 7).rows
    idle = rows[rows.class_name == BACKGROUND]
    assert len(rows) - len(idle) == len(events)
    assert len(idle) <= np.ceil(background * len(events) / max(1, len({event[3] for event in events})))
    spans = sorted(zip(rows.start_s, rows.end_s, strict=True))
    assert all(before[1] <= after[0] + 2e-3 for before, after in itertools.pairwise(spans))
    assert not spans or (spans[0][0] >= 0 and spans[-1][1] <= (now + 50) / 10 + 1e-3)
    pd.testing.assert_frame_equal(rows, cutting.cut_clips(takes, background, 7).rows)
