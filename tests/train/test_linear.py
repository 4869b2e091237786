"""Fitting the linear classifier: cross-validation by source, out-of-fold scores, one fit of everything."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.features import FeatureMeta, Features
from hpnet.artifacts.scores import Scores
from hpnet.artifacts.trained_features import TrainedFeatures
from hpnet.core.skeleton import COCO17
from hpnet.fuse.fusion import fuse
from hpnet.models.linear import Linear, View
from hpnet.stages.cli import cli
from hpnet.train import linear
from hpnet.train.checkpoints import Epoch
from hpnet.train.clips import LabelledClips, labelled_clips
from hpnet.train.datasets import PersonFeatures, mirror, person_rows
from hpnet.train.loop import Run, make_accelerator
from hpnet.train.out_of_fold import make_folds, whole
from hpnet.train.params import MultimodalParams, TopologyParams
from hpnet.train.run import Inputs
from hpnet.train.step import Trained
from hpnet.train.topology import load_topology
from hpnet.train.topology import train as train_topology

from .test_loop import PARAMS as GRAPH
from .test_loop import make_clips, make_features

PARAMS = TopologyParams.model_validate(
    {"graph": {"model": "linear"}, "linear": {"components": [4, 16], "strengths": [1, 30]}, "rotation": 0}
)
SPLITS = ["train"] * 40 + ["val"] * 14 + ["test"] * 21


def sourced(splits: list[str] = SPLITS, size: int = 4) -> Clips:
    """Clips of which ``size`` neighbours share a source."""
    clips = make_clips(splits)
    clips.table["source"] = [f"film{n // size}" for n in range(len(splits))]
    return clips


def train(folder: Path, clips: Clips | None = None, **options: Any) -> dict[str, Any]:
    clips = clips or sourced()
    given: dict[str, Any] = {"stream": "hpj", "params": PARAMS, "on_epoch": None, "folds": 5, **options}
    inputs = Inputs(clips, given.get("features") or make_features(clips))
    run = Run(3, folder / "work", make_accelerator(torch.device("cpu")), given["on_epoch"], folds=given["folds"])
    return train_topology(given["stream"], inputs, given["params"], run, out=folder / "out", card={})


@pytest.mark.parametrize("stream", ["hpj", "hpb", "hpjm", "hpbm"])
def test_it_writes_what_its_stage_promises(tmp_path: Path, stream: str) -> None:
    seen: list[Epoch] = []
    metrics = train(tmp_path, stream=stream, on_epoch=seen.append)
    scores = Scores.load(tmp_path / "out" / "scores.parquet")
    assert scores.splits == tuple(SPLITS)
    assert scores.folds is not None
    assert set(scores.folds[:54]) == set(range(5))
    assert set(scores.folds[54:]) == {-1}
    assert scores.unseen.tolist() == [split != "test" for split in SPLITS]
    card = json.loads((tmp_path / "out" / "config.json").read_text())
    assert metrics["val"]["clips"] == 54
    assert metrics["out_of_fold"] == {"folds": 5, "by": "source", "clips": 54}
    assert card["out_of_fold"]["text"] == "out of fold (5 folds by source, 54 clips)"
    assert card["chosen"]["accuracy"] == pytest.approx(metrics["val"]["top1"])
    assert (metrics["components"], metrics["strength"]) == (card["chosen"]["components"], card["chosen"]["strength"])
    assert "epoch" not in metrics
    assert [epoch.epoch for epoch in seen] == [0]
    assert TrainedFeatures.load(tmp_path / "out" / "trained_features.parquet").array.shape == (21, 3)
    assert Trained(stream, metrics).summary.startswith(
        f"{stream}: val {metrics['val']['top1']:.1%} of 54 clips out of fold (5 folds by source), test "
    )


def test_a_separable_problem_is_learned(tmp_path: Path) -> None:
    assert train(tmp_path)["test"]["top1"] > 0.9


def test_a_saved_model_gives_the_same_scores(tmp_path: Path) -> None:
    train(tmp_path)
    clips, model = sourced(), load_topology(tmp_path / "out")
    assert isinstance(model.network, Linear)
    table, features = labelled_clips(clips), make_features(clips)
    people = PersonFeatures(
        features.array, person_rows(features, table, set(table.clip_ids)), table.labels, torch.device("cpu")
    )
    batch = people.batch(table.of("test"))
    stored = Scores.load(tmp_path / "out" / "scores.parquet").split("test").logits
    np.testing.assert_allclose(model(batch.features, batch.valid).numpy(), stored, atol=1e-4)


def test_no_clip_shapes_its_own_score(tmp_path: Path) -> None:
    """Neither its features nor those of its source: with other features for a source, its neighbours' scores stay."""
    clips = sourced()
    features = make_features(clips)
    train(tmp_path / "a", clips, features=features)
    before = Scores.load(tmp_path / "a" / "out" / "scores.parquet")
    assert before.folds is not None
    fold = before.folds == before.folds[0]
    moved = make_features(clips)
    people = {str(c) for c, own in zip(before.clip_ids, fold, strict=True) if own}
    rows = moved.index.row[moved.index.clip_id.isin(people)].to_numpy()
    moved.array[rows] = 5 - 3 * moved.array[rows]
    one = PARAMS.model_copy(
        update={"linear": PARAMS.linear.model_copy(update={"components": (16,), "strengths": (1.0,)})}
    )
    train(tmp_path / "b", clips, features=features, params=one)
    train(tmp_path / "c", clips, features=moved, params=one)
    first, second = (Scores.load(tmp_path / name / "out" / "scores.parquet").logits for name in "bc")
    model = [load_topology(tmp_path / name / "out") for name in "bc"]
    assert not torch.allclose(model[0].network.weight, model[1].network.weight)
    assert np.abs(first[fold] - second[fold]).max() > 0.1
    refit = fit_without(clips, features, fold)
    values, known = refit.statistics(*inputs_of(clips, moved, np.flatnonzero(fold)))
    logits = refit.standardised(values, known) @ refit.weight.T + refit.bias
    np.testing.assert_allclose(logits.numpy(), second[fold], atol=1e-3)  # of a fit that saw none of them


