"""hpnet bench unknown: an action is left out of training, and told from the others by what fuse fits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.scores import Scores
from hpnet.bench import unknown
from hpnet.core.units import UNKNOWN
from hpnet.train.params import TrainParams


def clips() -> Clips:
    rows = [
        {"clip_id": f"c{n}", "label": n % 4, "subject": "", "source": f"s{n // 4}", "camera": 0, "setup": 0,
         "repetition": 0, "split": split, "path": f"c{n}", "width": 1, "height": 1, "fps": 1.0, "frames": 1,
         "error": ""}
        for n, split in enumerate(["train"] * 8 + ["val"] * 4 + ["test"] * 4)
    ]  # fmt: skip
    classes = pd.DataFrame({"label": range(4), "name": list("abcd"), "prompt": list("abcd"),
                            "pair": ["object 1", "object 1", "", ""]})  # fmt: skip
    return Clips(pd.DataFrame(rows), classes)


def test_a_left_out_action_has_no_part_in_training() -> None:
    found = unknown.without_action(clips(), 1)
    assert found.class_names == ["a", "c", "d"]
    out = found.table[found.table.label < 0]
    assert out.clip_id.tolist() == ["c1", "c5", "c9", "c13"]
    assert out.split.tolist() == ["", "", "", "test"]
    assert found.table.label.tolist()[:4] == [0, -1, 1, 2]


def test_half_the_epochs_or_a_linear_classifier() -> None:
    params = TrainParams(seed=(3, 4))
    assert unknown.network(params, "project").topology.epochs == params.topology.epochs // 2
    linear = unknown.network(params, "linear")
    assert (linear.topology.graph.model, linear.seed) == ("linear", 3)


def scores(strength: float, count: int = 120) -> Scores:
    """Held-out clips of three actions, and as many test clips of these and of one that was left out (-1)."""
    random = np.random.default_rng(0)
    labels = np.concatenate([np.arange(count) % 3, np.arange(count) % 4 - 1])
    logits = random.normal(size=(2 * count, 3))
    known = labels >= 0
    logits[known, labels[known]] += strength
    ids = tuple(f"c{n}" for n in range(2 * count))
    return Scores(ids, ("val",) * count + ("test",) * count, labels, logits.astype(np.float32))


def test_figures_of_a_network_and_the_page(tmp_path: Path) -> None:
    good = unknown.left_out(scores(6.0), "wave", UNKNOWN)
    blind = unknown.left_out(scores(0.0), "clap", UNKNOWN)
    assert good is not None
    assert blind is not None
    assert unknown.mean_auroc([good], "auto")["mean"] > 0.95
    chance = unknown.mean_auroc([blind], "energy", resamples=200)
    assert chance["low"] < 0.5 < chance["high"]
    row = unknown.measure([good, blind])
    assert row["actions"]["wave"] > 0.95 > row["actions"]["clap"]
    assert row["known_kept"] > 0.85
    result = {"networks": {"linear": row}, "split": "3 folds", "clips": 120, "unit": "clips"}
    unknown.write(tmp_path / "unknown", "first", result, "hpnet bench unknown")
    page = unknown.write(tmp_path / "unknown", "second", result, "hpnet bench unknown --folds x.csv")
    assert (tmp_path / "unknown.md").read_text() == page
    assert "## first" in page
    assert "`hpnet bench unknown --folds x.csv`" in page
    assert "over 120 clips" in page


def test_a_network_that_was_trained_with_background() -> None:
    every = scores(6.0)
    labels = np.where(every.labels < 0, 1, every.labels)  # the test clips of the action left out are of background
    part = unknown.left_out(replace(every, labels=labels), "background", UNKNOWN, background=1)
    assert part is not None
    assert part.unknown.sum() == (labels[120:] == 1).sum()
    assert part.right[~part.unknown].mean() > 0.95
    both = unknown.joined([part, part])
    assert both.unknown.sum() == 2 * part.unknown.sum()
    assert set(both.chances) == set(unknown.WAYS) - {"likeness"}  # of two actions there is none
    assert "likeness" not in unknown.measure([both])["auroc"]


def test_the_control_sees_the_length_of_videos() -> None:
    every = clips()
    half = every.table.label % 2
    sources = every.table.assign(source=[f"s{n // 4}" for n in range(16)], fps=10.0, frames=30, label=half)
    alike = unknown.control_of(Clips(sources, every.classes), 1)
    assert alike.value == 0.5
    longer = sources.assign(frames=np.where(sources.label == 1, 90, 30))
    assert unknown.control_of(Clips(longer, every.classes), 1).value == 1.0


def test_clips_of_one_unit_are_drawn_together() -> None:
    part = unknown.left_out(scores(1.5), "wave", UNKNOWN)
    assert part is not None
    apart = unknown.mean_auroc([part], "energy")
    together = unknown.mean_auroc([unknown.LeftOut("wave", part.unknown, part.chances, part.right, part.units // 12)],
                                  "energy")  # fmt: skip
    assert together["mean"] == pytest.approx(apart["mean"])
    assert together["units"] < apart["units"]


def test_a_fold_without_the_action_has_no_part() -> None:
    every = scores(1.0)
    assert unknown.left_out(every.where(every.labels >= 0), "wave", UNKNOWN) is None
