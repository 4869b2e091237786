"""Training of the packaged pose network from scratch on rendered people: a plain loop on tensors.

Crops are cut, turned, scaled, mirrored, recoloured and covered on the device. The loss is SimCC's (Li et al., ECCV
2022): Kullback-Leibler divergence of the coordinate vectors from Gaussians around the true joint. A squared error of
the head's joint maps is added, without which a short training does not get far.

Features pooled at the joints (Eq. 3) must also carry what the head does not ask of a single cell: what a hand holds,
and where in the crop the joint is. Two linear probes read them from the tapped map at the joints, a few pixels off as
the network's own keypoints are: one names the held object and its colour (from the captions of scenes with one person;
the objects are others than the benchmark's), one gives the joint's place. Their losses are added and they are thrown
away.
"""

from __future__ import annotations

import copy
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
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
from ..core.device import has_fast_bfloat16, resolve_device, tune_allocator
from ..core.geometry import apply_affine, crop_affine, invert_affine
from ..core.skeleton import COCO_JOINTS, COCO_MIRROR
from ..estimate import networks
from ..estimate.crops import bilinear_crops, normalise, warp_crops
from ..estimate.estimator import PoseEstimator
from ..estimate.evaluate import pose_figures
from ..estimate.params import EstimateParams
from ..estimate.specs import network_spec
from ..estimate.taps import TapReader, sample_windows
from ..weights.checkpoint import load_into, load_state
from .card import Training, write_card
from .scenes import SceneShard, require_disjoint

NAME = "mannequin-simcc"
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
        ValueError: there is nobody in any scene.
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

    From random linear layers, a network of this size spends most of a short training on finding that out.
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


