"""CSPNeXt against OpenMMLab's own: names, shapes, values, and the costs that RTMPose's authors print."""

from __future__ import annotations

import pytest
import torch

from hpnet.models.cspnext import CSPNeXt
from tests import golden

SIZES = {"t": (0.375, 0.167), "s": (0.5, 0.33), "m": (0.75, 0.67), "l": (1.0, 1.0)}


@pytest.mark.parametrize("size", SIZES)
def test_tensors_have_openmmlab_names_and_shapes(size: str) -> None:
    with torch.device("meta"):
        state = CSPNeXt(*SIZES[size]).state_dict()
    tensors, digest = golden.CSPNEXT_DIGESTS[size]
    assert len(state) == tensors
    assert golden.digest_of_shapes({key: value.shape for key, value in state.items()}) == digest


def test_names_that_a_checkpoint_has() -> None:
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in CSPNeXt(*SIZES["m"]).state_dict().items()}
    table = {
        "stem.0.conv.weight": (24, 3, 3, 3),
        "stem.2.bn.running_var": (48,),
        "stage1.0.conv.weight": (96, 48, 3, 3),
        "stage1.1.main_conv.conv.weight": (48, 96, 1, 1),
        "stage1.1.short_conv.conv.weight": (48, 96, 1, 1),
        "stage1.1.final_conv.bn.bias": (96,),
        "stage1.1.attention.fc.bias": (96,),
        "stage2.1.blocks.3.conv1.conv.weight": (96, 96, 3, 3),
        "stage2.1.blocks.3.conv2.depthwise_conv.conv.weight": (96, 1, 5, 5),
        "stage2.1.blocks.3.conv2.pointwise_conv.conv.weight": (96, 96, 1, 1),
        "stage4.1.conv1.conv.weight": (384, 768, 1, 1),
        "stage4.1.conv2.conv.weight": (768, 1536, 1, 1),
        "stage4.2.blocks.1.conv2.pointwise_conv.bn.weight": (384,),
    }
    assert {key: shapes.get(key) for key in table} == table
    assert "stage2.1.blocks.4.conv1.conv.weight" not in shapes
    assert not any(key.endswith("conv.bias") for key in shapes)


def test_values_are_openmmlabs() -> None:
    network = CSPNeXt(*SIZES["t"]).eval()
    state = {
        key: torch.from_numpy(golden.seeded_tensor(key, value.shape)) for key, value in network.state_dict().items()
    }
    network.load_state_dict(state)
    with torch.inference_mode():
        (last,) = network(golden.seeded_input(80, (2, 3, 128, 96)))
    assert last.shape == (2, 384, 4, 3)
    stored = golden.load("cspnext")
    got = last.reshape(-1)[torch.from_numpy(stored["where"]).long()]
    torch.testing.assert_close(got, torch.from_numpy(stored["values"]), rtol=0, atol=1e-5)
