"""Late fusion: the scores of several streams -> one score per clip.

Two rules (N clips, S streams, K classes):

``weighted``
    The paper's weighted sum, sum_s w_s x_s(k) (Section IV-E, Tables XVII and XVIII), of the scores x **as they are
    stored**, whether weights are given or fitted: the authors sum the softmax probabilities of the multimodal stream
    with the raw logits of the four topology streams (0.1 each and 11), and exactly that comes out for such files.
``balanced``
    sum_s w_s log p_s(k) - tau log f(k), with f the training frequency of class k: a log-linear pool with logit
    adjustment (Menon et al. 2021, Eq. 9), for data sets judged by mean per-class accuracy.

Weights are fitted on the validation split alone, by class-balanced cross-entropy. Where there is none, a protocol of
the paper has the released weights, any other equal ones (:func:`weights_without_validation`), and the result says so.
Scores are joined by clip_id, never by position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax

from ..artifacts.formats import Labelling, Scores
from ..core.metrics import mean_class_accuracy, predictions, top_k
from ..core.statistics import bootstrap_interval

Floats = NDArray[np.float64]
Kind = Literal["probabilities", "logits"]
Weights = Mapping[str, float] | Literal["validation"]

RULES: tuple[str, ...] = ("weighted", "balanced")
Origin = Literal["validation", "given", "released", "equal"]
"""Where weights come from."""
RELEASED_RGB_WEIGHT: dict[str, float] = {
    "ntu60-xsub": 4.0, "ntu60-xview": 3.0, "ntu120-xsub": 6.0, "ntu120-xset": 6.0,
    "smarthome-cs": 11.0, "smarthome-cv1": 4.0, "smarthome-cv2": 8.0,
}  # fmt: skip
"""Protocol -> the weight of the multimodal stream's probabilities in the released ensembles (HPNet-Action)."""
RELEASED_TOPOLOGY_WEIGHT = 0.1
"""The weight of every other stream's logits there."""
COMBINATIONS: dict[str, tuple[str, ...]] = {
    "hpj+hpnet": ("hpj", "hpnet"),
    "hpb+hpnet": ("hpb", "hpnet"),
    "hpj+hpb": ("hpj", "hpb"),
    "hpj+hpb+hpnet": ("hpj", "hpb", "hpnet"),
}
"""The partial ensembles of Tables XVII and XVIII; single streams and ``all`` come on top."""

MIN_VALIDATION_CLIPS = 10
PROBABILITY_FLOOR = 1e-8
_SUM_TOLERANCE = 1e-3
_LOG_TEMPERATURE_BOUNDS = (-4.0, 4.0)


@dataclass(frozen=True)
class Fit:
    """Where fitted weights come from: split, clips, seed, standard error per stream (bootstrap by clip), loss."""

    split: str
    clips: int
    seed: int
    resamples: int
    standard_error: dict[str, float]
    loss: float


@dataclass(frozen=True)
class FusionResult:
    """A fused score and how it was made.

    Attributes:
        scores: every clip of the streams, ordered by clip_id. Logits hold the fused sum of the rule.
        rule: weighted or balanced.
        weights: per stream.
        temperatures: per stream, that its log-probabilities were calibrated with; 1 for scores taken as they are.
        tau: strength of the logit adjustment; 0 for ``weighted``.
        fit: None unless the weights were fitted.
        notes: what a reader must know, one sentence each.
        adjustment: (K,) subtracted from the sum: tau * log training frequency for ``balanced``, zeros otherwise.
        softmaxed: streams whose logits were turned into probabilities before they were summed.
        origin: where the weights come from.
    """

    scores: Scores
    rule: str
    weights: dict[str, float]
    temperatures: dict[str, float]
    tau: float
    fit: Fit | None
    notes: tuple[str, ...]
    adjustment: tuple[float, ...] = ()
    softmaxed: tuple[str, ...] = ()
    origin: Origin = "given"

    def to_json(self) -> dict[str, Any]:
        """Everything but the scores, as plain JSON values."""
        return {
            "rule": self.rule,
            "weights": self.weights,
            "temperatures": self.temperatures,
            "tau": self.tau,
            "fit": None if self.fit is None else dict(self.fit.__dict__),
            "notes": list(self.notes),
            "adjustment": list(self.adjustment),
            "softmaxed": list(self.softmaxed),
            "origin": self.origin,
        }


