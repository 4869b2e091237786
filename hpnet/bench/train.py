"""``hpnet bench train``: compares a step of our CTR-GCN with a layer-by-layer version of its paper, or with the
authors' own file.

Each variant has its own process, because the allocator's settings are per process. Variants take turns in every round,
so other load on the machine affects all of them. Speeds are medians, and ratios are of these medians. On a GPU a round
has several steps, timed from one synchronisation to the next, because a training loop does not wait for every step.
"""

from __future__ import annotations

import contextlib
import copy
import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..core.allocator import tune_allocator
from ..core.cuda_graphs import record
from ..core.device import resolve_device
from ..core.skeleton import of_joints
from ..models.ctrgcn import CTRGCN
from ..models.fused import plain_operations
from . import against
from .ctrgcn_plain import PlainCTRGCN
from .machine import describe_machine, machine_line, peak_memory_mb

TOLERANCE = {"float32": 1e-4, "tf32": 1e-2, "bfloat16": 5e-2}
"""Largest difference of logits and loss from the first variant's, as a share of the largest logit."""

WARM_UP_STEPS = {"cpu": 2, "cuda": 10}
"""Steps before the first round; the first of them gives the numbers that are compared."""

ROUND_STEPS = {"cpu": 1, "cuda": 20}


@dataclass(frozen=True)
class Step:
    """What is measured: the batch (N, C, T, V, M) of random numbers, the network, the device, threads per process.

    Attributes:
        against: the authors' file, see :mod:`hpnet.bench.against`; None: the transcription.
        training: False: the forward pass alone, of networks that are not trained.
    """

    clips: int = 16
    channels: int = 96
    frames: int = 64
    persons: int = 2
    joints: int = 17
    classes: int = 120
    base_channels: int = 64
    blocks: int = 10
    device: str = "cpu"
    threads: int | None = None
    against: str | None = None
    training: bool = True

    def __post_init__(self) -> None:
        if self.against is not None and (self.base_channels, self.blocks) != (64, 10):
            raise ValueError("--against: the authors' network has 64 base channels and 10 blocks")

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """(N, C, T, V, M)."""
        return self.clips, self.channels, self.frames, self.joints, self.persons


@dataclass(frozen=True)
class Variant:
    """One way of doing the step.

    Attributes:
        network: hpnet, transcription, or authors.
        own_gradients: see :mod:`hpnet.models.fused`.
        precision: float32, bfloat16 (autocast), or tf32: float32 whose products a GPU rounds to TF32.
    """

    name: str
    network: str = "hpnet"
    precision: str = "float32"
    graphs: bool = False
    compiled: bool = False
    own_gradients: bool = True


def variants(compiled: bool, kind: str = "cpu", first: str = "transcription") -> list[Variant]:
    """The network that is compared with, ours in every precision of the kind of device, on a GPU also as CUDA graphs,
    and each of ours compiled where asked for."""
    spoken = "the authors' own" if first == "authors" else first
    found = [Variant(f"{spoken}, float32", first)]
    if kind == "cuda":
        found.append(Variant(f"{spoken}, tf32", first, precision="tf32"))
    if first == "authors":
        found.append(Variant(f"{spoken}, bfloat16", first, precision="bfloat16"))
    for precision in ("float32", "tf32", "bfloat16") if kind == "cuda" else ("float32", "bfloat16"):
        for graphs in (False, True) if kind == "cuda" else (False,):
            for through in (False, True) if compiled else (False,):
                how = (", torch.compile" if through else "") + (", CUDA graphs" if graphs else "")
                name = f"hpnet, {precision}{how}"
                found.append(Variant(name, precision=precision, graphs=graphs, compiled=through))
    return found


def build_pair(step: Step, seed: int = 0) -> tuple[CTRGCN, nn.Module]:
    """Our network and what it is compared with, with the same weights; every branch takes part in the result."""
    if step.against is not None:
        sizes = {"channels": step.channels, "joints": step.joints, "persons": step.persons, "classes": step.classes}
        return against.seeded(Path(step.against), seed, **sizes)
    torch.manual_seed(seed)
    ours = CTRGCN(
        in_channels=step.channels, num_classes=step.classes, num_persons=step.persons, skeleton=of_joints(step.joints),
        base_channels=step.base_channels, blocks=step.blocks,
    )  # fmt: skip
    for name, parameter in ours.named_parameters():
        if name.endswith("alpha"):
            nn.init.constant_(parameter, 0.5)
        elif name.endswith("spatial.norm.weight"):
            nn.init.ones_(parameter)
    return ours, PlainCTRGCN(copy.deepcopy(ours))


