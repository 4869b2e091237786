"""The example clips of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..analysis import example_rows
from ..collect import Collected
from ..examples import Example, Vote, draw_example
from ..output import Files
from ..results import correct, softmax
from ..section import Given

TITLE = "Examples"


@dataclass(frozen=True)
class Examples:
    """What the template shows."""

    lead: str = ""
    clips: tuple[Example, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chosen:
    """A clip to draw, with its predicted classes, and a sentence that says whether they are right."""

    clip_id: str
    votes: tuple[Vote, ...]
    verdict: str = ""
    right: bool = True


def build(given: Given) -> Examples:
    """Clips with boxes, skeletons, maps and features drawn."""
    if given.collected.params.report.examples == 0:
        return Examples(notes=("There are no examples, because report.examples is 0.",))
    if given.collected.clips is None:
        return Examples(notes=("There are no clips to show.",))
    chosen = _scored(given) if given.test is not None else _unscored(given.collected)
    drawn = [
        draw_example(given.collected, clip.clip_id, clip.votes, clip.verdict, clip.right, given.full_maps)
        for clip in chosen
    ]
    for example in drawn:
        _keep_pictures(example, given.files)
    notes = []
    if not drawn:
        notes.append("There is no usable clip to show.")
    elif given.full_maps is None:
        reason = f" ({given.why_no_maps})" if given.why_no_maps else ""
        notes.append(f"The pose network's maps are not drawn: it cannot run here{reason}.")
    return Examples(
        lead=(
            "The frame of each clip that differs most from its mean pose, with the boxes and joints that were "
            "found. Beside it: "
            "the crop for the pose network, its maps (root mean square over standardised channels, bright "
            "is strong), and "
            "the features at the joints. The examples come from different classes and include mistakes."
        ),
        clips=tuple(drawn),
        notes=tuple(notes),
    )


def _scored(given: Given) -> list[Chosen]:
    """Test clips, with the fused prediction."""
    test, clips = given.test, given.collected.clips
    assert test is not None
    assert clips is not None
    names, probabilities, right = clips.class_names, softmax(test.logits), correct(test)
    chosen = []
    for row in example_rows(test.labels, right, given.collected.params.report.examples):
        votes = _votes(probabilities[row], int(test.labels[row]), names)
        verdict = "Recognised." if right[row] else f"Predicted as {names[int(probabilities[row].argmax())]}."
        chosen.append(Chosen(test.clip_ids[row], votes, verdict, bool(right[row])))
    return chosen


def _unscored(collected: Collected) -> list[Chosen]:
    """Usable clips if nothing can be scored, with their predictions, if there are any."""
    assert collected.clips is not None
    usable, names = collected.clips.usable(), collected.clips.class_names
    scores = collected.fused or next((run.scores for run in collected.runs.values() if run.scores is not None), None)
    row_of = {} if scores is None else {clip: row for row, clip in enumerate(scores.clip_ids)}
    chosen = []
    for number in example_rows(usable.label.to_numpy(), np.ones(len(usable), bool), collected.params.report.examples):
        clip_id = str(usable.clip_id.iloc[int(number)])
        votes: tuple[Vote, ...] = ()
        if scores is not None and clip_id in row_of:
            votes = _votes(softmax(scores.logits)[row_of[clip_id]], -1, names)
        chosen.append(Chosen(clip_id, votes))
    return chosen


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
