"""graph.model auto: two networks compared out of fold; and the bottleneck of a graph network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hpnet.artifacts.scores import Scores
from hpnet.models.ctrgcn import CTRGCN
from hpnet.models.linear import Linear
from hpnet.train import auto, linear
from hpnet.train.clips import labelled_clips
from hpnet.train.datasets import measure, person_rows
from hpnet.train.loop import Run, make_accelerator
from hpnet.train.params import MultimodalParams, TopologyParams, TrainParams
from hpnet.train.run import Inputs
from hpnet.train.step import Trained, total_epochs
from hpnet.train.topology import load_topology
from hpnet.train.topology import train as train_topology

from .test_linear import sourced
from .test_loop import make_features

SPLITS = ["train"] * 21 + ["val"] * 9 + ["test"] * 9
PARAMS = TopologyParams.model_validate(
    {
        "graph": {"model": "auto", "base_channels": 4, "blocks": 1, "dropout": 0.5},
        "linear": {"components": [8], "strengths": [1, 10]},
        "bottleneck": 3,
        "epochs": 2,
        "batch_size": 8,
        "warmup_epochs": 0,
        "mixup": 0.2,
    }
)


def train(folder: Path, params: TopologyParams = PARAMS, **options: Any) -> dict[str, Any]:
    clips = sourced(SPLITS, 3)
    run = Run(3, folder / "work", make_accelerator(torch.device("cpu")), folds=3, **options)
    return train_topology("hpj", Inputs(clips, make_features(clips)), params, run, out=folder / "out", card={})


def test_the_better_of_both_is_kept_with_both_figures(tmp_path: Path) -> None:
    metrics = train(tmp_path)
    assert metrics["chosen"] == "linear"
    compared = metrics["auto"]
    assert compared["linear"]["top1"] > compared["ctrgcn"]["top1"]
    assert metrics["val"]["top1"] == pytest.approx(compared["linear"]["top1"])
    card = json.loads((tmp_path / "out" / "config.json").read_text())
    assert card["auto"] == compared
    assert card["params"]["graph"]["model"] == "linear"
    assert isinstance(load_topology(tmp_path / "out").network, Linear)
    line = Trained("hpj", metrics).summary
    assert f"of linear {compared['linear']['top1']:.1%}, ctrgcn {compared['ctrgcn']['top1']:.1%} out of fold" in line
    assert line.endswith("linear was chosen")


def test_a_graph_network_that_is_better_is_trained_on_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = linear.fit

    def badly(*arguments: Any) -> Any:
        result, unseen = fit(*arguments)
        return result, replace(unseen, logits=-unseen.logits)

    monkeypatch.setattr(auto.linear, "fit", badly)
    metrics = train(tmp_path)
    assert metrics["chosen"] == "ctrgcn"
    assert metrics["val"]["top1"] == pytest.approx(metrics["auto"]["ctrgcn"]["top1"])
    assert metrics["out_of_fold"]["clips"] == 30
    assert isinstance(load_topology(tmp_path / "out").network, CTRGCN)


def test_networks_are_compared_by_the_measure(tmp_path: Path) -> None:
    metrics = train(tmp_path, measure="mean_class_accuracy")
    kept = metrics["auto"][metrics["chosen"]]
    assert set(kept) == {"mean_class_accuracy", "loss"}
    assert metrics["val"]["mean_class_accuracy"] == pytest.approx(kept["mean_class_accuracy"])
    assert f"{metrics['chosen']} {kept['mean_class_accuracy']:.1%}" in Trained("hpj", metrics).summary


def test_its_code_is_that_of_both() -> None:
    chosen = PARAMS.code().chosen
    assert {
        "hpnet.models.linear:Linear",
        "hpnet.models.ctrgcn:CTRGCN",
        "hpnet.train.linear",
        "hpnet.train.auto",
    } <= set(chosen)
    with pytest.raises(ValueError, match="'auto' is for the topology streams"):
        MultimodalParams.model_validate({"graph": {"model": "auto"}})
    params = TrainParams.model_validate({"validation_folds": 3, "topology": PARAMS.model_dump()})
    assert total_epochs(params, "hpj") == 8


def test_the_bottleneck_is_the_principal_components_of_the_training_clips(tmp_path: Path) -> None:
    graph = PARAMS.model_copy(update={"graph": PARAMS.graph.model_copy(update={"model": "ctrgcn"})})
    train(tmp_path, graph)
    model = load_topology(tmp_path / "out")
    clips = sourced(SPLITS, 3)
    table, features = labelled_clips(clips), make_features(clips)
    rows = person_rows(features, table, set(table.clip_ids))
    found = measure(features.array, rows, table, stream="hpj", parents=model.parents, components=3)
    assert found.components is not None
    torch.testing.assert_close(model.components, found.components)
    own = rows[table.of("train")]
    seen = features.array[own[own >= 0]].astype(np.float64).reshape(-1, 5)
    z = (seen - seen.mean(0)) / seen.std(0)
    variances = ((z @ found.components.numpy().T) ** 2).mean(0)
    np.testing.assert_allclose(variances, np.linalg.eigvalsh(z.T @ z / len(z))[::-1][:3], rtol=1e-3)
    x = torch.randn(2, 5, 4, 17, 2)
    assert model.prepare(x, torch.ones(2, 2, dtype=torch.bool)).shape == (2, 3, 4, 17, 2)
    assert Scores.load(tmp_path / "out" / "scores.parquet").folds is None
