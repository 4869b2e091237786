"""CUDA graphs train like plain launches; most tests need a GPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hpnet.core.cuda_graphs import record
from hpnet.estimate.estimator import PoseEstimator
from hpnet.estimate.params import EstimateParams
from hpnet.models import TOPOLOGY_NETWORKS
from hpnet.models.build import build
from hpnet.train.clips import LabelledClips
from hpnet.train.topology import graphs_suit

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
SHAPE = (4, 3, 16, 17, 1)


def trained(name: str, recorded: bool, precision: torch.dtype, steps: int = 4) -> tuple[list[float], dict[str, Any]]:
    """Losses of a few steps on whole and cut batches, and the state at the end."""
    torch.manual_seed(0)
    device = torch.device("cuda")
    network = build(name, in_channels=3, num_classes=5, num_joints=17, num_persons=1, base_channels=16, blocks=3)
    exact = precision == torch.float64  # float32 runs drift apart step by step, by the order of their sums
    network = network.to(device, torch.float64 if exact else torch.float32).train()
    x = torch.randn(8, *SHAPE[1:], device=device, dtype=torch.float64 if exact else torch.float32)
    labels = torch.randint(5, (8,), device=device)
    if recorded:
        record(network, x[:4], torch.float32 if exact else precision, deterministic=True)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, fused=True)
    losses = []
    for step in range(steps):
        part = slice(0, 4) if step % 2 == 0 else slice(4, 7)  # the second is of another shape
        valid = torch.ones(len(x[part]), 1, dtype=torch.bool)
        with torch.autocast("cuda", precision, enabled=precision == torch.bfloat16):
            logits = network(x[part], valid)
            loss = torch.nn.functional.cross_entropy(logits if exact else logits.float(), labels[part])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(float(loss))
    network.eval()
    with torch.inference_mode():
        losses.append(float(network(x[:3]).double().abs().sum()))
    return losses, network.state_dict()


@needs_gpu
@pytest.mark.parametrize("precision", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", TOPOLOGY_NETWORKS)
def test_replayed_training_is_plain_training(name: str, precision: torch.dtype) -> None:
    plain, state = trained(name, False, precision)
    replayed, other = trained(name, True, precision)
    tolerance = 1e-6 if precision == torch.float64 else 5e-2
    np.testing.assert_allclose(replayed, plain, rtol=tolerance)
    assert state.keys() == other.keys()
    for key, value in state.items():
        torch.testing.assert_close(other[key].double(), value.double(), rtol=2 * tolerance, atol=tolerance)


@needs_gpu
def test_the_loss_of_recorded_steps_falls_and_weights_can_be_loaded() -> None:
    losses, state = trained("ctrgcn", True, torch.float32, steps=40)
    assert losses[38] < 0.5 * losses[0]
    again = build("ctrgcn", in_channels=3, num_classes=5, num_joints=17, num_persons=1, base_channels=16, blocks=3)
    again.load_state_dict(state)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, False),  # no GPU here
        ({"device": "cuda"}, True),
        ({"device": "cuda", "num_processes": 2}, False),
        ({"device": "cuda", "accumulate": 2}, False),
        ({"device": "cuda", "nobody": True}, False),
        ({"device": "cuda", "batch_size": 9}, False),
        ({"device": "cuda", "model": "heatmap_volume"}, False),
    ],
)
def test_graphs_need_one_gpu_process_and_batches_of_one_shape(change: dict[str, Any], expected: bool) -> None:
    rows = torch.arange(8).view(8, 1)
    rows[3] = -1 if change.get("nobody") else 3
    graph = SimpleNamespace(model=change.get("model", "ctrgcn"))
    params = SimpleNamespace(
        accumulate=change.get("accumulate", 1), batch_size=change.get("batch_size", 4), graph=graph
    )
    clips = LabelledClips(tuple("abcdefgh"), ("train",) * 8, np.zeros(8, np.int64), 2)
    task: Any = SimpleNamespace(params=params, clips=clips, features=SimpleNamespace(rows=rows))
    accelerator: Any = SimpleNamespace(
        device=torch.device(change.get("device", "cpu")), num_processes=change.get("num_processes", 1)
    )
    assert graphs_suit(task, accelerator) is expected


@needs_gpu
def test_whole_batches_of_crops_give_what_cut_ones_give() -> None:
    params = EstimateParams(model="mannequin-simcc", taps=("h2s3", "rgb"), window=3)
    replaying, plain = (PoseEstimator(params, "cuda", batch_size=size) for size in (4, 100))
    width, height = plain.spec.input_size_px
    crops = np.random.default_rng(0).integers(0, 256, (9, height, width, 3), dtype=np.uint8)
    expected = plain(crops)
    for part in (slice(0, 4), slice(4, 8), slice(8, 9), slice(1, 5)):
        found = replaying(crops[part])
        # cuDNN may take other kernels, so that among the bins of noise another one may be the largest
        same = (found.keypoints_crop_px == expected.keypoints_crop_px[part]).all(2)  # (N, V)
        assert same.mean() > 0.95
        for tap, values in expected.windows.items():
            np.testing.assert_allclose(found.windows[tap][same], values[part][same], atol=5e-2, rtol=5e-2)
