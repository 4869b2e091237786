"""The topology streams (hpj, hpb, hpjm, hpbm): pooled features of people -> classes, by one graph network."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..artifacts.features import FeatureMeta, Features
from ..artifacts.files import load_meta, typed
from ..artifacts.missing import missing
from ..core.choices import load
from ..core.cuda_graphs import record
from ..core.reading import require_at_most
from ..core.skeleton import Skeleton
from ..models import FITTED_NETWORKS, HEATMAP_NETWORKS
from ..models.build import build, require_network
from ..models.skeletons import graph_skeleton
from ..models.sketch import sketching
from ..models.streams import transform
from ..weights.checkpoint import load_into, load_tensors, require_fit
from . import FITTERS, refit, warm
from .augmentation import (
    clip_draws,
    draw_mixture,
    even_places,
    from_behind,
    one_hot_targets,
    random_places,
    resample_time,
    rotate,
)
from .batches import batch_count, ordered_batches, shuffled_batches
from .clips import Indices, LabelledClips, labelled_clips
from .datasets import (
    ChannelStatistics,
    PersonBatch,
    PersonFeatures,
    are_mirrored,
    measure,
    mirror,
    mirrored_labels,
    person_rows,
)
from .loop import Course, Run, finish
from .params import TopologyParams
from .run import Inputs, Machine
from .schedules import lr_scale, warmup_schedule

if TYPE_CHECKING:
    from accelerate import Accelerator

MOMENTUM = 0.9
SIZES = ("in_channels", "num_classes", "num_joints", "num_persons")
"""Numbers of a card that say how large any network is."""
MOST_SIZE = 1_000_000
"""Of a number of channels, classes, joints, persons or frames in a card."""


def moves(params: TopologyParams) -> bool:
    """Whether clips are rotated, scaled, cropped or sampled at random times at all."""
    turned = params.rotation or params.scale or params.behind
    return bool(turned or params.crop < 1 or params.places == "random")


def draw_size(params: TopologyParams, frames: int) -> int:
    """Number of random numbers that :func:`move` needs for a clip of ``frames`` frames."""
    return 6 + (frames if params.places == "random" else 0) + (1 if params.behind else 0)


def move(features: Tensor, numbers: Tensor, params: TopologyParams, mirror: tuple[int, ...]) -> Tensor:
    """A span of each clip at even or random times, rotated and scaled.

    Args:
        features: (N, C, T, V, M).
        numbers: (N, :func:`draw_size`) uniform in 0..1: length and start of the span, three rotations, the scale; with
            random times one number per frame; with ``behind`` one that decides about it.
        mirror: for each joint its counterpart on the other side.

    Returns:
        (N, C, T, V, M).
    """
    random = params.places == "random"
    if params.crop < 1 or random:
        lengths = params.crop + (1 - params.crop) * numbers[:, 0]
        starts = numbers[:, 1] * (1 - lengths)
        frames = features.shape[2]
        drawn = numbers[:, 6 : 6 + frames]
        places = random_places(starts, lengths, drawn) if random else even_places(starts, lengths, frames)
        features = resample_time(features, places)
    if params.behind:
        features = from_behind(features, numbers[:, -1] < params.behind, mirror)
    if params.rotation:
        features = rotate(features, (2 * numbers[:, 2:5] - 1) * np.deg2rad(params.rotation))
    return features * (1 + (2 * numbers[:, 5] - 1) * params.scale)[:, None, None, None, None]


class TopologyModel(nn.Module):
    """A stream's transform, the standardisation measured on training clips, and its graph network.

    The input is pooled features as on disk. Its state dict and ``config.json`` are enough to classify a new clip.

    Args:
        params: ``noise`` and what :func:`move` needs.
    """

    mean: Tensor
    sd: Tensor
    components: Tensor | None
    draws: Tensor

    def __init__(
        self,
        network: nn.Module,
        stream: str,
        skeleton: Skeleton,
        statistics: ChannelStatistics,
        params: TopologyParams | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.stream = stream
        self.parents, self.mirror = skeleton.parents, skeleton.mirror
        self.params = params or TopologyParams()
        self.register_buffer("mean", statistics.mean.clone())
        self.register_buffer("sd", statistics.sd.clone())
        self.register_buffer("components", None if statistics.components is None else statistics.components.clone())
        self.register_buffer("draws", torch.zeros(0), persistent=False)

    def average_draws(self, frames: int) -> None:
        """From now on, logits in evaluation mode are the mean over ``test_draws`` draws, for clips of ``frames``
        frames.

        The draws are the same for every clip, so that scores do not depend on the batch. With ``test_draws: 1``, and
        before this call, a clip is not changed.
        """
        count, size = self.params.test_draws, draw_size(self.params, frames)
        if count > 1:
            rows = [np.random.default_rng([draw, 5]).random(size) for draw in range(count)]
            self.draws = torch.tensor(np.stack(rows), dtype=torch.float32, device=self.mean.device)  # (draws, size)

    def prepare(self, features: Tensor, valid: Tensor) -> Tensor:
        """Pooled features (N, C, T, V, M) -> input of the network: the stream's view, standardised, projected on the
        components if there are any, 0 for no person."""
        x = transform(self.stream, features, self.parents)
        x = (x - self.mean.view(1, -1, 1, 1, 1)) / self.sd.view(1, -1, 1, 1, 1)
        if self.training and self.params.noise:
            x = x + self.params.noise * torch.randn_like(x)
        if self.components is not None:
            x = torch.einsum("bc,nctvm->nbtvm", self.components, x)  # (N, C, T, V, M) -> (N, B, T, V, M)
        return x * valid.to(x.device, non_blocking=True)[:, None, None, None, :]

    def forward(self, features: Tensor, valid: Tensor) -> Tensor:
        """(N, C, T, V, M) float32 and mask (N, M) bool, best on the host -> logits (N, K)."""
        if self.training or not len(self.draws):
            logits: Tensor = self.network(self.prepare(features, valid), valid)
            return logits
        readings = []
        for numbers in self.draws:
            # (size,) -> (N, size), the same for every clip
            moved = move(features, numbers.expand(features.shape[0], -1), self.params, self.mirror)
            readings.append(self.network(self.prepare(moved, valid), valid))
        return torch.stack(readings).mean(0)  # (draws, N, K) -> (N, K)


class TopologyTask:
    """Batches and loss of a topology stream; see :class:`hpnet.train.loop.Task`."""

    def __init__(
        self,
        clips: LabelledClips,
        features: PersonFeatures,
        params: TopologyParams,
        meta: FeatureMeta,
        *,
        seed: int,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        if meta.kind != "pose3d" and (params.rotation or params.scale or params.behind):
            raise ValueError(
                f"train.topology.rotation, scale and behind are for 3-D poses, but the features are {meta.kind!r}: "
                "set them to 0"
            )
        if params.test_draws > 1 and not moves(params):
            raise ValueError(
                f"train.topology.test_draws is {params.test_draws}, but every draw would be the same: "
                "set crop below 1, places to 'random', rotation, scale or behind, or test_draws to 1"
            )
        self.clips = clips
        self.features = features
        self.params = params
        self.meta = meta
        self.seed = seed
        self.process, self.processes = process, processes
        self.flip = params.flip if are_mirrored(meta, params.mirror_pooled) else 0.0
        self._train = clips.of("train", labelled=True)

    @property
    def steps_per_epoch(self) -> int:
        """Training batches per epoch."""
        return batch_count(len(self._train), self.params.batch_size)

    def train_batches(self, epoch: int) -> Iterator[tuple[Indices, PersonBatch]]:
        """Shuffled batches, augmented: mirrored with probability ``flip``, rotated, scaled, cropped and mixed."""
        draw = np.random.default_rng([self.seed, epoch, 0, 1])
        whole = shuffled_batches(self._train, self.params.batch_size, seed=self.seed, epoch=epoch)
        own = shuffled_batches(
            self._train,
            self.params.batch_size,
            seed=self.seed,
            epoch=epoch,
            process=self.process,
            processes=self.processes,
        )
        for everyone, indices in zip(whole, own, strict=True):
            batch = self.features.batch(indices)
            if self.flip:
                flips = np.resize(draw.random(len(everyone)), max(len(everyone), self.processes))
                chosen = torch.from_numpy(flips[self.process :: self.processes] < self.flip)
                chosen = chosen.to(batch.features.device, non_blocking=True)
                chosen, labels = mirrored_labels(batch.labels, chosen, self.clips.mirror_partners())
                batch = replace(batch, features=mirror(batch.features, chosen, self.meta), labels=labels)
            batch = replace(batch, features=self._moved(batch.features, indices, epoch))
            yield indices, self._mixed(batch, np.random.default_rng([self.seed, epoch, int(indices[0]), 3]))

    def _moved(self, features: Tensor, indices: Indices, epoch: int) -> Tensor:
        """Each clip rotated, scaled and cropped with random numbers of (seed, epoch, clip); see :func:`move`."""
        if not moves(self.params):
            return features
        size = draw_size(self.params, features.shape[2])
        drawn = np.stack([draw.random(size) for draw in clip_draws(self.seed, epoch, indices, 4)])
        numbers = torch.tensor(drawn, dtype=torch.float32).to(features.device, non_blocking=True)
        return move(features, numbers, self.params, self.meta.skeleton.mirror)

    def _mixed(self, batch: PersonBatch, draw: np.random.Generator) -> PersonBatch:
        frames = batch.features.shape[2]
        mixture = draw_mixture(draw, len(batch.labels), self.params.mixup, self.params.cutmix, frames)
        if mixture is None:
            return batch
        features, valid = mixture.people(batch.features, batch.valid)
        targets = mixture.values(one_hot_targets(batch.labels, self.clips.num_classes))
        return PersonBatch(features, valid, batch.labels, targets)

    def eval_batches(self, split: str) -> Iterator[tuple[Indices, PersonBatch]]:
        """Every clip of the split, labelled or not."""
        indices = self.clips.of(split)
        for part in ordered_batches(indices, self.params.batch_size, process=self.process, processes=self.processes):
            yield part, self.features.batch(part)

    def loss(self, model: nn.Module, batch: PersonBatch) -> Tensor:
        """Cross-entropy with label smoothing."""
        logits = model(batch.features, batch.valid)
        targets = batch.labels if batch.targets is None else batch.targets
        return F.cross_entropy(logits, targets, label_smoothing=self.params.label_smoothing)

    def logits(self, model: nn.Module, batch: PersonBatch) -> Tensor:
        """(N, K)."""
        logits: Tensor = model(batch.features, batch.valid)
        return logits

    def trained_features(self, model: nn.Module, batch: PersonBatch) -> Tensor:
        """(N, D), the input of the network's linear classifier."""
        assert isinstance(model, TopologyModel)
        features: Tensor = model.network.forward_features(  # type: ignore[operator]
            model.prepare(batch.features, batch.valid), batch.valid
        )
        return features


