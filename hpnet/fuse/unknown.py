"""The probability that a clip shows none of the actions. Pure functions. Axes: N clips, K classes.

Fused scores that no network saw are the known clips. The unknown ones are the same clips with the score of their own
action left out, and clips of a class called ``background`` where there is one. A logistic regression tells the two
apart by the evidence of a clip (:func:`evidence`). Its threshold is split conformal: the share ``kept`` of known clips
lies below it, for new clips of known actions too, as far as they are exchangeable with these (Vovk et al., Algorithmic
Learning in a Random World, 2005). Only logits are read, so any network and any rule of fusion will do.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from ..artifacts.scores import Scores
from ..artifacts.unknown import Likeness, Refusal, Unknown
from ..core.metrics import auroc
from ..core.units import UNKNOWN, Units
from .alignment import align
from .applied import fuse_as_fitted, subset_weights
from .likeness import Fitted, Known, fit_likeness
from .refusing import LIKENESS, NAMES, SCORES, energy, evidence, log_odds, without_background
from .stored import Floats, score_kind

FEWEST_CLIPS = 5
"""Known clips that it takes."""
FEWEST_ACTIONS = 3
"""Actions of which one can be left out; fewer need clips of background."""
MOST_CLIPS = 5000
"""Of more held-out clips, so many are read."""
RIDGE = 1e-3
"""Of the slopes, whose evidence has variance 1."""
CURVE = tuple(n / 100 for n in (50, 60, 70, 75, 80, 85, 90, 95, 98, 100))
"""Shares of known clips kept."""


@dataclass(frozen=True)
class Held:
    """What it is fitted to.

    Attributes:
        logits: stream -> (N, K) of clips that no network saw.
        labels: (N,).
        labellings: stream -> digest of the labels that its scores were made from.
        units: (N,) clips of one unit are not independent; None: all are.
    """

    logits: Mapping[str, Floats]
    labels: NDArray[np.int64]
    labellings: Mapping[str, str]
    units: NDArray[np.int64] | None = None

    def fewer(self, most: int) -> Held:
        """At most so many of the clips, drawn at random."""
        if len(self.labels) <= most:
            return self
        rows = np.sort(np.random.default_rng(0).permutation(len(self.labels))[:most])
        logits = {stream: values[rows] for stream, values in self.logits.items()}
        return Held(logits, self.labels[rows], self.labellings, None if self.units is None else self.units[rows])


def held_out(streams: Mapping[str, Scores], allow_missing: bool = False, units: Units = UNKNOWN) -> Held | None:
    """The labelled clips that no network saw, in every stream; None where some stream has probabilities, whose logits
    are unknown."""
    aligned = align(streams, allow_missing)
    if any(score_kind(v[aligned.present[s]]) == "probabilities" for s, v in aligned.values.items()):
        return None
    rows = aligned.unseen & (aligned.labels >= 0) & np.all(list(aligned.present.values()), axis=0)
    digests = {stream: s.labelling.without_test().digest for stream, s in streams.items() if s.labelling}
    numbers = units.numbers([clip for clip, chosen in zip(aligned.clip_ids, rows, strict=True) if chosen])
    return Held({s: values[rows] for s, values in aligned.values.items()}, aligned.labels[rows], digests, numbers)


def without_own_action(fitted: Mapping[str, Any], logits: Mapping[str, Floats], labels: NDArray[np.int64]) -> Floats:
    """(N, K - 1) fused scores of clips (N,), each as if the networks had never been told of its own action."""
    classes = next(iter(logits.values())).shape[1]
    kept = np.arange(classes) != labels[:, None]  # (N, K)

    def short(values: Floats) -> Floats:
        return np.broadcast_to(values, kept.shape)[kept].reshape(len(labels), classes - 1)

    plain = {**fitted, "adjustment": np.zeros(classes - 1)}
    fused = fuse_as_fitted(plain, {stream: short(values) for stream, values in logits.items()})
    return fused - short(np.asarray(fitted["adjustment"], dtype=np.float64))


def fit_unknown(
    fitted: Mapping[str, Any], held: Held, *, score: str = "auto", kept: float = 0.95, background: int | None = None
) -> Unknown | str:
    """Fit it for every set of streams that the fusion uses.

    Args:
        fitted: one rule's entry of ``weights.json``.
        score: one of :data:`NAMES`, or ``auto``: likeness, or of the others the one that tells known clips from
            left-out ones best, where there is none. Left-out scores do not choose between likeness and the others: a
            network that was told of an action gives its clips low scores for all others, as it would not have done had
            it never seen one, and so energy looks better there than it is (benchmarks/unknown.md).
        kept: share of known clips below the threshold.
        background: label of that class.

    Returns:
        Why there is none, a clause, where there are too few clips or actions.
    """
    held = held.fewer(MOST_CLIPS)
    weights = {stream: weight for stream, weight in fitted["weights"].items() if weight}
    named, other = held.labels != background, held.labels == background
    actions = next(iter(held.logits.values())).shape[1] - (background is not None)
    leave = actions >= FEWEST_ACTIONS
    if named.sum() < FEWEST_CLIPS or not (leave or other.any()):
        return (
            f"there are {int(named.sum())} held-out clips of {actions} actions, expected at least {FEWEST_CLIPS} of "
            f"{FEWEST_ACTIONS}"
        )
    units = np.arange(len(held.labels)) if held.units is None else held.units
    actions_of = held.labels[named] - (0 if background is None else held.labels[named] > background)
    refusals: dict[str, Refusal] = {}
    curve: tuple[tuple[float, float], ...] = ()
    for streams in subsets(tuple(weights)):
        chosen = {**fitted, "weights": subset_weights(weights, tuple(weights), streams)}
        logits = {stream: held.logits[stream] for stream in streams}
        fused = fuse_as_fitted(chosen, logits)
        known = {stream: values[named] for stream, values in logits.items()}
        parts = [_without_own(chosen, known, held.labels[named], background)] if leave else []
        known_clips = Known(without_background(fused[named], background), actions_of, units[named])
        alike = fit_likeness(known_clips, energy) if leave and score in ("auto", LIKENESS) else None
        if score == LIKENESS and alike is None:
            return "the score likeness needs held-out clips of every action, of two sources or more"
        clear = fused[other] if other.any() else None
        sample = Sample(fused[named], parts[0] if leave else None, clear, background, alike)
        refusal = sample.fit(score, kept)
        refusals["+".join(streams)] = refusal
        curve = curve or sample.curve(refusal)
    origins = [*(["left-out actions"] if leave else []), *(["background clips"] if other.any() else [])]
    negatives = int(named.sum()) * leave + int(other.sum())
    return Unknown(
        kept, background, int(named.sum()), negatives, " and ".join(origins), dict(held.labellings), refusals, curve
    )


def subsets(streams: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """All streams first, then every smaller set of them, in their order."""
    for size in range(len(streams), 0, -1):
        yield from itertools.combinations(streams, size)


def _without_own(
    fitted: Mapping[str, Any], logits: Mapping[str, Floats], labels: NDArray[np.int64], background: int | None
) -> Floats:
    """Fused scores (N, K - 1), background last where there is one, so that it has one column for all clips."""
    if background is None:
        return without_own_action(fitted, logits, labels)

    def last(values: Floats) -> Floats:
        return np.concatenate([np.delete(values, background, axis=-1), values[..., [background]]], axis=-1)

    moved = {**fitted, "adjustment": last(np.asarray(fitted["adjustment"], dtype=np.float64))}
    return without_own_action(moved, {s: last(values) for s, values in logits.items()}, labels - (labels > background))


@dataclass(frozen=True)
class Sample:
    """Fused scores of known clips (N, K), of the same without their own action (N, K - 1), of background clips (B, K).

    Attributes:
        background: its column in ``known`` and ``clear``; in ``left`` it is the last one.
        alike: the score ``likeness`` of these; None where it is not to be had.
    """

    known: Floats
    left: Floats | None
    clear: Floats | None
    background: int | None
    alike: Fitted | None = None

    @property
    def scores(self) -> tuple[str, ...]:
        """Those that are to be had."""
        return tuple(SCORES) if self.alike is None else NAMES

    def read(self, score: str) -> tuple[Floats, list[Floats]]:
        """Evidence (n, 2) of the known clips, and of each kind of unknown ones."""
        last = None if self.background is None else -1
        if score == LIKENESS and self.alike is not None and self.left is not None:
            known = np.stack([self.alike.own, log_odds(self.known, self.background)], 1)
            unknown = [np.stack([self.alike.without_own, log_odds(self.left, last)], 1)]
        else:
            known = evidence(self.known, score, self.background)
            unknown = [] if self.left is None else [evidence(self.left, score, last)]
        if self.clear is not None:
            unknown.append(evidence(self.clear, score, self.background, self.kept(score)))
        return known, unknown

    def kept(self, score: str) -> Likeness | None:
        """What a refusal by this score compares with."""
        return self.alike.kept if score == LIKENESS and self.alike is not None else None

    def fit(self, score: str, kept: float) -> Refusal:
        """The slopes, and the threshold."""
        measured = {}
        for name in self.scores:
            known, unknown = self.read(name)
            measured[name] = auroc(np.concatenate(unknown)[:, 0], known[:, 0])
        best = LIKENESS if self.alike is not None else max(measured, key=lambda name: measured[name])
        chosen = best if score == "auto" else score
        known, unknown = self.read(chosen)
        slopes, bias = _separated(known, unknown)
        found = np.sort(known @ slopes)
        if not slopes.any():  # nothing tells them apart: every clip is as likely unknown as a known one is refused
            threshold = math.log(kept / (1 - kept)) if kept < 1 else 20.0
        else:
            threshold = float(found[min(len(found), math.ceil((len(found) + 1) * kept)) - 1])
        measured["chosen"] = auroc(np.concatenate(unknown) @ slopes, found)
        rounded = {name: round(value, 4) for name, value in measured.items()}
        share = float(expit(-threshold - bias))
        return Refusal(chosen, float(slopes[0]), float(slopes[1]), threshold, share, rounded, self.kept(chosen))

    def curve(self, refusal: Refusal) -> tuple[tuple[float, float], ...]:
        """Share of known clips kept, share of unknown clips refused (the mean over kinds of them)."""
        known, unknown = self.read(refusal.score)
        slopes = np.array([refusal.slope, refusal.slope_background])
        found = np.sort(known @ slopes)
        points = []
        for kept in CURVE:
            limit = found[max(0, math.ceil(len(found) * kept) - 1)]
            refused = float(np.mean([(part @ slopes > limit).mean() for part in unknown]))
            points.append((float((found <= limit).mean()), refused))
        return tuple(points)


def _separated(known: Floats, unknown: list[Floats]) -> tuple[NDArray[np.float64], float]:
    """Slopes (2,), 0 or more, and the bias of a logistic regression in which known and unknown clips count alike, and
    so do the kinds of unknown ones."""
    x = np.concatenate([known, *unknown])
    y = np.concatenate([np.zeros(len(known)), *(np.ones(len(part)) for part in unknown)])
    shares = [1.0, *(1 / len(unknown) for _ in unknown)]
    weight = np.concatenate([np.full(len(p), s / len(p)) for p, s in zip((known, *unknown), shares, strict=True)]) / 2
    mean, sd = x.mean(0), x.std(0)
    z = (x - mean) / np.where(sd > 0, sd, 1)

    def loss(given: Floats) -> tuple[float, Floats]:
        margin = z @ given[:2] + given[2]
        wrong = weight * (expit(margin) - y)
        value = float(weight @ (np.logaddexp(0, margin) - y * margin)) + RIDGE * float(given[:2] @ given[:2])
        return value, np.append(z.T @ wrong + 2 * RIDGE * given[:2], wrong.sum())

    fitted = minimize(loss, np.zeros(3), jac=True, method="L-BFGS-B", bounds=[(0, None), (0, None), (None, None)]).x
    slopes = np.where(sd > 0, fitted[:2] / np.where(sd > 0, sd, 1), 0.0)
    return slopes, float(fitted[2] - slopes @ mean)
