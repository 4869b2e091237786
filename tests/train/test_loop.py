from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate import Accelerator
from click.testing import CliRunner

from hpnet.artifacts.clips import CLIP_COLUMNS, Clips
from hpnet.artifacts.features import FeatureMeta, Features
from hpnet.artifacts.scores import Scores
from hpnet.artifacts.trained_features import TrainedFeatures
from hpnet.core.skeleton import COCO17, HAND21
from hpnet.data.protocols import class_table
from hpnet.data.sets import SETS
from hpnet.train import loop as training
from hpnet.train.batches import batch_count, ordered_batches, shuffled_batches
from hpnet.train.checkpoints import Epoch
from hpnet.train.clips import LabelledClips, labelled_clips
from hpnet.train.datasets import PersonFeatures, are_mirrored, measure, mirror, person_rows
from hpnet.train.loop import Course, Run, diverged, fit, make_accelerator, predict
from hpnet.train.params import TopologyParams
from hpnet.train.run import Inputs
from hpnet.train.schedules import warmup_schedule
from hpnet.train.step import tell_of_mirroring
from hpnet.train.topology import TopologyModel, TopologyTask, load_topology
from hpnet.train.topology import train as train_topology

CLASSES = 3
PARAMS = TopologyParams.model_validate(
    {
        "graph": {"base_channels": 4, "blocks": 1, "dropout": 0.2},
        "epochs": 4,
        "batch_size": 8,
        "lr": 0.05,
        "warmup_epochs": 1,
        "schedule": "cosine",
        "flip": 0.3,
        "mirror_pooled": True,
        "noise": 0.1,
    }
)


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return make_accelerator(torch.device("cpu"))


def make_clips(splits: list[str], labels: list[int] | None = None, classes: int = CLASSES) -> Clips:
    count = len(splits)
    table = pd.DataFrame(dict.fromkeys(CLIP_COLUMNS, [0] * count))
    table["clip_id"] = [f"clip{n:03d}" for n in range(count)]
    table["label"] = [n % classes for n in range(count)] if labels is None else labels
    table["split"], table["error"], table["path"] = splits, "", "x.mp4"
    names = [f"class{k}" for k in range(classes)]
    return Clips(table, pd.DataFrame({"label": range(classes), "name": names, "prompt": names}))


def make_features(clips: Clips, *, frames: int = 4, channels: int = 5, kind: str = "pooled", seed: int = 0) -> Features:
    """Class k lifts channel k; every third clip has two people, and the last nobody."""
    rng = np.random.default_rng(seed)
    people, index = [], []
    for number, (clip_id, label) in enumerate(zip(clips.table.clip_id, clips.table.label, strict=True)):
        for person in range(2 if number % 3 == 0 else 1):
            found = number != len(clips.table) - 1
            array = rng.standard_normal((frames, 17, channels)) * found
            array[..., label] += 1.5 * found
            index.append((clip_id, person, len(people), found))
            people.append(array)
    meta = FeatureMeta(kind, "h2s3", 1, "mean", COCO17)
    table = pd.DataFrame(index, columns=["clip_id", "person", "row", "valid"])
    return Features(np.stack(people).astype(np.float16), table, meta)


SPLITS = ["train"] * 25 + ["val"] * 9 + ["test"] * 9


def train(folder: Path, accelerator: Accelerator, clips: Clips | None = None, **options: Any) -> dict[str, Any]:
    clips = clips or make_clips(SPLITS)
    given: dict[str, Any] = {"stream": "hpj", "params": PARAMS, "seed": 3, "on_epoch": None, **options}
    inputs = Inputs(clips, given.get("features") or make_features(clips))
    run = Run(given["seed"], folder / "work", accelerator, given["on_epoch"])
    return train_topology(given["stream"], inputs, given["params"], run, out=folder / "out", card={})


class Stop(Exception):
    pass


def stop_after(epoch: int) -> Any:
    def on_epoch(finished: Epoch) -> None:
        if finished.epoch == epoch:
            raise Stop

    return on_epoch


