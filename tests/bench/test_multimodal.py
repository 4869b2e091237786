"""The step that `hpnet bench train multimodal` measures, at a tiny size."""

from __future__ import annotations

import pytest
import torch

from hpnet.bench import multimodal
from hpnet.bench.machine import describe_machine
from hpnet.bench.multimodal import Size, Way, build, measure, ways

TINY = Size(
    clips=2, channels=4, frames=4, classes=3, video_frames=2, image_size=32, width=192, layers=1, base_channels=4,
    blocks=1, threads=1,
)  # fmt: skip


def test_a_way_is_measured_and_has_a_row() -> None:
    found = measure(TINY, Way(), rounds=2)
    assert len(found["seconds"]) == 2
    assert found["clips_per_s"] == pytest.approx(2 / found["median_s"])
    assert found["parameters"] == sum(p.numel() for p in build(TINY, False).parameters())
    # forward and backward of every weight matrix of the vision layers, at every patch and the two tokens of a frame
    layer, tokens = 12 * TINY.width**2, 2 * (4 + 1)
    assert found["flops_per_clip"] > 6 * layer * tokens
    assert found["activations_mb_per_clip"] > 0
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


def test_the_paper_size_is_what_the_docs_say() -> None:
    with torch.device("meta"):
        model = build(Size(), checkpointing=False)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6) == 139
