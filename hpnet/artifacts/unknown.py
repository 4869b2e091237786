"""What tells a clip of none of the actions: ``unknown.json`` of the stage fuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..core.events import BACKGROUND
from .files import read_json, typed, write_json


def background_label(names: list[str]) -> int | None:
    """The label of a class called background, whose clips show none of the actions. It is no answer: its probability is
    part of that of unknown. None where there is no such class."""
    return names.index(BACKGROUND) if BACKGROUND in names else None


@dataclass(frozen=True)
class Usual:
    """What a measure is for known clips: mean and deviation of all of them, and of those of each action."""

    mean: float
    sd: float
    means: tuple[float, ...]
    sds: tuple[float, ...]


@dataclass(frozen=True)
class Likeness:
    """How like the clips of an action a clip is (:mod:`hpnet.fuse.likeness`), of K actions without background.

    Attributes:
        centre: (K,) of all clips' scores, each clip's about their mean.
        precision: (K, K) inverse of their covariance within actions.
        directions: (K, K) of the mean of each action, a row each.
        cosine, energy: of known clips.
    """

    centre: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]
    directions: tuple[tuple[float, ...], ...]
    cosine: Usual
    energy: Usual


@dataclass(frozen=True)
class Refusal:
    """How fused scores of some streams become a probability of unknown, sigmoid(sum of slope x evidence - threshold).

    Attributes:
        score: what is read of the scores of the actions (:data:`hpnet.fuse.unknown.NAMES`).
        slope: of that score.
        slope_background: of the log-odds of the class background; 0 where there is none.
        threshold: the probability is one half there; the share ``kept`` of the known clips lies below it.
        share: the share of unknown clips for which these are probabilities: it follows from the threshold.
        auroc: of known and unknown clips, out of fold; of each score, and ``chosen`` of what is used.
        likeness: what the score ``likeness`` compares with; None of another score.
    """

    score: str
    slope: float
    slope_background: float
    threshold: float
    share: float
    auroc: dict[str, float]
    likeness: Likeness | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Unknown:
    """The file.

    Attributes:
        kept: the share of known clips that are not taken for unknown ones, on clips that no network saw.
        background: label of the class background; None: there is none.
        known, negatives: how many clips it was fitted to.
        origin: of the unknown ones: 'left-out actions', 'background clips', or both.
        labellings: stream -> digest of the labels that its scores were made from.
        refusals: streams joined by ``+``, in the order of the fusion -> what holds for them.
        curve: of all streams, (share of known clips kept, share of unknown clips refused), rising, out of fold.
    """

    kept: float
    background: int | None
    known: int
    negatives: int
    origin: str
    labellings: dict[str, str]
    refusals: dict[str, Refusal]
    curve: tuple[tuple[float, float], ...] = field(repr=False)

    @property
    def whole(self) -> Refusal:
        """Of all streams that the fusion uses."""
        return next(iter(self.refusals.values()))

    def of(self, weights: Mapping[str, float]) -> Refusal | None:
        """For the streams with a weight above 0; None where it was not fitted for them."""
        wanted = {stream for stream, weight in weights.items() if weight}
        return next((found for name, found in self.refusals.items() if set(name.split("+")) == wanted), None)

    def save(self, path: Path) -> None:
        """Write unknown.json."""
        values = asdict(self)
        values["refusals"] = [{"streams": name, **refusal} for name, refusal in values["refusals"].items()]
        write_json(path, values)

    @classmethod
    def load(cls, path: Path) -> Unknown | None:
        """Read unknown.json; None where there is none.

        Raises:
            ValueError: it is not what `hpnet fuse` writes.
        """
        if not path.is_file():
            return None
        values: dict[str, Any] = read_json(path)
        try:
            refusals = {one.pop("streams"): typed(one, Refusal) for one in values.pop("refusals")}
            curve = tuple((float(kept), float(refused)) for kept, refused in values.pop("curve"))
            found = cls(**values, refusals=refusals, curve=curve)
            if not refusals:
                raise ValueError("it has no streams")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path} is not what `hpnet fuse` writes ({error}): run `hpnet fuse` again") from None
        return found
