"""Worker processes: results, errors, deaths and their end, whatever the tasks do."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from hpnet.work.processes import Died, Workers, WorkerTraceback, device_workers, gpus_in_turn, run, run_here, tell


class Odd(Exception):
    """Cannot be made again from its arguments, as some errors of libraries."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def act(task: Any) -> Any:
    """Does what the task says."""
    if not isinstance(task, tuple):
        return task
    what, value = task
    if what == "kill":
        os.kill(os.getpid(), value)
    elif what == "kill once":
        if not value.exists():
            value.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    elif what == "exit":
        os._exit(value)
    elif what == "memory":
        raise MemoryError
    elif what == "error":
        raise ValueError(value)
    elif what == "odd error":
        raise Odd("an", "oddity")
    elif what == "no answer":
        return lambda: None
    elif what == "environment":
        return os.environ.get(value)
    elif what == "tell":
        tell(value)
    elif what == "wait":
        time.sleep(value)
    return os.getpid()


def results(tasks: list[Any], **options: Any) -> dict[int, Any]:
    workers = Workers(options.pop("count", 2))
    return dict(run(act, tasks, workers, **options))


def test_every_task_is_done_once_by_processes_of_its_own() -> None:
    assert results(list(range(20))) == {n: n for n in range(20)}
    pids = set(results([("wait", 0.05)] * 6).values())
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert results([]) == {}
    assert results([1], count=4) == {0: 1}


def test_a_death_costs_its_own_task_alone_and_says_why() -> None:
    tasks: list[Any] = list(range(9))
    tasks[2], tasks[5], tasks[7] = ("kill", signal.SIGSEGV), ("kill", signal.SIGKILL), ("exit", 3)
    found = results(tasks)
    dead = {n: value.reason for n, value in found.items() if isinstance(value, Died)}
    assert {n: value for n, value in found.items() if n not in dead} == {n: n for n in (0, 1, 3, 4, 6, 8)}
    assert dead == {
        2: "ended the process that worked on it (SIGSEGV: a fault in native code?)",
        5: "ended the process that worked on it (SIGKILL: out of memory?)",
        7: "ended the process that worked on it (exit status 3: a fault in native code?)",
    }


def test_a_task_is_tried_again_as_often_as_asked(tmp_path: Path) -> None:
    once = ("kill once", tmp_path / "x")
    assert isinstance(results([once])[0], Died)
    (tmp_path / "x").unlink()
    assert isinstance(results([once, 1], retries=1)[0], int)


def test_memory_that_is_refused_is_a_death_in_a_process_and_here() -> None:
    for found in (results([1, ("memory", None), 2]), dict(run_here(act, [1, ("memory", None), 2]))):
        assert (found[0], found[2]) == (1, 2)
        assert isinstance(found[1], Died)
        assert "out of memory?" in found[1].reason


def test_an_error_is_raised_with_the_workers_traceback() -> None:
    before = set(psutil.Process().children())
    with pytest.raises(ValueError, match="wrong clip") as raised:
        results([1, ("error", "wrong clip"), 2])
    assert isinstance(raised.value.__cause__, WorkerTraceback)
    assert "in act" in str(raised.value.__cause__)
    with pytest.raises(RuntimeError, match="Odd: an oddity"):
        results([("odd error", None)])
    with pytest.raises(Exception, match="pickle"):
        results([("no answer", None)])
    with pytest.raises(Exception, match="pickle"):
        next(run(lambda task: task, [1], Workers(1)))
    left = set(psutil.Process().children()) - before
    assert len(left) <= 1, "all workers have ended; the tracker of resources stays"


def test_what_workers_tell_comes_before_the_result() -> None:
    told: list[str] = []
    for _ in run(act, [("tell", "a"), ("tell", "b")], Workers(1), on_told=told.append):
        pass
    assert told == ["a", "b"]
    assert tell("nobody listens") is None


def test_each_process_has_its_threads_and_gpu() -> None:
    def environment(name: str, **options: Any) -> set[Any]:
        return set(dict(run(act, [("environment", name)] * 2, Workers(2, **options))).values())

    assert environment("OMP_NUM_THREADS", threads=3) == {"3"}
    assert environment("CUDA_VISIBLE_DEVICES", gpus=("4", "7")) == {"4", "7"}


@pytest.mark.parametrize(
    ("device", "visible", "expected"),
    [
        ("auto", ["0", "1", "2"], ("0", "1", "2")),
        ("cuda", ["2", "5"], ("2", "5")),  # as CUDA_VISIBLE_DEVICES names them
        ("cuda:1", ["2", "5"], ()),  # all stay visible: a worker that saw one alone would have no cuda:1
        ("cuda:0", ["0", "1"], ()),
        ("cpu", ["0", "1"], ()),
        ("auto", [], ()),
    ],
)
def test_workers_take_gpus_in_turn_or_find_the_one_that_is_named(
    device: str, visible: list[str], expected: tuple[str, ...]
) -> None:
    assert gpus_in_turn(device, visible) == expected


def test_workers_of_a_device_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    assert device_workers("cpu") == Workers(8, threads=2)
    assert device_workers("cpu", 3) == Workers(3, threads=5)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert device_workers("auto") == Workers(4, threads=4, gpus=("4", "7"))
    assert device_workers("cuda:1") == Workers(4, threads=4), "four processes keep one GPU busy"
    assert device_workers("cuda:1", 32) == Workers(32, threads=1)


def test_forks_of_one_parent_that_has_imported_everything() -> None:
    found = dict(run(act, [1, ("kill", signal.SIGKILL), 3], Workers(2, preload=["hpnet.core.clip_ids"])))
    assert (found[0], found[2]) == (1, 3)
    assert isinstance(found[1], Died)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent(tmp_path: Path, number: signal.Signals) -> None:
    program = (
        "from tests.work.test_processes import act\n"
        "from hpnet.work.processes import Workers, run\n"
        "try:\n"
        "    for _ in run(act, [('kill once', __import__('pathlib').Path(r'%s')), ('wait', 60), ('wait', 60)],"
        " Workers(2), retries=1):\n"
        "        pass\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    ) % (tmp_path / "x")
    running = subprocess.Popen(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not (tmp_path / "x").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    children = psutil.Process(running.pid).children(recursive=True)
    assert len(children) >= 2
    os.killpg(running.pid, number) if number == signal.SIGINT else running.send_signal(number)
    said, errors = running.communicate(timeout=30)
    _, left = psutil.wait_procs(children, timeout=10)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    assert not left
    if number != signal.SIGKILL:
        assert said.split() == ["interrupted"]
        assert errors == ""
