"""The files of a trained project, read and checked before any network is loaded. Nothing here imports torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..artifacts.features import FeatureMeta
from ..artifacts.files import read_object, typed
from ..artifacts.missing import missing
from ..core.reading import decoding
from ..core.streams import refuse_former_name
from ..fuse.applied import subset_weights
from ..params import Params
from ..project.folder import Project

_Card: Any = tuple[list[str], FeatureMeta, int, dict[str, Any]]
"""Class names, features, frames and parameters of a card."""
_Rule: Any = tuple[str, dict[str, float], list[float], list[str]]
"""Name, temperatures, adjustment and softmaxed streams of a rule of fusion."""


class StoredProject:
    """Parameters, fusion and cards of a project.

    Args:
        folder: the project; its params.yaml, ``artifacts/train/*/config.json`` and ``artifacts/fuse/weights.json`` are
            read.
        streams: use only these; None: all streams with a weight above 0 in the fusion.

    Raises:
        FileNotFoundError: a file is missing; names the command that makes it.
        ValueError: a file is broken, or the streams do not belong together.

    Attributes:
        used: the streams with a weight above 0.
        cards: stream -> its config.json.
    """

    def __init__(self, folder: Path, streams: Sequence[str] | None = None) -> None:
        self.project = Project(folder)
        self.params: Params = self.project.read_params()
        self.fusion = read_fusion(self.project, streams)
        self.used = [stream for stream, weight in self.fusion["weights"].items() if weight]
        for stream in self.used:
            refuse_former_name(stream, str(self.project.fuse / "weights.json"))
        self.cards: dict[str, dict[str, Any]] = {s: self._card(s) for s in self.used}
        self._check_labellings(self.used)
        first = self.cards[self.used[0]]
        for stream, card in self.cards.items():
            if (card["classes"], card["features"], card["frames"]) != (
                first["classes"], first["features"], first["frames"],
            ):  # fmt: skip
                raise ValueError(
                    f"streams {self.used[0]} and {stream} were trained on different features: run `dvc repro`"
                )
        if len(self.fusion["adjustment"]) != len(first["classes"]):
            raise ValueError(
                f"{self.project.fusion_file} is for {len(self.fusion['adjustment'])} classes, the "
                f"networks have {len(first['classes'])}: run `hpnet fuse` again"
            )

    def _check_labellings(self, streams: Sequence[str]) -> None:
        """Refuse streams made from other labels than the project's tables, or than the fusion was fitted on."""
        from ..artifacts.clips import Clips  # pandas and pyarrow take half a second: a wrong name is refused before
        from ..artifacts.labelling import LABELLING, check_trained

        data = self.project.data
        now = Clips.load(data).labelling() if (data / "clips.csv").is_file() else None
        for stream in streams:
            check_trained(self.project.train(stream), now, f"hpnet train {stream}")
            fitted_on, made_from = self.fusion["labellings"].get(stream), self.cards[stream].get(LABELLING)
            if fitted_on != made_from:
                raise ValueError(
                    f"{self.project.fusion_file} was fitted to scores of {stream} from labels "
                    f"{fitted_on}, the network is from {made_from}: run `hpnet fuse` or `dvc repro`"
                )

    def _card(self, stream: str) -> dict[str, Any]:
        file = self.project.train(stream) / "config.json"
        if not file.is_file():
            raise missing(file, f"run `dvc repro`, or `hpnet train {stream}`, in {self.project.root}")
        card = read_object(file)
        lacking = [k for k in ("classes", "features", "frames", "params") if k not in card]
        if lacking:
            raise ValueError(f"{file} lacks {lacking[0]!r}: run `hpnet train {stream}` again")
        with decoding(file, f"run `hpnet train {stream}` again", "is not what the stage writes"):
            typed([card["classes"], card["features"], card["frames"], card["params"]], _Card)
        return card


def require_names(folder: Path, streams: Sequence[str] | None) -> None:
    """Refuse a folder that is no trained project, and streams that it does not fuse, before anything is imported.

    Raises:
        FileNotFoundError, ValueError: see :class:`StoredProject`.
    """
    project = Project(folder)
    project.read_params()
    read_fusion(project, streams)


def read_fusion(project: Project, streams: Sequence[str] | None) -> dict[str, Any]:
    """The project's own fusion rule with its weights, limited to ``streams`` if they are given."""
    file = project.fusion_file
    if not file.is_file():
        raise missing(file, f"run `dvc repro`, or `hpnet fuse`, in {project.root.resolve()}")
    stored = read_object(file)
    try:
        rule = stored[stored["chosen"]]
        typed([rule[key] for key in ("rule", "temperatures", "adjustment", "softmaxed")], _Rule)
        weights = typed(rule["weights"], dict[str, float])
        fusion = {key: rule[key] for key in ("rule", "temperatures", "adjustment", "softmaxed")}
        json.dumps(fusion, allow_nan=False)
        labellings = typed(stored.get("labellings", {}), dict[str, str | None])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError(f"{file} is not what `hpnet fuse` writes: run `hpnet fuse` again") from None
    fitted = {**fusion, "weights": weights, "labellings": labellings}
    return of_streams(fitted, streams, str(file))


def of_streams(fusion: dict[str, Any], streams: Sequence[str] | None, source: str) -> dict[str, Any]:
    """A fusion limited to some of its streams; None: all.

    Raises:
        ValueError: one is not fused, or none counts.
    """
    weights: dict[str, float] = fusion["weights"]
    if streams:
        unknown = sorted(set(streams) - set(weights))
        if unknown:
            raise ValueError(f"stream {unknown[0]!r} is not one of the fused streams: {', '.join(weights)}")
        weights = subset_weights(weights, tuple(weights), tuple(streams))
    if not any(weights.values()):
        raise ValueError(f"{source}: no stream has a weight above 0; run `hpnet fuse` again")
    return {**fusion, "weights": weights}
