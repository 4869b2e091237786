"""The paper's claims on the page: which unit each interval has."""

from pathlib import Path
from typing import Any

import pytest

from hpnet.core.units import Units
from hpnet.params import Params
from hpnet.report.collect import Collected
from hpnet.report.results import Judge
from hpnet.report.section import Given
from hpnet.report.sections import claims

ROW = {"table": "IX", "claim": "a > b", "here": "held", "numbers": "+2.0 points", "p": "0.01", "q": "0.02"}
UNITS: dict[str, Any] = {
    "performance": Units("performance", "clips of a performance belong together", {}),
    "clip": Units("clip", "each clip is a recording of its own", {}),
}


def lead(unit: str, *rows: dict[str, str]) -> str:
    collected = Collected(Path(), Params(), claims=list(rows))
    judge = Judge(collected.params.report, None)
    judge.units = UNITS[unit]
    built = claims.build(Given(collected, judge, None))
    assert built is not None
    assert built.table.rows[0]["over"] == rows[0].get("over", "")
    return built.lead


def test_intervals_over_clips_are_called_too_narrow_where_clips_belong_together() -> None:
    old, new, untested = ({**ROW, "over": over} for over in ("324 clips", "108 performances", ""))
    said = lead("performance", old, new, untested)
    assert "1 of the tests resample clips" in said
    assert "too narrow" in said
    assert "too narrow" not in lead("performance", new, untested)


@pytest.mark.parametrize("row", [{**ROW, "over": "37 clips"}, ROW], ids=["clips", "made before the column was"])
def test_where_clips_are_independent_nothing_is_narrow(row: dict[str, str]) -> None:
    assert "too narrow" not in lead("clip", row)
