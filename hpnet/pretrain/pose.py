"""Training of the packaged pose network from scratch on rendered people.

Crops are cut, turned, scaled, mirrored, recoloured and covered on the device. The loss is SimCC's (Li et al., ECCV
2022): Kullback-Leibler divergence of the coordinate vectors from Gaussians around the true joint. A squared error of
the head's joint maps is added, without which a short training does not get far.

Features pooled at the joints (Eq. 3) also need information that the head does not need in a single cell: the object in
a hand, and the position of the joint in the crop. Two linear probes read the tapped map at the joints, a few pixels
off, like the network's own keypoints. One predicts the held object and its colour (from the captions of scenes with one
person; the objects differ from the benchmark's). The other predicts the position of the joint. Their losses are added,
and the probes are not kept.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ..artifacts.files import read_json, writing
from ..core.allocator import tune_allocator
from ..core.device import has_fast_bfloat16, resolve_device
from ..core.geometry import apply_affine, crop_affine, invert_affine
from ..core.skeleton import COCO_JOINTS, COCO_MIRROR
from ..estimate import networks
from ..estimate.crops import bilinear_crops, normalise
from ..estimate.estimator import PoseEstimator
from ..estimate.evaluate import pose_figures
from ..estimate.params import EstimateParams
from ..estimate.specs import network_spec
from ..estimate.taps import TapReader, sample_windows
from ..estimate.warp import warp_crops
from ..train.averaging import moving_average, remembering
from ..train.batches import endless_batches
from ..weights.checkpoint import load_into, load_state
from .card import Training, device_name, write_card
from .scenes import SceneShard
from .steps import Job, Scenes, Settings, train_steps

NAME = "mannequin-simcc"
SETTINGS = Settings("pose", steps=3000, batch=64, lr=1e-3, weight_decay=0.05)
AVERAGE = remembering(0.9995, 300)
TAP = "h2s3"
MAPS = "head.final_layer"
OBJECTS = (
    "ball", "box", "bottle", "spoon", "remote control", "flower", "teddy bear", "kettle", "hammer", "dumbbell", "bag",
    "racket", "umbrella", "broom",
)  # fmt: skip
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey")
HELD = re.compile(rf"\b({'|'.join(COLOURS)}) ({'|'.join(OBJECTS)})")
WRISTS = (COCO_JOINTS.index("left_wrist"), COCO_JOINTS.index("right_wrist"))
STRIDE_PX, MAP_SIGMA_CELLS = 4, 1.5
"""Cell of the head's joint maps, and the width of their targets."""
PROBE_JITTER_PX = 3.0
"""Standard deviation of the distance, along x and y, between a joint and the cell that the probes read, crop pixels."""
HOLDING_EXTRA = 2
"""How many more times than others a person with a named object in hand comes up in a pass over the data."""
HIDDEN_WEIGHT = 0.3
"""Weight in the loss of a joint that is in the crop but hidden."""
MIN_SIDE_PX, MIN_VISIBLE = 12.0, 4
"""People with a shorter box side, or fewer visible joints, are left out."""


@dataclass(frozen=True)
class People:
    """Frames and the P people in them.

    Attributes:
        frames: (F, H, W, 3) uint8 RGB.
        frame: (P,) int64, the frame of each person.
        boxes_xyxy_px: (P, 4) float32.
        keypoints_px: (P, 17, 2) float32; zeros where unknown.
        known: (P, 17) float32 weight of a joint: 1 visible, less where hidden, 0 unknown.
        held: (P, 2) int64, object (0 nothing, then :data:`OBJECTS`) and colour; -1 where not known.
    """

    frames: NDArray[np.uint8]
    frame: NDArray[np.int64]
    boxes_xyxy_px: NDArray[np.float32]
    keypoints_px: NDArray[np.float32]
    known: NDArray[np.float32]
    held: NDArray[np.int64]


