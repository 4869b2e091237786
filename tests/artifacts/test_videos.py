"""videos.csv, what there is, apart from clips.csv, what it means; and the two joined."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from hpnet.artifacts.clips import CLIP_COLUMNS, Clips
from hpnet.artifacts.videos import VIDEO_COLUMNS, Videos

CLASSES = pd.DataFrame({"label": [0, 1], "name": ["sit", "stand"], "prompt": ["sitting", "standing"]})


def videos(*clip_ids: str, **columns: object) -> pd.DataFrame:
    facts = {
        "path": "x.mp4", "bytes": 9, "digest": "00ff", "width": 64, "height": 48, "fps": 12.5, "frames": 5,
        "seconds": 0.4, "error": "",
    }  # fmt: skip
    return pd.DataFrame([{"clip_id": c, **facts, **columns} for c in clip_ids])


def meanings(*clip_ids: str, **columns: object) -> pd.DataFrame:
    facts = {"label": 1, "subject": "007", "source": "home 1", "camera": 1, "setup": 2, "repetition": 3, "split": "val"}
    return pd.DataFrame([{"clip_id": c, **facts, **columns} for c in clip_ids])


def test_videos_read_back_equal(tmp_path: Path) -> None:
    table = videos("a", "b", digest="0123", error="is a folder")
    Videos(table).save(tmp_path)
    pd.testing.assert_frame_equal(Videos.load(tmp_path).table, table, check_dtype=False)
    assert Videos.load(tmp_path).usable().empty
    assert Videos.load(tmp_path).failures() == {"a": "is a folder", "b": "is a folder"}


def test_videos_refuse_what_they_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"videos\.csv: clip 'a' is listed twice"):
        Videos(videos("a", "a"))
    with pytest.raises(ValueError, match=r"videos\.csv: clip id '\.\./a'"):
        Videos(videos("../a"))
    with pytest.raises(ValueError, match=r"videos\.csv: column 'digest' is missing"):
        Videos(videos("a").drop(columns="digest"))
    with pytest.raises(FileNotFoundError, match=r"videos\.csv is missing: run `hpnet data` first"):
        Videos.load(tmp_path)


def test_changed_and_vanished_files_are_told_and_unknown_ones_are_not() -> None:
    known = Videos(pd.concat([videos("a", "b"), videos("c", digest="")]))
    assert known.changed({"a": "00ff", "b": "00fe", "c": "1"}) == ["b"]
    assert known.changed({"a": "missing", "b": "00ff"}) == ["a"]


def test_each_table_has_its_own_columns_and_a_folder_gives_both_joined(tmp_path: Path) -> None:
    Videos(videos("b", "a", frames=7)).save(tmp_path)
    Clips(meanings("a", "b"), CLASSES).save(tmp_path)
    assert pd.read_csv(tmp_path / "videos.csv").columns.tolist() == list(VIDEO_COLUMNS)
    assert pd.read_csv(tmp_path / "clips.csv").columns.tolist() == list(CLIP_COLUMNS)
    joined = Clips.load(tmp_path).table
    assert joined.clip_id.tolist() == ["a", "b"]
    assert joined[["subject", "source", "frames", "digest"]].to_numpy().tolist() == [["007", "home 1", 7, "00ff"]] * 2
    before = (tmp_path / "videos.csv").read_bytes()
    Clips(joined.assign(label=0, split="test")[::-1], CLASSES).save(tmp_path / "again")
    assert sorted((tmp_path / "again" / "videos.csv").read_bytes().splitlines()) == sorted(before.splitlines())


def test_a_clip_without_a_video_cannot_be_used_and_without_any_table_nothing_is_known(tmp_path: Path) -> None:
    Videos(videos("a")).save(tmp_path)
    Clips(meanings("a", "b"), CLASSES).save(tmp_path)
    clips = Clips.load(tmp_path)
    assert clips.usable().clip_id.tolist() == ["a"]
    assert "videos.csv does not have it: run `hpnet data` again" in clips.failures()["b"]
    assert clips.table.frames.tolist() == [5, 0]
    (tmp_path / "videos.csv").unlink()
    alone = Clips.load(tmp_path)
    assert alone.usable().clip_id.tolist() == ["a", "b"]
    assert set(alone.table.path) == {""}
    alone.save(tmp_path)
    assert not (tmp_path / "videos.csv").exists()


def test_the_table_of_an_earlier_version_is_refused_with_the_remedy(tmp_path: Path) -> None:
    Clips(meanings("a"), CLASSES).save(tmp_path)
    videos("a").merge(meanings("a").drop(columns="source")).to_csv(tmp_path / "clips.csv", index=False)
    with pytest.raises(ValueError, match=r"is of an earlier hpnet \(no videos\.csv\): run `hpnet data` again"):
        Clips.load(tmp_path)
