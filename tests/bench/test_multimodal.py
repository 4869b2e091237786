"""The step that `hpnet bench train multimodal` measures, at a tiny size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hpnet.bench import multimodal
from hpnet.bench.multimodal import Extra, Size, Step, Way, build, count, run, ways

ROOT = Path(__file__).resolve().parents[2]
TINY = Size(
    clips=2, channels=4, frames=4, classes=3, video_frames=2, image_size=32, width=192, layers=1, base_channels=4,
    blocks=1, threads=1,
)  # fmt: skip


@pytest.mark.long
def test_a_way_is_measured_and_has_a_row() -> None:
    chosen = ways(("float32",), Extra(checkpointing=True, texts=True, clips=(1,)))
    found = run(TINY, 2, chosen)
    rows = {row["name"]: row for row in found["ways"]}
    plain, again = rows["float32"], rows["float32, checkpointing"]
    assert len(plain["seconds"]) == len(plain["processor_seconds"]) == 2
    assert plain["clips_per_s"] == pytest.approx(2 / plain["median_s"])
    assert rows["float32, 1 clips"]["clips_per_s"] == pytest.approx(1 / rows["float32, 1 clips"]["median_s"])
    assert plain["memory_mb"] > 0
    assert plain["utilisation"] > 0
    assert plain["parameters"] == sum(p.numel() for p in build(TINY).parameters())
    # a CPU has gradients of its own for graph networks, which keep other tensors
    assert plain["activations_mb_per_clip"] == pytest.approx(count(TINY)["activations_mb_per_clip"], rel=0.5)
    assert again["activations_mb_per_clip"] < plain["activations_mb_per_clip"]
    page = multimodal.markdown(found, "hpnet bench train multimodal", "Noted.")
    assert "| float32, checkpointing |" in page
    assert "| float32, texts encoded in every step |" in page
    assert page.endswith("Noted.\n")


@pytest.mark.long
def test_what_a_step_needs_is_counted() -> None:
    counts, again = count(TINY), count(TINY, checkpointing=True)
    # forward and backward of every weight matrix of the vision layers, at every patch and the class token of a frame
    layer, tokens = 12 * TINY.width**2, 2 * (4 + 1)
    assert counts["forward_flops_per_clip"] > 2 * layer * tokens
    assert 2.5 < counts["flops_per_clip"] / counts["forward_flops_per_clip"] < 3.1
    assert again["activations_mb_per_clip"] < counts["activations_mb_per_clip"]
    assert again["flops_per_clip"] > counts["flops_per_clip"]


def test_ways_share_their_weights_and_give_the_same_gradients() -> None:
    chosen = [Way(), Way(checkpointing=True), Way(texts_again=True)]
    step = Step(TINY, chosen)
    given, kept = step.batches[None], []
    for way in chosen[:2]:
        step.gradients(way, given)
        kept.append([p.grad.clone() for p in step.model.parameters() if p.grad is not None])
    for plain, again in zip(*kept, strict=True):
        torch.testing.assert_close(again, plain)
    before = step.model.label_text.clone()
    assert step.take(chosen[2]) > 0
    assert not torch.equal(step.model.label_text, before)


def test_ways() -> None:
    assert [way.name for way in ways(("float32", "bfloat16"), Extra(checkpointing=True))] == [
        "float32", "float32, checkpointing", "bfloat16", "bfloat16, checkpointing",
    ]  # fmt: skip
    assert [way.name for way in ways(("bfloat16",), Extra(texts=True, compiled=True, clips=(2, 4)))] == [
        "bfloat16", "bfloat16, texts encoded in every step", "bfloat16, vision network compiled", "bfloat16, 2 clips",
        "bfloat16, 4 clips",
    ]  # fmt: skip


def test_a_width_that_has_no_heads_is_refused() -> None:
    with pytest.raises(ValueError, match="--width is 200; expected a multiple of 192"):
        Size(width=200)


@pytest.mark.long
def test_the_paper_size_is_what_the_docs_say() -> None:
    found, again = count(Size()), count(Size(), checkpointing=True)
    assert round(found["parameters"] / 1e6) == 139
    forward, both = round(found["forward_flops_per_clip"] / 1e9), round(found["flops_per_clip"] / 1e9)
    kept = [16 * one["activations_mb_per_clip"] / 1e3 for one in (found, again)]
    text = " ".join((ROOT / "docs" / "paper-scale.md").read_text(encoding="utf-8").split())
    assert f"{forward} GFLOP forward, {both} with the backward pass" in text
    assert f"{kept[0]:.0f} GB of activations at 16 clips" in text
    assert f"{kept[1]:.0f} GB with `checkpointing`" in text
