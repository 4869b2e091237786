"""``hpnet train`` among other processes: stopped and killed, twice at once, and in a user's git repository."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from click.testing import CliRunner, Result

from hpnet.artifacts.files import read_json
from hpnet.artifacts.scores import Scores
from hpnet.stages.train import command
from hpnet.train.checkpoints import Epoch
from hpnet.train.histories import epoch_log
from hpnet.train.loop import Clock
from hpnet.train.params import GraphParams, TopologyParams
from hpnet.train.step import precision_of
from hpnet.work.locks import locked

from .test_loop import SPLITS, make_clips, make_features

SMALL = ("--topology-graph-base-channels", "4", "--topology-graph-blocks", "1", "--topology-warmup-epochs", "0")
TRAIN_ALL = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and so their children
from hpnet.stages import cli
from hpnet.train import every
every.cores = lambda: 2
cli.main()
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    clips = make_clips(SPLITS)
    clips.save(tmp_path / "artifacts/data")
    make_features(clips).save(tmp_path / "artifacts/pool")
    return tmp_path


def train(*arguments: str) -> Result:
    return CliRunner().invoke(command, [*arguments, *SMALL, "--topology-epochs", "1", "--device", "cpu"])


# --- stopped and killed ----------------------------------------------------------------------------------------------


def until(met: Callable[[], Any], seconds: float) -> bool:
    """Whether a condition came true in time."""
    end = time.monotonic() + seconds
    while not met():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def start_all(project: Path) -> subprocess.Popen[str]:
    """``hpnet train all`` with two workers and more epochs than it can do while a test lasts."""
    arguments = ["train", "all", *SMALL, "--topology-epochs", "100000", "--device", "cpu", "--threads", "1"]
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN_ALL, *arguments],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_command(project: Path, number: signal.Signals) -> None:
    running = start_all(project)
    assert until(lambda: len({f.parent for f in project.glob(".work/train/*/last.*.pt")}) == 2, 60)
    processes = psutil.Process(running.pid).children(recursive=True)
    assert len(processes) >= 3  # the parent process and two workers
    os.kill(running.pid, number)
    ended = until(lambda: all(map(has_ended, processes)), 20)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()  # if it is still there it would train for hours
    assert ended
    said = running.communicate()[1]
    if number == signal.SIGTERM:
        assert running.returncode == 1
        assert [line for line in said.splitlines() if line] == [
            "no params.yaml in this folder: every parameter has its default",
            "Error: interrupted; finished work is kept, and the same command resumes",
        ]


@pytest.mark.long
def test_ctrl_c_while_the_workers_are_prepared_leaves_no_traceback(project: Path) -> None:
    running = start_all(project)

    def preparing() -> bool:
        children = psutil.Process(running.pid).children()
        return any("multiprocessing.forkserver" in " ".join(child.cmdline()) for child in children)

    assert until(preparing, 60)
    time.sleep(0.3)  # it imports for longer than that
    os.killpg(running.pid, signal.SIGINT)
    try:
        said = running.communicate(timeout=60)[1]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)  # if it is still there it would train for hours
    assert running.returncode == 1
    assert "Error: interrupted" in said
    assert "Traceback" not in said
    assert "KeyboardInterrupt" not in said


# --- at once ---------------------------------------------------------------------------------------------------------


def test_a_second_command_of_the_same_configuration_waits(project: Path) -> None:
    assert train("hpj", "--out", "first").exit_code == 0
    (folder,) = Path(".work/train").iterdir()
    done: list[Result] = []
    second = threading.Thread(target=lambda: done.append(train("hpj", "--out", "second")))
    with locked(folder / ".lock"):
        second.start()
        second.join(1)
        assert second.is_alive()
        assert not Path("second").exists()
    second.join(60)
    assert done[0].exit_code == 0, done[0].output
    assert re.search(
        rf"another process is training the same configuration \({folder}\): waiting for it \(process {os.getpid()}\)",
        done[0].output,
    )
    logits = [Scores.load(Path(out) / "scores.parquet").logits for out in ("first", "second")]
    np.testing.assert_array_equal(logits[1], logits[0])


def test_other_seeds_of_another_out_are_kept_apart(project: Path) -> None:
    for out, noise in (("one", "0.1"), ("two", "0.5")):
        done = train("hpj", "--seed", "[3, 4]", "--out", out, "--topology-noise", noise)
        assert done.exit_code == 0, done.output
    for out, noise in (("one", 0.1), ("two", 0.5)):
        card = read_json(Path(".work/seeds") / out / "4" / "config.json")
        assert (card["seed"], card["params"]["noise"]) == (4, noise)


# --- curves ----------------------------------------------------------------------------------------------------------


def log_epochs(folder: Path) -> None:
    with epoch_log(folder, "hpj", 2, Clock(), None) as on_epoch:
        for number in range(2):
            on_epoch(Epoch(number, 0.1, 1.0, 1.0, 0.5))


def git(*arguments: str) -> str:
    who = ("-c", "user.name=x", "-c", "user.email=x@x")
    return subprocess.run(["git", *who, *arguments], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("commits", [0, 1])
@pytest.mark.parametrize("with_dvc", [False, True])
def test_curves_in_a_git_repository_leave_git_and_dvc_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commits: int, with_dvc: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    for number in range(commits):
        git("commit", "-q", "--allow-empty", "-m", str(number))
    if with_dvc:
        subprocess.run([sys.executable, "-m", "dvc", "-q", "init"], check=True)
        git("reset", "-q")
    place = tmp_path / "inner"
    place.mkdir()
    monkeypatch.chdir(place)
    before = {path.name for path in tmp_path.iterdir()}
    log_epochs(place / "history")
    assert {path.name for path in tmp_path.iterdir()} == before
    assert git("diff", "--cached", "--name-only") == ""
    table = (place / "history/plots/metrics/val/accuracy.tsv").read_text().splitlines()
    assert table == ["step\taccuracy", "0\t0.5", "1\t0.5"]
    assert read_json(place / "history/metrics.json") == {
        "lr": 0.1,
        "step": 1,
        "train": {"loss": 1.0},
        "val": {"loss": 1.0, "accuracy": 0.5},
    }


def test_curves_wait_for_no_thread_and_go_to_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C waited for the end of a queue's work, without end if it came while an epoch was being added."""
    asked: list[str] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STUDIO_TOKEN", "isat_x")
    monkeypatch.setenv("DVC_STUDIO_REPO_URL", "https://example.invalid/x.git")
    monkeypatch.setattr("queue.Queue.join", lambda self: asked.append("join"))
    monkeypatch.setattr("dvclive.studio.post_live_metrics", lambda event, *_, **__: asked.append(event))
    log_epochs(tmp_path / "history")
    assert asked == []


