"""Shards: what is finished stays finished, whatever happens to the process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpnet.work import shards as shards_module
from hpnet.work.processes import Workers
from hpnet.work.shards import MANIFEST, ShardItem, deal, link_tree, run_shards


def items(count: int, prefix: str = "clip") -> list[ShardItem]:
    return [ShardItem(f"{prefix}{i:04d}", None, f"digest{i}") for i in range(count)]


class Count:
    """Writes the names of its clips and their faults, and logs each call; clips of ``die_on`` kill the process."""

    def __init__(self, log: Path, die_on: Collection[str] = (), wait: float = 0.0) -> None:
        self.log, self.die_on, self.wait = log, die_on, wait

    def __call__(self, shard: Sequence[ShardItem], out: Path) -> None:
        time.sleep(self.wait)
        if any(item.clip_id in self.die_on and not item.fault for item in shard):
            os.kill(os.getpid(), signal.SIGKILL)
        (out / "names.txt").write_text("\n".join(item.clip_id for item in shard))
        (out / "faults.txt").write_text("\n".join(f"{i.clip_id}: {i.fault}" for i in shard if i.fault))
        with self.log.open("a") as file:
            file.write(f"{shard[0].clip_id} {len(shard)}\n")


def faults(folders: list[Path]) -> list[str]:
    return [line for folder in folders for line in (folder / "faults.txt").read_text().splitlines()]


def names(folders: list[Path]) -> list[str]:
    return [name for folder in folders for name in (folder / "names.txt").read_text().split()]


def test_every_clip_once_and_nothing_twice(tmp_path: Path) -> None:
    log, seen = tmp_path / "log", []
    options = {"stage_dir": tmp_path / "w", "key": {"a": 1}, "shard_size": 4, "on_progress": seen.append}
    first = run_shards(items(21), Count(log), **options)
    assert names(first) == [i.clip_id for i in items(21)]
    assert sum(seen) == 21
    calls = log.read_text()
    assert run_shards(items(21)[::-1], Count(log), **options) == first  # order of the input does not matter
    assert log.read_text() == calls


def test_another_key_or_digest_redoes_and_new_clips_cost_their_shards_only(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run_shards(items(200), Count(log), stage_dir=tmp_path / "w", key={}, shard_size=8)
    before = len(log.read_text().splitlines())
    run_shards([*items(200), *items(3, "clip0100x")], Count(log), stage_dir=tmp_path / "w", key={}, shard_size=8)
    assert len(log.read_text().splitlines()) - before <= 3
    before = len(log.read_text().splitlines())
    run_shards(items(200), Count(log), stage_dir=tmp_path / "w", key={"changed": True}, shard_size=8)
    assert len(log.read_text().splitlines()) - before > 10


def test_a_damaged_shard_is_redone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    folders = run_shards(items(9), Count(log), stage_dir=tmp_path / "w", key={}, shard_size=4)
    (folders[0] / "names.txt").write_text("something else")
    (folders[-1] / MANIFEST).write_text("{broken")
    calls = len(log.read_text().splitlines())
    again = run_shards(items(9), Count(log), stage_dir=tmp_path / "w", key={}, shard_size=4)
    assert names(again) == [i.clip_id for i in items(9)]
    assert len(log.read_text().splitlines()) - calls == len({folders[0], folders[-1]})


def test_what_kills_left_half_done_goes_unless_another_run_is_at_work(tmp_path: Path) -> None:
    left = tmp_path / "work" / "tmp-of-a-killed-run"

    class WhileOthersWork(Count):
        def __call__(self, shard: Sequence[ShardItem], out: Path) -> None:
            left.mkdir(exist_ok=True)
            run_shards(items(3, "other"), Count(tmp_path / "other"), stage_dir=tmp_path / "work", key={})
            assert left.is_dir(), "it may be this run's own"
            super().__call__(shard, out)

    run_shards(items(3), WhileOthersWork(tmp_path / "log"), stage_dir=tmp_path / "work", key={})
    assert left.is_dir()
    run_shards(items(3), Count(tmp_path / "log"), stage_dir=tmp_path / "work", key={})
    assert not left.exists()


def test_processes_give_the_same_folders(tmp_path: Path) -> None:
    one = run_shards(items(20), Count(tmp_path / "l1"), stage_dir=tmp_path / "a", key={}, shard_size=4)
    two = run_shards(
        items(20), Count(tmp_path / "l2"), stage_dir=tmp_path / "b", key={}, shard_size=4, workers=Workers(2)
    )
    assert [f.name for f in one] == [f.name for f in two]
    assert names(one) == names(two)


KILLED = "ended the process that worked on it (SIGKILL: out of memory?)"


def test_a_clip_that_kills_its_process_costs_that_clip_alone(tmp_path: Path) -> None:
    options = {"stage_dir": tmp_path / "w", "key": {}, "shard_size": 4, "workers": Workers(2)}
    seen: list[int] = []
    deadly = Count(tmp_path / "log", die_on={"clip0006", "clip0019"})
    folders = run_shards(items(20), deadly, on_progress=seen.append, **options)
    assert names(folders) == [i.clip_id for i in items(20)]
    assert faults(folders) == [f"clip0006: {KILLED}", f"clip0019: {KILLED}"]
    assert sum(seen) == 20
    calls = (tmp_path / "log").read_text()

    seen.clear()
    assert run_shards(items(20), deadly, on_progress=seen.append, **options) == folders
    assert (tmp_path / "log").read_text() == calls, "what is finished is kept, the faults too"
    assert sum(seen) == 20
    cured = run_shards(items(20), Count(tmp_path / "log2"), **options)
    assert (names(cured), faults(cured)) == ([i.clip_id for i in items(20)], [])
    assert sorted((tmp_path / "log2").read_text().splitlines()) == ["clip0006 1", "clip0019 1"], "they alone"


def test_memory_that_one_clip_is_refused_costs_that_clip_alone_in_one_process_too(tmp_path: Path) -> None:
    class Greedy(Count):
        def __call__(self, shard: Sequence[ShardItem], out: Path) -> None:
            if any(item.clip_id == "clip0006" and not item.fault for item in shard):
                raise MemoryError
            super().__call__(shard, out)

    folders = run_shards(items(20), Greedy(tmp_path / "log"), stage_dir=tmp_path / "w", key={}, shard_size=4)
    assert names(folders) == [i.clip_id for i in items(20)]
    (fault,) = faults(folders)
    assert fault.startswith("clip0006: ended the process that worked on it")


def test_a_worker_that_dies_once_costs_nothing(tmp_path: Path) -> None:
    folders = run_shards(
        items(20), Once(tmp_path / "log"), stage_dir=tmp_path / "w", key={}, shard_size=4, workers=Workers(2)
    )
    assert (names(folders), faults(folders)) == ([i.clip_id for i in items(20)], [])
    assert len(folders) == len(deal(items(20), 4))


class Once(Count):
    """The first process dies."""

    def __call__(self, shard: Sequence[ShardItem], out: Path) -> None:
        mark = self.log.with_suffix(".died")
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        super().__call__(shard, out)


@pytest.mark.long
def test_processes_that_die_whatever_they_do_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_module, "MOST_DEAD", 3)
    work = Count(tmp_path / "log", die_on=[i.clip_id for i in items(20)][4:])
    with pytest.raises(RuntimeError, match="the last 3 clips.*fewer --workers"):
        run_shards(items(20), work, stage_dir=tmp_path / "w", key={}, shard_size=4, workers=Workers(2))


def test_sigkill_half_way_loses_the_shards_in_flight_only(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from tests.work.test_shards import Count, items\n"
        "from hpnet.work.shards import run_shards\n"
        "root = Path(sys.argv[1])\n"
        "run_shards(items(40), Count(root / 'log', wait=0.1), stage_dir=root / 'w', key={}, shard_size=4)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=Path(__file__).parents[2])
    log = tmp_path / "log"
    deadline = time.monotonic() + 30
    while (not log.exists() or len(log.read_text().splitlines()) < 3) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    finished = len(list((tmp_path / "w").glob(f"*/{MANIFEST}")))
    assert finished >= 2
    folders = run_shards(items(40), Count(tmp_path / "log2"), stage_dir=tmp_path / "w", key={}, shard_size=4)
    assert len((tmp_path / "log2").read_text().splitlines()) == len(folders) - finished
    assert names(folders) == [i.clip_id for i in items(40)]


def test_ten_new_videos_among_a_thousand_redo_only_their_shards(tmp_path: Path) -> None:
    log = tmp_path / "log"
    options = {"stage_dir": tmp_path / "w", "key": {}, "shard_size": 8}
    run_shards(items(1000), Count(log), **options)
    log.unlink()
    new = [ShardItem(f"clip{i:04d}b", None, "new") for i in range(5, 1000, 100)]
    folders = run_shards([*items(1000), *new], Count(log), **options)
    redone = [int(line.split()[1]) for line in log.read_text().splitlines()]
    assert len(redone) <= 2 * len(new), "a new clip changes its own shard, or cuts it in two"
    assert sum(redone) <= len(new) * 3 * 8
    assert len(names(folders)) == 1010


def test_ray_writes_the_same_folders_and_names_a_clip_that_kills_its_process(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    local = run_shards(items(20), Count(tmp_path / "l1"), stage_dir=tmp_path / "a", key={}, shard_size=4)
    options = {"key": {}, "shard_size": 4, "workers": Workers(2), "engine": "ray"}
    seen: list[int] = []
    spread = run_shards(items(20), Count(tmp_path / "l2"), stage_dir=tmp_path / "b", on_progress=seen.append, **options)
    assert sum(seen) == 20
    assert [(f.name, (f / MANIFEST).read_text()) for f in spread] == [
        (f.name, (f / MANIFEST).read_text()) for f in local
    ]
    deadly = Count(tmp_path / "l3", die_on={"clip0019"})
    folders = run_shards(items(20), deadly, stage_dir=tmp_path / "c", **options)
    assert names(folders) == [i.clip_id for i in items(20)]
    assert faults(folders) == ["clip0019: ended the process that worked on it (out of memory?)"]


def test_ray_that_is_not_installed_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'hpnet\[cluster\]'"):
        run_shards(items(3), Count(tmp_path / "l"), stage_dir=tmp_path / "w", key={}, engine="ray")


def test_bad_calls(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="listed twice"):
        run_shards([*items(3), *items(1)], Count(tmp_path / "l"), stage_dir=tmp_path / "w", key={})
    with pytest.raises(ValueError, match="engine 'spark' is unknown; choose from local, ray"):
        run_shards(items(3), Count(tmp_path / "l"), stage_dir=tmp_path / "w", key={}, engine="spark")
    assert run_shards([], Count(tmp_path / "l"), stage_dir=tmp_path / "w", key={}) == []


@settings(max_examples=30, deadline=None)
@given(st.sets(st.text("abcdef0123456789", min_size=1, max_size=6), max_size=80), st.integers(1, 9))
def test_dealing_keeps_order_and_bounds(clip_ids: set[str], size: int) -> None:
    shards = deal([ShardItem(c, None, "") for c in clip_ids], size)
    assert [i.clip_id for s in shards for i in s] == sorted(clip_ids)
    assert all(1 <= len(s) <= max(1, 2 * size) for s in shards)


def test_link_tree_replaces_what_it_made_before_and_leaves_the_rest(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "out").mkdir()
    for name in ("part-0", "part-1", "notes.txt"):
        (tmp_path / "out" / name).write_text("0")
    for _ in range(2):  # a second time it links onto links of the same file
        link_tree([(tmp_path / "a", "part-0")], tmp_path / "out", stale="part-*")
        assert {p.name: p.read_text() for p in (tmp_path / "out").iterdir()} == {"part-0": "1", "notes.txt": "0"}
