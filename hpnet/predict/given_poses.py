"""Answers for poses that somebody else's network found: clips of a pickle of pyskl, or key points as an array.

For projects that were trained on imported poses (``hpnet import pyskl``), or on 2-D poses of the same joints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.feature_folder import pose_clip
from ..data.pyskl import SKELETONS, annotation_people, read_annotations
from ..work.console import one_line
from .result import GroupAnswer, WindowResult
from .trained import Sample, Trained

KINDS = {2: "pose2d", 3: "pose3d"}
"""Coordinates -> kind of features."""
GROUP = 64
"""Clips that are classified together."""
ARRAY = "poses"
"""``video`` of the answer for an array."""


def clips_of(source: str | Path | NDArray[np.floating], scores: NDArray[np.floating] | None) -> list[dict[str, Any]]:
    """Annotations of a pickle, or one made of an array.

    Args:
        source: a path, or key points (T, M, V, 2) in pixels or (T, M, V, 3) in metres; zeros where nobody is.
        scores: (T, M, V) of an array, 0 where a joint was not seen; None: 1.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, hostile, or something else.
    """
    if not isinstance(source, np.ndarray):
        if scores is not None:
            raise ValueError("scores are for an array: a pickle has its own")
        return read_annotations(Path(source), labelled=False)[0]
    if source.ndim != 4 or source.shape[2:] not in SKELETONS or not source.shape[0]:
        known = " or ".join(f"(T, M, {joints}, {size})" for joints, size in SKELETONS)
        raise ValueError(f"key points are {source.shape}; expected {known}")
    if scores is not None and scores.shape != source.shape[:3]:
        raise ValueError(f"scores are {scores.shape}; expected {source.shape[:3]}")
    annotation: dict[str, Any] = {"frame_dir": ARRAY, "keypoint": source.swapaxes(0, 1)}  # (T, M, ...) -> (M, T, ...)
    return [annotation if scores is None else {**annotation, "keypoint_score": scores.swapaxes(0, 1)}]


def answer_poses(
    project: Trained, clips: Sequence[Mapping[str, Any]], each: bool, failed: dict[str, str]
) -> Iterator[WindowResult]:
    """An answer for each clip, in order; a clip that cannot be used is in ``failed`` with its reason.

    Args:
        each: with several people, also answer for each of them.

    Raises:
        ValueError: the project's networks read something else.
    """
    _require_same_joints(project, clips)
    for start in range(0, len(clips), GROUP):
        yield from _answered(project, clips[start : start + GROUP], each, failed)


def _require_same_joints(project: Trained, clips: Sequence[Mapping[str, Any]]) -> None:
    features = project.features
    for clip in clips:
        joints, size = clip["keypoint"].shape[2:]
        kind, skeleton = KINDS[size], SKELETONS[joints, size]
        if (kind, skeleton.joints) != (features.kind, features.skeleton.joints) or features.own_axes:
            raise ValueError(
                f"clip {one_line(str(clip['frame_dir']))} has {kind} poses of {joints} joints ({skeleton.name}), the "
                f"networks read {features.kind!r} features of {features.skeleton.num_joints} joints "
                f"({features.skeleton.name}): use a project that was trained on such poses"
            )


def _answered(
    project: Trained, clips: Sequence[Mapping[str, Any]], each: bool, failed: dict[str, str]
) -> Iterator[WindowResult]:
    asked: list[tuple[str, int, list[tuple[int, ...]]]] = []
    samples: list[Sample] = []
    for clip in clips:
        name, length = str(clip["frame_dir"]), int(clip["keypoint"].shape[1])
        try:
            tracks, features = _people(project, clip)
        except ValueError as error:
            failed[name] = str(error)
            continue
        together = list(range(len(tracks)))
        groups = [together, *([[m] for m in together] if each and len(together) > 1 else [])] if together else []
        samples += [Sample(features[group], np.ones(len(group), bool), []) for group in groups]
        asked.append((name, length, [tuple(tracks[m] for m in group) for group in groups]))
    logits = project.logits(samples) if samples else {}
    probabilities = project.probabilities(logits) if samples else np.zeros((0, 0))
    probabilities = project.with_taught(probabilities, samples)
    unknown = project.unknown(logits, probabilities) if samples else None
    probabilities = project.of_names(probabilities)
    row = 0
    for name, length, groups_of in asked:
        answers = []
        for group in groups_of:
            of_streams = {stream: values[row] for stream, values in logits.items()}
            chance = None if unknown is None else float(unknown[row])
            answers.append(GroupAnswer(group, project.names, probabilities[row], of_streams, chance))
            row += 1
        yield WindowResult(name, 0, np.nan, np.nan, (0, length - 1), (), tuple(answers))


def _people(project: Trained, clip: Mapping[str, Any]) -> tuple[list[int], NDArray[np.float16]]:
    """The people who are there, their numbers in the file, and their features (m, T, V, C).

    Raises:
        ValueError: a value is not finite, or too large.
    """
    kept, poses, valid = annotation_people(clip, project.people)
    found = np.flatnonzero(valid.any(0))
    with np.errstate(over="ignore"):
        features = pose_clip(str(clip["frame_dir"]), poses, valid, project.frames).values.astype(np.float16)
    if not np.isfinite(features).all():
        raise ValueError("its poses are beyond float16's 65504")
    return [kept[m] for m in found], features
