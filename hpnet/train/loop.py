"""The training loop of every stream: plain epochs, a checkpoint after each, the epoch chosen on validation.

A *task* knows the data and the loss; :func:`fit` knows epochs, device, precision, several GPUs (accelerate), resuming
and the choice of the epoch. The test split is not used before that: :func:`predict` or :func:`finish` score it after
:func:`fit`.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ..artifacts.files import write_json, writing
from ..artifacts.labelling import LABELLING
from ..artifacts.scores import Scores
from ..artifacts.trained_features import TrainedFeatures
from ..core.metrics import MEASURES, mean_class_accuracy, top_k
from .averaging import lent, moving_average, warming_up
from .checkpoints import Epoch, best_epoch, resume, save_best, save_last, whole_best
from .clips import Indices, LabelledClips
from .out_of_fold import OutOfFold, whole
from .parts import Parts, has_batch_norm
from .schedules import Schedule

if TYPE_CHECKING:
    from accelerate import Accelerator

CHECK_EVERY_STEPS = 50


class Task(Protocol):
    """The interface of a stream for :func:`fit` and :func:`predict`.

    ``train_batches`` and ``eval_batches`` give (clip indices (n,), batch) of *this process's* share, on the device: use
    :mod:`hpnet.train.batches`. A batch is a tensor, or a dataclass of tensors, with clips on the first axis
    (:func:`hpnet.train.parts.part_of`). Its loss is a mean over clips, so that parts of a batch can be added up.
    Randomness of an epoch comes from the seed and the epoch alone, so that a resumed run repeats it.
    """

    clips: LabelledClips

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches of ``train_batches``."""
        ...

    def train_batches(self, epoch: int) -> Iterator[tuple[Indices, Any]]:
        """Augmented training batches of one epoch (0-based)."""
        ...

    def eval_batches(self, split: str) -> Iterator[tuple[Indices, Any]]:
        """Batches of a split, not augmented."""
        ...

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Scalar training loss."""
        ...

    def logits(self, model: nn.Module, batch: Any) -> Tensor:
        """(n, K) scores."""
        ...

    def trained_features(self, model: nn.Module, batch: Any) -> Tensor | None:
        """(n, D) input of the classifier, for Fig. 6; None if there is no classifier."""
        ...


@dataclass(frozen=True)
class FitResult:
    """Result of :func:`fit`. The model has the weights of ``chosen``.

    Attributes:
        chosen: an epoch; of a network that is fitted as a whole, the dataclass of what was chosen.
        chosen_by: why, in words.
        history: all that there was to choose from.
        resumed_from: epochs that an earlier call had finished.
    """

    chosen: Any
    chosen_by: str
    history: tuple[Any, ...]
    resumed_from: int


@dataclass
class Clock:
    """Seconds of training so far, and seconds of waiting for batches."""

    data_s: float = 0.0
    total_s: float = 0.0

    @property
    def waiting(self) -> float:
        """Share of the time, 0..1."""
        return self.data_s / self.total_s if self.total_s else 0.0

    def timed(self, batches: Iterator[tuple[Indices, Any]]) -> Iterator[tuple[Indices, Any]]:
        """The same batches; the time to get each batch counts as waiting."""
        while True:
            asked = time.perf_counter()
            found = next(batches, None)
            self.data_s += (had := time.perf_counter()) - asked
            if found is not None:
                yield found
            self.total_s += time.perf_counter() - asked if found is not None else had - asked
            if found is None:
                return


def make_accelerator(device: torch.device, precision: str = "float32", deterministic: bool = False) -> Accelerator:
    """The accelerator for a device and precision (float32, bfloat16, float16).

    Under ``accelerate launch`` every process has its own GPU. A process can use only one kind.

    Args:
        deterministic: refuse every operation with results that can differ between runs. On CPU no such operation is
            used, and cuDNN is always deterministic.

    Raises:
        ValueError: unknown precision, float16 without a GPU, or several processes on CPU.
    """
    modes = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
    if precision not in modes:
        raise ValueError(f"--precision {precision!r} is unknown; choose from {', '.join(modes)}")
    if precision == "float16" and device.type == "cpu":
        raise ValueError("--precision float16 needs a GPU to train; use bfloat16 or float32 here")
    if device.type == "cpu" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(
            "several processes train on GPUs only: batch norm cannot be shared between CPU processes; start one "
            "process, which uses the cores with --threads"
        )
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    torch.backends.cudnn.deterministic = True
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    from accelerate import Accelerator  # half a second, and a trained network needs none of it
    from accelerate.state import AcceleratorState

    # one state is shared by all accelerators of a process; trainings one after another may differ in their arithmetic
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != modes[precision]:
        AcceleratorState._reset_state()
    return Accelerator(mixed_precision=modes[precision], cpu=device.type == "cpu")


@dataclass(frozen=True)
class Course:
    """How long a model is trained, and how its steps are taken.

    Attributes:
        schedule: see :data:`hpnet.train.schedules.Schedule`. Each parameter group keeps its own base rate.
        clip_norm: largest gradient norm, or None.
        accumulate: batches per step of the optimiser; the last step of an epoch may have fewer.
        ema: decay of the moving average of the weights; the average is validated and kept; 0: none.
    """

    schedule: Schedule
    epochs: int
    clip_norm: float | None = None
    accumulate: int = 1
    ema: float = 0.0


@dataclass(frozen=True)
class Run:
    """One training run: its seed, its device, and the folders for its results.

    Attributes:
        work: folder of checkpoints of exactly this configuration; its name is made from everything that affects the
            result.
        on_epoch: called with every epoch, also with those of an earlier call.
        clock: records the time of training.
        cache: folder of values that can be computed again, such as label features; None: nothing is kept.
        folds: number of folds, if the training is cross-validated.
        refit: train on folds, then on all clips of train and val (:mod:`hpnet.train.refit`).
        on_fold: called with every epoch of every fold.
        keep_validation: keep the logits of the validation clips after every epoch (:func:`validation_file`).
        measure: the accuracy by which epochs are chosen, of :data:`hpnet.core.metrics.MEASURES`.
    """

    seed: int
    work: Path
    accelerator: Accelerator
    on_epoch: Callable[[Epoch], None] | None = None
    clock: Clock = field(default_factory=Clock)
    cache: Path | None = None
    folds: int = 5
    refit: bool = False
    on_fold: Callable[[Epoch], None] | None = None
    keep_validation: bool = False
    measure: str = "top1"

    @property
    def share(self) -> dict[str, int]:
        """The part of every batch that this process computes."""
        return {"process": self.accelerator.process_index, "processes": self.accelerator.num_processes}


def fit(task: Task, model: nn.Module, optimizer: torch.optim.Optimizer, course: Course, run: Run) -> FitResult:
    """Train ``model`` in place and leave the weights of the chosen epoch in it.

    After every epoch ``run.work`` has a complete checkpoint (written to a new file, then renamed). A killed run resumes
    after its last finished epoch and ends with the weights of an uninterrupted run.

    With several processes, batch norm sees the batches of all, and the loss is the mean over all their clips: without
    dropout, noise and mixing the result is that of one process, up to rounding.

    Where the GPU's memory is out, a batch is computed in halves whose gradients are added, and the step begins again.
    It is then the same step up to rounding, except in what depends on the clips that are computed at once: batch norm
    takes its statistics from each half, and dropout draws other numbers. Several processes cannot do this.

    Raises:
        ValueError: no training clip.
        RuntimeError: the memory is out for the smallest part of a batch, or in one of several processes.
        FloatingPointError: the loss was not finite; names the step and its clips. The last checkpoint is kept.
    """
    task.clips.require_training()
    folder, accelerator = run.work, run.accelerator
    folder.mkdir(parents=True, exist_ok=True)
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    if accelerator.num_processes > 1:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    network, wrapped_optimizer = accelerator.prepare(model, optimizer)
    average = moving_average(model, warming_up(course.ema)) if course.ema else None
    history = resume(folder, accelerator, model, wrapped_optimizer, average)
    start = len(history)
    parts = Parts(fewest=2 if has_batch_norm(model) else 1)
    loop = _Loop(task, model, network, wrapped_optimizer, rates, course, accelerator, average, parts)
    on_epoch = run.on_epoch or (lambda epoch: None)
    for finished in history:
        on_epoch(finished)

    for epoch in range(start, course.epochs):
        seed_epoch(run.seed, epoch, accelerator.process_index)
        network.train()
        train_loss = _train_epoch(loop, epoch, run.clock)
        lr = float(wrapped_optimizer.param_groups[0]["lr"])
        with lent(model, average) if average else nullcontext():
            kept = validation_file(folder, epoch) if run.keep_validation and accelerator.is_main_process else None
            history.append(Epoch(epoch, lr, train_loss, *_validate(task, model, run, kept)))
            if accelerator.is_main_process:
                save_best(folder, model, history)
        if accelerator.is_main_process:
            save_last(folder, accelerator, model, wrapped_optimizer, history, average)
        accelerator.wait_for_everyone()
        on_epoch(history[-1])

    chosen = best_epoch(history)
    model.load_state_dict(load_file(whole_best(folder, chosen)))
    return FitResult(chosen, chosen_by(chosen, run.measure), tuple(history), start)


def predict(task: Task, model: nn.Module, split: str, accelerator: Accelerator) -> tuple[Indices, NDArray[np.float32]]:
    """Scores of a split in evaluation mode: clip indices (n,) in ascending order, logits (n, K) float32."""
    found = _evaluate(task, model, split, accelerator, task.logits)
    return found or (np.zeros(0, np.int64), np.zeros((0, task.clips.num_classes), np.float32))


def trained_features(
    task: Task, model: nn.Module, accelerator: Accelerator, splits: Sequence[str] = ("val", "test")
) -> TrainedFeatures | None:
    """Input of the classifier for the clips of ``splits``; None if there is no classifier or no clip."""
    parts = [_evaluate(task, model, split, accelerator, task.trained_features) for split in splits]
    found = [part for part in parts if part]
    if not found:
        return None
    clip_ids = tuple(task.clips.clip_ids[i] for indices, _ in found for i in indices)
    return TrainedFeatures(clip_ids, np.concatenate([features for _, features in found]))


def _evaluate(
    task: Task,
    model: nn.Module,
    split: str,
    accelerator: Accelerator,
    look: Callable[[nn.Module, Any], Tensor | None],
) -> tuple[Indices, NDArray[np.float32]] | None:
    """Results of ``look`` for a split in evaluation mode, clips in ascending order; None if it gives none."""
    model.to(accelerator.device).eval()
    found: list[tuple[Indices, NDArray[np.float32]]] = []
    parts, seen = Parts(), functools.partial(look, model)
    with torch.inference_mode():
        for indices, batch in task.eval_batches(split):
            with accelerator.autocast():
                values = parts.looked(seen, batch, len(indices))
            if values is None:
                break  # no return here: a process without batches must wait for the others below
            found.append((indices, values.float().cpu().numpy()))
    if accelerator.num_processes > 1:
        from accelerate.utils import gather_object

        found = gather_object(found)
    if not found:
        return None
    indices = np.concatenate([i for i, _ in found])
    order = np.argsort(indices, kind="stable")
    return indices[order], np.concatenate([x for _, x in found])[order]


def score(task: Task, model: nn.Module, accelerator: Accelerator, splits: Sequence[str] = ("val", "test")) -> Scores:
    """Scores of the clips of ``splits``, split by split, for ``scores.parquet``. Call it after the epoch is chosen.

    Raises:
        FloatingPointError: a score is not finite; names the clip.
    """
    parts = [predict(task, model, split, accelerator) for split in splits]
    indices = np.concatenate([i for i, _ in parts])
    logits = np.concatenate([x for _, x in parts])
    broken = np.flatnonzero(~np.isfinite(logits).all(1))
    if len(broken):
        clip_id = task.clips.clip_ids[indices[broken[0]]]
        raise FloatingPointError(f"clip {clip_id!r} has a score that is not finite: {_remedy(accelerator)}")
    return Scores(
        tuple(task.clips.clip_ids[i] for i in indices),
        tuple(task.clips.splits[i] for i in indices),
        task.clips.labels[indices],
        logits,
    )


def finish(
    task: Task,
    model: nn.Module,
    result: FitResult,
    *,
    out: Path,
    accelerator: Accelerator,
    card: dict[str, Any],
    unseen: OutOfFold | None = None,
) -> dict[str, Any]:
    """Score validation and test, and write ``model.safetensors``, ``config.json`` (``card`` and how training went),
    ``scores.parquet`` and, where there is a classifier, ``trained_features.parquet`` (its input) into ``out``.

    Args:
        card: with ``classes``, the class names; all three record them and the labels and splits.
        unseen: scores of the clips that the model was fitted to, from fits that did not see them; None: the model was
            fitted to the split train, and val was held out.

    Returns:
        ``{"val": {...}, "test": {...}, "epoch": ..., "parameters": ...}``; a split without labelled clips is left out,
        and the others have clips, top1, top5 (with more than 5 classes) and mean_class_accuracy, 0..1. With ``unseen``
        val is of those clips, and ``out_of_fold`` says what they are; epoch is there where an epoch was chosen.
    """
    labelling = task.clips.labelling(card["classes"])
    scores = score(task, model, accelerator)
    if unseen is not None:
        scores = _with_out_of_fold(task.clips, scores, unseen)
    scores = replace(scores, labelling=labelling)
    features = trained_features(task, model, accelerator, ("val", "test") if unseen is None else ("test",))
    parts = {"val": scores.where(scores.unseen), "test": scores.split("test")}
    metrics: dict[str, Any] = {
        split: split_metrics(part, task.clips.num_classes) for split, part in parts.items() if (part.labels >= 0).any()
    }
    if unseen is not None:
        metrics["out_of_fold"] = unseen.folds.to_json()
    if isinstance(result.chosen, Epoch):
        metrics["epoch"] = result.chosen.epoch
    metrics["parameters"] = sum(p.numel() for p in model.parameters())
    if accelerator.is_main_process:
        state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
        with writing(out / "model.safetensors") as file:
            save_file(state, file, {LABELLING: labelling.without_test().to_text()})
        scores.save(out / "scores.parquet")
        if features is not None:
            features.save(out / "trained_features.parquet")
        training = {
            "chosen": result.chosen.__dict__,
            "chosen_by": result.chosen_by,
            "epochs": len(result.history),
            "parameters": metrics["parameters"],
            "untrained_classes": (task.clips if unseen is None else whole(task.clips)).untrained_classes(),
            LABELLING: labelling.without_test().digest,
        }
        if unseen is not None:
            training["out_of_fold"] = {**unseen.folds.to_json(), "text": unseen.folds.text}
        write_json(out / "config.json", {**card, **training})
    return metrics


def _with_out_of_fold(clips: LabelledClips, scores: Scores, unseen: OutOfFold) -> Scores:
    """``scores`` with those of ``unseen`` in the place of what the final weights make of the same clips."""
    known = {clips.clip_ids[i] for i in unseen.indices}
    rest = scores.where(np.array([clip_id not in known for clip_id in scores.clip_ids], dtype=bool))
    return Scores(
        tuple(clips.clip_ids[i] for i in unseen.indices) + rest.clip_ids,
        tuple(clips.splits[i] for i in unseen.indices) + rest.splits,
        np.concatenate([clips.labels[unseen.indices], rest.labels]),
        np.concatenate([unseen.logits, rest.logits]),
        folds=np.concatenate([unseen.folds.of[unseen.indices], np.full(len(rest.clip_ids), -1)]),
    )


def split_metrics(scores: Scores, num_classes: int) -> dict[str, float]:
    """clips, top1, top5 (with more than 5 classes) and mean_class_accuracy of the labelled clips of one split."""
    known = scores.labels >= 0
    logits, labels = scores.logits[known], scores.labels[known]
    found = {"clips": int(known.sum()), "top1": top_k(logits, labels, 1)}
    if num_classes > 5:
        found["top5"] = top_k(logits, labels, 5)
    return {**found, "mean_class_accuracy": mean_class_accuracy(logits, labels)}


def seed_epoch(seed: int, epoch: int, process: int = 0) -> None:
    """Seed torch for one epoch (dropout, noise), so that a resumed run draws the same numbers."""
    torch.manual_seed(int(np.random.SeedSequence([seed, epoch, process]).generate_state(1, np.uint64)[0] >> 1))


@dataclass(frozen=True)
class _Loop:
    """Objects that are the same in every epoch. ``network`` is ``model`` wrapped by accelerate; ``parts`` remembers
    what fitted into the memory."""

    task: Task
    model: nn.Module
    network: nn.Module
    optimizer: Any
    rates: Sequence[float]
    course: Course
    accelerator: Accelerator
    average: AveragedModel | None
    parts: Parts


def _train_epoch(loop: _Loop, epoch: int, clock: Clock) -> float:
    """One pass over the training batches; the mean loss over all batches."""
    task, accelerator, count = loop.task, loop.accelerator, loop.task.steps_per_epoch
    losses: list[Tensor] = []
    unchecked: list[tuple[int, Indices]] = []
    held: list[tuple[Indices, Any]] = []
    before = _state(loop)
    for step, (indices, batch) in enumerate(clock.timed(task.train_batches(epoch))):
        first = step - step % loop.course.accumulate
        together = min(loop.course.accumulate, count - first)
        stepping = step == first + together - 1
        if step == first:
            loop.optimizer.zero_grad()
            held = []
        held.append((indices, batch))
        with nullcontext() if stepping else accelerator.no_sync(loop.network):
            losses.append(_accumulate(loop, held, together, before if first == 0 else None))
        if stepping:
            _step(loop, epoch + (first + together / 2) / count)
        unchecked.append((step, indices))
        # Reading a loss waits for the device, so losses of several steps are read together.
        if len(unchecked) == CHECK_EVERY_STEPS:
            _require_finite(losses[-len(unchecked) :], unchecked, epoch, loop)
            unchecked = []
    _require_finite(losses[len(losses) - len(unchecked) :], unchecked, epoch, loop)
    _require_finite_weights(loop, epoch, count - 1, indices)
    return float(accelerator.gather(torch.stack(losses)).mean())


def _accumulate(
    loop: _Loop, held: Sequence[tuple[Indices, Any]], together: int, before: Callable[[], None] | None
) -> Tensor:
    """Add the gradients of the last of the batches ``held`` of a step, and return its loss.

    Where the memory is out, the gradients of all of them are computed again, in smaller parts.

    Args:
        together: batches of the step.
        before: brings back random numbers and buffers, so that a resumed run, which finds out anew what does not fit,
            takes the same steps; None: they go on from where they are.
    """
    pending = held[-1:]
    while True:
        try:
            for indices, batch in pending:
                loss = _backward(loop, indices, batch, together)
            return loss
        except torch.OutOfMemoryError:
            if loop.accelerator.num_processes > 1:
                raise RuntimeError(
                    "one of several GPUs is out of memory, and they cannot halve a batch together: divide batch_size "
                    "and multiply accumulate by the same number"
                ) from None
        # the error is gone here, and with it what it kept in the memory
        apart = "; batch norm takes its statistics from so many" if loop.parts.fewest > 1 else ""
        loop.parts.halve(len(indices), "training", f" and adds their gradients{apart}")
        loop.optimizer.zero_grad()
        if before is not None:
            before()
        pending = held


def _backward(loop: _Loop, indices: Indices, batch: Any, together: int) -> Tensor:
    """Add the gradients of a batch to those of its step, part by part; the loss."""
    total = torch.zeros((), device=loop.accelerator.device)
    for part, share in loop.parts.of(batch, len(indices)):
        with loop.accelerator.autocast():
            loss = loop.task.loss(loop.network, part) * (share * _share(indices, loop.accelerator))
        loop.accelerator.backward(loss / together)
        total = total + loss.detach().float()
    return total


def _state(loop: _Loop) -> Callable[[], None]:
    """What brings back the random numbers and the network's buffers (running statistics) of now."""
    device = loop.accelerator.device
    drawn, on_gpu = torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    kept = [buffer.clone() for buffer in loop.model.buffers()]

    def bring_back() -> None:
        torch.set_rng_state(drawn)
        if on_gpu is not None:
            torch.cuda.set_rng_state(on_gpu, device)
        with torch.no_grad():
            for buffer, value in zip(loop.model.buffers(), kept, strict=True):
                buffer.copy_(value)

    return bring_back


