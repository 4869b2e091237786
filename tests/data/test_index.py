"""`hpnet data`: folders of videos, good and bad, become clip tables."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.files import read_json
from hpnet.core.video import write_video
from hpnet.data.index import index_folder, video_facts
from hpnet.data.params import DataParams
from hpnet.data.table import BEGINNING, copies
from hpnet.data.walk import find_videos
from hpnet.stages.data import command


def video(path: Path, frames: int = 4, seed: int = 0) -> None:
    noise = np.random.default_rng(seed).integers(0, 255, (frames, 32, 48, 3), np.uint8)
    write_video(path, noise, fps=10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for kind, action in enumerate(("wave", "clap")):
        for number in range(5):
            video(tmp_path / "videos" / action / f"{number}.mp4", seed=10 * kind + number)
    return tmp_path / "videos"


def params(**changes: object) -> DataParams:
    return DataParams.model_validate({"source": "folder", "protocol": "folder", **changes})


def test_a_class_per_sub_folder_and_every_split(folder: Path) -> None:
    clips = index_folder(folder, params())
    assert clips.class_names == ["clap", "wave"]
    assert clips.table.groupby("label").split.apply(lambda s: set(s) >= {"train", "val", "test"}).all()
    assert set(clips.table.frames) == {4}
    assert all(Path(p).is_file() for p in clips.table.path)


def test_a_table_says_what_mirror_images_show(folder: Path, tmp_path: Path) -> None:
    rows = [
        f"{action}/{n}.mp4,{action},{'-' if action == 'wave' else ''}" for action in ("wave", "clap") for n in (0, 1)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["video,action,mirror", *rows]))
    clips = index_folder(folder, params(table=str(tmp_path / "t.csv")))
    clips.save(tmp_path / "data")
    assert Clips.load(tmp_path / "data").mirror_partners().tolist() == [0, -1]
    assert "mirror" not in index_folder(folder, params()).classes.columns


def test_a_flat_folder_is_one_class_and_strays_have_no_label(folder: Path, tmp_path: Path) -> None:
    video(tmp_path / "flat" / "a.mp4")
    video(tmp_path / "flat" / "b.mp4")
    flat = index_folder(tmp_path / "flat", params())
    assert flat.class_names == ["flat"]
    assert set(flat.table.label) == {0}
    video(folder / "stray.mp4")
    mixed = index_folder(folder, params()).table.set_index("clip_id")
    assert mixed.label["stray"] == -1
    assert mixed.split["stray"] == ""


def test_unreadable_files_keep_their_row_and_their_reason(folder: Path) -> None:
    (folder / "wave" / "zero.mp4").write_bytes(b"")
    whole = (folder / "wave" / "0.mp4").read_bytes()
    (folder / "wave" / "half.mp4").write_bytes(whole[: len(whole) // 2])
    found = index_folder(folder, params()).failures()
    assert found["wave/zero"] == "file is empty (0 bytes)"
    assert set(found) == {"wave/zero", "wave/half"}


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere is missing: data.videos must name"):
        find_videos(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"holds no video \(looked for .*\.avi"):
        find_videos(tmp_path / "empty")


def test_a_name_outside_the_protocol_shows_the_pattern(folder: Path) -> None:
    with pytest.raises(ValueError, match="SsssCcccPpppRrrrAaaa"):
        index_folder(folder, params(protocol="ntu60-xsub"))


def test_a_video_in_two_splits_of_a_published_data_set_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trained = "S001C001P001R001A001_rgb.avi"
    for name in (trained, "S001C001P002R001A001_rgb.avi", "S001C001P003R001A001_rgb.avi"):  # train, train, test
        video(tmp_path / "videos" / name, seed=int(name[9:12]))
    arguments = ["--videos", "videos", "--protocol", "ntu60-xsub"]
    different = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "another split" not in different.output
    copied = tmp_path / "videos" / "S001C001P006R001A002_rgb.avi"  # a test clip with another action
    shutil.copy(tmp_path / "videos" / trained, copied)
    shutil.copy(tmp_path / "videos" / trained, tmp_path / "videos" / trained.replace("R001", "R002"))
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "3 videos have a copy in another split, such as" in done.output
    assert copied.name in done.output
    assert len(Clips.load(tmp_path / "artifacts/data").usable()) == 5


def test_videos_alike_in_size_and_beginning_are_compared_to_their_end(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "abcde"]
    for file, last in zip(files, (b"x", b"y", b"x", b"x", b"xx"), strict=True):
        file.write_bytes(bytes(BEGINNING) + last)
    assert copies(files, ["train", "test", "test", "train", "val"]) == [(0, 2), (2, 3)]
    assert copies([*files, tmp_path / "missing"], ["train", "test", "", "train", "val", "test"]) == []
    assert copies([], []) == []


@pytest.mark.parametrize("name", ["open", "stat"])
def test_a_video_that_may_not_be_read_is_recorded_and_ends_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    closed = folder / "wave" / "3.mp4"
    shutil.copy(folder / "wave" / "0.mp4", closed)
    usual = getattr(Path, name)

    def refused(self: Path, *args: object, **options: object) -> object:
        if self.name == closed.name and self.parent.name == "wave":
            raise PermissionError(13, "Permission denied", str(self))
        return usual(self, *args, **options)

    files = [folder / "wave" / "0.mp4", closed]
    assert copies(files, ["train", "test"]) == [(0, 1)]
    monkeypatch.setattr(Path, name, refused)
    assert copies(files, ["train", "test"]) == []
    facts = video_facts(closed)
    assert (facts["path"], facts["digest"]) == (str(closed), "")
    if name == "open":
        clips = index_folder(folder, params())
        assert len(clips.table) == 10
        assert clips.table.set_index("clip_id").digest["wave/3"] == ""
    else:
        assert facts["error"] == "cannot be opened (Permission denied)"


def test_the_command_counts_failures_and_stops_when_there_are_too_many(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (folder / "wave" / "zero.mp4").write_bytes(b"")
    done = CliRunner().invoke(command, ["--videos", "videos", "--max-failed", "0.5"])
    assert done.exit_code == 0, done.output
    assert read_json(tmp_path / "metrics" / "data.json")["failed"] == 1
    assert len(Clips.load(tmp_path / "artifacts" / "data").table) == 11
    stopped = CliRunner().invoke(command, ["--videos", "videos", "--max-failed", "0"])
    assert isinstance(stopped.exception, ValueError)
    assert "1 of 11 clips cannot be read, more than data.max_failed = 0" in str(stopped.exception)
