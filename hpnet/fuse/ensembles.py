"""The ensembles that the paper tabulates (Tables XVII and XVIII), and their accuracies. Axes: N clips, K classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from ..artifacts.scores import Scores
from ..core.metrics import mean_class_accuracy, predictions, top_k
from ..core.statistics import bootstrap_interval
from .fusion import FusionResult, given_weights
from .rules import RULES

COMBINATIONS: dict[str, tuple[str, ...]] = {
    "hpj+hpnet": ("hpj", "hpnet"),
    "hpb+hpnet": ("hpb", "hpnet"),
    "hpj+hpb": ("hpj", "hpb"),
    "hpj+hpb+hpnet": ("hpj", "hpb", "hpnet"),
}
"""The partial ensembles of Tables XVII and XVIII; single streams and ``all`` come on top."""


def combinations(streams: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The ensembles of Tables XVII and XVIII that these streams allow, ``all`` last."""
    names = tuple(streams)
    found = {name: parts for name, parts in COMBINATIONS.items() if set(parts) <= set(names)}
    return {**found, "all": names}


def subset_weights(weights: Mapping[str, float], streams: Sequence[str], parts: Sequence[str]) -> dict[str, float]:
    """Given weights of all ``streams`` -> those of the combination ``parts``.

    Scaled so that the largest weight stays the largest of all, which keeps their balance against the logit adjustment;
    equal weights where every part has weight 0.

    Raises:
        ValueError: a weight for an unknown stream, or a stream without one.
    """
    checked = given_weights(streams, weights)
    top = max(checked.values())
    chosen = {stream: checked[stream] for stream in parts}
    largest = max(chosen.values())
    if largest == 0:
        return dict.fromkeys(parts, top)
    return {stream: weight * (top / largest) for stream, weight in chosen.items()}


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
    """Classes that no labelled clip of a split has; a mean of per-class accuracies leaves them out."""
    return sorted(set(range(scores.logits.shape[1])) - set(scores.split(split).labels.tolist()))


def _row(
    rule: str, name: str, parts: Sequence[str], result: Scores, used: Mapping[str, float], bootstrap: int, seed: int
) -> dict[str, Any]:
    row: dict[str, Any] = {"rule": rule, "name": name, "streams": "+".join(parts), **evaluate(result)}
    row["clips"] = int(row["clips"])
    part = result.split("test")
    known = part.labels >= 0
    if bootstrap:
        correct = predictions(part.logits[known]) == part.labels[known]
        top1 = bootstrap_interval(correct, resamples=bootstrap, seed=seed)
        balanced = bootstrap_interval(correct, part.labels[known], resamples=bootstrap, seed=seed)
        row |= {"top1_low": top1.low, "top1_high": top1.high}
        row |= {"mean_class_accuracy_low": balanced.low, "mean_class_accuracy_high": balanced.high}
    return {**row, "weights": ",".join(f"{s}={w:.6g}" for s, w in used.items())}


def ensemble_table(
    streams: Mapping[str, Scores],
    fuse_with: Callable[[Mapping[str, Scores], str], FusionResult],
    bootstrap: int = 0,
    seed: int = 0,
) -> pd.DataFrame:
    """Test accuracy of every stream, and of every combination under both rules, as separate rows.

    Args:
        streams: name -> scores.
        fuse_with: (streams of a combination, rule) -> fused, usually :func:`fuse` with its options bound.
        bootstrap: resamples behind the intervals (by clip); 0: none.
        seed: of the bootstrap.

    Returns:
        Columns rule (``stream`` for a stream by itself, as stored), name, streams, top1, top5, mean_class_accuracy,
        clips, the intervals' ends, weights. ``balanced`` has single streams too: the adjustment alone.
    """
    rows = [_row("stream", s, (s,), scores, {}, bootstrap, seed) for s, scores in streams.items()]
    for rule in RULES:
        parts_of = combinations(streams)
        if rule == "balanced":
            parts_of = {**{s: (s,) for s in streams}, **parts_of}
        for name, parts in parts_of.items():
            result = fuse_with({s: streams[s] for s in parts}, rule)
            rows.append(_row(rule, name, parts, result.scores, result.weights, bootstrap, seed))
    return pd.DataFrame(rows)