def held_object(caption: str) -> tuple[int, int]:
    """Object and colour that a caption of one person names: (0, -1) for none, objects count from 1."""
    match = HELD.search(caption)
    return (OBJECTS.index(match[2]) + 1, COLOURS.index(match[1])) if match else (0, -1)


def load_people(shards: Sequence[SceneShard], frames_per_scene: int = 4, threads: int = 8) -> People:
    """Decode ``frames_per_scene`` frames, uniform in time, of every scene, with the people who can be seen in them.

    Raises:
        ValueError: no scene has a person.
    """
    jobs = [(shard, scene) for shard in shards for scene in range(len(shard))]
    if not jobs:
        raise ValueError("load_people: no scenes")
    shape = jobs[0][0].shape
    count = min(frames_per_scene, shape[0])
    which = ((np.arange(count) + 0.5) * shape[0] / count).astype(int).tolist()
    frames = np.empty((len(jobs) * count, *shape[1:]), dtype=np.uint8)

    def load(position: int) -> None:
        shard, scene = jobs[position]
        frames[position * count : (position + 1) * count] = shard.frames(scene, which)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(load, range(len(jobs))))
    rows: list[tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]] = []
    held: list[NDArray[np.int64]] = []
    for position, (shard, scene) in enumerate(jobs):
        boxes = shard.boxes_xyxy_px(scene)[which]  # (t, M, 4)
        keypoints, visible = shard.keypoints_px(scene)[which], shard.visible(scene)[which]
        sides = np.nan_to_num(boxes[..., 2:] - boxes[..., :2])
        frame, person = np.nonzero((sides.min(-1) >= MIN_SIDE_PX) & (visible.sum(-1) >= MIN_VISIBLE))
        joints = keypoints[frame, person]
        finite = np.isfinite(joints).all(-1)
        known = np.where(visible[frame, person], 1.0, HIDDEN_WEIGHT) * finite
        rows.append((frame + position * count, boxes[frame, person], np.nan_to_num(joints), known))
        alone = boxes.shape[1] == 1
        held.append(np.tile(held_object(shard.captions[scene]) if alone else (-1, -1), (len(frame), 1)))
    where, boxes, joints, known = (np.concatenate(column) for column in zip(*rows, strict=True))
    if len(where) == 0:
        raise ValueError(f"load_people: nobody can be seen in {len(jobs)} scenes")
    return People(
        frames,
        where.astype(np.int64),
        boxes.astype(np.float32),
        joints.astype(np.float32),
        known.astype(np.float32),
        np.concatenate(held).astype(np.int64),
    )


# --- augmentation -----------------------------------------------------------------------------------------------------


def random_affines(
    boxes_xyxy_px: Tensor, input_size_px: tuple[int, int], generator: torch.Generator, box_scale: float = 1.25
) -> tuple[Tensor, Tensor]:
    """Crops around boxes, scaled by 0.7 to 1.4, shifted by up to 15 % of a side, turned (sd 20 degrees), half mirrored.

    Args:
        boxes_xyxy_px: (N, 4).
        input_size_px: (width, height).
        generator: on the CPU, so that the same seed gives the same choices on every device.

    Returns:
        The affine from crop to frame pixels (N, 2, 3), and which crops are mirrored (N,) bool.
    """
    count, device = len(boxes_xyxy_px), boxes_xyxy_px.device
    width, height = input_size_px
    draw = torch.rand(count, 6, generator=generator)
    turn = torch.randn(count, generator=generator) * math.radians(20) * (draw[:, 0] < 0.7)
    mirrored = draw[:, 1] < 0.5
    factor = torch.exp((draw[:, 2] * 2 - 1) * math.log(1.4))
    shift = (draw[:, 3:5] * 2 - 1) * 0.15
    turn, factor, shift, mirrored = (v.to(device) for v in (turn, factor, shift, mirrored))
    sides = (boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]).clamp(min=1)
    scale = torch.maximum(sides[:, 0] / width, sides[:, 1] / height) * box_scale * factor  # frame px per crop px
    sign = torch.where(mirrored, -1.0, 1.0)
    cos, sin = torch.cos(turn) * scale, torch.sin(turn) * scale
    # (N, 2, 2): turn and scale after mirroring x
    linear = torch.stack([torch.stack([cos * sign, -sin], -1), torch.stack([sin * sign, cos], -1)], -2)
    centre = (boxes_xyxy_px[:, :2] + boxes_xyxy_px[:, 2:]) / 2 + shift * sides
    middle = torch.tensor([(width - 1) / 2, (height - 1) / 2], device=device)
    offset = centre - linear @ middle
    return torch.cat([linear, offset[..., None]], -1), mirrored