@dataclass(frozen=True)
class Aligned:
    """Streams joined by clip_id.

    Attributes:
        clip_ids, splits: N, ordered by clip_id.
        labels: (N,), -1 where unknown.
        values: stream -> (N, K) scores as stored; rows of zeros where the stream lacks the clip.
        present: stream -> (N,) bool.
        notes: what was missing.
        labelling: what the streams were made from, where all of them say.
    """

    clip_ids: tuple[str, ...]
    splits: tuple[str, ...]
    labels: NDArray[np.int64]
    values: dict[str, Floats]
    present: dict[str, NDArray[np.bool_]]
    notes: tuple[str, ...] = field(default=())
    labelling: Labelling | None = None

    @property
    def num_classes(self) -> int:
        """K."""
        return next(iter(self.values.values())).shape[1]


# --- reading scores -------------------------------------------------------------------------------------------------


def score_kind(scores: ArrayLike) -> Kind:
    """What stored scores (N, K) are: ``probabilities`` if every row is >= 0 and sums to 1, else ``logits``."""
    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0:
        return "logits"
    return "probabilities" if (values >= 0).all() and (abs(values.sum(1) - 1) < _SUM_TOLERANCE).all() else "logits"


def log_probabilities(scores: ArrayLike, kind: Kind) -> Floats:
    """Normalised log-probabilities (N, K) of stored scores.

    Probabilities are floored at 1e-8 before their logarithm.
    """
    values = np.asarray(scores, dtype=np.float64)
    if kind == "probabilities":
        values = np.log(np.maximum(values, PROBABILITY_FLOOR))
    return np.asarray(log_softmax(values, axis=1), dtype=np.float64)


def _some(names: Iterable[str], shown: int = 5) -> str:
    listed = sorted(names)
    return ", ".join(listed[:shown]) + (f" and {len(listed) - shown} more" if len(listed) > shown else "")


def align(streams: Mapping[str, Scores], allow_missing: bool = False) -> Aligned:
    """Join streams by clip_id.

    Raises:
        ValueError: no stream; streams with different classes, labels or splits for a clip; clips that some
            stream lacks, unless ``allow_missing`` (the stream then adds nothing for that clip).
    """
    if not streams:
        raise ValueError("there is no stream to fuse")
    first = next(iter(streams))
    num_classes = streams[first].logits.shape[1]
    facts: dict[str, tuple[str, int]] = {}
    owner: dict[str, str] = {}
    for stream, scores in streams.items():
        if scores.logits.shape[1] != num_classes:
            raise ValueError(
                f"stream {stream!r} scores {scores.logits.shape[1]} classes but {first!r} {num_classes}: "
                "they were made for different class lists"
            )
        for clip, split, label in zip(scores.clip_ids, scores.splits, scores.labels.tolist(), strict=True):
            if label >= num_classes:
                raise ValueError(
                    f"stream {stream!r}: clip {clip!r} has label {label}, but there are {num_classes} classes"
                )
            if facts.setdefault(clip, (split, label)) != (split, label):
                known = facts[clip]
                raise ValueError(
                    f"clip {clip!r} has label {label} and split {split!r} in stream {stream!r}, "
                    f"label {known[1]} and split {known[0]!r} in {owner[clip]!r}: the streams do not belong together"
                )
            owner.setdefault(clip, stream)
    labelling = _joined_labelling(streams)
    order = sorted(facts)
    place = {clip: row for row, clip in enumerate(order)}
    values: dict[str, Floats] = {}
    present: dict[str, NDArray[np.bool_]] = {}
    notes: list[str] = []
    for stream, scores in streams.items():
        rows = np.array([place[clip] for clip in scores.clip_ids], dtype=np.int64)
        values[stream] = np.zeros((len(order), num_classes))
        values[stream][rows] = scores.logits
        present[stream] = np.zeros(len(order), dtype=bool)
        present[stream][rows] = True
        lacking = [order[row] for row in np.flatnonzero(~present[stream])]
        if lacking:
            notes.append(f"stream {stream} lacks {len(lacking)} of {len(order)} clips: {_some(lacking)}")
    if notes and not allow_missing:
        raise ValueError("; ".join(notes) + " (--allow-missing fuses what there is)")
    splits = tuple(facts[clip][0] for clip in order)
    labels = np.array([facts[clip][1] for clip in order], dtype=np.int64)
    return Aligned(tuple(order), splits, labels, values, present, tuple(notes), labelling)


