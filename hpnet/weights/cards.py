"""What the cards of packaged networks say of the people that they know."""

from __future__ import annotations

from dataclasses import dataclass

from ..artifacts.files import read_json
from .places import ASSETS, PACKAGED_NAMES

RENDERED = "rendered mannequins"


@dataclass(frozen=True)
class OwnPeople:
    """The people that a network was trained on: ``own_people`` of its card.

    Attributes:
        what: who they are.
        median_score: over clips of them, the median of the mean score of a box (detectors) or joint (pose networks).
        measured: the commands that measured it.
    """

    what: str
    median_score: float
    measured: str


def own_people(model: str) -> OwnPeople | None:
    """The people that a packaged network knows; None of a network that is not packaged, or whose card does not say."""
    file = ASSETS / f"{model}.json"
    if model not in PACKAGED_NAMES or not file.is_file():
        return None
    found = read_json(file).get("own_people")
    return None if found is None else OwnPeople(**found)


def usual_score(model: str) -> float | None:
    """The ``median_score`` of the people that a network knows; None where nothing is known of them."""
    own = own_people(model)
    return None if own is None else own.median_score
