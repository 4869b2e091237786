"""Networks without values have the shapes of those with values."""

import pytest
import torch
from torch import nn

from hpnet.models import TOPOLOGY_NETWORKS
from hpnet.models.build import build
from hpnet.models.sketch import sketching

SIZES = {"in_channels": 8, "num_classes": 3, "num_joints": 17, "num_persons": 2, "base_channels": 8, "blocks": 2}


def in_memory(network: nn.Module) -> int:
    return sum(value.numel() for value in network.parameters() if value.device.type != "meta")


@pytest.mark.parametrize("name", list(TOPOLOGY_NETWORKS))
def test_a_sketch_has_the_shapes_of_the_network_and_next_to_no_memory(name: str) -> None:
    with sketching():
        sketch = build(name, **SIZES)
    network = build(name, **SIZES)
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    assert {key: value.shape for key, value in sketch.state_dict().items()} == shapes
    with sketching():
        wider = build(name, **{**SIZES, "base_channels": 16})
    assert in_memory(wider) == in_memory(sketch), "more than the graphs, whose size is that of a body"
    assert any(bool(value.any()) for value in network.parameters())


def test_outside_of_a_sketch_everything_is_as_before() -> None:
    with sketching():
        torch.empty(2).fill_(3.0)
    assert torch.empty(2).fill_(3.0).tolist() == [3.0, 3.0]
