"""The step that `hpnet bench train multimodal` measures, at a tiny size."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpnet.bench import multimodal
from hpnet.bench.machine import describe_machine
from hpnet.bench.multimodal import Size, Way, build, count, measure, ways

ROOT = Path(__file__).resolve().parents[2]
TINY = Size(
    clips=2, channels=4, frames=4, classes=3, video_frames=2, image_size=32, width=192, layers=1, base_channels=4,
    blocks=1, threads=1,
)  # fmt: skip


@pytest.mark.long
def test_a_way_is_measured_and_has_a_row() -> None:
    found = measure(TINY, Way(), rounds=2)
    assert len(found["seconds"]) == 2
    assert found["clips_per_s"] == pytest.approx(2 / found["median_s"])
    assert found["parameters"] == sum(p.numel() for p in build(TINY, False).parameters())
    counts = count(TINY)
    assert found["flops_per_clip"] == counts["flops_per_clip"]
    # a CPU has gradients of its own for graph networks, which keep other tensors
    assert found["activations_mb_per_clip"] == pytest.approx(counts["activations_mb_per_clip"], rel=0.5)
    # forward and backward of every weight matrix of the vision layers, at every patch and the class token of a frame
    layer, tokens = 12 * TINY.width**2, 2 * (4 + 1)
    assert counts["forward_flops_per_clip"] > 2 * layer * tokens
    assert 2.5 < counts["flops_per_clip"] / counts["forward_flops_per_clip"] < 3.1
    again = measure(TINY, Way(checkpointing=True), rounds=1)
    assert again["activations_mb_per_clip"] < found["activations_mb_per_clip"]
    assert again["flops_per_clip"] > found["flops_per_clip"]
    result = {
        "size": vars(TINY), "rounds": 2, "machine": describe_machine(),
        "ways": [{"name": "float32", **found}, {"name": "float32, checkpointing", **again}],
    }  # fmt: skip
    page = multimodal.markdown(result, "hpnet bench train multimodal", "Noted.")
    assert "| float32, checkpointing |" in page
    assert page.endswith("Noted.\n")


def test_ways() -> None:
    assert [way.name for way in ways(("float32", "bfloat16"), True)] == [
        "float32", "float32, checkpointing", "bfloat16", "bfloat16, checkpointing",
    ]  # fmt: skip
    assert len(ways(("float32",), False)) == 1


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
