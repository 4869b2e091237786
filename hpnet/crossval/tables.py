"""Results as lines for a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..artifacts.crossval import FoldScores, counted
from ..core.statistics import Paired, benjamini_hochberg
from .measure import TOP1, Measured, difference
from .step import Result


def fold_lines(result: Result) -> list[str]:
    """A line per fold with every stream, then means, intervals and class means."""
    streams = list(result.measured)
    rows = [["fold", "clips", *streams]]
    for fold in result.summary.folds:
        own = [f"{_percent(result.measured[stream].folds[fold.name][TOP1])}" for stream in streams]
        rows.append([fold.name, str(fold.test), *own])
    every = result.measured.values()
    rows.append(["mean", "", *(_percent(m.top1) for m in every)])
    if len(result.summary.folds) > 1:
        rows.append(["sd of folds", "", *(_percent(m.sd_top1 or 0.0) for m in every)])
    if len(result.summary.seeds) > 1:
        rows.append(["sd of seeds", "", *(_percent(m.sd_seeds or 0.0) for m in every)])
    rows.append(["95 %", "", *(_ends(m) for m in every)])
    rows.append(["mean per class", "", *(_percent(m.class_mean) for m in every)])
    return [
        f"{result.name}: top-1, %, {result.summary.folded_by}; intervals resample {units(result)}",
        *_aligned(rows),
    ]


def curve_lines(result: Result) -> list[str]:
    """A line per share of the training clips, and what the last doubling brought; none where there is no curve."""
    if result.curve is None:
        return []
    rows = [["of the clips", "per action", "trainings", "top-1, %", "95 %", "sd of draws", "all clips: points"]]
    whole = result.curve.points[-1]
    for point in result.curve.points:
        gain = point.gain
        change = "" if gain is None else f"{100 * gain.value:+.1f} ({_range(gain.low, gain.high)})"
        sd = "" if point.sd is None else _percent(point.sd)
        rows.append(
            [
                f"{point.clips / whole.clips:.0%}",
                f"{point.per_action:.1f}",
                str(point.draws),
                _percent(point.top1),
                "no interval"
                if point.low is None or point.high is None
                else f"{_percent(point.low)}–{_percent(point.high)}",
                sd,
                change,
            ]
        )
    head = f"{result.name}: accuracy against training clips per action, on the same test clips"
    return [head, *_aligned(rows), *([result.curve.text] if result.curve.text else [])]


def result_lines(results: Sequence[Result]) -> list[str]:
    """A line per result: its streams, folds, test clips, mean with interval, and what was changed."""
    rows = [["result", "streams", "folds", "clips", "top-1, %", "95 %", "per class", "changed"]]
    for result in results:
        best, summary = result.best, result.summary
        rows.append(
            [
                result.name,
                "+".join(summary.streams),
                str(len(summary.folds)),
                str(sum(fold.test for fold in summary.folds)),
                f"{_percent(best.top1)}{'' if best.sd_top1 is None else f' ± {_percent(best.sd_top1)}'}",
                f"{_ends(best)} ({units(result)})",
                _percent(best.class_mean),
                ", ".join(f"{name}={value}" for name, value in summary.changed.items()) or "-",
            ]
        )
    return _aligned(rows, left=(0, 1, 7))


def compare_lines(scores: Mapping[str, FoldScores], results: Sequence[Result], resamples: int, seed: int) -> list[str]:
    """:func:`result_lines`, and the difference of each result to the first one; q-values are corrected for all of them.

    Raises:
        ValueError: they were tested on other clips or in other folds.
    """
    first, *others = results
    found = [difference(scores[first.name], scores[other.name], resamples, seed) for other in others]
    q_values = benjamini_hochberg([one.p_value for one in found]).tolist()
    return [
        *result_lines(results),
        *(
            f"{other.name} - {first.name}: {_difference(one, q if len(others) > 1 else None)}, on the same clips, "
            f"resampling {counted(first.summary.unit, one.difference.units)}"
            for other, one, q in zip(others, found, q_values, strict=True)
        ),
    ]


def units(result: Result) -> str:
    """'12 sources'."""
    return counted(result.summary.unit, result.best.units)


def _ends(measured: Measured) -> str:
    return "no interval" if math.isnan(measured.low) else f"{_percent(measured.low)}–{_percent(measured.high)}"


def _difference(found: Paired, q_value: float | None) -> str:
    change = found.difference
    ends = _range(None if math.isnan(change.low) else change.low, change.high)
    corrected = "" if q_value is None else f", q {_small(q_value)}"
    return f"{100 * change.value:+.1f} points ({ends}), p {_small(found.p_value)}{corrected}"


def _range(low: float | None, high: float | None) -> str:
    return "no interval" if low is None or high is None else f"{100 * low:+.1f} to {100 * high:+.1f}"


def _small(value: float) -> str:
    return f"= {value:.3f}" if value >= 0.001 else "< 0.001"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _aligned(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [text.ljust(widths[at]) if at in left else text.rjust(widths[at]) for at, text in enumerate(row)]
        lines.append("  ".join(cells).rstrip())
    return lines
