"""Learning rates: their schedules, and the parameter groups with separate rates. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import cos, pi
from typing import Any, TypeAlias

from torch import nn

Schedule: TypeAlias = Callable[[float], float]
"""Epoch progress, 0..epochs (fractional) -> factor of every parameter group's learning rate."""


def lr_scale(batch_size: int, accumulate: int, lr_batch: int | None) -> float:
    """Factor of the learning rate: linear in the clips per step (Goyal et al., 2017), all processes together.

    ``batch_size`` is of all processes; ``lr_batch`` is the clips per step for which the rate is given; None: one batch.
    """
    return batch_size * accumulate / (lr_batch or batch_size)


def warmup_schedule(
    kind: str, epochs: int, warmup_epochs: int, steps: Sequence[int] = (), decay: float = 0.1
) -> Schedule:
    """Linear warm-up from zero, then ``step`` (times ``decay`` at each epoch of ``steps``) or ``cosine`` (to zero)."""

    def step(progress: float) -> float:
        return float(decay ** sum(progress >= at for at in steps))

    def cosine(progress: float) -> float:
        return 0.5 * (1 + cos(pi * min(1.0, (progress - warmup_epochs) / max(1, epochs - warmup_epochs))))

    kinds = {"step": step, "cosine": cosine}
    if kind not in kinds:
        raise ValueError(f"unknown schedule {kind!r}: choose from {', '.join(kinds)}")
    after = kinds[kind]

    def schedule(progress: float) -> float:
        return progress / warmup_epochs if progress < warmup_epochs else after(progress)

    return schedule


def warmup_cosine(steps: int) -> Callable[[int], float]:
    """Step (0-based) -> factor of the rate: linear warm-up over a twentieth of ``steps``, then a cosine down to 1 %."""
    warmup = max(1, steps // 20)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.01 + 0.99 * 0.5 * (1 + cos(pi * (step - warmup) / max(1, steps - warmup)))

    return factor


def parameter_groups(parameters: Iterable[nn.Parameter], weight_decay: float, **options: Any) -> list[dict[str, Any]]:
    """Parameter groups of an optimiser: no weight decay for vectors (biases, norms, positions) and single numbers.

    Args:
        options: of both groups, such as ``lr``.

    Returns:
        The group without decay, then the other. An empty group and parameters that are not trained are left out.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if (p.ndim > 1) is decays], "weight_decay": weight_decay if decays else 0.0}
        for decays in (False, True)
    ]
    return [{**group, **options} for group in groups if group["params"]]
