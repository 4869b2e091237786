"""Look-alike actions in the class table, and what every ensemble recognised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpnet.artifacts.clips import CLIP_COLUMNS, Clips
from hpnet.artifacts.combinations import Combination, Combinations
from hpnet.data.protocols import class_table
from hpnet.mannequin.actions import OBJECT_PAIRS, ORDER_PAIRS


def clips(classes: pd.DataFrame) -> Clips:
    row = dict.fromkeys(CLIP_COLUMNS, "") | {"clip_id": "a", "label": 0, "camera": 0, "setup": 0, "repetition": 0}
    return Clips(pd.DataFrame([row]), classes)


def test_the_mannequins_class_table_names_their_pairs(tmp_path: Path) -> None:
    expected = {"object": list(OBJECT_PAIRS), "order": list(ORDER_PAIRS)}
    made = clips(class_table("mannequin-xsub"))
    assert made.pairs() == expected
    made.save(tmp_path)
    assert Clips.load(tmp_path).pairs() == expected


def test_a_class_table_without_pairs_stays_as_it_was(tmp_path: Path) -> None:
    classes = pd.DataFrame({"label": [0, 1], "name": ["a", "b"], "prompt": ["", ""]})
    for table in (classes, classes.assign(pair="")):
        clips(table).save(tmp_path)
        assert (tmp_path / "classes.csv").read_text() == "label,name,prompt\n0,a,\n1,b,\n"
        assert Clips.load(tmp_path).pairs() == {}


@pytest.mark.parametrize("pair", [["object 1", "object 1", "object 1"], ["object 1", "", ""], ["object", "object", ""]])
def test_a_pair_is_of_two_classes_and_has_a_number(pair: list[str]) -> None:
    classes = pd.DataFrame({"label": range(3), "name": list("abc"), "prompt": "", "pair": pair})
    with pytest.raises(ValueError, match="expected two classes, and a name such as 'object 1'"):
        clips(classes)


def test_combinations_come_back_in_order(tmp_path: Path) -> None:
    labels = np.array([0, 1])
    made = [
        Combination(rule, name, streams, ("x", "y"), labels, labels[::-1])
        for rule in ("weighted", "balanced")
        for name, streams in (("hpj+hpb", ("hpj", "hpb")), ("all", ("hpj", "hpb", "hpjm")))
    ]
    Combinations.of(made).save(tmp_path / "combinations.parquet")
    found = list(Combinations.load(tmp_path / "combinations.parquet"))
    assert [(c.rule, c.name, c.streams, c.clip_ids) for c in found] == [
        (c.rule, c.name, c.streams, c.clip_ids) for c in made
    ]
    assert found[0].predicted.tolist() == [1, 0]
    assert list(Combinations.of([])) == []
    with pytest.raises(ValueError, match="clip 'x' is listed twice for 'all'"):
        Combinations.of([made[1], made[1]])
