"""Late fusion: the scores of several streams -> one score per clip, by one of :data:`hpnet.fuse.RULES`.

Weights are fitted on the validation split, and on training clips that every stream scored out of fold, by
class-balanced cross-entropy; where these clips are few, they are mixed with the fits of single streams
(:mod:`hpnet.fuse.mixing`). Without such clips the constants of a rule are used, and the result says so. Scores are
joined by clip_id, never by position. Axes: N clips, S streams, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from ..artifacts.scores import Scores
from ..core.units import UNKNOWN, Units
from .alignment import Aligned, align
from .applied import given_weights
from .fitting import fit_temperature, fit_weights
from .mixing import MOST_CLIPS, mix
from .rules import Constants, Origin, Rule, find_rule
from .stored import Floats, Kind, score_kind

Weights = Mapping[str, float] | Literal["validation"]
MIN_VALIDATION_CLIPS = 10
"""Minimum number of clips to fit weights on."""


@dataclass(frozen=True)
class Fit:
    """Origin of fitted weights.

    Attributes:
        split: val, or out of fold if there are training clips among them.
        clips: how many.
        seed, resamples: of the bootstrap by clip.
        standard_error: per stream, at the shares below.
        loss: of the fit of all streams together, on the clips that it was fitted on.
        together: the share of that fit in the weights; 1 where it was not mixed.
        alone: per stream, the share of the fit of the stream alone; empty where it was not mixed.
        units: what held-out loss was measured over, such as '9 sources'; empty where it was not mixed.
    """

    split: str
    clips: int
    seed: int
    resamples: int
    standard_error: dict[str, float]
    loss: float
    together: float = 1.0
    alone: dict[str, float] = field(default_factory=dict)
    units: str = ""


@dataclass(frozen=True)
class Options:
    """Options that few callers set.

    Attributes:
        kinds: stream -> probabilities or logits, if known; otherwise from :func:`score_kind`.
        allow_missing: also fuse clips that some streams do not have.
        seed: of the bootstrap for the standard errors of fitted weights.
        resamples: of the bootstrap; 0: no standard errors.
        units: what clips are not independent; weights for few clips are compared on units that they were not fitted on.
    """

    kinds: Mapping[str, Kind] | None = None
    allow_missing: bool = False
    seed: int = 0
    resamples: int = 0
    units: Units = UNKNOWN


@dataclass(frozen=True)
class FusionResult:
    """A fused score and how it was made.

    Attributes:
        scores: every clip of the streams, ordered by clip_id. Logits hold the fused sum of the rule.
        rule: its name.
        weights: per stream.
        temperatures: per stream, for the calibration of its log-probabilities; 1 for scores used as stored.
        tau: strength of the logit adjustment; 0 for rules without one.
        fit: None unless the weights were fitted.
        notes: sentences for the reader.
        adjustment: (K,) subtracted from the sum: tau * log training frequency for rules that adjust, zeros otherwise.
        softmaxed: streams whose logits were turned into probabilities before they were summed.
        origin: of the weights.
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


def log_frequency(class_frequency: ArrayLike | None, num_classes: int) -> tuple[Floats, tuple[str, ...]]:
    """Log of the training frequencies (K,) from counts or shares, and notes.

    None means equal frequencies. A class without a training clip gets the frequency of the rarest class with one.
    """
    if class_frequency is None:
        return np.full(num_classes, -np.log(num_classes)), ("training frequencies are unknown: assumed equal",)
    counts = np.asarray(class_frequency, dtype=np.float64)
    if counts.shape != (num_classes,) or not np.isfinite(counts).all() or (counts < 0).any() or counts.sum() == 0:
        raise ValueError(f"class frequencies must be {num_classes} non-negative numbers, not all 0; got {counts.shape}")
    empty = counts == 0
    notes = (f"{int(empty.sum())} classes have no training clip: counted like the rarest class",) if empty.any() else ()
    filled = np.where(empty, counts[~empty].min(), counts)
    return np.log(filled / filled.sum()), notes


def _checked_kinds(aligned: Aligned, kinds: Mapping[str, Kind] | None) -> dict[str, Kind]:
    found = {s: score_kind(v[aligned.present[s]]) for s, v in aligned.values.items()}
    for stream, promised in (kinds or {}).items():
        if stream not in found:
            raise ValueError(f"kind for unknown stream {stream!r}; the streams are {', '.join(found)}")
        if promised == "probabilities" and found[stream] != "probabilities":
            raise ValueError(f"stream {stream!r} should be probabilities, but its rows are not >= 0 with sum 1")
        found[stream] = promised
    return found