def batch(step: Step, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Features (N, C, T, V, M) and labels (N,)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(step.shape, generator=generator), torch.randint(step.classes, (step.clips,), generator=generator)


def run(step: Step, rounds: int, ways: Sequence[Variant]) -> dict[str, Any]:
    """Take ``rounds`` rounds of every variant in turn; ratios and differences are to the first of them.

    Raises:
        ArithmeticError: a variant's first logits differ from the first variant's by more than its precision explains.
        RuntimeError: a variant's process ended early.
    """
    device = resolve_device(step.device)
    machine = describe_machine() | ({"threads": step.threads} if step.threads else {})
    machine["gpu"] = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    context = multiprocessing.get_context("spawn")
    rows: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        workers: list[tuple[Variant, Connection]] = []
        for variant in ways:
            mine, theirs = context.Pipe()
            process = context.Process(target=_worker, args=(step, variant, variant is ways[0], theirs), daemon=True)
            process.start()
            stack.callback(process.terminate)
            theirs.close()  # so that the end of the process ends the pipe
            workers.append((variant, mine))
        for variant, pipe in workers:  # all of them start at the same time
            rows.append({**asdict(variant), "first": _receive(variant, pipe)})
        require_same(rows)
        taken: list[list[tuple[float, float]]] = [[] for _ in workers]
        for _ in range(rounds):
            for steps, (variant, pipe) in zip(taken, workers, strict=True):
                pipe.send("round")
                steps.append(_receive(variant, pipe))
        for row, steps, (variant, pipe) in zip(rows, taken, workers, strict=True):
            pipe.send("stop")
            row |= {"seconds": [wall for wall, _ in steps], "processor_seconds": [used for _, used in steps]}
            row |= _receive(variant, pipe)
    summarise(rows, step)
    for row in rows:
        del row["first"]
    file = None if step.against is None else Path(step.against).name  # nobody else has its folder
    return {
        "step": {**asdict(step), "against": file},
        "rounds": rounds,
        "steps_per_round": ROUND_STEPS[device.type],
        "warm_up_steps": WARM_UP_STEPS[device.type],
        "machine": machine,
        "variants": rows,
    }


def markdown(result: dict[str, Any], command: str, note: str = "") -> str:
    """A page of one table."""
    step, machine = result["step"], result["machine"]
    shape = Step(**step).shape
    other = "the authors' own" if step["against"] else "the transcription"
    each = "" if result["steps_per_round"] == 1 else f" of {result['steps_per_round']} steps each"
    # on a GPU the host waits in a loop: its processor time says nothing
    host = not machine["gpu"]
    columns = ["", "s/step", "clips/s", f"times {other}"]
    columns += ["processor s/step", f"times {other}"] if host else []
    columns += ["FLOP/s, share of a matrix product's", "memory, MB", "difference of logits"]
    done = "Forward, loss, backward and SGD" if step["training"] else "Forward, in evaluation,"
    lines = [
        "# A training step of CTR-GCN" if step["training"] else "# A forward pass of CTR-GCN",
        "",
        f"`{command}`",
        "",
        f"{done} on a batch {shape}, {step['classes']} classes, {machine['gpu'] or 'CPU'}. "
        f"Medians of {result['rounds']} rounds{each}, taken in turn after {result['warm_up_steps']} steps to warm up. "
        f"{machine_line(machine)}.",
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
    ]
    for row in result["variants"]:
        cells = [row["name"], f"{row['median_s']:.3g}", f"{row['clips_per_s']:.1f}", f"{row['ratio']:.2f}"]
        cells += [f"{row['processor_s']:.3g}", f"{row['processor_ratio']:.2f}"] if host else []
        cells += [f"{row['utilisation']:.0%}", f"{row['memory_mb']:.0f}", f"{row['difference']:.1g}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        (
            "The authors' own network is `model/ctrgcn.py` of its repository, unchanged, with the same weights"
            if step["against"]
            else "The transcription (`hpnet/bench/ctrgcn_plain.py`) follows the paper's figures and equations, subset "
            "after subset"
        )
        + f"; it has the process's default allocator. FLOPs are those that {other} needs, for every row; "
        "the measure is a product of large square matrices in the same process and precision. Differences are of the "
        "first logits, as a share of the largest. "
        + (
            "Processor seconds are what counts where other programs ran too."
            if host
            else "In the float32 rows TF32 is off for convolutions and matrix products alike, in the tf32 rows on for "
            "both; cuDNN picks its kernels by trial (`cudnn.benchmark`) in every row; memory is the most that torch "
            "held after the warm-up."
        ),
    ]
    return "\n".join([*lines, "", note] if note else lines) + "\n"


def summarise(rows: list[dict[str, Any]], step: Step) -> None:
    """Add medians, ratios to the first row, and the share of a matrix product's FLOP/s that its FLOPs come to."""
    flops, threads = rows[0]["flops"], step.threads or torch.get_num_threads()
    for row in rows:
        row["median_s"] = statistics.median(row["seconds"])
        row["processor_s"] = statistics.median(row["processor_seconds"])
        row["clips_per_s"] = step.clips / row["median_s"]
        row["ratio"] = rows[0]["median_s"] / row["median_s"]
        row["processor_ratio"] = rows[0]["processor_s"] / row["processor_s"]
        spent = row["processor_s"] / threads if step.device == "cpu" else row["median_s"]
        row["utilisation"] = flops / spent / row["peak_flops"]