def prepare(
    stream: str, inputs: Inputs, params: TopologyParams, run: Run, table: LabelledClips
) -> tuple[TopologyModel, TopologyTask]:
    """A stream's network with new weights, and its batches.

    Args:
        table: the clips; what is of the split train there is learnt and measured.

    Raises:
        ValueError: unknown network, or one that cannot use these features, clips and features disagree, features are
            not finite, or there is nothing to train on.
    """
    clips, features = inputs.clips, inputs.features
    require_input(params.graph.model, stream, features.meta)
    table.require_training()
    rows = person_rows(features, table, {str(c) for c in clips.table.clip_id})
    skeleton = graph_skeleton(params.graph.skeleton, features.meta.skeleton)
    people = PersonFeatures(features.array, rows, table.labels, run.accelerator.device)
    drawn = params.graph.model in HEATMAP_NETWORKS  # keypoints are drawn unchanged
    statistics = measure(
        features.array, rows, table, stream=stream, parents=skeleton.parents, components=bottleneck(params)
    )
    if not params.standardise or drawn:
        statistics = statistics.unscaled()
    torch.manual_seed(run.seed)
    model = assemble(stream, params, sizes_of(inputs, people), skeleton, statistics)
    return model, TopologyTask(table, people, params, features.meta, seed=run.seed, **run.share)


