"""Damaged files of every kind: refused in words, never a traceback, a hang, or somebody else's code.

HPNET_MUTATIONS sets how many of each kind are tried (100 by default).
"""

import os
import pickle
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import save_file

from hpnet.artifacts.boxes import Boxes
from hpnet.artifacts.clips import Clips
from hpnet.artifacts.features import FeatureMeta, Features
from hpnet.artifacts.files import read_json
from hpnet.artifacts.frames import PersonFrames
from hpnet.artifacts.scores import Scores
from hpnet.core.skeleton import COCO17
from hpnet.core.video import VideoError, probe, read_frames, read_timed, write_video
from hpnet.data.events_table import read_events_table
from hpnet.data.pickles import load_pickle
from hpnet.data.table import read_table, split_table
from hpnet.data.ucla import import_ucla
from hpnet.params import load_params
from hpnet.predict.windows import Cutting, every_window
from hpnet.stages.cli import main
from hpnet.weights.checkpoint import load_state
from tests.project.test_init import poses_file
from tests.video_files import encode, images

RUNS = int(os.environ.get("HPNET_MUTATIONS", "100"))
LIMIT_S = 30
SHOWN_IN_WORDS = (ValueError, OSError, RuntimeError, ArithmeticError, ImportError, MemoryError)
"""What the command line turns into a line of text; anything else would be a traceback."""