def crop_keypoints(keypoints_px: Tensor, crop_to_frame: Tensor, mirrored: Tensor) -> Tensor:
    """Joints (N, 17, 2) from frame to crop pixels; in mirrored crops left and right change names."""
    linear, offset = crop_to_frame[:, :, :2], crop_to_frame[:, :, 2]
    inverse = torch.linalg.inv(linear)
    points = (keypoints_px - offset[:, None]) @ inverse.transpose(1, 2)
    return torch.where(mirrored[:, None, None], points[:, list(COCO_MIRROR)], points)


def degrade(crops: Tensor, generator: torch.Generator) -> Tensor:
    """Light, gamma, colour, saturation, blur, noise, low resolution and patches on crops 0..255 (N, 3, h, w)."""
    count, _, height, width = crops.shape
    device = crops.device

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        return (torch.rand(count, channels, 1, 1, generator=generator) * (high - low) + low).to(device)

    def some(probability: float) -> Tensor:
        return (torch.rand(count, 1, 1, 1, generator=generator) < probability).to(device)

    images = crops / 255
    small = F.interpolate(F.avg_pool2d(images, 2), size=(height, width), mode="bilinear", align_corners=False)
    images = torch.where(some(0.12), small, images)
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    images = torch.where(some(0.15), blurred, images)
    light = torch.where(some(0.15), draw(0.1, 0.5), torch.where(some(0.1), draw(1.4, 2.4), draw(0.7, 1.35)))
    images = (images * light * draw(0.88, 1.12, 3)).clamp(1e-4, 1)
    images = torch.where(some(0.3), images ** draw(0.7, 1.5), images)
    mean = images.mean((2, 3), keepdim=True)
    images = (images - mean) * draw(0.75, 1.25) + mean
    luma = images.mean(1, keepdim=True)
    images = (images - luma) * torch.where(some(0.1), draw(0.0, 0.5), draw(0.7, 1.3)) + luma
    seed = int(torch.randint(0, 2**31 - 1, (1,), generator=generator))
    noise = torch.randn(images.shape, device=device, generator=torch.Generator(device).manual_seed(seed))
    images = images + noise * torch.where(some(0.25), draw(0.02, 0.12), draw(0.0, 0.02))
    x = torch.arange(width, device=device)
    y = torch.arange(height, device=device)[:, None]
    for _ in range(2):
        left, top = draw(-0.1, 0.9) * width, draw(-0.1, 0.9) * height
        wide, tall = draw(0.08, 0.4) * width, draw(0.08, 0.35) * height
        inside = (x >= left) & (x < left + wide) & (y >= top) & (y < top + tall) & some(0.2)  # (N, 1, h, w)
        images = torch.where(inside, draw(0, 1, 3).expand_as(images), images)
    return images.clamp(0, 1) * 255


# --- training ---------------------------------------------------------------------------------------------------------