def fuse(
    streams: Mapping[str, Scores],
    rule: str = "weighted",
    weights: Weights = "validation",
    tau: float = 1.0,
    class_frequency: ArrayLike | None = None,
    *,
    protocol: str = "",
    options: Options | None = None,
) -> FusionResult:
    """Fuse streams by a rule.

    Args:
        streams: name -> scores, in any row order.
        rule: one of :data:`hpnet.fuse.RULES`.
        weights: one per stream, or ``validation`` to fit them on the clips whose split is ``val``, and on training
            clips that every stream scored out of fold.
        tau: strength of the logit adjustment, for rules that have one.
        class_frequency: (K,) training clips (or shares) per class; None: equal.
        protocol: of the clips, such as ``ntu60-xsub``: names the released weights if weights cannot be fitted.

    Raises:
        ValueError: unknown rule or stream, a missing or negative weight, or streams that do not belong together.
    """
    chosen, settings = find_rule(rule), options or Options()
    if tau < 0:
        raise ValueError(f"tau = {tau}; expected 0 or more")
    aligned = align(streams, settings.allow_missing)
    names = tuple(aligned.values)
    kinds = _checked_kinds(aligned, settings.kinds)
    notes = [*aligned.notes, *_note_of_probabilities(kinds, chosen)]
    adjustment = np.zeros(aligned.num_classes)
    if chosen.adjusted:
        log_f, frequency_notes = log_frequency(class_frequency, aligned.num_classes)
        adjustment = tau * log_f
        notes += frequency_notes

    everywhere = np.all([aligned.present[s] for s in names], axis=0)
    held_out = aligned.unseen & (aligned.labels >= 0) & everywhere  # (N,)
    can_fit = bool(held_out.sum() >= MIN_VALIDATION_CLIPS)
    fitting = weights == "validation" and can_fit
    values = {s: chosen.prepare(aligned.values[s], kinds[s]) for s in names}
    temperatures = dict.fromkeys(names, 1.0)
    if can_fit and (chosen.tempered or fitting):
        temperatures = {s: fit_temperature(values[s][held_out], aligned.labels[held_out]) for s in names}

    fit: Fit | None = None
    constants = Constants({}, "validation")
    if fitting:
        at_one_scale = np.stack([values[s][held_out] / temperatures[s] for s in names])  # (S, N, K)
        clips = [clip for clip, chosen_to_fit in zip(aligned.clip_ids, held_out, strict=True) if chosen_to_fit]
        given = Given(at_one_scale, aligned.labels[held_out], adjustment, settings.units.numbers(clips))
        fit, used = _fitted(given, names, settings)
        if "train" in {split for split, chosen in zip(aligned.splits, held_out, strict=True) if chosen}:
            fit = replace(fit, split="out of fold")
        if not chosen.tempered:  # the temperature becomes part of the weight
            used = {s: weight / temperatures[s] for s, weight in used.items()}
            errors = {s: error / temperatures[s] for s, error in fit.standard_error.items()}
            fit = replace(fit, standard_error=errors)
    elif weights == "validation":
        constants = chosen.constants(kinds, protocol)
        used = constants.weights
        for stream in constants.softmaxed:
            values[stream] = softmax(values[stream], axis=1)
        notes.append(_note_of_constants(int(held_out.sum()), constants, protocol))
    else:
        used, constants = given_weights(names, weights), Constants({}, "given")
    if not chosen.tempered:
        temperatures = dict.fromkeys(names, 1.0)

    fused = -np.broadcast_to(adjustment, (len(aligned.clip_ids), aligned.num_classes))  # (N, K)
    for s in names:
        term = chosen.term(values[s], temperatures[s])
        fused = fused + used[s] * np.where(aligned.present[s][:, None], term, 0.0)
    logits = np.asarray(fused, dtype=np.float32)
    scores = Scores(aligned.clip_ids, aligned.splits, aligned.labels, logits, aligned.labelling, aligned.folds)
    return FusionResult(
        scores,
        rule,
        used,
        temperatures,
        tau if chosen.adjusted else 0.0,
        fit,
        tuple(notes),
        tuple(adjustment.tolist()),
        constants.softmaxed,
        constants.origin,
    )


@dataclass(frozen=True)
class Given:
    """What weights are fitted on: scores (S, N, K), labels (N,), adjustment (K,) and units (N,)."""

    scores: Floats
    labels: NDArray[np.int64]
    adjustment: Floats
    units: NDArray[np.int64]


def _fitted(given: Given, names: Sequence[str], settings: Options) -> tuple[Fit, dict[str, float]]:
    """Weights, and their origin."""
    found, errors, loss = fit_weights(given.scores, given.labels, given.adjustment, settings.seed, settings.resamples)
    fit = Fit("val", len(given.labels), settings.seed, settings.resamples, {}, loss)
    count = len(np.unique(given.units))
    if len(names) > 1 and count > 1 and len(given.labels) <= MOST_CLIPS:
        mixture = mix(found, given.scores, given.labels, given.adjustment, given.units)
        found, errors = mixture.weights, errors * mixture.together
        alone = dict(zip(names, mixture.alone.tolist(), strict=True))
        fit = replace(fit, together=mixture.together, alone=alone, units=settings.units.counted(count))
    if settings.resamples >= 2:
        fit = replace(fit, standard_error=dict(zip(names, errors.tolist(), strict=True)))
    return fit, dict(zip(names, found.tolist(), strict=True))


def _note_of_probabilities(kinds: Mapping[str, Kind], rule: Rule) -> list[str]:
    stored = sorted(stream for stream, kind in kinds.items() if kind == "probabilities")
    taken = "; their logarithm is used" if rule.adjusted else ""
    return [f"stored as probabilities: {', '.join(stored)}{taken}"] if stored else []


def _note_of_constants(clips: int, constants: Constants, protocol: str) -> str:
    listed = ", ".join(f"{stream} {weight:g}" for stream, weight in constants.weights.items())
    whose = f"the released weights of {protocol}" if constants.origin == "released" else "equal weights"
    softmaxed = ", ".join(constants.softmaxed)
    of = f"; logits of {softmaxed} are turned into probabilities first" if softmaxed else ""
    return f"{clips} validation clips, too few to fit weights: {whose} are used ({listed}){of}"
