"""Several runs trained as one network on a GPU: their streams and seeds differ, their sizes and settings do not.

A small network keeps a GPU waiting for launches. R networks of one architecture are one whose weights have R in front:
``torch.vmap`` maps its computation over them, every kernel does the work of R, and a step has as many launches as that
of a single run. Each run keeps its clips' order, augmentation, learning rate, choice of the epoch and checkpoints;
results are those of runs of their own up to the rounding of the arithmetic.

Axes: R runs, then those of a batch, (R, N, C, T, V, M).
"""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.func import functional_call

from ..artifacts.clips import Clips
from ..artifacts.features import Features
from ..core.cuda_graphs import record
from ..models.fused import stacked_weights
from .checkpoints import Epoch, best_epoch, resume, save_last, save_weights, whole_best
from .datasets import PersonBatch, PersonFeatures, labelled_clips, person_rows
from .loop import CHECK_EVERY_STEPS, Clock, FitResult, Indices, chosen_by, diverged, ordered_batches, validation
from .params import TopologyParams
from .topology import TopologyRun, TopologyTask, graphs_suit

NETWORKS = ("ctrgcn",)
"""Those that were measured stacked."""
SAVE_EVERY_S = 10.0
"""Checkpoints of R runs take longer than a short epoch; those of the last epoch are always written."""
EVALUATED_CLIPS = 256
"""Clips in a validation batch: each is launched R networks at a time, but not as a graph."""


def why_not_stacked(clips: Clips, features: Features, params: TopologyParams, accelerator: Accelerator) -> str | None:
    """Why runs of these features cannot be trained as one, in words; None: they can. Reads and sends no features."""
    random = {
        "noise": params.noise, "graph.dropout": params.graph.dropout, "mixup": params.mixup, "cutmix": params.cutmix,
        "ema": params.ema,
    }  # fmt: skip
    used = [name for name, value in random.items() if value]
    if params.graph.model not in NETWORKS:
        return f"graph.model is {params.graph.model}"
    if used:
        return f"train.topology.{used[0]} is used"
    if accelerator.mixed_precision != "no":
        return "--precision is not float32"
    table = labelled_clips(clips)
    rows = person_rows(features, table, {str(c) for c in clips.table.clip_id})
    on_host = PersonFeatures(features.array, rows, table.labels, torch.device("cpu"))
    if (rows[table.of("val", labelled=True)] < 0).any():
        return "a validation clip has an empty person slot"
    suited = graphs_suit(TopologyTask(table, on_host, params, features.meta, seed=0), accelerator)
    return None if suited else "CUDA graphs do not suit it (an empty person slot, fewer clips than a batch, accumulate)"


class StackedNetworks(nn.Module):
    """Networks of one architecture as one: (R, N, C, T, V, M) -> logits (R, N, K). Every person slot must be filled.

    Args:
        networks: R of them; their weights are copied.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.stack = copy.deepcopy(networks[0])
        for path, module in self.stack.named_modules():
            parts = [network.get_submodule(path) for network in networks]
            for name, parameter in module.named_parameters(recurse=False):
                values = torch.stack([getattr(part, name).detach() for part in parts])
                setattr(module, name, nn.Parameter(values, requires_grad=parameter.requires_grad))
            for name, _ in module.named_buffers(recurse=False):
                setattr(module, name, torch.stack([getattr(part, name) for part in parts]))

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(R, N, C, T, V, M) -> (R, N, K)."""
        with stacked_weights():
            logits: Tensor = torch.vmap(self._one)(
                dict(self.stack.named_parameters()), dict(self.stack.named_buffers()), x
            )
        return logits

    def _one(self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
        logits: Tensor = functional_call(self.stack, (parameters, buffers), (x, None))
        return logits

    @torch.no_grad()
    def unstack(self, networks: Sequence[nn.Module], state: Mapping[str, Tensor] | None = None) -> None:
        """Copy each network's weights and running statistics back into it; those of an earlier ``state`` if given."""
        states = [network.state_dict() for network in networks]
        for name, values in (state or self.stack.state_dict()).items():
            for state, value in zip(states, values, strict=True):
                state[name].copy_(value)


@dataclass
class StackedRun:
    """A run, its checkpoints and what became of it so far.

    Attributes:
        folder: checkpoints, the same as those of the run by itself.
        on_epoch: is told of every epoch.
    """

    run: TopologyRun
    folder: Path
    on_epoch: Callable[[Epoch], None] = lambda epoch: None
    history: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] | None = None

    def __post_init__(self) -> None:
        self.optimizer = self.run.optimizer(self.run.model.parameters())


