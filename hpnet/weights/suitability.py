"""Networks that do not suit the people of a run: what was found, what the network knows, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.suitability import LEAST_RATIO
from .cards import RENDERED, own_people

SCORED = {"detect": "boxes", "estimate": "joints"}
"""Stage -> what its network gives scores to."""
REAL = {"detect": ("movenet-multipose", "yolo11m"), "estimate": ("movenet-thunder", "rtmpose-m")}
"""Stage -> networks that know real people: a packaged one, and a better one to fetch."""


@dataclass(frozen=True)
class Comparison:
    """How sure the network of a stage is of the people of a run, and how sure it is of its own.

    Attributes:
        stage: detect or estimate.
        people: whom its network was trained on.
        median_score, expected_score: see :func:`hpnet.core.suitability.score_figures`.
    """

    stage: str
    model: str
    people: str
    median_score: float
    expected_score: float

    @property
    def suits(self) -> bool:
        """Whether it knows such people."""
        return self.median_score >= LEAST_RATIO * self.expected_score

    @property
    def found(self) -> str:
        """Both scores in words."""
        return (
            f"{SCORED[self.stage]} of {self.model} score {self.median_score:.2f} (median of the clips); on "
            f"{self.people}, which it was trained on, {self.expected_score:.2f} is usual"
        )

    @property
    def remedy(self) -> str:
        """What to do."""
        return choose_another(self.stage, self.model)

    @property
    def warning(self) -> str:
        """What was found, what that means, and what to do."""
        return f"{self.found}: it does not suit these people. Remedy: {self.remedy}"


def compare(stage: str, model: str, figures: Mapping[str, Any]) -> Comparison | None:
    """The comparison that the metrics of a stage allow; None where they hold none of this network.

    Args:
        stage: detect or estimate.
        model: the network that the parameters name.
        figures: what the stage wrote into its metrics file.
    """
    own, median = own_people(model), figures.get("median_score")
    if own is None or median is None or figures.get("expected_score") != own.median_score:
        return None
    return Comparison(stage, model, own.what, float(median), own.median_score)


def choose_another(stage: str, model: str) -> str:
    """How to take a network that knows real people, another than ``model``."""
    other = next(name for name in REAL[stage] if name != model)
    return (
        f"set {stage}.model to a network trained on such people, for real people {other} (`hpnet weights list` "
        "shows others)"
    )


def mannequins_alone(models: Mapping[str, str]) -> Iterator[str]:
    """A line for those of some networks that know nobody but mannequins, where there are any, and what to do.

    Args:
        models: stage -> network.
    """
    rendered = [
        stage for stage, model in models.items() if (own := own_people(model)) is not None and own.what == RENDERED
    ]
    if rendered:
        names = " and ".join(models[stage] for stage in rendered)
        settings = ", ".join(f"{stage}.model: {REAL[stage][0]}" for stage in rendered)
        yield f"note: {names} know {RENDERED} alone. On real people they find wrong boxes and joints."
        yield f"      For real people write {settings} into params.yaml (`hpnet weights list` shows more)."
