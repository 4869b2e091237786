"""What is known of trained networks, whatever runs them: classes, fusion, taught actions. Nothing here imports torch.

Axes: N samples, m people, K trained and J taught actions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..artifacts.features import FeatureMeta
from ..artifacts.poses import PoseMeta
from ..artifacts.taught import Taught
from ..artifacts.unknown import Refusal
from ..fuse.applied import fuse_as_fitted
from ..fuse.refusing import probability_of_unknown
from ..pool.features import feature_meta
from .head import Head

if TYPE_CHECKING:
    from ..events.finding import Rule
    from ..params import Params
    from .seeing import Eyes

FALLBACK_WINDOW_S = 2.0
"""Of a window, where nothing is known of the training clips."""
WHOLE_WINDOWS = (
    "the stream multimodal finds no events, because it reads whole windows: use one of the streams hpj to hpbm"
)
"""Said by :meth:`Trained.without_frames`."""
VIDEO_KINDS = ("pooled", "pose2d", "xy", "simcc", "both")
"""Kinds of features that are made of videos."""


@dataclass(frozen=True)
class Sample:
    """Network inputs of some people in a window.

    Attributes:
        features: (m, T, V, C) float16, one row per person.
        valid: (m,) bool.
        jpegs: person frames for the RGB stream, in order; empty if no stream reads them.
    """

    features: NDArray[np.float16]
    valid: NDArray[np.bool_]
    jpegs: Sequence[bytes]


class Trained(ABC):
    """Trained streams and how they are fused: of a project folder, or of an exported bundle.

    Attributes:
        root: its folder.
        params: its parameters.
        fusion: the rule of fusion with its weights, as `hpnet fuse` fitted it.
        streams: the streams that are fused.
        classes: the K classes of the networks.
        features: what the networks read.
        frames: T of the features.
        people: how many people of a window the networks have room for.
        taught: the taught actions; None where there are none.
        background: number of a class called background, which is no answer; None where there is none.
        refusal: what tells unknown clips; None where it was not fitted.
        on_gpu: whether the networks run on a GPU.
        wants_frames: person frames that a sample of the multimodal stream has; 0: no stream reads any.
    """

    root: Path
    params: Params
    fusion: dict[str, Any]
    streams: tuple[str, ...]
    classes: list[str]
    features: FeatureMeta
    frames: int
    people: int
    taught: Taught | None
    background: int | None
    refusal: Refusal | None
    on_gpu: bool
    wants_frames: int

    @abstractmethod
    def eyes(self, *, people: int | None, device: str, precision: str) -> Eyes:
        """The detector and the pose network; see :class:`hpnet.predict.seeing.Eyes`."""

    @abstractmethod
    def logits(self, samples: Sequence[Sample]) -> dict[str, NDArray[np.float32]]:
        """Stream -> (N, K) logits of each sample, as the train stage scores clips."""

    @abstractmethod
    def embeddings(self, samples: Sequence[Sample]) -> dict[str, NDArray[np.float32]]:
        """Stream -> (N, D), what taught actions are told apart by; without ``multimodal``."""

    @abstractmethod
    def classifier_inputs(self, samples: Sequence[Sample]) -> dict[str, NDArray[np.float32]]:
        """Stream -> (N, D), what its linear classifier reads of each sample; without ``multimodal``, which has none."""

    def logits_and_inputs(
        self, samples: Sequence[Sample]
    ) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32]]:
        """:meth:`logits`, and (N, D) the :meth:`classifier_inputs` of all streams side by side."""
        return self.logits(samples), np.concatenate(list(self.classifier_inputs(samples).values()), axis=1)

    @abstractmethod
    def training_seconds(self) -> tuple[float, float]:
        """Median and longest duration of the training clips in seconds."""

    @abstractmethod
    def training_fps(self) -> float:
        """Median rate of the training clips in frames per second; 0 if it is not known."""

    @property
    @abstractmethod
    def mutual(self) -> NDArray[np.bool_]:
        """(K,) the actions that people do with each other."""

    @abstractmethod
    def without_frames(self) -> Trained:
        """The same with the streams alone that read no person frames.

        Raises:
            ValueError: there is none.
        """

    @abstractmethod
    def event_rules(self, window_s: float) -> tuple[Rule, Rule | None]:
        """How events are found with windows of this length: by what trimmed clips say, and as it was learnt from
        untrimmed videos, if it was."""

    @property
    @abstractmethod
    def imported(self) -> bool:
        """Whether the networks read imported poses or features."""

    @property
    @abstractmethod
    def without_unknown(self) -> str:
        """Why answers have no probability of unknown, though the parameters ask for it; empty: they have one, or the
        parameters do not."""

    @property
    @abstractmethod
    def pose_meta(self) -> PoseMeta | None:
        """The pose network that the features were made with; None where it is not known."""

    @property
    def names(self) -> tuple[str, ...]:
        """What can be answered: the trained actions, without one called background, whose share is that of unknown;
        then the taught ones."""
        named = [name for label, name in enumerate(self.classes) if label != self.background]
        return (*named, *(() if self.taught is None else self.taught.names))

    def require_videos(self) -> None:
        """Refuse networks that do not read videos.

        Raises:
            ValueError: they read imported features; says what can be given.
        """
        if self.features.kind not in VIDEO_KINDS:
            raise ValueError(
                f"this project's networks read imported {self.features.kind} features: hpnet predict needs "
                "networks that were trained on videos, or poses (`hpnet predict --poses FILE`)"
            )

    def check_poses(self, poses: PoseMeta) -> None:
        """Refuse another pose network than the one whose features the streams were trained on.

        Raises:
            ValueError: they were trained on imported features, or params.yaml has changed since; names the parameter.
        """
        self.require_videos()
        wanted = feature_meta(self.params.pool, poses)
        for name in ("kind", "tap", "region", "operator"):
            now, then = getattr(wanted, name), getattr(self.features, name)
            if now != then:
                raise ValueError(f"pool.{name} is {now!r}, the networks were trained with {then!r}: run `dvc repro`")
        if self.params.pool.frames != self.frames:
            raise ValueError(
                f"pool.frames is {self.params.pool.frames}, the networks were trained with {self.frames}: "
                "run `dvc repro`"
            )
        if poses.skeleton.joints != self.features.skeleton.joints:
            raise ValueError(
                f"estimate.model finds the joints of {poses.skeleton.name!r}, the networks were trained on "
                f"{self.features.skeleton.name!r}: run `dvc repro`"
            )
        stored = self.pose_meta
        if stored is not None:
            for name in ("model", "weights_digest", "parity"):
                if getattr(stored, name) != getattr(poses, name):
                    raise ValueError(
                        f"the pose network's {name} is {str(getattr(poses, name))[:20]!r}, the features were made with "
                        f"{str(getattr(stored, name))[:20]!r}: run `dvc repro`"
                    )

    def with_taught(self, probabilities: NDArray[np.float64], samples: Sequence[Sample]) -> NDArray[np.float64]:
        """(N, K) -> (N, K + J), with the J taught actions; the sum is 1."""
        if self.taught is None or not samples:
            return probabilities
        actions = self.taught.actions
        thresholds = np.array([action.threshold for action in actions])
        temperatures = np.array([action.temperature for action in actions])
        head = Head(self.taught.weights, self.taught.biases, thresholds, temperatures)
        return head.answered(probabilities, self.embeddings(samples))

    def probabilities(self, logits: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float64]:
        """(N, K): the softmax of the fused scores of :attr:`classes`."""
        fused = fuse_as_fitted(self.fusion, logits)
        shifted = np.exp(fused - fused.max(1, keepdims=True))
        return np.asarray(shifted / shifted.sum(1, keepdims=True))

    def of_names(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, K + J) -> those of :attr:`names`, without background, with the sum 1."""
        if self.background is None or not len(probabilities):
            return probabilities
        kept = np.delete(probabilities, self.background, axis=1)
        return np.asarray(kept / kept.sum(1, keepdims=True).clip(1e-300))

    def unknown(
        self, logits: Mapping[str, NDArray[np.float32]], probabilities: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        """(N,): the probability that it is none of :attr:`names`; None where the fusion has fitted none.

        Args:
            probabilities: (N, K + J) of :meth:`with_taught`: what is a taught action is not unknown, though the trained
                networks do not know it.
        """
        if self.refusal is None:
            return None
        chance = probability_of_unknown(self.refusal, fuse_as_fitted(self.fusion, logits), self.background)
        return np.asarray(chance * (1 - probabilities[:, len(self.classes) :].sum(1)))


def stacked(samples: Sequence[Sample], slots: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The people of samples as networks read them: (N, C, T, V, M), zeros where there is no person, and (N, M).

    Args:
        slots: M.
    """
    _, frames, joints, channels = samples[0].features.shape
    people = np.zeros((len(samples), slots, frames, joints, channels), np.float32)
    valid = np.zeros((len(samples), slots), bool)
    for n, sample in enumerate(samples):
        count = min(slots, len(sample.features))
        valid[n, :count] = sample.valid[:count]
        people[n, :count] = sample.features[:count] * sample.valid[:count, None, None, None]
    return people.transpose(0, 4, 2, 3, 1), valid  # (N, M, T, V, C) -> (N, C, T, V, M)
