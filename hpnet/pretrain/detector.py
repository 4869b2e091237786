"""Training of the packaged detector from scratch on rendered scenes."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..core.allocator import tune_allocator
from ..core.device import has_fast_bfloat16, resolve_device
from ..core.metrics import average_precision
from ..detect.families.mannequin import build_network, load_network, packaged_config, save_network
from ..detect.library import ultralytics
from ..detect.yolo import UltralyticsDetector
from ..train.averaging import moving_average, remembering
from ..train.batches import endless_batches
from .card import Training, device_name, write_card
from .scenes import SceneShard
from .steps import Job, Scenes, Settings, train_steps

NAME = "mannequin-yolo"
SETTINGS = Settings("detector", steps=2400, batch=32, lr=1e-3, weight_decay=0.02, clip_norm=10.0)
AVERAGE = remembering(0.9995, 300)
MIN_VISIBLE_PX = 4.0
"""Boxes with a side shorter than this after augmentation are no targets."""
MIN_VISIBLE_JOINTS = 3
"""People with fewer visible joints are hidden or outside the frame, and are not targets."""


@dataclass(frozen=True)
class DetectionImages:
    """Images with true boxes.

    Attributes:
        images: (N, H, W, 3) uint8 RGB.
        boxes_xyxy_px: (N, M, 4) float32; absent people have boxes without area.
    """

    images: NDArray[np.uint8]
    boxes_xyxy_px: NDArray[np.float32]


def load_images(shards: Sequence[SceneShard], frames_per_scene: int = 4, threads: int = 8) -> DetectionImages:
    """Decode ``frames_per_scene`` frames, uniform in time, of every scene.

    Boxes are clipped to the frame; people with fewer than ``MIN_VISIBLE_JOINTS`` joints in sight have none.
    """
    jobs = [(shard, scene) for shard in shards for scene in range(len(shard))]
    if not jobs:
        raise ValueError("load_images: no scenes")
    shape = jobs[0][0].shape
    count = min(frames_per_scene, shape[0])
    which = ((np.arange(count) + 0.5) * shape[0] / count).astype(int).tolist()
    people = max(shard.boxes_xyxy_px(scene).shape[1] for shard, scene in jobs)
    images = np.empty((len(jobs) * count, *shape[1:]), dtype=np.uint8)
    boxes = np.zeros((len(jobs) * count, people, 4), dtype=np.float32)

    def load(position: int) -> None:
        shard, scene = jobs[position]
        rows = slice(position * count, (position + 1) * count)
        images[rows] = shard.frames(scene, which)
        found = shard.boxes_xyxy_px(scene)[which]  # (t, M, 4)
        seen = shard.visible(scene)[which].sum(-1) >= MIN_VISIBLE_JOINTS  # (t, M)
        boxes[rows, : found.shape[1]] = np.where(seen[..., None], np.nan_to_num(found), 0)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(load, range(len(jobs))))
    boxes[..., 0::2] = boxes[..., 0::2].clip(0, shape[2])
    boxes[..., 1::2] = boxes[..., 1::2].clip(0, shape[1])
    return DetectionImages(images, boxes)


# --- augmentation -----------------------------------------------------------------------------------------------------


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) * (high - low) + low


def augment(
    images: Tensor, boxes: Tensor, canvas: tuple[int, int], generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Random flip, scale, shift, colour, blur, noise and occlusion, each image on its own.

    Args:
        images: (N, 3, H, W) uint8 RGB.
        boxes: (N, M, 4) xyxy pixels.
        canvas: height and width of the result.
        generator: on the CPU, so that the same seed gives the same choices on every device.

    Returns:
        Images (N, 3, h, w) float32 in 0..1, boxes (N, M, 4) xyxy in canvas pixels, and which of them are targets
        (N, M) bool.
    """
    count, _, height, width = images.shape
    device = images.device
    # Canvas pixel = scale * (image pixel - centre) + canvas centre + shift; a negative x scale mirrors.
    fit = min(canvas[1] / width, canvas[0] / height)
    scale = fit * torch.exp(_uniform(count, math.log(0.45), math.log(1.9), generator))
    plain = torch.rand(count, generator=generator) < 0.3
    scale = torch.where(plain, torch.full_like(scale, fit), scale)
    mirrored = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    # Shifts keep some of the image on the canvas: smaller images move freely, larger ones are cropped.
    free_x = (canvas[1] - scale * width).abs() / 2
    free_y = (canvas[0] - scale * height).abs() / 2
    shift_x = torch.where(plain, 0.0, _uniform(count, -1, 1, generator) * free_x)
    shift_y = torch.where(plain, 0.0, _uniform(count, -1, 1, generator) * free_y)
    scale, mirrored, shift_x, shift_y = (v.to(device) for v in (scale, mirrored, shift_x, shift_y))

    # The inverse map in the -1..1 coordinates of affine_grid
    theta = torch.zeros(count, 2, 3, device=device)
    theta[:, 0, 0] = mirrored * canvas[1] / (scale * width)
    theta[:, 0, 2] = -mirrored * shift_x * 2 / (scale * width)
    theta[:, 1, 1] = canvas[0] / (scale * height)
    theta[:, 1, 2] = -shift_y * 2 / (scale * height)
    grid = functional.affine_grid(theta, [count, 3, *canvas], align_corners=False)
    # Shifted by the grey of letterbox, so that grid_sample's zeros outside become that grey
    grey = 114 / 255
    drawn = functional.grid_sample(images.float() / 255 - grey, grid, align_corners=False) + grey

    centre = torch.tensor([width / 2, height / 2], device=device)
    target = torch.stack([canvas[1] / 2 + shift_x, canvas[0] / 2 + shift_y], -1)[:, None]  # (N, 1, 2)
    factor = torch.stack([mirrored * scale, scale], -1)[:, None]  # (N, 1, 2)
    first = (boxes[..., :2] - centre) * factor + target
    second = (boxes[..., 2:] - centre) * factor + target
    moved = torch.cat([torch.minimum(first, second), torch.maximum(first, second)], -1)  # (N, M, 4)
    limit = torch.tensor([canvas[1], canvas[0], canvas[1], canvas[0]], device=device, dtype=moved.dtype)
    clipped = torch.minimum(moved.clamp(min=0), limit)
    before = (moved[..., 2:] - moved[..., :2]).clamp(min=0).prod(-1)
    sides = clipped[..., 2:] - clipped[..., :2]
    targets = (sides.amin(-1) >= MIN_VISIBLE_PX) & (sides.prod(-1) >= 0.15 * before)

    drawn = _occlude(drawn, clipped, generator)
    return _degrade(drawn, generator), clipped, targets