def simcc_loss(vectors: Tensor, target_px: Tensor, weight: Tensor, split_ratio: float, sigma_bins: float) -> Tensor:
    """Cross-entropy of vectors (N, V, bins) against Gaussians around ``target_px`` (N, V), weighted (N, V)."""
    bins = torch.arange(vectors.shape[-1], device=vectors.device, dtype=torch.float32)
    distance = (bins - target_px[..., None] * split_ratio) / sigma_bins  # (N, V, bins)
    target = torch.softmax(-0.5 * distance.square(), dim=-1)
    each = -(target * torch.log_softmax(vectors.float(), dim=-1)).sum(-1)
    return (each * weight).sum() / weight.sum().clamp(min=1)


def start_as_marginals(
    network: nn.Module, input_size_px: tuple[int, int], split_ratio: float, sigma_bins: float
) -> None:
    """Set the SimCC head's two linear layers to what they are meant to learn: sums of the joint maps along y and x.

    With random linear layers, a network of this size needs most of a short training run to learn that.
    """
    head: Any = network.head
    columns, rows = input_size_px[0] // STRIDE_PX, input_size_px[1] // STRIDE_PX
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    for layer, cells in ((head.mlp_head_x, x), (head.mlp_head_y, y)):
        centres_bins = (cells.flatten() * STRIDE_PX + (STRIDE_PX - 1) / 2) * split_ratio  # (rows * columns,)
        bins = torch.arange(layer.out_features)
        distance = (bins[:, None] - centres_bins) / sigma_bins
        with torch.no_grad():
            layer.weight.copy_(torch.exp(-0.5 * distance.square()))
            layer.bias.zero_()


def map_loss(maps: Tensor, target_px: Tensor, weight: Tensor) -> Tensor:
    """Squared error of the head's joint maps (N, V, h, w) from Gaussians of 1.5 cells, summed over cells.

    Args:
        target_px: joints (N, V, 2), crop pixels.
        weight: (N, V).
    """
    rows = torch.arange(maps.shape[2], device=maps.device)
    columns = torch.arange(maps.shape[3], device=maps.device)
    cells = (target_px - (STRIDE_PX - 1) / 2) / STRIDE_PX
    along_x = torch.exp(-0.5 * ((columns - cells[..., :1]) / MAP_SIGMA_CELLS).square())  # (N, V, w)
    along_y = torch.exp(-0.5 * ((rows - cells[..., 1:]) / MAP_SIGMA_CELLS).square())  # (N, V, h)
    target = along_y[..., :, None] * along_x[..., None, :]  # (N, V, h, w)
    each = (maps.float() - target).square().sum((2, 3))
    return (each * weight).sum() / weight.sum().clamp(min=1)