def mutated(content: bytes, seed: int) -> bytes:
    """Bits flipped, a piece cut out, doubled or zeroed, the end cut off, or the header damaged."""
    draw = random.Random(seed)
    data = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        if not data:
            break
        place, length = draw.randrange(len(data)), draw.randint(1, max(1, len(data) // 8))
        kind = draw.choice(("flip", "flip", "cut", "double", "zero", "end", "header"))
        if kind == "flip":
            for _ in range(draw.randint(1, 12)):
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        elif kind == "cut":
            del data[place : place + length]
        elif kind == "double":
            data[place:place] = data[place : place + length]
        elif kind == "zero":
            data[place : place + length] = bytes(len(data[place : place + length]))
        elif kind == "end":
            del data[place:]
        else:
            data[draw.randrange(min(64, len(data)))] = draw.randrange(256)
    return bytes(data)


@contextmanager
def within(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise AssertionError(f"hung for {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def survives(read: Callable[[Path], object], good: Path, allowed: tuple[type[Exception], ...] = SHOWN_IN_WORDS) -> int:
    """Read ``RUNS`` damaged copies of a good file; how many were refused."""
    read(good)
    content, refused = good.read_bytes(), 0
    for seed in range(RUNS):
        bad = good.with_name(f"bad-{good.name}")
        bad.write_bytes(mutated(content, seed))
        with within(LIMIT_S):
            try:
                read(bad)
            except allowed as error:
                refused += 1
                words = str(error)
            except Exception as error:
                raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
            else:
                words = "read"
        assert words, f"seed {seed}: an empty message"
    return refused


@pytest.fixture(autouse=True)
def no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start of a program or a shell is detected."""

    def caught(*arguments: object, **options: object) -> None:
        raise KeyError(f"a program was started: {arguments}")

    for name in ("system", "popen", "execv", "posix_spawn"):
        monkeypatch.setattr(os, name, caught)
    monkeypatch.setattr(subprocess, "Popen", caught)


def test_videos(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    frames = draw.integers(0, 255, (12, 48, 64, 3), dtype=np.uint8)
    write_video(tmp_path / "v.mp4", frames, fps=10)
    assert survives(lambda path: list(read_frames(path)), tmp_path / "v.mp4", (VideoError,)) > RUNS // 5


@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt"),
    [
        ("avi", "mpeg4", "yuv420p"), ("mkv", "libx264", "yuv420p"), ("webm", "libvpx", "yuv420p"),
        ("ts", "mpeg2video", "yuv420p"), ("gif", "gif", "rgb8"), ("flv", "flv", "yuv420p"),
        ("h264", "libx264", "yuv420p"),
    ],
)  # fmt: skip
def test_videos_of_other_kinds(suffix: str, codec: str, pix_fmt: str, tmp_path: Path) -> None:
    good = encode(tmp_path / f"v.{suffix}", images(12), codec, fps=25, stream={"pix_fmt": pix_fmt})

    def read(path: Path) -> None:
        assert probe(path).frames >= 1
        times = [seconds for seconds, _ in read_timed(path)]
        assert times[0] >= 0
        assert all(a < b for a, b in pairwise(times))

    survives(read, good, (VideoError,))


def test_videos_in_windows(tmp_path: Path) -> None:
    frames = np.random.default_rng(2).integers(0, 255, (12, 48, 64, 3), dtype=np.uint8)
    write_video(tmp_path / "v.mp4", frames, fps=10)
    told: list[str] = []

    def read(path: Path) -> None:
        for window in every_window([path], Cutting(0.4, 0.4), lambda video, reason: told.append(reason)):
            assert len(list(window.frames)) <= 12

    survives(read, tmp_path / "v.mp4", (VideoError, ValueError))
    assert told
    assert all(told)


def test_params_files(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "params.yaml").read_bytes()
    (tmp_path / "params.yaml").write_bytes(text)
    assert survives(load_params, tmp_path / "params.yaml", (ValueError, FileNotFoundError)) > RUNS // 4


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "data: !!python/object/apply:os.system ['true']",
        "- 1",
        "data: 3",
        "pool: {region: [1]}",
        "{",
        "\0",
    ],
)
def test_params_that_are_valid_yaml_and_nonsense(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"params\.yaml"):
        load_params(tmp_path / "params.yaml")


def test_score_files(tmp_path: Path) -> None:
    labels = np.arange(30) % 3
    logits = np.random.default_rng(3).normal(size=(30, 3)).astype(np.float32)
    Scores(tuple(f"c{n}" for n in range(30)), ("val",) * 30, labels, logits).save(tmp_path / "scores.parquet")
    survives(Scores.load, tmp_path / "scores.parquet")


@pytest.mark.parametrize("column", ["clip_id", "split", "label", "logits"])
def test_score_files_with_wrong_columns(tmp_path: Path, column: str) -> None:
    table = pd.DataFrame({"clip_id": ["a", "b"], "split": ["val", "val"], "label": [0, 1], "logits": [[0.1, 2.0]] * 2})
    for wrong in ([None, None], [{"x": 1}, {"x": 2}], [b"\xff", b"1"]):
        table.assign(**{column: wrong}).to_parquet(tmp_path / "s.parquet")
        with pytest.raises(ValueError, match=r"s\.parquet"):
            Scores.load(tmp_path / "s.parquet")


def test_boxes_and_person_frames(tmp_path: Path) -> None:
    rows = {
        "clip_id": ["a"] * 9,
        "frame": range(9),
        "track": 0,
        "x1": 1.0,
        "y1": 1.0,
        "x2": 5.0,
        "y2": 6.0,
        "score": 1.0,
    }
    Boxes(pd.DataFrame(rows)).save(tmp_path / "detect")
    survives(Boxes.load, tmp_path / "detect" / "boxes.parquet")
    frames = tmp_path / "frames"
    frames.mkdir()
    PersonFrames.write(frames / "frames-00000.parquet", [("a", [(n, b"x" * 40) for n in range(9)])])
    survives(lambda path: PersonFrames(_alone(path, tmp_path)).load("a"), frames / "frames-00000.parquet")


def _alone(path: Path, folder: Path) -> Path:
    """The file by itself in a folder, under the name that is looked for."""
    (folder / "one").mkdir(exist_ok=True)
    (folder / "one" / "frames-00000.parquet").write_bytes(path.read_bytes())
    return folder / "one"


def test_clip_tables(tmp_path: Path) -> None:
    text = "video,action,source\n" + "".join(f"v{n}.mp4,{'ab'[n % 2]},p{n // 3}\n" for n in range(12))
    (tmp_path / "t.csv").write_text(text)
    survives(lambda path: split_table(read_table(path)), tmp_path / "t.csv", (ValueError, FileNotFoundError))
    events = "video,start_s,end_s,action\n" + "".join(f"v{n // 3}.mp4,{2 * n},{2 * n + 1},a\n" for n in range(12))
    (tmp_path / "e.csv").write_text(events)
    survives(read_events_table, tmp_path / "e.csv", (ValueError, FileNotFoundError))


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_checkpoints(tmp_path: Path, name: str) -> None:
    state = {f"layer.{n}.weight": torch.randn(8, 8) for n in range(4)}
    if name.endswith("safetensors"):
        save_file(state, tmp_path / name)
    else:
        torch.save({"state_dict": state}, tmp_path / name)
    survives(load_state, tmp_path / name, (ValueError, FileNotFoundError))


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickles(tmp_path: Path, protocol: int) -> None:
    value = {"split": {"xsub_val": ["a", "b"]}, "annotations": [{"keypoint": np.zeros((1, 4, 17, 2)), "label": 3}]}
    (tmp_path / "p.pkl").write_bytes(pickle.dumps(value, protocol))
    survives(load_pickle, tmp_path / "p.pkl")


def test_poses(tmp_path: Path) -> None:
    good = poses_file(tmp_path / "u.npz")
    survives(lambda path: import_ucla(path, tmp_path / "out", frames=4), good)


def test_json_and_features(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": [1, 2, {"b": null}], "c": "text"}')
    survives(read_json, tmp_path / "x.json", (ValueError,))
    index = pd.DataFrame({"clip_id": list("abc"), "person": 0, "row": range(3), "valid": True})
    meta = FeatureMeta("pooled", "h2s3", 1, "mean", COCO17)
    good, bad = tmp_path / "pool", tmp_path / "bad"
    Features(np.zeros((3, 4, COCO17.num_joints, 6), np.float16), index, meta).save(good)
    for name in ("features.npy", "index.parquet", "meta.json"):

        def read(path: Path, name: str = name) -> None:
            shutil.copytree(good, bad, dirs_exist_ok=True)
            (bad / name).write_bytes(path.read_bytes())
            Features.load(bad)

        survives(read, good / name)
        (good / f"bad-{name}").unlink()
    with pytest.raises(FileNotFoundError, match="run `hpnet pool` first"):
        Features.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="run `hpnet data` first"):
        Clips.load(tmp_path)


def status_and_words(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return stopped.value.code, capsys.readouterr().err


def test_a_full_disk_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "names").write_text("S001C001P001R001A001\n" * 1)
    status, words = status_and_words(capsys, "protocol", "ntu60-xsub", "--names", str(tmp_path / "names"),
                                     "--out", "/dev/full")  # fmt: skip
    assert status == 1
    assert "No space left on device" in words
    assert "make room" in words
    assert "Traceback" not in words


def test_a_place_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", np.zeros((2, 16, 16, 3), np.uint8), fps=5)
    monkeypatch.chdir(tmp_path)
    status, words = status_and_words(capsys, "data", "--videos", "videos", "--out", "file/out", "--workers", "1")
    assert status == 1
    assert "file" in words
    assert len(words.strip().splitlines()) <= 3
    assert "Traceback" not in words


def test_params_of_the_repository_are_plain_yaml() -> None:
    text = (Path(__file__).parents[1] / "params.yaml").read_text()
    assert isinstance(yaml.safe_load(text), dict)