def _occlude(images: Tensor, boxes: Tensor, generator: torch.Generator) -> Tensor:
    """Cover part of some people by a plain or noisy rectangle, at most about two fifths of the box's area."""
    count, _, height, width = images.shape
    chosen = torch.rand(count, generator=generator) < 0.3
    person = (torch.rand(count, generator=generator) * boxes.shape[1]).long()
    part = _uniform(count, 0.2, 0.65, generator), _uniform(count, 0.2, 0.65, generator)
    place = torch.rand(count, generator=generator), torch.rand(count, generator=generator)
    colour = torch.rand(count, 3, 1, 1, generator=generator)
    noise = torch.rand(1, 3, height, width, generator=generator) - 0.5
    noisy = (torch.rand(count, 1, 1, 1, generator=generator) < 0.5).float()
    box = boxes.gather(1, person.to(boxes.device)[:, None, None].expand(-1, 1, 4))[:, 0].cpu()  # (N, 4)
    sides = box[:, 2:] - box[:, :2]
    left = box[:, 0] + place[0] * sides[:, 0] * (1 - part[0])
    top = box[:, 1] + place[1] * sides[:, 1] * (1 - part[1])
    right, bottom = left + part[0] * sides[:, 0], top + part[1] * sides[:, 1]
    x, y = torch.arange(width)[None], torch.arange(height)[None]
    inside_x = (x >= left[:, None]) & (x < right[:, None])  # (N, W)
    inside_y = (y >= top[:, None]) & (y < bottom[:, None])  # (N, H)
    covered = (inside_y[:, None, :, None] & inside_x[:, None, None, :] & chosen[:, None, None, None]).to(images.device)
    paint = colour.to(images.device) + (noisy * 0.4).to(images.device) * noise.to(images.device)
    return torch.where(covered, paint.clamp(0, 1), images)


