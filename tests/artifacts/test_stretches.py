"""Clips that are parts of videos: on disk, in the shards of detect and estimate, and as the networks see them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpnet.artifacts.boxes import Boxes
from hpnet.artifacts.clips import CLIP_COLUMNS, Clips
from hpnet.artifacts.videos import UNKNOWN, Videos, stretches
from hpnet.core.stretch import Stretch
from hpnet.core.video import write_video
from hpnet.detect.params import DetectParams
from hpnet.detect.step import DetectWork, video_items
from hpnet.estimate.step import clip_items, listed_paths, listed_stretches
from hpnet.report.examples import read_frame
from hpnet.report.previews import FRAMES, strip_frames


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder of one video of 4 s, whole and in two parts."""
    video = tmp_path / "long.mp4"
    write_video(video, (np.full((48, 64, 3), 4 * t, np.uint8) for t in range(40)), 10)
    rows = pd.DataFrame({"clip_id": ["whole", "a", "b"], "label": 0})
    rows = rows.assign(subject="", source="", camera=0, setup=0, repetition=0, split="train")[list(CLIP_COLUMNS)]
    rows = rows.assign(**UNKNOWN).assign(path=str(video), frames=[40, 10, 15], start_s=[np.nan, 1.0, 2.5])
    classes = pd.DataFrame({"label": [0], "name": ["wave"], "prompt": ["a person is waving"]})
    Clips(rows.assign(end_s=[np.nan, 2.0, 9.0]), classes).save(tmp_path / "data")
    return tmp_path / "data"


def test_parts_read_back_and_whole_videos_have_none(data: Path) -> None:
    assert stretches(Videos.load(data).table) == {"a": Stretch(1.0, 2.0), "b": Stretch(2.5, 9.0)}
    assert stretches(Clips.load(data).table) == stretches(Videos.load(data).table)
    whole = Clips.load(data).table
    Clips(whole[whole.clip_id == "whole"], Clips.load(data).classes).save(data)
    assert "start_s" not in (data / "videos.csv").read_text()
    assert stretches(Videos.load(data).table) == {}


def test_parts_of_one_file_are_different_clips_of_it(data: Path) -> None:
    items = {item.clip_id: item for item in video_items(Videos.load(data))}
    assert len({item.digest for item in items.values()}) == 3
    assert items["a"].digest.startswith(items["whole"].digest)
    Boxes(pd.DataFrame(columns=["clip_id", "frame", "track", "x1", "y1", "x2", "y2", "score"]), {}).save(data)
    found = clip_items(listed_paths(data), data, 1, listed_stretches(data))
    assert {item.clip_id: item.stretch for item in found} == {
        "whole": None,
        "a": Stretch(1.0, 2.0),
        "b": Stretch(2.5, 9.0),
    }


def test_detect_reads_the_part_alone_and_counts_from_its_first_frame(data: Path, tmp_path: Path) -> None:
    work = DetectWork(DetectParams(enabled=False, frames=2))
    out = tmp_path / "part"
    out.mkdir()
    work(video_items(Videos.load(data)), out)
    frames = Boxes.load(out).table.groupby("clip_id").frame
    assert frames.min().to_dict() == {"whole": 0, "a": 0, "b": 0}
    assert frames.max().to_dict() == {"whole": 39, "a": 9, "b": 14}


def test_the_report_shows_frames_of_the_part(data: Path) -> None:
    clips = Clips.load(data).table.set_index("clip_id")
    part = stretches(Clips.load(data).table)["b"]
    path = Path(str(clips.path["b"]))
    strip = strip_frames(path, part)
    assert sorted(strip) == np.linspace(0, 14, FRAMES).round().astype(int).tolist()
    assert all(abs(int(frame[20, 20, 0]) - 4 * (25 + number)) <= 6 for number, frame in strip.items())
    assert abs(int(read_frame(path, 3, part)[20, 20, 0]) - 4 * 28) <= 6
    assert abs(int(read_frame(path, 99, part)[20, 20, 0]) - 4 * 39) <= 6
