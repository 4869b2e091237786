"""The multimodal stream: person frames, label texts and pooled features to classes, by HP-Net.

Axes: N clips, F frames, S pixels, T time, M persons, V joints, C channels, K classes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import XCLIPConfig

from ..artifacts.clips import Clips
from ..artifacts.features import FeatureMeta, Features
from ..artifacts.files import load_meta
from ..artifacts.frames import MOST_JPEG_PX, PersonFrames, jpeg_size_px
from ..artifacts.missing import missing
from ..core.sampling import sample_frames
from ..models.multimodal import HPNet, HPNetConfig, multimodal_loss
from ..models.skeletons import graph_skeleton
from ..models.sketch import sketching
from ..models.xclip import video_state, with_drop_path
from ..weights.checkpoint import load_into, load_tensors, require_fit
from ..weights.hub_folder import offline, plain_config
from ..work.console import note
from . import refit
from .augmentation import Mixture, clip_draws, draw_mixture, one_hot_targets
from .batches import batch_count, ordered_batches, shuffled_batches
from .clips import Indices, LabelledClips, labelled_clips
from .colours import recolour
from .datasets import (
    ChannelStatistics,
    PersonFeatures,
    are_mirrored,
    measure,
    mirror,
    mirrored_labels,
    person_rows,
)
from .loop import Course, Run, finish
from .params import MultimodalParams
from .run import Inputs, Machine
from .schedules import lr_scale, parameter_groups, warmup_schedule
from .text import averaged, class_texts, label_features
from .xclip import XCLIPCheckpoint, load_xclip, xclip_digest, xclip_image_size

BETAS = (0.9, 0.98)
MESSAGE_PARTS = ("message_", "mit.", "prompts_")
RESIDENT_BYTES = 1 << 30


# --- person frames ----------------------------------------------------------------------------------------------------


class FrameBank:
    """Person frames of many clips at the network's image size, RGB uint8.

    All of them are decoded once and kept if they fit into ``resident_bytes``; otherwise those that are needed are
    decoded every time.

    Args:
        store: the JPEG files; a clip without frames (no person was found, or the clip failed) gives black frames.
        frames: F, frames per clip.
        image_size: S; frames of another size are scaled.
    """

    def __init__(
        self,
        store: PersonFrames,
        clip_ids: Sequence[str],
        *,
        frames: int,
        image_size: int,
        resident_bytes: int = RESIDENT_BYTES,
    ) -> None:
        self.store = store
        self.clip_ids = tuple(clip_ids)
        self.frames = frames
        self.image_size = image_size
        self.missing = tuple(clip_id for clip_id in clip_ids if clip_id not in store)
        self._counts = [max(1, store.count(clip_id)) for clip_id in self.clip_ids]
        self._pool = ThreadPoolExecutor(2)
        self._resident: list[NDArray[np.uint8]] = []
        if sum(self._counts) * image_size**2 * 3 <= resident_bytes:
            everything = map(np.arange, self._counts)
            self._resident = list(self._pool.map(self._decode, range(len(self.clip_ids)), everything))

    def __call__(self, clips: Indices, draws: Sequence[np.random.Generator] | None = None) -> Tensor:
        """(n, F, 3, S, S) uint8 of clips (n,): with ``draws`` (one per clip) a random frame of each segment of a clip,
        otherwise the middle one."""
        given = [None] * len(clips) if draws is None else draws
        chosen = [sample_frames(self._counts[i], self.frames, draw) for i, draw in zip(clips, given, strict=True)]
        if self._resident:
            rows = [self._resident[i][frames] for i, frames in zip(clips, chosen, strict=True)]
        else:
            rows = list(self._pool.map(self._decode, clips, chosen))
        # (n, F, S, S, 3) -> (n, F, 3, S, S)
        return torch.from_numpy(np.stack(rows)).permute(0, 1, 4, 2, 3)

    def _decode(self, index: int, chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Chosen frames of a clip, (frames, S, S, 3); black ones for a clip that has none."""
        clip_id = self.clip_ids[index]
        stored = self.store.load(clip_id)
        if not stored:
            return np.zeros((len(chosen), self.image_size, self.image_size, 3), np.uint8)
        pictures: dict[int, NDArray[np.uint8]] = {}
        for i in set(chosen.tolist()):
            frame, data = stored[i]
            pictures[i] = decode_jpeg(data, self.image_size, f"{clip_id}, frame {frame}")
        return np.stack([pictures[i] for i in chosen.tolist()])