def inputs_of(clips: Clips, features: Any, indices: Any) -> tuple[torch.Tensor, torch.Tensor]:
    table = labelled_clips(clips)
    rows = person_rows(features, table, set(table.clip_ids))
    batch = PersonFeatures(features.array, rows, table.labels, torch.device("cpu")).batch(indices)
    return batch.features, batch.valid


def fit_without(clips: Clips, features: Any, fold: Any) -> Linear:
    """The network fitted to the clips that are learnt and not in a fold."""
    table = labelled_clips(clips)
    indices = np.flatnonzero(~fold & np.array([split != "test" for split in table.splits]))
    network = Linear(in_channels=5, num_classes=3, num_joints=17, num_persons=2)
    values, known = network.statistics(*inputs_of(clips, features, indices))
    sample = linear.Sample(
        values.numpy(),
        known.numpy(),
        network.own,
        table.labels[indices],
        linear.even_weights(network, ()),
        network.kinds.numpy(),
    )
    linear.fit_all(network, sample, linear.Candidate("all", False, "logistic", 16, 1.0, 0.0, 0.0))
    return network


def test_every_part_of_the_features_counts_alike() -> None:
    """A pose beside a map of many channels, the people beside their distances."""
    network = Linear(in_channels=12, num_classes=3, num_joints=4, num_persons=2, view=View(positions=(10, 11)))
    weights = linear.even_weights(network, (9, 3)) ** 2
    own, shared = weights[: network.own].reshape(3, 12, 4), weights[network.own :]
    assert own[:, :9].sum() == pytest.approx(1)
    assert own[:, 9:].sum() == pytest.approx(1)
    assert shared[: network.own].sum() == pytest.approx(2)
    assert shared[network.own :].sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="12 channels, but parts of"):
        linear.even_weights(network, (9, 4))
    view = View(positions=(10, 11), parts=(1, 2), planes=((10, 11),), distances=True)
    more = Linear(in_channels=12, num_classes=3, num_joints=4, num_persons=1, view=view)
    weights = linear.even_weights(more, (9, 3)) ** 2
    statistics, areas, limbs = weights[: 9 * 48].reshape(9, 12, 4), weights[9 * 48 : -36], weights[-36:]
    assert statistics[:, 9:].sum() == pytest.approx(1)
    assert areas == pytest.approx(np.full(3 * 4, statistics[0, 10, 0]))
    assert limbs.sum() == pytest.approx(1)


