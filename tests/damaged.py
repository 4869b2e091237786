"""Mutation trial of readers: damaged and edited files of every format are read, or refused in words.

``python -m tests.damaged 2000`` tries so many, spread over the formats, and prints what each did; ``python -m
tests.damaged 50 scores npz`` tries those formats alone. Anything that the command line would not turn into a message, a
hang of 30 s, more than 4 GB, a program that is started, or a wrong answer where nothing was damaged is a failure.
tests/test_damage.py tries a hundred of them in the suite.
"""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from safetensors.numpy import load_file, save_file
from scipy.io import savemat

from hpnet.artifacts.boxes import Boxes
from hpnet.artifacts.clips import Clips
from hpnet.artifacts.combinations import Combination, Combinations
from hpnet.artifacts.crossval import Curve, CurvePoint, FoldScores, Gain
from hpnet.artifacts.descriptions import read_descriptions
from hpnet.artifacts.features import FeatureMeta, Features
from hpnet.artifacts.files import write_json
from hpnet.artifacts.frames import PersonFrames
from hpnet.artifacts.imported import load_frequencies
from hpnet.artifacts.poses import ClipPoses, PoseMeta, PoseStore
from hpnet.artifacts.scores import Scores
from hpnet.artifacts.takes import EVENT_COLUMNS, TAKE_COLUMNS, Takes
from hpnet.artifacts.trained_features import TrainedFeatures
from hpnet.artifacts.truth import load_truth
from hpnet.artifacts.videos import UNKNOWN, Videos, stretches
from hpnet.core.skeleton import COCO17
from hpnet.core.video import VideoError, probe, read_frames, read_timed, write_video
from hpnet.crossval.folds import read_folds
from hpnet.data import sbu, utd
from hpnet.data.corrections import read_actions
from hpnet.data.events_table import read_events_table
from hpnet.data.importers import import_scores_csv, import_scores_npz
from hpnet.data.kinect import people, read_skeleton
from hpnet.data.pickles import load_array
from hpnet.data.pyskl import import_pyskl
from hpnet.data.released import import_features
from hpnet.data.table import read_table, split_table
from hpnet.data.ucla import import_ucla
from hpnet.detect.families.rtdetr import load_rtdetr
from hpnet.detect.families.ultralytics import load_checkpoint
from hpnet.params import load_params
from hpnet.predict.stored import read_fusion
from hpnet.predict.windows import Cutting, every_window
from hpnet.project.folder import Project
from hpnet.report.step import run as run_report
from hpnet.train import topology
from hpnet.train.params import TopologyParams
from hpnet.train.xclip import load_xclip
from hpnet.weights.checkpoint import load_state
from hpnet.weights.places import ASSETS
from tests.video_files import encode, images

MANY = 20
"""Of formats with so many files, which are read together, one good reading is enough."""
LIMIT_S = 30
LIMIT_BYTES = 4 << 30
"""Beyond what the libraries take."""
SHOWN_IN_WORDS = (ValueError, OSError, RuntimeError, ArithmeticError, ImportError, MemoryError)
"""What the command line turns into a line of text; anything else would be a traceback."""
ODD: tuple[Any, ...] = (
    None, "", "x", "\x1b[2J\x1b]0;x\x07", "x" * 3000, -1, 0, 3, 10**9, 10**30, 1e308, -0.5, float("nan"), True, [], {},
    [[]], {"a": {"b": []}}, ["x"], "../../x", "1e999",
)  # fmt: skip


@dataclass(frozen=True)
class Format:
    """Good files and what reads them.

    Attributes:
        files: that may be damaged.
        read: reads them, and raises AssertionError where an undamaged part came out wrong; gets the damaged file.
    """

    files: Sequence[Path]
    read: Callable[[Path], object]


# --- damage -----------------------------------------------------------------------------------------------------------


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