class HeldObjectProbe(nn.Module):
    """Names the held object and its colour from the tapped map at the two wrists; the surer wrist decides."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.kinds = nn.Linear(channels, len(OBJECTS) + 1)
        self.colours = nn.Linear(channels, len(COLOURS))

    def logits(self, at_wrists: Tensor) -> tuple[Tensor, Tensor]:
        """Kinds (N, 15) and colours (N, 11) from features (N, 2, C)."""
        return self.kinds(at_wrists).logsumexp(1), self.colours(at_wrists).logsumexp(1)  # (N, 2, K) -> (N, K)

    def forward(self, at_wrists: Tensor, held: Tensor) -> Tensor:
        """Loss of features (N, 2, C) against ``held`` (N, 2); rows of -1 do not count."""
        parts = [
            F.cross_entropy(logits, target, ignore_index=-1, reduction="sum") / (target >= 0).sum().clamp(min=1)
            for logits, target in zip(self.logits(at_wrists), held.unbind(1), strict=True)
        ]
        return parts[0] + parts[1]


class PlaceProbe(nn.Module):
    """Tells from the tapped map at a joint where in the crop the joint is; one linear layer for all joints."""

    def __init__(self, channels: int, input_size_px: tuple[int, int]) -> None:
        super().__init__()
        self.place = nn.Linear(channels, 2)
        self.size_px: Tensor
        self.register_buffer("size_px", torch.tensor(input_size_px, dtype=torch.float32))

    def forward(self, at_joints: Tensor, points_px: Tensor, weight: Tensor) -> Tensor:
        """Mean distance along x and y, in shares of the crop, of features (N, V, C) from ``points_px`` (N, V, 2)."""
        wanted = points_px / self.size_px - 0.5
        each = (self.place(at_joints) - wanted).abs().mean(-1)  # (N, V)
        return (each * weight).sum() / weight.sum().clamp(min=1)


@dataclass(frozen=True)
class LossWeights:
    """Weights of what is added to SimCC's loss; 0 leaves it out.

    Attributes:
        held: of the held-object probe.
        place: of the place probe.
        maps: of :func:`map_loss`, which makes the head's 17 maps show the joints.
    """

    held: float = 1.0
    place: float = 4.0
    maps: float = 0.5


def train_pose(
    out: Path,
    scenes: Scenes,
    settings: Settings = SETTINGS,
    job: Job | None = None,
    weights: LossWeights | None = None,
    start: Path | None = None,
) -> Training:
    """Train mannequin-simcc, from scratch or from ``start``; write its weights (float16) and its card into ``out``.

    All frames are held on the device as bytes: 0.23 MB each at 320 x 240.

    Args:
        out: folder for mannequin-simcc.safetensors and mannequin-simcc.json.
        start: weights of an earlier run to start from; the card then counts its steps and seconds too.

    Returns:
        Content of the card: data, steps, seed, seconds, PCK and OKS-AP on held-out scenes.

    Raises:
        RuntimeError: the loss is no longer finite.
    """
    job, weights = job or Job(), weights or LossWeights()
    began = time.monotonic()
    place = resolve_device(job.device)
    tune_allocator()
    torch.manual_seed(job.seed)
    generator = torch.Generator().manual_seed(job.seed)
    spec = network_spec(NAME)
    data = load_people(scenes.train, scenes.frames_per_scene)
    network = networks.build(spec).to(place, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    if start is None:
        assert spec.sigma_bins is not None
        start_as_marginals(network, spec.input_size_px, spec.split_ratio, spec.sigma_bins)
    else:
        load_into(network, load_state(start), str(start))
    average = moving_average(network, AVERAGE)
    average.module.eval()
    reader = TapReader(network, [TAP, MAPS], spec.aliases)
    probes = (
        HeldObjectProbe(2 * spec.head_channels).to(place),
        PlaceProbe(2 * spec.head_channels, spec.input_size_px).to(place),
    )
    loss_of = _Loss(network, reader, probes, _on_device(data, place), weights, generator)
    # a fifth of all people hold an object, which is enough to learn from
    holding = torch.from_numpy(np.flatnonzero(data.held[:, 1] >= 0))
    pool = torch.cat([torch.arange(len(data.frame)), holding.repeat(HOLDING_EXTRA)])
    rows = (pool[chosen] for chosen in endless_batches(len(pool), settings.batch, generator))
    train_steps([network, *probes], average, loss_of, rows, settings, job)
    reader.close()
    out.mkdir(parents=True, exist_ok=True)
    file = out / spec.weights_file
    save_weights(average.module, file)
    seconds = time.monotonic() - began
    earlier: dict[str, Any] = {"command": "", "steps": 0, "seconds": 0.0, "device": ""}
    if start is not None:
        earlier = read_json(start.with_suffix(".json"))
    devices = dict.fromkeys([*filter(None, earlier["device"].split(", then ")), device_name(place)])
    held_out = load_people(scenes.validation, scenes.frames_per_scene)
    quality = evaluate(file, scenes.validation, device=job.device, frames_per_scene=scenes.frames_per_scene)
    training = Training(
        name=NAME,
        command=f"{earlier['command']}; then {job.command}" if start else job.command,
        data=f"{scenes.described(f'{len(data.frame)} people in frames')}; "
        f"probes on {TAP}: held object, weight {weights.held:g}; place, weight {weights.place:g}",
        steps=earlier["steps"] + settings.steps,
        seed=job.seed,
        seconds=earlier["seconds"] + seconds,
        device=", then ".join(devices),
        quality=quality | probe_figures(average.module, *probes, held_out),
        parameters=sum(p.numel() for p in network.parameters()),
    )
    write_card(out / f"{NAME}.json", file, training)
    return training


def _on_device(people: People, device: torch.device) -> dict[str, Tensor]:
    """Every array of the people, by name."""
    return {name: torch.from_numpy(value).to(device) for name, value in vars(people).items()}


@dataclass(frozen=True)
class _Loss:
    """The loss of a batch of people: crops are drawn, seen by the network and read by the probes."""

    network: nn.Module
    reader: TapReader
    probes: tuple[HeldObjectProbe, PlaceProbe]
    people: dict[str, Tensor]
    weights: LossWeights
    generator: torch.Generator

    def __call__(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of people (n,) -> the loss, twice."""
        spec, people, generator = network_spec(NAME), self.people, self.generator
        assert spec.sigma_bins is not None
        place = people["frames"].device
        limit = torch.tensor(spec.input_size_px, device=place) - 1
        rows = chosen.to(place)
        affine, mirrored = random_affines(people["boxes_xyxy_px"][rows], spec.input_size_px, generator)
        crops = bilinear_crops(people["frames"], people["frame"][rows], affine, spec.input_size_px)
        crops = degrade(crops, generator)
        points = crop_keypoints(people["keypoints_px"][rows], affine, mirrored)
        known = people["known"][rows]
        names = torch.where(mirrored[:, None], known[:, list(COCO_MIRROR)], known)
        inside = ((points >= 0) & (points <= limit)).all(-1)
        weight = names * inside
        inputs = normalise(crops, spec.mean, spec.sd).contiguous(memory_format=torch.channels_last)
        with torch.autocast(place.type, torch.bfloat16, enabled=has_fast_bfloat16(place)):
            x, y = self.network(inputs)
        loss = simcc_loss(x, points[..., 0], weight, spec.split_ratio, spec.sigma_bins)
        loss = loss + simcc_loss(y, points[..., 1], weight, spec.split_ratio, spec.sigma_bins)
        loss = loss + self.weights.maps * map_loss(self.reader.maps[MAPS], points, weight)
        off = PROBE_JITTER_PX * torch.randn(points.shape, generator=generator).to(place)
        read_at = torch.minimum((points + off).clamp(min=0), limit)
        windows = sample_windows(self.reader.maps[TAP], read_at, spec.input_size_px, 1)
        at_joints = windows[:, :, 0, 0].float()  # (N, V, C)
        seen = (weight[:, list(WRISTS)] > 0).any(1)
        target = torch.where(seen[:, None], people["held"][rows], -1)
        held_probe, place_probe = self.probes
        loss = loss + self.weights.held * held_probe(at_joints[:, list(WRISTS)], target)
        loss = loss + self.weights.place * place_probe(at_joints, points, weight)
        return loss, loss


