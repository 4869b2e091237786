"""How events are found with trained networks, by what a project has: training clips, scores, and its stage events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..artifacts.files import read_object
from ..artifacts.scores import Scores
from ..core.events import BACKGROUND
from ..events.decoding import Decoder
from ..events.durations import Durations, fit_durations
from ..events.finding import RULE_FILE, Rule
from ..events.labelling import Threshold, actions_of
from .following import STEPS
from .trained import FALLBACK_WINDOW_S, Trained

EVIDENCE = 2.0 / STEPS
"""How much a step counts: windows of neighbouring steps share most of their frames."""
ENTRY = -1.0
"""What it costs to begin an action, where no untrimmed video says better."""
SURE_SHARE = 0.05
"""An action is as sure as all but this share of the validation clips that were recognised."""
MOST_SURE = 0.95
UNSURE = 0.5
"""The probability that an action must exceed where there are no such clips."""
_SAME_S = 1e-3


def plain_rule(
    trained: Trained, clips: Sequence[tuple[str, float]], scores: Mapping[str, Path], window_s: float
) -> Rule:
    """What the trimmed clips of training say of durations and background.

    Args:
        clips: (class, seconds) of every training clip.
        scores: stream -> its scores.parquet.
    """
    actions = actions_of(trained.classes)
    decoder = Decoder(_durations(clips, actions), window_s / STEPS, EVIDENCE, ENTRY)
    return Rule(tuple(actions), window_s, _threshold(trained, scores), decoder)


def learnt_rule(events: Path, plain: Rule) -> Rule | None:
    """What the stage ``events`` learnt from untrimmed videos; None if it did not run, or read other windows.

    Raises:
        ValueError: the file is broken, or is of other actions.
    """
    file = events / RULE_FILE
    if not file.is_file():
        return None
    try:
        rule = Rule.from_json(read_object(file))
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"{file} is not what `hpnet events` writes: run `hpnet events` again") from None
    if rule.actions != plain.actions:
        raise ValueError(f"{file} is of other actions than the networks: run `dvc repro`, or `hpnet events`")
    return rule if abs(rule.window_s - plain.window_s) < _SAME_S else None


def _threshold(trained: Trained, files: Mapping[str, Path]) -> Threshold:
    """A background that is as probable as the least sure answers that are right, on validation clips."""
    background = trained.classes.index(BACKGROUND) if BACKGROUND in trained.classes else -1
    if not all(file.is_file() for file in files.values()):
        return Threshold(UNSURE, background)
    scores = {stream: Scores.load(file).split("val") for stream, file in files.items()}
    first = next(iter(scores.values()))
    if any(one.clip_ids != first.clip_ids for one in scores.values()):
        return Threshold(UNSURE, background)
    chances = trained.probabilities({stream: one.logits for stream, one in scores.items()})
    right = (chances.argmax(1) == first.labels) & (first.labels >= 0)
    if not right.any():
        return Threshold(UNSURE, background)
    level = float(np.quantile(chances[right].max(1), SURE_SHARE))
    return Threshold(min(max(level, 1 / (1 + len(trained.classes))), MOST_SURE), background)


def _durations(clips: Sequence[tuple[str, float]], actions: Sequence[str]) -> Durations:
    """How long the training clips of each action are."""
    examples: list[list[float]] = [[] for _ in actions]
    for name, seconds in clips:
        if name in actions:
            examples[actions.index(name)].append(seconds)
    return fit_durations(examples if any(examples) else [[FALLBACK_WINDOW_S]] * len(actions))
