"""What to do next, in words: from validation scores where something is to be chosen, never from test scores."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from ...artifacts.scores import Scores
from ...core.metrics import confusion, most_confused
from ..collect import Collected, Run
from ..doubts import doubted_labels
from ..figures import percent
from ..results import SIGNIFICANCE, common, correct, feature_kind, feature_runs, people_found, softmax
from ..section import Given

TITLE = "What to do next"
OWN = "hpj"
"""The project's stream that is compared with other features."""
LEAST_GAIN = 0.03
"""Of the share of right validation clips: less is not worth a change."""
WIDE = 0.1
"""An interval of this width or more is called wide."""
FEWEST_CONFUSED = 2
"""Clips of a pair of actions that are worth a word."""


@dataclass(frozen=True)
class Step:
    """A sentence or two, and the section that has more: its anchor and what the link says; both may be empty."""

    text: str
    anchor: str = ""
    link: str = ""


@dataclass(frozen=True)
class Advice:
    """What the template shows."""

    steps: tuple[Step, ...]


def build(given: Given) -> Advice | None:
    """None where nothing stands out."""
    found = (_labels(given), _people(given.collected), _features(given), _confused(given), _interval(given))
    steps = tuple(itertools.chain.from_iterable(found))
    return Advice(steps) if steps else None


def _labels(given: Given) -> Iterator[Step]:
    """Clips that may be mislabelled."""
    fused = given.collected.fused
    if fused is None or given.collected.clips is None:
        return
    known = fused.where(fused.labels >= 0)
    count = len(doubted_labels(softmax(known.logits), known.labels)) if len(known.labels) else 0
    if count:
        what = f"{count} of {_clips(len(known.labels))} look like another action than their label says. "
        yield Step(
            f"{what}A wrong label costs more than any parameter gains, so look at them first.", "check", "Open them"
        )


def _clips(count: int) -> str:
    return f"{count} clip{'s' if count != 1 else ''}"


def _people(collected: Collected) -> Iterator[Step]:
    """Clips without people."""
    if collected.boxes is None or collected.clips is None:
        return
    nobody = sum(found == 0 for found in people_found(collected).values())
    if nobody:
        text = f"Nobody was found in {_clips(nobody)}. Run `hpnet look` on one; `detect.confidence` may be too high."
        yield Step(text, "check", "Which")


def _features(given: Given) -> Iterator[Step]:
    """Another kind of features that validation clips prefer."""
    collected = given.collected
    runs = feature_runs(collected)
    validated = {name: part for name, run in runs.items() if (part := _validation(run)) is not None}
    if OWN not in validated or len(validated) < 2:
        return
    joined = dict(zip(validated, common(list(validated.values())), strict=True))
    right = {name: correct(scores) for name, scores in joined.items()}
    best = max(right, key=lambda name: int(right[name].sum()))
    if right[best].sum() - right[OWN].sum() < max(LEAST_GAIN * len(right[OWN]), 1):
        return
    kinds = {name: feature_kind(collected, runs[name]) for name in (OWN, best)}
    titles = {name: kind.title(collected.params.pool.tap) for name, kind in kinds.items()}
    change = [f"`pool.kind: {kinds[best].kind}`"] if kinds[best].kind != kinds[OWN].kind else []
    change += [f"`pool.region: {kinds[best].region}`"] if kinds[best].region not in (0, kinds[OWN].region) else []
    if change:
        shares = [f"{percent(right[name].mean())}" for name in (OWN, best)]
        doubt = given.judge.paired(right[OWN], right[best], joined[OWN].clip_ids).p_value >= SIGNIFICANCE
        yield Step(
            f"{titles[OWN]} loses to {titles[best].replace('Pooled', 'pooled')} here: {' against '.join(shares)} % of "
            f"{len(right[OWN])} validation clips{', not significant' if doubt else ''}. Set {' and '.join(change)} in "
            "params.yaml, then `dvc repro`.",
            "features",
            "The same on test clips",
        )


def _validation(run: Run) -> Scores | None:
    """The labelled clips that choices may be fitted on; None if there are none."""
    if run.scores is None:
        return None
    keep = run.scores.unseen & (run.scores.labels >= 0)
    return run.scores.where(keep) if keep.any() else None


def _confused(given: Given) -> Iterator[Step]:
    """The two actions that are confused most."""
    test, clips = given.test, given.collected.clips
    if test is None or clips is None:
        return
    for truth, taken, count, _ in most_confused(confusion(test.logits, test.labels), 1):
        if count >= FEWEST_CONFUSED:
            own, names = int((test.labels == truth).sum()), clips.class_names
            text = f"“{names[truth]}” is most often taken for “{names[taken]}”: {count} of {own} test clips. "
            yield Step(
                f"{text}More training clips of both help, if a picture of the two differs.", "confusion", "See them"
            )


def _interval(given: Given) -> Iterator[Step]:
    """Cross-validation, where the test split says little."""
    test, collected = given.test, given.collected
    if test is None or collected.crossval or collected.params.data.source != "folder":
        return
    score = given.judge.accuracy(correct(test), test.clip_ids)
    if not score.sure or score.high - score.low >= WIDE:
        width = f"is {percent(score.high - score.low, 0)} points wide" if score.sure else "is missing"
        yield Step(
            f"The interval of the accuracy {width}: there are {score.n} test clips. "
            "`hpnet crossval` tests every clip once."
        )
