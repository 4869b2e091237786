"""``train.refit``: out-of-fold scores of a network that is trained by steps, and final weights from all clips.

The network is trained once per fold, as ever. The folds agree on one epoch: the one with the highest accuracy over the
left-out clips of all of them, then the lowest cross-entropy, then the later one. Scores of that epoch are the
out-of-fold scores, and the final weights are trained on every clip for so many epochs of the same schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .checkpoints import Epoch
from .clips import Indices, LabelledClips
from .loop import Course, FitResult, Run, Task, fit, spoken, validation, validation_file
from .out_of_fold import OutOfFold, make_folds, whole


@dataclass(frozen=True)
class Ready:
    """All that :func:`hpnet.train.loop.fit` needs, with new weights."""

    task: Task
    model: nn.Module
    optimizer: torch.optim.Optimizer
    course: Course


@dataclass(frozen=True)
class Trained:
    """A network that is trained: it holds its final weights, and its task the clips as the table has them."""

    ready: Ready
    result: FitResult
    unseen: OutOfFold | None


def train(make: Callable[[LabelledClips], Ready], clips: LabelledClips, run: Run) -> Trained:
    """Train on the split train and validate on val; or, with ``run.refit``, on folds and then on all clips of both.

    Args:
        make: a network with new weights for clips, whose splits say what it learns; called once per training.

    Raises:
        ValueError, FloatingPointError: as :func:`hpnet.train.loop.fit`; there are no folds to be had.
    """
    if not run.refit:
        ready = make(clips)
        return Trained(ready, fit(ready.task, ready.model, ready.optimizer, ready.course, run), None)
    unseen, curve = out_of_fold(make, clips, run)
    chosen = max(curve, key=lambda epoch: epoch.rank)
    ready = make(whole(clips))
    course = replace(ready.course, epochs=chosen.epoch + 1)
    told = run.on_epoch

    def on_epoch(epoch: Epoch) -> None:
        if told is not None:
            told(_validated(epoch, curve))

    result = fit(
        ready.task, ready.model, ready.optimizer, course, replace(run, work=run.work / "whole", on_epoch=on_epoch)
    )
    ready.task.clips = clips
    history = tuple(_validated(epoch, curve) for epoch in result.history)
    why = f"{spoken(run.measure)}, then cross-entropy, {unseen.folds.text}"
    return Trained(ready, replace(result, chosen=history[-1], chosen_by=why, history=history), unseen)


def out_of_fold(
    make: Callable[[LabelledClips], Ready], clips: LabelledClips, run: Run
) -> tuple[OutOfFold, tuple[Epoch, ...]]:
    """Train once per fold. The scores of the epoch that all folds agree on, and every epoch over all left-out clips."""
    folds = make_folds(clips, run.folds)
    places: list[tuple[Path, Indices]] = []
    histories = []
    for number, view in enumerate(folds.views(clips)):
        ready, work = make(view), run.work / f"fold{number}"
        own = replace(run, work=work, on_epoch=run.on_fold, keep_validation=True)
        histories.append(fit(ready.task, ready.model, ready.optimizer, ready.course, own).history)
        places.append((work, view.of("val", labelled=True)))
    indices = np.concatenate([own for _, own in places])
    order = np.argsort(indices)
    curve = []
    for epochs in zip(*histories, strict=True):
        loss, accuracy = validation(_logits(places, epochs[0].epoch), clips.labels[indices], run.measure)
        train_loss = float(np.mean([epoch.train_loss for epoch in epochs]))
        curve.append(Epoch(epochs[0].epoch, epochs[0].lr, train_loss, loss, accuracy))
    chosen = max(curve, key=lambda epoch: epoch.rank)
    found = _logits(places, chosen.epoch)
    return OutOfFold(indices[order], found[order], folds), tuple(curve)


def _logits(places: list[tuple[Path, Indices]], epoch: int) -> NDArray[np.float32]:
    """Logits (n, K) of the labelled clips that the folds left out, fold by fold, after an epoch."""
    return np.concatenate([np.load(validation_file(work, epoch), allow_pickle=False) for work, _ in places])


def _validated(epoch: Epoch, curve: tuple[Epoch, ...]) -> Epoch:
    """An epoch of the final training with what the folds came to after it."""
    of_folds = curve[epoch.epoch]
    return replace(epoch, val_loss=of_folds.val_loss, val_accuracy=of_folds.val_accuracy)
