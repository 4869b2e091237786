"""The report, on made-up projects of a few seconds."""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from hpnet.artifacts.boxes import Boxes
from hpnet.artifacts.clips import Clips
from hpnet.artifacts.features import FeatureMeta, Features
from hpnet.artifacts.files import read_json, write_json
from hpnet.artifacts.labelling import LABELLING
from hpnet.artifacts.poses import ClipPoses, PoseMeta, PoseStore
from hpnet.artifacts.scores import Scores
from hpnet.core.skeleton import COCO17
from hpnet.core.streams import STREAMS
from hpnet.core.video import write_video
from hpnet.fuse import RULES, ensembles, fusion
from hpnet.mannequin import actions
from hpnet.params import Params, validate
from hpnet.report import examples, figures, results
from hpnet.report.collect import Collected, collect, read_history
from hpnet.report.page import prose, write_report
from hpnet.report.sections.run import weights_in_words
from hpnet.report.tables import Column, Measured, Table, plain_bytes, significant

FRAMES, WIDTH, HEIGHT = 6, 160, 120
SKILL = {"hpj": 1.9, "hpb": 1.7, "hpjm": 1.3, "hpbm": 1.1, "multimodal": 2.4}
BODY = np.array(
    [
        (0, -0.42), (0.02, -0.44), (-0.02, -0.44), (0.05, -0.43), (-0.05, -0.43), (0.1, -0.3), (-0.1, -0.3),
        (0.15, -0.12), (-0.15, -0.12), (0.13, 0.03), (-0.13, 0.03), (0.07, 0.03), (-0.07, 0.03), (0.08, 0.24),
        (-0.08, 0.24), (0.09, 0.45), (-0.09, 0.45),
    ]
)  # fmt: skip


def make_params(**sections: object) -> Params:
    base: dict[str, object] = {
        "report": {"bootstrap": 50, "examples": 3, "title": "A <b>test</b> & report"},
        "compare": {"variants": {"pose2d": {"kind": "pose2d"}, "region3": {"region": 3}, "region5": {"region": 5}}},
        "detect": {"persons": 2},
        "pool": {"frames": FRAMES},
    }
    return validate({**base, **sections})


def make_project(
    root: Path, params: Params, names: tuple[str, ...] = actions.NAMES, per_class: int = 5, skill: float = 3.2
) -> None:
    """Write a whole project: the streams' scores are noise around the truth, the poses a swaying stick figure."""
    rng = np.random.default_rng(3)
    rows = []
    for label in range(len(names)):
        for number in range(3 * per_class):
            subject = number % 9 + 1
            split = "test" if subject >= 7 else "val" if subject == 6 else "train"
            clip = f"S001C{number % 3 + 1:03d}P{subject:03d}R{number // 9 + 1:03d}A{label + 1:03d}"
            size = (WIDTH, HEIGHT, 12.0, FRAMES)
            rows.append((clip, f"videos/{clip}.mp4", label, str(subject), number % 3 + 1, 1, 1, split, *size, ""))
    columns = (
        "clip_id", "path", "label", "subject", "camera", "setup", "repetition", "split", "width", "height", "fps",
        "frames", "error",
    )  # fmt: skip
    table = pd.DataFrame(rows, columns=list(columns))
    table["source"] = table.subject
    table.loc[1, "error"] = "video is <empty>"
    pairs = [actions.PAIRS.get(label, "") if names == actions.NAMES else "" for label in range(len(names))]
    classes = pd.DataFrame({"label": range(len(names)), "name": names, "prompt": names, "pair": pairs})
    clips = Clips(table.assign(source=table.subject), classes)
    data = root / "artifacts" / "data"
    clips.save(data)
    _make_people(root, clips, params, rng)
    scored = clips.usable()
    scored = scored[scored.split.isin(["val", "test"])]
    truth = scored.label.to_numpy(np.int64)
    for stream in STREAMS:
        folder = root / "artifacts" / "train" / stream
        _make_run(folder, scored, SKILL[stream], len(names), rng, stream == "multimodal", _kind("pooled", 1))
    for variant, skill, kind in (
        ("pose2d", 1.2, _kind("pose2d", 1)),
        ("region3", 1.8, _kind("pooled", 3)),
        ("region5", 1.6, _kind("pooled", 5)),
    ):
        _make_run(root / "artifacts" / "compare" / variant, scored, skill, len(names), rng, False, kind)
    fused = _logits(truth, skill, len(names), rng)
    _scores(scored, fused).save(root / "artifacts" / "fuse" / "scores.parquet")
    streams = {name: Scores.load(root / "artifacts" / "train" / name / "scores.parquet") for name in STREAMS}
    counts = np.bincount(clips.usable().label[clips.usable().split == "train"], minlength=len(names))
    all_ensembles = ensembles.all_ensembles(
        streams, lambda parts, rule: fusion.fuse(parts, rule, class_frequency=counts, protocol=params.data.protocol)
    )
    ensembles.predicted_actions(all_ensembles).save(root / "artifacts" / "fuse" / "combinations.parquet")
    write_json(
        root / "artifacts" / "fuse" / "weights.json",
        {
            "chosen": "weighted",
            "weighted": {
                "rule": "weighted",
                "weights": {name: 0.1 + 0.1 * number for number, name in enumerate(STREAMS)},
                "temperatures": dict.fromkeys(STREAMS, 1.1),
                "tau": 0.0,
                "fit": {"split": "val", "clips": 33, "seed": 0, "standard_error": dict.fromkeys(STREAMS, 0.05)},
                "notes": ["one thing to know"],
                "origin": "validation",
            },
        },
    )
    metrics = {"ap50": 0.987, "weights_digest": "ab" * 20}
    write_json(root / "metrics" / "detect.json", metrics)
    write_json(root / "metrics" / "estimate.json", {"pck": 0.934, "oks_ap": 0.81})
    write_json(root / "metrics" / "pool.json", {"bytes_per_clip": 78336})
    write_json(root / "metrics" / "train" / "hpj.json", {"val": {"top1": 0.9}})
    stamp(root)


