"""``hpnet bench train``: a training step of our CTR-GCN against the layer-by-layer transcription of its paper.

Each variant has a process of its own, because the allocator's settings are a process's; steps are taken in turn, so
that whatever else the machine does falls on all alike. Speeds are medians, ratios are of those medians.
"""

from __future__ import annotations

import contextlib
import copy
import multiprocessing
import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..device import resolve_device, tune_allocator
from ..models.ctrgcn import CTRGCN
from ..skeleton import COCO17
from .ctrgcn_plain import PlainCTRGCN
from .machine import describe_machine, machine_line, peak_memory_mb

TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}
"""Largest difference of logits and loss from the transcription's, as a share of the largest logit."""


@dataclass(frozen=True)
class Step:
    """What is measured: the batch (N, C, T, V, M) of random numbers, the device, threads per process."""

    clips: int = 16
    channels: int = 96
    frames: int = 64
    persons: int = 2
    classes: int = 120
    device: str = "cpu"
    threads: int | None = None


@dataclass(frozen=True)
class Variant:
    """One way of doing the step."""

    name: str
    plain: bool = False
    precision: str = "float32"
    compiled: bool = False


def variants(compiled: bool) -> list[Variant]:
    """The transcription, ours in float32 and bfloat16, and each of ours compiled where asked for."""
    found = [Variant("transcription, float32", plain=True)]
    for precision in ("float32", "bfloat16"):
        found.append(Variant(f"hpnet, {precision}", precision=precision))
        if compiled:
            found.append(Variant(f"hpnet, {precision}, torch.compile", precision=precision, compiled=True))
    return found


def build_pair(step: Step, seed: int = 0) -> tuple[CTRGCN, PlainCTRGCN]:
    """Our network and the transcription with the same weights; every branch takes part in the result."""
    torch.manual_seed(seed)
    ours = CTRGCN(in_channels=step.channels, num_classes=step.classes, num_persons=step.persons, skeleton=COCO17)
    for name, parameter in ours.named_parameters():
        if name.endswith("alpha"):
            nn.init.constant_(parameter, 0.5)
        elif name.endswith("spatial.norm.weight"):
            nn.init.ones_(parameter)
    return ours, PlainCTRGCN(copy.deepcopy(ours))


