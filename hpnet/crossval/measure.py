"""What the scores of all folds come to. Pure functions. Axes: N rows of all folds and seeds, K classes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..artifacts.crossval import FoldScores, numbered
from ..core.metrics import confusion, mean_class_accuracy, top_k
from ..core.statistics import Paired, bootstrap_interval, paired_difference

TOP1, CLASS_MEAN = "top1", "mean_class_accuracy"


@dataclass(frozen=True)
class Measured:
    """Accuracies of one stream, or of all fused.

    Attributes:
        folds: fold -> clips, top1 and mean_class_accuracy, the mean over seeds.
        top1, class_mean: mean over folds.
        sd_top1, sd_class_mean: standard deviation between folds (of the sample); None of one fold.
        low, high: 95 % interval of top1, resampling units; NaN where there is one unit alone.
        units: how many of them.
        sd_seeds: of top1 between seeds; None of one seed.
    """

    folds: Mapping[str, Mapping[str, float]]
    top1: float
    class_mean: float
    sd_top1: float | None
    sd_class_mean: float | None
    low: float
    high: float
    units: int
    sd_seeds: float | None

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        spread = {"sd": self.sd_top1, "sd_seeds": self.sd_seeds}
        return {
            TOP1: {"mean": self.top1, "low": _known(self.low), "high": _known(self.high), **spread},
            CLASS_MEAN: {"mean": self.class_mean, "sd": self.sd_class_mean},
            "folds": {fold: dict(values) for fold, values in self.folds.items()},
        }


def measure(scores: FoldScores, resamples: int, seed: int) -> Measured:
    """Accuracies of the test clips of every fold.

    The interval resamples units (sources) with all of their clips in all folds and seeds; each resample is the mean
    over its folds of the accuracy in the fold, as the value itself.

    Raises:
        ValueError: no fold has a labelled test clip.
    """
    tested = scores.tested()
    table, right = tested.table, tested.right()
    rows = []
    for (fold, training_seed), part in table.groupby(["fold", "seed"], sort=False):
        logits, labels = tested.logits[part.index], part.label.to_numpy()
        values = {TOP1: top_k(logits, labels), CLASS_MEAN: mean_class_accuracy(logits, labels)}
        rows.append({"fold": fold, "seed": training_seed, "clips": len(part), **values})
    each = pd.DataFrame(rows)
    folds = each.groupby("fold", sort=False)[["clips", TOP1, CLASS_MEAN]].mean()
    seeds = each.groupby("seed")[TOP1].mean().tolist()
    interval = bootstrap_interval(right, numbered(table.fold), table.unit, resamples, seed)
    return Measured(
        {
            str(fold): {"clips": int(row.clips), TOP1: float(row[TOP1]), CLASS_MEAN: float(row[CLASS_MEAN])}
            for fold, row in folds.iterrows()
        },
        float(folds[TOP1].mean()),
        float(folds[CLASS_MEAN].mean()),
        _sd(folds[TOP1].tolist()),
        _sd(folds[CLASS_MEAN].tolist()),
        interval.low,
        interval.high,
        interval.units,
        _sd(seeds),
    )


def pooled_confusion(scores: FoldScores) -> list[list[int]]:
    """Test clips of all folds and seeds: rows are true classes, columns predicted ones (K, K)."""
    tested = scores.tested()
    found: list[list[int]] = confusion(tested.logits, tested.table.label).tolist()
    return found


def difference(first: FoldScores, second: FoldScores, resamples: int, seed: int) -> Paired:
    """``second`` - ``first`` in mean accuracy over folds, on the same test clips of the same folds, mean over seeds.

    Raises:
        ValueError: they were tested on other clips or in other folds.
    """
    rows, scale = first.paired(second), math.lcm(first.seeds, second.seeds)
    return paired_difference(rows.before, rows.after, numbered(rows.fold), rows.unit, resamples, seed, scale)


def _sd(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