def bottleneck(params: TopologyParams) -> int:
    """How many principal components of the channels the network sees; 0: the channels, as networks that are no graph
    networks do."""
    return 0 if params.graph.model in {**FITTED_NETWORKS, **HEATMAP_NETWORKS} else params.bottleneck


def sizes_of(inputs: Inputs, people: PersonFeatures) -> dict[str, int]:
    """What :func:`hpnet.models.build.build` is given of the features and the classes."""
    return {
        "in_channels": int(inputs.features.array.shape[3]),
        "num_classes": inputs.clips.num_classes,
        "num_joints": int(inputs.features.array.shape[2]),
        "num_persons": int(people.rows.shape[1]),
    }


def course(params: TopologyParams) -> Course:
    """How the stream is trained."""
    schedule = warmup_schedule(params.schedule, params.epochs, params.warmup_epochs, params.steps)
    return Course(schedule, params.epochs, accumulate=params.accumulate, ema=params.ema)


def optimizer_for(model: TopologyModel, params: TopologyParams) -> torch.optim.SGD:
    """SGD with Nesterov's momentum, at the learning rate of the batch."""
    return torch.optim.SGD(
        model.parameters(),
        lr=params.lr * lr_scale(params.batch_size, params.accumulate, params.lr_batch),
        momentum=MOMENTUM,
        nesterov=True,
        weight_decay=params.weight_decay,
        fused=True,
    )


