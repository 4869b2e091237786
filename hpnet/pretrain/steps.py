"""Shared by the training of all packaged networks: scenes, settings and the loop over steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from ..train.schedules import parameter_groups, warmup_cosine
from .scenes import SceneShard, require_disjoint

REPORT_EVERY_STEPS = 10


@dataclass(frozen=True)
class Scenes:
    """Rendered scenes to learn from, and others for the card, used once.

    Attributes:
        train, validation: of disjoint seeds.
        frames_per_scene: how many frames of each are taken, uniform in time.

    Raises:
        ValueError: a scene is in training and validation.
    """

    train: Sequence[SceneShard]
    validation: Sequence[SceneShard]
    frames_per_scene: int = 4

    def __post_init__(self) -> None:
        require_disjoint(self.train, self.validation)

    def described(self, counted: str = "") -> str:
        """For the card.

        Args:
            counted: what the training scenes hold, such as ``320 images``.
        """
        return f"rendered mannequins: {_seeds(self.train, counted)}; held out: {_seeds(self.validation)}"


@dataclass(frozen=True)
class Settings:
    """How a network is trained: AdamW, warm-up and cosine.

    Attributes:
        name: of the training, for messages.
        batch: rows per step.
        clip_norm: largest gradient norm of the network.
    """

    name: str
    steps: int
    batch: int
    lr: float
    weight_decay: float
    betas: tuple[float, float] = (0.9, 0.99)
    clip_norm: float = 5.0


@dataclass(frozen=True)
class Job:
    """One training run: its device, command and callback.

    Attributes:
        device: auto, cpu, cuda or cuda:N.
        command: command line for the card.
        on_step: called with the number of finished steps and the loss.
    """

    device: str = "auto"
    seed: int = 0
    command: str = "hpnet pretrain"
    on_step: Callable[[int, float], None] | None = None


def train_steps(
    modules: Sequence[nn.Module],
    average: AveragedModel,
    loss_of: Callable[[Tensor], tuple[Tensor, Tensor]],
    rows: Iterator[Tensor],
    settings: Settings,
    job: Job,
    after_step: Callable[[], None] | None = None,
) -> list[float]:
    """Take every step; ``average`` becomes the moving average of the first module.

    Args:
        modules: the network, then helpers that are not kept.
        loss_of: rows (batch,) -> the loss, and the part of it that is reported.
        rows: of each step, on the CPU.
        after_step: is called after the optimiser's step, before the average's.

    Returns:
        The reported losses: every ten steps, and after the last.

    Raises:
        RuntimeError: the loss is no longer finite.
    """
    network = modules[0]
    groups = parameter_groups((p for module in modules for p in module.parameters()), settings.weight_decay)
    fused = next(network.parameters()).device.type == "cuda"
    optimiser = torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, fused=fused)
    schedule = LambdaLR(optimiser, warmup_cosine(settings.steps))
    reported = []
    for step in range(1, settings.steps + 1):
        loss, shown = loss_of(next(rows))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
        optimiser.step()
        schedule.step()
        if after_step is not None:
            after_step()
        average.update_parameters(network)
        if step % REPORT_EVERY_STEPS == 0 or step == settings.steps:
            value = float(shown.detach())
            if not math.isfinite(float(loss.detach())):
                raise RuntimeError(f"{settings.name} training: the loss is {value} at step {step}; use a lower lr")
            reported.append(value)
            if job.on_step:
                job.on_step(step, value)
    return reported


def _seeds(shards: Sequence[SceneShard], counted: str = "") -> str:
    seeds = [seed for shard in shards for seed in shard.seeds]
    return ", ".join([f"{len(seeds)} scenes", *([counted] if counted else []), f"seeds {min(seeds)} to {max(seeds)}"])
