"""train.refit: an epoch that folds agree on, out-of-fold scores, and final weights from all clips."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.scores import Scores
from hpnet.train.checkpoints import Epoch
from hpnet.train.clips import labelled_clips
from hpnet.train.loop import Run, fit, make_accelerator, predict, validation
from hpnet.train.out_of_fold import make_folds, whole
from hpnet.train.params import TrainParams
from hpnet.train.run import Inputs, Machine
from hpnet.train.step import Trained, total_epochs
from hpnet.train.topology import load_topology, make
from hpnet.train.topology import train as train_topology

from .test_linear import sourced
from .test_loop import PARAMS, Stop, make_features, stop_after

SPLITS = ["train"] * 21 + ["val"] * 9 + ["test"] * 9
SMALL = PARAMS.model_copy(update={"epochs": 3})


def run(folder: Path, folds: int = 3, **options: Any) -> Run:
    return Run(3, folder / "work", make_accelerator(torch.device("cpu")), refit=True, folds=folds, **options)


def train(folder: Path, clips: Clips | None = None, folds: int = 3, **options: Any) -> dict[str, Any]:
    clips = clips or sourced(SPLITS, 3)
    inputs = Inputs(clips, make_features(clips))
    return train_topology("hpj", inputs, SMALL, run(folder, folds, **options), out=folder / "out", card={})


def test_the_epoch_is_what_the_folds_agree_on_and_scores_are_of_it(tmp_path: Path) -> None:
    clips = sourced(SPLITS, 3)
    shown: list[Epoch] = []
    of_folds: list[Epoch] = []
    metrics = train(tmp_path, clips, on_epoch=shown.append, on_fold=of_folds.append)
    table = labelled_clips(clips)
    folds = make_folds(table, 3)
    inputs, alone = Inputs(clips, make_features(clips)), replace(run(tmp_path / "alone"), refit=False)
    logits = np.zeros((3, 30, 3), np.float32)
    for number, view in enumerate(folds.views(table)):
        for epoch in range(3):
            ready = make("hpj", inputs, SMALL, alone, Machine(), view)
            course = replace(ready.course, epochs=epoch + 1)
            work = tmp_path / f"alone-{number}-{epoch}"
            # the weights after this very epoch: without validation the last one is kept
            ready.task.clips = replace(view, splits=tuple("" if s == "val" else s for s in view.splits))
            fit(ready.task, ready.model, ready.optimizer, course, replace(alone, work=work))
            ready.task.clips = view
            indices, found = predict(ready.task, ready.model, "val", alone.accelerator)
            logits[epoch, indices] = found
    judged = [validation(values, table.labels[:30]) for values in logits]
    best = max(range(3), key=lambda epoch: (judged[epoch][1], -judged[epoch][0], epoch))
    assert metrics["epoch"] == best
    scores = Scores.load(tmp_path / "out" / "scores.parquet")
    np.testing.assert_allclose(scores.logits[:30], logits[best], atol=1e-5)
    np.testing.assert_array_equal(scores.folds[:30], folds.of[:30])  # type: ignore[index]
    assert metrics["val"]["top1"] == pytest.approx(judged[best][1])
    assert len(of_folds) == 9
    assert [epoch.epoch for epoch in shown] == list(range(best + 1))
    assert shown[best].val_accuracy == pytest.approx(judged[best][1])


def test_the_final_weights_are_those_of_all_clips_for_that_many_epochs(tmp_path: Path) -> None:
    clips = sourced(SPLITS, 3)
    metrics = train(tmp_path, clips)
    inputs, alone = Inputs(clips, make_features(clips)), replace(run(tmp_path / "alone"), refit=False)
    ready = make("hpj", inputs, SMALL, alone, Machine(), whole(labelled_clips(clips)))
    fit(ready.task, ready.model, ready.optimizer, replace(ready.course, epochs=metrics["epoch"] + 1), alone)
    for name, value in load_topology(tmp_path / "out").state_dict().items():
        torch.testing.assert_close(value, ready.model.state_dict()[name], msg=name)


def test_cards_metrics_and_the_printed_line_say_so(tmp_path: Path) -> None:
    metrics = train(tmp_path)
    card = json.loads((tmp_path / "out" / "config.json").read_text())
    assert card["out_of_fold"] == {
        "folds": 3, "by": "source", "clips": 30, "text": "out of fold (3 folds by source, 30 clips)"
    }  # fmt: skip
    assert card["chosen_by"] == "accuracy, then cross-entropy, out of fold (3 folds by source, 30 clips)"
    assert metrics["val"]["clips"] == 30
    assert metrics["test"]["clips"] == 9
    line = Trained("hpj", metrics).summary
    assert "of 30 clips out of fold (3 folds by source), test" in line
    assert line.endswith(f"epoch {metrics['epoch']} (chosen on validation)")


def test_one_fold_gives_the_validation_clips_back(tmp_path: Path) -> None:
    """As the paper's presets train: the epoch on held-out clips, then everything."""
    metrics = train(tmp_path, folds=1)
    assert metrics["out_of_fold"] == {"folds": 1, "by": "split", "clips": 9}
    scores = Scores.load(tmp_path / "out" / "scores.parquet")
    assert scores.splits == ("val",) * 9 + ("test",) * 9
    assert not (tmp_path / "work" / "fold1").exists()


def test_a_killed_run_ends_like_an_unbroken_one(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        train(tmp_path / "killed", on_fold=stop_after(1))
    with pytest.raises(Stop):
        train(tmp_path / "killed", on_epoch=stop_after(0))
    train(tmp_path / "killed")
    train(tmp_path / "whole")
    for name in ("model.safetensors", "scores.parquet", "config.json"):
        assert (tmp_path / "killed" / "out" / name).read_bytes() == (tmp_path / "whole" / "out" / name).read_bytes()


def test_how_many_epochs_there_will_be() -> None:
    params = TrainParams.model_validate({"refit": True, "validation_folds": 4, "topology": {"epochs": 10}})
    assert total_epochs(params, "hpj") == 50
    assert total_epochs(params.model_copy(update={"refit": False}), "hpj") == 10
    linear = TrainParams.model_validate({"refit": True, "topology": {"graph": {"model": "linear"}}})
    assert total_epochs(linear, "hpb") == 1