# --- what a trial run would rather know -------------------------------------------------------------------------------


@pytest.mark.parametrize(("warmup", "said"), [("1", True), ("0", False)])
def test_a_warm_up_as_long_as_the_training_is_remarked_on(project: Path, warmup: str, said: bool) -> None:
    done = CliRunner().invoke(
        command, ["hpj", *SMALL[:4], "--topology-warmup-epochs", warmup, "--topology-epochs", "1", "--device", "cpu"]
    )
    assert done.exit_code == 0, done.output
    assert ("the learning rate does not reach lr = " in done.output) is said


# --- the arithmetic that ran ------------------------------------------------------------------------------------------


def test_the_precision_that_ran_is_what_the_files_say(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)
    for asked, ran, said in (("auto", "bfloat16", "bfloat16"), ("float32", "float32", None)):  # in one process
        done = train("hpj", "--precision", asked)
        assert done.exit_code == 0, done.output
        assert read_json(project / "artifacts/train/hpj/config.json")["precision"] == ran
        assert read_json(project / "metrics/train/hpj.json").get("precision") == said


def test_what_is_fitted_is_float32_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)
    for model, found in (("ctrgcn", "bfloat16"), ("linear", "float32"), ("auto", "float32")):
        section = TopologyParams(graph=GraphParams(model=model))
        assert precision_of(section, "auto", torch.device("cpu")) == found