def train_pose(
    out: Path,
    train: Sequence[SceneShard],
    validation: Sequence[SceneShard],
    *,
    steps: int = 3000,
    batch: int = 64,
    lr: float = 1e-3,
    weight_decay: float = 0.05,
    held_weight: float = 1.0,
    place_weight: float = 4.0,
    map_weight: float = 0.5,
    device: str = "auto",
    seed: int = 0,
    frames_per_scene: int = 4,
    start: Path | None = None,
    command: str = "hpnet pretrain pose",
    on_step: Callable[[int, float], None] | None = None,
) -> Training:
    """Train mannequin-simcc, from scratch or from ``start``; write its weights (float16) and its card into ``out``.

    All frames are held on the device as bytes: 0.23 MB each at 320 x 240.

    Args:
        out: folder for mannequin-simcc.safetensors and mannequin-simcc.json.
        train, validation: scenes of disjoint seeds; validation is used once, for the card.
        held_weight: weight of the held-object probe's loss; 0 leaves it out.
        place_weight: weight of the place probe's loss; 0 leaves it out.
        map_weight: weight of :func:`map_loss`, which makes the head's 17 maps show the joints.
        start: weights of an earlier run to go on from; the card then counts its steps and seconds too.
        command: what the card says was run.
        on_step: called with the number of steps done and the loss.

    Returns:
        What the card says: data, steps, seed, seconds, PCK and OKS-AP on held-out scenes.

    Raises:
        ValueError: a scene is in training and validation.
        RuntimeError: the loss is no longer finite.
    """
    require_disjoint(train, validation)
    began = time.monotonic()
    place = resolve_device(device)
    tune_allocator()
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    spec = network_spec(NAME)
    assert spec.sigma_bins is not None
    data = load_people(train, frames_per_scene)
    frames, which, boxes, joints, known, held = (
        torch.from_numpy(value).to(place)
        for value in (data.frames, data.frame, data.boxes_xyxy_px, data.keypoints_px, data.known, data.held)
    )
    network = networks.build(spec).to(place, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    average = copy.deepcopy(network).eval()
    if start is None:
        start_as_marginals(network, spec.input_size_px, spec.split_ratio, spec.sigma_bins)
    else:
        load_into(network, load_state(start), str(start))
    average.load_state_dict(network.state_dict())
    reader = TapReader(network, [TAP, MAPS], spec.aliases)
    held_probe = HeldObjectProbe(2 * spec.head_channels).to(place)
    place_probe = PlaceProbe(2 * spec.head_channels, spec.input_size_px).to(place)
    optimiser = torch.optim.AdamW(
        _parameter_groups([network, held_probe, place_probe], weight_decay),
        lr=lr,
        betas=(0.9, 0.99),
        fused=place.type == "cuda",
    )
    holding = torch.from_numpy(
        np.flatnonzero(data.held[:, 1] >= 0)
    )  # a fifth of all people: often enough to learn from
    pool = torch.cat([torch.arange(len(which)), holding.repeat(HOLDING_EXTRA)])
    order = (pool[rows] for rows in _batches(len(pool), batch, generator))
    limit = torch.tensor(spec.input_size_px, device=place) - 1
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = lr * _schedule(step, steps)
        rows = next(order).to(place)
        affine, mirrored = random_affines(boxes[rows], spec.input_size_px, generator)
        crops = degrade(bilinear_crops(frames, which[rows], affine, spec.input_size_px), generator)
        points = crop_keypoints(joints[rows], affine, mirrored)
        names = torch.where(mirrored[:, None], known[rows][:, list(COCO_MIRROR)], known[rows])
        inside = ((points >= 0) & (points <= limit)).all(-1)
        weight = names * inside
        inputs = normalise(crops).contiguous(memory_format=torch.channels_last)
        with torch.autocast(place.type, torch.bfloat16, enabled=has_fast_bfloat16(place)):
            x, y = network(inputs)
        loss = simcc_loss(x, points[..., 0], weight, spec.split_ratio, spec.sigma_bins)
        loss = loss + simcc_loss(y, points[..., 1], weight, spec.split_ratio, spec.sigma_bins)
        loss = loss + map_weight * map_loss(reader.maps[MAPS], points, weight)
        off = PROBE_JITTER_PX * torch.randn(points.shape, generator=generator).to(place)
        read_at = torch.minimum((points + off).clamp(min=0), limit)
        at_joints = sample_windows(reader.maps[TAP], read_at, spec.input_size_px, 1)[:, :, 0, 0].float()  # (N, V, C)
        seen = (weight[:, list(WRISTS)] > 0).any(1)
        target = torch.where(seen[:, None], held[rows], -1)
        loss = loss + held_weight * held_probe(at_joints[:, list(WRISTS)], target)
        loss = loss + place_weight * place_probe(at_joints, points, weight)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        _update_average(average, network, step)
        if (step + 1) % 10 == 0 or step + 1 == steps:
            value = float(loss.detach())
            if not math.isfinite(value):
                raise RuntimeError(f"pose training: the loss is {value} at step {step + 1}; use a lower lr")
            if on_step:
                on_step(step + 1, value)
    reader.close()
    out.mkdir(parents=True, exist_ok=True)
    weights = out / spec.weights_file
    save_weights(average, weights)
    seconds = time.monotonic() - began
    earlier: dict[str, Any] = {"command": "", "steps": 0, "seconds": 0.0, "device": ""}
    if start is not None:
        earlier = read_json(start.with_suffix(".json"))
    computed_on = torch.cuda.get_device_name(place) if place.type == "cuda" else "CPU"
    devices = dict.fromkeys([*filter(None, earlier["device"].split(", then ")), computed_on])
    training = Training(
        name=NAME,
        command=f"{earlier['command']}; then {command}" if start else command,
        data=f"rendered mannequins: {_describe(train, len(which))}; held out: {_describe(validation)}; "
        f"probes on {TAP}: held object, weight {held_weight:g}; place, weight {place_weight:g}",
        steps=earlier["steps"] + steps,
        seed=seed,
        seconds=earlier["seconds"] + seconds,
        device=", then ".join(devices),
        quality=evaluate(weights, validation, device=device, frames_per_scene=frames_per_scene)
        | probe_figures(average, held_probe, place_probe, load_people(validation, frames_per_scene)),
        parameters=sum(p.numel() for p in network.parameters()),
    )
    write_card(out / f"{NAME}.json", weights, training)
    return training


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
    """PCK and OKS-AP of saved weights on held-out scenes, by way of the estimator that users run.

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
        network(normalise(crops).contiguous(memory_format=torch.channels_last))
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


def _parameter_groups(modules: Sequence[nn.Module], weight_decay: float) -> list[dict[str, object]]:
    """Weights decay; biases and batch norm do not."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up over a twentieth of the run, then a cosine down to 1 %."""
    warmup = max(1, steps // 20)
    if step < warmup:
        return (step + 1) / warmup
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _batches(count: int, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Row indices (batch,) without end; every row once per pass, and a small set repeats to fill a batch."""
    while True:
        order = torch.randperm(count, generator=generator)
        if count < batch:
            order = order.repeat(-(-batch // count))
        yield from (order[start : start + batch] for start in range(0, len(order) - batch + 1, batch))


@torch.no_grad()
def _update_average(average: nn.Module, network: nn.Module, step: int) -> None:
    """Exponential moving average of weights and batch-norm statistics, with a short memory at the start."""
    keep = 0.9995 * (1 - math.exp(-(step + 1) / 300))
    slow = [v for v in average.state_dict().values() if v.is_floating_point()]
    fast = [v for v in network.state_dict().values() if v.is_floating_point()]
    torch._foreach_lerp_(slow, fast, 1 - keep)


def _describe(shards: Sequence[SceneShard], people: int | None = None) -> str:
    seeds = [seed for shard in shards for seed in shard.seeds]
    count = "" if people is None else f", {people} people in frames"
    return f"{len(seeds)} scenes{count}, seeds {min(seeds)} to {max(seeds)}"
