"""Learning curves: the same folds tested by networks that were trained on shares of their training clips."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ..artifacts.clips import Clips
from ..artifacts.crossval import Curve, CurvePoint, FoldScores, FoldSize, Gain
from ..data.holdout import hold_out_order
from ..report.params import ReportParams
from .folds import Fold
from .measure import difference, measure

SHARES = (0.125, 0.25, 0.5)
"""Each is twice the one before, and all clips are twice the last."""
DRAWS = 3
FEWEST_SOURCES = 2
"""One to learn from and one to choose on."""


@dataclass(frozen=True)
class Shares:
    """What is trained for a curve.

    Attributes:
        shares: of a fold's training clips, above 0 and below 1.
        draws: of sources, for each share.
        seed: of the draws.
    """

    shares: tuple[float, ...] = SHARES
    draws: int = DRAWS
    seed: int = 0


@dataclass(frozen=True)
class Draw:
    """Networks of one share and draw: its number among the draws of the share, and fold -> what it trains on."""

    share: float
    number: int
    folds: Mapping[str, Fold]


def parse_shares(text: str) -> tuple[float, ...]:
    """Shares from text such as '0.25,0.5'.

    Raises:
        ValueError: they are no numbers between 0 and 1.
    """
    try:
        shares = tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError:
        shares = ()
    if not shares or not all(0 < share < 1 for share in shares):
        raise ValueError(f"--curve {text}: expected shares above 0 and below 1, such as 0.25,0.5")
    return shares


def draws(clips: Clips, folds: Sequence[Fold], shares: Shares) -> list[Draw]:
    """Every share and draw, with the same folds and test clips; shares that draw what a smaller one drew are left out.

    Raises:
        ValueError: a fold trains on fewer than two sources.
    """
    found: list[Draw] = []
    for share in shares.shares:
        own = [
            Draw(share, number, {fold.name: part_of(clips, fold, share, shares.seed + number) for fold in folds})
            for number in range(shares.draws)
        ]
        if [draw.folds for draw in own] != [draw.folds for draw in found[-shares.draws :]]:
            found += own
    return found


def part_of(clips: Clips, fold: Fold, share: float, seed: int) -> Fold:
    """A fold that trains on about a share of the clips of each action, and tests what it tested.

    Sources are drawn whole, in a seeded order: one is taken if its clips bring the actions nearer to their shares. An
    action that has none in the end gets the clips of its first source, and a second source is taken where there is one
    alone. A clip of unknown source is a source of its own.

    Raises:
        ValueError: the fold trains on fewer than two sources.
    """
    table = clips.table[clips.table.clip_id.isin(fold.train)]
    known = zip(table.source.astype(str), table.clip_id, strict=True)
    sources = [source or f"\n{clip_id}" for source, clip_id in known]
    labels: dict[str, Counter[int]] = {}
    for source, label in zip(sources, table.label.tolist(), strict=True):
        labels.setdefault(source, Counter())[label] += 1
    if len(labels) < FEWEST_SOURCES:
        raise ValueError(
            f"--curve: fold {fold.name!r} trains on {len(labels)} sources; expected {FEWEST_SOURCES} or more"
        )
    wanted = {label: share * count for label, count in Counter(table.label.tolist()).items()}
    order = hold_out_order(labels, f"curve:{seed}")
    held: Counter[int] = Counter()
    chosen: dict[str, None] = {}

    def take(source: str) -> None:
        chosen[source] = None
        held.update(labels[source])

    for source in order:
        now = sum(abs(held[label] - wanted[label]) for label in labels[source])
        then = sum(abs(held[label] + count - wanted[label]) for label, count in labels[source].items())
        if then < now:
            take(source)
    for label in sorted(wanted):
        if not held[label]:
            take(next(source for source in order if label in labels[source]))
    for source in order:
        if len(chosen) < FEWEST_SOURCES and source not in chosen:
            take(source)
    own = [source in chosen for source in sources]
    return replace(fold, train=frozenset(table.clip_id[own]))


def joined(parts: Sequence[FoldScores]) -> FoldScores:
    """The draws of a share as one set of scores, told apart by their seeds, which are numbered from 0."""
    tables: list[pd.DataFrame] = []
    count = 0
    for part in parts:
        numbers = {seed: count + at for at, seed in enumerate(sorted(part.table.seed.unique()))}
        tables.append(part.table.assign(seed=part.table.seed.map(numbers)))
        count += len(numbers)
    logits = np.concatenate([part.logits for part in parts])
    return FoldScores(pd.concat(tables, ignore_index=True), logits, parts[0].classes)


@dataclass(frozen=True)
class Part:
    """Scores of networks that were trained on a share of the clips, and the sizes of their folds."""

    share: float
    sizes: tuple[FoldSize, ...]
    scores: FoldScores


def learning_curve(parts: Sequence[Part], whole: Part, judge: ReportParams) -> Curve:
    """Accuracy by share.

    Args:
        parts: of every share and draw.
        whole: of networks that were trained on all clips.
        judge: resamples and seed of the intervals.
    """
    points = []
    for share in sorted({part.share for part in parts}):
        own = [part for part in parts if part.share == share]
        drawn = Part(share, sum((part.sizes for part in own), ()), joined([part.scores for part in own]))
        change = difference(drawn.scores, whole.scores, judge.bootstrap, judge.seed).difference
        points.append(_point(drawn, judge, Gain(change.value, _known(change.low), _known(change.high))))
    return Curve((*points, _point(whole, judge, None)))


def _point(part: Part, judge: ReportParams, gain: Gain | None) -> CurvePoint:
    found = measure(part.scores, judge.bootstrap, judge.seed)
    clips = statistics.mean(size.train + size.val for size in part.sizes)
    actions = int((np.sum([size.frequencies for size in part.sizes], axis=0) > 0).sum())
    return CurvePoint(
        share=part.share,
        clips=clips,
        per_action=clips / actions,
        draws=part.scores.seeds,
        top1=found.top1,
        low=_known(found.low),
        high=_known(found.high),
        sd=found.sd_seeds,
        gain=gain,
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
