"""``hpnet bench train multimodal``: time, memory and operations of a training step of the multimodal stream.

Batches are random numbers and weights are new, so nothing has to be fetched. All ways take turns in every round, in
one process and with the same weights. Their memory is of other processes, one for each and one after another, because
the memory of a process is counted from its start.
"""

from __future__ import annotations

import functools
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
from transformers.models.x_clip.modeling_x_clip import XCLIPTextModel

from ..core.allocator import tune_allocator
from ..core.device import resolve_device
from ..core.skeleton import COCO17
from ..models.multimodal import HPNet, HPNetConfig, multimodal_loss
from ..train.multimodal import optimizer_for
from ..train.params import MultimodalParams
from .machine import describe_machine, machine_line, peak_memory_mb
from .train import matrix_flops

WARM_UP_STEPS = {"cpu": 0, "cuda": 3}
"""After a first step of every way."""
ROUND_STEPS = {"cpu": 1, "cuda": 5}
HEAD = 64
"""Channels of an attention head, as in CLIP."""
TOKENS, VOCABULARY = 77, 49408
"""Of CLIP's texts."""
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
    """One way of doing the step.

    Attributes:
        precision: float32 or bfloat16 (autocast).
        checkpointing: layers of the vision network are computed twice (``train.multimodal.checkpointing``).
        texts_again: the label texts are encoded in every step; hpnet keeps their features, because the text encoder is
            not trained.
        compiled: the vision network runs through ``torch.compile``.
        clips: of the batch; None: the size's.
    """

    precision: str = "float32"
    checkpointing: bool = False
    texts_again: bool = False
    compiled: bool = False
    clips: int | None = None

    @property
    def name(self) -> str:
        """As a row of the page."""
        parts = [self.precision]
        parts += [f"{self.clips} clips"] if self.clips else []
        parts += ["checkpointing"] if self.checkpointing else []
        parts += ["texts encoded in every step"] if self.texts_again else []
        parts += ["vision network compiled"] if self.compiled else []
        return ", ".join(parts)


@dataclass(frozen=True)
class Extra:
    """Ways that are measured beside the plain step of each precision.

    Attributes:
        checkpointing, texts, compiled: see :class:`Way`.
        clips: other batches.
    """

    checkpointing: bool = False
    texts: bool = False
    compiled: bool = False
    clips: tuple[int, ...] = ()


def ways(precisions: Sequence[str], extra: Extra) -> list[Way]:
    """Every precision, and each of the extra ways in it."""
    found = []
    for name in precisions:
        found.append(Way(name))
        found += [Way(name, checkpointing=True)] if extra.checkpointing else []
        found += [Way(name, texts_again=True)] if extra.texts else []
        found += [Way(name, compiled=True)] if extra.compiled else []
        found += [Way(name, clips=clips) for clips in extra.clips]
    return found


def build(size: Size) -> HPNet:
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
    return model.train()


def text_encoder(size: Size) -> Callable[[], Tensor]:
    """X-CLIP's text encoder with new weights: a call encodes a text for every class, (K, D), without gradients."""
    width = 2 * size.width // 3
    config: Any = XCLIPConfig(
        text_config={
            "vocab_size": VOCABULARY, "hidden_size": width, "intermediate_size": 4 * width,
            "num_hidden_layers": size.layers, "num_attention_heads": width // HEAD,
            "max_position_embeddings": TOKENS,
        }
    )  # fmt: skip
    encoder = XCLIPTextModel(config.text_config).to(resolve_device(size.device)).eval()
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(VOCABULARY, (size.classes, TOKENS), generator=generator).to(resolve_device(size.device))

    def encode() -> Tensor:
        with torch.no_grad():
            found: Tensor = encoder(input_ids=tokens).pooler_output
        return found

    return encode


