"""hpnet.data.rendered: which people the takes show."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpnet.artifacts.takes import Takes
from hpnet.data.params import DataParams
from hpnet.data.protocols import label_and_split
from hpnet.data.rendered import render_takes, takes_of
from hpnet.mannequin.benchmark import plan


@pytest.mark.parametrize("protocol", ["mannequin-xsub", "mannequin-xview", "mannequin-xset"])
def test_nobody_in_a_test_take_is_in_a_clip_of_training(protocol: str) -> None:
    params = DataParams(protocol=protocol, subjects=8, takes=5, training_takes=6)
    table = label_and_split(protocol, [spec.clip_id for spec in plan(params)])
    specs = takes_of(params, table)
    learning = {int(s) for s in table.subject[table.split.isin(["train", "val"])]}
    tested = {spec.subject for spec in specs if spec.split == "test"}
    assert sum(spec.split == "test" for spec in specs) == 5
    assert not tested & learning
    assert {spec.subject for spec in specs if spec.split != "test"} <= learning
    for spec in specs:
        own = set(table.split[table.subject == str(spec.subject)])
        assert spec.split == "test" or spec.split in own
    assert len({spec.take_id for spec in specs}) == 11


def test_no_takes_by_default() -> None:
    params = DataParams(subjects=4)
    assert takes_of(params, label_and_split(params.protocol, [spec.clip_id for spec in plan(params)])) == []


def test_the_tables_of_takes_are_saved(tmp_path: Path) -> None:
    params = DataParams(subjects=4, takes=1, take_seconds=10, fps=4, width=64, height=64)
    table = label_and_split(params.protocol, [spec.clip_id for spec in plan(params)])
    made = render_takes(params, takes_of(params, table), tmp_path, 1)
    assert Takes.load(tmp_path).truth == made.truth
    assert (tmp_path / "takes_truth.parquet").is_file()
    assert all(path.is_file() for path in made.paths.values())
