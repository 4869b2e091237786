"""`hpnet predict` in several processes: a file that ends its process is named, and the others are answered."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hpnet.predict import files as files_module
from hpnet.predict.files import HANDED_OVER, Task, recognise_files
from hpnet.predict.windows import Cutting


def deadly(task: Any, files: Sequence[Path]) -> tuple[list[tuple[str, bool]], list[str]]:
    """Stands in for the work: a file may end the process, as the system does when memory is out."""
    for file in files:
        if file.name.startswith("deadly"):
            os._exit(9)
    return [(f"{file} is answered", False) for file in files], [str(f) for f in files if f.name.startswith("broken")]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setattr(files_module, "_work", deadly)
    advanced: list[int] = []

    def answer(names: list[str]) -> tuple[list[str], list[str], list[str], int]:
        task = Task(Path(), None, None, True, "cpu", "float32", Cutting(1.0, 1.0), 3, False, {})
        failed = recognise_files([Path(n) for n in names], task, None, 2, lambda: advanced.append(1))  # type: ignore[arg-type]
        told = capsys.readouterr()
        return failed, told.out.splitlines(), told.err.splitlines(), len(advanced)

    return answer


@pytest.mark.long
def test_a_file_that_ends_its_process_costs_that_file(run: Any) -> None:
    names = [f"{n:02d}.mp4" for n in range(3 * HANDED_OVER)]
    names[5], names[9], names[20] = "deadly1.mp4", "broken.mp4", "deadly2.mp4"
    failed, out, err, advanced = run(names)
    assert failed == ["deadly1.mp4", "broken.mp4", "deadly2.mp4"]
    assert out == [f"{name} is answered" for name in names if not name.startswith("deadly")]
    assert [line.split(":")[0] for line in err] == ["deadly1.mp4", "deadly2.mp4"]
    assert advanced == len(names)


@pytest.mark.long
def test_processes_that_always_die_end_the_run(run: Any) -> None:
    with pytest.raises(RuntimeError, match="fewer --workers"):
        run([f"deadly{n}.mp4" for n in range(20)])