def stamp(root: Path) -> None:
    """Have every score file and model be made from the labels that the tables have."""
    now = Clips.load(root / "artifacts" / "data").labelling()
    for file in (root / "artifacts").glob("*/**/scores.parquet"):
        replace(Scores.load(file), labelling=now).save(file)
    for file in (root / "artifacts").glob("*/**/model.safetensors"):
        save_file(load_file(file), file, {LABELLING: now.without_test().to_text()})
        card = read_json(file.with_name("config.json"))
        write_json(file.with_name("config.json"), card | {LABELLING: now.without_test().digest})


def _kind(kind: str, region: int) -> object:
    return FeatureMeta(kind, "h2s3", region, "mean", COCO17).to_json()


def _logits(truth: NDArray[np.int64], skill: float, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    values = rng.normal(size=(len(truth), count))
    values[np.arange(len(truth)), truth] += skill * 1.6
    values[np.arange(len(truth)), truth ^ 1 if count % 2 == 0 else truth] += 0.9
    return values.astype(np.float32)


def _scores(table: pd.DataFrame, logits: NDArray[np.float32]) -> Scores:
    return Scores(tuple(table.clip_id), tuple(table.split), table.label.to_numpy(np.int64), logits)


def _make_run(
    folder: Path, table: pd.DataFrame, skill: float, count: int, rng: np.random.Generator, big: bool, kind: object
) -> None:
    folder.mkdir(parents=True)
    _scores(table, _logits(table.label.to_numpy(np.int64), skill, count, rng)).save(folder / "scores.parquet")
    write_json(folder / "config.json", {"seed": 1, "chosen": {"epoch": 24}, "features": kind})
    save_file(
        {"a": np.zeros((40, 25 if not big else 400), np.float32), "b": np.zeros(7, np.float32)},
        folder / "model.safetensors",
    )
    epochs = np.arange(30)
    curves = {
        "train/loss": 2.7 * np.exp(-epochs / 6) + 0.05 * rng.random(30),
        "val/loss": 2.7 * np.exp(-epochs / 7) + 0.3 + 0.05 * rng.random(30),
        "val/accuracy": (1 - np.exp(-epochs / 5)) * 0.9 + 0.02 * rng.random(30),
        "lr": 0.1 * np.ones(30),
    }
    for name, values in curves.items():
        file = folder / "history" / "plots" / "metrics" / f"{name}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"step": epochs, file.stem: values}).to_csv(file, sep="\t", index=False)


def _make_people(root: Path, clips: Clips, params: Params, rng: np.random.Generator) -> None:
    usable = clips.usable()
    boxes, truth, index, poses, arrays = [], [], [], [], []
    pattern = rng.random((clips.num_classes, 17, 12)).astype(np.float32)
    meta = PoseMeta("tiny", "0123456789abcdef" * 4, COCO17, (48, 64), {"h2s3": (4, 8, 6)}, 1)
    crop = np.array([[0.4, 0, 0], [0, 0.5333, 0]], np.float32)
    for number, row in enumerate(usable.itertuples()):
        persons = 1 if number != 4 else 0
        centre = np.array([80.0, 62.0])
        sway = np.sin(np.arange(FRAMES) * 1.1)[:, None, None] * np.where(np.arange(17)[None, :, None] < 11, 6.0, 0.5)
        joints = (centre + BODY * 100)[None] + sway  # (T, V, 2)
        if persons:
            for frame in range(FRAMES):
                boxes.append((row.clip_id, frame, 0, 55.0, 8.0, 105.0, 114.0, 0.9))
        for person in range(2 if number % 7 == 0 else 1):
            truth.append((row.clip_id, 0, person))
        valid = np.full((FRAMES, 1), bool(persons))
        poses.append(
            ClipPoses(
                str(row.clip_id),
                joints[:, None].astype(np.float32),
                np.full((FRAMES, 1, 17), 0.9, np.float32),
                np.tile(crop, (FRAMES, 1, 1, 1)),
                valid,
                {"h2s3": np.zeros((FRAMES, 1, 17, 1, 1, 4), np.float16)},
            )
        )
        wave = np.linspace(0.5, 1.5, FRAMES, dtype=np.float32)[:, None, None]
        arrays.append(pattern[row.label] * wave + 0.3 * rng.random((FRAMES, 17, 12)).astype(np.float32))
        index.append((row.clip_id, 0, number, bool(persons)))
    box_columns = ["clip_id", "frame", "track", "x1", "y1", "x2", "y2", "score"]
    nobody = str(usable.clip_id.iloc[4])
    Boxes(pd.DataFrame(boxes, columns=box_columns), {nobody: "no person found"}).save(root / "artifacts" / "detect")
    pd.DataFrame(truth, columns=["clip_id", "frame", "person"]).to_parquet(
        root / "artifacts" / "data" / "truth.parquet"
    )
    estimate = root / "artifacts" / "estimate"
    PoseStore.write_index(estimate, PoseStore.write_shard(estimate, "shard-00000.safetensors", poses, meta), meta)
    features = pd.DataFrame(index, columns=["clip_id", "person", "row", "valid"])
    Features(np.stack(arrays).astype(np.float16), features, FeatureMeta("pooled", "h2s3", 1, "mean", COCO17)).save(
        root / "artifacts" / "pool"
    )
    for clip_id, path in usable[usable.split == "test"][["clip_id", "path"]].itertuples(index=False):
        write_video(root / path, _video(next(p for p in poses if p.clip_id == clip_id).keypoints_px[:, 0]), 12)


def _video(joints: NDArray[np.float32]) -> list[NDArray[np.uint8]]:
    frames = []
    for pose in joints:
        image = np.full((HEIGHT, WIDTH, 3), (196, 188, 172), np.uint8)
        image[90:] = (140, 120, 100)
        for child, parent in COCO17.edges:
            a, b = pose[child].round().astype(int), pose[parent].round().astype(int)
            cv2.line(image, tuple(map(int, a)), tuple(map(int, b)), (60, 80, 120), 7)
        frames.append(image)
    return frames


def full_maps(crop: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    grey = crop.mean(2)
    return {
        tap: np.stack([cv2.resize(grey, (48 // s, 64 // s), interpolation=cv2.INTER_AREA)] * 3).astype(np.float32)
        for tap, s in (("h1s3", 4), ("h2s3", 8), ("h3s3", 16))
    }


class Page(HTMLParser):
    """Checks nesting, and collects ids, links, scripts and the text outside them."""

    VOID = frozenset({"meta", "link", "img", "br", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.text: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
            if name in ("src", "href") and value:
                self.addresses.append(value)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href") and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)

    @property
    def prose(self) -> str:
        return " ".join(" ".join(self.text).replace("\u00a0", " ").split())


def read_page(folder: Path) -> Page:
    page = Page((folder / "index.html").read_text(encoding="utf-8"))
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    root = tmp_path_factory.mktemp("project")
    params = make_params()
    make_project(root, params, per_class=3)
    numbers = write_report(collect(root, params), root / "report", full_maps)
    return root, numbers


def test_the_page_is_one_wellformed_file_without_network(whole: tuple[Path, dict]) -> None:
    root, _ = whole
    page = read_page(root / "report")
    assert (root / "report" / "index.html").stat().st_size < 15e6
    leading_away = [address for address in page.addresses if not address.startswith(("#", "data:"))]
    assert all(re.fullmatch(r"\.\./videos/\w+\.mp4", address) for address in leading_away)  # of the clips to check
    assert len(page.ids) == len(set(page.ids))
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.ids)
    source = (root / "report" / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://(?!www\.w3\.org)|@import|url\(", source)
    assert source.count("<script") == 2


def test_every_interval_names_what_it_resamples(whole: tuple[Path, dict]) -> None:
    """Three test subjects are too few, so performances are resampled: here every one has one camera."""
    root, numbers = whole
    clips = Clips.load(root / "artifacts" / "data").usable()
    over = f"{(clips.split == 'test').sum()} performances"
    text = read_page(root / "report").prose
    for words in (f"over {over}) among", f"with 95 % intervals over {over}", "3 subjects in the test split say little"):
        assert words in text, words
    assert "not significant" in text
    assert numbers["fused"]["over"] == numbers["features"]["overall"]["hpj"]["gain"]["over"] == over
    assert (
        numbers["features"]["overall"]["hpj"]["gain"]["p_value"]
        <= numbers["features"]["overall"]["hpj"]["gain"]["q_value"]
    )
    for name in ("accuracy", "features"):
        table = pd.read_csv(root / "report" / "tables" / f"{name}.csv")
        assert table.over.str.fullmatch(r"\d+ performances").all()


def test_what_comes_from_data_is_escaped(whole: tuple[Path, dict]) -> None:
    root, _ = whole
    source = (root / "report" / "index.html").read_text(encoding="utf-8")
    assert "<b>test</b>" not in source
    assert "A &lt;b&gt;test&lt;/b&gt; &amp; report" in source
    assert prose("`<b>` of <b> & 5 %") == "<code>&lt;b&gt;</code> of &lt;b&gt; &amp; 5\u00a0%"
    assert "video is &lt;empty&gt;" in source


def test_a_class_name_cannot_end_the_script_or_a_figure(tmp_path: Path) -> None:
    params = make_params(report={"bootstrap": 10, "examples": 1})
    names = ("</script><img src=x onerror=alert(1)>", 'a "quoted" & name', "plain", "fourth")
    make_project(tmp_path, params, names, per_class=3)
    write_report(collect(tmp_path, params), tmp_path / "report", None, "no <weights> here")
    page = read_page(tmp_path / "report")
    assert page.tags.count("script") == 2
    assert "x" not in page.addresses
    assert "no <weights> here" in page.prose
    assert "look-alike actions" not in page.prose  # no class table names any, and that is no fault
    data = re.search(r'id="clip-data">(.*?)</script>', (tmp_path / "report" / "index.html").read_text(), re.S)
    assert data is not None
    assert json.loads(data[1])["classes"][0] == names[0]
    for file in (tmp_path / "report" / "figures").glob("*.svg"):
        assert "<img" not in file.read_text()


def test_numbers_are_those_of_the_artifacts(whole: tuple[Path, dict]) -> None:
    root, numbers = whole
    fused = Scores.load(root / "artifacts" / "fuse" / "scores.parquet").split("test")
    expected = float((fused.logits.argmax(1) == fused.labels).mean())
    assert numbers["fused"]["value"] == pytest.approx(expected)
    assert numbers["fused"]["low"] <= expected <= numbers["fused"]["high"]
    assert numbers["fused"]["n"] == len(fused.labels)
    prose = read_page(root / "report").prose
    assert f"recognise {100 * expected:.1f} %" in prose
    assert f"of {len(fused.labels)} test clips" in prose
    table = pd.read_csv(root / "report" / "tables" / "accuracy.csv")
    joint = Scores.load(root / "artifacts" / "train" / "hpj" / "scores.parquet").split("test")
    row = table[table["what"] == "Joint"].iloc[0]
    assert row.top1 == pytest.approx((joint.logits.argmax(1) == joint.labels).mean(), abs=1e-6)
    assert row.top1_low <= row.top1 <= row.top1_high
    assert set(table.rule) == {"single", *RULES}
    assert (table.n == len(fused.labels)).all()
    json.dumps(numbers, allow_nan=False)


def test_pairs_compare_the_same_clips(whole: tuple[Path, dict]) -> None:
    root, numbers = whole
    features = numbers["features"]
    assert set(features) == {"overall", "object_pairs", "order_pairs"}
    assert list(features["overall"]) == ["pose2d", "hpj", "region3", "region5"]
    labels = Scores.load(root / "artifacts" / "compare" / "pose2d" / "scores.parquet").split("test").labels
    in_pairs = np.isin(labels, np.ravel(actions.OBJECT_PAIRS)).sum()
    entry = features["object_pairs"]["hpj"]
    assert entry["accuracy"]["n"] == in_pairs
    base = features["object_pairs"]["pose2d"]
    assert entry["gain"]["value"] == pytest.approx(entry["accuracy"]["value"] - base["accuracy"]["value"])
    assert entry["two_way"]["value"] >= entry["accuracy"]["value"]
    assert "gain" not in base


def test_files_lie_beside_the_page(whole: tuple[Path, dict]) -> None:
    root, _ = whole
    report = root / "report"
    confusion = pd.read_csv(report / "plots" / "confusion.csv")
    fused = Scores.load(root / "artifacts" / "fuse" / "scores.parquet").split("test")
    assert list(confusion.columns) == ["actual", "predicted"]
    assert len(confusion) == len(fused.labels)
    per_class = read_json(report / "plots" / "per_class.json")
    assert sum(row["clips"] for row in per_class) == len(fused.labels)
    for name in ("accuracy", "gain_per_class", "confusion", "features_overall", "curve_hpj_loss"):
        text = (report / "figures" / f"{name}.svg").read_text(encoding="utf-8")
        assert 'xmlns="http://www.w3.org/2000/svg"' in text
    assert len(list((report / "figures").glob("example_*_map_h1s3.png"))) == 3
    failures = pd.read_csv(report / "tables" / "failures.csv")
    assert set(failures.stage) == {"data", "detect"}


def test_reports_are_the_same_twice(whole: tuple[Path, dict]) -> None:
    root, numbers = whole
    again = write_report(collect(root, make_params()), root / "again", full_maps)
    assert again == numbers
    assert (root / "again" / "index.html").read_bytes() == (root / "report" / "index.html").read_bytes()


def test_seeds_and_networks_are_those_of_the_runs_and_not_of_the_parameters(tmp_path: Path) -> None:
    params = make_params(report={"bootstrap": 10, "examples": 0}, train={"seed": 99})
    make_project(tmp_path, params, actions.NAMES[:2], per_class=3)
    write_report(collect(tmp_path, params), tmp_path / "report")
    prose = read_page(tmp_path / "report").prose
    assert "Trained with seed 1 " in prose
    assert "ctrgcn, 10 blocks × 64" in prose
    assert not re.search(r"seed 99|training 99", prose)
    configs = {name: tmp_path / "artifacts" / "train" / name / "config.json" for name in ("hpb", "multimodal")}
    graph = {"model": "stgcn", "blocks": 4, "base_channels": 16}
    write_json(configs["hpb"], {**read_json(configs["hpb"]), "seed": 5, "params": {"graph": graph}})
    without = {key: value for key, value in read_json(configs["multimodal"]).items() if key != "seed"}
    write_json(configs["multimodal"], without)
    several = {"val": {"top1": 0.9}, "seeds": {"seeds": [1, 2, 3]}}
    write_json(tmp_path / "metrics" / "train" / "hpj.json", several)
    write_report(collect(tmp_path, params), tmp_path / "report")
    prose = read_page(tmp_path / "report").prose
    told = "seed 1 (hpj, hpjm, hpbm{}), 5 (hpb), not recorded (multimodal); also 2, 3 (hpj), for mean and deviation"
    assert told.format("") in prose
    assert "stgcn, 4 blocks × 16" in prose
    assert "ctrgcn, 10 blocks" not in prose
    assert f"Trained with {told.format(', pose2d, region3, region5')}" in prose
    (tmp_path / "artifacts" / "train" / "multimodal" / "scores.parquet").unlink()  # a training that has not ended
    write_report(collect(tmp_path, params), tmp_path / "report")
    prose = read_page(tmp_path / "report").prose
    assert "4 of 5 streams" in prose
    assert "not recorded" not in prose


def test_an_empty_project_says_what_is_missing(tmp_path: Path) -> None:
    params = make_params()
    numbers = write_report(collect(tmp_path, params), tmp_path / "report")
    assert numbers == {}
    prose = read_page(tmp_path / "report").prose
    source = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "No accuracy can be given: the streams have not been fused." in prose
    for stage in ("hpnet data", "hpnet detect", "hpnet estimate", "hpnet pool"):
        assert f"run {stage}" in prose
        assert f"<code>{stage}</code>" in source
    assert "`" not in prose
    assert read_json(tmp_path / "report" / "plots" / "per_class.json") == []


@pytest.mark.parametrize(
    ("remove", "sentence"),
    [
        ("artifacts/compare", "nothing to compare"),
        ("artifacts/compare/pose2d", "no variant on the 2-D pose"),
        ("artifacts/data/truth.parquet", "There is no ground truth for people"),
        ("artifacts/train/multimodal", "not in any table: multimodal"),
        ("artifacts/train", "Not trained, and therefore not in any table: hpj, hpb, hpjm, hpbm, multimodal"),
        ("artifacts/estimate", "The pose network has no result for this clip"),
        ("artifacts/pool", "There are no pooled features"),
        ("artifacts/fuse", "there is no confusion matrix"),
        ("videos", "The video cannot be shown: file is missing"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, remove: str, sentence: str) -> None:
    params = make_params(report={"bootstrap": 10, "examples": 1})
    make_project(tmp_path, params, actions.NAMES[:4], per_class=3)
    target = tmp_path / remove
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink()
    write_report(collect(tmp_path, params), tmp_path / "report")
    assert sentence in read_page(tmp_path / "report").prose


@pytest.mark.parametrize("change", ["no labels", "no val", "no test"])
def test_splits_and_labels_may_be_missing(tmp_path: Path, change: str) -> None:
    params = make_params(report={"bootstrap": 10, "examples": 2})
    make_project(tmp_path, params, actions.NAMES[:4], per_class=3)
    clips = Clips.load(tmp_path / "artifacts" / "data")
    table = clips.table.copy()
    if change == "no labels":
        table["label"] = -1
    else:
        table["split"] = table.split.replace(change.split()[1], "train")
    Clips(table, clips.classes).save(tmp_path / "artifacts" / "data")
    for file in (tmp_path / "artifacts").glob("*/**/scores.parquet"):
        scores = replace(Scores.load(file), labelling=None)
        if change == "no labels":
            scores = replace(scores, labels=np.full_like(scores.labels, -1))
        else:
            scores = scores.where(np.array([s != change.split()[1] for s in scores.splits]))
        scores.save(file)
    stamp(tmp_path)
    numbers = write_report(collect(tmp_path, params), tmp_path / "report")
    prose = read_page(tmp_path / "report").prose
    if change == "no val":
        assert "There is no validation split" in prose
        assert "fused" in numbers
    else:
        assert "no clip of the test split has both a label and a score" in prose
        assert numbers == {}
    if change == "no labels":
        assert "nothing can be scored" in prose


def test_what_the_next_run_has_otherwise_is_on_the_page_and_in_the_folder_run_alone(tmp_path: Path) -> None:
    params = make_params(report={"bootstrap": 10, "examples": 0})
    make_project(tmp_path, params, actions.NAMES[:2], per_class=3)
    written = []
    for number in range(2):
        write_json(tmp_path / ".work" / "seconds.json", {"data": 4321.5 + number, "train hpj": 1})
        write_json(tmp_path / ".work" / "revisions.json", {"train hpj": f"{number}" * 40, "data": None})
        report = tmp_path / "report"
        write_report(collect(tmp_path, params), report)
        page = (report / "index.html").read_text(encoding="utf-8")
        assert "Wall time of each command" in page
        assert f"<dt>Trained at revision</dt><dd>{str(number) * 12}</dd>" in page
        assert pd.read_csv(report / "run" / "seconds.csv").seconds[0] == 4321.5 + number
        assert (report / "run" / "storage.csv").is_file()
        kept = [
            file for name in ("figures", "tables", "plots") for file in (report / name).rglob("*") if file.is_file()
        ]
        written.append({file: file.read_bytes() for file in kept})
    assert written[0] == written[1]
    assert not {"seconds", "storage"} & {file.stem for file in written[0]}


def test_a_broken_artifact_is_not_left_out_silently(tmp_path: Path) -> None:
    params = make_params()
    make_project(tmp_path, params, actions.NAMES[:2], per_class=3)
    (tmp_path / "artifacts" / "train" / "hpj" / "scores.parquet").write_bytes(b"short")
    with pytest.raises(ValueError, match=r"hpj.scores\.parquet"):
        collect(tmp_path, params)


def test_history(tmp_path: Path) -> None:
    file = tmp_path / "plots" / "metrics" / "val" / "accuracy.tsv"
    file.parent.mkdir(parents=True)
    file.write_text("step\taccuracy\n0\t0.25\n1\tnan\n")
    curves = read_history(tmp_path)
    assert list(curves) == ["val/accuracy"]
    assert curves["val/accuracy"][0] == [0.0, 1.0]
    assert np.isnan(curves["val/accuracy"][1][1])
    assert read_history(tmp_path / "nothing") == {}
    file.write_text("epoch\n1\n")
    with pytest.raises(ValueError, match="expected step and a value"):
        read_history(tmp_path)


def test_common_joins_by_clip_and_refuses_two_labels() -> None:
    one = Scores(("a", "b", "c"), ("test",) * 3, np.array([0, 1, 0]), np.eye(3, dtype=np.float32))
    two = Scores(("c", "a"), ("test",) * 2, np.array([0, 0]), np.ones((2, 3), np.float32) * [[1], [2]])
    first, second = results.common([one, two])
    assert first.clip_ids == second.clip_ids == ("a", "c")
    assert second.logits[0, 0] == 2
    other = Scores(("a",), ("test",), np.array([1]), np.ones((1, 3), np.float32))
    with pytest.raises(ValueError, match="clip 'a' has different labels"):
        results.common([one, other])


def test_telling_frame_ignores_frames_without_the_person() -> None:
    joints = np.zeros((4, 1, 17, 2), np.float32)
    joints[1] = 500
    joints[3] = 20
    affine, scores = np.zeros((4, 1, 2, 3), np.float32), np.ones((4, 1, 17), np.float32)
    valid = np.array([[True], [False], [True], [True]])
    assert examples.telling_frame(ClipPoses("c", joints, scores, affine, valid, {})) == 3
    assert examples.telling_frame(ClipPoses("c", joints, scores, affine, np.zeros((4, 1), bool), {})) == 0


def test_figures_place_what_they_show() -> None:
    mark = figures.Mark("<Joint>", 0.75, 0.5, 1.0, "75.0")
    svg = figures.interval_plot([mark], "t & t", width=700, axis=(0.5, 1.0), label_width=100)
    assert "&lt;Joint&gt;" in svg
    assert "t &amp; t" in svg
    ends = re.search(r'<line x1="([\d.]+)" y1="[\d.]+" x2="([\d.]+)" y2="[\d.]+" class="stroke"', svg)
    dot = re.search(r'<circle cx="([\d.]+)"', svg)
    assert ends is not None
    assert dot is not None
    low, high, middle = float(ends[1]), float(ends[2]), float(dot[1])
    assert middle == pytest.approx((low + high) / 2, abs=0.1)
    assert figures.domain([0.83, 0.91]) == (0.8, 1.0)
    assert figures.domain([0.97]) == (0.8, 1.0)
    assert figures.domain([float("nan")]) == (0.0, 1.0)


@pytest.mark.parametrize("name", ["x" * 200, "走" * 90, "put on an ankle-length coat " * 6, "<b>&" * 40])
@pytest.mark.parametrize("width", [760, 358])
def test_a_long_label_is_cut_to_its_room_and_told_on_hovering(name: str, width: int) -> None:
    change = figures.Change(name, 0.2, 0.9, "+70.0 · +7 −0")
    mark = figures.Mark(name, 0.5, 0.4, 0.6, "50.0 (40.0–60.0)")
    for svg in (
        figures.change_plot([change], "t", width=width),
        figures.interval_plot([mark], "t", width=width, label_width=200),
        figures.bar_plot([(name, 1.0, "1")], "t"),
        figures.confusion_plot(np.eye(2, dtype=int), [name, "b"], "t"),
    ):
        assert f"<title>{escape(name)}</title>" in svg
        assert svg.count(escape(name)) == 1
        assert "…" in svg
        assert float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1]) <= 760  # type: ignore[index]
    assert figures.fitted("drink", 200) == "drink"
    assert figures.text_width_px(figures.fitted(name, 150)) <= 150


def test_curve_plot_survives_gaps_and_single_points() -> None:
    svg = figures.curve_plot({"val": ([0], [0.5]), "train": ([0, 1], [float("nan"), 2.0])}, "Loss")
    assert "nan" not in svg
    assert svg.count("<polyline") == 2


def test_pictures_have_the_shape_of_what_they_draw() -> None:
    rng = np.random.default_rng(0)
    assert figures.feature_picture(rng.random((17, 12))).shape == (17, 12, 3)
    assert figures.motion_picture(rng.random((9, 17, 12))).shape == (17, 9, 3)
    assert figures.map_picture(rng.random((5, 8, 6))).shape == (8, 6, 3)
    assert figures.map_picture(np.zeros((5, 8, 6)), np.zeros((64, 48, 3), np.uint8)).shape == (64, 48, 3)


def test_map_picture_is_not_drowned_by_one_loud_channel() -> None:
    maps = np.zeros((3, 8, 8), np.float32)
    maps[0] = 1e4 * np.random.default_rng(0).random((8, 8))
    maps[1:, 2, 5] = 1
    picture = figures.map_picture(maps).astype(int).sum(2)
    assert np.unravel_index(picture.argmax(), picture.shape) == (2, 5)


def test_words_for_numbers() -> None:
    assert figures.signed_points(-0.0312) == "−3.1"
    assert figures.signed_points(0.0002) == "0.0"
    assert significant(12345.6) == "12 346"
    assert significant(0.01234) == "0.0123"
    assert significant(0) == "0"
    assert [plain_bytes(n) for n in (0, 1023, 2048, 3 * 1024**2, 5000 * 1024**3)] == [
        "0 B", "1023 B", "2 KiB", "3 MiB", "5 000 GiB",
    ]  # fmt: skip


def test_tables_write_intervals_as_columns_and_sort_keys() -> None:
    table = Table(
        "t",
        "T",
        (Column("a", "A"), Column("b", "B", "interval")),
        [{"a": "x,y", "b": Measured(0.5, 0.4, 0.6, 9, "3 sources")}, {"a": "z"}],
    )
    assert table.to_csv() == 'a,b,b_low,b_high,b_n,b_over\n"x,y",0.5,0.4,0.6,9,3 sources\nz,,,,,\n'
    cells = table.cells(table.rows[0])
    assert (cells[1].text, cells[1].minor, cells[1].sort) == ("50.0", "40.0–60.0", "0.500000")
    assert table.cells(table.rows[1])[1].text == "–"


def test_an_accuracy_of_one_unit_has_no_interval_and_says_so() -> None:
    alone = Measured(0.5, math.nan, math.nan, 9, "1 source")
    assert (alone.full, alone.named) == ("50.0 (no interval)", "no interval: 1 source alone")
    assert alone.to_json() == {"value": 0.5, "low": None, "high": None, "n": 9, "over": "1 source"}
    table = Table("t", "T", (Column("b", "B", "interval"),), [{"b": alone}])
    assert table.to_csv().splitlines()[1] == "0.5,,,9,1 source"
    svg = figures.interval_plot([figures.Mark("a", 0.5, math.nan, math.nan, alone.full)], "t")
    assert "nan" not in svg
    assert svg.count("<circle") == 1


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ("validation", "weights from validation"),
        ("given", "given weights"),
        ("released", "too few validation clips: the released weights of mannequin-xsub"),
        ("equal", "too few validation clips: equal weights"),
    ],
)
def test_the_page_says_where_the_weights_came_from(origin: str, words: str) -> None:
    collected = Collected(Path(), Params(), weights={"chosen": "weighted", "weighted": {"origin": origin}})
    assert weights_in_words(collected) == words