def decode_jpeg(data: bytes, size: int, what: str) -> NDArray[np.uint8]:
    """A square JPEG as RGB (size, size, 3) uint8; ``what`` names it in the error."""
    try:
        sides = jpeg_size_px(data)  # before memory is allocated for them
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if max(sides) <= MOST_JPEG_PX else None
    except (ValueError, cv2.error):
        image = None
    if image is None:
        raise ValueError(f"person frame of clip {what} cannot be decoded: run `hpnet detect` again")
    if image.shape[:2] != (size, size):
        method = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR
        image = cv2.resize(image, (size, size), interpolation=method)
    rgb: NDArray[np.uint8] = cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    return rgb


def augment_clip(frames: Tensor, draw: np.random.Generator, jitter: float) -> Tensor:
    """One random crop, brightness and contrast for all frames of a clip.

    Args:
        frames: (F, 3, S, S) uint8 or float in 0..255.
        jitter: strength; at 0.2 the crop's side is 0.8 to 1 of the frame's, brightness and contrast 0.8 to 1.2 times.

    Returns:
        (F, 3, S, S) float32 in 0..255.
    """
    size = frames.shape[-1]
    side = max(1, round(size * float(draw.uniform(1 - jitter, 1))))
    top, left = (int(draw.integers(0, size - side + 1)) for _ in range(2))
    brightness, contrast = (float(draw.uniform(1 - jitter, 1 + jitter)) for _ in range(2))
    crop = frames[:, :, top : top + side, left : left + side].float()
    if side != size:
        crop = F.interpolate(crop, size=(size, size), mode="bilinear", align_corners=False)
    mean = crop.mean()
    return (((crop - mean) * contrast + mean) * brightness).clamp(0, 255)


# --- batches and loss -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MultimodalBatch:
    """A batch; all but the mask is on the device.

    Attributes:
        pooled: (N, C, T, V, M) float32, zeros where there is no person.
        valid: (N, M) bool, on the host.
        frames: (N, F, 3, S, S) uint8, or float32 in 0..255.
        targets: (N, K) class probabilities; zeros where the class is unknown.
    """

    pooled: Tensor
    valid: Tensor
    frames: Tensor
    targets: Tensor


def mix(batch: MultimodalBatch, mixture: Mixture, *, pooled: bool = True) -> MultimodalBatch:
    """Mix frames, pooled features and targets in the same way; ``pooled`` false: frames and targets alone."""
    features, valid = batch.pooled, batch.valid
    if pooled:
        features, valid = mixture.people(features, valid)
    return MultimodalBatch(features, valid, mixture.frames(batch.frames.float()), mixture.values(batch.targets))