# --- one run ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", ["hpj", "hpb", "hpjm", "hpbm"])
def test_a_run_writes_what_its_stage_promises(tmp_path: Path, accelerator: Accelerator, stream: str) -> None:
    seen: list[Epoch] = []
    metrics = train(tmp_path, accelerator, stream=stream, on_epoch=seen.append)
    scores = Scores.load(tmp_path / "out" / "scores.parquet")
    assert scores.clip_ids == tuple(f"clip{n:03d}" for n in range(25, 43))  # every val and test clip, nobody's too
    assert scores.splits == ("val",) * 9 + ("test",) * 9
    assert scores.logits.shape == (18, CLASSES)
    right = scores.split("test").logits.argmax(1) == scores.split("test").labels
    assert metrics["test"]["top1"] == pytest.approx(right.mean())
    assert set(metrics["val"]) == {"clips", "top1", "mean_class_accuracy"}  # no top 5 of three classes
    card = json.loads((tmp_path / "out" / "config.json").read_text())
    best = max(seen, key=lambda e: (e.val_accuracy, -e.val_loss, e.epoch))
    assert metrics["epoch"] == card["chosen"]["epoch"] == best.epoch
    assert card["chosen"]["val_accuracy"] == pytest.approx(metrics["val"]["top1"])
    assert card["seed"] == 3
    assert card["params"] == PARAMS.model_dump(mode="json")
    assert [e.epoch for e in seen] == [0, 1, 2, 3]


def test_a_separable_problem_is_learned(tmp_path: Path, accelerator: Accelerator) -> None:
    params = PARAMS.model_copy(update={"epochs": 12, "flip": 0.0})
    metrics = train(tmp_path, accelerator, make_clips(["train"] * 60 + ["val"] * 15 + ["test"] * 31), params=params)
    assert metrics["test"]["top1"] > 0.9


def test_a_saved_model_gives_the_same_scores(tmp_path: Path, accelerator: Accelerator) -> None:
    train(tmp_path, accelerator)
    scores = Scores.load(tmp_path / "out" / "scores.parquet")
    model = load_topology(tmp_path / "out")
    clips = make_clips(SPLITS)
    table, features = labelled_clips(clips), make_features(clips)
    people = PersonFeatures(
        features.array, person_rows(features, table, set(table.clip_ids)), table.labels, torch.device("cpu")
    )
    batch = people.batch(np.arange(25, 43))
    with torch.inference_mode():
        logits = model(batch.features, batch.valid).numpy()
    np.testing.assert_allclose(logits, scores.logits, atol=1e-5)
    seen = TrainedFeatures.load(tmp_path / "out" / "trained_features.parquet").of(scores.clip_ids)
    with torch.inference_mode():
        logits = model.network.classifier(torch.from_numpy(seen)).numpy()  # type: ignore[operator]
    np.testing.assert_allclose(logits, scores.logits, atol=1e-5)


def test_killed_after_two_epochs_and_resumed_is_an_unbroken_run(tmp_path: Path, accelerator: Accelerator) -> None:
    whole = train(tmp_path / "whole", accelerator)
    with pytest.raises(Stop):
        train(tmp_path / "broken", accelerator, on_epoch=stop_after(1))
    torch.manual_seed(999)  # another process starts with other numbers
    seen: list[Epoch] = []
    again = train(tmp_path / "broken", accelerator, on_epoch=seen.append)
    assert again == whole
    assert [e.epoch for e in seen] == [0, 1, 2, 3]
    for name in ("model.safetensors", "scores.parquet", "config.json"):
        assert (tmp_path / "broken/out" / name).read_bytes() == (tmp_path / "whole/out" / name).read_bytes(), name


def test_a_finished_run_is_not_trained_again(tmp_path: Path, accelerator: Accelerator) -> None:
    first = train(tmp_path, accelerator)
    (tmp_path / "out" / "model.safetensors").unlink()
    (last,) = (tmp_path / "work").glob("last.*.pt")
    before = last.stat().st_mtime_ns
    assert train(tmp_path, accelerator) == first
    assert last.stat().st_mtime_ns == before
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert len(list((tmp_path / "work").glob("best-*.safetensors"))) == 1


def test_the_seed_decides(tmp_path: Path, accelerator: Accelerator) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train(tmp_path / name, accelerator, seed=seed)
    weights = [(tmp_path / name / "out/model.safetensors").read_bytes() for name in "abc"]
    assert weights[0] == weights[1] != weights[2]


