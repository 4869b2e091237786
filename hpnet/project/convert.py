"""Released checkpoints -> safetensors with our key names, checked against their network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor, nn

from ..artifacts.files import writing
from ..core.skeleton import from_tree
from ..estimate.networks import with_weights
from ..estimate.specs import SPECS
from ..models.build import build
from ..models.sketch import sketching
from ..weights.checkpoint import load_state, require_fit
from ..weights.ctrgcn import convert_ctrgcn

CTRGCN = "ctrgcn"


def convert(source: Path, model: str, out: Path) -> int:
    """Convert a checkpoint file to ``out``; returns the number of its tensors.

    Args:
        model: a pose network (the SimCC authors' names, OpenMMLab's of 0.x and 1.x, wrapped or not), or ``ctrgcn``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, would run code, or is of another network; or ``out`` is not a .safetensors.
    """
    if out.suffix != ".safetensors":
        raise ValueError(f"{out}: converted weights are safetensors; give a file name that ends in .safetensors")
    if model != CTRGCN and model not in SPECS:
        raise ValueError(f"model {model!r} is unknown; choose from {CTRGCN}, {', '.join(SPECS)}")
    state = load_state(source)
    if model == CTRGCN:
        state = convert_ctrgcn(state)
        with sketching():  # its sizes come from the file: compare them before memory is allocated
            described = _ctrgcn_of(state)
        require_fit(described, state, str(source))
    else:
        state = with_weights(SPECS[model], state, str(source)).state_dict()
    with writing(out) as file:
        save_file({name: value.contiguous() for name, value in state.items()}, file, metadata={"model": model})
    return len(state)


def _ctrgcn_of(state: Mapping[str, Tensor]) -> nn.Module:
    """The network for converted weights: the released order of blocks, with the file's sizes and new weights."""
    joints = state["blocks.0.spatial.graph.topology"].shape[1]
    names = tuple(str(joint) for joint in range(joints))
    return build(
        CTRGCN,
        in_channels=state["blocks.0.spatial.graph.transform.weight"].shape[1],
        num_classes=len(state["classifier.bias"]),
        num_joints=joints,
        num_persons=len(state["norm.weight"]),
        skeleton=from_tree("chain", names, (0, *range(joints - 1)), tuple(range(joints))),
        base_channels=len(state["blocks.0.spatial.norm.weight"]),
        blocks=sum(name.endswith(".topology") for name in state),
    )