def test_more_clips_than_statistics_give_the_same_components() -> None:
    """The matrix of products is then the smaller one of statistics."""
    z = np.random.default_rng(0).standard_normal((30, 12)).astype(np.float32)
    z -= z.mean(0)
    small, large = linear.principal_components(z, None, 5), linear.principal_components(z, z @ z.T, 5)
    np.testing.assert_allclose(np.abs(small.scores), np.abs(large.scores), atol=1e-4)
    np.testing.assert_allclose(large.of(z @ z.T), large.scores, atol=1e-4)
    np.testing.assert_allclose(small.of(z), small.scores, atol=1e-4)
    full = linear.principal_components(z, None, 99).scores
    assert full.shape == (30, 12)
    assert (full**2).sum() / 30 == pytest.approx(1)


@pytest.mark.parametrize(
    ("kind", "stream", "positions"),
    [
        ("pooled", "hpj", []), ("pose2d", "hpj", [0, 1]), ("pose3d", "hpj", [0, 1, 2]), ("both", "hpj", [2, 3]),
        ("both", "hpb", []), ("pose2d", "hpjm", []),
    ],
)  # fmt: skip
def test_positions_are_where_the_kind_of_features_has_them(kind: str, stream: str, positions: list[int]) -> None:
    features = make_features(sourced(), channels=3 if kind.startswith("pose") else 5, kind=kind)
    view = linear.view_of(stream, features, PARAMS.linear)
    assert (list(view.positions), view.centred, view.facing) == (positions, kind != "pose3d", False)
    assert linear.view_of(stream, replace(features, meta=replace(features.meta, own_axes=True)), PARAMS.linear).facing


def test_people_who_stand_to_each_other_are_seen_in_positions(tmp_path: Path) -> None:
    clips = sourced()
    train(tmp_path, clips, features=make_features(clips, channels=3, kind="pose2d"))
    network = load_topology(tmp_path / "out").network
    assert isinstance(network, Linear)
    assert network.view.positions == (0, 1)
    assert len(network.mean) == 2 * 3 * 3 * 17 + 4 * 17 * 17


def test_whose_statistics_is_chosen_out_of_fold(tmp_path: Path) -> None:
    """The second people here show nothing of the action."""
    clips = sourced()
    features = make_features(clips)
    others = features.index.row[features.index.person == 1].to_numpy()
    features.array[others] = 9 * np.random.default_rng(0).standard_normal(features.array[others].shape)
    both = PARAMS.model_copy(update={"linear": PARAMS.linear.model_copy(update={"people": ("all", "first")})})
    metrics = train(tmp_path, clips, features=features, params=both)
    assert metrics["people"] == "first"
    model = load_topology(tmp_path / "out")
    x, valid = inputs_of(clips, features, np.arange(10))
    moved = x.clone()
    moved[..., 1] = 0
    torch.testing.assert_close(model(moved, valid), model(x, valid))
    again = train(tmp_path, clips, features=features, params=both)
    assert again == metrics


def mirrored(values: tuple[bool, ...]) -> TopologyParams:
    return PARAMS.model_copy(update={"linear": PARAMS.linear.model_copy(update={"mirrored": values})})


