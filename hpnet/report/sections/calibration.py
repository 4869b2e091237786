"""Calibration of the probabilities: expected calibration error and a reliability diagram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.metrics import expected_calibration_error, reliability
from ..figures import reliability_plot
from ..naming import STREAM_TITLES
from ..results import evaluated, softmax
from ..section import Given
from ..tables import Column, Table

TITLE = "Calibration"
BINS = 10


@dataclass(frozen=True)
class Calibration:
    """What the template shows: the reliability diagram as SVG, and a table of every stream."""

    lead: str
    svg: str
    table: Table


def build(given: Given) -> Calibration | None:
    """Calibration of every stream and of the fused result; None without scores."""
    parts = {STREAM_TITLES.get(name, name): evaluated(run.scores) for name, run in given.collected.runs.items()}
    parts["All streams, fused"] = given.test
    rows: list[dict[str, Any]] = []
    drawn = None
    for name, scores in parts.items():
        if scores is None:
            continue
        probabilities = softmax(scores.logits)
        sure = float(probabilities.max(1).mean())
        right = float((probabilities.argmax(1) == scores.labels).mean())
        error = expected_calibration_error(probabilities, scores.labels, BINS)
        rows.append({"what": name, "ece": error, "sure": sure, "right": right, "too": sure - right})
        drawn = (name, *reliability(probabilities, scores.labels, BINS), error)
    if drawn is None:
        return None
    name, clips, confidence, accuracy, error = drawn
    used = clips > 0
    bars = list(zip(confidence[used].tolist(), accuracy[used].tolist(), clips[used].tolist(), strict=True))
    columns = (
        Column("what", "What"),
        Column("ece", "Calibration error, %", "percent", f"expected calibration error over {BINS} bins"),
        Column("sure", "Mean confidence, %", "percent"),
        Column("right", "Top-1, %", "percent"),
        Column("too", "Confidence − top-1", "points", "above zero: overconfident"),
    )
    word = "overconfident" if rows[-1]["too"] > 0 else "underconfident"
    diagram = reliability_plot(bars, "Reliability of the probabilities")
    return Calibration(
        lead=(
            f"{name}: the probability of the best class and its accuracy differ by {100 * error:.1f} points "
            f"on average. Over all clips it is {word}. On the diagonal the probability equals the accuracy. "
            f"The size of a dot is its share of the {int(np.sum(clips))} clips."
        ),
        svg=given.files.figure("reliability", diagram),
        table=given.files.table(Table("calibration", "Calibration on the test split", columns, rows)),
    )