def _degrade(images: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, contrast, gamma, colour cast, saturation, blur and noise."""
    count = len(images)

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        values = torch.rand(count, channels, 1, 1, generator=generator) * (high - low) + low
        return values.to(images.device)

    def some(probability: float) -> Tensor:
        return (torch.rand(count, 1, 1, 1, generator=generator) < probability).to(images.device)

    dark = torch.where(some(0.15), draw(0.1, 0.5), draw(0.6, 1.4))
    images = (images * dark * draw(0.85, 1.15, 3)).clamp(0, 1)
    images = torch.where(some(0.4), images.clamp(min=1e-4) ** draw(0.6, 1.7), images)
    mean = images.mean((1, 2, 3), keepdim=True)
    images = (images - mean) * draw(0.6, 1.4) + mean
    luma = images.mean(1, keepdim=True)
    images = (images - luma) * draw(0.0, 1.6) + luma
    blurred = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    stronger = functional.avg_pool2d(functional.pad(blurred, (2, 2, 2, 2), mode="replicate"), 5, 1)
    images = torch.where(some(0.25), torch.where(some(0.4), stronger, blurred), images)
    spread = torch.where(some(0.4), draw(0.0, 0.12), draw(0.0, 0.02))
    seed = int(torch.randint(0, 2**31 - 1, (1,), generator=generator))
    noise = torch.randn(images.shape, device=images.device, generator=torch.Generator(images.device).manual_seed(seed))
    return (images + noise * spread).clamp(0, 1)


# --- training ---------------------------------------------------------------------------------------------------------


def detection_loss(criterion: Any, predictions: Any, boxes: Tensor, targets: Tensor, canvas: tuple[int, int]) -> Tensor:
    """The loss of YOLOv8 (task-aligned assignment; CIoU, BCE and distribution focal loss), mean over the batch.

    Args:
        criterion: ultralytics' loss, bound to the network.
        predictions: output of the network in training mode.
        boxes: (N, M, 4) xyxy canvas pixels.
        targets: (N, M) bool, the boxes that count.
        canvas: height and width.
    """
    image, person = targets.nonzero(as_tuple=True)
    chosen = boxes[image, person]  # (B, 4)
    size = torch.tensor([canvas[1], canvas[0]], device=boxes.device, dtype=boxes.dtype)
    centres = (chosen[:, :2] + chosen[:, 2:]) / 2 / size
    sides = (chosen[:, 2:] - chosen[:, :2]) / size
    batch = {
        "batch_idx": image.to(boxes.dtype),
        "cls": torch.zeros(len(image), 1, device=boxes.device),
        "bboxes": torch.cat([centres, sides], 1),
    }
    full = {k: [f.float() for f in v] if isinstance(v, list) else v.float() for k, v in predictions.items()}
    loss, _ = criterion(full, batch)
    total: Tensor = loss.sum() / len(boxes)
    return total


def train_detector(
    out: Path, scenes: Scenes, settings: Settings = SETTINGS, job: Job | None = None, image_size: int = 256
) -> Training:
    """Train mannequin-yolo from scratch and write its weights and its card into ``out``.

    All frames are held on the device as bytes: 0.23 MB each at 320 x 240.

    Args:
        out: folder for mannequin-yolo.safetensors (float16) and mannequin-yolo.json.
        image_size: longer side of the training images.

    Returns:
        Content of the card: data, steps, seed, seconds, AP at 0.5 and 0.75 on held-out scenes.

    Raises:
        RuntimeError: the loss is no longer finite.
    """
    job = job or Job()
    began = time.monotonic()
    place = resolve_device(job.device)
    tune_allocator()
    torch.manual_seed(job.seed)
    generator = torch.Generator().manual_seed(job.seed)
    data = load_images(scenes.train, scenes.frames_per_scene)
    # (N, H, W, 3) -> (N, 3, H, W)
    images = torch.from_numpy(data.images).to(place).permute(0, 3, 1, 2)
    boxes = torch.from_numpy(data.boxes_xyxy_px).to(place)
    network = build_network(packaged_config()).to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = moving_average(network, AVERAGE)
    criterion = ultralytics().DetectionLoss(network)
    # Benchmark frames are 4:3 landscape; other shapes come too, so that the network does not learn the shape.
    short = max(32, round(image_size * 0.75 / 32) * 32)
    canvases = [(short, image_size)] * 3 + [(image_size, image_size), (image_size, short)]

    def loss_of(chosen: Tensor) -> tuple[Tensor, Tensor]:
        rows = chosen.to(place)
        canvas = canvases[int(torch.randint(len(canvases), (1,), generator=generator))]
        inputs, moved, targets = augment(images[rows], boxes[rows], canvas, generator)
        with torch.autocast(place.type, torch.bfloat16, enabled=has_fast_bfloat16(place)):
            predictions = network(inputs.contiguous(memory_format=torch.channels_last))
        loss = detection_loss(criterion, predictions, moved, targets, canvas)
        return loss, loss

    network.train()
    train_steps([network], average, loss_of, endless_batches(len(images), settings.batch, generator), settings, job)
    average.module.eval()
    average.module.names = {0: "person"}  # type: ignore[assignment]
    out.mkdir(parents=True, exist_ok=True)
    weights = out / f"{NAME}.safetensors"
    save_network(average.module, weights)
    seconds = time.monotonic() - began
    quality = evaluate(
        weights,
        scenes.validation,
        image_size=image_size,
        device=job.device,
        frames_per_scene=scenes.frames_per_scene,
    )
    training = Training(
        name=NAME,
        command=job.command,
        data=scenes.described(f"{len(images)} images"),
        steps=settings.steps,
        seed=job.seed,
        seconds=seconds,
        device=device_name(place),
        quality=quality,
        parameters=sum(p.numel() for p in network.parameters()),
    )
    write_card(out / f"{NAME}.json", weights, training)
    return training


def evaluate(
    weights: Path,
    validation: Sequence[SceneShard],
    *,
    image_size: int = 320,
    device: str = "auto",
    frames_per_scene: int = 4,
) -> dict[str, float]:
    """AP at IoU 0.5 and 0.75 of saved weights on held-out scenes, with the detector that users run."""
    network = load_network(packaged_config(), weights)
    detector = UltralyticsDetector(network, image_size=image_size, confidence=0.01, iou=0.6, device=device)
    data = load_images(validation, frames_per_scene)
    found = [d for start in range(0, len(data.images), 64) for d in detector.detect(data.images[start : start + 64])]
    truths = [_with_area(boxes) for boxes in data.boxes_xyxy_px]
    boxes, scores = [box for box, _ in found], [score for _, score in found]
    return {f"ap{round(iou * 100)}": round(average_precision(boxes, scores, truths, iou), 4) for iou in (0.5, 0.75)}


def _with_area(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    sides = boxes[:, 2:] - boxes[:, :2]
    return boxes[(sides >= MIN_VISIBLE_PX).all(1)]
