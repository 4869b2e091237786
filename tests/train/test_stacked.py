"""Runs trained as one network are the runs by themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from click.testing import CliRunner
from torch import nn

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.features import Features
from hpnet.artifacts.files import read_json
from hpnet.models import TOPOLOGY_NETWORKS
from hpnet.models.build import build
from hpnet.stages.train import command
from hpnet.train.checkpoints import Epoch
from hpnet.train.loop import FitResult, fit
from hpnet.train.params import GraphParams, TopologyParams
from hpnet.train.stacked import StackedNetworks, StackedRun, fit_stacked, why_not_stacked
from hpnet.train.topology import TopologyRun, load_topology, prepare_runs

from .test_loop import Stop, make_clips, make_features, stop_after

SPLITS = ["train"] * 13 + ["val"] * 5 + ["test"] * 3
SMALL = TopologyParams(
    graph=GraphParams(base_channels=8, blocks=3), epochs=4, batch_size=4, warmup_epochs=1, schedule="cosine", lr=0.02,
    label_smoothing=0.1, crop=0.5, places="random",
)  # fmt: skip
WHICH = [("hpj", 1), ("hpbm", 1), ("hpj", 2)]


@pytest.fixture
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


def of_one_person(clips: Clips) -> Features:
    """Stacked networks need everybody to be there."""
    features = make_features(clips, frames=6)
    first = features.index.person == 0
    index = features.index[first]
    return replace(features, array=features.array[index.row.to_numpy()], index=index.assign(row=range(len(index))))


def prepared(accelerator: Accelerator, which: list[tuple[str, int]], splits: list[str], **changes: Any) -> Any:
    clips = make_clips(splits)
    runs = prepare_runs(which, clips, of_one_person(clips), SMALL.model_copy(update=changes), accelerator)
    for run in runs:
        run.model.double()  # float32 runs drift apart step by step, by the order of their sums
    return runs


def alone(folder: Path, accelerator: Accelerator, run: TopologyRun, **options: Any) -> FitResult:
    return fit(
        run.task, run.model, run.optimizer(run.model.parameters()), schedule=run.schedule(),
        epochs=run.task.params.epochs, seed=run.seed, folder=folder, accelerator=accelerator, **options,
    )  # fmt: skip


def stacked(folder: Path, accelerator: Accelerator, runs: list[TopologyRun], **options: Any) -> list[FitResult]:
    return fit_stacked([StackedRun(run, folder / f"{run.stream}-{run.seed}", **options) for run in runs], accelerator)


def assert_same_run(one: tuple[TopologyRun, FitResult], other: tuple[TopologyRun, FitResult]) -> None:
    (run, result), (same, again) = one, other
    assert result.chosen.epoch == again.chosen.epoch
    for mine, theirs in zip(result.history, again.history, strict=True):
        np.testing.assert_allclose(mine.train_loss, theirs.train_loss, rtol=1e-6)
        assert (mine.epoch, mine.lr, mine.val_accuracy) == (theirs.epoch, theirs.lr, theirs.val_accuracy)
    for name, value in run.model.state_dict().items():
        torch.testing.assert_close(value, same.model.state_dict()[name], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", TOPOLOGY_NETWORKS)
def test_stacked_networks_give_each_networks_logits_and_gradients(name: str) -> None:
    networks: list[nn.Module] = []
    for seed in range(3):
        torch.manual_seed(seed)
        sizes = {"in_channels": 3, "num_classes": 5, "num_joints": 17, "num_persons": 2}
        networks.append(build(name, **sizes, base_channels=8, blocks=3).double().train())
    stack = StackedNetworks(networks)
    x = torch.randn(3, 4, 3, 8, 17, 2, dtype=torch.float64)
    logits = stack(x)
    logits.square().sum().backward()
    gradients = dict(stack.stack.named_parameters())
    for r, network in enumerate(networks):
        single = network(x[r], None)
        torch.testing.assert_close(logits[r], single, rtol=1e-6, atol=1e-9)
        single.square().sum().backward()
        for key, parameter in network.named_parameters():
            if parameter.grad is not None:
                torch.testing.assert_close(gradients[key].grad[r], parameter.grad, rtol=1e-6, atol=1e-9)  # type: ignore[index]
        before = {k: v.clone() for k, v in network.state_dict().items()}
        for key, value in stack.stack.state_dict().items():  # running statistics moved alike
            torch.testing.assert_close(value[r], before[key], rtol=1e-6, atol=1e-9)
    stack.eval()
    with torch.no_grad():
        torch.testing.assert_close(stack(x)[1], networks[1].eval()(x[1], None), rtol=1e-6, atol=1e-9)


def test_unstacking_gives_the_networks_back() -> None:
    networks = [build("ctrgcn", in_channels=3, num_classes=5, num_joints=17, num_persons=1, base_channels=8, blocks=1)
                for _ in range(2)]  # fmt: skip
    stack = StackedNetworks(networks)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter += 1
    wanted = [{k: v + 1 for k, v in dict(network.named_parameters()).items()} for network in networks]
    stack.unstack(networks)
    for network, values in zip(networks, wanted, strict=True):
        torch.testing.assert_close(dict(network.named_parameters()), values)


@pytest.mark.parametrize("splits", [SPLITS, [s for s in SPLITS if s != "val"]])
def test_runs_trained_as_one_are_the_runs_by_themselves(
    tmp_path: Path, accelerator: Accelerator, splits: list[str]
) -> None:
    together = prepared(accelerator, WHICH, splits)
    results = stacked(tmp_path, accelerator, together)
    for which, run, result in zip(WHICH, together, results, strict=True):
        (single,) = prepared(accelerator, [which], splits)
        assert_same_run((run, result), (single, alone(tmp_path / "alone" / str(which), accelerator, single)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_with_cuda_graphs_too(tmp_path: Path) -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    gpu = Accelerator()
    together = prepared(gpu, WHICH, SPLITS)
    results = stacked(tmp_path, gpu, together)
    for which, run, result in zip(WHICH, together, results, strict=True):
        (single,) = prepared(gpu, [which], SPLITS)
        assert_same_run((run, result), (single, alone(tmp_path / "alone" / str(which), gpu, single)))
    AcceleratorState._reset_state(reset_partial_state=True)


def test_a_run_alone_goes_on_from_what_was_trained_as_one_and_the_other_way_round(
    tmp_path: Path, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpnet.train.stacked.SAVE_EVERY_S", 0.0)
    whole = prepared(accelerator, WHICH, SPLITS)
    results = stacked(tmp_path / "whole", accelerator, whole)
    with pytest.raises(Stop):
        stacked(tmp_path / "broken", accelerator, prepared(accelerator, WHICH, SPLITS), on_epoch=stop_after(1))
    (single,) = prepared(accelerator, WHICH[:1], SPLITS)
    result = alone(tmp_path / "broken/hpj-1", accelerator, single)
    assert result.resumed_from == 2
    assert_same_run((whole[0], results[0]), (single, result))
    rest = prepared(accelerator, WHICH, SPLITS)  # now one is finished and two are not
    again = stacked(tmp_path / "broken", accelerator, rest)
    assert [r.resumed_from for r in again] == [4, 2, 2]
    for n in range(3):
        assert_same_run((whole[n], results[n]), (rest[n], again[n]))


def test_a_diverging_run_is_named(tmp_path: Path, accelerator: Accelerator) -> None:
    runs = prepared(accelerator, WHICH, SPLITS)
    with torch.no_grad():
        runs[1].model.network.classifier.bias.fill_(torch.nan)
    with pytest.raises(
        FloatingPointError, match=r"hpbm, seed 1: the loss of epoch 0, step 0 is not finite \(clips clip"
    ):
        stacked(tmp_path, accelerator, runs)


@pytest.mark.parametrize("what", ["loss", "weights", "interrupted"])
def test_finished_epochs_are_kept_whatever_stops_the_next(
    tmp_path: Path, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    whole = prepared(accelerator, WHICH, SPLITS)
    results = stacked(tmp_path / "whole", accelerator, whole)
    broken = prepared(accelerator, WHICH, SPLITS)
    per_epoch = broken[0].task.steps_per_epoch
    step, calls = torch.optim.SGD.step, iter(range(1, 1000))

    def breaking(self: torch.optim.SGD, *given: Any, **named: Any) -> Any:
        found = step(self, *given, **named)
        if next(calls) == 3 * per_epoch - (what != "weights"):
            if what == "interrupted":
                raise KeyboardInterrupt
            with torch.no_grad():
                self.param_groups[0]["params"][-1][1].fill_(torch.inf)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", breaking)
        with pytest.raises(KeyboardInterrupt if what == "interrupted" else FloatingPointError) as stopped:
            stacked(tmp_path / "broken", accelerator, broken)
    if what != "interrupted":
        which = f"{'loss of' if what == 'loss' else 'weights after'} epoch 2, step {per_epoch - 1}"
        assert f"the {which}" in str(stopped.value)
        assert "--one-by-one" in str(stopped.value)
    again = prepared(accelerator, WHICH, SPLITS)
    found = stacked(tmp_path / "broken", accelerator, again)
    assert [result.resumed_from for result in found] == [2, 2, 2]
    for n in range(3):
        assert_same_run((whole[n], results[n]), (again[n], found[n]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"noise": 0.1}, "train.topology.noise is used"),
        ({"ema": 0.9}, "train.topology.ema is used"),
        ({"graph": GraphParams(model="gcn")}, "graph.model is gcn"),
        ({"accumulate": 2}, "CUDA graphs do not suit it"),
    ],
)
def test_what_cannot_be_trained_as_one(
    accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], reason: str | None
) -> None:
    clips = make_clips(SPLITS)
    params = SMALL.model_copy(update=change)
    given = (clips, of_one_person(clips), params, accelerator)
    found = why_not_stacked(*given)
    assert found is not None  # no GPU here
    assert found.startswith(reason or "CUDA graphs do not suit it")
    monkeypatch.setattr(type(accelerator), "device", torch.device("cuda"))
    found = why_not_stacked(*given)
    assert found is None if reason is None else str(found).startswith(reason)
    features = of_one_person(clips)
    validated = features.index.clip_id.isin(clips.table.clip_id[clips.table.split == "val"])
    hidden = replace(features, index=features.index.assign(valid=features.index.valid & ~validated))
    expected = reason if reason and "graphs" not in reason else "a validation clip has an empty person slot"
    assert str(why_not_stacked(clips, hidden, params, accelerator)).startswith(expected)
    two = why_not_stacked(clips, make_features(clips, frames=6), params, accelerator)
    assert str(two).startswith(reason if reason and "graphs" not in reason else "a validation clip has an empty person")


def test_every_epoch_is_told(tmp_path: Path, accelerator: Accelerator) -> None:
    told: list[Epoch] = []
    stacked(tmp_path, accelerator, prepared(accelerator, WHICH, SPLITS), on_epoch=told.append)
    assert [e.epoch for e in told] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_the_command_trains_all_streams_and_seeds_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpnet.stages.train_all.on_one_gpu", lambda device: True)
    monkeypatch.chdir(tmp_path)
    clips = make_clips(SPLITS)
    clips.save(tmp_path / "artifacts/data")
    of_one_person(clips).save(tmp_path / "artifacts/pool")
    options = ["--topology-graph-base-channels", "4", "--topology-graph-blocks", "1", "--topology-epochs", "2"]
    options += ["--topology-warmup-epochs", "0", "--topology-batch-size", "8", "--device", "cpu", "--seed", "[3, 4]"]
    refused = CliRunner().invoke(command, ["all", *options, "--metrics", "apart"])
    assert "one after another: CUDA graphs do not suit it" in refused.output  # without a GPU
    monkeypatch.setattr("hpnet.train.stacked.graphs_suit", lambda task, accelerator: True)
    done = CliRunner().invoke(command, ["all", *options, "--out", "as-one", "--metrics", "as-one"])
    assert done.exit_code == 0, done.output
    for stream in ("hpj", "hpb", "hpjm", "hpbm"):
        values = [json.loads((tmp_path / folder / f"{stream}.json").read_text()) for folder in ("apart", "as-one")]
        assert [v["seeds"]["seeds"] for v in values] == [[3, 4], [3, 4]]
        cards = [read_json(tmp_path / f / stream / "config.json") for f in ("artifacts/train", "as-one")]
        assert cards[1].pop("stacked") == 8
        assert cards[0].keys() == cards[1].keys()
        assert (tmp_path / ".work/seeds/as-one" / stream / "4" / "scores.parquet").is_file()
        load_topology(tmp_path / "as-one" / stream)
