"""``hpnet bench gradients``: training steps of CTR-GCN with own gradients against plain torch operations.

Layout, weights and allocator are the same, so that the ratio is what the gradients of :mod:`hpnet.models.fused` give.
"""

from __future__ import annotations

from typing import Any

from .machine import machine_line
from .train import Step, Variant, run

SIZES = {
    "demo": Step(channels=32, frames=16, classes=18, base_channels=16, blocks=4),
    "paper": Step(channels=96, frames=64, classes=120, base_channels=64, blocks=10),
}
"""Networks that are measured, on a CPU: the demo's, and the paper's."""
WAYS = {
    precision: (
        Variant(f"plain operations, {precision}", precision=precision, own_gradients=False),
        Variant(f"own gradients, {precision}", precision=precision),
    )
    for precision in ("float32", "bfloat16")
}


def measure(sizes: dict[str, Step], rounds: int) -> dict[str, Any]:
    """Every size, both precisions and both ways in turn.

    Returns:
        For each size the result of :func:`hpnet.bench.train.run` with ``times``: precision -> median seconds of plain
        operations over those of own gradients.
    """
    ways = [way for pair in WAYS.values() for way in pair]
    return {name: _timed(run(step, rounds, ways)) for name, step in sizes.items()}


def _timed(result: dict[str, Any]) -> dict[str, Any]:
    seconds = {row["name"]: row["median_s"] for row in result["variants"]}
    times = {precision: seconds[plain.name] / seconds[own.name] for precision, (plain, own) in WAYS.items()}
    return {**result, "times": times}


def markdown(results: dict[str, Any], command: str, note: str = "") -> str:
    """A page of one table."""
    first = next(iter(results.values()))
    lines = [
        "# Own gradients of CTR-GCN's steps",
        "",
        f"`{command}`",
        "",
        "How many times faster a training step (forward, loss, backward, SGD) is with the gradients of "
        "`hpnet/models/fused.py` than in plain torch operations of the same layout, on a CPU. Medians of "
        f"{first['rounds']} steps, taken in turn. {machine_line(first['machine'])}.",
        "",
        "| network | channels in, frames, blocks, base channels | clips × people | threads | float32 | bfloat16 |",
        "|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        step, times = result["step"], result["times"]
        size = f"{step['channels']}, {step['frames']}, {step['blocks']}, {step['base_channels']}"
        cells = [name.split(",")[0], size, f"{step['clips']} × {step['persons']}", str(result["machine"]["threads"])]
        lines.append(f"| {' | '.join(cells)} | {times['float32']:.2f} | {times['bfloat16']:.2f} |")
    return "\n".join([*lines, "", note] if note else lines) + "\n"