def _step(loop: _Loop, progress: float) -> None:
    """Take the optimiser's step at a learning rate of this progress (epochs, the middle of the step)."""
    factor = loop.course.schedule(progress)
    for group, rate in zip(loop.optimizer.param_groups, loop.rates, strict=True):
        group["lr"] = rate * factor
    if loop.course.clip_norm is not None:
        loop.accelerator.clip_grad_norm_(loop.network.parameters(), loop.course.clip_norm)
    loop.optimizer.step()
    if loop.average is not None:
        loop.average.update_parameters(loop.model)


def _share(indices: Indices, accelerator: Accelerator) -> float:
    """Weight of this process's mean loss, so that the mean over processes is the mean over all clips."""
    if accelerator.num_processes == 1:
        return 1.0
    everyone = accelerator.reduce(torch.tensor(float(len(indices)), device=accelerator.device), "sum")
    return len(indices) * accelerator.num_processes / float(everyone)


def _require_finite(losses: Sequence[Tensor], steps: Sequence[tuple[int, Indices]], epoch: int, loop: _Loop) -> None:
    if not losses:
        return
    broken = np.flatnonzero(~np.isfinite(torch.stack(list(losses)).cpu().numpy()))
    if len(broken):
        step, indices = steps[broken[0]]
        raise diverged("loss", epoch, step, loop.task.clips, indices, loop.accelerator)


