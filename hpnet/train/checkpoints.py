"""Checkpoints of a training run: the complete last epoch and the best weights so far. A kill loses neither."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ..artifacts.files import writing
from ..work.shards import seal, sealed

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Epoch:
    """One finished epoch (0-based). Validation values are None without validation clips; the accuracy is the one of
    ``train.measure``."""

    epoch: int
    lr: float
    train_loss: float
    val_loss: float | None = None
    val_accuracy: float | None = None

    @property
    def rank(self) -> tuple[float, float, int]:
        """Higher is better: validation accuracy, then lower loss, then the later epoch."""
        if self.val_accuracy is None or self.val_loss is None:
            return (0.0, 0.0, self.epoch)
        return (self.val_accuracy, -self.val_loss, self.epoch)


def best_epoch(history: Sequence[Epoch]) -> Epoch:
    """The finished epoch whose weights are kept: the best on validation, or the last one without validation clips.

    Raises:
        ValueError: no epoch is finished.
    """
    return max(history, key=lambda epoch: epoch.rank)


def _best_stem(epoch: int) -> str:
    return f"best-{epoch:04d}"


def whole_best(folder: Path, chosen: Epoch) -> Path:
    """The file of the chosen epoch's weights.

    Raises:
        FileNotFoundError: it is missing or damaged.
    """
    best = sealed(folder, _best_stem(chosen.epoch))
    if best is None:
        raise FileNotFoundError(
            f"{folder}: the weights of epoch {chosen.epoch} are missing: run the same command again"
        )
    return best


def save_best(folder: Path, model: nn.Module, history: Sequence[Epoch]) -> None:
    """Write the last epoch's weights as a separate file if it is the best so far."""
    if best_epoch(history) is not history[-1]:
        return
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with writing(folder / "best.safetensors.part") as part:
        save_file(state, part)
    seal(part, _best_stem(history[-1].epoch))


def save_last(
    folder: Path,
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: Any,
    history: Sequence[Epoch],
    average: AveragedModel | None,
) -> None:
    """Write the last epoch's checkpoint; older best weights are deleted only afterwards, so a kill loses nothing."""
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scaler": accelerator.scaler.state_dict() if accelerator.scaler is not None else {},
        "average": {} if average is None else average.state_dict(),
        "history": [e.__dict__ for e in history],
    }
    with writing(folder / "last.pt.part") as part:
        torch.save(state, part)
    seal(part, "last")
    best = _best_stem(best_epoch(history).epoch)
    for old in folder.glob("best-*.safetensors"):
        if not old.name.startswith(f"{best}."):
            old.unlink()


def resume(
    folder: Path, accelerator: Accelerator, model: nn.Module, optimizer: Any, average: AveragedModel | None
) -> list[Epoch]:
    """Load the last checkpoint in place, if it and its best weights are complete; returns the finished epochs."""
    file = sealed(folder, "last")
    if file is None:
        return []
    state = torch.load(file, map_location=accelerator.device, weights_only=True)
    history = [Epoch(**epoch) for epoch in state["history"]]
    if sealed(folder, _best_stem(best_epoch(history).epoch)) is None:
        return []
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    if accelerator.scaler is not None:
        accelerator.scaler.load_state_dict(state["scaler"])
    if average is not None:
        average.load_state_dict(state["average"])
    return history
