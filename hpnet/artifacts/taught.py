"""Actions that were taught to a trained project by a few clips: ``taught/taught.safetensors``, and a card to read.

The file has the classifier of these actions and the pooled features of their clips, so that the classifier can be
fitted again without the clips. Its header has everything else as JSON; ``card.json`` is a copy of that for people.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..core.reading import decoding, file_bytes
from .features import FeatureMeta
from .files import parse_object, readable, typed, write_json, writing

FILE = "taught.safetensors"
CARD = "card.json"
MOST_BYTES = 1 << 30
REMEDY = "delete it and teach again"


@dataclass(frozen=True)
class TaughtWindow:
    """Pooled features of the people of a window of a clip.

    Attributes:
        features: (m, T, V, C) float16.
        valid: (m,) bool.
    """

    features: NDArray[np.float16]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class TaughtClip:
    """An example: the file's name and digest, and its windows with people."""

    file: str
    digest: str
    windows: tuple[TaughtWindow, ...]


@dataclass(frozen=True)
class TaughtAction:
    """An action and its examples, and how it did on clips that its classifier did not see.

    Attributes:
        recognised, left_out: of so many examples, each left out in turn, so many are recognised.
        taken: share of the clips of trained actions, held out in turn, that it answers although they were right.
        nearest: name of the trained action that its clips are most like.
        threshold, temperature: of its margin over the best trained action.
    """

    name: str
    clips: tuple[TaughtClip, ...]
    recognised: int
    left_out: int
    taken: float
    nearest: str
    threshold: float
    temperature: float


@dataclass(frozen=True)
class Taught:
    """The taught actions of a project.

    Attributes:
        actions: in order.
        weights: stream -> (K + J, D) float32, biases: (K + J,) float64, of K trained actions and J taught ones.
        belongs: stream -> digest of the weights that they were taught to.
        features: of the examples.
        pose: model and weights_digest of the pose network that they were made with.
        checked: how many clips of trained actions the checks are of.
        most_taken: the share of these that all taught actions together may answer.
    """

    actions: tuple[TaughtAction, ...]
    weights: dict[str, NDArray[np.float32]]
    biases: NDArray[np.float64]
    belongs: dict[str, str]
    features: FeatureMeta
    pose: dict[str, str]
    checked: int
    most_taken: float

    @property
    def names(self) -> tuple[str, ...]:
        """Of the actions."""
        return tuple(action.name for action in self.actions)

    def card(self) -> dict[str, Any]:
        """Everything but arrays, as plain JSON values."""
        actions = []
        for action in self.actions:
            facts = {name: value for name, value in action.__dict__.items() if name != "clips"}
            clips = [{"file": c.file, "digest": c.digest, "windows": len(c.windows)} for c in action.clips]
            actions.append({**facts, "clips": clips})
        return {
            "actions": actions,
            "belongs": self.belongs,
            "features": self.features.to_json(),
            "pose": self.pose,
            "checked": self.checked,
            "most_taken": self.most_taken,
            "streams": list(self.weights),
        }

    def save(self, folder: Path) -> None:
        """Write both files; the one that is read is replaced at once.

        Raises:
            ValueError: they would be too large to be read.
        """
        tensors: dict[str, NDArray[Any]] = {"biases": self.biases}
        tensors |= {f"weights.{stream}": values for stream, values in self.weights.items()}
        for a, action in enumerate(self.actions):
            for c, clip in enumerate(action.clips):
                for w, window in enumerate(clip.windows):
                    tensors[f"features.{a}.{c}.{w}"] = window.features
                    tensors[f"valid.{a}.{c}.{w}"] = window.valid
        card = self.card()
        if (size := sum(values.nbytes for values in tensors.values())) > MOST_BYTES // 2:
            raise ValueError(f"{size:,} bytes of taught clips, expected at most {MOST_BYTES // 2:,}: give fewer clips")
        tensors = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
        with writing(folder / f"{FILE}.part") as part:
            save_file(tensors, part, {"card": json.dumps(card, allow_nan=False)})
        os.replace(folder / f"{FILE}.part", folder / FILE)
        write_json(folder / CARD, card)

    @classmethod
    def load(cls, folder: Path) -> Taught | None:
        """Read them; None where nothing is taught.

        Raises:
            ValueError: the file is damaged, too large, or something else; names it.
        """
        file = folder / FILE
        if not file.is_file():
            return None
        file_bytes(file, MOST_BYTES, REMEDY)
        fault = "is not what `hpnet teach` writes"
        with decoding(file, REMEDY, fault, (SafetensorError,)), safe_open(readable(file), framework="numpy") as opened:
            card = parse_object((opened.metadata() or {})["card"], str(file))
            return _taught(card, {name: opened.get_tensor(name) for name in opened.keys()})  # noqa: SIM118

    @staticmethod
    def remove(folder: Path) -> None:
        """Delete the files, and the folder if nothing else is in it."""
        for name in (FILE, CARD):
            (folder / name).unlink(missing_ok=True)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