def with_poses(clips: Clips) -> Features:
    """Random 2-D poses; the last action is shown by the left side in training clips, by the right in others."""
    made = make_features(clips)
    array = np.random.default_rng(1).standard_normal((*made.array.shape[:3], 3)).astype(np.float16)
    labels = dict(zip(clips.table.clip_id, clips.table.label, strict=True))
    splits = dict(zip(clips.table.clip_id, clips.table.split, strict=True))
    for clip_id, row in zip(made.index.clip_id, made.index.row, strict=True):
        side = 9 if splits[clip_id] == "train" else 10
        array[row, :, side, :2] += 4 * int(labels[clip_id]) * np.array([1 if side == 9 else -1, 1])
    return Features(array, made.index, FeatureMeta("pose2d", "", 1, "mean", COCO17))


def test_mirror_images_are_chosen_out_of_fold_and_help_the_other_side(tmp_path: Path) -> None:
    clips = sourced()
    plain = train(tmp_path / "plain", clips, features=with_poses(clips), params=mirrored((False,)))
    both = train(tmp_path / "both", clips, features=with_poses(clips), params=mirrored((False, True)))
    assert not plain["mirrored"]
    assert both["mirrored"]
    assert both["test"]["top1"] > plain["test"]["top1"] + 0.2
    model = load_topology(tmp_path / "both/out")
    x, valid = inputs_of(clips, with_poses(clips), np.arange(10))
    seen = mirror(x, torch.ones(10, dtype=torch.bool), with_poses(clips).meta)
    torch.testing.assert_close(model(seen, valid), model(x, valid), rtol=1e-3, atol=1e-3)


def test_mirror_images_are_not_tried_where_there_are_none(tmp_path: Path) -> None:
    clips = sourced()
    with pytest.raises(ValueError, match="features of kind 'pooled' have none: set estimate.mirrored"):
        train(tmp_path, clips, params=mirrored((True,)))
    clips.classes["mirror"] = [*reversed(clips.class_names)]
    with pytest.raises(ValueError, match="an action names a side"):
        train(tmp_path, clips, features=with_poses(clips), params=mirrored((True,)))
    assert not train(tmp_path, clips, features=with_poses(clips), params=mirrored((True, False)))["mirrored"]


MORE = {"parts": [1, 2], "clocks": ["time", "motion"], "areas": True, "distances": True}


@pytest.mark.parametrize("stream", ["hpj", "hpb", "hpjm"])
def test_a_discriminant_of_parts_areas_and_distances_is_fitted_and_loaded(tmp_path: Path, stream: str) -> None:
    params = TopologyParams.model_validate(
        {
            "graph": {"model": "linear"},
            "linear": {"classifiers": ["discriminant"], "components": [60], "strengths": [1, 30], **MORE},
        }
    )
    clips = sourced()
    features = make_features(clips, channels=3, kind="pose3d")
    metrics = train(tmp_path, clips, params=params, stream=stream, features=features)
    assert metrics["classifier"] == "discriminant"
    if stream == "hpj":
        assert metrics["test"]["top1"] > 0.8
    model = load_topology(tmp_path / "out")
    assert isinstance(model.network, Linear)
    view = model.network.view
    assert (view.parts, view.clocks, view.distances) == ((1, 2), ("time", "motion"), True)
    assert len(view.planes) == (3 if stream in ("hpj", "hpb") else 0)
    assert bool(view.per_limb) == (stream == "hpj")
    stored = Scores.load(tmp_path / "out" / "scores.parquet")
    x, valid = inputs_of(clips, features, np.flatnonzero(np.array(SPLITS) == "test"))
    np.testing.assert_allclose(model(x, valid).numpy(), stored.split("test").logits, atol=1e-3)


def with_linear(**values: Any) -> TopologyParams:
    return PARAMS.model_copy(update={"linear": PARAMS.linear.model_copy(update=values)})


