"""``hpnet bench train multimodal``: time, memory and operations of a training step of the multimodal stream.

Batches are random numbers and weights are new, so nothing has to be fetched. Every way has a process of its own, one
after another, because the memory of a process is counted from its start.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import XCLIPConfig

from ..core.allocator import tune_allocator
from ..core.device import resolve_device
from ..core.skeleton import COCO17
from ..models.multimodal import HPNet, HPNetConfig, multimodal_loss
from ..train.multimodal import optimizer_for
from ..train.params import MultimodalParams
from .machine import describe_machine, machine_line, peak_memory_mb

WARM_UP_STEPS = {"cpu": 1, "cuda": 3}
ROUND_STEPS = {"cpu": 1, "cuda": 5}
HEAD = 64
"""Channels of an attention head, as in CLIP."""
FOOT = (
    "FLOPs are of the matrix products, convolutions and attention, a multiplication and an addition counted as two. "
    "Activations are what the forward pass keeps for the backward pass; they grow with the clips that are computed at "
    "once."
)


@dataclass(frozen=True)
class Size:
    """The batch and the network; the defaults are the paper's: X-CLIP ViT-B/16 and CTR-GCN on NTU RGB+D 120.

    Attributes:
        clips: N.
        channels, frames, persons: C, T and M of the pooled features.
        video_frames, image_size, patch_size: of the frames, F and S.
        width, layers: of the vision transformer.
        base_channels, blocks: of each graph network.
        threads: on a CPU; None: torch's own number.
    """

    clips: int = 16
    channels: int = 96
    frames: int = 64
    persons: int = 2
    classes: int = 120
    video_frames: int = 8
    image_size: int = 224
    patch_size: int = 16
    width: int = 768
    layers: int = 12
    base_channels: int = 64
    blocks: int = 10
    device: str = "cpu"
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.width % (3 * HEAD):
            raise ValueError(f"--width is {self.width}; expected a multiple of {3 * HEAD}, such as 192 or 768")


@dataclass(frozen=True)
class Way:
    """One way of doing the step: float32 or bfloat16 (autocast), layers of the vision network computed twice or not."""

    precision: str = "float32"
    checkpointing: bool = False

    @property
    def name(self) -> str:
        """As a row of the page."""
        return self.precision + (", checkpointing" if self.checkpointing else "")


def ways(precisions: Sequence[str], checkpointing: bool) -> list[Way]:
    """Every precision, and each with checkpointing too where it is asked for."""
    return [Way(name, again) for name in precisions for again in ((False, True) if checkpointing else (False,))]


def build(size: Size, checkpointing: bool) -> HPNet:
    """HP-Net of that size with new weights, in training mode. The text encoder, which is not trained, is tiny."""
    text = 2 * size.width // 3  # ViT-B/16 is 768 wide, its texts 512
    config = XCLIPConfig(
        text_config={
            "vocab_size": 64, "hidden_size": HEAD, "intermediate_size": HEAD, "num_hidden_layers": 1,
            "num_attention_heads": 1,
        },
        vision_config={
            "hidden_size": size.width, "intermediate_size": 4 * size.width, "num_hidden_layers": size.layers,
            "num_attention_heads": size.width // HEAD, "mit_hidden_size": text, "mit_intermediate_size": 4 * text,
            "mit_num_hidden_layers": 1, "mit_num_attention_heads": text // HEAD, "image_size": size.image_size,
            "patch_size": size.patch_size, "num_frames": size.video_frames,
        },
        projection_dim=text,
        prompt_layers=2,
        prompt_num_attention_heads=text // HEAD,
    )  # fmt: skip
    graph = {"model": "ctrgcn", "base_channels": size.base_channels, "blocks": size.blocks, "dropout": 0.0}
    model = HPNet(
        HPNetConfig(
            num_classes=size.classes,
            video=config.to_dict(),
            in_channels=size.channels,
            num_persons=size.persons,
            skeleton=COCO17,
            graph=graph,
        )
    )
    torch.nn.init.normal_(model.label_text)
    if checkpointing:
        model.video.checkpoint_layers()
    return model.train()


def batch(size: Size, clips: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pooled features (N, C, T, V, M), who is there (N, M), frames (N, F, 3, S, S) in 0..255, targets (N, K)."""
    generator = torch.Generator().manual_seed(0)
    pooled = torch.randn(clips, size.channels, size.frames, COCO17.num_joints, size.persons, generator=generator)
    side = size.image_size
    frames = 255 * torch.rand(clips, size.video_frames, 3, side, side, generator=generator)
    targets = torch.eye(size.classes)[torch.arange(clips) % size.classes]
    everyone = torch.ones(clips, size.persons, dtype=torch.bool)
    return pooled.to(device), everyone, frames.to(device), targets.to(device)