@dataclass(frozen=True)
class _ClipCard:
    file: str
    digest: str
    windows: int


@dataclass(frozen=True)
class _ActionCard:
    name: str
    clips: tuple[_ClipCard, ...]
    recognised: int
    left_out: int
    taken: float
    nearest: str
    threshold: float
    temperature: float


@dataclass(frozen=True)
class _Card:
    actions: tuple[_ActionCard, ...]
    belongs: dict[str, str]
    features: dict[str, Any]
    pose: dict[str, str]
    checked: int
    most_taken: float
    streams: tuple[str, ...]


def _taught(card: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> Taught:
    """From a header and arrays.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: something is missing, of another shape, or not finite.
    """
    facts = typed(card, _Card)
    actions = []
    for a, action in enumerate(facts.actions):
        clips = []
        for c, clip in enumerate(action.clips):
            numbers = [f"{a}.{c}.{w}" for w in range(clip.windows)]
            windows = tuple(_window(tensors[f"features.{n}"], tensors[f"valid.{n}"]) for n in numbers)
            clips.append(TaughtClip(clip.file, clip.digest, windows))
        actions.append(TaughtAction(**{**action.__dict__, "clips": tuple(clips)}))
    weights = {stream: tensors[f"weights.{stream}"] for stream in facts.streams}
    biases = tensors["biases"]
    if not weights or not actions or any(w.ndim != 2 or len(w) != len(biases) for w in weights.values()):
        raise ValueError(f"{len(actions)} actions and weights of {len(weights)} streams, expected some of each")
    if not all(np.isfinite(w).all() for w in weights.values()) or np.isnan(biases).any():
        raise ValueError("weights that are not finite")
    features = FeatureMeta.from_json(facts.features)
    known = (facts.belongs, features, facts.pose, facts.checked, facts.most_taken)
    return Taught(tuple(actions), weights, biases, *known)


def _window(features: NDArray[Any], valid: NDArray[Any]) -> TaughtWindow:
    if features.dtype != np.float16 or features.ndim != 4 or valid.shape != features.shape[:1]:
        raise ValueError(f"features {features.shape} of {features.dtype}, expected (m, T, V, C) float16")
    return TaughtWindow(features, valid.astype(bool))


def described(taught: Taught, action: TaughtAction) -> str:
    """What is known of a taught action, on one line."""
    count = len(action.clips)
    own = (
        f"{action.recognised} of {action.left_out} recognised when left out"
        if action.left_out
        else "how well it is recognised is not known, because it is a single clip: give five"
    )
    windows = sum(len(clip.windows) for clip in action.clips)
    longer = f" ({windows} windows)" if windows > count else ""
    return (
        f"{action.name}: {count} clip{'s' * (count > 1)}{longer}; {own}; it takes {action.taken:.1%} of "
        f"{taught.checked} clips of trained actions, held out in turn; most like {action.nearest!r}"
    )
