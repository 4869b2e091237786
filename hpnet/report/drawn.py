"""The example clips of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..artifacts.scores import Scores
from .analysis import example_rows
from .collect import Project
from .examples import Example, FullMaps, Vote, draw_example
from .output import Files
from .results import (
    correct,
    softmax,
)


def examples_section(
    project: Project, test: Scores | None, kept: Files, full_maps: FullMaps | None, why_no_maps: str
) -> dict[str, Any]:
    """Clips with everything drawn."""
    part: dict[str, Any] = {"clips": [], "lead": "", "notes": []}
    if project.params.report.examples == 0:
        part["notes"].append("No examples were asked for (report.examples is 0).")
        return part
    if project.clips is None:
        part["notes"].append("There are no clips to show.")
        return part
    chosen: list[tuple[str, tuple[Vote, ...], str, bool]] = []
    names = project.clips.class_names
    if test is not None:
        probabilities, right = softmax(test.logits), correct(test)
        for row in example_rows(test.labels, right, project.params.report.examples):
            votes = _votes(probabilities[row], int(test.labels[row]), names)
            verdict = "Recognised." if right[row] else f"Taken for {names[int(probabilities[row].argmax())]}."
            chosen.append((test.clip_ids[row], votes, verdict, bool(right[row])))
    else:
        usable = project.clips.usable()
        scores = project.fused or next((run.scores for run in project.runs.values() if run.scores is not None), None)
        row_of = {} if scores is None else {clip: row for row, clip in enumerate(scores.clip_ids)}
        for number in example_rows(usable.label.to_numpy(), np.ones(len(usable), bool), project.params.report.examples):
            clip_id = str(usable.clip_id.iloc[int(number)])
            votes = ()
            if scores is not None and clip_id in row_of:
                votes = _votes(softmax(scores.logits)[row_of[clip_id]], -1, names)
            chosen.append((clip_id, votes, "", True))
    examples = [draw_example(project, clip, votes, verdict, right, full_maps) for clip, votes, verdict, right in chosen]
    part["clips"] = examples
    part["lead"] = (
        "The frame of each clip that differs most from its mean pose, with the boxes and joints that were "
        "found. Beside it "
        "the crop that the pose network saw, its maps (root mean square over standardised channels, bright "
        "is strong), and "
        "the features read back at the joints. Classes are taken evenly, mistakes included."
    )
    if not examples:
        part["notes"].append("There is no usable clip to show.")
    elif full_maps is None:
        reason = f" ({why_no_maps})" if why_no_maps else ""
        part["notes"].append(f"The pose network's maps are not drawn: it cannot run here{reason}.")
    for example in examples:
        _keep_pictures(example, kept)
    return part


def _votes(probabilities: np.ndarray[Any, np.dtype[np.float64]], label: int, names: Sequence[str]) -> tuple[Vote, ...]:
    best = np.argsort(-probabilities, kind="stable")[:3]
    return tuple(Vote(names[int(k)], float(probabilities[k]), int(k) == label) for k in best)


def _keep_pictures(example: Example, kept: Files) -> None:
    safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in example.clip_id)
    if example.picture:
        opening = example.picture.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        kept.figures[f"example_{safe}"] = opening
    for name, image in example.pictures.items():
        kept.pictures[f"example_{safe}_{name}"] = image