def test_the_classifier_is_chosen_out_of_fold(tmp_path: Path) -> None:
    names = ("logistic", "discriminant")
    train(tmp_path, params=with_linear(classifiers=names))
    chosen = json.loads((tmp_path / "out" / "config.json").read_text())["chosen"]
    losses = {}
    for name in names:
        train(tmp_path / name, params=with_linear(classifiers=(name,)))
        losses[name] = json.loads((tmp_path / name / "out" / "config.json").read_text())["chosen"]["loss"]
    assert chosen["classifier"] == min(names, key=lambda name: losses[name])
    assert chosen["loss"] == min(losses.values())


def test_a_finished_fit_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train(tmp_path)
    files = {name: (tmp_path / "out" / name).read_bytes() for name in ("model.safetensors", "scores.parquet")}
    monkeypatch.setattr(linear, "cross_validate", None)
    assert train(tmp_path) == first
    assert {name: (tmp_path / "out" / name).read_bytes() for name in files} == files


def test_the_same_twice(tmp_path: Path) -> None:
    for name in "ab":
        train(tmp_path / name)
    for file in ("model.safetensors", "scores.parquet", "config.json"):
        assert (tmp_path / "a" / "out" / file).read_bytes() == (tmp_path / "b" / "out" / file).read_bytes()


def test_clips_without_people_without_labels_and_classes_without_clips(tmp_path: Path) -> None:
    clips = sourced(["train"] * 13 + ["val"] * 5 + ["test"] * 4 + ["val"])  # nobody is in the last
    clips.table.loc[clips.table.label == 2, "split"] = "test"
    clips.table.loc[3, "label"] = clips.table.loc[13, "label"] = -1
    metrics = train(tmp_path, clips)
    scores = Scores.load(tmp_path / "out" / "scores.parquet")
    assert "clip003" not in scores.clip_ids
    unlabelled = scores.clip_ids.index("clip013")
    assert scores.folds is not None
    assert (scores.splits[unlabelled], scores.folds[unlabelled]) == ("val", -1)
    assert metrics["val"]["clips"] == sum(scores.labels[scores.unseen] >= 0)
    assert not (scores.logits.argmax(1) == 2).any()  # never trained
    assert json.loads((tmp_path / "out" / "config.json").read_text())["untrained_classes"] == [2]


def test_one_action_and_two(tmp_path: Path) -> None:
    for name, labels in (("one", [1]), ("two", [1, 2])):
        clips = make_clips(["train"] * 30 + ["test"] * 3, [labels[n % len(labels)] for n in range(33)])
        train(tmp_path / name, clips)
        scores = Scores.load(tmp_path / name / "out" / "scores.parquet").split("train")
        assert (scores.logits.argmax(1) == scores.labels).mean() > 0.8


# --- groups ---------------------------------------------------------------------------------------------------------


def test_clips_are_grouped_by_source_else_subject_else_clip() -> None:
    clips = make_clips(["train"] * 6 + ["test"] * 2)
    clips.table["source"], clips.table["subject"] = [""] * 8, ["a", "a", "b", "b", "", "", "c", "c"]
    found = labelled_clips(clips)
    assert (found.grouped_by, len(set(found.groups[:6]))) == ("subject", 4)  # who is not named is one by itself
    clips.table["source"] = ["x", "x", "x", "y", "y", "y", "z", "z"]
    assert (labelled_clips(clips).grouped_by, len(set(labelled_clips(clips).groups))) == ("source", 3)
    clips.table["source"], clips.table["subject"] = "x", "x"
    assert labelled_clips(clips).grouped_by == "clip"


def test_one_fold_is_the_validation_split(tmp_path: Path) -> None:
    metrics = train(tmp_path, folds=1)
    assert metrics["out_of_fold"] == {"folds": 1, "by": "split", "clips": 14}
    scores = Scores.load(tmp_path / "out" / "scores.parquet")
    assert scores.splits == ("val",) * 14 + ("test",) * 21
    with pytest.raises(ValueError, match=r"train\.validation_folds is 1, the validation split, and no clip is of it"):
        train(tmp_path / "none", sourced(["train"] * 20 + ["test"] * 4), folds=1)


