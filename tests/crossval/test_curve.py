"""Learning curves: what is drawn, what it comes to, and what is said about more clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.crossval import ROW_COLUMNS, Curve, CurvePoint, FoldScores, FoldSize, Gain
from hpnet.crossval.curve import Part, Shares, draws, learning_curve, parse_shares, part_of
from hpnet.crossval.folds import Fold
from hpnet.report.params import ReportParams

from ..train.test_loop import make_clips

JUDGE = ReportParams(bootstrap=200)


def a_fold(sources: int, each: int = 3, *, one_action: bool = False) -> tuple[Clips, Fold]:
    """``sources`` of ``each`` clips: the first half of them trains, the others test. Actions take turns in a source, or
    a source has one action.
    """
    count = sources * each
    clips = make_clips(["train"] * count)
    label = [(n // each if one_action else n) % 3 for n in range(count)]
    table = clips.table.assign(source=[f"s{n // each}" for n in range(count)], label=label)
    ids = table.clip_id.tolist()
    half = sources // 2 * each
    return Clips(table, clips.classes), Fold("one", frozenset(ids[:half]), frozenset(ids[half:]))


@pytest.mark.parametrize("one_action", [False, True])
@pytest.mark.parametrize("share", [0.25, 0.5])
def test_sources_are_drawn_whole_and_every_action_keeps_its_share(share: float, one_action: bool) -> None:
    clips, fold = a_fold(48, one_action=one_action)
    source = dict(zip(clips.table.clip_id, clips.table.source, strict=True))
    label = dict(zip(clips.table.clip_id, clips.table.label, strict=True))
    for seed in range(3):
        part = part_of(clips, fold, share, seed)
        assert part.train < fold.train
        assert (part.name, part.test) == (fold.name, fold.test)
        drawn = {source[clip] for clip in part.train}
        assert {clip for clip in fold.train if source[clip] in drawn} == part.train
        counts = np.bincount([label[clip] for clip in part.train], minlength=3)
        np.testing.assert_allclose(counts, share * 24, atol=3)
    assert part_of(clips, fold, share, 0) == part_of(clips, fold, share, 0)
    assert part_of(clips, fold, share, 0) != part_of(clips, fold, share, 1)


def test_every_action_and_two_sources_are_kept_however_small_the_share() -> None:
    clips, fold = a_fold(24, one_action=True)
    part = part_of(clips, fold, 0.01, 0)
    own = clips.table[clips.table.clip_id.isin(part.train)]
    assert set(own.label) == {0, 1, 2}
    clips, fold = a_fold(24)
    own = clips.table[clips.table.clip_id.isin(part_of(clips, fold, 0.01, 0).train)]
    assert own.source.nunique() == 2


def test_a_share_that_draws_what_a_smaller_one_drew_is_left_out() -> None:
    clips, fold = a_fold(12)
    found = draws(clips, [fold], Shares((0.01, 0.02, 0.5), 2))
    assert [(draw.share, draw.number) for draw in found] == [(0.01, 0), (0.01, 1), (0.5, 0), (0.5, 1)]


def test_one_source_cannot_be_shared() -> None:
    clips, fold = a_fold(2)
    with pytest.raises(ValueError, match="fold 'one' trains on 1 sources; expected 2 or more"):
        draws(clips, [fold], Shares())


@pytest.mark.parametrize("text", ["0", "1", "half", "0.5,1.5", ","])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected shares above 0 and below 1, such as"):
        parse_shares(text)
    assert parse_shares("0.5, 0.25,0.5") == (0.25, 0.5)


def scores(right: list[bool]) -> FoldScores:
    """Of one fold: clip by clip, whether it is right; two clips are a source."""
    labels = np.arange(len(right)) % 3
    logits = np.eye(3, dtype=np.float32)[np.where(right, labels, (labels + 1) % 3)]
    facts = {"fold": "one", "seed": 1, "split": "test", "left_out": -1}
    names = {"clip_id": [f"c{n}" for n in range(len(right))], "unit": [str(n // 2) for n in range(len(right))]}
    return FoldScores(pd.DataFrame({**facts, **names, "label": labels})[list(ROW_COLUMNS)], logits, ("a", "b", "c"))


def test_a_point_is_the_mean_of_its_draws_and_the_gain_is_paired(tmp_path: Path) -> None:
    size, half = FoldSize("one", 20, 4, 12, (8, 8, 4)), FoldSize("one", 10, 2, 12, (4, 4, 2))
    first, second = scores([True] * 6 + [False] * 6), scores([True] * 8 + [False] * 4)
    whole = Part(1.0, (size,), scores([True] * 12))
    curve = learning_curve([Part(0.5, (half,), first), Part(0.5, (half,), second)], whole, JUDGE)
    drawn, every = curve.points
    assert (drawn.share, drawn.clips, drawn.per_action, drawn.draws) == (0.5, 12, 4, 2)
    assert drawn.top1 == pytest.approx(7 / 12)
    assert drawn.sd == pytest.approx(np.std([6 / 12, 8 / 12], ddof=1))
    assert drawn.gain is not None
    assert drawn.gain.value == pytest.approx(5 / 12)
    assert drawn.gain.low is not None
    assert drawn.gain.low < 5 / 12
    assert (every.per_action, every.top1, every.gain) == (8, 1.0, None)
    curve.save(tmp_path)
    assert Curve.load(tmp_path) == curve
    assert Curve.load(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("share", "gain", "words"),
    [
        (0.5, Gain(0.03, 0.01, 0.05), "+3.0 points (+1.0 to +5.0). Such curves flatten: with 20 of the same kind"),
        (0.5, Gain(0.03, -0.01, 0.07), "may be chance: what more clips would bring is not extrapolated."),
        (0.5, Gain(0.03, None, None), "(no interval), which may be chance"),
        (0.25, Gain(0.03, 0.01, 0.05), ""),
    ],
)
def test_nothing_is_extrapolated_from_a_gain_that_may_be_chance(share: float, gain: Gain, words: str) -> None:
    point = CurvePoint(share, 30 * share, 10 * share, 3, 0.7, 0.6, 0.8, 0.01, gain)
    text = Curve((point, CurvePoint(1.0, 30, 10, 1, 0.73, 0.63, 0.83, None, None))).text
    assert words in text
    assert bool(text) == bool(words)