def make(
    stream: str, inputs: Inputs, params: TopologyParams, run: Run, machine: Machine, table: LabelledClips
) -> refit.Ready:
    """A stream's network with new weights, or those of an earlier training, ready for the split train of ``table``."""
    model, task = prepare(stream, inputs, params, run, table)
    if machine.start_from is not None:
        warm.start(model, machine.start_from)
    if machine.compiled:
        model.network.forward = torch.compile(model.network.forward)  # type: ignore[method-assign]
    if machine.cuda_graphs and graphs_suit(task, run.accelerator):
        record_graphs(model.to(run.accelerator.device).train(), task, run.accelerator)
    return refit.Ready(task, model, optimizer_for(model, params), course(params))


def train(
    stream: str,
    inputs: Inputs,
    params: TopologyParams,
    run: Run,
    *,
    out: Path,
    card: dict[str, Any],
    machine: Machine | None = None,
) -> dict[str, Any]:
    """Train one stream, score its validation and test clips, and write ``model.safetensors``, ``config.json`` and
    ``scores.parquet`` into ``out``. A network of :data:`hpnet.train.FITTERS` is fitted by its own module.

    Args:
        card: further content of the model card (digests, versions).
        machine: its ``cuda_graphs`` (used if :func:`graphs_suit`; the card says so) and ``compiled``.

    Returns:
        The metrics of :func:`hpnet.train.loop.finish`.

    Raises:
        ValueError: as :func:`prepare`.
        FloatingPointError: training diverged.
    """
    machine = machine or Machine()
    if params.graph.model in FITTERS:
        fit = fitter(params.graph.model).train
        metrics: dict[str, Any] = fit(stream, inputs, params, run, out=out, card=card, machine=machine)
        return metrics
    ready = functools.partial(make, stream, inputs, params, run, machine)
    found = refit.train(ready, labelled_clips(inputs.clips), run)
    model, task = found.ready.model, found.ready.task
    assert isinstance(model, TopologyModel)
    assert isinstance(task, TopologyTask)
    frames = task.features.frames
    card = {
        **card,
        "cuda_graphs": machine.cuda_graphs and graphs_suit(task, run.accelerator),
        "compiled": machine.compiled,
        "classes": inputs.clips.class_names,
        "stream": stream,
        "params": params.model_dump(mode="json"),
        "seed": run.seed,
        "sizes": sizes_of(inputs, task.features),
        "frames": frames,
        "skeleton": graph_skeleton(params.graph.skeleton, inputs.features.meta.skeleton).to_json(),
        "features": inputs.features.meta.to_json(),
    }
    model.average_draws(frames)  # epochs were validated on clips without draws
    return finish(task, model, found.result, out=out, accelerator=run.accelerator, card=card, unseen=found.unseen)


def fitter(model: str) -> Any:
    """The module that fits a network of :data:`hpnet.train.FITTERS`."""
    return load(FITTERS, model, "network that is fitted as a whole")


def epochs(params: TopologyParams) -> int:
    """How many the loop trains; a network that is fitted as a whole counts as one."""
    return 1 if params.graph.model in FITTED_NETWORKS else params.epochs


def step_size(params: TopologyParams, features: Features) -> int:
    """Numbers in the first feature map of a batch, (N M, base channels, T, V)."""
    _, frames, joints, _ = features.array.shape
    persons = 1 + int(features.index.person.max()) if len(features.index) else 0
    return params.batch_size * persons * frames * joints * params.graph.base_channels


def started_from(params: TopologyParams) -> None:
    """None: new weights."""


