"""Folds of a clip table: the forms of a file, groups, leaks and validation clips."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from hpnet.artifacts.clips import CLIP_COLUMNS, Clips
from hpnet.crossval.folds import fold_clips, group_folds, natural, read_folds

CLASSES = ("run", "sit", "wave")


def make_clips(sources: int = 6, per_source: int = 3, known: bool = True) -> Clips:
    """Clips ``CLASS/SOURCE_n`` of each source, one of each class."""
    rows = []
    for source in range(sources):
        for label in range(per_source):
            name = CLASSES[label % 3]
            rows.append((f"{name}/s{source}_{label}", label % 3, f"p{source}", f"s{source}" if known else ""))
    table = pd.DataFrame(dict.fromkeys(CLIP_COLUMNS, [0] * len(rows)))
    for at, column in enumerate(("clip_id", "label", "subject", "source")):
        table[column] = [row[at] for row in rows]
    table["split"], table["error"], table["path"] = "train", "", ""
    return Clips(table, pd.DataFrame({"label": range(3), "name": CLASSES, "prompt": CLASSES}))


def write(folder: Path, rows: dict[str, list[str]]) -> Path:
    file = folder / "folds.csv"
    pd.DataFrame(rows).to_csv(file, index=False)
    return file


def ids(clips: Clips) -> list[str]:
    return [str(clip_id) for clip_id in clips.table.clip_id]


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_clip_is_tested_in_its_own_fold(tmp_path: Path) -> None:
    clips = make_clips(sources=10)
    sequence = [str(int(source[1:]) + 1) for source in clips.table.source]
    folds = read_folds(write(tmp_path, {"video": [f"{c}.avi" for c in ids(clips)], "fold": sequence}), clips)
    assert [fold.name for fold in folds] == [str(number) for number in range(1, 11)]  # not 1, 10, 2
    assert folds[9].test == {"run/s9_0", "sit/s9_1", "wave/s9_2"}
    assert folds[9].train | folds[9].test == set(ids(clips))


def test_columns_of_train_and_test_are_folds_and_a_clip_may_be_absent_from_one(tmp_path: Path) -> None:
    clips = make_clips(sources=4)
    side = ["test" if source in ("s0", "s1") else "train" for source in clips.table.source]
    other = ["train" if s == "test" else "test" for s in side]
    other[0] = ""
    rows = {"video": ids(clips), "action": ["x"] * len(side), "source": ["y"] * len(side), "split1": side}
    folds = read_folds(write(tmp_path, {**rows, "split2": other}), clips)
    assert [fold.name for fold in folds] == ["split1", "split2"]
    absent = ids(clips)[0]
    assert absent in folds[0].test
    assert absent not in folds[1].train | folds[1].test
    table = fold_clips(clips, folds[1], val_fraction=0.0, seed=7).table
    assert dict(zip(table.clip_id, table.split, strict=True))[absent] == ""


def test_a_clip_with_an_empty_fold_has_no_part_in_any(tmp_path: Path) -> None:
    clips = make_clips(sources=3)
    folds = read_folds(write(tmp_path, {"video": ids(clips), "fold": ["", "", "", *"111222"]}), clips)
    assert len(folds) == 2
    assert not any(clip in fold.train | fold.test for fold in folds for clip in ids(clips)[:3])


def test_videos_are_named_by_path_or_by_file_name_alone(tmp_path: Path) -> None:
    clips = make_clips(sources=2)
    video = [f"videos\\{c}.avi".replace("/", "\\") if at else c.rpartition("/")[2] for at, c in enumerate(ids(clips))]
    folds = read_folds(write(tmp_path, {"video": video, "fold": list("111222")}), clips)
    assert folds[0].test == set(ids(clips)[:3])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows[rows.video != "run/s0_0"], r"does not name 1 of 6 clips, such as 'run/s0_0'"),
        (lambda rows: rows.assign(video="x/" + rows.video + "9"), r"names 6 videos that are no clips .*'x/run/s0_09'"),
        (lambda rows: pd.concat([rows, rows[:1]]), "names clip 'run/s0_0' twice"),
        (lambda rows: rows.drop(columns="fold"), "has no fold; expected a column video and"),
        (lambda rows: rows.rename(columns={"video": "clip"}), "has no column 'video'"),
        (lambda rows: rows.assign(fold="1"), "fold '1' has no train clip"),
        (lambda rows: rows.assign(fold=list("121212")), "source 's0' trains and tests fold '1'"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, change: object, words: str) -> None:
    clips = make_clips(sources=2)
    rows = pd.DataFrame({"video": ids(clips), "fold": list("111222")})
    file = tmp_path / "folds.csv"
    change(rows).to_csv(file, index=False)  # type: ignore[operator]
    with pytest.raises(ValueError, match=words):
        read_folds(file, clips)


def test_a_missing_file_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"--folds: .*none.csv is missing; expected a CSV with a column video"):
        read_folds(tmp_path / "none.csv", make_clips())


def test_clips_of_unknown_source_may_be_on_either_side(tmp_path: Path) -> None:
    clips = make_clips(sources=2, known=False)
    assert len(read_folds(write(tmp_path, {"video": ids(clips), "fold": list("121212")}), clips)) == 2


# --- groups ----------------------------------------------------------------------------------------------------------


def test_groups_stay_together_and_every_clip_is_tested_once() -> None:
    clips = make_clips(sources=7)
    folds = group_folds(clips, "source", 3, seed=0)
    tested = [clip for fold in folds for clip in fold.test]
    assert sorted(tested) == sorted(ids(clips))
    source = dict(zip(clips.table.clip_id, clips.table.source, strict=True))
    for fold in folds:
        assert not {source[c] for c in fold.train} & {source[c] for c in fold.test}
    assert folds == group_folds(clips, "source", 3, seed=0)
    assert folds != group_folds(clips, "source", 3, seed=1)


def test_as_many_folds_as_groups_leave_one_out_each() -> None:
    clips = make_clips(sources=4)
    folds = group_folds(clips, "subject", 4, seed=0)
    assert [fold.name for fold in folds] == ["subject p0", "subject p1", "subject p2", "subject p3"]
    assert folds[2].test == {"run/s2_0", "sit/s2_1", "wave/s2_2"}


@pytest.mark.parametrize(
    ("group", "k", "words"),
    [
        ("source", 7, r"--k 7: there are 6 groups by source"),
        ("place", 2, "--group 'place' is none of source"),
    ],
)
def test_groups_that_cannot_be_folded_are_refused(group: str, k: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        group_folds(make_clips(), group, k, seed=0)


def test_a_column_that_nothing_is_known_of_is_refused() -> None:
    with pytest.raises(ValueError, match="no clip has a source; give another column"):
        group_folds(make_clips(known=False), "source", 2, seed=0)


def test_unlabelled_clips_have_no_part() -> None:
    clips = make_clips()
    table = clips.table.assign(label=[-1, *clips.table.label[1:]])
    folds = group_folds(Clips(table, clips.classes), "source", 3, seed=0)
    assert not any("run/s0_0" in fold.train | fold.test for fold in folds)


# --- a fold's table --------------------------------------------------------------------------------------------------


def test_validation_clips_are_whole_sources_of_the_training_clips() -> None:
    clips = make_clips(sources=8)
    fold = group_folds(clips, "source", 4, seed=0)[0]
    table = fold_clips(clips, fold, val_fraction=0.2, seed=7).table
    by_split = {split: set(rows.source) for split, rows in table.groupby("split")}
    assert by_split["test"] == {dict(zip(table.clip_id, table.source, strict=True))[c] for c in fold.test}
    assert len(by_split["val"]) == 1
    assert not by_split["val"] & by_split["train"]
    assert set(clips.table.split) == {"train"}  # the project's own is as it was


def test_numbers_in_names_count() -> None:
    assert sorted(["split10", "split2", "a"], key=natural) == ["a", "split2", "split10"]