def fit_stacked(runs: Sequence[StackedRun], accelerator: Accelerator, clock: Clock | None = None) -> list[FitResult]:
    """Train all runs and leave the weights of its chosen epoch in each run's model; :func:`hpnet.train.loop.fit`.

    Runs that were stopped go on from their checkpoints, those of a training by themselves included; runs with as many
    finished epochs are trained together.

    Raises:
        FloatingPointError: a loss was not finite; names the run, the step and its clips.
    """
    clock = clock or Clock()
    for each in runs:
        each.folder.mkdir(parents=True, exist_ok=True)
        each.run.model.to(accelerator.device)
        each.history = resume(each.folder, accelerator, each.run.model, each.optimizer, None)
        for finished in each.history:
            each.on_epoch(finished)
    starts = [len(each.history) for each in runs]
    for start in sorted(set(starts)):
        group = [each for each, own in zip(runs, starts, strict=True) if own == start]
        if start < group[0].run.task.params.epochs:
            _Group(group, accelerator, clock).train(start)
    results = []
    for each, start in zip(runs, starts, strict=True):
        chosen = best_epoch(each.history)
        each.run.model.load_state_dict(load_file(whole_best(each.folder, chosen)))
        results.append(FitResult(chosen, chosen_by(chosen), tuple(each.history), start))
    return results


@dataclass(frozen=True)
class _Last:
    """The last whole epoch: the stacked state and momenta, (R, ...) each."""

    epoch: int
    lr: float
    state: dict[str, Tensor]
    momenta: list[Tensor]


