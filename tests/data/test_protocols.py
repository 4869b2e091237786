"""hpnet.data.protocols: grammars, splits and class lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from hpnet.data import protocols
from hpnet.data.grammar import COLUMNS, Protocol
from hpnet.data.protocols import class_table, label_and_split
from hpnet.data.sets import SETS, smarthome, uav_human
from hpnet.data.sets import ntu as ntu_set

SHARED = Path(__file__).resolve().parents[3] / "shared"


def ntu(setup: int = 1, camera: int = 1, subject: int = 1, repetition: int = 1, action: int = 1) -> str:
    return f"S{setup:03d}C{camera:03d}P{subject:03d}R{repetition:03d}A{action:03d}"


def split_of(protocol: str, name: str) -> str:
    return str(label_and_split(protocol, [name], val_fraction=0).split[0])


def benchmark_names() -> list[str]:
    return [ntu(s, c, p, 1, a) for s in (1, 2) for c in (1, 2, 3) for p in range(1, 11) for a in range(1, 19)]


# --- NTU ------------------------------------------------------------------------------------------------------------


def test_missing_lists_have_the_published_sizes() -> None:
    missing = ntu_set.missing_skeletons()
    parsed = [(int(n[1:4]), int(n[5:8]), int(n[9:12]), int(n[17:20])) for n in missing]
    assert len(missing) == 535
    assert sum(setup <= 17 for setup, *_ in parsed) == 302
    assert {action <= 60 for setup, _, _, action in parsed if setup <= 17} == {True}
    assert sorted(missing)[0] == "S001C002P005R002A008"


@pytest.mark.parametrize(
    ("protocol", "recorded", "published"),
    [
        # clips recorded on the test side (16,560 and 18,960 are in the data set's paper; 852 x 60 and 996 x 60)
        ("ntu60-xsub", 16560, 16487),
        ("ntu60-xview", 18960, 18932),
        ("ntu120-xsub", 51120, 50919),
        ("ntu120-xset", 59760, 59477),
    ],
)
def test_published_test_counts_follow_from_the_clips_left_out(protocol: str, recorded: int, published: int) -> None:
    definition = protocols.get(protocol)
    assert isinstance(definition, Protocol)
    clips = [definition.parse(name) for name in ntu_set.missing_skeletons()]
    left_out = [c for c in clips if c is not None and c.label >= 0 and definition.split(c) == "test"]
    assert recorded - len(left_out) == published


def test_ntu_labels_and_spellings() -> None:
    names = ["x/S001C001P001R001A001_rgb.avi", "S001C002P002R001A060.skeleton", r"d\S017C003P040R002A010", ntu(5)]
    table = label_and_split("ntu60-xsub", names, val_fraction=0)
    assert list(table.clip_id) == [ntu(), ntu(1, 2, 2, 1, 60), ntu(17, 3, 40, 2, 10), ntu(5)]
    assert list(table.label) == [0, 59, 9, 0]
    assert list(table.class_name) == ["drink water", "walking apart", "clapping", "drink water"]
    assert list(table.split) == ["train", "train", "test", "train"]
    assert table.loc[2, ["subject", "camera", "setup", "repetition"]].tolist() == ["40", 3, 17, 2]


def test_cross_subject_lists() -> None:
    assert len(ntu_set.NTU60_TRAIN_SUBJECTS) == 20
    assert len(ntu_set.NTU120_TRAIN_SUBJECTS) == 53
    assert [s for s in range(1, 11) if split_of("ntu60-xsub", ntu(subject=s)) == "train"] == [1, 2, 4, 5, 8, 9]
    assert split_of("ntu120-xsub", ntu(18, subject=103, action=61)) == "train"
    assert split_of("ntu120-xsub", ntu(18, subject=104, action=61)) == "test"


def test_cross_view_and_cross_set() -> None:
    assert [split_of("ntu60-xview", ntu(camera=c)) for c in (1, 2, 3)] == ["test", "train", "train"]
    assert [split_of("ntu120-xset", ntu(setup=s)) for s in (1, 2, 31, 32)] == ["test", "train", "test", "train"]


def test_clips_with_missing_skeletons_belong_to_no_split() -> None:
    table = label_and_split("ntu60-xsub", ["S001C002P005R002A008"])
    assert table.split[0] == ""
    assert table.label[0] == 7
    assert split_of("mannequin-xsub", "S001C002P005R002A008") == "train"


def test_clips_of_ntu120_are_outside_ntu60() -> None:
    table = label_and_split("ntu60-xsub", [ntu(18, action=61), ntu(18, action=1), ntu(1, action=61)])
    assert list(table.label) == [-1, -1, -1]
    assert list(table.split) == ["", "", ""]
    assert list(table.class_name) == ["", "", ""]


# --- validation -----------------------------------------------------------------------------------------------------


def test_validation_is_whole_training_subjects() -> None:
    names = [ntu(1, c, p, 1, a) for p in range(1, 41) for c in (1, 2, 3) for a in (1, 5, 9)]
    table = label_and_split("ntu60-xsub", names, val_fraction=0.15, seed=7)
    by_split = table.groupby("split").subject.agg(set)
    assert len(by_split["val"]) == 3
    assert not by_split["val"] & by_split["train"]
    assert {int(s) for s in by_split["val"] | by_split["train"]} == ntu_set.NTU60_TRAIN_SUBJECTS
    assert (table.split == "test").sum() == 20 * 9


@pytest.mark.parametrize("protocol", ["mannequin-xsub", "mannequin-xview", "mannequin-xset"])
def test_mannequin_protocols_hold_out_a_subject_and_never_test(protocol: str) -> None:
    names = benchmark_names()
    plain = label_and_split(protocol, names, val_fraction=0)
    table = label_and_split(protocol, names)
    assert set(plain.split) == {"train", "test"}
    assert (table.split == "test").equals(plain.split == "test")
    val = set(table.subject[table.split == "val"])
    assert 1 <= len(val) <= 2
    assert not val & set(table.subject[table.split == "train"])


def test_mannequin_xsub_subjects() -> None:
    table = label_and_split("mannequin-xsub", benchmark_names())
    assert set(table.subject[table.split == "test"]) == {"3", "6", "7", "10"}
    assert table[table.split == "val"].subject.nunique() == 1


def test_validation_is_seeded_and_stable() -> None:
    names = benchmark_names()
    one = label_and_split("mannequin-xsub", names, seed=1)
    pd.testing.assert_frame_equal(one, label_and_split("mannequin-xsub", names, seed=1))
    chosen = {
        label_and_split("mannequin-xsub", names, seed=s).query("split == 'val'").subject.iloc[0] for s in range(8)
    }
    assert len(chosen) > 1
    more = label_and_split("mannequin-xsub", [*names, ntu(1, 1, 3, 2, 1)], seed=1)
    pd.testing.assert_frame_equal(more.iloc[: len(names)], one)


def test_too_few_subjects_leave_validation_empty() -> None:
    names = [ntu(subject=p, action=a) for p in (1, 2, 3) for a in (1, 2)]
    assert set(label_and_split("ntu60-xsub", names).split) == {"train", "test"}
    assert "val" in set(label_and_split("ntu60-xsub", [*names, ntu(subject=4)]).split)


# --- other data sets ------------------------------------------------------------------------------------------------


def test_smarthome_cross_subject() -> None:
    names = [f"Cook.Cut_p{s:02d}_r00_v04_c03.mp4" for s in (3, 19, 25, 2, 20, 5)]
    table = label_and_split("smarthome-cs", names)
    assert list(table.split) == ["train", "val", "val", "test", "test", ""]
    assert set(table.label) == {2}
    assert table.loc[0, ["subject", "repetition", "setup", "camera"]].tolist() == ["3", 0, 4, 3]


def test_smarthome_chooses_epochs_by_its_own_measure() -> None:
    for preset in smarthome.PRESETS.values():
        assert preset.values["train"]["measure"] == "mean_class_accuracy"


def test_smarthome_cross_view() -> None:
    names = [f"Walk_p02_r00_v01_c{c:02d}" for c in range(1, 8)]
    assert list(label_and_split("smarthome-cv1", names).split) == ["train", "test", "", "", "val", "", ""]
    second = label_and_split("smarthome-cv2", names)
    assert list(second.split) == ["train", "test", "train", "train", "val", "train", "train"]
    assert set(second.label) == {18}
    outside = label_and_split("smarthome-cv1", ["WatchTV_p02_r00_v01_c01.mp4"])
    assert (outside.label[0], outside.split[0]) == (-1, "")
    assert len(class_table("smarthome-cv1")) == 19


@pytest.mark.skipif(not SHARED.is_dir(), reason="the authors' lists are not here")
@pytest.mark.parametrize(("name", "split"), [("train", "train"), ("validation", "val"), ("test", "test")])
def test_smarthome_lists_of_the_authors(name: str, split: str) -> None:
    names = (SHARED / "data/scores/smarthome_cs" / f"{name}_CS.txt").read_text().split()
    table = label_and_split("smarthome-cs", names)
    assert set(table.split) == {split}
    assert (table.class_name == [n.split("_p")[0] for n in names]).all()


def test_uav_human() -> None:
    name = "P070S01G10B00H10UC102000LC092000A031R0_09131758.avi"
    table = label_and_split("uav-human-v1", [name], val_fraction=0)
    assert table.loc[0].tolist() == [name[:-4], 31, "salute", "train", "70", "70", 0, 1, 0]
    for protocol, subject in (("uav-human-v1", 113), ("uav-human-v2", 116)):
        assert split_of(protocol, name.replace("P070", f"P{subject:03d}")) == "test"
    assert split_of("uav-human-v2", name.replace("P070", "P113")) == "train"
    assert len(uav_human.V1_TEST_SUBJECTS) == len(uav_human.V2_TEST_SUBJECTS) == 30


@pytest.mark.skipif(not SHARED.is_dir(), reason="the N-UCLA names are not here")
def test_nw_ucla_counts() -> None:
    names = [str(n) for n in np.load(SHARED / "data/nw_ucla.npz")["names"]]
    table = label_and_split("nw-ucla", names, val_fraction=0)
    assert table.split.value_counts().to_dict() == {"train": 1020, "test": 464}
    assert sorted(set(table.label)) == list(range(10))
    assert set(label_and_split("nw-ucla", names).split) == {"train", "val", "test"}


# --- folders --------------------------------------------------------------------------------------------------------


def test_folder_splits_each_class() -> None:
    names = [f"{action}/{i:02d}.mp4" for action in ("wave", "run") for i in range(20)]
    table = label_and_split("folder", names)
    counts = table.groupby(["class_name", "split"]).size()
    for action in ("wave", "run"):
        assert counts[action].to_dict() == {"train": 13, "val": 3, "test": 4}
    assert list(class_table("folder", names).name) == ["run", "wave"]
    assert list(class_table("folder", table).label) == [0, 1]
    assert table.clip_id[0] == "wave/00"
    pd.testing.assert_frame_equal(table, label_and_split("folder", names))
    backwards = label_and_split("folder", names[::-1]).iloc[::-1].reset_index(drop=True)
    pd.testing.assert_frame_equal(table, backwards)


@pytest.mark.parametrize(("count", "expected"), [(1, ["train"]), (2, ["test", "train"]), (3, ["test", "train", "val"])])
def test_folder_with_few_videos(count: int, expected: list[str]) -> None:
    assert sorted(label_and_split("folder", [f"a/{i}.mp4" for i in range(count)]).split) == expected


def test_folder_without_actions_and_with_its_own_splits() -> None:
    top = label_and_split("folder", ["clip.mp4"])
    assert (top.label[0], top.class_name[0], top.split[0]) == (-1, "", "")
    own = label_and_split("folder", ["train/wave/a.mp4", "test/wave/b.mp4", "val/run/c.mp4"])
    assert list(own.split) == ["train", "test", "val"]
    assert list(own.class_name) == ["wave", "wave", "run"]


# --- class lists ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "count", "first", "last"),
    [
        ("ntu60-xview", 60, "drink water", "walking apart"),
        ("ntu120-xset", 120, "drink water", "rock-paper-scissors"),
        ("smarthome-cs", 31, "Cook.Cleandishes", "WatchTV"),
        ("smarthome-cv2", 19, "Cutbread", "Walk"),
        ("uav-human-v1", 155, "drink", "close an umbrella"),
        ("nw-ucla", 10, "pick up with one hand", "carry"),
    ],
)
def test_class_tables(protocol: str, count: int, first: str, last: str) -> None:
    table = class_table(protocol)
    assert list(table.columns) == ["label", "name", "prompt", "descriptions"]
    assert list(table.label) == list(range(count))
    assert (table.name.iloc[0], table.name.iloc[-1]) == (first, last)
    assert table.name.is_unique
    assert table.prompt.is_unique
    assert table.prompt.str.startswith("a person is ").all()


def test_mannequin_classes_are_the_choreography() -> None:
    from hpnet.mannequin.actions import ACTIONS

    assert list(class_table("mannequin-xsub").name) == list(ACTIONS)
    outside = label_and_split("mannequin-xsub", [ntu(action=len(ACTIONS)), ntu(action=len(ACTIONS) + 1)])
    assert list(outside.label) == [len(ACTIONS) - 1, -1]


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "name", "message"),
    [
        ("ntu60-xsub", "S1C1P1R1A1", r"'S1C1P1R1A1' does not parse; expected SsssCccc"),
        ("ntu60-xsub", "S001C001P001R001A001x", "does not parse"),
        ("smarthome-cs", "Cook_Cut.mp4", "does not parse; expected Action_pSS"),
        ("smarthome-cs", "Cook.Cat_p02_r00_v04_c03", r"'Cook.Cat' is not an action .*near: Cook.Cut"),
        ("uav-human-v1", "P070S01", "does not parse; expected Pxxx"),
        ("nw-ucla", "a1_s1", "does not parse; expected aAA"),
        ("ntu61", ntu(), "unknown protocol 'ntu61'.*: choose from ntu60-xsub, "),
    ],
)
def test_unreadable_names(protocol: str, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        label_and_split(protocol, [name])


def test_two_names_of_one_clip() -> None:
    with pytest.raises(ValueError, match=r"given twice: 'S001C001P001R001A001_rgb\.avi' and"):
        label_and_split("ntu60-xsub", [f"{ntu()}_rgb.avi", f"{ntu()}.mp4"])
    with pytest.raises(ValueError, match="given twice"):
        label_and_split("folder", ["a/x.mp4", "a/x.avi"])


def test_every_protocol_has_classes_and_empty_input_works() -> None:
    for protocol in SETS.keys() - {"folder"}:
        assert len(class_table(protocol)) >= 8
        assert list(label_and_split(protocol, []).columns) == list(COLUMNS)
    with pytest.raises(ValueError, match="give the clip names"):
        class_table("folder")


def test_protocol_command(tmp_path: Path) -> None:
    from hpnet.stages.protocol import command

    (tmp_path / "names.txt").write_text(f"{ntu(subject=1)}\n\n{ntu(subject=3)}_rgb.avi\n")
    result = CliRunner().invoke(command, ["ntu60-xsub", "--names", str(tmp_path / "names.txt")], catch_exceptions=False)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0].startswith("clip_id,label,class_name,split")
    assert lines[1].startswith(f"{ntu(subject=1)},0,drink water,train")
    assert lines[2].startswith(f"{ntu(subject=3)},0,drink water,test")


@pytest.mark.parametrize("text", ["\ufeff{0}\r\n{1}.AVI\r\n", "{0}\n\n  {1}.m4v  ", "C:\\clips\\{0}\n{1}_rgb.MP4\n"])
def test_protocol_command_reads_what_other_systems_write(tmp_path: Path, text: str) -> None:
    from hpnet.stages.protocol import command

    (tmp_path / "names.txt").write_bytes(text.format(ntu(subject=1), ntu(subject=3)).encode())
    result = CliRunner().invoke(command, ["ntu60-xsub", "--names", str(tmp_path / "names.txt")], catch_exceptions=False)
    assert result.output.splitlines() == [
        "clip_id,label,class_name,split",
        f"{ntu(subject=1)},0,drink water,train",
        f"{ntu(subject=3)},0,drink water,test",
    ]


def test_protocol_command_can_say_more_and_keep_clips_without_skeletons(tmp_path: Path) -> None:
    from hpnet.stages.protocol import command

    names, out = tmp_path / "names.txt", tmp_path / "made/out.csv"
    names.write_text("S001C001P001R001A001\nS001C002P005R002A008\n")
    arguments = ["ntu60-xsub", "--names", str(names), "--out", str(out)]
    assert CliRunner().invoke(command, arguments, catch_exceptions=False).exit_code == 0
    assert pd.read_csv(out, keep_default_na=False).split.tolist() == ["train", ""]
    CliRunner().invoke(command, [*arguments, "--keep-missing", "--details"], catch_exceptions=False)
    kept = pd.read_csv(out)
    assert kept.split.tolist() == ["train", "train"]
    assert list(kept.columns) == list(COLUMNS)


def test_names_that_are_not_text(tmp_path: Path) -> None:
    from hpnet.stages.protocol import command

    (tmp_path / "names.txt").write_bytes(ntu().encode("utf-16"))
    with pytest.raises(ValueError, match=r"names\.txt is not UTF-8 text"):
        CliRunner().invoke(command, ["ntu60-xsub", "--names", str(tmp_path / "names.txt")], catch_exceptions=False)


def test_dots_in_the_names_of_a_folder_are_kept() -> None:
    assert label_and_split("folder", ["a/take.1", "a/take.2", "a/take.3.MP4"]).clip_id.tolist() == [
        "a/take.1",
        "a/take.2",
        "a/take.3",
    ]


def test_every_video_ending_is_no_part_of_a_name() -> None:
    from hpnet.core.video import VIDEO_SUFFIXES

    for suffix in VIDEO_SUFFIXES:
        assert protocols.clip_id("folder", f"a/b{suffix}") == "a/b"
        assert protocols.clip_id("ntu60-xsub", f"{ntu()}{suffix.upper()}") == ntu()