def edited(file: Path, content: bytes, seed: int) -> bytes:
    """A file that is whole and says something else; other formats than the known ones are mutated."""
    draw = random.Random(seed)
    edits: dict[str, Callable[[bytes, random.Random], bytes]] = {
        ".json": _edited_json, ".yaml": _edited_yaml, ".lock": _edited_yaml, ".csv": _edited_csv,
        ".parquet": _edited_parquet, ".npz": _edited_npz, ".npy": _edited_npy, ".safetensors": _edited_tensors,
        ".pkl": _edited_pickle,
    }  # fmt: skip
    edit = edits.get(file.suffix)
    return mutated(content, seed) if edit is None else edit(content, draw)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _places(value[key], (*path, key))


def _replaced(value: Any, draw: random.Random) -> Any:
    """One value inside another removed, or replaced by an odd one."""
    places = list(_places(value))
    if not places or draw.random() < 0.05:
        return draw.choice(ODD)
    *above, last = draw.choice(places)
    parent = value
    for key in above:
        parent = parent[key]
    if draw.random() < 0.3:
        del parent[last]
    else:
        parent[last] = draw.choice(ODD)
    return value


def _edited_json(content: bytes, draw: random.Random) -> bytes:
    return json.dumps(_replaced(json.loads(content), draw)).encode()


def _edited_yaml(content: bytes, draw: random.Random) -> bytes:
    return yaml.safe_dump(_replaced(yaml.safe_load(content), draw)).encode()


def _edited_csv(content: bytes, draw: random.Random) -> bytes:
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    row = draw.choice(rows)
    place = draw.randrange(len(row))
    kind = draw.choice(("cell", "cell", "cell", "column", "more", "twice", "none"))
    if kind == "cell":
        row[place] = str(draw.choice(ODD))
    elif kind == "column":
        for one in rows:
            del one[place]
    elif kind == "more":
        row.append("x")
    elif kind == "twice":
        rows.append(row)
    else:
        del rows[1:]
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def _edited_parquet(content: bytes, draw: random.Random) -> bytes:
    table = pq.read_table(io.BytesIO(content))
    place = draw.randrange(table.num_columns)
    name, rows = table.column_names[place], table.num_rows
    columns: list[Any] = [
        pa.nulls(rows), [None] * rows, ["x"] * rows, [-1] * rows, [2**40] * rows, [1e300] * rows, [float("nan")] * rows,
        [[1.0] * (n % 3) for n in range(rows)], [{"a": n} for n in range(rows)], [b"\xff"] * rows, [True] * rows,
        ["../../x"] * rows, [[[1.0]]] * rows, pa.array(["\x1b[2J"] * rows).dictionary_encode(),
    ]  # fmt: skip
    kind = draw.choice(("column", "column", "column", "drop", "rename", "rows", "notes"))
    if kind == "column":
        table = table.set_column(place, name, pa.array(draw.choice(columns)) if rows else pa.nulls(0))
    elif kind == "drop":
        table = table.remove_column(place)
    elif kind == "rename":
        other = draw.choice([*table.column_names, "x"])
        table = table.rename_columns([*table.column_names[:place], other, *table.column_names[place + 1 :]])
    elif kind == "rows":
        table = draw.choice((table.slice(0, 0), pa.concat_tables([table, table]), table.slice(1)))
    else:
        table = table.replace_schema_metadata({"labelling": str(draw.choice(ODD)), "classes": str(draw.choice(ODD))})
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def _edited_array(array: Any, draw: random.Random) -> Any:
    choices: tuple[Callable[[], Any], ...] = (
        lambda: array[:-1], lambda: array.ravel(), lambda: array.astype("U4"), lambda: array[..., None],
        lambda: np.zeros(0, array.dtype), lambda: np.float64(3), lambda: np.zeros((0, 1 << 40)),
        lambda: np.full(array.shape, -1), lambda: np.zeros(array.shape, "datetime64[s]"),
        lambda: np.zeros(array.shape, [("a", "f4")]), lambda: np.full(array.shape, np.nan),
        lambda: np.full(array.shape, 1j), lambda: array.astype("S9"),
    )  # fmt: skip
    return draw.choice(choices)()