def save_weights(network: nn.Module, file: Path) -> None:
    """Write a network's tensors, floating ones as float16, in one step."""
    state = {
        name: (value.half() if value.is_floating_point() else value).cpu().contiguous()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    temporary = file.with_suffix(".tmp")
    with writing(temporary):
        save_file(state, temporary)
    temporary.replace(file)


def evaluate(
    weights: Path,
    validation: Sequence[SceneShard],
    *,
    device: str = "auto",
    frames_per_scene: int = 4,
    jitter: float = 0.05,
    seed: int = 0,
) -> dict[str, float]:
    """PCK and OKS-AP of saved weights on held-out scenes, with the estimator that users run.

    Args:
        jitter: boxes are the true ones, each edge moved by a normal error of this share of the side, as a detector's.
    """
    params = EstimateParams(model=NAME, weights=str(weights), taps=(TAP,), window=1)
    estimator = PoseEstimator(params, device)
    people = load_people(validation, frames_per_scene)
    sides = people.boxes_xyxy_px[:, 2:] - people.boxes_xyxy_px[:, :2]
    error = np.random.default_rng(seed).normal(0, jitter, people.boxes_xyxy_px.shape) * np.tile(sides, 2)
    boxes = people.boxes_xyxy_px + error
    keypoints = np.zeros_like(people.keypoints_px)
    scores = np.zeros(people.known.shape, np.float32)
    size = (people.frames.shape[2], people.frames.shape[1])
    affines = estimator.frame_to_crop(boxes.astype(np.float64), size)
    for start in range(0, len(boxes), estimator.batch_size):
        rows = slice(start, start + estimator.batch_size)
        crops = np.concatenate(
            [
                warp_crops(people.frames[frame], affine[None], estimator.spec.input_size_px)
                for frame, affine in zip(people.frame[rows], affines[rows], strict=True)
            ]
        )
        poses = estimator(crops)
        keypoints[rows] = apply_affine(invert_affine(affines[rows]), poses.keypoints_crop_px)
        scores[rows] = poses.scores
    figures = pose_figures(
        keypoints, scores, np.ones(len(boxes), bool), people.keypoints_px, people.known == 1, people.boxes_xyxy_px
    )
    return {name: round(figures[name], 4) for name in ("pck_torso", "pck_box", "oks_ap")}


@torch.inference_mode()
def probe_figures(
    network: nn.Module, held_probe: HeldObjectProbe, place_probe: PlaceProbe, people: People, batch: int = 64
) -> dict[str, float]:
    """What the probes read at the true joints of people: ``held_kind`` and ``held_colour``, the shares of held objects
    named rightly (of 15 and 11), and ``place_px``, the mean distance along x and y from the joint."""
    spec = network_spec(NAME)
    place = next(network.parameters()).device
    reader = TapReader(network, [TAP], spec.aliases)
    to_crop = crop_affine(people.boxes_xyxy_px.astype(np.float64), spec.input_size_px)
    points = torch.from_numpy(apply_affine(to_crop, people.keypoints_px)).float()
    back = torch.from_numpy(invert_affine(to_crop)).float()
    frames, known, held = (torch.from_numpy(v) for v in (people.frames, people.known, people.held))
    right, counted, distance, seen = torch.zeros(2), torch.zeros(2), 0.0, 0
    for start in range(0, len(points), batch):
        rows = slice(start, start + batch)
        crops = bilinear_crops(frames.to(place), torch.from_numpy(people.frame[rows]).to(place), back[rows].to(place),
                               spec.input_size_px)  # fmt: skip
        network(normalise(crops, spec.mean, spec.sd).contiguous(memory_format=torch.channels_last))
        at_joints = sample_windows(reader.maps[TAP], points[rows].to(place), spec.input_size_px, 1)[:, :, 0, 0].float()
        for k, logits in enumerate(held_probe.logits(at_joints[:, list(WRISTS)])):
            target = held[rows, k]
            # Index 0 of the kinds is an empty hand, which is no object to be named.
            some = (target >= 0) & (held[rows, 0] > 0) & (known[rows][:, list(WRISTS)] == 1).any(1)
            right[k] += (logits.argmax(1).cpu() == target)[some].sum()
            counted[k] += some.sum()
        visible = known[rows] == 1
        size = torch.tensor(spec.input_size_px)
        found = (place_probe.place(at_joints).cpu() + 0.5) * size
        distance += float((found - points[rows]).abs().mean(-1)[visible].sum())
        seen += int(visible.sum())
    reader.close()
    kind, colour = (right / counted.clamp(min=1)).tolist()
    return {"held_kind": round(kind, 4), "held_colour": round(colour, 4), "place_px": round(distance / max(seen, 1), 2)}