def _joined_labelling(streams: Mapping[str, Scores]) -> Labelling | None:
    """What all streams together were made from; None where one does not say.

    Raises:
        ValueError: two of them were made from other class names, or another label or split of a clip.
    """
    joined: Labelling | None = None
    before: list[str] = []
    for stream, scores in streams.items():
        made = scores.labelling
        if made is None:
            return None
        change = "" if joined is None else joined.of(made.clips).change(made)
        if change:
            raise ValueError(
                f"streams {' + '.join(before)} and {stream} do not belong together, they were made from other labels: "
                f"{change} in {stream}; run `hpnet train {stream}` or `dvc repro`"
            )
        joined = made if joined is None else joined.joined(made)
        before.append(stream)
    return joined


# --- fitting on validation ------------------------------------------------------------------------------------------


def balanced_clip_weights(labels: ArrayLike) -> Floats:
    """Weight per clip (N,), summing to 1, under which every class that occurs counts the same."""
    truth = np.asarray(labels, dtype=np.int64)
    count = np.bincount(truth)
    return np.asarray(1.0 / (count[truth] * (count > 0).sum()), dtype=np.float64)


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Temperature that minimises the cross-entropy of softmax(logits / T) (N, K) on labels (N,) (Guo et al. 2017).

    log T carries a standard normal prior (worth one clip), which keeps it finite where every clip is right.
    """
    values, truth = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    rows = np.arange(len(truth))

    def loss(log_t: float) -> float:
        fitted = log_softmax(values / np.exp(log_t), axis=1)
        return float(-fitted[rows, truth].mean() + log_t**2 / (2 * len(truth)))

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_TEMPERATURE_BOUNDS, method="bounded").x))


def _fit_sum(
    scores: Floats, labels: NDArray[np.int64], adjustment: Floats, start: Floats | None = None
) -> tuple[Floats, float]:
    """Non-negative weights (S,) of scores (S, N, K), ``adjustment`` (K,) subtracted from their sum."""
    streams, count, _ = scores.shape
    clip_weight = balanced_clip_weights(labels)
    rows = np.arange(count)
    centre = np.full(streams, 1.0 / streams)

    def loss(weights: Floats) -> tuple[float, Floats]:
        fitted = log_softmax(np.tensordot(weights, scores, axes=1) - adjustment, axis=1)  # (N, K)
        residual = np.exp(fitted)
        residual[rows, labels] -= 1.0
        gradient = np.tensordot(scores, clip_weight[:, None] * residual, axes=2) + (weights - centre) / count
        penalty = float(((weights - centre) ** 2).sum()) / (2 * count)
        return float(-(clip_weight @ fitted[rows, labels])) + penalty, gradient

    initial = centre if start is None else start
    found = minimize(loss, initial, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * streams)
    return np.asarray(found.x, dtype=np.float64), float(found.fun)


def fit_weights(
    scores: ArrayLike, labels: ArrayLike, adjustment: ArrayLike | None = None, seed: int = 0, resamples: int = 0
) -> tuple[Floats, Floats, float]:
    """Weights >= 0 (S,) that minimise the class-balanced cross-entropy of the softmax of sum_s w_s x_s - adjustment.

    Args:
        scores: (S, N, K) scores of the validation clips, each stream at its own temperature, so that one scale fits
            all. A Gaussian prior around weights 1 / S, worth one clip, keeps separable clips from driving them to
            infinity.
        labels: (N,).
        adjustment: (K,), for ``balanced`` tau * log frequency; None: zeros.
        seed: of the bootstrap.
        resamples: bootstrap resamples by clip behind the standard errors; fewer than 2: they are NaN.

    Returns:
        weights (S,), standard errors (S,), loss at the optimum.
    """
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    priors = np.zeros(values.shape[2]) if adjustment is None else np.asarray(adjustment, dtype=np.float64)
    weights, loss = _fit_sum(values, truth, priors)
    if resamples < 2:
        return weights, np.full(len(weights), np.nan), loss
    rng = np.random.default_rng(seed)
    refits = []
    for _ in range(resamples):
        rows = rng.integers(0, len(truth), len(truth))
        refits.append(_fit_sum(values[:, rows], truth[rows], priors, weights)[0])
    return weights, np.std(refits, axis=0, ddof=1), loss


# --- fusing ---------------------------------------------------------------------------------------------------------


def log_frequency(class_frequency: ArrayLike | None, num_classes: int) -> tuple[Floats, tuple[str, ...]]:
    """Log of the training frequencies (K,) from counts or shares, and notes.

    None means flat. A class without a training clip takes the frequency of the rarest class that has one.
    """
    if class_frequency is None:
        return np.full(num_classes, -np.log(num_classes)), ("training frequencies unknown: taken as flat",)
    counts = np.asarray(class_frequency, dtype=np.float64)
    if counts.shape != (num_classes,) or not np.isfinite(counts).all() or (counts < 0).any() or counts.sum() == 0:
        raise ValueError(f"class frequencies must be {num_classes} non-negative numbers, not all 0; got {counts.shape}")
    empty = counts == 0
    notes = (f"{int(empty.sum())} classes have no training clip: treated as rare as the rarest",) if empty.any() else ()
    filled = np.where(empty, counts[~empty].min(), counts)
    return np.log(filled / filled.sum()), notes


def _given_weights(streams: Sequence[str], weights: Mapping[str, float]) -> dict[str, float]:
    unknown = sorted(set(weights) - set(streams))
    if unknown:
        raise ValueError(f"weight for unknown stream {unknown[0]!r}; the streams are {', '.join(streams)}")
    lacking = sorted(set(streams) - set(weights))
    if lacking:
        raise ValueError(f"stream {lacking[0]!r} has no weight; give {lacking[0]}=0 to leave it out")
    for stream, weight in weights.items():
        if not np.isfinite(weight) or weight < 0:
            raise ValueError(f"weight of stream {stream!r} is {weight}; expected a number from 0 on")
    if not any(weights.values()):
        raise ValueError("all fusion weights are 0: give at least one stream a weight")
    return {stream: float(weights[stream]) for stream in streams}


def _checked_kinds(aligned: Aligned, kinds: Mapping[str, Kind] | None) -> dict[str, Kind]:
    found = {s: score_kind(v[aligned.present[s]]) for s, v in aligned.values.items()}
    for stream, promised in (kinds or {}).items():
        if stream not in found:
            raise ValueError(f"kind for unknown stream {stream!r}; the streams are {', '.join(found)}")
        if promised == "probabilities" and found[stream] != "probabilities":
            raise ValueError(f"stream {stream!r} was promised as probabilities, but its rows are not >= 0 with sum 1")
        found[stream] = promised
    return found


def fuse(
    streams: Mapping[str, Scores],
    rule: str = "weighted",
    weights: Weights = "validation",
    tau: float = 1.0,
    class_frequency: ArrayLike | None = None,
    *,
    kinds: Mapping[str, Kind] | None = None,
    allow_missing: bool = False,
    protocol: str = "",
    seed: int = 0,
    resamples: int = 0,
) -> FusionResult:
    """Fuse streams by one of the two rules (see the module).

    Args:
        streams: name -> scores, in any row order.
        rule: ``weighted`` or ``balanced``.
        weights: one per stream, or ``validation`` to fit them on the clips whose split is ``val``.
        tau: ``balanced``: strength of the logit adjustment.
        class_frequency: (K,) training clips (or shares) per class; None: flat.
        kinds: stream -> probabilities or logits, where that is known; otherwise told by :func:`score_kind`.
        allow_missing: fuse clips that some streams lack.
        protocol: of the clips, such as ``ntu60-xsub``: names the released weights where nothing can be fitted.
        seed, resamples: bootstrap behind the standard errors of fitted weights; 0 resamples: none.

    Raises:
        ValueError: unknown rule or stream, a weight that is missing or negative, streams that do not fit together.
    """
    if rule not in RULES:
        raise ValueError(f"unknown fusion rule {rule!r}; choose one of {', '.join(RULES)}")
    if tau < 0:
        raise ValueError(f"tau = {tau}; expected 0 or more")
    aligned = align(streams, allow_missing)
    names = tuple(aligned.values)
    notes = list(aligned.notes)
    kind = _checked_kinds(aligned, kinds)
    stored = {stream for stream in names if kind[stream] == "probabilities"}
    if stored:
        taken = "; their logarithm is used" if rule == "balanced" else ""
        notes.append(f"stored as probabilities: {', '.join(sorted(stored))}{taken}")
    everywhere = np.all([aligned.present[s] for s in names], axis=0)
    held_out = (np.array(aligned.splits) == "val") & (aligned.labels >= 0) & everywhere
    can_fit = bool(held_out.sum() >= MIN_VALIDATION_CLIPS)
    fitting = weights == "validation" and can_fit

    adjustment = np.zeros(aligned.num_classes)
    if rule == "balanced":
        log_f, frequency_notes = log_frequency(class_frequency, aligned.num_classes)
        adjustment = tau * log_f
        notes += frequency_notes

    values = dict(aligned.values)
    if rule == "balanced":
        values = {s: log_probabilities(values[s], kind[s]) for s in names}
    temperatures = dict.fromkeys(names, 1.0)
    if can_fit and (rule == "balanced" or fitting):
        temperatures = {s: fit_temperature(values[s][held_out], aligned.labels[held_out]) for s in names}

    fit: Fit | None = None
    softmaxed: tuple[str, ...] = ()
    origin: Origin = "validation"
    if fitting:
        stacked = np.stack([values[s][held_out] / temperatures[s] for s in names])  # (S, N, K)
        found, errors, loss = fit_weights(stacked, aligned.labels[held_out], adjustment, seed, resamples)
        used = dict(zip(names, found.tolist(), strict=True))
        by_stream = dict(zip(names, errors.tolist(), strict=True)) if resamples >= 2 else {}
        if rule == "weighted":  # stored scores are summed: the temperature becomes part of the weight
            used = {s: w / temperatures[s] for s, w in used.items()}
            by_stream = {s: e / temperatures[s] for s, e in by_stream.items()}
        fit = Fit("val", int(held_out.sum()), seed, resamples, by_stream, loss)
    elif weights == "validation":
        used, origin, softmaxed = weights_without_validation(rule, kind, protocol)
        for stream in softmaxed:
            values[stream] = softmax(values[stream], axis=1)
        notes.append(_note_of_constants(int(held_out.sum()), used, origin, softmaxed, protocol))
    else:
        used, origin = _given_weights(names, weights), "given"

    if rule == "balanced":
        values = {s: log_softmax(values[s] / temperatures[s], axis=1) for s in names}
    else:
        temperatures = dict.fromkeys(names, 1.0)
    fused = -np.broadcast_to(adjustment, (len(aligned.clip_ids), aligned.num_classes))  # (N, K)
    for stream in names:
        fused = fused + used[stream] * np.where(aligned.present[stream][:, None], values[stream], 0.0)
    scores = Scores(
        aligned.clip_ids, aligned.splits, aligned.labels, np.asarray(fused, dtype=np.float32), aligned.labelling
    )
    return FusionResult(
        scores,
        rule,
        used,
        temperatures,
        tau if rule == "balanced" else 0.0,
        fit,
        tuple(notes),
        tuple(adjustment.tolist()),
        softmaxed,
        origin,
    )


def weights_without_validation(
    rule: str, kinds: Mapping[str, Kind], protocol: str = ""
) -> tuple[dict[str, float], Origin, tuple[str, ...]]:
    """Weights for an ensemble that has no validation clips to fit them on.

    The paper's protocols have the released weights: those of the multimodal stream's probabilities and of the other
    streams' logits for ``weighted``; 1 and 0.1 for ``balanced``, where every stream gives log-probabilities. Any other
    protocol has equal weights: 1 per stream for ``weighted``, of probabilities, because logits of different networks
    have different scales; 1 / S for ``balanced``, so that tau means the same for any number of streams.

    Args:
        kinds: stream -> what its scores are.
        protocol: of the clips.

    Returns:
        Weights, their origin, and the streams whose logits must be turned into probabilities first.
    """
    if protocol not in RELEASED_RGB_WEIGHT:
        if rule == "balanced":
            return dict.fromkeys(kinds, 1.0 / len(kinds)), "equal", ()
        return dict.fromkeys(kinds, 1.0), "equal", tuple(s for s, kind in kinds.items() if kind == "logits")
    used = dict.fromkeys(kinds, RELEASED_TOPOLOGY_WEIGHT)
    if "hpnet" in used:
        used["hpnet"] = RELEASED_RGB_WEIGHT[protocol] if rule == "weighted" else 1.0
    if rule == "balanced":
        used = {stream: weight / max(used.values()) for stream, weight in used.items()}
        return used, "released", ()
    return used, "released", ("hpnet",) if kinds.get("hpnet") == "logits" else ()


def _note_of_constants(
    clips: int, used: Mapping[str, float], origin: Origin, softmaxed: Sequence[str], protocol: str
) -> str:
    listed = ", ".join(f"{stream} {weight:g}" for stream, weight in used.items())
    whose = f"the released weights of {protocol}" if origin == "released" else "equal weights"
    of = f"; logits of {', '.join(softmaxed)} are turned into probabilities first" if softmaxed else ""
    return f"{clips} validation clips, too few to fit weights: {whose} are used ({listed}){of}"


def fuse_as_fitted(fitted: Mapping[str, Any], logits: Mapping[str, ArrayLike]) -> Floats:
    """Fuse new clips exactly as :func:`fuse` fused the project's own.

    Args:
        fitted: one rule's entry of ``weights.json`` (:meth:`FusionResult.to_json`).
        logits: stream -> (N, K) logits of the same networks; streams of weight 0 may be left out.

    Returns:
        (N, K) fused scores; their softmax gives probabilities.

    Raises:
        ValueError: a stream that carries weight is missing, or one has no weight.
    """
    weights: Mapping[str, float] = fitted["weights"]
    lacking = sorted(s for s, w in weights.items() if w and s not in logits)
    if lacking:
        raise ValueError(f"stream {lacking[0]!r} is missing: the fusion weights were fitted with it")
    fused: Floats = np.negative(np.asarray(fitted["adjustment"], dtype=np.float64))[None]
    for stream, stored in logits.items():
        if stream not in weights:
            raise ValueError(f"stream {stream!r} has no fusion weight; weights are for {', '.join(weights)}")
        values = np.asarray(stored, dtype=np.float64)
        if fitted["rule"] == "balanced":
            values = log_softmax(log_probabilities(values, "logits") / fitted["temperatures"][stream], axis=1)
        elif stream in fitted["softmaxed"]:
            values = softmax(values, axis=1)
        fused = fused + weights[stream] * values
    return fused


# --- the table ------------------------------------------------------------------------------------------------------


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
    checked = _given_weights(streams, weights)
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