def _edited_npy(content: bytes, draw: random.Random) -> bytes:
    out = io.BytesIO()
    np.save(out, _edited_array(np.load(io.BytesIO(content)), draw))
    return out.getvalue()


def _edited_npz(content: bytes, draw: random.Random) -> bytes:
    arrays = dict(np.load(io.BytesIO(content)))
    name = draw.choice(sorted(arrays))
    arrays[name] = _edited_array(arrays[name], draw)
    if draw.random() < 0.2:
        del arrays[name]
    out = io.BytesIO()
    draw.choice((np.savez, np.savez_compressed))(out, **arrays)
    return out.getvalue()


def _edited_tensors(content: bytes, draw: random.Random) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.safetensors"
        file.write_bytes(content)
        tensors = {name: np.array(value) for name, value in load_file(file).items()}
        name = draw.choice(sorted(tensors))
        kinds: tuple[Callable[[Any], Any], ...] = (
            lambda t: t[:-1], lambda t: t.ravel(), lambda t: t.astype(np.int64), lambda t: t[..., None],
            lambda t: np.zeros((0, 5), t.dtype), lambda t: np.full(t.shape, np.nan, np.float32),
        )  # fmt: skip
        changed = draw.choice(kinds)(tensors.pop(name)) if tensors[name].ndim else None
        if changed is not None and draw.random() < 0.8:
            tensors[name] = np.ascontiguousarray(changed)
        save_file(tensors, file)
        return file.read_bytes()


def _edited_pickle(content: bytes, draw: random.Random) -> bytes:
    return pickle.dumps(_replaced(pickle.loads(content), draw), draw.choice((0, 2, 4)))


# --- formats ----------------------------------------------------------------------------------------------------------


def _alone(file: Path, read: Callable[[Path], object]) -> Format:
    return Format([file], read)


def _write(file: Path, text: str) -> Path:
    file.write_text(text, encoding="utf-8")
    return file


def params(folder: Path) -> Format:
    text = (Path(__file__).parents[1] / "params.yaml").read_text(encoding="utf-8")
    return _alone(_write(folder / "params.yaml", text), load_params)


def graph(folder: Path) -> Format:
    root = Path(__file__).parents[1]
    files = [Path(shutil.copy(root / name, folder / name)) for name in ("dvc.yaml", "dvc.lock")]

    def read(_: Path) -> object:
        return Project(folder).read_stages(), Project(folder).read_lock()

    return Format(files, read)


def clips(folder: Path) -> Format:
    rows = [(f"c{n}", n % 2, f"s{n}", f"s{n}", 0, 0, 0, ("train", "test")[n % 2]) for n in range(8)]
    names = ["clip_id", "label", "subject", "source", "camera", "setup", "repetition", "split"]
    videos = {"path": [f"v{n}.mp4" for n in range(8)], "bytes": 9, "digest": "ab", "width": 9,
              "height": 9, "fps": 9.5, "frames": 9, "seconds": 1.0, "error": ""}  # fmt: skip
    classes = pd.DataFrame({"label": [0, 1], "name": ["turn left", "turn right"], "prompt": ["a", "b"],
                            "pair": ["side 1"] * 2, "mirror": ["turn right", "turn left"]})  # fmt: skip
    Clips(pd.DataFrame(rows, columns=names).assign(**videos), classes).save(folder)

    def read(_: Path) -> object:
        found = Clips.load(folder)
        return found.labelling(), found.pairs(), found.descriptions(), found.usable(), found.failures()

    return Format([folder / f"{name}.csv" for name in ("clips", "classes", "videos")], read)