def batch(size: Size, clips: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pooled features (N, C, T, V, M), who is there (N, M), frames (N, F, 3, S, S) in 0..255, targets (N, K)."""
    generator = torch.Generator().manual_seed(0)
    pooled = torch.randn(clips, size.channels, size.frames, COCO17.num_joints, size.persons, generator=generator)
    side = size.image_size
    frames = 255 * torch.rand(clips, size.video_frames, 3, side, side, generator=generator)
    targets = torch.eye(size.classes)[torch.arange(clips) % size.classes]
    everyone = torch.ones(clips, size.persons, dtype=torch.bool)
    return pooled.to(device), everyone, frames.to(device), targets.to(device)


class Step:
    """The step of one network in any of the ways, which share its weights.

    Args:
        size: of it.
        chosen: the ways that will be taken.
    """

    def __init__(self, size: Size, chosen: Sequence[Way]) -> None:
        self.size, self.device = size, resolve_device(size.device)
        self.model = build(size).to(self.device)
        self.params = MultimodalParams(batch_size=size.clips)
        self.optimizer = optimizer_for(self.model, self.params)
        self.batches = {way.clips: batch(size, way.clips or size.clips, self.device) for way in chosen}
        self.texts = text_encoder(size) if any(way.texts_again for way in chosen) else None
        self.plain = self.model.video.see
        self.compiled = torch.compile(self.plain) if any(way.compiled for way in chosen) else self.plain

    def take(self, way: Way) -> float:
        """One step; its loss."""
        loss = self.gradients(way, self.batches[way.clips])
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.params.clip_norm or float("inf"))
        self.optimizer.step()
        return float(loss)

    def gradients(self, way: Way, given: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        """The gradients of a batch; its loss."""
        *inputs, targets = given
        self.model.video.see = self.compiled if way.compiled else self.plain  # type: ignore[method-assign]
        self.model.video.checkpoint_layers(way.checkpointing)
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=way.precision == "bfloat16"):
            if way.texts_again and self.texts is not None:
                self.model.label_text.copy_(self.texts())
            loss = multimodal_loss(self.model(*inputs), targets)
        torch.autograd.backward(loss)
        return loss.detach()


def run(size: Size, rounds: int, chosen: Sequence[Way]) -> dict[str, Any]:
    """Measure every way: the seconds in turn, then the memory of each.

    Raises:
        RuntimeError: a process ended early; says whether the memory was out.
    """
    machine = describe_machine() | ({"threads": size.threads} if size.threads else {})
    device = resolve_device(size.device)
    machine["gpu"] = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    rows = _elsewhere(timed, size, chosen, rounds)
    for row, way in zip(rows, chosen, strict=True):
        row |= {"name": way.name, **asdict(way), "memory_mb": _elsewhere(memory_mb, size, [way], 1)}
    return {"size": asdict(size), "rounds": rounds, "machine": machine, "ways": summarised(rows, size)}


def timed(size: Size, chosen: Sequence[Way], rounds: int) -> list[dict[str, Any]]:
    """Every way, in this process, in turn.

    Returns:
        Of each way ``seconds`` and ``processor_seconds`` per step of each round, ``first_s`` (the first step, which
        compiles), ``peak_flops`` (FLOP/s of a product of large matrices in its precision), ``activations_mb_per_clip``
        (what the forward pass keeps for the backward pass), and the counts of :func:`count`.
    """
    step = Step(size, chosen)
    rows: list[dict[str, Any]] = []
    counts = count(size)
    for way in chosen:
        started = time.perf_counter()
        step.take(way)
        _wait(step.device)
        rows.append({**counts, "first_s": time.perf_counter() - started, "seconds": [], "processor_seconds": []})
        for _ in range(WARM_UP_STEPS[step.device.type]):
            step.take(way)
    steps = ROUND_STEPS[step.device.type]
    for _ in range(rounds):
        for row, way in zip(rows, chosen, strict=True):
            _wait(step.device)
            started, used = time.perf_counter(), time.process_time()
            for _ in range(steps):
                step.take(way)
            _wait(step.device)
            row["seconds"].append((time.perf_counter() - started) / steps)
            row["processor_seconds"].append((time.process_time() - used) / steps)
    for row, way in zip(rows, chosen, strict=True):
        dtype = torch.bfloat16 if way.precision == "bfloat16" else torch.float32
        row |= {"peak_flops": matrix_flops(step.device, dtype), "threads": torch.get_num_threads()}
        kept = functools.partial(_gradients_of, step, way)
        row["activations_mb_per_clip"] = None if way.compiled else _kept_mb_per_clip(kept)
    return rows


def _gradients_of(step: Step, way: Way, clips: int) -> None:
    step.gradients(way, batch(step.size, clips, step.device))


def memory_mb(size: Size, chosen: Sequence[Way], steps: int) -> float:
    """MB, the most that so many steps of the first way use after an earlier one, in a new process."""
    step = Step(size, chosen)
    for parameter in step.model.parameters():  # AdamW's moments, as after a step
        parameter.grad = torch.zeros_like(parameter)
    step.optimizer.step()
    if step.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(step.device)
    for _ in range(steps):
        step.take(chosen[0])
    if step.device.type == "cuda":
        return torch.cuda.max_memory_allocated(step.device) / 1e6
    return peak_memory_mb()


def summarised(rows: list[dict[str, Any]], size: Size) -> list[dict[str, Any]]:
    """Add medians, clips/s, the ratio to the first row's processor time for a clip, and the share of a product's
    FLOP/s. FLOP are those that the step needs: what checkpointing computes again does not count."""
    for row in rows:
        clips = row["clips"] or size.clips
        row["median_s"] = statistics.median(row["seconds"])
        row["processor_s"] = statistics.median(row["processor_seconds"])
        row["clips_per_s"] = clips / row["median_s"]
        on_cpu = size.device == "cpu"
        row["clip_s"] = (row["processor_s"] / row["threads"] if on_cpu else row["median_s"]) / clips
        row["ratio"] = rows[0]["clip_s"] / row["clip_s"]
        row["utilisation"] = row["flops_per_clip"] / row["clip_s"] / row["peak_flops"]
    return rows


def _elsewhere(
    measure: Callable[[Size, Sequence[Way], int], Any], size: Size, chosen: Sequence[Way], count: int
) -> Any:
    """What a measurement finds in a new process."""
    mine, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_worker, args=(measure, size, chosen, count, theirs), daemon=True
    )
    process.start()
    theirs.close()  # so that the end of the process ends the pipe
    try:
        found = mine.recv()
    except EOFError:
        process.join()
        raise RuntimeError(
            f"{chosen[0].name}: its process ended (exit {process.exitcode}; killed means that the memory was out): use "
            "fewer --clips or --checkpointing"
        ) from None
    process.join()
    return found


def count(size: Size, checkpointing: bool = False) -> dict[str, Any]:
    """What a step of one clip needs in float32, counted without computing it, in seconds on any machine. A device's own
    kernels may keep other tensors.

    Returns:
        ``flops_per_clip``, ``forward_flops_per_clip``, ``activations_mb_per_clip`` and ``parameters``, see
        :func:`measure`.
    """
    nowhere = torch.device("meta")
    with nowhere:
        model = build(size)
    model.video.checkpoint_layers(checkpointing)
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
    chosen = ways(("float32",), Extra(checkpointing=checkpointing))
    rows = [{"name": way.name, **count(size, way.checkpointing)} for way in chosen]
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
    machine, host = result["machine"], not result["machine"]["gpu"]
    first = result["ways"][0]["name"]
    columns = ["", "s/step", *(["processor s/step"] if host else []), "clips/s", f"times {first}, per clip"]
    columns += ["share of a matrix product's FLOP/s", "memory, GB", "activations a clip, GB"]
    lines = [
        "# A training step of the multimodal stream",
        "",
        f"`{command}`",
        "",
        f"Forward, loss, backward, clipping and AdamW, with new weights: {_described(result)} "
        f"{machine['gpu'] or 'CPU'}; medians of {result['rounds']} rounds, taken in turn. {machine_line(machine)}.",
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
    ]
    for row in result["ways"]:
        kept = row["activations_mb_per_clip"]
        cells = [row["name"], f"{row['median_s']:.3g}", *([f"{row['processor_s']:.3g}"] if host else [])]
        cells += [f"{row['clips_per_s']:.3g}", f"{row['ratio']:.2f}", f"{row['utilisation']:.0%}"]
        cells += [f"{row['memory_mb'] / 1e3:.1f}", "–" if kept is None else f"{kept / 1e3:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"A clip needs {result['ways'][0]['flops_per_clip'] / 1e9:.0f} GFLOP; what a way computes beyond that does not "
        f"count in the share. {FOOT} Memory is all that a process of its own used in a step, weights with gradients "
        "and AdamW's two moments (16 bytes a parameter) included. hpnet keeps the features of the label texts, because "
        "the text encoder is not trained. "
        + ("Times are of processor seconds, which count where other programs ran too." if host else ""),
        "",
    ]
    compiled = [row for row in result["ways"] if row["compiled"]]
    lines += [f"The first step of {row['name']} took {row['first_s']:.0f} s.\n" for row in compiled]
    return "\n".join([*lines, *([note, ""] if note else [])])


def _worker(
    measure: Callable[[Size, Sequence[Way], int], Any], size: Size, chosen: Sequence[Way], count: int, pipe: Connection
) -> None:
    """A process: measures and sends what it found."""
    if size.threads:
        torch.set_num_threads(size.threads)
    if resolve_device(size.device).type == "cpu":
        tune_allocator()
    pipe.send(measure(size, chosen, count))


def _wait(device: torch.device) -> None:
    """Until the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