def test_test_labels_and_features_change_nothing_but_the_test_scores(tmp_path: Path, accelerator: Accelerator) -> None:
    train(tmp_path / "a", accelerator)
    clips = make_clips(SPLITS)
    features = make_features(clips)
    spoiled = features.array.copy()
    for row in features.index[features.index.clip_id >= "clip034"].row:
        spoiled[row] += 3
    relabelled = make_clips(SPLITS, [(n + 1) % 3 if n >= 34 else n % 3 for n in range(43)])
    train(tmp_path / "b", accelerator, relabelled, features=Features(spoiled, features.index, features.meta))
    weights = [(tmp_path / name / "out/model.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]
    scores = [Scores.load(tmp_path / name / "out/scores.parquet") for name in "ab"]
    np.testing.assert_array_equal(scores[0].split("val").logits, scores[1].split("val").logits)
    assert np.abs(scores[0].split("test").logits[:-1] - scores[1].split("test").logits[:-1]).max() > 1e-3


def test_without_validation_the_last_epoch_is_taken_and_said(tmp_path: Path, accelerator: Accelerator) -> None:
    metrics = train(tmp_path, accelerator, make_clips(["train"] * 20 + ["test"] * 5))
    card = json.loads((tmp_path / "out/config.json").read_text())
    assert metrics["epoch"] == PARAMS.epochs - 1
    assert "val" not in metrics
    assert card["chosen_by"] == "last epoch: there are no validation clips"


# --- few clips, few classes ------------------------------------------------------------------------------------------


def test_two_classes_a_batch_larger_than_the_set_and_five_scores(tmp_path: Path, accelerator: Accelerator) -> None:
    params = PARAMS.model_copy(update={"batch_size": 64, "epochs": 2})
    clips = make_clips(["train"] * 6 + ["val", "test", "test"], classes=2)
    assert Scores.load(_scores(tmp_path, accelerator, clips, params)).logits.shape == (3, 2)
    many = make_clips(["train"] * 20 + ["test"] * 8, [n % 8 for n in range(28)], classes=8)
    metrics = train(tmp_path / "many", accelerator, many, params=params, features=make_features(many, channels=8))
    assert metrics["test"]["top5"] >= metrics["test"]["top1"]


def _scores(folder: Path, accelerator: Accelerator, clips: Clips, params: TopologyParams) -> Path:
    train(folder, accelerator, clips, params=params)
    return folder / "out" / "scores.parquet"


def test_one_training_clip(tmp_path: Path, accelerator: Accelerator) -> None:
    clips = make_clips(["train", "val", "test", "test"])
    train(tmp_path, accelerator, clips, features=make_features(clips, frames=1))
    card = json.loads((tmp_path / "out/config.json").read_text())
    assert card["untrained_classes"] == [1, 2]


def test_clips_without_a_label_are_scored_but_not_counted(tmp_path: Path, accelerator: Accelerator) -> None:
    labels = [n % 3 for n in range(25)] + [0, 1, 2, -1, 0, -1]
    clips = make_clips(["train"] * 25 + ["val"] * 4 + ["test"] * 2, labels)
    metrics = train(tmp_path, accelerator, clips)
    assert (metrics["val"]["clips"], metrics["test"]["clips"]) == (3, 1)
    assert len(Scores.load(tmp_path / "out/scores.parquet").clip_ids) == 6


# --- errors ----------------------------------------------------------------------------------------------------------


def test_no_training_clip(tmp_path: Path, accelerator: Accelerator) -> None:
    with pytest.raises(ValueError, match=r"none of the 4 clips is a labelled training clip.*data\.protocol"):
        train(tmp_path, accelerator, make_clips(["test"] * 4))


def test_clip_table_and_features_must_agree(tmp_path: Path, accelerator: Accelerator) -> None:
    clips = make_clips(SPLITS)
    features = make_features(clips)
    fewer = Features(features.array[:-2], features.index.iloc[:-2], features.meta)  # clip042 has two people
    with pytest.raises(ValueError, match=r"clip 'clip042' of clips\.csv has no features \(1 such\)"):
        train(tmp_path, accelerator, clips, features=fewer)
    with pytest.raises(ValueError, match=r"features have clip 'clip042', clips\.csv does not"):
        train(tmp_path, accelerator, make_clips(SPLITS[:-1]), features=features)
    index = features.index.copy()
    index.loc[1, ["clip_id", "person"]] = ["clip000", 0]
    with pytest.raises(ValueError, match="clip 'clip000' has two rows for person 0"):
        train(tmp_path, accelerator, clips, features=Features(features.array, index, features.meta))
    index = features.index.assign(row=features.index.row + 1)
    with pytest.raises(ValueError, match="clip 'clip042' is at row"):
        train(tmp_path, accelerator, clips, features=Features(features.array, index, features.meta))


def test_clips_that_could_not_be_used_need_no_features(tmp_path: Path, accelerator: Accelerator) -> None:
    clips = make_clips(SPLITS)
    features = make_features(clips)
    clips.table.loc[30, "error"] = "zero bytes"
    train(tmp_path, accelerator, clips, features=features)
    assert "clip030" not in Scores.load(tmp_path / "out/scores.parquet").clip_ids


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_name_their_clip(tmp_path: Path, accelerator: Accelerator, value: float) -> None:
    clips = make_clips(SPLITS)
    features = make_features(clips)
    features.array[features.index.index[features.index.clip_id == "clip040"][0], 0, 3, 1] = value
    with pytest.raises(ValueError, match="features of clip 'clip040' are not finite"):
        train(tmp_path, accelerator, clips, features=features)


def test_a_diverging_run_names_the_step_and_keeps_the_checkpoint(
    tmp_path: Path, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Stop):
        train(tmp_path, accelerator, on_epoch=stop_after(1))
    (last,) = (tmp_path / "work").glob("last.*.pt")
    kept = last.read_bytes()
    whole = TopologyTask.loss
    calls = iter(range(100))

    def broken(self: TopologyTask, model: torch.nn.Module, batch: Any) -> torch.Tensor:
        loss = whole(self, model, batch)
        return loss * float("nan") if next(calls) >= 1 else loss

    monkeypatch.setattr(TopologyTask, "loss", broken)
    with pytest.raises(FloatingPointError, match=r"epoch 2, step 1 is not finite \(clips clip0\d\d, .*\): lower lr"):
        train(tmp_path, accelerator)
    assert last.read_bytes() == kept


def test_weights_that_an_epochs_last_step_broke_are_not_kept(
    tmp_path: Path, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No loss was computed with them yet; without validation clips the last epoch is the one that is kept."""
    clips = make_clips(["train" if split == "val" else split for split in SPLITS])
    with pytest.raises(Stop):
        train(tmp_path, accelerator, clips, on_epoch=stop_after(1))
    kept = {file.name: file.read_bytes() for file in (tmp_path / "work").iterdir()}
    assert {name.partition(".")[0] for name in kept} == {"best-0001", "last"}
    step = torch.optim.SGD.step
    calls = iter(range(1, 100))
    steps = batch_count(34, PARAMS.batch_size)

    def breaking(self: torch.optim.SGD, *given: Any, **named: Any) -> Any:
        found = step(self, *given, **named)
        if next(calls) == steps:
            with torch.no_grad():
                self.param_groups[0]["params"][-1].fill_(torch.inf)
        return found

    monkeypatch.setattr(torch.optim.SGD, "step", breaking)
    with pytest.raises(
        FloatingPointError, match=rf"the weights after epoch 2, step {steps - 1} are not finite \(clips"
    ):
        train(tmp_path, accelerator, clips)
    assert {file.name: file.read_bytes() for file in (tmp_path / "work").iterdir()} == kept


def test_the_remedy_for_a_diverging_run_is_one_that_was_not_tried() -> None:
    clips = LabelledClips(("a",), ("train",), np.array([0]), 2)
    for precision, said in (("no", False), ("bf16", True)):
        found: Any = SimpleNamespace(mixed_precision=precision)
        text = str(diverged("loss", 3, 1, clips, np.array([0]), found))
        assert ("float32" in text) is said
        assert "lower lr" in text


def test_the_released_graph_needs_its_joints(tmp_path: Path, accelerator: Accelerator) -> None:
    clips = make_clips(SPLITS)
    features = make_features(clips)
    hand = FeatureMeta("pooled", "h2s3", 1, "mean", HAND21)
    wide = np.zeros((*features.array.shape[:2], 21, 5), np.float16)
    params = PARAMS.model_copy(update={"graph": PARAMS.graph.model_copy(update={"skeleton": "released"})})
    train(tmp_path, accelerator, clips, params=params)
    with pytest.raises(ValueError, match="needs COCO's 17 joints; the features have 'hand21'"):
        train(tmp_path, accelerator, clips, params=params, features=Features(wide, features.index, hand))


def test_accelerator_errors() -> None:
    with pytest.raises(ValueError, match="choose from float32, bfloat16, float16"):
        make_accelerator(torch.device("cpu"), "fp8")
    with pytest.raises(ValueError, match="float16 needs a GPU"):
        make_accelerator(torch.device("cpu"), "float16")


def test_a_stream_that_was_not_trained(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run `hpnet train hpb` first"):
        load_topology(tmp_path / "hpb")


# --- parts -----------------------------------------------------------------------------------------------------------


def test_people_stand_in_their_slots_whether_resident_or_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = make_clips(SPLITS)
    make_features(clips).save(tmp_path)
    features, table = Features.load(tmp_path), labelled_clips(clips)
    rows = person_rows(features, table, set(table.clip_ids))
    mapped = PersonFeatures(features.array, rows, table.labels, torch.device("cpu")).batch(np.array([3, 1, 42]))
    monkeypatch.setattr("hpnet.train.datasets.resident_bytes", lambda device: 1 << 30)
    resident = PersonFeatures(features.array, rows, table.labels, torch.device("cpu")).batch(np.array([3, 1, 42]))
    torch.testing.assert_close(resident.features, mapped.features)
    assert resident.features.shape == (3, 5, 4, 17, 2)
    assert resident.features.dtype == torch.float32
    assert resident.valid.tolist() == [[True, True], [True, False], [False, False]]
    second = features.index[(features.index.clip_id == "clip003") & (features.index.person == 1)].row.item()
    # (T, V, C) -> (C, T, V)
    expected = features.array[second].astype(np.float32).transpose(2, 0, 1)
    np.testing.assert_array_equal(resident.features[0, ..., 1].numpy(), expected)
    assert not resident.features[1, ..., 1].any()
    assert resident.labels.tolist() == [0, 1, 0]


def test_statistics_are_of_valid_people_in_training_clips_as_the_stream_sees_them() -> None:
    clips = make_clips(SPLITS)
    features, table = make_features(clips), labelled_clips(clips)
    features.array[..., 4] = 2.0  # a constant channel
    rows = person_rows(features, table, set(table.clip_ids))
    own = features.array[: int(rows[:25].max()) + 1].astype(np.float64)
    found = measure(features.array, rows, table, stream="hpj", parents=COCO17.parents)
    np.testing.assert_allclose(found.mean, own.mean((0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(found.sd[:4], own[..., :4].std((0, 1, 2)), atol=1e-5)
    assert found.sd[4] == 1
    bones = own - own[:, :, list(COCO17.parents)]
    found = measure(features.array, rows, table, stream="hpb", parents=COCO17.parents)
    np.testing.assert_allclose(found.sd[:4], bones[..., :4].std((0, 1, 2)), atol=1e-5)


def test_what_the_network_sees_has_mean_zero_and_sd_one() -> None:
    clips = make_clips(["train"] * 12)
    features, table = make_features(clips), labelled_clips(clips)
    rows = person_rows(features, table, set(table.clip_ids))
    for standardise, low, high in ((True, 0.99, 1.01), (False, 1.05, 2.0)):
        statistics = measure(features.array, rows, table, stream="hpj", parents=COCO17.parents)
        if not standardise:
            statistics = type(statistics)(torch.zeros(5), torch.ones(5))
        model = TopologyModel(torch.nn.Identity(), "hpj", COCO17, statistics).eval()
        batch = PersonFeatures(features.array, rows, table.labels, torch.device("cpu")).batch(np.arange(12))
        seen = model.prepare(batch.features, batch.valid).permute(0, 4, 1, 2, 3)[batch.valid][:, 0]
        assert low < seen.std() < high
        assert not model.prepare(batch.features, batch.valid).permute(0, 4, 1, 2, 3)[~batch.valid].any()


def test_noise_only_while_training() -> None:
    clips = make_clips(["train"] * 3)
    features, table = make_features(clips), labelled_clips(clips)
    rows = person_rows(features, table, set(table.clip_ids))
    statistics = measure(features.array, rows, table, stream="hpj", parents=COCO17.parents)
    model = TopologyModel(torch.nn.Identity(), "hpj", COCO17, statistics, TopologyParams(noise=0.5))
    batch = PersonFeatures(features.array, rows, table.labels, torch.device("cpu")).batch(np.arange(3))
    clean, noisy = (model.train(mode).prepare(batch.features, batch.valid) for mode in (False, True))
    added = (noisy - clean).permute(0, 4, 1, 2, 3)
    assert 0.45 < added[batch.valid].std() < 0.55
    assert not added[~batch.valid].any()


def test_mirror_twice_is_the_clip_itself() -> None:
    x = torch.randn(3, 3, 2, 17, 2)
    chosen = torch.tensor([True, False, True])
    for kind in ("pooled", "pose2d"):
        meta = FeatureMeta(kind, "h2s3", 1, "mean", COCO17)
        flipped = mirror(x, chosen, meta)
        torch.testing.assert_close(mirror(flipped, chosen, meta), x)
        torch.testing.assert_close(flipped[1], x[1])
        sign = -1 if kind == "pose2d" else 1
        torch.testing.assert_close(flipped[0, 0, :, 9], sign * x[0, 0, :, 10])  # left wrist, x
        torch.testing.assert_close(flipped[0, 1, :, 9], x[0, 1, :, 10])
    with pytest.raises(ValueError, match=r"kind 'simcc' cannot be mirrored"):
        mirror(x, chosen, FeatureMeta("simcc", "h2s3", 1, "mean", COCO17))


SIDED = {
    "uav-human": {"move left": "move right", "rear left turn": "rear right turn", "turn left": "turn right"},
    "utd-mhad": {"swipe left": "swipe right", "draw circle clockwise": "draw circle counter-clockwise"},
}
"""Data set -> its classes that are each other's mirror image."""
ONE_HANDED = {
    "wave", "throw", "draw x", "draw triangle", "bowling", "baseball swing", "knock", "catch", "lunge",
}  # fmt: skip
"""Classes of UTD-MHAD whose prompt names a hand or a foot: no class is of the other one."""


@pytest.mark.parametrize("protocol", sorted(SETS.keys() - {"folder"}))
def test_in_every_data_set_a_class_with_a_side_has_a_partner_and_mirroring_twice_is_nothing(protocol: str) -> None:
    classes = class_table(protocol)
    names = [str(name) for name in classes.name]
    partners = Clips(make_clips([]).table, classes).mirror_partners()
    there = np.flatnonzero(partners >= 0)
    assert partners[partners[there]].tolist() == there.tolist()
    data_set = protocol if protocol in SIDED else protocol.rpartition("-")[0]
    assert {names[k]: names[int(p)] for k, p in enumerate(partners) if p > k} == {
        min(pair, key=names.index): max(pair, key=names.index) for pair in SIDED.get(data_set, {}).items()
    }
    assert {names[k] for k in np.flatnonzero(partners < 0)} == (ONE_HANDED if protocol == "utd-mhad" else set())


@pytest.mark.parametrize("kind", ["pooled", "both", "pose2d"])
@pytest.mark.parametrize("mirror_pooled", [False, True])
def test_pooled_channels_are_mirrored_only_if_asked_for(kind: str, mirror_pooled: bool) -> None:
    clips = make_clips(["train"] * 8, classes=4)
    made = make_features(clips)
    features = Features(made.array, made.index, FeatureMeta(kind, "h2s3", 1, "mean", COCO17))
    table = labelled_clips(clips)
    rows = person_rows(features, table, set(table.clip_ids))
    people = PersonFeatures(features.array, rows, table.labels, torch.device("cpu"))
    params = TopologyParams.model_validate({"flip": 1.0, "mirror_pooled": mirror_pooled, "batch_size": 8})
    ((indices, batch),) = TopologyTask(table, people, params, features.meta, seed=0).train_batches(0)
    plain = people.batch(indices).features
    shown = mirror(plain, torch.ones(8, dtype=torch.bool), features.meta)
    torch.testing.assert_close(batch.features, shown if kind == "pose2d" or mirror_pooled else plain)


def test_maps_that_were_read_in_the_mirrored_crop_change_places_with_that_reading() -> None:
    meta = FeatureMeta("both", "a+b", 1, "mean", COCO17, (2, 1, 2, 1, 3), 2)
    assert are_mirrored(meta, mirror_pooled=False)
    x = torch.randn(2, 9, 4, 17, 1)
    seen = mirror(x, torch.tensor([True, False]), meta)
    torch.testing.assert_close(seen[1], x[1])
    torch.testing.assert_close(seen[0, :3], x[0, 3:6])
    torch.testing.assert_close(seen[0, 3:6], x[0, :3])
    torch.testing.assert_close(seen[0, 6], -x[0, 6][:, list(COCO17.mirror)])
    torch.testing.assert_close(seen[0, 7:], x[0, 7:][:, :, list(COCO17.mirror)])
    torch.testing.assert_close(mirror(seen, torch.tensor([True, False]), meta), x)


def test_a_mirrored_training_clip_shows_its_partners_action() -> None:
    names = ["wave", "turn left", "turn right", "point left"]
    clips = make_clips(["train"] * 8, classes=4)
    clips = Clips(clips.table, clips.classes.assign(name=names))
    features = make_features(clips)
    table = labelled_clips(clips)
    rows = person_rows(features, table, set(table.clip_ids))
    people = PersonFeatures(features.array, rows, table.labels, torch.device("cpu"))
    params = TopologyParams.model_validate({"flip": 1.0, "mirror_pooled": True, "batch_size": 8})
    ((indices, batch),) = TopologyTask(table, people, params, features.meta, seed=0).train_batches(0)
    plain = people.batch(indices)
    shown = mirror(plain.features, torch.ones(8, dtype=torch.bool), features.meta)
    for n, label in enumerate(plain.labels.tolist()):
        expected = plain.features[n] if names[label] == "point left" else shown[n]
        torch.testing.assert_close(batch.features[n], expected)
        assert batch.labels[n] == {1: 2, 2: 1}.get(label, label)


def test_training_says_which_labels_change_places(capsys: pytest.CaptureFixture[str]) -> None:
    clips = make_clips(["train"] * 4, classes=4)
    clips = Clips(clips.table, clips.classes.assign(name=["wave", "turn left", "turn right", "point left"]))
    inputs = Inputs(clips, make_features(clips, kind="pose2d"))
    tell_of_mirroring(inputs, TopologyParams(flip=0.0))
    tell_of_mirroring(inputs, TopologyParams.model_validate({"flip": 0.5, "graph": {"model": "linear"}}))
    assert not capsys.readouterr().err
    tell_of_mirroring(inputs, TopologyParams(flip=0.5))
    said = capsys.readouterr().err
    assert "labels change places: turn left <-> turn right; not mirrored" in said
    assert said.endswith("the other side: point left\n")
    tell_of_mirroring(Inputs(clips, make_features(clips)), TopologyParams(flip=0.5))
    assert "features of kind 'pooled' have no mirror image" in capsys.readouterr().err


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize(("clips", "size"), [(10, 4), (9, 4), (1, 4), (3, 8), (5, 1)])
def test_every_training_clip_once_per_epoch(clips: int, size: int, processes: int) -> None:
    indices = np.arange(100, 100 + clips)
    shares = [
        list(shuffled_batches(indices, size, seed=1, epoch=2, process=p, processes=processes)) for p in range(processes)
    ]
    assert {len(share) for share in shares} == {batch_count(clips, size)}  # as many steps on every process
    assert all(len(batch) for share in shares for batch in share)
    found = np.concatenate([batch for share in shares for batch in share])
    assert set(found) == set(indices)
    if processes == 1:
        assert len(found) == clips
        assert size == 1 or clips == 1 or min(map(len, shares[0])) > 1  # no batch of one clip
    evaluated = [
        np.concatenate([*ordered_batches(indices, size, process=p, processes=processes), []]) for p in range(processes)
    ]
    assert sorted(np.concatenate(evaluated)) == sorted(indices)


def test_epochs_are_shuffled_differently_and_reproducibly() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return np.concatenate(list(shuffled_batches(np.arange(20), 6, seed=seed, epoch=epoch))).tolist()

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(s, e)) for s in (1, 2) for e in (0, 1)}) == 4