class _Group:
    """Runs that go on from the same epoch."""

    def __init__(self, runs: list[StackedRun], accelerator: Accelerator, clock: Clock) -> None:
        self.runs = runs = sorted(runs, key=lambda each: each.run.stream)
        self.accelerator, self.clock = accelerator, clock
        self.params = runs[0].run.task.params
        self.clips = runs[0].run.task.clips
        self.networks = [each.run.model.train().network for each in runs]
        self.last: _Last | None = None
        self.last_indices: Indices = np.zeros((len(runs), 0), np.int64)
        self.stack = StackedNetworks(self.networks).to(accelerator.device).train()
        self.optimizer = runs[0].run.optimizer(self.stack.parameters())
        states = [[each.optimizer.state.get(p, {}) for p in each.run.model.parameters()] for each in runs]
        for parameter, own in zip(self.stack.parameters(), zip(*states, strict=True), strict=True):
            if all("momentum_buffer" in state for state in own):
                momenta = torch.stack([state["momentum_buffer"] for state in own])
                self.optimizer.state[parameter]["momentum_buffer"] = momenta

    def train(self, start: int) -> None:
        """All epochs from ``start`` on."""
        schedule = self.runs[0].run.schedule()
        rate = float(self.optimizer.param_groups[0]["lr"])
        if self.accelerator.device.type == "cuda":
            self._record()
        saved = time.monotonic()
        try:
            for epoch in range(start, self.params.epochs):
                losses = self._epoch(epoch, lambda progress: rate * schedule(progress))
                self._require_finite_weights(epoch)
                lr = float(self.optimizer.param_groups[0]["lr"])
                for each, loss, validated in zip(self.runs, losses, self._validate(), strict=True):
                    each.history.append(Epoch(epoch, lr, float(loss), *validated))
                self._keep_best()
                self._keep_last(epoch)
                if epoch + 1 == self.params.epochs or time.monotonic() - saved > SAVE_EVERY_S:
                    self._save()
                    saved = time.monotonic()
                for each in self.runs:
                    each.on_epoch(each.history[-1])
        except BaseException:  # an interruption too: what is finished is kept
            self._save()
            raise

    def _epoch(self, epoch: int, rate: Callable[[float], float]) -> NDArray[np.float32]:
        """One pass over every run's training batches; the mean loss of each run (R,)."""
        count = self.runs[0].run.task.steps_per_epoch
        losses: list[Tensor] = []  # (R,) each
        unchecked: list[tuple[int, Indices]] = []  # (R, N)
        for step, (indices, (x, labels)) in enumerate(self.clock.timed(self._batches(epoch))):
            self.optimizer.zero_grad()
            loss = self._losses(self.stack(x), labels)
            loss.sum().backward()  # type: ignore[no-untyped-call]
            for group in self.optimizer.param_groups:
                group["lr"] = rate(epoch + (step + 0.5) / count)
            self.optimizer.step()
            losses.append(loss.detach().float())
            unchecked.append((step, indices))
            self.last_indices = indices
            if len(unchecked) == CHECK_EVERY_STEPS or step + 1 == count:
                self._require_finite(torch.stack(losses[-len(unchecked) :]), unchecked, epoch)
                unchecked = []
        return torch.stack(losses).mean(0).cpu().numpy()

    def _batches(self, epoch: int) -> Iterator[tuple[Indices, tuple[Tensor, Tensor]]]:
        """Indices of every run's clips (R, N), and what the networks see (R, N, C, T, V, M) with labels (R, N)."""
        tasks = {each.run.seed: each.run.task for each in self.runs}  # of one seed all streams see the same clips
        for batches in zip(*(task.train_batches(epoch) for task in tasks.values()), strict=True):
            of = {seed: batch for seed, (_, batch) in zip(tasks, batches, strict=True)}
            clips = {seed: indices for seed, (indices, _) in zip(tasks, batches, strict=True)}
            seeds = [each.run.seed for each in self.runs]
            labels = torch.stack([of[seed].labels for seed in seeds])
            yield np.stack([clips[seed] for seed in seeds]), (self._seen(of), labels)

    def _seen(self, batches: Mapping[int, PersonBatch]) -> Tensor:
        """The batch of every seed -> what the networks see (R, N, C, T, V, M), a stream's seeds prepared at once."""
        parts = []
        for _, members in itertools.groupby(self.runs, key=lambda each: each.run.stream):
            alike = list(members)
            chosen = [batches[each.run.seed] for each in alike]
            features, valid = torch.cat([b.features for b in chosen]), torch.cat([b.valid for b in chosen])
            parts.append(alike[0].run.model.prepare(features, valid))  # (seeds N, C, T, V, M)
        x = torch.cat(parts)
        return x.view(len(self.runs), -1, *x.shape[1:])  # (R N, C, T, V, M) -> (R, N, C, T, V, M)

    def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(R, N, K) and (R, N) -> the mean loss of each run (R,)."""
        loss = F.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), reduction="none", label_smoothing=self.params.label_smoothing
        )
        return loss.view(labels.shape).mean(1)

    def _require_finite(self, losses: Tensor, steps: Sequence[tuple[int, Indices]], epoch: int) -> None:
        broken = np.argwhere(~np.isfinite(losses.cpu().numpy()))
        if len(broken):
            row, r = broken[0]
            step, indices = steps[row]
            self._refuse("loss", epoch, step, r, indices[r])

    def _require_finite_weights(self, epoch: int) -> None:
        finite = [v.isfinite().flatten(1).all(1) for v in self.stack.state_dict().values() if v.is_floating_point()]
        broken = (~torch.stack(finite).all(0)).nonzero().flatten().tolist()
        if broken:
            count = self.runs[0].run.task.steps_per_epoch
            self._refuse("weights", epoch, count - 1, broken[0], self.last_indices[broken[0]])

    def _refuse(self, what: str, epoch: int, step: int, r: int, indices: Indices) -> None:
        run = self.runs[r].run
        error = diverged(what, epoch, step, self.clips, indices, self.accelerator)
        raise FloatingPointError(
            f"{run.stream}, seed {run.seed}: {error}. --one-by-one trains the others by themselves"
        )

    @torch.inference_mode()
    def _validate(self) -> list[tuple[float | None, float | None]]:
        """Cross-entropy and accuracy of every run on the validation clips; None without any."""
        chosen = self.clips.of("val", labelled=True)
        if not len(chosen):
            return [(None, None)] * len(self.runs)
        self.stack.eval()
        parts = []
        for indices in ordered_batches(chosen, EVALUATED_CLIPS):
            batch = self.runs[0].run.task.features.batch(indices)
            parts.append(self.stack(self._seen(self._for_all(batch))).float().cpu())
        self.stack.train()
        labels = self.clips.labels[chosen]
        return [validation(logits.numpy(), labels) for logits in torch.cat(parts, dim=1)]

    def _for_all(self, batch: PersonBatch) -> dict[int, PersonBatch]:
        return {each.run.seed: batch for each in self.runs}

    def _record(self) -> None:
        """Let whole batches, and those cut short at an epoch's end, replay CUDA graphs."""
        train = self.clips.of("train", labelled=True)
        deterministic = torch.are_deterministic_algorithms_enabled()
        for clips in {self.params.batch_size, len(train) % self.params.batch_size} - {0, 1}:
            batch = self.runs[0].run.task.features.batch(train[:clips])
            with torch.no_grad():
                sample = self._seen(self._for_all(batch))
            record(self.stack, sample, deterministic=deterministic)

    def _keep_best(self) -> None:
        """Hold the weights of runs whose last epoch is their best until they are written."""
        better = [each for each in self.runs if best_epoch(each.history) is each.history[-1]]
        if better:
            self.stack.unstack(self.networks)
        for each in better:
            each.best = {k: v.detach().clone() for k, v in each.run.model.state_dict().items()}

    def _keep_last(self, epoch: int) -> None:
        """Hold what a checkpoint of this epoch needs: an interruption comes in the middle of the next."""
        self.last = _Last(
            epoch,
            float(self.optimizer.param_groups[0]["lr"]),
            {name: value.detach().clone() for name, value in self.stack.stack.state_dict().items()},
            [self.optimizer.state[parameter]["momentum_buffer"].clone() for parameter in self.stack.parameters()],
        )

    def _save(self) -> None:
        """Write every run's checkpoint of the last whole epoch, if there is one, as the run by itself would."""
        if self.last is None or any(each.history[-1].epoch != self.last.epoch for each in self.runs):
            return
        self.stack.unstack(self.networks, self.last.state)
        for r, each in enumerate(self.runs):
            each.optimizer.param_groups[0]["lr"] = self.last.lr
            for parameter, momentum in zip(each.run.model.parameters(), self.last.momenta, strict=True):
                each.optimizer.state[parameter]["momentum_buffer"] = momentum[r].clone()
            if each.best is not None:
                save_weights(each.folder, each.best, best_epoch(each.history))
                each.best = None
            save_last(each.folder, self.accelerator, each.run.model, each.optimizer, each.history, None)
