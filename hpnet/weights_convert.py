"""Released checkpoints -> safetensors under our key names, checked against the network they are for."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file

from .artifacts import writing
from .pose import networks
from .weights import convert_ctrgcn, convert_pose, load_into, load_state

CTRGCN = "ctrgcn"


def convert(source: Path, model: str, out: Path) -> int:
    """Convert a checkpoint file to ``out``; the number of its tensors.

    Args:
        model: a pose network (the SimCC authors' names, OpenMMLab's of 0.x and 1.x, wrapped or not), or ``ctrgcn``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is broken, would run code, or is of another network; or ``out`` is no .safetensors.
    """
    if out.suffix != ".safetensors":
        raise ValueError(f"{out}: converted weights are safetensors; name a file that ends in .safetensors")
    if model != CTRGCN and model not in networks.NETWORKS:
        raise ValueError(f"model {model!r} is unknown; choose from {CTRGCN}, {', '.join(networks.NETWORKS)}")
    state = load_state(source)
    if model == CTRGCN:
        state = convert_ctrgcn(state)
    else:
        network = networks.build(model)
        load_into(network, convert_pose(state), str(source))
        state = network.state_dict()
    with writing(out) as file:
        save_file({name: value.contiguous() for name, value in state.items()}, file, metadata={"model": model})
    return len(state)