def test_released_schedule() -> None:
    rate = warmup_schedule("step", 65, 5, (35, 55))
    assert [rate(0.0), rate(2.5), rate(5.0)] == pytest.approx([0, 0.5, 1])
    assert [rate(34.9), rate(35.0), rate(55.5)] == pytest.approx([1, 0.1, 0.01])


def test_cosine_schedule() -> None:
    rate = warmup_schedule("cosine", 10, 2)
    assert [rate(1.0), rate(2.0), rate(6.0), rate(10.0)] == pytest.approx([0.5, 1, 0.5, 0])
    assert warmup_schedule("cosine", 4, 0)(0.0) == 1
    with pytest.raises(ValueError, match="choose from step, cosine"):
        warmup_schedule("poly", 10, 2)


class Counting:
    """A task of a single weight: its logits are the weight, whatever the batch."""

    clips = LabelledClips(("a", "b"), ("train", "val"), np.array([0, 1]), 2)
    steps_per_epoch = 1

    def train_batches(self, epoch: int) -> Iterator[tuple[np.ndarray, None]]:
        yield np.array([0]), None

    def eval_batches(self, split: str) -> Iterator[tuple[np.ndarray, None]]:
        yield self.clips.of(split), None

    def loss(self, model: torch.nn.Module, batch: None) -> torch.Tensor:
        return model.weight.sum()

    def logits(self, model: torch.nn.Module, batch: None) -> torch.Tensor:
        return torch.stack([torch.zeros(()), self.scores[round(-model.weight.item()) - 1]])[None]

    def trained_features(self, model: torch.nn.Module, batch: None) -> None:
        """None: there is no classifier."""


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ([-1.0, 2.0, 1.0], 1),  # best accuracy, and of two the lower loss
        ([1.0, 1.0, 1.0], 2),  # all the same: the later one
        ([1.0, float("nan"), float("nan")], 0),  # a validation loss that is not finite is the worst
    ],
)
def test_the_epoch_is_chosen_on_validation(
    tmp_path: Path, accelerator: Accelerator, scores: list[float], chosen: int
) -> None:
    task, model = Counting(), torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    task.scores = torch.tensor(scores)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)  # the weight after epoch e is -(e + 1)
    result = fit(task, model, optimizer, Course(lambda _: 1.0, epochs=3), Run(0, tmp_path, accelerator))
    assert result.chosen.epoch == chosen
    assert model.weight.item() == -(chosen + 1)
    indices, logits = predict(task, model, "val", accelerator)
    assert indices.tolist() == [1]
    assert logits[0, 1] == scores[chosen]


