"""The walk of folders: files that are read, files that are skipped, and actions and splits from folders."""

import os
import shutil
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from hpnet.artifacts.clips import Clips
from hpnet.core.video import VIDEO_SUFFIXES, write_video
from hpnet.data.folders import read_layout, split_name
from hpnet.data.holdout import by_share, by_source, hold_out_order, sizes
from hpnet.data.index import label_folder
from hpnet.data.params import DataParams
from hpnet.data.protocols import class_table, label_and_split
from hpnet.data.table import split_table
from hpnet.data.walk import find_videos
from hpnet.estimate.step import named_paths
from hpnet.project.make import make_project
from hpnet.stages.cli import cli
from hpnet.stages.predict import find_files
from tests.trained import inside

PARAMS = DataParams(source="folder", protocol="folder")


def files(folder: Path, *names: str, content: bytes = b"x") -> Path:
    """Files whose content nobody reads."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def videos(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        write_video(folder / name, np.full((2, 16, 16, 3), 9 * number, np.uint8), fps=5)
    return folder


def names(folder: Path) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in find_videos(folder).files]


# --- what is skipped --- ----------------------------------------------------------------------------------------------


def test_hidden_files_and_what_systems_leave_are_counted_in_one_line(tmp_path: Path) -> None:
    files(tmp_path, "wave/a.mp4", "wave/._a.mp4", ".Trash-1000/files/old.mp4", ".ipynb_checkpoints/b.mp4")
    files(tmp_path, "__MACOSX/wave/a.mp4", "Thumbs.db", "$RECYCLE.BIN/x.mp4", "wave/notes.txt", "b.TXT", "c.json", "d")
    found = find_videos(tmp_path)
    assert names(tmp_path) == ["wave/a.mp4"]
    assert (
        found.passed_over() == ("skipped: 3 hidden, 3 of the system, 4 not videos (.txt 2, .json 1, no ending 1)")
        or found.passed_over() == "skipped: 3 hidden, 3 of the system, 4 not videos (.txt 2, no ending 1, .json 1)"
    )


def test_nothing_passed_over_is_no_line_and_a_folder_below_a_hidden_one_may_be_named(tmp_path: Path) -> None:
    files(tmp_path / ".cache" / "clips", "wave/a.mp4")
    found = find_videos(tmp_path / ".cache" / "clips")
    assert len(found.files) == 1
    assert found.passed_over() == ""


@pytest.mark.parametrize("suffix", sorted(VIDEO_SUFFIXES))
def test_every_ending_that_is_read_is_found_in_any_case(suffix: str, tmp_path: Path) -> None:
    assert names(files(tmp_path, f"wave/a{suffix.upper()}", f"wave/b{suffix}", content=b"")) == [
        f"wave/a{suffix.upper()}",
        f"wave/b{suffix}",
    ]


@pytest.mark.parametrize(
    ("content", "is_video"),
    [
        (b"import { x } from './x';\n" * 400, False),
        (("// Grüße, 日本\n" * 400).encode(), False),
        (b"G" * 4, False),
        (b"<?xml version='1.0'?><TS/>", False),
        ((b"G" + b"a" * 187) * 30, True),
        ((b"\0\0\0\0G" + b"a" * 187) * 30, True),
        (b"\xff\xfe\xfd" * 100, True),
        (b"", True),
    ],
)
def test_typescript_is_no_transport_stream(content: bytes, is_video: bool, tmp_path: Path) -> None:
    files(tmp_path, "src/a.mp4")
    files(tmp_path, "src/b.ts", "src/c.MTS", content=content)
    found = find_videos(tmp_path)
    assert len(found.files) == (3 if is_video else 1)
    assert ("skipped: 2 not videos" in found.passed_over()) is not is_video


def test_what_is_no_file_is_no_video(tmp_path: Path) -> None:
    files(tmp_path, "wave/a.mp4")
    os.mkfifo(tmp_path / "wave" / "pipe.mp4")
    (tmp_path / "wave" / "folder.mp4").mkdir()
    found = find_videos(tmp_path)
    assert len(found.files) == 1
    assert found.passed_over() == "skipped: 1 not a video (.mp4 1)"


def test_a_folder_of_other_files_says_what_was_passed_over(tmp_path: Path) -> None:
    files(tmp_path, "a.txt", ".b.mp4")
    with pytest.raises(FileNotFoundError, match=r"holds no video .*skipped: 1 hidden, 1 not a video \(\.txt 1\)"):
        find_videos(tmp_path)


# --- links ------------------------------------------------------------------------------------------------------------


def test_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    folder, outside = tmp_path / "videos", tmp_path / "outside"
    files(folder, "wave/a.mp4")
    files(outside, "deep/b.mp4", "c.mp4")
    (folder / "clap").symlink_to(outside)
    (folder / "wave" / "c.mp4").symlink_to(outside / "c.mp4")
    (folder / "wave" / "d.mp4").symlink_to(outside / "c.mp4")
    (folder / "wave" / "loop").symlink_to("..")
    (folder / "above").symlink_to(tmp_path)
    (folder / "self").symlink_to("self")
    (folder / "again").symlink_to("wave")
    (folder / "wave" / "a2").symlink_to("nowhere")
    (outside / "back").symlink_to(folder)
    found = find_videos(folder)
    # outside/c.mp4 is reached as clap/c.mp4 and, under another name, as wave/d.mp4
    assert names(folder) == ["clap/c.mp4", "clap/deep/b.mp4", "wave/a.mp4", "wave/d.mp4"]
    assert found.links == {
        "leading back to a folder above": ["above", "wave/loop"],
        "to what is here already": ["again", "clap/back", "wave/c.mp4"],
        "to nothing": ["self", "wave/a2"],
    }
    assert "2 links leading back to a folder above ('above', 'wave/loop')" in found.passed_over()


def test_links_that_double_at_every_level_end(tmp_path: Path) -> None:
    for n in range(40):
        (tmp_path / str(n)).mkdir()
        for side in "ab":
            (tmp_path / str(n) / side).symlink_to(tmp_path / str(n + 1))
    files(tmp_path, "40/x.mp4")
    assert names(tmp_path) == ["40/x.mp4"]


def test_folders_of_links_keep_every_name_of_a_published_data_set(tmp_path: Path) -> None:
    """As DVC checks files out by links: two clips of the same bytes are one file in its cache."""
    files(tmp_path / "cache", "3f.avi")
    (tmp_path / "videos").mkdir()
    for name in ("S001C001P001R001A001_rgb.avi", "S001C001P003R001A001_rgb.avi"):
        (tmp_path / "videos" / name).symlink_to(tmp_path / "cache" / "3f.avi")
    assert len(find_videos(tmp_path / "videos").files) == 2


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [b"wave/caf\xe9.mp4", b"wave/a\nb.mp4", b"wave/a\rb.mp4", b"wave/a\tb.mp4",
                                  b"wa\\ve/a.mp4", b"wa\x1bve/a.mp4"])  # fmt: skip
def test_names_that_no_table_holds_are_named(name: bytes, tmp_path: Path) -> None:
    folder = videos(tmp_path / "videos", "wave/x.mp4", "clap/y.mp4")
    bad = os.fsencode(folder) + b"/" + name
    os.makedirs(os.path.dirname(bad), exist_ok=True)
    shutil.copy(folder / "wave" / "x.mp4", bad)
    for command in (["init", "p", "--videos", "videos"], ["data", "--videos", "videos"]):
        with inside(tmp_path):
            done = CliRunner().invoke(cli, command)
        assert done.exit_code == 1
        assert "the name of 'videos/" in str(done.exception)
        assert ": rename it" in str(done.exception)
        str(done.exception).encode()
    good, unusable = find_files((str(folder),))
    assert len(good) == 2
    assert len(unusable) == 1


def test_odd_names_that_every_table_holds_are_taken(tmp_path: Path) -> None:
    odd = ["12:30:00.mp4", "a:b.mp4", "a b .mp4", "-x.mp4", f"{'y' * 251}.mp4", '日本, "x".mp4', "~.mp4"]
    assert sorted(names(files(tmp_path / "v", *odd))) == sorted(odd)
    table = label_folder(tmp_path / "v", PARAMS).table
    assert sorted(table.clip_id) == sorted(f"v/{name[:-4]}" for name in odd)


def test_letters_that_look_the_same_are_the_same(tmp_path: Path) -> None:
    composed, apart = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
    folder = videos(tmp_path / "one", f"{composed}/a.mp4", f"{apart}/b.mp4", "wave/c.mp4")
    labelled = label_folder(folder, PARAMS)
    assert set(labelled.table.class_name) == {composed, "wave"}
    assert labelled.table.clip_id.tolist() == [unicodedata.normalize("NFC", c) for c in labelled.table.clip_id]
    table = tmp_path / "t.csv"
    table.write_text(f"video,action\n{apart}/a.mp4,x\n{composed}/b.mp4,y\n", encoding="utf-8")
    by_table = label_folder(folder, PARAMS.model_copy(update={"table": str(table)}))
    assert all(file.is_file() for file in by_table.files)
    videos(folder, f"{apart}/a.mp4")
    with pytest.raises(ValueError, match=r"given twice: 'e\\u0301/a\.mp4' and '\\xe9/a\.mp4'"):
        label_folder(folder, PARAMS)


def test_two_endings_of_one_name_are_named(tmp_path: Path) -> None:
    folder = files(tmp_path / "videos", "wave/a.mp4", "wave/a.avi")
    with pytest.raises(ValueError, match=r"'wave/a' is given twice: 'wave/a\.avi' and 'wave/a\.mp4'; keep one"):
        label_folder(folder, PARAMS)
    (tmp_path / "t.csv").write_text("video,action\nwave/a.mp4,x\nwave/a.avi,y\n")
    with pytest.raises(ValueError, match=r"given twice: 'wave/a\.mp4' and 'wave/a\.avi'"):
        label_folder(folder, PARAMS.model_copy(update={"table": str(tmp_path / "t.csv")}))


# --- actions and splits -----------------------------------------------------------------------------------------------


def test_an_action_is_the_first_level_any_depth_below(tmp_path: Path) -> None:
    folder = videos(tmp_path / "v", "wave/anna/x.mp4", "wave/ben/deep/y.mp4", "clap/anna/z.mp4", "stray.mp4")
    table = label_folder(folder, PARAMS).table.set_index("clip_id")
    assert table.class_name.to_dict() == {
        "wave/anna/x": "wave",
        "wave/ben/deep/y": "wave",
        "clap/anna/z": "clap",
        "stray": "",
    }
    assert class_table("folder", ["wave/anna/x.mp4", "clap/z.mp4"]).name.tolist() == ["clap", "wave"]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("Train", "train"), ("TRAINING", "train"), ("videos_train", "train"), ("train_set", "train"),
        ("val", "val"), ("Validation", "val"), ("valid", "val"), ("videos_val", "val"), ("dev", "val"),
        ("test", "test"), ("Testing", "test"), ("test-videos", "test"),
        ("wave", ""), ("train hard", ""), ("trains", ""), ("videos", ""), ("test_train", ""), ("", ""), ("latest", ""),
    ],
)  # fmt: skip
def test_names_of_split_folders(name: str, split: str) -> None:
    assert split_name(name) == split


def splits(*clips: str, val_fraction: float = 0.15) -> dict[str, str]:
    table = label_and_split("folder", clips, val_fraction)
    return dict(zip(table.clip_id, table.class_name + ":" + table.split, strict=True))


def test_split_folders_above_the_actions_are_honoured() -> None:
    given = splits("Train/wave/a", "Train/clap/b", "videos_val/wave/anna/c", "testing/wave/d", "testing/e", "f")
    assert given == {
        "Train/wave/a": "wave:train",
        "Train/clap/b": "clap:train",
        "videos_val/wave/anna/c": "wave:val",
        "testing/wave/d": "wave:test",
        "testing/e": ":",
        "f": ":",
    }


def test_a_split_that_no_folder_gives_is_cut_from_train() -> None:
    training = [f"train/{action}/{n}" for action in ("clap", "wave") for n in range(10)]
    found = splits(*training, "test/clap/x", "test/wave/y")
    assert Counter(found.values()) == {
        "clap:train": 8, "wave:train": 8, "clap:val": 2, "wave:val": 2, "clap:test": 1, "wave:test": 1,
    }  # fmt: skip
    assert splits(*training, "test/clap/x", val_fraction=0)["train/clap/0"] == "clap:train"
    without_test = Counter(splits(*training, "val/clap/x", "val/wave/y").values())
    assert without_test == {
        "clap:train": 8, "wave:train": 8, "clap:val": 1, "wave:val": 1, "clap:test": 2, "wave:test": 2,
    }  # fmt: skip


def test_split_folders_below_the_actions_are_honoured_where_every_video_lies_in_one() -> None:
    assert splits("wave/train/a", "wave/test/b", "clap/train/c/d") == {
        "wave/train/a": "wave:train",
        "wave/test/b": "wave:test",
        "clap/train/c/d": "clap:train",
    }
    mixed = read_layout(["wave/train/a", "wave/test/b", "clap/c"])
    assert mixed.splits is None
    assert mixed.actions == ("wave", "wave", "clap")
    assert "not every video is in one" in mixed.note
    assert read_layout(["wave/test/a", "clap/test/b"]).splits is None


def test_a_mixture_is_ordinary_actions_and_is_told() -> None:
    mixed = read_layout(["train/a", "test/b", "wave/c"])
    assert mixed.actions == ("train", "test", "wave")
    assert mixed.splits is None
    assert mixed.note == "test/, train/ are named like splits, but are beside wave/: they are read as actions"
    assert read_layout(["wave/a", "clap/b"]).note == ""


def test_videos_directly_in_split_folders_have_no_action(tmp_path: Path) -> None:
    folder = videos(tmp_path / "v", "train/a.mp4", "train/b.mp4", "test/c.mp4")
    with pytest.raises(ValueError, match="have no action: expected a sub-folder per action"):
        make_project(tmp_path / "p", "folder", videos=folder)
    assert "expected test/ACTION/x.mp4" in label_folder(folder, PARAMS).notes[0]


def test_what_trains_nobody_is_no_project(tmp_path: Path) -> None:
    folder = videos(tmp_path / "v", "test/wave/a.mp4", "test/clap/b.mp4")
    with pytest.raises(ValueError, match=r"no video below .* is for training"):
        make_project(tmp_path / "p", "folder", videos=folder)


# --- sources ----------------------------------------------------------------------------------------------------------


def table_of(pairs: list[tuple[str, str]]) -> pd.DataFrame:
    rows = [(f"{n}.mp4", action, source, "") for n, (action, source) in enumerate(pairs)]
    return pd.DataFrame(rows, columns=["video", "action", "source", "split"])


@pytest.mark.parametrize("seed", range(20))
def test_every_action_is_tested_where_its_sources_allow(seed: int) -> None:
    pairs = [("wave", f"w{n}") for n in range(20)] + [("kick", f"k{n}") for n in range(3)]
    pairs += [("jump", f"j{n}") for n in range(2)] + [("sit", "s0"), ("sit", "s0")]
    pairs += [("clap", f"w{n}") for n in range(4)]
    found = split_table(table_of(pairs), seed=seed)
    of = found.groupby("class_name").split.agg(set)
    assert of["wave"] == of["kick"] == of["clap"] == {"train", "val", "test"}
    assert of["jump"] == {"train", "test"}
    assert of["sit"] == {"train"}
    assert 3 <= found.source[found.class_name == "wave"][found.split == "test"].nunique() <= 5


def test_people_who_do_everything_are_split_as_before() -> None:
    people = [f"p{n}" for n in range(20)]
    pairs = [(action, person) for action in ("clap", "wave", "kick") for person in people]
    found = split_table(table_of(pairs), seed=7)
    order = hold_out_order(people, 7)
    tests, vals = sizes(20, 0.15, 0.2)
    assert set(found.source[found.split == "test"]) == set(order[:tests])
    assert set(found.source[found.split == "val"]) == set(order[tests : tests + vals])


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 40), max_size=9), st.integers(0, 99), st.floats(0, 0.9))
def test_whole_groups_make_a_share_of_the_clips(clips: dict[str, int], seed: int, share: float) -> None:
    held = by_share(clips, share, seed)
    if share == 0 or len(clips) < 3:
        assert not held
        return
    assert 1 <= len(held) < len(clips)
    wanted, found = share * sum(clips.values()), sum(clips[group] for group in held)
    assert found - wanted <= max(clips.values()) / 2 or len(held) == 1


def test_a_subject_of_very_many_clips_is_no_validation_split_by_itself() -> None:
    """As some of NTU RGB+D 120 are; of equal ones, the first of the order go, as many as their share."""
    clips = {f"p{n}": 100 for n in range(20)}
    assert by_share(clips, 0.15, 7) == set(hold_out_order(clips, 7)[:3])
    clips[hold_out_order(clips, 7)[0]] = 1000
    held = sum(clips[group] for group in by_share(clips, 0.15, 7))
    assert abs(held / sum(clips.values()) - 0.15) < 0.02


def test_a_video_of_unknown_source_is_its_own() -> None:
    found = split_table(table_of([("wave", "anna"), *[("wave", "")] * 9, *[("clap", "")] * 10]))
    assert found.groupby("class_name").split.agg(set).tolist() == [{"train", "val", "test"}] * 2


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["p1", "p2", "p3", "p4", "p5", "p6"])), min_size=1),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.15]),
)
def test_splits_by_source_keep_sources_whole(pairs: list[tuple[str, str]], seed: int, val_fraction: float) -> None:
    sources = [source for _, source in pairs]
    found = by_source(sources, [action for action, _ in pairs], val_fraction, 0.2, seed)
    assert len(dict.fromkeys(zip(sources, found, strict=True))) == len(set(sources))
    assert "train" in found
    if len(set(sources)) > 1:
        assert "test" in found
    if not val_fraction:
        assert "val" not in found
    if all({p for a, p in pairs if a == action} >= {"p1", "p2", "p3"} for action in {a for a, _ in pairs}):
        for action in {a for a, _ in pairs}:
            here = {split for (a, _), split in zip(pairs, found, strict=True) if a == action}
            assert here >= {"train", "test"} | ({"val"} if val_fraction else set())


# --- the commands -----------------------------------------------------------------------------------------------------


def test_init_shows_a_table_and_what_was_passed_over(tmp_path: Path) -> None:
    videos(tmp_path / "videos", *(f"{a}/p{n}/x.mp4" for a in ("clap", "wave") for n in range(5)), "kick/a.mp4")
    files(tmp_path / "videos", ".Trash-1000/old.mp4", "wave/notes.txt")
    with inside(tmp_path):
        done = CliRunner().invoke(cli, ["init", "my project", "--videos", "videos"], catch_exceptions=False)
    assert done.stdout.splitlines()[4:] == [
        "action  train  val  test",
        "clap        3    1     1",
        "kick        1    0     0",
        "wave        3    1     1",
        "all         7    2     2",
        "11 videos, 3 actions: 7 train, 2 val, 2 test",
        "next: cd 'my project' && dvc repro",
    ]
    assert done.stderr.splitlines() == [
        "skipped: 1 hidden, 1 not a video (.txt 1)",
        "of 3 actions, 1 has no test clips (kick: 2 videos are needed), 1 has no val clips (kick: 3 videos are needed)",
    ]
    with inside(tmp_path / "my project"):
        data = CliRunner().invoke(cli, ["data"], catch_exceptions=False)
        assert Clips.load(Path("artifacts/data")).class_names == ["clap", "kick", "wave"]
    assert "skipped: 1 hidden, 1 not a video (.txt 1)" in data.stderr


def test_init_counts_sources(tmp_path: Path) -> None:
    clips = [f"{a}/{n}.mp4" for a in ("clap", "wave") for n in range(6)]
    videos(tmp_path / "videos", *clips)
    lines = ["video,action,source", *(f"{c},{c[:4]},p{int(c[5]) // 2}" for c in clips)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    with inside(tmp_path):
        done = CliRunner().invoke(cli, ["init", "p", "--videos", "videos", "--table", "t.csv"], catch_exceptions=False)
    assert done.stdout.splitlines()[4:9] == [
        "action  train    val   test",
        "clap    2 (1)  2 (1)  2 (1)",
        "wave    2 (1)  2 (1)  2 (1)",
        "all     4 (1)  4 (1)  4 (1)",
        "12 videos, 2 actions: 4 train, 4 val, 4 test, sources in brackets",
    ]


def test_init_says_that_weights_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HPNET_WEIGHTS", raising=False)
    named = [f"S001C001P{p:03d}R001A{a:03d}_rgb.avi" for p in (1, 2, 3) for a in (1, 2)]
    videos(tmp_path / "videos", *[name.replace("_rgb.avi", ".mp4") for name in named])
    with inside(tmp_path):
        arguments = ["init", "ntu", "--preset", "ntu60-xsub", "--videos", "videos"]
        done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    lines = done.stdout.splitlines()
    assert lines[-2].startswith("next: cd ntu && hpnet weights fetch yolov5mu hrnet-w48-simcc ")
    assert lines[-1] == "then: dvc repro"
    assert any(line.startswith("drink water") for line in lines)
    assert "sources in brackets" in lines[-3]


def test_predict_and_estimate_walk_the_same_way(tmp_path: Path) -> None:
    folder = files(tmp_path / "v", "a.mp4", "sub/b.TS", "sub/._b.mp4", "c.txt", ".Trash/d.mp4")
    (folder / "sub" / "b.TS").write_bytes((b"G" + bytes(187)) * 8)
    assert find_files((str(folder),)) == ([folder / "a.mp4", folder / "sub" / "b.TS"], {})
    columns = ["clip_id", "frame", "track", "x1", "y1", "x2", "y2", "score"]
    pd.DataFrame([("a", 0, 0, 0, 0, 1, 1, 1)], columns=columns).to_csv(tmp_path / "boxes.csv", index=False)
    assert set(named_paths(find_videos(folder).files, tmp_path / "boxes.csv")) == {"a", "b"}


def test_a_table_of_train_and_test_gets_its_validation_clips_from_train_by_source() -> None:
    rows = pd.DataFrame(
        [(f"{a}/{s}{n}.mp4", a, s, "test" if s == "zoe" else "train") for a in ("wave", "clap") for s in
         ("anna", "ben", "cleo", "dan", "zoe") for n in range(2)],
        columns=["video", "action", "source", "split"],
    )  # fmt: skip
    found = split_table(rows.assign(subject=""))
    assert set(found.split) == {"train", "val", "test"}
    assert (found.split[rows.source == "zoe"] == "test").all()
    assert found[rows.source != "zoe"].groupby("source").split.nunique().eq(1).all()
    assert found.groupby("class_name").split.nunique().eq(3).all()
    untouched = split_table(rows.assign(subject=""), val_fraction=0)
    assert untouched.split.tolist() == rows.split.tolist()
    named = rows.assign(subject="", split=rows.split.where(rows.source != "dan", "val"))
    assert split_table(named).split.tolist() == named.split.tolist()


def test_videos_of_a_table_that_are_not_there_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    folder = files(tmp_path / "v", "a/1.mp4", "a/2.mp4")
    table = tmp_path / "t.csv"
    table.write_text("video,action\na/1.mp4,wave\na/3.mp4,clap\na/2.mp4,wave\nb/4.mp4,clap\n")
    params = PARAMS.model_copy(update={"table": str(table)})
    first = label_folder(folder, params).notes[0]
    assert first.startswith(
        f"2 of 4 videos of {table} are not in {folder}, the first a/3.mp4: column video is the path"
    )
    table.write_text("video,action\na/1.mp4,wave\na/2.mp4,clap\n")
    assert not any("are not in" in note for note in label_folder(folder, params).notes)
