"""The ensembles that the paper tabulates (Tables XVII and XVIII), and their accuracies. Axes: N clips, K classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..artifacts.combinations import Combination, Combinations
from ..artifacts.scores import Scores
from ..core.metrics import mean_class_accuracy, predictions, top_k
from ..core.statistics import bootstrap_interval
from ..core.streams import MULTIMODAL
from ..core.units import UNKNOWN, Units
from . import RULES
from .fusion import FusionResult
from .rules import find_rule

COMBINATIONS: dict[str, tuple[str, ...]] = {
    "+".join(streams): streams
    for streams in (("hpj", MULTIMODAL), ("hpb", MULTIMODAL), ("hpj", "hpb"), ("hpj", "hpb", MULTIMODAL))
}
"""The partial ensembles of Tables XVII and XVIII; single streams and ``all`` are added."""


def combinations(streams: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The ensembles of Tables XVII and XVIII that these streams allow, ``all`` last."""
    names = tuple(streams)
    found = {name: parts for name, parts in COMBINATIONS.items() if set(parts) <= set(names)}
    return {**found, "all": names}


def evaluate(scores: Scores, split: str = "test") -> dict[str, float]:
    """top1, top5, mean_class_accuracy (fractions; the mean over classes that occur) and clips of a split.

    Clips without a label are left out.

    Raises:
        ValueError: the split has no labelled clip.
    """
    part = scores.split(split)
    known = part.labels >= 0
    if not known.any():
        raise ValueError(f"split {split!r} has no labelled clip: nothing to measure")
    logits, labels = part.logits[known], part.labels[known]
    return {
        "top1": top_k(logits, labels, 1),
        "top5": top_k(logits, labels, 5),
        "mean_class_accuracy": mean_class_accuracy(logits, labels),
        "clips": float(known.sum()),
    }


def absent_classes(scores: Scores, split: str = "test") -> list[int]:
    """Classes without a labelled clip in a split; the mean class accuracy leaves them out."""
    return sorted(set(range(scores.logits.shape[1])) - set(scores.split(split).labels.tolist()))


@dataclass(frozen=True)
class Ensemble:
    """Fused scores of some streams.

    Attributes:
        rule: of fusion; ``stream`` for a single stream, as stored.
        name: the streams joined by ``+``, or ``all``.
        streams: the streams in it.
        scores: of every clip.
        weights: per stream; empty for a single stream.
    """

    rule: str
    name: str
    streams: tuple[str, ...]
    scores: Scores
    weights: Mapping[str, float] = field(default_factory=dict)


def all_ensembles(
    streams: Mapping[str, Scores], fuse_with: Callable[[Mapping[str, Scores], str], FusionResult]
) -> list[Ensemble]:
    """Every stream, and every combination with every rule. A rule with an adjustment has single streams too.

    Args:
        streams: name -> scores.
        fuse_with: (streams of a combination, rule) -> fused, usually :func:`hpnet.fuse.fusion.fuse` with its options
            bound.
    """
    found = [Ensemble("stream", name, (name,), scores) for name, scores in streams.items()]
    for rule in RULES:
        parts_of = combinations(streams)
        if find_rule(rule).adjusted:
            parts_of = {**{s: (s,) for s in streams}, **parts_of}
        for name, parts in parts_of.items():
            result = fuse_with({s: streams[s] for s in parts}, rule)
            found.append(Ensemble(rule, name, parts, result.scores, result.weights))
    return found


def ensemble_table(
    ensembles: Iterable[Ensemble], bootstrap: int = 0, seed: int = 0, units: Units = UNKNOWN
) -> pd.DataFrame:
    """Test accuracy of every ensemble, a row each.

    Args:
        bootstrap: resamples behind the intervals; 0: none.
        seed: of the bootstrap.
        units: what is resampled.

    Returns:
        Columns rule, name, streams, top1, top5, mean_class_accuracy, clips, the intervals' ends and what they are over,
        weights. The ends are NaN where there is one unit alone.
    """
    return pd.DataFrame([_row(ensemble, bootstrap, seed, units) for ensemble in ensembles])


def predicted_actions(ensembles: Iterable[Ensemble]) -> Combinations:
    """Predictions of the ensembles of two or more streams on the labelled test clips."""
    found = []
    for ensemble in ensembles:
        if len(ensemble.streams) > 1:
            part, known = _labelled_test(ensemble.scores)
            clip_ids = tuple(clip for clip, keep in zip(part.clip_ids, known, strict=True) if keep)
            predicted = predictions(part.logits[known])
            found.append(
                Combination(ensemble.rule, ensemble.name, ensemble.streams, clip_ids, part.labels[known], predicted)
            )
    return Combinations.of(found)


def _labelled_test(scores: Scores) -> tuple[Scores, NDArray[np.bool_]]:
    """The test clips, and a mask of those with a label."""
    part = scores.split("test")
    return part, part.labels >= 0


def _row(ensemble: Ensemble, bootstrap: int, seed: int, units: Units) -> dict[str, Any]:
    row: dict[str, Any] = {
        "rule": ensemble.rule, "name": ensemble.name, "streams": "+".join(ensemble.streams), **evaluate(ensemble.scores)
    }  # fmt: skip
    row["clips"] = int(row["clips"])
    part, known = _labelled_test(ensemble.scores)
    if bootstrap:
        correct = predictions(part.logits[known]) == part.labels[known]
        groups = units.numbers(part.clip_ids)[known]
        top1 = bootstrap_interval(correct, None, groups, bootstrap, seed)
        balanced = bootstrap_interval(correct, part.labels[known], groups, bootstrap, seed)
        row |= {"top1_low": top1.low, "top1_high": top1.high}
        row |= {"mean_class_accuracy_low": balanced.low, "mean_class_accuracy_high": balanced.high}
        row["over"] = units.counted(top1.units)
    return {**row, "weights": ",".join(f"{s}={w:.6g}" for s, w in ensemble.weights.items())}
