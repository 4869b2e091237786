"""Faults around a project: files damaged, gone or not writable, a full disk, a wrong clock, others at work beside."""

from __future__ import annotations

import ast
import ctypes
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from hpnet.artifacts.boxes import Boxes
from hpnet.artifacts.clips import Clips
from hpnet.artifacts.features import Features
from hpnet.artifacts.files import read_json, writing
from hpnet.artifacts.poses import PoseStore
from hpnet.stages.cli import main
from hpnet.work.locks import locked
from hpnet.work.shards import MISSING, ShardItem, content_digest, run_shards, seal, sealed
from tests.trained import hpnet, inside, merged, shared_project

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("code", "data", "detect", "estimate", "pool", "train@hpj", "train@hpb", "train@hpjm", "train@hpbm",
          "train@multimodal", "fuse")  # fmt: skip


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Iterator[Path]:
    """A copy of the trained project to break; the working directory."""
    copy = tmp_path / "actions"
    shutil.copytree(shared_project(tmp_path_factory), copy)
    with inside(copy):
        yield copy


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy whose stages DVC has recorded and cached, its outputs linked to the cache; every test leaves it whole."""
    copy = tmp_path_factory.mktemp("recorded") / "actions"
    shutil.copytree(shared_project(tmp_path_factory), copy)
    with inside(copy):
        hpnet("code")
        hpnet("pool", "--workers", "1")
    dvc(copy, "commit", "-q", "-f", *STAGES)
    return copy


def environment() -> dict[str, str]:
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def dvc(project: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=project, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def together(project: Path, *commands: Sequence[str]) -> list[str]:
    """Run ``python -m`` commands side by side; each must succeed. What they said."""
    running = [
        subprocess.Popen([sys.executable, "-m", *command], cwd=project, env=environment(), stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
        for command in commands
    ]  # fmt: skip
    said = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0] * len(running), "\n".join(said)
    return said


def failing(project: Path, *arguments: str, before: Callable[[], None]) -> str:
    """Run an hpnet command in a process of its own that ``before`` has crippled; its two or three lines of words."""
    command = [sys.executable, "-m", "hpnet.stages.cli", *arguments]
    done = subprocess.run(
        command, cwd=project, env=environment(), capture_output=True, text=True, check=False, preexec_fn=before
    )
    assert done.returncode == 1, f"{done.returncode}: {done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    assert "Error: " in done.stderr, done.stderr
    return done.stderr


def flip(file: Path, keep_time: bool = True) -> None:
    """Damage one byte in the middle, in place, as a failing disk does: with the file's time as it was."""
    was = file.stat()
    os.chmod(file, 0o644)
    with file.open("r+b") as stream:
        stream.seek(was.st_size // 2)
        byte = stream.read(1)
        stream.seek(was.st_size // 2)
        stream.write(bytes([byte[0] ^ 0x10]))
    if keep_time:
        os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


# --- damage ----------------------------------------------------------------------------------------------------------


def test_a_shard_that_rots_without_a_trace_is_made_again_and_the_others_are_not(project: Path) -> None:
    shutil.rmtree(project / ".work" / "pool")  # shards of another size, which are not looked at again
    hpnet("pool", "--workers", "1", "--shard-size", "8")
    good = contents(project / "artifacts" / "pool")
    finished = {f: f.stat().st_mtime_ns for f in (project / ".work" / "pool").glob("*/manifest.json")}
    bad = sorted(finished)[0]
    flip(bad.with_name("features.npy"))
    hpnet("pool", "--workers", "1", "--shard-size", "8")
    assert contents(project / "artifacts" / "pool") == good
    now = {f: f.stat().st_mtime_ns for f in finished}
    assert {f for f in finished if now[f] != finished[f]} == {bad}


def test_sealed_files_are_found_whole_or_not_at_all(tmp_path: Path) -> None:
    def write(text: str) -> Path:
        (tmp_path / "last.pt.part").write_text(text)
        return seal(tmp_path / "last.pt.part", "last")

    assert sealed(tmp_path, "last") is None
    first = write("one")
    assert sealed(tmp_path, "last") == first
    second = write("two")
    (tmp_path / "last.pt.part").write_text("unfinished")
    (tmp_path / "last.txt").write_text("not ours")
    assert sealed(tmp_path, "last") == second
    assert not first.exists()
    flip(second)
    with pytest.warns(UserWarning, match="is damaged"):
        assert sealed(tmp_path, "last") is None
    assert not second.exists()


# --- DVC's cache -----------------------------------------------------------------------------------------------------


def objects(project: Path) -> dict[Path, str]:
    """Every file in the cache with its MD5, which must be its name."""
    found = {f: hashlib.md5(f.read_bytes()).hexdigest() for f in (project / ".dvc/cache/files/md5").glob("??/*")}
    assert found
    for file, digest in found.items():
        assert file.parent.name + file.name.removesuffix(".dir") == digest, f"{file} is not what its name says"
    return found


@pytest.mark.long
def test_commands_run_by_hand_do_not_write_through_links_into_the_cache(recorded: Path, tmp_path: Path) -> None:
    shutil.copytree(recorded, tmp_path / "actions")
    with inside(tmp_path / "actions"):
        dvc(Path(), "checkout", "-q", "--relink", *STAGES[1:])
        times = {f: f.stat().st_mtime_ns for f in objects(Path())}
        hpnet("data")
        hpnet("detect", "--workers", "1")
        hpnet("estimate", "--workers", "1")
        hpnet("pool", "--workers", "1", "--region", "3")
        hpnet("train", "hpj", "--topology-epochs", "1")
        hpnet("fuse", "--tau", "0.5")
        objects(Path())
        assert {f: f.stat().st_mtime_ns for f in times} == times


@pytest.mark.long
def test_a_damaged_cache_file_is_noticed_and_made_again(recorded: Path) -> None:
    pooled = recorded / "artifacts" / "pool"
    good = contents(pooled)
    digest = hashlib.md5(good["features.npy"]).hexdigest()
    flip(recorded / ".dvc/cache/files/md5" / digest[:2] / digest[2:], keep_time=False)
    flip(next((recorded / ".work" / "pool").glob("*/features.npy")))
    shutil.rmtree(pooled)
    dvc(recorded, "repro", "-q", "-s", "pool")
    assert contents(pooled) == good
    objects(recorded)


@pytest.mark.long
def test_two_projects_fill_one_cache_at_once(recorded: Path, tmp_path: Path) -> None:
    places = [tmp_path / "one", tmp_path / "two"]
    for place in places:
        shutil.copytree(recorded, place, ignore=shutil.ignore_patterns("cache"))
        params = yaml.safe_load((place / "params.yaml").read_text())
        (place / "params.yaml").write_text(yaml.safe_dump(merged(params, {"pool": {"region": 3}})))
    cache = tmp_path / "one" / ".dvc" / "cache"
    shutil.copytree(recorded / ".dvc" / "cache", cache)
    with (places[1] / ".dvc" / "config").open("a") as config:
        config.write(f"    dir = {cache}\n")
    programs = [
        f"import os, sys; os.chdir({str(place)!r}); from dvc.cli import main; sys.exit(main(['repro', '-s', 'pool']))"
        for place in places
    ]
    running = [subprocess.Popen([sys.executable, "-c", text], env=environment()) for text in programs]
    assert [process.wait() for process in running] == [0, 0]
    first, second = (contents(place / "artifacts" / "pool") for place in places)
    assert first == second
    assert first["features.npy"] != (recorded / "artifacts" / "pool" / "features.npy").read_bytes()
    objects(places[0])
    for place in places:
        assert "pool" not in json.loads(dvc(place, "status", "--json", "pool"))


@pytest.mark.long
def test_two_streams_of_one_project_train_at_once(recorded: Path) -> None:
    once = ["dvc", "-q", "--wait-for-lock", "repro", "-f", "-s"]
    together(recorded, [*once, "train@hpj"], [*once, "train@hpb"])
    lock = yaml.safe_load((recorded / "dvc.lock").read_text())["stages"]
    assert set(STAGES) <= set(lock)
    assert json.loads(dvc(recorded, "status", "--json", "train@hpj", "train@hpb")) == {}
    assert {"train hpj", "train hpb"} <= set(read_json(recorded / ".work" / "seconds.json"))


@pytest.mark.long
def test_the_time_of_a_file_decides_nothing(recorded: Path, tmp_path: Path) -> None:
    """The clock has gone back: files are from the future, and what is written now is older than all of them."""
    place = tmp_path / "actions"
    shutil.copytree(recorded, place)
    for file in place.rglob("*"):
        os.utime(file, (time.time() + 86_400, time.time() + 86_400))
    assert json.loads(dvc(place, "status", "--json", "pool")) == {}
    made = {f: f.stat().st_ino for f in (place / ".work" / "pool").glob("*/manifest.json")}
    with inside(place):
        hpnet("pool", "--workers", "1")
        assert {f: f.stat().st_ino for f in made} == made
        params = yaml.safe_load((place / "params.yaml").read_text())
        (place / "params.yaml").write_text(yaml.safe_dump(merged(params, {"pool": {"region": 3}})))
        os.utime(place / "params.yaml", (0, 0))
        assert "pool" in json.loads(dvc(place, "status", "--json", "pool"))


def test_no_code_asks_for_the_time_of_day() -> None:
    """Durations come from a clock that only goes forward."""
    for file in sorted([*(ROOT / "hpnet").rglob("*.py"), *(ROOT / "stages").glob("*.py")]):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                asked = (node.value.id, node.attr)
                assert asked not in {("time", "time"), ("datetime", "now"), ("datetime", "utcnow")}, f"{file}: {asked}"


# --- at once ---------------------------------------------------------------------------------------------------------


def test_the_same_command_twice_at_once(project: Path) -> None:
    pool = ["hpnet.stages.cli", "pool", "--workers", "1", "--region", "3", "--shard-size", "8"]
    together(project, pool, pool)
    twice = contents(project / "artifacts" / "pool")
    hpnet(*pool[1:])
    assert contents(project / "artifacts" / "pool") == twice
    assert not list((project / ".work" / "pool").glob("tmp-*"))
    assert len(Features.load(project / "artifacts" / "pool").array) >= 50


def test_a_lock_lets_one_in_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []

    def other() -> None:
        with locked(Path("x"), "waiting"):
            order.append("other")

    with inside(tmp_path):
        with locked(Path("x")):
            thread = threading.Thread(target=other)
            thread.start()
            thread.join(0.3)
            assert thread.is_alive()
            order.append("first")
        thread.join(10)
    assert order == ["first", "other"]
    assert "waiting" in capsys.readouterr().err


def test_a_shard_that_another_process_finished_first_is_kept(tmp_path: Path) -> None:
    items = [ShardItem("a", None, "1")]
    others = iter([True])

    def work(given: Sequence[ShardItem], out: Path) -> None:
        (out / "x").write_text("same")
        if next(others, False):  # another process, while this one is at work
            run_shards(items, work, stage_dir=tmp_path / "w", key={})
            finished.append(
                next(f for f in (tmp_path / "w").iterdir() if not f.name.startswith(("tmp-", "."))).stat().st_ino
            )

    finished: list[int] = []
    (folder,) = run_shards(items, work, stage_dir=tmp_path / "w", key={})
    assert [folder.stat().st_ino] == finished
    assert {f.name for f in (tmp_path / "w").iterdir()} == {folder.name, ".lock"}


# --- vanished --------------------------------------------------------------------------------------------------------


def test_a_file_that_vanishes_during_the_run_is_named_and_counts_again_when_it_is_back(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.mp4" for name in "abc"]
    for file in files:
        file.write_text(file.stem)

    def items() -> list[ShardItem]:
        return [ShardItem(f.stem, f, content_digest(f)) for f in files]

    def work(given: Sequence[ShardItem], out: Path) -> None:
        if gone and given[0].clip_id == "b":
            files[1].unlink()
        (out / "x").write_text(" ".join(f"{i.clip_id}:{i.path.is_file()}" for i in given if i.path))

    options: dict[str, Any] = {"stage_dir": tmp_path / "w", "key": {}, "shard_size": 1}
    gone = True
    with pytest.raises(FileNotFoundError, match=r"clip 'b': .*b\.mp4 vanished during the run: restore"):
        run_shards(items(), work, **options)
    gone = False
    before = items()
    assert before[1].digest == MISSING
    assert "b:False" in [(f / "x").read_text() for f in run_shards(before, work, **options)]
    files[1].write_text("b")
    assert [(f / "x").read_text() for f in run_shards(items(), work, **options)] == ["a:True", "b:True", "c:True"]


def test_a_video_that_was_away_is_a_failure_until_it_is_back(project: Path, tmp_path: Path) -> None:
    keep_clips(project, 2)
    clips = Clips.load(project / "artifacts" / "data")
    video = Path(shutil.copy(clips.table.path[0], tmp_path / "moved.mp4"))
    Clips(clips.table.assign(path=[str(video), clips.table.path[1]]), clips.classes).save(project / "artifacts/data")
    whole = video.read_bytes()
    video.unlink()
    command = ("detect", "--workers", "1", "--params-file", str(tolerant(project)))
    hpnet(*command)
    assert Boxes.load(project / "artifacts" / "detect").failed[clips.table.clip_id[0]] == "file is missing"
    video.write_bytes(whole)
    hpnet(*command)
    assert "file is missing" not in Boxes.load(project / "artifacts" / "detect").failed.values()


def keep_clips(project: Path, count: int) -> None:
    """Only the first clips of the table, for speed."""
    clips = Clips.load(project / "artifacts" / "data")
    Clips(clips.table.head(count).reset_index(drop=True), clips.classes).save(project / "artifacts" / "data")


def tolerant(project: Path) -> Path:
    params = yaml.safe_load((project / "params.yaml").read_text())
    file = project / "tolerant.yaml"
    file.write_text(yaml.safe_dump(merged(params, {"data": {"max_failed": 1.0}})))
    return file


# --- not writable ----------------------------------------------------------------------------------------------------


def without_override() -> None:
    """Root without its privilege to write where modes forbid it; others have none."""
    if os.geteuid() == 0:
        drop_from_bounding_set, override = 24, 1
        ctypes.CDLL(None).prctl(drop_from_bounding_set, override, 0, 0, 0)


@pytest.mark.parametrize("place", ["artifacts", ".work/pool", "metrics"])
def test_a_folder_that_may_not_be_written_is_named(project: Path, place: str) -> None:
    hpnet("pool", "--workers", "1")
    good = contents(project / "artifacts" / "pool")
    for folder in [project / place, *(project / place).rglob("*")]:
        if folder.is_dir():
            folder.chmod(0o555)
    try:
        words = failing(project, "pool", "--workers", "1", "--region", "3", before=without_override)
    finally:
        for folder in [project / place, *(project / place).rglob("*")]:
            if folder.is_dir():
                folder.chmod(0o755)
    assert "Permission denied" in words
    assert place in words
    hpnet("pool", "--workers", "1")
    assert contents(project / "artifacts" / "pool") == good


# --- disk full -------------------------------------------------------------------------------------------------------


def without_room(size: int, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run an hpnet command here that cannot write files beyond ``size`` bytes; its two or three lines of words."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert stopped.value.code == 1
    words = capsys.readouterr().err
    assert "Error: " in words
    return words


def test_no_room_for_a_shard(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = without_room(100_000, capsys, "pool", "--workers", "1", "--region", "3")
    assert "features.npy cannot be written" in words
    assert "make room" in words
    assert not list((project / ".work" / "pool").glob("tmp-*"))
    hpnet("pool", "--workers", "1", "--region", "3")
    assert read_json(project / "metrics" / "pool.json")["clips"] == 50


def test_no_room_for_the_joined_features(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool = ("pool", "--workers", "1", "--shard-size", "4")
    hpnet(*pool)
    good = contents(project / "artifacts" / "pool")
    words = without_room(len(good["features.npy"]) // 2, capsys, *pool)
    assert "artifacts/pool/features.npy" in words
    assert "MB are free" in words
    hpnet(*pool)
    assert contents(project / "artifacts" / "pool") == good


def test_no_room_for_poses(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep_clips(project, 2)
    words = without_room(8_000, capsys, "estimate", "--workers", "1", "--window", "1")
    assert "poses.safetensors cannot be written" in words
    assert "File too large" in words


def test_no_room_to_train(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = without_room(1_000, capsys, "train", "hpj", "--topology-epochs", "2")
    assert "make room" in words


def test_a_disk_that_is_really_full(project: Path) -> None:
    """On a small file system of its own, where the system lets us mount one."""
    hpnet("pool", "--workers", "1", "--shard-size", "4")
    (project / "small").mkdir()
    command = f"{sys.executable} -m hpnet.stages.cli pool --workers 1 --shard-size 4 --out small/pool"
    script = f"mount -t tmpfs -o size=300k tmpfs small || exit 99; {command}"
    isolate = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        done = subprocess.run([*isolate, "sh", "-c", script], cwd=project, env=environment(), capture_output=True,
                              text=True, check=False)  # fmt: skip
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if done.returncode == 99 or "unshare failed" in done.stderr:
        pytest.skip("no file system may be mounted here")
    assert done.returncode == 1, done.stderr
    assert "No space left on device" in done.stderr
    assert "make room" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_failed_write_says_which_file_and_keeps_what_the_system_said(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match=r"x\.npy cannot be written \(nothing fits\); \d+ MB are free"),
        writing(tmp_path / "x.npy"),
    ):
        raise RuntimeError("nothing fits")
    with pytest.raises(FileNotFoundError) as said, writing(tmp_path / "y"):
        (tmp_path / "no" / "y").write_bytes(b"")
    assert said.value.filename == str(tmp_path / "no" / "y")


# --- the same whatever the order -------------------------------------------------------------------------------------


def extracted(folder: Path, *options: str) -> dict[str, Any]:
    """Boxes, poses, features and metrics of six clips, made from nothing."""
    shutil.rmtree(".work")
    made = folder.name
    hpnet("detect", "--out", f"{made}/detect", "--metrics", f"{made}/detect.json", *options)
    estimate = ("estimate", "--boxes", f"{made}/detect", "--shard-size", "2", *options)
    hpnet(*estimate, "--out", f"{made}/estimate", "--metrics", f"{made}/estimate.json")
    pool = ("pool", "--input", f"{made}/estimate", "--shard-size", "2", *options[:2])
    hpnet(*pool, "--out", f"{made}/pool", "--metrics", f"{made}/pool.json")
    return {
        "boxes": Boxes.load(folder / "detect").table,
        "poses": {clip.clip_id: clip.keypoints_px for clip in PoseStore(folder / "estimate")},
        "pool": np.array(Features.load(folder / "pool").array),
        "metrics": [read_json(folder / f"{stage}.json") for stage in ("detect", "estimate", "pool")],
    }


@pytest.mark.long
def test_the_number_of_workers_changes_no_byte_and_that_of_crops_in_a_batch_nothing_but_rounding(project: Path) -> None:
    keep_clips(project, 6)
    one = extracted(project / "one", "--workers", "1")
    two = extracted(project / "two", "--workers", "2")
    assert one["metrics"] == two["metrics"]
    assert contents(project / "one") == contents(project / "two")
    few = extracted(project / "few", "--workers", "1", "--batch", "5")
    for ours, theirs in zip(one["metrics"], few["metrics"], strict=True):
        assert ours == {
            name: pytest.approx(value, rel=1e-4) if isinstance(value, float) else value
            for name, value in theirs.items()
        }
    columns = ["clip_id", "frame", "track"]
    assert one["boxes"][columns].equals(few["boxes"][columns])
    for clip_id, keypoints_px in one["poses"].items():
        assert (abs(keypoints_px - few["poses"][clip_id]) > 0.01).mean() < 0.01, "more than a bin here and there"
    assert (abs(one["pool"] - few["pool"]) > 0.01).mean() < 0.01


@pytest.mark.long
def test_two_fresh_runs_give_equal_metrics(project: Path) -> None:
    streams = ("hpj", "multimodal")
    measured = []
    for _ in range(2):
        shutil.rmtree(".work")
        shutil.rmtree("artifacts/train")
        for stream in streams:
            hpnet("train", stream)
        hpnet("fuse")
        files = [Path("metrics/train/hpj.json"), Path("metrics/train/multimodal.json"), Path("metrics/fuse.json")]
        scores = [Path("artifacts/train") / s / "scores.parquet" for s in streams]
        measured.append([read_json(f) for f in files] + [f.read_bytes() for f in scores])
    assert measured[0] == measured[1]
