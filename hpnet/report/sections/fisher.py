"""Which joints distinguish the actions: the Fisher score of each joint (Fig. 7 of the paper)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..figures import bar_plot
from ..results import joint_fisher
from ..section import Given
from ..tables import Column, Table


@dataclass(frozen=True)
class Fisher:
    """What the template shows: a bar for each joint, as SVG."""

    lead: str
    svg: str


def build(given: Given) -> Fisher | None:
    """Fisher score per joint; None where there are no features or classes."""
    features, clips = given.collected.features, given.collected.clips
    if features is None or clips is None:
        return None
    scores = joint_fisher(features, clips)
    if scores is None or not np.isfinite(scores).all():
        return None
    rows = [
        (joint.replace("_", " "), float(s), f"{s:.2f}")
        for joint, s in zip(features.meta.skeleton.joints, scores, strict=True)
    ]
    rows.sort(key=lambda row: -row[1])
    columns = (Column("joint", "Joint"), Column("fisher", "Fisher score", "number"))
    table = [{"joint": joint, "fisher": score} for joint, score, _ in rows]
    given.files.table(Table("fisher_per_joint", "Fisher score per joint", columns, table))
    return Fisher(
        lead=(
            "Fisher score of each joint's features averaged over time, on the training clips: scatter between "
            "the classes "
            "divided by scatter within them, summed over channels. Higher separates actions better; no network is used."
        ),
        svg=given.files.figure("fisher_per_joint", bar_plot(rows, "Fisher score per joint")),
    )
