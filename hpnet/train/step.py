"""The work of ``hpnet train``: load a stream's inputs, train it once per seed, write its artifacts and metrics."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..artifacts.files import write_json
from ..core.allocator import tune_allocator
from ..core.choices import load
from ..core.device import resolve_device, training_precision
from ..core.streams import MULTIMODAL
from ..work.console import note
from ..work.locks import locked
from . import FITTERS
from .clips import labelled_clips
from .datasets import SWAPPED, are_mirrored
from .histories import Report, epoch_log
from .loop import Clock, Run, make_accelerator
from .params import MultimodalParams, TopologyParams, TrainParams
from .run import Folders, Inputs, Machine, is_first_process, model_card, run_name, seed_folder, threads
from .warm import require_start

KINDS = {"topology": "hpnet.train.topology", "multimodal": "hpnet.train.multimodal"}
"""Kinds of streams. A module has ``train``; ``epochs``, their number, from the parameters; ``step_size``, the numbers
in the first feature map of a batch, from the parameters and the features; and ``started_from``, the digest of the
weights that training starts from, or None."""


@dataclass(frozen=True)
class Place:
    """Output folders and files of a stream.

    Attributes:
        out: folder of the model, its scores and its history.
        metrics: JSON file.
        work: ``.work`` of the project: checkpoints, the runs of further seeds, label features.
    """

    out: Path
    metrics: Path
    work: Path


@dataclass(frozen=True)
class Trained:
    """Result of :func:`run`.

    Attributes:
        metrics: of the first seed, see :func:`hpnet.train.loop.finish`; of several seeds also ``seeds``.
    """

    stream: str
    metrics: dict[str, Any]

    @property
    def summary(self) -> str:
        """One line for the terminal."""
        found = self.metrics
        parts = [f"{s} {found[s]['top1']:.1%} of {found[s]['clips']} clips" for s in ("val", "test") if s in found]
        folds = found.get("out_of_fold")
        if folds is not None:
            parts[0] += f" out of fold ({folds['folds']} folds by {folds['by']})"
        chosen = "chosen on validation" if "val" in found else "the last one: there are no validation clips"
        if "epoch" in found:
            how = f"epoch {found['epoch']} ({chosen})"
        else:
            how = f"{found['components']} components, strength {found['strength']:g}"
        if "auto" in found:
            best = ((model, next(of[name] for name in of if name != "loss")) for model, of in found["auto"].items())
            compared = ", ".join(f"{model} {accuracy:.1%}" for model, accuracy in best)
            how += f"; of {compared} out of fold, {found['chosen']} was chosen"
        line = f"{self.stream}: {', '.join(parts) or 'no labelled clip to score'}; {how}"
        spread = found.get("seeds", {}).get("test", {}).get("top1")
        seeds = "" if spread is None else f"; {len(spread['values'])} seeds: {spread['mean']:.1%} ± {spread['sd']:.1%}"
        return line + seeds


def total_epochs(params: TrainParams, stream: str) -> int:
    """How many epochs a run of a stream trains at most, those of its folds among them."""
    model = params.of(stream).graph.model
    by_folds = model == "auto" or (params.refit and model not in FITTERS)
    trainings = params.validation_folds + 1 if by_folds else 1
    epochs: int = kind(stream).epochs(params.of(stream))
    return epochs * trainings


def kind(stream: str) -> Any:
    """The module that trains a stream."""
    return load(KINDS, "multimodal" if stream == MULTIMODAL else "topology", "kind of stream")


def run(
    stream: str,
    params: TrainParams,
    folders: Folders,
    place: Place,
    machine: Machine | None = None,
    report: Report | None = None,
) -> Trained:
    """Train a stream, choose its epoch on validation, score validation and test.

    With several seeds, ``place.out`` is the first one's, and the metrics also have ``seeds``: the values of each, mean
    and standard deviation (of the sample). The other runs are in :func:`hpnet.train.run.seed_folder`.

    Args:
        report: called with every epoch; used instead of a progress bar.

    Raises:
        FileNotFoundError: an input or the weights to start from are missing.
        ValueError: the inputs do not belong together, or there is nothing to train on.
        FloatingPointError: training diverged.
    """
    found = []
    for seed in params.seeds:
        out = seed_folder(seed, params.seeds, place.out, place.work)
        own = Place(out, place.metrics, place.work)
        found.append(_train_seed(stream, params, seed, folders, own, machine or Machine(), report))
    trained = Trained(stream, merge_seeds(found, params.seeds))
    if is_first_process():
        write_json(place.metrics, trained.metrics)
    return trained


def _train_seed(
    stream: str,
    params: TrainParams,
    seed: int,
    folders: Folders,
    place: Place,
    machine: Machine,
    report: Report | None,
) -> dict[str, Any]:
    """One run of a stream; its metrics."""
    section = params.of(stream)
    with_frames = isinstance(section, MultimodalParams)
    inputs, trainer = folders.load(frames=with_frames), kind(stream)
    device = resolve_device(machine.device)
    if device.type == "cpu":
        tune_allocator()
        count = threads(trainer.step_size(section, inputs.features), machine.threads)
        if count is not None:
            torch.set_num_threads(count)
    machine = replace(machine, precision=precision_of(section, machine.precision, device))
    accelerator = make_accelerator(device, machine.precision, machine.deterministic)
    card = model_card(section, folders.digests(frames=with_frames), machine, device.type)
    card["measure"] = params.measure
    weights, processes = trainer.started_from(section), accelerator.num_processes
    if machine.start_from is not None:
        weights = require_start(machine.start_from, stream, params, inputs)
        card["started_from"] = weights
    if params.refit or section.graph.model in FITTERS:
        card["folds"] = params.validation_folds
    name = run_name(stream, section, card, seed=seed, processes=processes, started_from=weights)
    work, first = place.work / "train" / name, accelerator.is_main_process
    if first:
        warn_of_untrained(inputs)
        tell_of_mirroring(inputs, section)
    history, clock = place.out / "history" if first else None, Clock()
    with (
        hold_checkpoints(work) if first else nullcontext(),
        epoch_log(history, stream, total_epochs(params, stream), clock, report) as log,
    ):
        training = Run(
            seed,
            work,
            accelerator,
            log,
            clock,
            place.work / "text",
            params.validation_folds,
            params.refit,
            on_fold=log.fold,
            measure=params.measure,
        )
        found: dict[str, Any] = trainer.train(
            stream, inputs, section, training, out=place.out, card=card, machine=machine
        )
    return found if machine.precision == "float32" else {**found, "precision": machine.precision}


def precision_of(section: TopologyParams | MultimodalParams, asked: str, device: torch.device) -> str:
    """The arithmetic of a stream for ``--precision``; what is fitted instead of trained by steps is float32."""
    if asked == "auto" and section.graph.model in FITTERS:
        return "float32"
    return training_precision(asked, device)


def hold_checkpoints(work: Path) -> AbstractContextManager[None]:
    """Lock this checkpoint folder against other processes; wait for a process that holds it.

    The writing process holds the lock, not the command that started it. So the lock ends with the last write.
    """
    return locked(work / ".lock", f"another process is training the same configuration ({work}): waiting for it")


def merge_seeds(runs: list[dict[str, Any]], seeds: tuple[int, ...]) -> dict[str, Any]:
    """The metrics of a stream: the first seed's; of several seeds also ``seeds``, mean and deviation of each, 0..1:

    ``{"seeds": [...], "test": {"top1": {"mean", "sd", "values"}, ...}, "val": ...}``.
    """
    if len(runs) == 1:
        return runs[0]
    found: dict[str, Any] = {"seeds": list(seeds)}
    for split in ("val", "test"):
        for name in runs[0].get(split, {}):
            if name != "clips":
                values = [run[split][name] for run in runs]
                spread = {"mean": statistics.mean(values), "sd": statistics.stdev(values), "values": values}
                found.setdefault(split, {})[name] = spread
    return {**runs[0], "seeds": found}


def warn_of_warmup(stream: str, params: TrainParams) -> None:
    """Warn if the training ends before its warm-up."""
    section = params.of(stream)
    if section.warmup_epochs >= section.epochs and is_first_process():
        name = next(name for name in type(params).model_fields if getattr(params, name) is section)
        note(
            f"train.{name}.warmup_epochs is {section.warmup_epochs} and epochs {section.epochs}: the learning rate "
            f"does not reach lr = {section.lr:g}; set --{name}-warmup-epochs {section.epochs - 1} or less"
        )


def warn_of_untrained(inputs: Inputs) -> None:
    """Name the classes without a training clip, if there are any."""
    clips = inputs.clips
    untrained = [clips.class_names[k] for k in labelled_clips(clips).untrained_classes()]
    if untrained:
        listed = _listed(untrained)
        note(f"{len(untrained)} of {clips.num_classes} classes have no training clip and cannot be learnt: {listed}")


def tell_of_mirroring(inputs: Inputs, section: TopologyParams | MultimodalParams) -> None:
    """Say which labels change places in mirrored training clips, and which clips are not mirrored."""
    if section.graph.model in FITTERS:
        if (
            isinstance(section, TopologyParams)
            and True in section.linear.mirrored
            and labelled_clips(inputs.clips).sided
        ):
            note("linear.mirrored: mirror images are not tried, because an action names a side (column mirror)")
        return
    if not section.flip:
        return
    kind, with_frames = inputs.features.meta.kind, isinstance(section, MultimodalParams)
    if not with_frames and not are_mirrored(inputs.features.meta, section.mirror_pooled):
        swaps = "; mirror_pooled swaps their left and right joints all the same" if kind in SWAPPED else ""
        note(
            f"flip is {section.flip:g}, but features of kind {kind!r} have no mirror image: nothing is mirrored{swaps}"
        )
        return
    names, partners = inputs.clips.class_names, inputs.clips.mirror_partners().tolist()
    swapped = [f"{names[k]} <-> {names[other]}" for k, other in enumerate(partners) if other > k]
    still = [names[k] for k, other in enumerate(partners) if other < 0]
    found = [f"labels change places: {_listed(swapped)}"] if swapped else []
    found += [f"not mirrored, because no class is the other side: {_listed(still)}"] if still else []
    if found:
        note(f"mirrored training clips, by the classes' names and prompts (column mirror): {'; '.join(found)}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