class Unbalanced(Counting):
    """Three validation clips of class 0 and one of class 1. After the first epoch all are taken for class 0, after the
    second two of class 0 for class 1."""

    clips = LabelledClips(
        ("a", "b", "c", "d", "e"), ("train", "val", "val", "val", "val"), np.array([0, 0, 0, 0, 1]), 2
    )

    def logits(self, model: torch.nn.Module, batch: None) -> torch.Tensor:
        first = torch.tensor([[1.0, 0.0]] * 4)
        second = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
        return (first, second)[round(-model.weight.item()) - 1]


@pytest.mark.parametrize(("measure", "chosen", "accuracy"), [("top1", 0, 3 / 4), ("mean_class_accuracy", 1, 2 / 3)])
def test_the_epoch_is_chosen_by_the_data_sets_own_measure(
    tmp_path: Path, accelerator: Accelerator, measure: str, chosen: int, accuracy: float
) -> None:
    task, model = Unbalanced(), torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    run = Run(0, tmp_path, accelerator, measure=measure)
    result = fit(task, model, optimizer, Course(lambda _: 1.0, epochs=2), run)
    assert result.chosen.epoch == chosen
    assert result.chosen.val_accuracy == pytest.approx(accuracy)
    assert ("mean class accuracy" in result.chosen_by) == (measure == "mean_class_accuracy")