def batch(step: Step, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Features (N, C, T, V, M) and labels (N,)."""
    generator = torch.Generator().manual_seed(seed)
    shape = (step.clips, step.channels, step.frames, COCO17.num_joints, step.persons)
    return torch.randn(shape, generator=generator), torch.randint(step.classes, (step.clips,), generator=generator)


def run(step: Step, rounds: int, compiled: bool = False) -> dict[str, Any]:
    """Take ``rounds`` steps of every variant in turn.

    Raises:
        ArithmeticError: a variant's first logits differ from the transcription's by more than its precision explains.
    """
    machine = describe_machine() | ({"threads": step.threads} if step.threads else {})
    context = multiprocessing.get_context("spawn")
    rows: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        workers = []
        for variant in variants(compiled):
            mine, theirs = context.Pipe()
            process = context.Process(target=_worker, args=(step, variant, theirs), daemon=True)
            process.start()
            stack.callback(process.terminate)
            workers.append((variant, mine))
            rows.append({**asdict(variant), "first": mine.recv()})
        _require_same(rows)
        taken: list[list[tuple[float, float]]] = [[] for _ in workers]
        for _ in range(rounds):
            for steps, (_, pipe) in zip(taken, workers, strict=True):
                pipe.send("step")
                steps.append(pipe.recv())
        for row, steps, (_, pipe) in zip(rows, taken, workers, strict=True):
            pipe.send("stop")
            row |= {"seconds": [wall for wall, _ in steps], "processor_seconds": [used for _, used in steps]}
            row |= pipe.recv()
    _summarise(rows, step)
    for row in rows:
        del row["first"]
    return {"step": asdict(step), "rounds": rounds, "machine": machine, "variants": rows}


def markdown(result: dict[str, Any], command: str, note: str = "") -> str:
    """A page of one table."""
    step = result["step"]
    shape = (step["clips"], step["channels"], step["frames"], COCO17.num_joints, step["persons"])
    lines = [
        "# A training step of CTR-GCN",
        "",
        f"`{command}`",
        "",
        f"Forward, loss, backward and SGD on a batch {shape}, {step['classes']} classes, {step['device']}. "
        f"Medians of {result['rounds']} steps, taken in turn. {machine_line(result['machine'])}.",
        "",
        "| | s/step | clips/s | times the transcription | processor s/step | times the transcription "
        "| FLOP/s, share of a matrix product's | memory, MB | difference of logits |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["variants"]:
        lines.append(
            f"| {row['name']} | {row['median_s']:.3g} | {row['clips_per_s']:.1f} | {row['ratio']:.2f} "
            f"| {row['processor_s']:.3g} | {row['processor_ratio']:.2f} "
            f"| {row['utilisation']:.0%} | {row['memory_mb']:.0f} | {row['difference']:.1g} |"
        )
    lines += [
        "",
        "The transcription (`hpnet/bench/ctrgcn_plain.py`) follows the paper's figures and equations, subset after "
        "subset; it has the process's default allocator. FLOPs are those that the transcription needs, for every row; "
        "a matrix product of 2048 x 2048 float32 numbers in the same process is the measure. Differences are of the "
        "first logits, as a share of the largest. Processor seconds are what counts where other programs ran too.",
    ]
    return "\n".join([*lines, "", note] if note else lines) + "\n"


def _summarise(rows: list[dict[str, Any]], step: Step) -> None:
    flops = rows[0]["flops"]
    for row in rows:
        row["median_s"] = statistics.median(row["seconds"])
        row["processor_s"] = statistics.median(row["processor_seconds"])
        row["clips_per_s"] = step.clips / row["median_s"]
        row["ratio"] = rows[0]["median_s"] / row["median_s"]
        row["processor_ratio"] = rows[0]["processor_s"] / row["processor_s"]
        row["utilisation"] = flops / row["median_s"] / row["peak_flops"]


def _require_same(rows: list[dict[str, Any]]) -> None:
    logits, loss = rows[0]["first"]
    largest = float(logits.abs().max())
    for row in rows:
        other, other_loss = row["first"]
        row["difference"] = max(float((other - logits).abs().max()) / largest, abs(other_loss - loss) / largest)
        if not row["difference"] <= TOLERANCE[row["precision"]]:
            raise ArithmeticError(
                f"{row['name']}: logits differ from the transcription's by {row['difference']:.2g} of the largest, "
                f"expected at most {TOLERANCE[row['precision']]:g}"
            )


def _worker(step: Step, variant: Variant, pipe: Any) -> None:
    """Send the first logits and loss, then the seconds of every step asked for, then FLOPs and memory."""
    device = resolve_device(step.device)
    if step.threads:
        torch.set_num_threads(step.threads)
    if not variant.plain and device.type == "cpu":
        tune_allocator()
    ours, plain = build_pair(step)
    model: nn.Module = (plain if variant.plain else ours).to(device).train()
    features, labels = (x.to(device) for x in batch(step))
    if variant.compiled:
        model = torch.compile(model)  # type: ignore[assignment]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, nesterov=True)

    def take(update: bool = True) -> tuple[Tensor, float]:
        with torch.autocast(device.type, torch.bfloat16, enabled=variant.precision == "bfloat16"):
            logits = model(features)
            loss = F.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        if update:
            optimizer.step()
        return logits.detach().float().cpu(), float(loss.detach())

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    pipe.send(take())
    while pipe.recv() == "step":
        started, used = time.perf_counter(), time.process_time()
        take()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        pipe.send((time.perf_counter() - started, time.process_time() - used))
    memory = torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else peak_memory_mb()
    flops = 0
    if variant.plain:
        with FlopCounterMode(display=False) as counter:
            take(update=False)
        flops = counter.get_total_flops()
    pipe.send({"memory_mb": memory, "flops": flops, "peak_flops": _matrix_flops(device)})


def _matrix_flops(device: torch.device, size: int = 2048, repeats: int = 3) -> float:
    """FLOP/s of a float32 matrix product, the best of a few."""
    x = torch.randn(size, size, device=device)
    best = float("inf")
    for _ in range(repeats + 1):
        started = time.perf_counter()
        x @ x
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best