def require_same(rows: list[dict[str, Any]]) -> None:
    """Add how far each row's first logits and loss are from the first row's, as a share of the largest logit.

    Raises:
        ArithmeticError: further than its precision explains.
    """
    logits, loss = rows[0]["first"]
    largest = float(logits.abs().max())
    for row in rows:
        other, other_loss = row["first"]
        row["difference"] = max(float((other - logits).abs().max()) / largest, abs(other_loss - loss) / largest)
        if not row["difference"] <= TOLERANCE[row["precision"]]:
            raise ArithmeticError(
                f"{row['name']}: logits differ from those of {rows[0]['name']} by {row['difference']:.2g} of the "
                f"largest, expected at most {TOLERANCE[row['precision']]:g}"
            )


def _receive(variant: Variant, pipe: Connection) -> Any:
    try:
        return pipe.recv()
    except EOFError:
        raise RuntimeError(f"{variant.name}: its process ended early; the reason is printed above") from None


def _worker(step: Step, variant: Variant, count_flops: bool, pipe: Connection) -> None:
    """Send the first logits and loss, then the seconds per step of every round asked for, then FLOPs and memory."""
    with contextlib.nullcontext() if variant.own_gradients else plain_operations():
        _take_rounds(step, variant, count_flops, pipe)


def ready(step: Step, variant: Variant) -> Callable[..., tuple[Tensor, Tensor]]:
    """Make this process do a variant's steps.

    Returns:
        ``take(update=True)``: takes one step, gives its logits (N, K) and loss; without ``update`` the weights stay.
    """
    device = resolve_device(step.device)
    if step.threads:
        torch.set_num_threads(step.threads)
    if variant.network == "hpnet" and device.type == "cpu":
        tune_allocator()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = variant.precision == "tf32"
    torch.backends.cudnn.benchmark = True
    ours, other = build_pair(step)
    model: nn.Module = (ours if variant.network == "hpnet" else other).to(device).train(step.training)
    features, labels = (x.to(device) for x in batch(step))
    if not step.training:
        settle(model, features)
    if variant.compiled:
        model.forward = torch.compile(model.forward)  # type: ignore[method-assign]
    if variant.graphs:
        record(model, features, torch.bfloat16 if variant.precision == "bfloat16" else torch.float32)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, nesterov=True, fused=True)

    def take(update: bool = True) -> tuple[Tensor, Tensor]:
        with (
            torch.autocast(device.type, torch.bfloat16, enabled=variant.precision == "bfloat16"),
            torch.set_grad_enabled(step.training),
        ):
            logits = model(features)
            loss = F.cross_entropy(logits.float(), labels)
        if step.training:
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            if update:
                optimizer.step()
        return logits.detach(), loss.detach()

    return take


def settle(model: nn.Module, features: Tensor) -> None:
    """Give the batch norms of a new network, which is to be evaluated, the statistics of a batch; without them no layer
    is normalised."""
    for layer in model.modules():
        if hasattr(layer, "momentum"):
            layer.momentum = 1.0  # type: ignore[assignment]
    with torch.no_grad():
        model.train()(features)
    model.eval().requires_grad_(False)  # what counts FLOP takes a parameter among a layer's inputs for one of training


def _take_rounds(step: Step, variant: Variant, count_flops: bool, pipe: Connection) -> None:
    device, take = resolve_device(step.device), ready(step, variant)
    logits, loss = take()
    pipe.send((logits.float().cpu(), float(loss)))
    for _ in range(WARM_UP_STEPS[device.type] - 1):
        take()
    _wait(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    steps = ROUND_STEPS[device.type]
    while pipe.recv() == "round":
        started, used = time.perf_counter(), time.process_time()
        for _ in range(steps):
            take()
        _wait(device)
        pipe.send(((time.perf_counter() - started) / steps, (time.process_time() - used) / steps))
    memory = torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else peak_memory_mb()
    flops = 0
    if count_flops:
        with FlopCounterMode(display=False) as counter:
            take(update=False)
        flops = counter.get_total_flops()
    dtype = torch.bfloat16 if variant.precision == "bfloat16" else torch.float32
    pipe.send({"memory_mb": memory, "flops": flops, "peak_flops": matrix_flops(device, dtype)})


def _wait(device: torch.device) -> None:
    """Until the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_flops(device: torch.device, dtype: torch.dtype, repeats: int = 4) -> float:
    """FLOP/s of a product of square matrices, the best of a few; on a CPU by the processor time of each thread."""
    size = 8192 if device.type == "cuda" else 2048
    x = torch.randn(size, size, device=device).to(dtype)
    best = float("inf")
    for _ in range(repeats):
        _wait(device)
        started = clock_s(device)
        x @ x
        _wait(device)
        best = min(best, clock_s(device) - started)
    return 2 * size**3 / best


def clock_s(device: torch.device) -> float:
    """Seconds by the clock; on a CPU processor seconds divided by the threads, which other programs do not lengthen."""
    return time.perf_counter() if device.type == "cuda" else time.process_time() / torch.get_num_threads()
