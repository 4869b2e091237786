"""The rules of fusion, one object each: sum over streams of w_s term(x_s), minus an adjustment.

``weighted``
    The paper's weighted sum, sum_s w_s x_s(k) (Section IV-E, Tables XVII and XVIII), of the scores x **as they are
    stored**, for given and for fitted weights. The authors sum the softmax probabilities of the multimodal stream and
    the raw logits of the four topology streams. For such files this rule gives exactly the same result.
``balanced``
    sum_s w_s log p_s(k) - tau log f(k), with f the training frequency of class k: a log-linear pool with logit
    adjustment (Menon et al. 2021, Eq. 9), for data sets that report mean class accuracy.

A new rule is a :class:`Rule`, here or in its own file, and an entry in :data:`hpnet.fuse.RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..core.choices import load
from ..core.softmax import log_softmax
from ..core.streams import MULTIMODAL
from . import RULES
from .stored import Floats, Kind, log_probabilities

Origin = Literal["validation", "given", "released", "equal"]
"""Origin of weights."""
RELEASED_MULTIMODAL_WEIGHT: dict[str, float] = {
    "ntu60-xsub": 4.0, "ntu60-xview": 3.0, "ntu120-xsub": 6.0, "ntu120-xset": 6.0,
    "smarthome-cs": 11.0, "smarthome-cv1": 4.0, "smarthome-cv2": 8.0,
}  # fmt: skip
"""Protocol -> the weight of the multimodal stream's probabilities in the released ensembles (HPNet-Action)."""
RELEASED_TOPOLOGY_WEIGHT = 0.1
"""The weight of every other stream's logits there."""


@dataclass(frozen=True)
class Constants:
    """Weights for the case that they cannot be fitted.

    Attributes:
        weights: per stream.
        origin: released or equal.
        softmaxed: streams whose logits are turned into probabilities first.
    """

    weights: dict[str, float]
    origin: Origin
    softmaxed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """A rule.

    Attributes:
        prepare: stored scores (N, K) and their kind -> scores for fitting temperatures and weights.
        term: prepared scores (N, K) and their temperature -> the term that is multiplied by the weight.
        constants: (stream -> kind of its scores, protocol) -> weights if they cannot be fitted.
        tempered: every stream keeps its own temperature, which is fitted also if weights are given; otherwise a fitted
            temperature becomes part of the weight.
        adjusted: tau * log training frequency is subtracted.
    """

    prepare: Callable[[Floats, Kind], Floats]
    term: Callable[[Floats, float], Floats]
    constants: Callable[[Mapping[str, Kind], str], Constants]
    tempered: bool
    adjusted: bool


def weighted_constants(kinds: Mapping[str, Kind], protocol: str) -> Constants:
    """The released weights of a protocol of the paper; for other protocols 1 for every stream's probabilities.

    The released weight of the multimodal stream is for its probabilities. For other protocols all logits become
    probabilities, because logits of different networks have different scales.
    """
    if protocol not in RELEASED_MULTIMODAL_WEIGHT:
        return Constants(dict.fromkeys(kinds, 1.0), "equal", tuple(s for s, kind in kinds.items() if kind == "logits"))
    weights = dict.fromkeys(kinds, RELEASED_TOPOLOGY_WEIGHT)
    if MULTIMODAL in weights:
        weights[MULTIMODAL] = RELEASED_MULTIMODAL_WEIGHT[protocol]
    return Constants(weights, "released", (MULTIMODAL,) if kinds.get(MULTIMODAL) == "logits" else ())


def balanced_constants(kinds: Mapping[str, Kind], protocol: str) -> Constants:
    """1 for the multimodal stream and 0.1 for the others in a protocol of the paper; otherwise 1 / S for each.

    The largest released weight is 1, and equal weights sum to 1, so that tau means the same for any set of streams.
    """
    if protocol not in RELEASED_MULTIMODAL_WEIGHT:
        return Constants(dict.fromkeys(kinds, 1.0 / len(kinds)), "equal")
    weights = {stream: 1.0 if stream == MULTIMODAL else RELEASED_TOPOLOGY_WEIGHT for stream in kinds}
    return Constants({stream: weight / max(weights.values()) for stream, weight in weights.items()}, "released")


def as_stored(scores: Floats, kind: Kind) -> Floats:
    """Scores as stored."""
    return scores


def divided(values: Floats, temperature: float) -> Floats:
    """Scores at a temperature; 1 leaves them as they are."""
    return values / temperature


def log_probabilities_at(values: Floats, temperature: float) -> Floats:
    """Log-probabilities (N, K) at a temperature, normalised again."""
    return np.asarray(log_softmax(values / temperature), dtype=np.float64)


WEIGHTED = Rule(as_stored, divided, weighted_constants, tempered=False, adjusted=False)
BALANCED = Rule(log_probabilities, log_probabilities_at, balanced_constants, tempered=True, adjusted=True)


def find_rule(name: str) -> Rule:
    """The rule of that name.

    Raises:
        ValueError: there is none; lists the choices.
    """
    rule: Rule = load(RULES, name, "fusion rule")
    return rule
