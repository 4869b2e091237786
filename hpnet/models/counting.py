"""Cost of a network: parameters and floating-point operations, as in Table X.

One multiply-accumulate (MAC) is two FLOPs. Convolutions and matrix products are counted; norms, activations, pooling
and the drawing of heatmaps are not, as is usual. Papers often print MACs under the name of FLOPs: Table X's 19.6 G and
20.6 G are MACs of the two heatmap networks, its 1.8 G for CTR-GCN is neither (2.65 GFLOPs, 1.32 GMACs as released).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Cost:
    """``parameters``: trainable numbers; ``flops``: of one forward pass."""

    parameters: int
    flops: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates: half of the FLOPs."""
        return self.flops // 2


def count(model: nn.Module, *inputs: Tensor) -> Cost:
    """The cost of ``model(*inputs)`` in evaluation mode; the model is left as it was.

    A model that was moved to the ``meta`` device (``model.to("meta")``), with inputs there, takes no memory or time.
    """
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(*inputs)
    finally:
        model.train(training)
    return Cost(count_parameters(model), int(counter.get_total_flops()))


def count_parameters(model: nn.Module) -> int:
    """Number of trained values."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