class MultimodalTask:
    """Batches and loss of the multimodal stream; see :class:`hpnet.train.loop.Task`.

    Training: a random frame of each segment, one flip of frames and joints together (or of frames alone), crop and
    colour jitter, mixup and CutMix. Where the features are not mirrored, only the frames of classes that are their own
    mirror image are: a mirrored clip of any other would show one side to the eye and the other to the graph networks.
    Random numbers are drawn per clip from (seed, epoch, clip), so they do not depend on the number of processes; those
    of mixup and CutMix per batch.
    """

    def __init__(
        self,
        clips: LabelledClips,
        features: PersonFeatures,
        frames: FrameBank,
        params: MultimodalParams,
        meta: FeatureMeta,
        *,
        seed: int,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        self.clips = clips
        self.features = features
        self.frames = frames
        self.params = params
        self.meta = meta
        self.seed = seed
        self.process, self.processes = process, processes
        mirrored = params.augmented == "all" and are_mirrored(meta, params.mirror_pooled)
        self.mirrors_features = params.pooled and mirrored
        self.partners = clips.mirror_partners()
        if params.pooled and not self.mirrors_features:
            self.partners = np.where(self.partners == np.arange(clips.num_classes), self.partners, -1)
        self._train = clips.of("train", labelled=True)

    @property
    def steps_per_epoch(self) -> int:
        """Training batches per epoch."""
        return batch_count(len(self._train), self.params.batch_size)

    def train_batches(self, epoch: int) -> Iterator[tuple[Indices, MultimodalBatch]]:
        """Shuffled, augmented batches."""
        batches = shuffled_batches(
            self._train,
            self.params.batch_size,
            seed=self.seed,
            epoch=epoch,
            process=self.process,
            processes=self.processes,
        )
        for indices in batches:
            yield indices, self._augmented(indices, epoch)

    def eval_batches(self, split: str) -> Iterator[tuple[Indices, MultimodalBatch]]:
        """Every clip of the split, labelled or not; the middle frame of each segment."""
        indices = self.clips.of(split)
        for part in ordered_batches(indices, self.params.batch_size, process=self.process, processes=self.processes):
            yield part, self._batch(part, self.frames(part))

    def loss(self, model: nn.Module, batch: MultimodalBatch) -> Tensor:
        """Eq. (14)."""
        outputs = model(batch.pooled, batch.valid, batch.frames)
        return multimodal_loss(outputs, batch.targets, self.params.lambdas, self.params.label_smoothing)

    def logits(self, model: nn.Module, batch: MultimodalBatch) -> Tensor:
        """S of Eq. (12), (N, K)."""
        logits: Tensor = model(batch.pooled, batch.valid, batch.frames)["logits"]
        return logits

    def trained_features(self, model: nn.Module, batch: MultimodalBatch) -> None:
        """None: scores are similarities of texts and videos."""

    def _batch(self, indices: Indices, frames: Tensor) -> MultimodalBatch:
        people = self.features.batch(indices)
        targets = one_hot_targets(people.labels, self.clips.num_classes)
        return MultimodalBatch(people.features, people.valid, frames.to(people.features.device), targets)

    def _augmented(self, indices: Indices, epoch: int) -> MultimodalBatch:
        draws = clip_draws(self.seed, epoch, indices, 2)
        flipped = torch.tensor([draw.random() < self.params.flip for draw in draws])
        frames = self.frames(indices, draws)
        device = self.features.device
        if device.type != "cpu":
            frames = frames.to(device)
        jittered = torch.stack(
            [augment_clip(clip, draw, self.params.jitter) for clip, draw in zip(frames, draws, strict=True)]
        )
        if self.params.colour or self.params.grey:
            recoloured = (
                recolour(clip, draw, self.params.colour, self.params.grey)
                for clip, draw in zip(jittered, draws, strict=True)
            )
            jittered = torch.stack(list(recoloured))
        labels = self.features.labels[torch.from_numpy(indices)]
        flipped, shown = mirrored_labels(labels, flipped, self.partners)
        flipped = flipped.to(device)
        jittered = torch.where(flipped[:, None, None, None, None], jittered.flip(-1), jittered)
        batch = self._batch(indices, jittered)
        together = self.params.augmented == "all"
        moved = self.mirrors_features and bool(flipped.any())
        pooled = mirror(batch.pooled, flipped, self.meta) if moved else batch.pooled
        targets = one_hot_targets(shown, self.clips.num_classes).to(device)
        batch = MultimodalBatch(pooled, batch.valid, batch.frames, targets)
        draw = np.random.default_rng([self.seed, epoch, int(indices[0]), 3])
        alphas, size_px = (self.params.mixup, self.params.cutmix), None if together else self.frames.image_size
        mixture = draw_mixture(draw, len(indices), *alphas, self.params.frames, size_px)
        return batch if mixture is None else mix(batch, mixture, pooled=together)


# --- the network and its optimiser ------------------------------------------------------------------------------------


def build_model(
    checkpoint: XCLIPCheckpoint,
    label_text: Tensor,
    params: MultimodalParams,
    meta: FeatureMeta,
    *,
    in_channels: int,
    num_persons: int,
    statistics: ChannelStatistics,
) -> HPNet:
    """HP-Net with X-CLIP's pretrained video side, its label features (K, D) and new graph networks."""
    graph = params.graph.model_dump(exclude={"skeleton"})
    config = HPNetConfig(
        num_classes=len(label_text),
        video=with_drop_path(checkpoint.model.config, params.drop_path),
        in_channels=in_channels,
        num_persons=num_persons,
        skeleton=graph_skeleton(params.graph.skeleton, meta.skeleton),
        graph=graph,
        smclm=params.smclm,
        pooled=params.pooled,
        fusion=params.fusion,
        refine=params.refine,
        prompts=params.prompts,
        mean=checkpoint.mean,
        sd=checkpoint.sd,
    )
    model = HPNet(config)
    load_into(model.video, video_state(checkpoint.model.state_dict()), checkpoint.name)
    model.label_text.copy_(label_text)
    model.pooled_mean.copy_(statistics.mean)
    model.pooled_sd.copy_(statistics.sd)
    model.video.freeze_layers(params.frozen_layers)
    if params.checkpointing:
        model.video.checkpoint_layers()
    return model


def optimizer_for(model: HPNet, params: MultimodalParams) -> torch.optim.AdamW:
    """AdamW with the released groups: CLIP parts at ``lr``, message and MIT parts and graph and fusion parts scaled.

    The fusion module can have its own factor, because its projections are two plain linear layers of F_c. They have no
    batch norm, which allows large steps in graph networks. Vectors (biases, norms, positions) and the logit scale have
    no weight decay.
    """
    lr = params.lr * lr_scale(params.batch_size, params.accumulate, params.lr_batch)
    fusion_scale = params.graph_scale if params.fusion_scale is None else params.fusion_scale
    rates = {
        "clip": lr,
        "message": lr * params.message_scale,
        "graph": lr * params.graph_scale,
        "fusion": lr * fusion_scale,
    }
    groups = []
    for part in sorted(rates):
        members = [value for name, value in model.named_parameters() if _part(name) == part]
        groups += parameter_groups(members, params.weight_decay, lr=rates[part])
    return torch.optim.AdamW(groups, betas=BETAS, eps=params.adam_epsilon, fused=True)


def _part(name: str) -> str:
    if not name.startswith("video."):
        return "fusion" if name.startswith("fusion.") else "graph"
    return "message" if any(part in name for part in MESSAGE_PARTS) else "clip"


# --- the whole stream -------------------------------------------------------------------------------------------------


def step_size(params: MultimodalParams, features: Features) -> int:
    """Numbers in the frames of a batch, (N, F, 3, S, S)."""
    return params.batch_size * params.frames * 3 * xclip_image_size(params.video) ** 2


def epochs(params: MultimodalParams) -> int:
    """How many the loop trains."""
    return params.epochs


def started_from(params: MultimodalParams) -> str:
    """Digest of X-CLIP's weights."""
    return xclip_digest(params.video)


def make(
    inputs: Inputs,
    params: MultimodalParams,
    run: Run,
    checkpoint: XCLIPCheckpoint,
    label_text: Tensor,
    table: LabelledClips,
) -> refit.Ready:
    """The network with X-CLIP's weights and new ones, ready to be trained on the split train of ``table``.

    Args:
        label_text: (K, D), what X-CLIP makes of the texts.

    Raises:
        ValueError: as :func:`train`.
    """
    features = inputs.features
    table.require_training()
    rows = person_rows(features, table, {str(c) for c in inputs.clips.table.clip_id})
    skeleton = graph_skeleton(params.graph.skeleton, features.meta.skeleton)
    statistics = measure(features.array, rows, table, stream="hpj", parents=skeleton.parents)
    torch.manual_seed(run.seed)
    model = build_model(
        checkpoint,
        label_text,
        params,
        features.meta,
        in_channels=int(features.array.shape[3]),
        num_persons=int(rows.shape[1]),
        statistics=statistics if params.standardise else statistics.unscaled(),
    )
    bank = FrameBank(inputs.person_frames(), table.clip_ids, frames=params.frames, image_size=model.video.image_size)
    training = [table.clip_ids[i] for i in table.of("train", labelled=True)]
    if set(training) <= set(bank.missing):
        raise ValueError(
            f"none of the {len(training)} training clips, such as {training[0]!r}, has person frames: are these "
            f"frames of other clips? Run `hpnet detect` again"
        )
    people = PersonFeatures(features.array, rows, table.labels, run.accelerator.device)
    task = MultimodalTask(table, people, bank, params, features.meta, seed=run.seed, **run.share)
    course = Course(
        warmup_schedule("cosine", params.epochs, params.warmup_epochs),
        params.epochs,
        clip_norm=params.clip_norm,
        accumulate=params.accumulate,
        ema=params.ema,
    )
    return refit.Ready(task, model, optimizer_for(model, params), course)


def train(
    stream: str,
    inputs: Inputs,
    params: MultimodalParams,
    run: Run,
    *,
    out: Path,
    card: dict[str, Any],
    machine: Machine | None = None,
) -> dict[str, Any]:
    """Train the stream, score its validation and test clips, and write ``model.safetensors``, ``config.json`` and
    ``scores.parquet`` into ``out``.

    Args:
        stream: its name in the card.
        inputs: with person frames. Label features are kept in ``run.cache``, by content.
        card: further content of the model card (digests, versions).
        machine: not used: CUDA graphs and torch.compile are for topology streams.

    Returns:
        The metrics of :func:`hpnet.train.loop.finish`, and ``clips_without_frames``.

    Raises:
        FileNotFoundError: X-CLIP's weights are missing.
        ValueError: clips and features disagree, features are not finite, or there is nothing to train on, such as
            frames.
        FloatingPointError: training diverged.
    """
    clips, features = inputs.clips, inputs.features
    table = labelled_clips(clips)
    table.require_training()
    if run.accelerator.is_main_process:
        warn_of_constant_frames(clips, inputs.person_frames(), params.frames)
    checkpoint = load_xclip(params.video, params.frames)
    texts = class_texts(clips, params.text)
    every = [text for of_class in texts for text in of_class]
    encoded = label_features(checkpoint.model, checkpoint.tokenizer, every, run.cache)
    label_text = averaged(encoded, [len(of_class) for of_class in texts])
    found = refit.train(functools.partial(make, inputs, params, run, checkpoint, label_text), table, run)
    model, task = found.ready.model, found.ready.task
    assert isinstance(model, HPNet)
    assert isinstance(task, MultimodalTask)
    card = {
        **card,
        "stream": stream,
        "params": params.model_dump(mode="json"),
        "seed": run.seed,
        "network": model.config.to_json(),
        "frames": int(features.array.shape[1]),
        "features": features.meta.to_json(),
        "classes": clips.class_names,
        "texts": [list(of_class) for of_class in texts],
        "video_digest": checkpoint.digest,
    }
    metrics = finish(task, model, found.result, out=out, accelerator=run.accelerator, card=card, unseen=found.unseen)
    return {**metrics, "clips_without_frames": len(task.frames.missing)}


def warn_of_constant_frames(clips: Clips, store: PersonFrames, frames: int) -> None:
    """Say so if every epoch sees the same frames, because of no training clip more than ``frames`` were kept."""
    training = clips.table[(clips.table.split == "train") & (clips.table.label >= 0)]
    counts = [store.count(str(clip_id)) for clip_id in training.clip_id]
    if max(counts, default=0) <= frames and (training.frames > counts).any():
        note(
            f"every epoch sees the same person frames: train.multimodal.frames is {frames}, and at most "
            f"{max(counts)} of a clip were kept\nraise detect.candidates (by default 3) and run `hpnet detect` again"
        )


def load_multimodal(folder: Path) -> HPNet:
    """A trained stream (``model.safetensors`` and ``config.json``), on the CPU and in evaluation mode.

    Raises:
        FileNotFoundError: the stream was not trained.
        ValueError: config.json lacks something, or the weights are of another network.
    """
    for name in ("model.safetensors", "config.json"):
        if not (folder / name).is_file():
            raise missing(folder / name, f"run `hpnet train {folder.name}` first")
    card, weights = folder / "config.json", folder / "model.safetensors"

    def build(known: dict[str, Any]) -> HPNet:
        return HPNet(_plain(known["network"], card))

    with offline():
        with sketching():
            sketch = load_meta(card, build)
        state = load_tensors(weights)
        require_fit(sketch, state, str(weights))  # before memory is allocated for the sizes that the card says
        model = load_meta(card, build)
    load_into(model, state, str(weights))
    return model.eval()


def _plain(network: dict[str, Any], source: Path) -> HPNetConfig:
    """The configuration of a card; X-CLIP's part is checked like a folder from an unknown source."""
    config = HPNetConfig.from_json(network)
    return replace(config, video=plain_config(config.video, XCLIPConfig, f"{source}: network.video").to_dict())
