"""What `hpnet bench roofline` counts of operations whose cost is known."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hpnet.bench import roofline
from hpnet.bench.roofline import NORM, OVER_FRAMES, PRODUCTS, REST, Meter, Work, bandwidth, floors, moved_bytes
from hpnet.bench.train import Step, Variant


def test_a_product_is_counted_and_bound_by_what_takes_longer() -> None:
    a, b = torch.ones(4, 8), torch.ones(8, 16)
    moved = 4 * (4 * 8 + 8 * 16 + 4 * 16)
    for flops_per_s, bytes_per_s, floor in ((1024.0, 1e9, 1.0), (1e9, float(moved), 1.0)):
        with Meter(flops_per_s, bytes_per_s, 1) as meter:
            a @ b
        work = meter.found[PRODUCTS]
        assert (work.calls, work.flops, work.bytes) == (1, 2 * 4 * 8 * 16, moved)
        assert work.floor_s == pytest.approx(floor)
        assert meter.found[REST] == Work()


def test_views_move_nothing_and_what_is_repeated_counts_once() -> None:
    x = torch.ones(2, 3)
    with Meter(1.0, 1.0, 1) as meter:
        wide = x[:, None].expand(-1, 5, -1).transpose(1, 2)
        x.add_(1)
    assert meter.found[REST].calls == 1
    assert meter.found[REST].bytes == 2 * 24  # read and written
    assert moved_bytes([wide, [wide, x]]) == 48  # another array of the same memory is another factor


def test_gradients_are_counted_by_kind() -> None:
    layers = nn.Sequential(nn.Conv2d(2, 4, (3, 1)), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 6 * 5, 3))
    x = torch.randn(2, 2, 8, 5)
    with Meter(1.0, 1e18, 1) as meter:
        layers(x).sum().backward()
    convolution, linear = 2 * 2 * 4 * 2 * 3 * 6 * 5, 2 * 2 * 120 * 3
    assert meter.found[OVER_FRAMES].flops == 2 * convolution  # no gradient of x is asked for
    assert meter.found[PRODUCTS].flops == 3 * linear
    assert meter.found[NORM].calls == 2
    assert meter.found[REST].seconds > 0


def test_floors_and_the_page() -> None:
    def work(flops: float, floor_s: float) -> dict[str, float]:
        return {"calls": 3, "flops": flops, "bytes": 4e9, "floor_s": floor_s, "seconds": 4.0}

    kinds = {PRODUCTS: work(4e9, 2.0), OVER_FRAMES: work(2e9, 1.0), NORM: work(0, 0.5), REST: work(0, 0.5)}
    speed = {"flops_per_s": 6e9, "bytes_per_s": 8e9, "work": kinds}
    row = {"name": "hpnet, float32", "network": "hpnet", "step_s": 8.0, **speed}
    assert floors(row) == {"operations": 4.0, "fused": 3.0, "arithmetic": 1.0}
    machine = {
        "processor": "P", "cores": 2, "threads": 1, "load_at_start": 0.5, "memory_gb": 8.0, "gpu": None, "python": "3",
        "torch": "2",
    }  # fmt: skip
    step = Step(clips=8, channels=3, joints=25)
    page = roofline.markdown({"step": step.__dict__, "rounds": 2, "machine": machine, "rows": [row]}, "call", "Noted.")
    assert "| hpnet, float32 | 6 | 16.0 | 6 | 8.0 | 8 | 4 | 3 | 1 | 2.0 / 2.7 / 8.0 |" in page
    assert "| products | 3 | 4.0 | 4.00 | 4 | 2 | 50% |" in page
    assert page.endswith("Noted.\n")


def test_a_network_is_measured_and_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "RING_BYTES", 1 << 20)
    monkeypatch.setattr(roofline, "bandwidth", lambda *_: 1e9)
    monkeypatch.setattr(roofline, "matrix_flops", lambda *_: 1e9)
    step = Step(clips=2, channels=3, frames=4, base_channels=4, blocks=1, threads=1)
    found = roofline.measure(step, Variant("hpnet, float32"), 1)
    assert found["work"][PRODUCTS]["flops"] > 0
    assert 0 < found["step_s"] < 60
    monkeypatch.setattr(roofline, "resolve_device", lambda name: torch.device("cuda"))
    with pytest.raises(ValueError, match="--device cpu: seconds of single operations are measured on a CPU alone"):
        roofline.run(step, 1, [])


def test_bandwidth_is_of_both_ways() -> None:
    assert 1e6 < bandwidth(1 << 16, torch.device("cpu"), ring_bytes=1 << 20, rounds=2) < 1e13
