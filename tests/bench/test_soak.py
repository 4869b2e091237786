"""hpnet bench soak: a troubled stream is watched to the end, and what would be wrong is said."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from hpnet.artifacts.files import read_json
from hpnet.bench import soak
from hpnet.stages.cli import cli


@pytest.mark.timeout(120)
def test_a_minute_of_a_troubled_stream(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["bench", "soak", "--minutes", "4", "--seed", "1", "--out", str(tmp_path / "soak")])
    assert done.exit_code == 0, done.output
    told = read_json(tmp_path / "soak.json")
    assert told["faults"] == []
    assert 240 <= told["passed_s"] < 260
    assert told["drops"] >= 2
    assert told["reopened"] >= told["drops"] - 1
    assert told["garbage"] > 10
    assert told["windows"] > 50
    assert told["frames"] > 1000
    assert "nothing was wrong" in (tmp_path / "soak.md").read_text()


def test_what_is_wrong_is_said() -> None:
    told = soak.Told(100.0, 150.0, drops=5, reopened=2, windows=3, memory_bytes=[1, 1, 1, 1 << 30])
    said = "; ".join(told.faults())
    for words in (
        "memory grew by 1023 MiB",
        "5 connections ended, 2 were",
        "after 150 s instead of 100 s",
        "were 3",
    ):
        assert words in said