def _require_finite_weights(loop: _Loop, epoch: int, step: int, indices: Indices) -> None:
    """Refuse an epoch if its last steps made the weights not finite; no loss was computed with them yet."""
    kept = [loop.model, *([] if loop.average is None else [loop.average.module])]
    if not all_finite([value for model in kept for value in model.state_dict().values()]):
        raise diverged("weights", epoch, step, loop.task.clips, indices, loop.accelerator)


def all_finite(values: Sequence[Tensor]) -> bool:
    """Whether all floating-point numbers are finite; waits once for their device."""
    return bool(torch.stack([value.isfinite().all() for value in values if value.is_floating_point()]).all())


def diverged(
    what: str, epoch: int, step: int, clips: LabelledClips, indices: Indices, accelerator: Accelerator
) -> FloatingPointError:
    """The error for a loss of a step (over the clips at ``indices``), or weights after it, that are not finite.

    Args:
        what: ``loss`` or ``weights``.
    """
    names = ", ".join(clips.clip_ids[i] for i in indices[:4]) + (", ..." if len(indices) > 4 else "")
    where = f"{'loss of' if what == 'loss' else 'weights after'} epoch {epoch}, step {step}"
    return FloatingPointError(
        f"the {where} {'is' if what == 'loss' else 'are'} not finite (clips {names}): {_remedy(accelerator)}. "
        f"Finished epochs are kept; with other settings training starts again"
    )


