"""A fitted fusion applied to new clips. Axes: N clips, K classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..core.softmax import softmax
from ..core.streams import refuse_former_name
from .rules import find_rule
from .stored import Floats


def given_weights(streams: Sequence[str], weights: Mapping[str, float]) -> dict[str, float]:
    """Weights by stream, checked: one for every stream, 0 or more, and not all 0.

    Raises:
        ValueError: a stream is unknown or has no weight, or a weight is not a number of 0 or more.
    """
    unknown = sorted(set(weights) - set(streams))
    if unknown:
        refuse_former_name(unknown[0], "fusion weights")
        raise ValueError(f"weight for unknown stream {unknown[0]!r}; the streams are {', '.join(streams)}")
    lacking = sorted(set(streams) - set(weights))
    if lacking:
        raise ValueError(f"stream {lacking[0]!r} has no weight; give {lacking[0]}=0 to leave it out")
    for stream, weight in weights.items():
        if not np.isfinite(weight) or weight < 0:
            raise ValueError(f"weight of stream {stream!r} is {weight}; expected a number of 0 or more")
    if not any(weights.values()):
        raise ValueError("all fusion weights are 0: give at least one stream a weight")
    return {stream: float(weights[stream]) for stream in streams}


def subset_weights(weights: Mapping[str, float], streams: Sequence[str], parts: Sequence[str]) -> dict[str, float]:
    """Given weights of all ``streams`` -> weights of the combination ``parts``.

    They are scaled so that their largest weight is the largest weight of all streams. This keeps the balance with the
    logit adjustment. If every part has weight 0, weights are equal.

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


def fuse_as_fitted(fitted: Mapping[str, Any], logits: Mapping[str, ArrayLike]) -> Floats:
    """Fuse new clips in the same way as :func:`fuse` fused the project's clips.

    Args:
        fitted: one rule's entry of ``weights.json`` (:meth:`FusionResult.to_json`).
        logits: stream -> (N, K) logits of the same networks; streams of weight 0 may be left out.

    Returns:
        (N, K) fused scores; their softmax gives probabilities.

    Raises:
        ValueError: a stream with a weight above 0 is missing, or a stream has no weight.
    """
    weights: Mapping[str, float] = fitted["weights"]
    lacking = sorted(s for s, w in weights.items() if w and s not in logits)
    if lacking:
        raise ValueError(f"stream {lacking[0]!r} is missing, but the fusion weights were fitted with it")
    rule = find_rule(fitted["rule"])
    fused: Floats = np.negative(np.asarray(fitted["adjustment"], dtype=np.float64))[None]
    for stream, stored in logits.items():
        if stream not in weights:
            raise ValueError(f"stream {stream!r} has no fusion weight; weights are for {', '.join(weights)}")
        values = rule.prepare(np.asarray(stored, dtype=np.float64), "logits")
        if stream in fitted["softmaxed"]:
            values = softmax(values)
        fused = fused + weights[stream] * rule.term(values, fitted["temperatures"][stream])
    return fused
