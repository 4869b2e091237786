"""Networks that are fitted as a whole have no blocks and no curves."""

from pathlib import Path

import numpy as np

from hpnet.params import Params
from hpnet.report.collect import Collected, Run
from hpnet.report.results import Judge
from hpnet.report.section import Given
from hpnet.report.sections import training
from hpnet.report.sections.run import trained_graphs


def run_of(model: str) -> Run:
    curve = np.array([0.0]), np.array([0.5])
    graph = {"model": model, "blocks": 4, "base_channels": 16}
    return Run("hpj", None, {"params": {"graph": graph}}, {"train/loss": curve, "val/loss": curve}, {})


def section(tmp_path: Path, model: str) -> training.Training:
    collected = Collected(tmp_path, Params(), runs={"hpj": run_of(model)})
    return training.build(Given(collected, Judge(collected.params.report, None), None))


def test_the_network_is_named_with_its_size_if_it_has_one(tmp_path: Path) -> None:
    assert trained_graphs(Collected(tmp_path, Params(), runs={"hpj": run_of("linear")})) == "linear"
    assert trained_graphs(Collected(tmp_path, Params(), runs={"hpj": run_of("gcn")})) == "gcn, 4 blocks × 16"


def test_networks_without_epochs_have_no_curves(tmp_path: Path) -> None:
    found = section(tmp_path, "linear")
    assert not found.groups
    assert "fitted as a whole" in found.notes[0]
    assert section(tmp_path, "gcn").groups
