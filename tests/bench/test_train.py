"""The transcription that `hpnet bench train` measures against gives the network's own numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hpnet.bench import against, gradients
from hpnet.bench.train import Step, Variant, batch, build_pair, markdown, require_same, run, settle, summarise, variants

STEP = Step(clips=3, channels=6, frames=8, classes=5)


def test_the_transcription_has_our_logits_gradients_and_running_statistics() -> None:
    ours, plain = (model.double() for model in build_pair(STEP))
    features, labels = batch(STEP)
    features = features.double()
    losses = []
    for model in (ours, plain):
        logits = model.train()(features)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    torch.testing.assert_close(ours.classifier.weight.grad, plain.classifier.weight.grad)
    mine, theirs = ours.blocks[0].spatial.graph, plain.blocks[0].spatial
    torch.testing.assert_close(mine.topology.grad, theirs.topology.grad)
    torch.testing.assert_close(mine.alpha.grad, theirs.alpha.grad)
    statistics = [model.blocks[-1].spatial.norm.running_var for model in (ours, plain)]
    torch.testing.assert_close(*statistics)


def test_the_forward_pass_is_of_normalised_layers_and_has_our_logits() -> None:
    ours, plain = build_pair(STEP)
    features, _ = batch(STEP)
    logits = []
    for model in (ours, plain):
        settle(model, features)
        assert not model.training
        with torch.no_grad():
            logits.append(model(features))
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-4)
    assert not torch.equal(ours.blocks[0].spatial.norm.running_var, torch.ones(64))


def test_other_numbers_are_refused() -> None:
    logits = torch.tensor([[1.0, -2.0]])
    rows = [{"name": "a", "precision": "float32", "first": (logits, 1.0)}]
    require_same([*rows, {"name": "b", "precision": "bfloat16", "first": (logits + 0.05, 1.0)}])
    with pytest.raises(
        ArithmeticError, match=r"b: logits differ from those of a by 0\.05 of the largest, expected at most 0\.0001"
    ):
        require_same([*rows, {"name": "b", "precision": "float32", "first": (logits + 0.1, 1.0)}])


def test_ratios_are_of_medians_and_flops_the_transcriptions() -> None:
    rows = [
        {
            "seconds": [4.0, 2.0, 9.0],
            "processor_seconds": [6.0],
            "flops": 8,
            "peak_flops": 4.0,
            "name": "plain",
            "memory_mb": 1,
            "difference": 0.0,
        },
        {
            "seconds": [2.0, 1.0, 2.0],
            "processor_seconds": [2.0],
            "flops": 0,
            "peak_flops": 4.0,
            "name": "ours",
            "memory_mb": 1,
            "difference": 0.0,
        },
    ]
    summarise(rows, replace(STEP, threads=2))
    assert [(row["median_s"], row["ratio"]) for row in rows] == [(4.0, 1.0), (2.0, 2.0)]
    assert [row["utilisation"] for row in rows] == [8 / 3 / 4, 8 / 1 / 4]  # of processor time, of two threads
    summarise(rows, replace(STEP, device="cuda"))
    assert [row["utilisation"] for row in rows] == [8 / 4 / 4, 8 / 2 / 4]
    assert (rows[1]["clips_per_s"], rows[1]["processor_ratio"]) == (1.5, 3.0)


def test_variants() -> None:
    assert variants(False)[0] == Variant("transcription, float32", "transcription")
    assert [v.compiled for v in variants(True)] == [False, False, True, False, True]
    assert [(v.name, v.network, v.precision) for v in variants(False, first="authors")] == [
        ("the authors' own, float32", "authors", "float32"), ("the authors' own, bfloat16", "authors", "bfloat16"),
        ("hpnet, float32", "hpnet", "float32"), ("hpnet, bfloat16", "hpnet", "bfloat16"),
    ]  # fmt: skip
    assert [(v.network == "transcription", v.precision, v.graphs) for v in variants(False, "cuda")] == [
        (True, "float32", False), (True, "tf32", False), (False, "float32", False), (False, "float32", True),
        (False, "tf32", False), (False, "tf32", True), (False, "bfloat16", False), (False, "bfloat16", True),
    ]  # fmt: skip
    assert sum(v.compiled for v in variants(True, "cuda")) == 6


def test_the_page_names_the_machine() -> None:
    row = {"name": "x", "median_s": 1.0, "clips_per_s": 3.0, "ratio": 2.0, "utilisation": 0.5, "memory_mb": 7}
    row |= {"processor_s": 0.9, "processor_ratio": 2.5}
    machine = {
        "processor": "P", "cores": 2, "threads": 1, "load_at_start": 0.5, "memory_gb": 8.0, "gpu": None, "python": "3",
        "torch": "2",
    }  # fmt: skip
    result = {"step": STEP.__dict__, "rounds": 3, "machine": machine, "variants": [{**row, "difference": 0.0}]}
    result |= {"steps_per_round": 1, "warm_up_steps": 2}
    page = markdown(result, "hpnet bench train", "Loaded.")
    assert "| x | 1 | 3.0 | 2.00 | 0.9 | 2.50 | 50% | 7 | 0 |" in page
    assert "(3, 6, 8, 17, 2)" in page
    assert "times the transcription" in page
    assert page.endswith("Loaded.\n")
    page = markdown({**result, "steps_per_round": 20, "machine": machine | {"gpu": "A GPU"}}, "hpnet bench train")
    assert "5 classes, A GPU. Medians of 3 rounds of 20 steps each, taken in turn after 2 steps to warm up." in page
    assert "| x | 1 | 3.0 | 2.00 | 50% | 7 | 0 |" in page
    assert "TF32 is off" in page
    step = {**STEP.__dict__, "against": "ctrgcn.py", "training": False, "joints": 25}
    page = markdown({**result, "step": step}, "hpnet bench train")
    assert page.startswith("# A forward pass of CTR-GCN")
    assert "times the authors' own" in page
    assert "Forward, in evaluation, on a batch (3, 6, 8, 25, 2)" in page


def test_the_authors_file_is_asked_for_a_network_by_its_own_names(tmp_path: Path) -> None:
    file = tmp_path / "ctrgcn.py"
    file.write_text("import torch\n")
    sizes = {"channels": 3, "joints": 25, "persons": 2, "classes": 5}
    with pytest.raises(ValueError, match=r"ctrgcn\.py has no class Model: expected model/ctrgcn\.py"):
        against.load(file, **sizes)
    file.write_text(
        "import torch\n"
        "class Model(torch.nn.Linear):\n"
        "    def __init__(self, *, graph, graph_args, **others):\n"
        "        super().__init__(1, 1)\n"
        "        package, *names = graph.split('.')\n"
        "        found = __import__(package)\n"
        "        for name in names:\n"
        "            found = getattr(found, name)\n"
        "        self.others, self.shape = others, found(**graph_args).A.shape\n"
    )
    theirs = against.load(file, **sizes)
    assert theirs.others == {"num_class": 5, "num_point": 25, "num_person": 2, "in_channels": 3}
    assert theirs.shape == (3, 25, 25)
    with pytest.raises(ValueError, match="64 base channels and 10 blocks"):
        replace(STEP, against=str(file), blocks=2)


@pytest.mark.long
def test_own_gradients_are_timed_against_plain_operations() -> None:
    step = replace(STEP, base_channels=4, blocks=2, threads=1)
    result = gradients.measure({"tiny, 1": step}, 1)
    assert result["tiny, 1"]["times"].keys() == {"float32", "bfloat16"}
    page = gradients.markdown(result, "hpnet bench gradients", "Loaded.")
    assert "| tiny | 6, 8, 2, 4 | 3 × 2 | 1 | " in page
    assert page.endswith("Loaded.\n")
    with pytest.raises(RuntimeError, match="odd: its process ended early"):
        run(replace(step, base_channels=3), 1, [Variant("odd")])
