"""hpnet.core.units: which clips are resampled together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpnet.core.units import FEWEST_SOURCES, UNKNOWN, independent_units
from hpnet.data.protocols import label_and_split


def rows(**columns: list[Any]) -> pd.DataFrame:
    """Clips of the test split of which a table says nothing but these columns."""
    count = len(next(iter(columns.values())))
    unknown = {"subject": "", "source": "", "camera": 0, "setup": 0, "repetition": 0, "split": "test", "label": 0}
    table = pd.DataFrame({"clip_id": [f"c{n}" for n in range(count)], **unknown})
    return table.assign(**columns)


def mannequins(subjects: int, cameras: int = 3) -> pd.DataFrame:
    """Every subject does two actions twice, seen by every camera."""
    names = [
        f"S001C{camera:03}P{subject:03}R{repetition:03}A{action:03}"
        for subject in range(1, subjects + 1)
        for repetition in (1, 2)
        for action in (1, 2)
        for camera in range(1, cameras + 1)
    ]
    return label_and_split("mannequin-xsub", names).assign(split="test")


def test_many_subjects_are_the_unit() -> None:
    table = mannequins(FEWEST_SOURCES)
    units = independent_units(table)
    assert units.name == "subject"
    numbers = units.numbers(table.clip_id)
    assert len(set(numbers)) == FEWEST_SOURCES
    assert pd.Series(numbers).groupby(table.subject.to_numpy()).nunique().eq(1).all()
    assert units.counted(len(set(numbers))) == "10 subjects"


def test_the_cameras_of_a_performance_are_one_unit_where_subjects_are_few() -> None:
    table = mannequins(6)
    units = independent_units(table)
    assert units.name == "performance"
    assert "6 subjects" in units.reason
    numbers = units.numbers(table.clip_id)
    assert len(set(numbers)) == 6 * 2 * 2
    names = table.clip_id.str.replace(r"C\d+", "", regex=True)
    assert pd.Series(numbers).groupby(names.to_numpy()).nunique().eq(1).all()


def test_the_choice_is_made_on_the_labelled_test_clips_and_holds_for_all() -> None:
    table = mannequins(20)
    table["split"] = np.where(table.subject.astype(int) <= 4, "test", "train")
    units = independent_units(table)
    assert units.name == "performance"
    assert units.count(table.clip_id) == 20 * 2 * 2
    table.loc[table.subject.astype(int) == 1, "label"] = -1
    assert "3 subjects" in independent_units(table).reason


def test_a_folder_with_sources_is_resampled_by_them_however_few_they_are() -> None:
    table = rows(source=["a", "a", "b", "b", "b", ""])
    units = independent_units(table)
    assert units.name == "source"
    numbers = units.numbers(table.clip_id)
    assert numbers[0] == numbers[1] != numbers[2]
    assert len(set(numbers)) == 3  # a clip of unknown source is one of its own
    assert units.counted(1) == "1 source"


def test_clips_of_which_nothing_is_known_are_single() -> None:
    units = independent_units(rows(label=[0, 1, 1]))
    assert units.name == "clip"
    assert units.numbers(["c0", "c1", "c2"]).tolist() == [0, 1, 2]
    assert UNKNOWN.count(["x", "y"]) == 2


@pytest.mark.parametrize("camera", [[1, 1, 2, 2], [0, 0, 0, 0]])
def test_numbers_that_do_not_tell_clips_apart_make_no_performances(camera: list[int]) -> None:
    table = rows(subject=["a", "a", "a", "a"], source=["a", "a", "a", "a"], camera=camera)
    assert independent_units(table).name == "subject"


def test_clips_that_the_table_lacks_are_units_of_their_own() -> None:
    units = independent_units(rows(source=["a", "a", "b"]))
    assert units.numbers(["c1", "new", "c0", "newer"]).tolist() == [0, 3, 0, 5]
    assert units.count(["c1", "new", "c0", "newer"]) == 3