def run(size: Size, rounds: int, chosen: Sequence[Way]) -> dict[str, Any]:
    """Measure every way, one after another.

    Raises:
        RuntimeError: a way's process ended early; says whether the memory was out.
    """
    machine = describe_machine() | ({"threads": size.threads} if size.threads else {})
    device = resolve_device(size.device)
    machine["gpu"] = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    context = multiprocessing.get_context("spawn")
    rows = []
    for way in chosen:
        mine, theirs = context.Pipe()
        process = context.Process(target=_worker, args=(size, way, rounds, theirs), daemon=True)
        process.start()
        theirs.close()  # so that the end of the process ends the pipe
        try:
            rows.append({"name": way.name, **asdict(way), **mine.recv()})
        except EOFError:
            process.join()
            raise RuntimeError(
                f"{way.name}: its process ended (exit {process.exitcode}; killed means that the memory was out): use "
                "fewer --clips or --checkpointing"
            ) from None
        process.join()
    return {"size": asdict(size), "rounds": rounds, "machine": machine, "ways": rows}


def measure(size: Size, way: Way, rounds: int) -> dict[str, Any]:
    """One way, in this process.

    Returns:
        ``seconds`` per step of each round and ``median_s``, ``clips_per_s``, ``memory_mb`` (the most that was used),
        ``flops_per_clip`` (forward and backward, a multiplication and an addition are two; and those of the forward
        pass alone), ``activations_mb_per_clip`` (what the forward pass keeps for the backward pass) and ``parameters``.
    """
    device = resolve_device(size.device)
    model = build(size, way.checkpointing).to(device)
    params = MultimodalParams(batch_size=size.clips)
    optimizer = optimizer_for(model, params)

    def gradients(clips: int) -> None:
        pooled, everyone, frames, targets = batch(size, clips, device)
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=way.precision == "bfloat16"):
            loss = multimodal_loss(model(pooled, everyone, frames), targets)
        torch.autograd.backward(loss)

    def take() -> None:
        gradients(size.clips)
        torch.nn.utils.clip_grad_norm_(model.parameters(), params.clip_norm or float("inf"))
        optimizer.step()

    for _ in range(WARM_UP_STEPS[device.type]):
        take()
    _wait(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    steps, seconds = ROUND_STEPS[device.type], []
    for _ in range(rounds):
        started = time.perf_counter()
        for _ in range(steps):
            take()
        _wait(device)
        seconds.append((time.perf_counter() - started) / steps)
    memory = torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else peak_memory_mb()
    median = statistics.median(seconds)
    return {
        "seconds": seconds,
        "median_s": median,
        "clips_per_s": size.clips / median,
        "memory_mb": memory,
        **count(size, way.checkpointing),
        "activations_mb_per_clip": _kept_mb_per_clip(gradients),
    }


def count(size: Size, checkpointing: bool = False) -> dict[str, Any]:
    """What a step of one clip needs in float32, counted without computing it, in seconds on any machine. A device's own
    kernels may keep other tensors.

    Returns:
        ``flops_per_clip``, ``forward_flops_per_clip``, ``activations_mb_per_clip`` and ``parameters``, see
        :func:`measure`.
    """
    nowhere = torch.device("meta")
    with nowhere:
        model = build(size, checkpointing)
    model.to(nowhere)  # what was made from arrays is not made on the default device

    def loss(clips: int) -> Tensor:
        pooled, everyone, frames, targets = batch(size, clips, nowhere)
        return multimodal_loss(model(pooled, everyone, frames), targets)

    with FlopCounterMode(display=False) as forward, torch.no_grad():
        loss(1)
    with FlopCounterMode(display=False) as both:
        torch.autograd.backward(loss(1))
    return {
        "flops_per_clip": both.get_total_flops(),
        "forward_flops_per_clip": forward.get_total_flops(),
        "activations_mb_per_clip": _kept_mb_per_clip(loss),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def _kept_mb_per_clip(step: Callable[[int], object]) -> float:
    """MB that the forward pass of ``step`` (of so many clips) keeps for the backward pass, per clip."""
    # what does not grow with the clips, such as weights in bfloat16, is in both
    one, two = (_kept_bytes(step, clips) for clips in (1, 2))
    return (two - one) / 1e6


def _kept_bytes(step: Callable[[int], object], clips: int) -> int:
    """Bytes that a step keeps for its backward pass; what two operations keep counts once."""
    found: dict[int, tuple[Any, int]] = {}

    def keep(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        found[storage._cdata] = (storage, storage.nbytes())  # held, so that its number is not used again
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        step(clips)
    return sum(size for _, size in found.values())


def counted(size: Size, checkpointing: bool) -> dict[str, Any]:
    """The counts of :func:`count`, as a result for :func:`markdown`."""
    rows = [{"name": way.name, **count(size, way.checkpointing)} for way in ways(("float32",), checkpointing)]
    return {"size": asdict(size), "ways": rows}


def counted_markdown(result: dict[str, Any], command: str, note: str = "") -> str:
    """A page of the counts."""
    lines = [
        "# What a training step of the multimodal stream needs",
        "",
        f"`{command}`",
        "",
        f"Counted without computing: {_described(result)}",
        "",
        "| | GFLOP a clip, forward | and backward | activations a clip, GB | of the batch |",
        "|---|---|---|---|---|",
    ]
    for row in result["ways"]:
        kept = row["activations_mb_per_clip"] / 1e3
        cells = [row["name"], f"{row['forward_flops_per_clip'] / 1e9:.0f}", f"{row['flops_per_clip'] / 1e9:.0f}"]
        lines.append(f"| {' | '.join(cells)} | {kept:.2f} | {kept * result['size']['clips']:.1f} |")
    return "\n".join([*lines, "", FOOT, "", *([note, ""] if note else [])])


def _described(result: dict[str, Any]) -> str:
    """The network and its batch."""
    size, first = result["size"], result["ways"][0]
    frames = (size["clips"], size["video_frames"], 3, size["image_size"], size["image_size"])
    pooled = (size["clips"], size["channels"], size["frames"], COCO17.num_joints, size["persons"])
    return (
        f"frames {frames} and pooled features {pooled}, {size['classes']} classes; X-CLIP of {size['layers']} "
        f"layers of {size['width']} channels and three CTR-GCNs of {size['base_channels']} base channels and "
        f"{size['blocks']} blocks, {first['parameters'] / 1e6:.0f} million parameters."
    )


def markdown(result: dict[str, Any], command: str, note: str = "") -> str:
    """A page of one table."""
    machine = result["machine"]
    lines = [
        "# A training step of the multimodal stream",
        "",
        f"`{command}`",
        "",
        f"Forward, loss, backward, clipping and AdamW, with new weights: {_described(result)} "
        f"{machine['gpu'] or 'CPU'}; medians of {result['rounds']} rounds. {machine_line(machine)}.",
        "",
        "| | s/step | clips/s | GFLOP a clip | memory, GB | activations a clip, GB |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["ways"]:
        cells = [row["name"], f"{row['median_s']:.3g}", f"{row['clips_per_s']:.3g}"]
        cells += [f"{row['flops_per_clip'] / 1e9:.0f}", f"{row['memory_mb'] / 1e3:.1f}"]
        lines.append(f"| {' | '.join(cells)} | {row['activations_mb_per_clip'] / 1e3:.2f} |")
    lines += [
        "",
        FOOT + " Memory is all that the process used, weights with gradients and AdamW's two moments (16 bytes a "
        "parameter) included.",
        "",
    ]
    return "\n".join([*lines, *([note, ""] if note else [])])


def _worker(size: Size, way: Way, rounds: int, pipe: Connection) -> None:
    """The process of a way: measures it and sends the numbers."""
    if size.threads:
        torch.set_num_threads(size.threads)
    if resolve_device(size.device).type == "cpu":
        tune_allocator()
    pipe.send(measure(size, way, rounds))


def _wait(device: torch.device) -> None:
    """Until the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
