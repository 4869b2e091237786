"""Windows -> actions: detection, tracks, poses, pooling, streams and fusion, like the stages."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..artifacts.poses import ClipPoses, PoseMeta
from ..detect.person_frames import PersonCuts, cut_out, encode_jpeg, person_cuts
from ..pool.features import clip_features, people_valid
from ..pool.params import PoolParams
from .people import Person, SeenWindow
from .pooled import already_pooled
from .seeing import Seen
from .trained import Sample, Trained
from .windows import Image, OnFailure, Window, in_parts

GROUP = 8
"""Windows of files that are classified together."""


@dataclass(frozen=True)
class Answer:
    """The answer for some people of a window: class probabilities (K,), the logits (K,) of each stream, and the
    probability that it is none of the classes; None where the project has none."""

    people: tuple[Person, ...]
    probabilities: NDArray[np.float64]
    logits: dict[str, NDArray[np.float32]]
    unknown: float | None = None

    def top(self, count: int) -> list[tuple[int, float]]:
        """The ``count`` most probable classes and their probabilities."""
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(int(k), float(self.probabilities[k])) for k in order]


@dataclass(frozen=True)
class Prediction:
    """A window with its answers: first for all people together, as in training, then one for each person.

    Where there is one person both are the same and there is one answer; where nobody was found, or nothing was asked,
    there is none.
    """

    seen: SeenWindow
    poses: ClipPoses
    answers: tuple[Answer, ...]
    latency_s: float | None


@dataclass(frozen=True)
class _Asked:
    """Whom to answer for in a window (ranks), and the person frames of each of these groups."""

    groups: list[list[int]]
    jpegs: list[list[bytes]]


class Recogniser:
    """Trained networks at work.

    Args:
        project: its networks.
        people: people kept per window; None: ``detect.persons``.
        each: also give an answer for each person.
        device, precision: see :mod:`hpnet.core.device`.
    """

    def __init__(
        self,
        project: Trained,
        *,
        people: int | None = None,
        each: bool = True,
        device: str = "auto",
        precision: str = "float32",
    ) -> None:
        self.project = project
        self.each = each
        self.eyes = project.eyes(people=people, device=device, precision=precision)
        project.check_poses(self.pose_meta)

    @property
    def pose_meta(self) -> PoseMeta:
        """The description of the pose network."""
        return self.eyes.estimator.meta

    def predict(self, windows: Iterable[Window], on_failure: OnFailure, group: int = GROUP) -> Iterator[Prediction]:
        """Recognise windows in order; ``group`` of them are classified together.

        A window that cannot be decoded is left out, and ``on_failure`` is called with its video and the reason.
        """
        held: list[Seen[_Asked]] = []
        for part in in_parts(windows):
            for seen in self.eyes.see(part, self._ask, on_failure):
                held.append(seen)
                if len(held) >= group:
                    yield from self._answer(held, self.project.params.pool)
                    held = []
        yield from self._answer(held, self.project.params.pool)

    def answer(self, seen: Seen[None]) -> Prediction:
        """Recognise a window whose maps are pooled already, see :mod:`hpnet.predict.pooled`."""
        asked = Seen(seen.window, seen.poses, self._ask(seen.window))
        return self._answer([asked], already_pooled(self.project.params.pool))[0]

    def embed(
        self, windows: Iterable[Window], on_failure: OnFailure
    ) -> Iterator[tuple[SeenWindow, list[NDArray[np.float16]], dict[str, NDArray[np.float32]]]]:
        """Windows with what the networks know of each of their people, alone.

        Yields:
            The window, each person's pooled features (T, V, C), and stream -> (M, D), the inputs of its classifier.
        """
        pool = self.project.params.pool
        for part in in_parts(windows):
            for seen in self.eyes.see(part, lambda _: None, on_failure):
                window, _ = seen.in_video_px()
                samples = [self._sample(seen.poses, [rank], pool) for rank in range(len(window.people))]
                trained = self.project.classifier_inputs(samples) if samples else {}
                yield window, [sample.features[0] for sample in samples], trained

    def examples(self, windows: Iterable[Window], on_failure: OnFailure) -> Iterator[tuple[str, Sample | None]]:
        """Windows' videos with all their people together, as in training; None where nobody is found."""
        pool = self.project.params.pool
        for part in in_parts(windows):
            for seen in self.eyes.see(part, lambda _: None, on_failure):
                groups = self._groups(seen.window)
                yield seen.window.window.video, self._sample(seen.poses, groups[0], pool) if groups else None

    def _ask(self, seen: SeenWindow) -> _Asked:
        """Cut the person frames that the RGB stream reads, while the window's frames are there."""
        groups = self._groups(seen)
        if not groups or not self.project.wants_frames:
            return _Asked(groups, [[] for _ in groups])
        cuts = [self._cuts(seen, people) for people in groups]
        wanted = {frame for one in cuts for frame in one.frames.tolist()}
        images = {index: image for index, (_, image) in enumerate(seen.window.frames) if index in wanted}
        return _Asked(groups, [self._jpegs(one, images) for one in cuts])

    def _answer(self, held: Sequence[Seen[_Asked]], pool: PoolParams) -> list[Prediction]:
        samples = [
            self._sample(seen.poses, people, pool, jpegs)
            for seen in held
            for people, jpegs in zip(seen.kept.groups, seen.kept.jpegs, strict=True)
        ]
        logits = self.project.logits(samples) if samples else {}
        probabilities = self.project.probabilities(logits) if samples else np.zeros((0, 0))
        probabilities = self.project.with_taught(probabilities, samples)
        unknown = self.project.unknown(logits, probabilities) if samples else None
        probabilities = self.project.of_names(probabilities)
        done: list[Prediction] = []
        row = 0
        for seen in held:
            window, poses = seen.in_video_px()
            answers = []
            for people in seen.kept.groups:
                of_streams = {stream: values[row] for stream, values in logits.items()}
                chance = None if unknown is None else float(unknown[row])
                answers.append(Answer(tuple(window.people[m] for m in people), probabilities[row], of_streams, chance))
                row += 1
            captured = window.window.captured_s
            latency = None if captured is None else time.monotonic() - captured
            done.append(Prediction(window, poses, tuple(answers), latency))
        return done

    def together(self, poses: ClipPoses) -> NDArray[np.float64]:
        """Probabilities (K,) of the names for all people of a clip; streams that read person frames get black ones."""
        sample = self._sample(poses, list(range(poses.valid.shape[1])), self.project.params.pool)
        probabilities = self.project.probabilities(self.project.logits([sample]))
        found: NDArray[np.float64] = self.project.of_names(self.project.with_taught(probabilities, [sample]))[0]
        return found

    def _groups(self, seen: SeenWindow) -> list[list[int]]:
        """Groups to answer for: ranks of all people together, then of each person."""
        together = list(range(min(len(seen.people), self.project.params.detect.persons)))
        each = [[m] for m in range(len(seen.people))] if self.each and len(seen.people) > 1 else []
        return [together, *each] if together else []

    def _sample(self, poses: ClipPoses, people: list[int], pool: PoolParams, jpegs: Sequence[bytes] = ()) -> Sample:
        chosen = poses if people == list(range(poses.valid.shape[1])) else of_people(poses, people)
        features = clip_features(chosen, pool, self.pose_meta).astype(np.float16)
        return Sample(features, np.asarray(people_valid(chosen, pool).any(0)), jpegs)

    def _cuts(self, seen: SeenWindow, people: list[int]) -> PersonCuts:
        """What the RGB stream sees of these people: of the frames that detect would keep, the middle ones."""
        tracks = [seen.people[m].track for m in people]
        kept = person_cuts(tracks, seen.count, seen.size_px, self.project.params.detect)
        return kept.middle(self.project.wants_frames)

    def _jpegs(self, cuts: PersonCuts, images: dict[int, Image]) -> list[bytes]:
        size = self.project.params.detect.frame_size
        return [encode_jpeg(cut_out(images[frame], area, size)) for frame, area in cuts.by_frame().items()]


def of_people(poses: ClipPoses, people: list[int]) -> ClipPoses:
    """Some of a clip's people."""
    arrays: dict[str, Any] = {
        name: getattr(poses, name)[:, people] for name in ("keypoints_px", "scores", "frame_to_crop", "valid")
    }
    windows = {tap: values[:, people] for tap, values in poses.windows.items()}
    vectors = None if poses.vectors is None else poses.vectors[:, people]
    return ClipPoses(poses.clip_id, **arrays, windows=windows, vectors=vectors)
