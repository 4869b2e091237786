"""The section on clips of none of the actions: its sentence, its curve, and a project that has no such file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hpnet.artifacts.unknown import Refusal, Unknown
from hpnet.params import Params
from hpnet.report import page
from hpnet.report.collect import Collected
from hpnet.report.results import Judge
from hpnet.report.section import Given
from hpnet.report.sections import unknown

FITTED = Unknown(
    kept=0.95,
    background=None,
    known=40,
    negatives=40,
    origin="left-out actions",
    labellings={},
    refusals={
        "hpj+hpb": Refusal("energy", 1.0, 0.0, 0.3, 0.2, {"energy": 0.8, "chosen": 0.8}),
        "hpj": Refusal("probability", 1.0, 0.0, 0.3, 0.2, {"probability": 0.7, "chosen": 0.7}),
    },
    curve=((0.0, 1.0), (0.9, 0.5), (1.0, 0.3)),
)


@pytest.fixture
def given(tmp_path: Path) -> Given:
    collected = Collected(tmp_path, Params(), unknown=FITTED)
    return Given(collected, Judge(collected.params.report, None), None)


def test_the_share_that_is_refused_is_read_off_the_curve(given: Given) -> None:
    section = unknown.build(given)
    assert section is not None
    assert "for 5 % of the known clips and for 40 % of stand-ins for unknown ones (AUROC 80.0 %)" in section.lead
    assert [row["score"] for row in section.table.rows] == ["energy", "probability"]
    assert section.svg.count("<polyline") == 1
    assert "stand-ins; 40" in section.notes[0]
    html = page.render(given, [unknown])
    assert "None of the actions" in html


def test_background_clips_are_named_and_older_projects_have_no_section(given: Given) -> None:
    of_background = replace(given.collected, unknown=replace(FITTED, origin="background clips"))
    section = unknown.build(replace(given, collected=of_background))
    assert section is not None
    assert "clips of the action background" in section.notes[0]
    assert unknown.build(replace(given, collected=replace(given.collected, unknown=None))) is None