def test_a_process_that_has_nothing_to_give_still_meets_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[list[Any]] = []
    monkeypatch.setattr("accelerate.utils.gather_object", lambda found: met.append(found) or found)
    two = SimpleNamespace(device=torch.device("cpu"), num_processes=2, autocast=nullcontext)
    assert training.trained_features(Counting(), torch.nn.Linear(1, 1), two, ("val",)) is None  # type: ignore[arg-type]
    assert met == [[]]


def test_learning_rates_of_parameter_groups_keep_their_ratio(tmp_path: Path, accelerator: Accelerator) -> None:
    task, model = Counting(), torch.nn.Linear(1, 1)
    task.clips = LabelledClips(("a",), ("train",), np.array([0]), 2)
    optimizer = torch.optim.SGD([{"params": [model.weight], "lr": 1.0}, {"params": [model.bias], "lr": 10.0}], lr=1.0)
    result = fit(task, model, optimizer, Course(lambda p: p, epochs=2), Run(0, tmp_path, accelerator))
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([1.5, 15.0])
    assert [e.lr for e in result.history] == pytest.approx([0.5, 1.5])


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hpnet.stages.train import command

    monkeypatch.chdir(tmp_path)
    clips = make_clips(SPLITS)
    clips.save(tmp_path / "artifacts/data")
    make_features(clips).save(tmp_path / "artifacts/pool")
    small = ["--topology-graph-base-channels", "4", "--topology-graph-blocks", "1", "--topology-epochs", "2"]
    done = CliRunner().invoke(command, ["hpb", *small, "--topology-warmup-epochs", "0", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert "hpb: val " in done.output
    assert json.loads((tmp_path / "metrics/train/hpb.json").read_text())["test"]["clips"] == 9
    out = tmp_path / "artifacts/train/hpb"
    files = {"model.safetensors", "config.json", "scores.parquet", "trained_features.parquet", "history"}
    assert {p.name for p in out.iterdir()} == files
    lines = (out / "history/plots/metrics/val/accuracy.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["step", "accuracy"]
    assert len(lines) == 3
    assert not (tmp_path / "dvc.yaml").exists()
    assert len(list((tmp_path / ".work/train").iterdir())) == 1


def test_the_command_refuses_an_unknown_stream() -> None:
    from hpnet.stages.train import command

    result = CliRunner().invoke(command, ["hpx"])
    assert result.exit_code == 2
    assert "'hpx' is unknown; choose from hpj, hpb, hpjm, hpbm, multimodal" in result.output


@pytest.mark.long
def test_all_streams_side_by_side_are_the_single_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hpnet.stages.train import command

    monkeypatch.setattr("hpnet.train.every.cores", lambda: 2)
    monkeypatch.chdir(tmp_path)
    clips = make_clips(SPLITS)
    clips.save(tmp_path / "artifacts/data")
    make_features(clips).save(tmp_path / "artifacts/pool")
    size = ["--topology-graph-base-channels", "4", "--topology-graph-blocks", "1", "--topology-epochs", "2"]
    options = [*size, "--topology-warmup-epochs", "0", "--topology-noise", "0.1", "--device", "cpu"]
    done = CliRunner().invoke(command, ["all", *options, "--out", "together", "--metrics", "together"])
    assert done.exit_code == 0, done.output
    assert [line.partition(":")[0] for line in done.output.splitlines()[-4:]] == ["hpj", "hpb", "hpjm", "hpbm"]
    for stream in ("hpb", "hpjm"):
        shutil.rmtree(tmp_path / ".work")
        alone = CliRunner().invoke(command, [stream, *options])
        assert alone.exit_code == 0, alone.output
        for name in ("model.safetensors", "scores.parquet", "config.json"):
            both = [(tmp_path / folder / stream / name).read_bytes() for folder in ("together", "artifacts/train")]
            assert both[0] == both[1], f"{stream}: {name}"
        both = [json.loads((tmp_path / f / f"{stream}.json").read_text()) for f in ("together", "metrics/train")]
        assert both[0] == both[1]
