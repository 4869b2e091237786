"""The steps of CTR-GCN with gradients of their own against plain torch operations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hpnet.core.skeleton import COCO17
from hpnet.models import fused
from hpnet.models.build import build
from hpnet.models.persons import who_is_there


def step(name: str, frames: int, dtype: torch.dtype = torch.float64, **sizes: Any) -> dict[str, Tensor]:
    """Logits, gradients and running statistics of a training step in which every branch takes part."""
    torch.manual_seed(0)
    model = build(
        name, in_channels=5, num_classes=4, num_joints=17, num_persons=2, skeleton=COCO17, blocks=3,
        base_channels=sizes.pop("base_channels", 8),
    ).to(dtype)  # fmt: skip
    for key, value in model.named_parameters():
        if key.endswith(("alpha", "norm.weight")):
            torch.nn.init.constant_(value, 0.5)
    x = torch.randn(5, 5, frames, 17, 2, dtype=dtype, requires_grad=True)
    valid = torch.tensor([[1, 0], [1, 1], [0, 0], [0, 1], [1, 1]], dtype=torch.bool)
    logits = model.train()(x, valid)
    F.cross_entropy(logits.float(), torch.tensor([0, 1, 2, 3, 0])).backward()
    assert x.grad is not None
    found = {key: value.grad for key, value in model.named_parameters() if value.grad is not None}
    return {"logits": logits.detach(), "x": x.grad, **found, **dict(model.named_buffers())}


@pytest.mark.parametrize("name", ["ctrgcn", "tdgcn"])
@pytest.mark.parametrize("frames", [1, 2, 7, 8])
def test_a_training_step_is_that_of_plain_operations(name: str, frames: int) -> None:
    own = step(name, frames)
    with fused.plain_operations():
        plain = step(name, frames)
    assert own.keys() == plain.keys()
    for key, value in plain.items():
        torch.testing.assert_close(own[key], value, atol=1e-9, rtol=1e-6, msg=lambda text, key=key: f"{key}: {text}")


def test_few_people_at_a_time_are_all_people(monkeypatch: pytest.MonkeyPatch) -> None:
    together = step("ctrgcn", 6)
    monkeypatch.setattr(fused, "CACHE_BYTES", 1)
    for key, value in step("ctrgcn", 6).items():
        torch.testing.assert_close(value, together[key])


def test_nobody_is_a_batch_too() -> None:
    sizes = [(0, 3, 4, 6), (10, 3), (10,), (0, 2, 1, 16), (2, 5, 1), (2, 5, 1), (2, 16)]
    given = [torch.randn(size, requires_grad=True) for size in sizes]
    z = fused.graph_convolution(*given)
    assert z.shape == (0, 5, 4, 6)
    z.sum().backward()
    assert all(array.grad is not None and not array.grad.any() for array in given)


def test_bfloat16_gradients_point_where_float32s_do() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        narrow = step("ctrgcn", 8, torch.float32, base_channels=16)
    exact = step("ctrgcn", 8, torch.float32, base_channels=16)
    for key in (
        "logits",
        "classifier.weight",
        "blocks.2.spatial.graph.transform.weight",
        "blocks.0.spatial.norm.weight",
    ):
        assert F.cosine_similarity(narrow[key].flatten().float(), exact[key].flatten(), dim=0) > 0.98, key


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("frames", [1, 2, 5, 8])
def test_maximum_of_three_and_its_ties_are_those_of_pooling(frames: int, stride: int) -> None:
    x = torch.randint(3, (2, 3, 4, frames), generator=torch.Generator().manual_seed(frames)).float()
    grads, outputs = [], []
    for function in (
        lambda x: fused.maximum_of_three(x, stride),
        lambda x: F.max_pool2d(x, (1, 3), (1, stride), (0, 1)),
    ):
        given = x.clone().requires_grad_()
        y = function(given)
        weights = torch.arange(1.0, y.numel() + 1).view_as(y)
        grads.append(*torch.autograd.grad((weights * y).sum(), given))
        outputs.append(y.detach())
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*grads)


def test_who_is_there_asks_no_device() -> None:
    full = torch.ones(2, 3, dtype=torch.bool)
    assert who_is_there(None) is None
    assert who_is_there(full) is None
    some = torch.tensor([[True, False]])
    assert who_is_there(some) is some
    elsewhere = full.to("meta")  # asking it for a number is an error
    assert who_is_there(elsewhere) is elsewhere
