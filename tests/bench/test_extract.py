"""hpnet bench extract and scale: both ways do the same work, and the machinery redoes only what is new."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hpnet.artifacts.features import Features
from hpnet.artifacts.poses import ClipPoses
from hpnet.bench import extract, scale
from hpnet.bench.plain import PlainExtractor
from hpnet.estimate.estimator import PoseEstimator
from hpnet.estimate.params import EstimateParams
from hpnet.pool.features import clip_features
from hpnet.pool.params import PoolParams


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> extract.Task:
    folder = tmp_path_factory.mktemp("bench")
    clips = tuple(extract.find_clips(None, 2, 3, folder))
    weights = extract.random_weights("mannequin-simcc", folder)
    return extract.Task("mannequin-simcc", weights, "h2s3", clips, 3, 4, 2, "cpu", 1)


def test_the_plain_loop_does_what_the_parity_mode_reproduces(task: extract.Task) -> None:
    plain, frames = PlainExtractor(task.model, task.weights, task.tap, "cpu").extract(task.clips[0], 3, length=8)
    assert frames == 3
    params = EstimateParams(weights=task.weights, window=1, parity="released-trainbn")
    estimator = PoseEstimator(params, "cpu", batch_size=2)
    (clip,) = estimator.estimate_clips([extract._source(task.clips[0], 3, 1)])
    assert isinstance(clip, ClipPoses)
    ours = clip_features(clip, PoolParams(frames=8), estimator.meta)[0]
    assert np.abs(plain - ours).mean() <= 2e-3 * np.abs(plain).mean()


def test_what_is_done_on_a_gpu_is_part_of_a_way() -> None:
    assert extract.ways_on_gpu(["bfloat16"], ["none", "crops", "decode"]) == [
        "bfloat16", "bfloat16, crops cut there", "bfloat16, frames decoded there",
    ]  # fmt: skip


def test_a_round_of_each_way_gives_a_row_of_the_page(task: extract.Task) -> None:
    plain = extract._round(task, extract.PLAIN, False)
    assert plain.frames == 4, "--plain-frames, over the clips again where there are too few"
    ours = extract._round(task, "float32", False)
    assert ours.frames == 6
    assert 0 < ours.waited_s < ours.seconds
    assert extract._alone(task, "float32") > 0
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    (way,) = extract.backend_ways(["onnxruntime"])
    assert extract._round(replace(task, graphs=task.clips[0].parent / "graphs"), way, False).frames == 6
    ours = replace(ours, alone=9.0)
    two = extract._together([ours, replace(ours, seconds=2 * ours.seconds)])
    assert two.rate == pytest.approx(ours.rate), "side by side: all frames over the longest time"
    figures = extract._figures([ours], [plain])
    assert figures["times_plain"] == pytest.approx(ours.rate / plain.rate, rel=1e-3)
    machine = dict.fromkeys(["processor", "cores", "threads", "load_at_start", "memory_gb", "python", "torch"], "x")
    described = {"model": task.model, "workers": 1, "clips": 2, "video": "320 x 240", "max_frames": 3}
    described |= {"plain_frames": 4, "tap": "h2s3", "weights": "random", "device": "cpu"}
    ways = {extract.PLAIN: extract._figures([plain], [plain]), "float32": figures}
    page = extract.markdown({"machine": {**machine, "gpu": None}, "task": described, "rounds": 1, "ways": ways}, "x")
    assert [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")][1:] == [
        "plain",
        "hpnet, float32",
    ]


def test_the_machinery_over_tiny_clips_redoes_what_is_new_only(tmp_path: Path) -> None:
    def shards_done() -> dict[str, int]:
        for step in scale.STEPS.values():
            step(tmp_path, 1)
        logs = {stage: tmp_path / ".work" / stage / "done.log" for stage in ("detect", "estimate", "pool")}
        done = {stage: len(log.read_text().splitlines()) if log.is_file() else 0 for stage, log in logs.items()}
        for log in logs.values():
            log.unlink(missing_ok=True)
        return done

    scale._videos(tmp_path, 240)
    first = shards_done()
    assert shards_done() == {"detect": 0, "estimate": 0, "pool": 0}
    scale._videos(tmp_path, 241)
    more = shards_done()
    assert all(1 <= more[stage] <= 2 < first[stage] for stage in first if stage != "pool")
    features = Features.load(tmp_path / "artifacts/pool")
    assert features.index.clip_id.nunique() == 241
    scale.read_features(tmp_path, 1)