def test_views_of_folds_cover_what_is_learnt() -> None:
    clips = labelled_clips(sourced())
    folds = make_folds(clips, 5)
    held = [set(view.of("val").tolist()) for view in folds.views(clips)]
    assert set.union(*held) == set(range(54))
    assert sum(map(len, held)) == 54
    assert all(len(view.of("train")) + len(view.of("val")) == 54 for view in folds.views(clips))
    assert len(whole(clips).of("train")) == 54
    alone = LabelledClips(("a", "b"), ("train", "val"), np.array([0, 1]), 2, groups=("x", "x"), grouped_by="source")
    with pytest.raises(ValueError, match="2 clips to learn, expected at least two that are independent"):
        make_folds(alone, 5)


# --- fusion ---------------------------------------------------------------------------------------------------------


def test_fusion_is_fitted_on_all_that_is_out_of_fold(tmp_path: Path) -> None:
    streams = {}
    for stream in ("hpj", "hpb"):
        train(tmp_path / stream, stream=stream)
        streams[stream] = Scores.load(tmp_path / stream / "out" / "scores.parquet")
    fused = fuse(streams)
    assert fused.fit is not None
    assert (fused.fit.split, fused.fit.clips) == ("out of fold", 54)
    np.testing.assert_array_equal(np.sort(fused.scores.folds), np.sort(streams["hpj"].folds))
    assert fused.scores.unseen.sum() == 54


def test_beside_a_held_out_stream_fusion_is_fitted_on_the_validation_clips(tmp_path: Path) -> None:
    train(tmp_path / "hpj")
    train(tmp_path / "hpb", stream="hpb", params=GRAPH.model_copy(update={"epochs": 1}))
    streams = {name: Scores.load(tmp_path / name / "out" / "scores.parquet") for name in ("hpj", "hpb")}
    fused = fuse(streams)
    assert fused.fit is not None
    assert (fused.fit.split, fused.fit.clips) == ("val", 14)
    assert "train" not in fused.scores.splits
    assert "scores of training clips that are out of fold in some streams alone are left out: 40 of hpj" in fused.notes


# --- refusals and commands ------------------------------------------------------------------------------------------


def test_what_it_cannot_do_is_said() -> None:
    with pytest.raises(ValueError, match="'linear' is for the topology streams; expected ctrgcn, gcn"):
        MultimodalParams.model_validate({"graph": {"model": "linear"}})
    with pytest.raises(ValueError, match="expected at least one value"):
        TopologyParams.model_validate({"linear": {"components": []}})


def test_too_many_statistics_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "LARGEST_VALUES", 1000)
    with pytest.raises(ValueError, match="would hold 54 clips of 510 statistics, expected at most 250 numbers"):
        train(tmp_path)


def test_its_code_is_no_other_networks() -> None:
    modules = {name: set(TopologyParams.model_validate({"graph": {"model": name}}).code().chosen) for name in
               ("linear", "ctrgcn")}  # fmt: skip
    assert {"hpnet.models.linear:Linear", "hpnet.train.linear"} <= modules["linear"]
    assert not any("linear" in name for name in modules["ctrgcn"])


def test_hpnet_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = sourced()
    clips.save(tmp_path / "artifacts" / "data")
    make_features(clips).save(tmp_path / "artifacts" / "pool")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("train: {topology: {graph: {model: linear}}}\n")
    result = CliRunner().invoke(cli, ["train", "hpbm", "--device", "cpu"], catch_exceptions=False)
    assert "of 54 clips out of fold (5 folds by source), test" in result.output
    metrics = json.loads((tmp_path / "metrics" / "train" / "hpbm.json").read_text())
    assert metrics["out_of_fold"]["clips"] == 54
    assert load_topology(tmp_path / "artifacts" / "train" / "hpbm").parents == COCO17.parents
