"""The top of the page: the main result in a sentence, and the large numbers under it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...core.streams import MULTIMODAL
from ...weights.suitability import compare
from ..collect import Collected
from ..figures import percent, signed_points
from ..naming import STREAM_TITLES
from ..results import Judge, correct, evaluated, feature_runs, pooled_name, pooled_words
from ..section import Given
from ..tables import Measured

GAINS = (("overall", "{} over 2-D pose"), ("object_pairs", "The same on object pairs"))
"""Groups of clips whose gain is one of the large numbers, and its label with room for what is compared."""


@dataclass(frozen=True)
class Answer:
    """One sentence; its number is printed in bold."""

    before: str
    number: str = ""
    after: str = ""


@dataclass(frozen=True)
class Key:
    """A large number with its label and interval."""

    label: str
    value: str
    unit: str
    range: str


@dataclass(frozen=True)
class Header:
    """What the template shows."""

    title: str
    protocol: str
    revision: str | None
    answer: Answer
    keys: tuple[Key, ...]
    warnings: tuple[str, ...] = ()


def build(given: Given) -> Header:
    """The top of every page."""
    collected = given.collected
    title, protocol = collected.params.report.title, collected.params.data.protocol
    warnings = tuple(build_warnings(collected))
    return Header(title, protocol, collected.revision, build_answer(given), tuple(build_keys(given)), warnings)


def build_warnings(collected: Collected) -> Iterator[str]:
    """A warning for each network that does not suit the people of this project."""
    params = collected.params
    for stage, model in (("detect", params.detect.rated_model), ("estimate", params.estimate.rated_model)):
        comparison = compare(stage, model, collected.metrics.get(stage, {}))
        if comparison is not None and not comparison.suits:
            yield comparison.warning[0].upper() + comparison.warning[1:]


def build_answer(given: Given) -> Answer:
    """The one sentence at the top."""
    test = given.test
    if test is None:
        why = (
            "the streams have not been fused"
            if given.collected.fused is None
            else "no clip of the test split has both a label and a score"
        )
        return Answer(f"No accuracy can be given: {why}.")
    score = given.judge.accuracy(correct(test), test.clip_ids)
    classes = test.logits.shape[1]
    return Answer(
        before="All streams fused recognise ",
        number=f"{score.text} %",
        after=(
            f" of {score.n:,} test clips (95 % interval {score.named}) among {classes} actions, "
            f"where guessing gives {percent(1 / classes)} %."
        ).replace(",", " ", 1 if score.n >= 1000 else 0),
    )


def build_keys(given: Given) -> Iterator[Key]:
    """The large numbers under the sentence."""
    collected, judge, test = given.collected, given.judge, given.test
    if test is not None:
        fused = judge.accuracy(correct(test), test.clip_ids)
        yield Key("Fused accuracy", fused.text, "%", f"{fused.named}; n = {fused.n}")
    best = _best_stream(collected, judge)
    if best is not None:
        name, score = best
        title = STREAM_TITLES.get(name, name)
        label = f"Best single stream: {title if name == MULTIMODAL else title.lower()}"
        yield Key(label, score.text, "%", f"{score.named}; n = {score.n}")
    runs = feature_runs(collected)
    pooled, words = pooled_name(collected, runs), pooled_words(collected, runs).capitalize().replace("2-d", "2-D")
    for group, label in GAINS:
        _, rows = given.compared.get(group, (None, []))
        gains = [row.against.difference for row in rows if row.name == pooled and row.against is not None]
        for gain in gains[:1]:
            yield Key(label.format(words), signed_points(gain.value), "points", f"{gain.named_range}; n = {gain.n}")


def _best_stream(collected: Collected, judge: Judge) -> tuple[str, Measured] | None:
    scored = [(name, part) for name, run in collected.runs.items() if (part := evaluated(run.scores)) is not None]
    measured = [(name, judge.accuracy(correct(part), part.clip_ids)) for name, part in scored]
    return max(measured, key=lambda item: item[1].value, default=None)