def _remedy(accelerator: Accelerator) -> str:
    narrow = accelerator.mixed_precision != "no"
    return "lower lr, raise warmup_epochs or use --precision float32" if narrow else "lower lr or raise warmup_epochs"


def validation_file(folder: Path, epoch: int) -> Path:
    """Where a run keeps the logits (n, K) of its labelled validation clips, in ascending order, after an epoch."""
    return folder / f"validation-{epoch:04d}.npy"


def _validate(task: Task, model: nn.Module, run: Run, kept: Path | None) -> tuple[float | None, float | None]:
    """Cross-entropy and accuracy on the validation clips; (None, None) without any. Their logits go to ``kept``."""
    if not len(task.clips.of("val", labelled=True)):
        return None, None
    indices, logits = predict(task, model, "val", run.accelerator)
    labels = task.clips.labels[indices]
    if kept is not None:
        with writing(kept) as file:
            np.save(file, logits[labels >= 0])
    return validation(logits, labels, run.measure)


def validation(logits: NDArray[np.float32], labels: Indices, measure: str = "top1") -> tuple[float, float]:
    """Cross-entropy and accuracy of scores (n, K) and labels (n,), for clips with a known class.

    Args:
        measure: which accuracy, of :data:`hpnet.core.metrics.MEASURES`.
    """
    known = labels >= 0
    loss = float(F.cross_entropy(torch.from_numpy(logits[known]), torch.from_numpy(labels[known])))
    if not np.isfinite(loss):  # a diverging network may give NaN on validation clips only: such an epoch is the worst
        return float("inf"), 0.0
    return loss, MEASURES[measure](logits[known], labels[known])


def chosen_by(chosen: Epoch, measure: str) -> str:
    """Why this epoch was chosen, as text."""
    if chosen.val_accuracy is None:
        return "last epoch: there are no validation clips"
    return f"validation {spoken(measure)}, then loss"


def spoken(measure: str) -> str:
    """The name of an accuracy, for a reader."""
    return {"top1": "accuracy"}.get(measure, measure.replace("_", " "))
