"""``hpnet bench roofline``: how long a training step of CTR-GCN must take on this machine, and where its time goes.

Every operation of a step is caught where torch dispatches it: its multiply-adds, the bytes of the arrays that it reads
and writes, and its seconds. An operation takes at least its multiply-adds at the machine's measured peak, and at least
its bytes at the measured bandwidth (Williams et al., "Roofline", CACM 2009). Every network has a process of its own.
"""

from __future__ import annotations

import itertools
import multiprocessing
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from ..core.device import resolve_device
from .machine import describe_machine, machine_line
from .train import Step, Variant, clock_s, matrix_flops, ready

PRODUCTS = "products"
OVER_FRAMES = "convolutions"
NORM = "batch norm"
REST = "the rest"
KINDS = (PRODUCTS, OVER_FRAMES, NORM, REST)
WARM_UP_STEPS = 2
RING_BYTES = 512 << 20
"""Arrays that a bandwidth is measured on, together: more than a step keeps, so that no cache holds them."""


@dataclass
class Work:
    """What the operations of a kind come to in a step.

    Attributes:
        flops: a multiplication and an addition are two.
        bytes: of the arrays that are read and written.
        floor_s: each operation at the peak or the bandwidth, whichever takes longer.
        seconds: processor seconds divided by the threads.
    """

    calls: int = 0
    flops: float = 0.0
    bytes: float = 0.0
    floor_s: float = 0.0
    seconds: float = 0.0


class Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the :class:`Work` of what runs under it, by kind.

    Args:
        flops_per_s, bytes_per_s: the machine's.
    """

    def __init__(self, flops_per_s: float, bytes_per_s: float, threads: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops_per_s, self.bytes_per_s, self.threads = flops_per_s, bytes_per_s, threads
        self.found = {kind: Work() for kind in KINDS}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        started = time.process_time()
        result = func(*args, **kwargs)
        seconds = (time.process_time() - started) / self.threads
        if not func.is_view:
            packet = func.overloadpacket
            flops = flop_registry[packet](*args, **kwargs, out_val=result) if packet in flop_registry else 0
            given = {name: value for name, value in kwargs.items() if name != "out"}
            moved = sum(moved_bytes(part) for part in ((args, given), result))
            work = self.found[kind_of(str(packet).rpartition(".")[2], flops)]
            work.calls += 1
            work.flops += flops
            work.bytes += moved
            work.floor_s += max(flops / self.flops_per_s, moved / self.bytes_per_s)
            work.seconds += seconds
        return result


def kind_of(name: str, flops: float) -> str:
    """The kind of an operation of torch, such as ``bmm``."""
    if "batch_norm" in name:
        return NORM
    if "convolution" in name:
        return OVER_FRAMES
    return PRODUCTS if flops else REST


def moved_bytes(values: Any) -> int:
    """Bytes of the different arrays in a structure; what is only repeated (by ``expand``) counts once."""
    arrays = {id(value): value for value in tree_leaves(values) if isinstance(value, Tensor)}
    return sum(_stored(array) for array in arrays.values())


def _stored(array: Tensor) -> int:
    count = array.element_size()
    for size, stride in zip(array.shape, array.stride(), strict=True):
        count *= size if stride or not size else 1
    return count


def bandwidth(array_bytes: int, device: torch.device, ring_bytes: int = RING_BYTES, rounds: int = 3) -> float:
    """Bytes/s, read and written, of copies of arrays of so many bytes, none of which a cache holds; the best."""
    count = max(2, ring_bytes // array_bytes)
    arrays = [torch.ones(array_bytes // 4, device=device) for _ in range(count)]
    best = float("inf")
    for _ in range(rounds):
        started = clock_s(device)
        for before, after in itertools.pairwise(arrays):
            after.copy_(before)
        best = min(best, clock_s(device) - started)
    return 2 * array_bytes * (count - 1) / best


def measure(step: Step, variant: Variant, rounds: int) -> dict[str, Any]:
    """One network in one precision, in this process.

    Returns:
        ``flops_per_s`` and ``bytes_per_s`` of the machine, ``step_s`` (processor seconds of a whole step divided by the
        threads, the median of ``rounds``), and ``work``: kind -> :class:`Work` of a step, with the median of seconds.
    """
    device, take = resolve_device(step.device), ready(step, variant)
    threads = torch.get_num_threads()
    peak = matrix_flops(device, torch.bfloat16 if variant.precision == "bfloat16" else torch.float32)
    # an array of a block of the first width, float32
    rate = bandwidth(4 * step.clips * step.persons * step.base_channels * step.joints * step.frames, device)
    for _ in range(WARM_UP_STEPS):
        take()
    whole, metered = [], []
    for _ in range(rounds):
        used = time.process_time()
        take()
        whole.append((time.process_time() - used) / threads)
        with Meter(peak, rate, threads) as meter:
            take()
        metered.append(meter.found)
    work = {
        kind: {**asdict(found), "seconds": statistics.median(each[kind].seconds for each in metered)}
        for kind, found in metered[0].items()
    }
    return {"flops_per_s": peak, "bytes_per_s": rate, "step_s": statistics.median(whole), "work": work}


def run(step: Step, rounds: int, ways: Sequence[Variant]) -> dict[str, Any]:
    """Measure every way, one after another.

    Raises:
        ValueError: the device is a GPU, whose operations go on after they were dispatched.
    """
    if resolve_device(step.device).type != "cpu":
        raise ValueError(f"--device {step.device}: seconds of single operations are measured on a CPU alone")
    machine = describe_machine() | ({"threads": step.threads} if step.threads else {})
    rows = []
    for way in ways:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows.append({**asdict(way), **pool.apply(measure, (step, way, rounds))})
    file = None if step.against is None else step.against.rpartition("/")[2]
    return {"step": {**asdict(step), "against": file}, "rounds": rounds, "machine": machine, "rows": rows}


def total(work: dict[str, Any], name: str, kinds: Iterable[str] = KINDS) -> float:
    """The sum of a figure over kinds."""
    return float(sum(work[kind][name] for kind in kinds))


def floors(row: dict[str, Any]) -> dict[str, float]:
    """Three floors of a step, in seconds: of its own operations; of its products and convolutions alone, as if all else
    were fused into them; of its multiply-adds alone."""
    work = row["work"]
    return {
        "operations": total(work, "floor_s"),
        "fused": total(work, "floor_s", (PRODUCTS, OVER_FRAMES)),
        "arithmetic": total(work, "flops") / row["flops_per_s"],
    }


def markdown(result: dict[str, Any], command: str, note: str = "") -> str:
    """A page: what each network does and its floors, and ours in float32 by kind of operation."""
    step, first = Step(**result["step"]), result["rows"][0]
    lines = [
        "# The roofline of a training step of CTR-GCN",
        "",
        f"`{command}`",
        "",
        f"Forward, loss, backward and SGD on a batch {step.shape}, {step.classes} classes, CPU. "
        f"{machine_line(result['machine'])}. Seconds are processor seconds divided by the threads, medians of "
        f"{result['rounds']} steps.",
        "",
        "| | GFLOP | GB moved | peak, GFLOP/s | bandwidth, GB/s | s/step | floor of its operations, s | and all but "
        f"products fused, s | arithmetic alone, s | floors as times {first['name']} |",
        "|---" * 10 + "|",
    ]
    for row in result["rows"]:
        bound = floors(row)
        cells = [row["name"], f"{total(row['work'], 'flops') / 1e9:.0f}", f"{total(row['work'], 'bytes') / 1e9:.1f}"]
        cells += [f"{row['flops_per_s'] / 1e9:.0f}", f"{row['bytes_per_s'] / 1e9:.1f}", f"{row['step_s']:.3g}"]
        cells += [f"{value:.3g}" for value in bound.values()]
        cells.append(" / ".join(f"{first['step_s'] / value:.1f}" for value in bound.values()))
        lines.append(f"| {' | '.join(cells)} |")
    for row in (row for row in result["rows"] if row["network"] == "hpnet"):
        columns = ["operations", "calls", "GFLOP", "GB moved", "s", "floor, s", "floor as a share"]
        lines += ["", f"## {row['name']}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        for kind in KINDS:
            work = row["work"][kind]
            cells = [kind, f"{work['calls']:,}", f"{work['flops'] / 1e9:.1f}", f"{work['bytes'] / 1e9:.2f}"]
            cells += [f"{work['seconds']:.3g}", f"{work['floor_s']:.3g}"]
            lines.append(f"| {' | '.join(cells)} | {work['floor_s'] / max(work['seconds'], 1e-9):.0%} |")
    lines += [
        "",
        "A multiplication and an addition are two FLOP. Moved bytes are of the arrays that operations read and write; "
        "views move none. The peak is of a product of large square matrices in that precision. The bandwidth is of "
        "copies of arrays as large as those of the first blocks, too many for any cache. The floor of an operation is "
        "its FLOP at the peak or its bytes at the bandwidth, whichever takes longer. What stays in a core's cache from "
        "one operation to the next is quicker than that, so a share can be above 100 %.",
    ]
    return "\n".join([*lines, "", note] if note else lines) + "\n"