def graphs_suit(task: TopologyTask, accelerator: Accelerator) -> bool:
    """Whether a training run can use CUDA graphs: one process on a GPU, a step per batch, at least one full batch,
    a graph network, and no missing person in a training clip, so that all batches have the same shape."""
    params = task.params
    everyone = bool((task.features.rows[task.clips.of("train", labelled=True)] >= 0).all())
    return (
        accelerator.device.type == "cuda"
        and accelerator.num_processes == 1
        and params.accumulate == 1
        and params.graph.model not in HEATMAP_NETWORKS
        and len(task.clips.of("train", labelled=True)) >= params.batch_size
        and everyone
    )


def record_graphs(model: TopologyModel, task: TopologyTask, accelerator: Accelerator) -> None:
    """Make the network of a model replay CUDA graphs for full batches during training."""
    batch = task.features.batch(task.clips.of("train", labelled=True)[: task.params.batch_size])
    with torch.no_grad():
        sample = model.prepare(batch.features, batch.valid)
    deterministic = torch.are_deterministic_algorithms_enabled()
    record(model.network, sample, autocast_dtype(accelerator), deterministic=deterministic)


def autocast_dtype(accelerator: Accelerator) -> torch.dtype:
    """The data type of matrix products."""
    return {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[accelerator.mixed_precision]


def load_topology(folder: Path) -> TopologyModel:
    """A trained stream (``model.safetensors`` and ``config.json``), on the CPU and in evaluation mode.

    Raises:
        FileNotFoundError: the stream was not trained.
        ValueError: config.json lacks something, or the weights are of another network.
    """
    for name in ("model.safetensors", "config.json"):
        if not (folder / name).is_file():
            raise missing(folder / name, f"run `hpnet train {folder.name}` first")
    card, weights = folder / "config.json", folder / "model.safetensors"
    with sketching():
        sketch, _ = load_meta(card, _of_card)
    state = load_tensors(weights)
    require_fit(sketch, state, str(weights))  # before memory is allocated for the sizes that the card says
    model, frames = load_meta(card, _of_card)
    load_into(model, state, str(weights))
    model.average_draws(frames)
    return model.eval()


def _of_card(card: dict[str, Any]) -> tuple[TopologyModel, int]:
    """The network of a config.json, with new weights, and the number of frames of its clips."""
    sizes = typed(card["sizes"], dict[str, Any])  # of a linear network also what it reads of a clip
    numbers = typed({name: sizes[name] for name in SIZES}, dict[str, int])
    channels, frames = numbers["in_channels"], typed(card["frames"], int)
    require_at_most(max(*numbers.values(), frames), MOST_SIZE, "as one of its sizes", "the network")
    params = TopologyParams.model_validate(card["params"])
    size = min(bottleneck(params), channels)
    components = torch.zeros(size, channels) if size else None
    blank = ChannelStatistics(torch.zeros(channels), torch.ones(channels), components)
    make_blank = fitter(params.graph.model).blank if params.graph.model in FITTED_NETWORKS else assemble
    model = make_blank(card["stream"], params, sizes, typed(card["skeleton"], Skeleton), blank)
    return model, frames


def require_input(model: str, stream: str, meta: FeatureMeta) -> None:
    """Refuse a network that does not exist or cannot be trained on such features.

    Raises:
        ValueError: unknown network (lists the choices), or a heatmap network on anything but the joints of 2-D poses.
    """
    require_network(model)
    if model in HEATMAP_NETWORKS and meta.kind != "pose2d":
        raise ValueError(
            f"graph.model {model!r} draws 2-D keypoints, but the features are {meta.kind!r}: set pool.kind to 'pose2d'"
        )
    if model in HEATMAP_NETWORKS and stream != "hpj":
        raise ValueError(f"graph.model {model!r} draws joints and cannot use the {stream!r} stream: train 'hpj'")


def assemble(
    stream: str, params: TopologyParams, sizes: dict[str, int], skeleton: Skeleton, statistics: ChannelStatistics
) -> TopologyModel:
    graph = params.graph
    seen = sizes["in_channels"] if statistics.components is None else len(statistics.components)
    network = build(
        graph.model,
        **{**sizes, "in_channels": seen},
        skeleton=skeleton,
        base_channels=graph.base_channels,
        blocks=graph.blocks,
        dropout=graph.dropout,
    )
    return TopologyModel(network, stream, skeleton, statistics, params)