def takes(folder: Path) -> Format:
    """Untrimmed videos, and clips that are parts of them."""
    rows = [(f"v{n}", f"v{n}.mp4", "ab", 9, 9, 9.5, 90, 9.0, f"s{n}", ("train", "test")[n % 2], "") for n in range(6)]
    events = [(f"v{n % 5}", 1.5 + n // 5, 2.0 + n // 5, "wave", n % 3 - 1) for n in range(12)]
    Takes(pd.DataFrame(rows, columns=list(TAKE_COLUMNS)), pd.DataFrame(events, columns=list(EVENT_COLUMNS))).save(
        folder
    )
    parts = pd.DataFrame({"clip_id": [f"c{n}" for n in range(4)]}).assign(**UNKNOWN)
    Videos(parts.assign(path="v.mp4", start_s=[0.5, 1.0, 2.0, np.nan], end_s=[1.0, 2.5, 9.0, np.nan])).save(folder)

    def read(_: Path) -> object:
        found = Takes.load(folder)
        return found.truth, found.durations_s, found.paths, found.of(["train"]), stretches(Videos.load(folder).usable())

    return Format([folder / f"{name}.csv" for name in ("takes", "events", "videos")], read)


def boxes(folder: Path) -> Format:
    rows = {"clip_id": ["a"] * 9, "frame": range(9), "track": 0, "x1": 1.0, "y1": 1.0, "x2": 5.0, "y2": 6.0, "score": 1}
    Boxes(pd.DataFrame(rows), {"b": "why"}).save(folder)
    return Format([folder / "boxes.parquet", folder / "failed.json"], lambda _: Boxes.load(folder))


def boxes_csv(folder: Path) -> Format:
    lines = "clip_id,frame,track,x1,y1,x2,y2,score\n" + "".join(f"a,{n},0,1,1,5,6,0.5\n" for n in range(9))
    return _alone(_write(folder / "boxes.csv", lines), Boxes.load)


def frames(folder: Path) -> Format:
    for number, clip_id in enumerate("ab"):
        PersonFrames.write(folder / f"frames-0000{number}.parquet", [(clip_id, [(n, b"x" * 40) for n in range(9)])])

    def read(damaged: Path) -> object:
        found = PersonFrames(folder)
        if damaged.name == "frames-00001.parquet" and "a" in found and found.count("a") == 9:
            assert found.load("a") == [(n, b"x" * 40) for n in range(9)]
        return [found.load(clip_id) for clip_id in "ab"]

    return Format(sorted(folder.glob("*.parquet")), read)


def poses(folder: Path) -> Format:
    draw = np.random.default_rng(1)
    meta = PoseMeta("m", "ab", COCO17, (96, 128), {"h2s3": (4, 16, 12)}, 3)
    parts = []
    for number in range(3):
        shape = (4, 1, 17)
        clip = ClipPoses(
            f"c{number}",
            draw.normal(size=(*shape, 2)).astype(np.float32),
            draw.random(shape, np.float32),
            draw.normal(size=(4, 1, 2, 3)).astype(np.float32),
            np.ones((4, 1), bool),
            {"h2s3": draw.normal(size=(*shape, 3, 3, 4)).astype(np.float16)},
        )
        parts.append(PoseStore.write_shard(folder, f"shard-0000{number}.safetensors", [clip], meta))
    PoseStore.write_index(folder, pd.concat(parts), meta)
    whole = PoseStore(folder).load("c0").keypoints_px

    def read(damaged: Path) -> object:
        store = PoseStore(folder)
        if damaged.name == "shard-00001.safetensors":
            assert (store.load("c0").keypoints_px == whole).all()
        return list(store)

    return Format([*sorted(folder.glob("*.safetensors")), folder / "index.parquet", folder / "meta.json"], read)


def features(folder: Path) -> Format:
    index = pd.DataFrame({"clip_id": list("abc"), "person": 0, "row": range(3), "valid": True})
    meta = FeatureMeta("pooled", "h2s3", 1, "mean", COCO17)
    Features(np.zeros((3, 4, COCO17.num_joints, 6), np.float16), index, meta).save(folder)
    return Format(
        [folder / name for name in ("features.npy", "index.parquet", "meta.json")],
        lambda _: np.array(Features.load(folder).array),
    )


def _some_scores(split: str = "val") -> Scores:
    labels = np.arange(30, dtype=np.int64) % 3
    logits = np.random.default_rng(3).normal(size=(30, 3)).astype(np.float32)
    return Scores(tuple(f"c{n}" for n in range(30)), (split,) * 30, labels, logits)


def scores(folder: Path) -> Format:
    _some_scores().save(folder / "scores.parquet")
    return _alone(folder / "scores.parquet", Scores.load)


def trained_features(folder: Path) -> Format:
    TrainedFeatures(("a", "b"), np.zeros((2, 5), np.float32)).save(folder / "f.parquet")
    return _alone(folder / "f.parquet", TrainedFeatures.load)


def combinations(folder: Path) -> Format:
    one = Combination("weighted", "all", ("hpj", "hpb"), ("a", "b"), np.array([0, 1]), np.array([1, 1]))
    Combinations.of([one]).save(folder / "c.parquet")
    return _alone(folder / "c.parquet", lambda path: list(Combinations.load(path)))


def truth(folder: Path) -> Format:
    rows = {"clip_id": ["a"] * 3, "frame": range(3), "person": 0, **dict.fromkeys(("x1", "y1", "x2", "y2"), 1.0)}
    table = pd.DataFrame(rows).assign(keypoints=[[1.0] * 34] * 3, visible=[[True] * 17] * 3)
    table.to_parquet(folder / "truth.parquet")
    return _alone(folder / "truth.parquet", load_truth)


def crossval(folder: Path) -> Format:
    rows = {"fold": "f", "seed": 0, "clip_id": [f"c{n}" for n in range(4)], "split": "test", "unit": "s", "label": 0,
            "left_out": -1}  # fmt: skip
    FoldScores(pd.DataFrame(rows), np.zeros((4, 2), np.float32), ("a", "b")).save(folder / "scores.parquet")
    point = CurvePoint(0.5, 3.0, 1.5, 2, 0.7, 0.6, 0.8, None, Gain(0.1, None, None))
    Curve((point,)).save(folder)

    def read(_: Path) -> object:
        found, curve = FoldScores.load(folder / "scores.parquet"), Curve.load(folder)
        return found.parts(), found.tested().right(), curve and curve.text

    return Format([folder / "scores.parquet", folder / "curve.json"], read)


def checkpoint(folder: Path) -> Format:
    state = {f"layer.{n}.weight": np.ones((8, 8), np.float32) for n in range(4)}
    save_file(state, folder / "w.safetensors")
    torch.save({"state_dict": {name: torch.from_numpy(value) for name, value in state.items()}}, folder / "w.pth")
    torch.save({"model": {name: torch.from_numpy(value) for name, value in state.items()}}, folder / "w.bin",
               _use_new_zipfile_serialization=False)  # fmt: skip
    return Format(sorted(folder.glob("w.*")), load_state)


def pyskl(folder: Path) -> Format:
    draw = np.random.default_rng(4)
    notes = [
        {"frame_dir": f"c{n}", "label": n % 2, "img_shape": (90, 120), "total_frames": 4,
         "keypoint": draw.random((1, 4, 17, 2)).astype(np.float16), "keypoint_score": np.ones((1, 4, 17), np.float16)}
        for n in range(4)
    ]  # fmt: skip
    split = {"train": ["c0", "c1"], "val": ["c2", "c3"]}
    (folder / "p.pkl").write_bytes(pickle.dumps({"split": split, "annotations": notes}, 2))
    return _alone(folder / "p.pkl", lambda path: import_pyskl(path, folder / "out", frames=4))


def ucla(folder: Path) -> Format:
    names = [f"a{a:02d}_s{s:02d}_e00_v{v:02d}" for a in (1, 2) for s in range(1, 5) for v in (1, 2, 3)]
    joints = np.random.default_rng(3).normal(size=(4 * len(names), 20, 3)).astype(np.float32)
    np.savez(folder / "u.npz", names=np.array(names), offsets=np.arange(len(names) + 1) * 4, joints=joints)
    return _alone(folder / "u.npz", lambda path: import_ucla(path, folder / "out", frames=4))


def npz(folder: Path) -> Format:
    np.savez(folder / "s.npz", clip_id=np.array(["a", "b"]), scores=np.ones((2, 3), np.float32),
             labels=np.array([0, 1]), splits=np.array(["test", "test"]))  # fmt: skip
    return _alone(folder / "s.npz", lambda path: import_scores_npz(path, "x"))


def npy(folder: Path) -> Format:
    np.save(folder / "a.npy", np.ones((3, 4), np.float32))
    return _alone(folder / "a.npy", load_array)


def tables(folder: Path) -> Format:
    texts = {
        "t.csv": "video,action,source,mirror\n" + "".join(f"v{n}.mp4,{'ab'[n % 2]},p{n // 3},-\n" for n in range(12)),
        "scores.csv": "clip_id,label,split,0,1\n" + "".join(f"c{n},{n % 2},test,0.{n},0.5\n" for n in range(9)),
        "relabel.csv": "clip_id,action\nc0,a\nc1,b\n",
        "texts.csv": "class,description\na,one thing\nb,another\n",
        "counts.csv": "label,count\n0,3\n1,4\n",
        "events.csv": "video,start_s,end_s,action\n"
        + "".join(f"v{n // 3}.mp4,{2 * n},{2 * n + 1},a\n" for n in range(12)),
    }
    reads: Mapping[str, Callable[[Path], object]] = {
        "t.csv": lambda path: split_table(read_table(path)),
        "scores.csv": lambda path: import_scores_csv(path, "x"),
        "relabel.csv": read_actions,
        "texts.csv": read_descriptions,
        "counts.csv": load_frequencies,
        "events.csv": read_events_table,
    }
    return Format([_write(folder / name, text) for name, text in texts.items()], lambda path: reads[path.name](path))


def texts_json(folder: Path) -> Format:
    return _alone(_write(folder / "texts.json", '{"a": ["one thing", "two"], "b": "another"}'), read_descriptions)


def folds(folder: Path) -> Format:
    clips(folder)
    text = "video,fold\n" + "".join(f"c{n}.mp4,{n % 2}\n" for n in range(8))
    known = Clips.load(folder)
    return _alone(_write(folder / "folds.csv", text), lambda path: read_folds(path, known))


def report(folder: Path) -> Format:
    """A page of one project, compared with another."""
    from tests.report.test_report import make_params, make_project

    given = make_params(report={"bootstrap": 20, "examples": 0})
    ours, other = folder / "ours", folder / "other"
    make_project(ours, given, ("a", "b", "c"), per_class=3)
    shutil.copytree(ours, other)
    _write(other / "params.yaml", yaml.safe_dump(given.model_dump(mode="json", exclude_defaults=True)))
    suffixes = (".json", ".csv", ".parquet", ".tsv", ".yaml", ".npy", ".safetensors")
    files = sorted(file for file in folder.rglob("*") if file.suffix in suffixes)
    page, metrics = folder / "page", folder / "page.json"
    return Format(files, lambda _: run_report(given, ours, page, metrics, lambda: (None, ""), str(other)))


def stream(folder: Path) -> Format:
    """A trained stream: its card and its weights."""
    card = {
        "stream": "hpj", "frames": 4, "classes": ["a", "b"], "skeleton": COCO17.to_json(),
        "sizes": {"in_channels": 6, "num_classes": 2, "num_joints": 17, "num_persons": 1},
        "params": TopologyParams.model_validate({"graph": {"base_channels": 8, "blocks": 2}}).model_dump(mode="json"),
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(card))
    model, _ = topology._of_card(card)
    save_file({name: value.numpy() for name, value in model.state_dict().items()}, folder / "model.safetensors")
    return Format([folder / "config.json", folder / "model.safetensors"], lambda _: topology.load_topology(folder))


def fusion(folder: Path) -> Format:
    rule = {"rule": "weighted", "weights": {"hpj": 0.4, "hpb": 0.6}, "temperatures": {"hpj": 1.0, "hpb": 1.0},
            "adjustment": [0.0, 0.0], "softmaxed": []}  # fmt: skip
    file = folder / "artifacts" / "fuse" / "weights.json"
    write_json(file, {"chosen": "weighted", "weighted": rule, "labellings": {"hpj": "ab", "hpb": "cd"}})
    return _alone(file, lambda _: read_fusion(Project(folder), None))


def rtdetr(folder: Path) -> Format:
    from tests.weights.test_safe_loading import rtdetr as make

    made = make(folder / "rtdetr")
    return Format([made / "config.json", made / "model.safetensors"], lambda _: load_rtdetr(made))


def xclip(folder: Path) -> Format:
    made = Path(shutil.copytree(ASSETS / "mannequin-xclip", folder / "xclip"))
    return Format([made / name for name in ("config.json", "model.safetensors")], lambda _: load_xclip(str(made)))


def yolo(folder: Path) -> Format:
    from tests.weights.test_safe_loading import yolo as make

    torch.save({"model": make()}, folder / "yolo.pt")
    return _alone(folder / "yolo.pt", load_checkpoint)


def skeletons(folder: Path) -> Format:
    """Files of NTU RGB+D, SBU and UTD-MHAD."""
    draw = random.Random(3)
    joint = " ".join("0.5" for _ in range(12))
    body = "72057594037944738 0 1 1 1 1 0 0.1 0.2 2\n25\n" + f"{joint}\n" * 25
    _write(folder / "S001C001P001R001A001.skeleton", "4\n" + f"1\n{body}" * 4)
    lines = (",".join([str(n), *(f"{draw.random():.3f}" for _ in range(90))]) for n in range(1, 5))
    _write(folder / "skeleton_pos.txt", "\n".join(lines) + "\n")
    savemat(folder / "a1_s1_t1_skeleton.mat", {"d_skel": np.ones((20, 3, 4))}, do_compression=True)
    reads: Mapping[str, Callable[[Path], object]] = {
        ".skeleton": lambda path: people(*read_skeleton(path)), ".txt": sbu.read_skeletons, ".mat": utd.read_skeleton,
    }  # fmt: skip
    files = sorted(file for file in folder.iterdir() if file.suffix in reads)
    return Format(files, lambda path: reads[path.suffix](path))


def released_features(folder: Path) -> Format:
    for number in (1, 2):
        file = folder / "source" / f"S001C001P00{number}R001A001.npy"
        file.parent.mkdir(exist_ok=True)
        np.save(file, np.ones((64, 2, 17, 96), np.float32))

    source = folder / "source"
    return Format(sorted(source.iterdir()), lambda _: import_features(source, folder / "out", "ntu60-xsub"))


def video(folder: Path) -> Format:
    noise = np.random.default_rng(1).integers(0, 255, (12, 48, 64, 3), dtype=np.uint8)
    write_video(folder / "v.mp4", noise, fps=10)
    for suffix, codec, pix_fmt in (
        ("avi", "mpeg4", "yuv420p"), ("mkv", "libx264", "yuv420p"), ("webm", "libvpx", "yuv420p"),
        ("ts", "mpeg2video", "yuv420p"), ("gif", "gif", "rgb8"), ("flv", "flv", "yuv420p"),
        ("h264", "libx264", "yuv420p"),
    ):  # fmt: skip
        encode(folder / f"v.{suffix}", images(12), codec, fps=25, stream={"pix_fmt": pix_fmt})

    def read(path: Path) -> None:
        try:
            assert probe(path).frames >= 1
            times = [seconds for seconds, _ in read_timed(path)]
            assert times[0] >= 0
            assert all(a < b for a, b in pairwise(times))
            assert list(read_frames(path))
            for window in every_window([path], Cutting(0.4, 0.4), lambda video, reason: None):
                assert len(list(window.frames)) <= 12
        except VideoError as error:
            raise ValueError(f"{path}: {error}") from None

    return Format(sorted(folder.glob("v.*")), read)


_MAKERS = (
    params, graph, clips, takes, boxes, boxes_csv, frames, poses, features, scores, trained_features, combinations,
    truth, crossval, checkpoint, pyskl, ucla, npz, npy, tables, texts_json, folds, stream, fusion, rtdetr, xclip, yolo,
    skeletons, released_features, video, report,
)  # fmt: skip
FORMATS: dict[str, Callable[[Path], Format]] = {make.__name__: make for make in _MAKERS}


# --- the trial --------------------------------------------------------------------------------------------------------


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


@contextmanager
def no_programs() -> Iterator[None]:
    """A start of a program or a shell is a failure; git, which the report asks for a revision, is let through."""
    real = subprocess.run

    def run(command: Any, *arguments: Any, **options: Any) -> Any:
        assert isinstance(command, list), f"a program was started: {command}"
        assert command[0] == "git", f"a program was started: {command}"
        return real(command, *arguments, **options)

    def caught(*arguments: object, **options: object) -> None:
        raise AssertionError(f"a program was started: {arguments}")

    with (
        mock.patch.object(subprocess, "run", run),
        mock.patch.object(os, "system", caught),
        mock.patch.object(os, "popen", caught),
        mock.patch.object(os, "execv", caught),
    ):
        yield


def attempt(given: Format, seed: int) -> tuple[bool, str]:
    """Damage a file, read, put the file back: whether it was refused, and the words.

    Raises:
        AssertionError: it was neither read nor refused in words.
    """
    draw = random.Random(f"file {seed}")
    file = draw.choice(list(given.files))
    content = file.read_bytes()
    change = edited(file, content, seed) if draw.random() < 0.5 else mutated(content, seed)
    file.unlink()  # a hard link, or a memory map of the old file, stays as it was
    file.write_bytes(change)
    try:
        with within(LIMIT_S), no_programs(), redirect_stderr(io.StringIO()):
            given.read(file)
    except SHOWN_IN_WORDS as error:
        words = str(error).strip()
        assert words, f"{file.name}, seed {seed}: an empty message"
        return True, words
    except Exception as error:
        raise AssertionError(f"{file.name}, seed {seed}: {type(error).__name__}: {error}") from error
    finally:
        file.unlink(missing_ok=True)
        file.write_bytes(content)
    return False, ""


def main(count: int, names: Sequence[str]) -> int:
    """Try ``count`` inputs, spread over the formats; the number of failures."""
    most = LIMIT_BYTES + int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    chosen = list(names) or list(FORMATS)
    failed, total = [], Counter[str]()
    for place, name in enumerate(chosen):
        own = count // len(chosen) + (place < count % len(chosen))
        with tempfile.TemporaryDirectory() as folder:
            given = FORMATS[name](Path(folder))
            for file in given.files if len(given.files) < MANY else given.files[:1]:
                given.read(file)
            began, refused, nameless, slowest = time.monotonic(), 0, 0, 0.0
            for seed in range(own):
                start = time.monotonic()
                try:
                    no, words = attempt(given, seed)
                except AssertionError as error:
                    failed.append(f"{name}: {error}")
                    continue
                finally:
                    slowest = max(slowest, time.monotonic() - start)
                refused += no
                if no and not any(part in words for part in (folder, *(f.stem for f in given.files))):
                    nameless += 1
                    print(f"    seed {seed} names no file: {' '.join(words.split())[:200]}")
            total.update(tried=own, refused=refused, nameless=nameless)
            print(f"{name:18} {own:5} tried {refused:5} refused {nameless:5} without a file's name, slowest "
                  f"{slowest:.1f} s, all {time.monotonic() - began:.0f} s", flush=True)  # fmt: skip
    for line in failed:
        print(" ".join(line.split())[:400])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{dict(total)}, {len(failed)} failures, {peak:,} MiB at most")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]) > 0)
