"""Annotation pickles of pyskl and mmaction2 (everybody's existing poses) -> pose features."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import pooling
from ..clip_ids import check_clip_ids
from ..skeleton import COCO17, NTU25, Skeleton
from . import pose3d, protocols
from .corrections import AS_PUBLISHED, Corrections
from .feature_folder import ImportedClip, ImportSummary, nobody, pose_clip, pose_meta, write_feature_folder
from .kinect import AXES
from .pickles import load_pickle

SKELETONS: dict[tuple[int, int], Skeleton] = {(17, 2): COCO17, (25, 3): NTU25}
"""(joints, coordinates) -> skeleton."""
EXPECTED = "frame_dir, label, total_frames and keypoint (M, T, V, 2 or 3)"


def read_annotations(source: Path) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    """The annotations of a pickle, and its splits (empty where it has none).

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is broken, hostile, or holds something else; names the clip and what is wrong with it.
    """
    content = load_pickle(source)
    splits: dict[str, list[str]] = {}
    if isinstance(content, Mapping):
        raw_splits = content.get("split", {})
        if not isinstance(raw_splits, Mapping) or not isinstance(content.get("annotations"), list):
            raise ValueError(f"{source} holds {sorted(map(str, content))[:6]}; expected split and annotations")
        splits = {str(name): [str(clip) for clip in clips] for name, clips in raw_splits.items()}
        content = content["annotations"]
    if not isinstance(content, list) or not content:
        raise ValueError(f"{source} holds no list of annotations (each {EXPECTED})")
    for number, annotation in enumerate(content):
        if not isinstance(annotation, dict) or "frame_dir" not in annotation:
            raise ValueError(f"{source}: annotation {number} has no frame_dir; expected {EXPECTED}")
        _check(source, annotation)
    return content, splits


def _check(source: Path, annotation: Mapping[str, Any]) -> None:
    clip = annotation["frame_dir"]
    keypoint = annotation.get("keypoint")
    if not isinstance(keypoint, np.ndarray) or keypoint.ndim != 4:
        found = keypoint.shape if isinstance(keypoint, np.ndarray) else sorted(map(str, annotation))
        raise ValueError(f"{source}: clip {clip!r} has no keypoint (M, T, V, 2 or 3) but {found}")
    if keypoint.shape[2:] not in SKELETONS:
        known = " or ".join(f"{joints} joints of {size} coordinates" for joints, size in SKELETONS)
        raise ValueError(f"{source}: clip {clip!r} has keypoints {keypoint.shape}; expected {known}")
    score = annotation.get("keypoint_score")
    if score is not None and np.shape(score) != keypoint.shape[:3]:
        raise ValueError(f"{source}: clip {clip!r}: keypoint_score is {np.shape(score)}, expected {keypoint.shape[:3]}")
    if not isinstance(annotation.get("label"), int | np.integer):
        raise ValueError(f"{source}: clip {clip!r} has no label: expected {EXPECTED}")


def choose_split(splits: Mapping[str, Sequence[str]], wanted: str | None) -> dict[str, str]:
    """Clip -> train, val or test, out of their lists such as xsub_train and xsub_val.

    What they call val is what they report on, hence test here, unless the group has a test list of its own.

    Args:
        wanted: the group (xsub, xview, xset, or empty for plain train and val); None: the only one there is.

    Raises:
        ValueError: no such group, several to choose from, or a clip in two lists.
    """
    groups: dict[str, dict[str, str]] = {}
    for name in splits:
        for part in ("train", "val", "test"):
            if part in name:
                group = name.replace(part, "").strip("_-")
                groups.setdefault(group, {})[part] = name
    if wanted is None and len(groups) > 1:
        raise ValueError(f"the file has splits {', '.join(map(repr, groups))}: choose one with --split")
    if not groups:
        raise ValueError("the file has no splits: say with --protocol what trains and what tests")
    group = wanted if wanted is not None else next(iter(groups))
    if group not in groups:
        raise ValueError(f"the file has no split {group!r}; it has {', '.join(map(repr, groups))}")
    lists = groups[group]
    result: dict[str, str] = {}
    for part, name in lists.items():
        ours = "test" if part == "val" and "test" not in lists else part
        for clip in splits[name]:
            if result.setdefault(clip, ours) != ours:
                raise ValueError(f"clip {clip!r} is in {result[clip]} and in {name}")
    return result


def person_order(valid: NDArray[np.bool_], scores: NDArray[np.floating]) -> list[int]:
    """People (M) of a clip by presence (T, M), then by the sum of their scores (T, M, V)."""
    return sorted(range(valid.shape[1]), key=lambda m: (-int(valid[:, m].sum()), -float(scores[:, m].sum())))


def annotation_poses(annotation: Mapping[str, Any], persons: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """One annotation -> normalised poses (T, M, V, 3) and mask (T, M).

    2-D keypoints become x, y, score exactly as :func:`hpnet.pooling.pose2d` makes them of our own estimates; 3-D ones
    are centred by :func:`hpnet.data.pose3d.normalise`. A person all of whose joints are zero in a frame is not there.
    """
    # (M, T, V, 2 or 3) -> (T, M, V, 2 or 3)
    joints = np.asarray(annotation["keypoint"], np.float32).swapaxes(0, 1)
    if not np.isfinite(joints).all():
        raise ValueError(f"clip {annotation['frame_dir']!r} has keypoints that are not finite")
    raw = annotation.get("keypoint_score")
    scores = np.ones(joints.shape[:3], np.float32) if raw is None else np.asarray(raw, np.float32).swapaxes(0, 1)
    valid = np.asarray(joints.any((2, 3)))
    kept = person_order(valid, scores)[:persons]
    joints, scores, valid = joints[:, kept], scores[:, kept], valid[:, kept]
    if joints.shape[-1] == 3:
        return pose3d.normalise(joints, valid, AXES), valid
    return pooling.pose2d(joints, scores, valid, SKELETONS[joints.shape[2], 2]), valid


def import_pyskl(
    source: Path,
    out: Path,
    protocol: str | None = None,
    *,
    split: str | None = None,
    frames: int = 64,
    persons: int = 2,
    val_fraction: float = 0.15,
    seed: int = 7,
    corrections: Corrections = AS_PUBLISHED,
    on_progress: Callable[[int], None] | None = None,
) -> ImportSummary:
    """Import an annotation pickle into ``out``.

    A clip whose keypoints cannot be used keeps its row, with the reason.

    With a protocol, labels, class names and splits are the protocol's, and labels must agree with the file's. Without,
    both are the file's, classes are numbers, and validation clips are cut from the training clips by a seeded order.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is broken, its labels or splits contradict the protocol, or it mixes skeletons.
    """
    annotations, splits = read_annotations(source)
    shapes = {annotation["keypoint"].shape[2:] for annotation in annotations}
    if len(shapes) > 1:
        raise ValueError(f"{source} mixes keypoints of {sorted(shapes)} (joints, coordinates): import them apart")
    joints, size = shapes.pop()
    names = [str(annotation["frame_dir"]) for annotation in annotations]
    labels = [int(annotation["label"]) for annotation in annotations]
    if protocol is None:
        table, classes = _own_table(source, names, labels, choose_split(splits, split), val_fraction, seed)
    else:
        table = protocols.label_and_split(protocol, names, val_fraction, seed)
        classes = protocols.class_table(protocol, table)
        _compare(source, protocol, table, names, labels, splits, split)

    def clips() -> Iterator[ImportedClip]:
        for clip_id, annotation in zip(table.clip_id, annotations, strict=True):
            height, width = annotation.get("img_shape", (0, 0))
            video = (int(width), int(height), 0.0)
            try:
                poses, valid = annotation_poses(annotation, persons)
                clip = pose_clip(str(clip_id), poses, valid, frames, video)
            except ValueError as error:
                clip = nobody(str(clip_id), (frames, joints, 3), video=video, error=str(error))
            yield clip
            if on_progress:
                on_progress(1)

    meta = pose_meta("pose2d" if size == 2 else "pose3d", SKELETONS[joints, size])
    return write_feature_folder(out, clips(), table.assign(path=names), classes, meta, corrections)


def _own_table(
    source: Path, names: list[str], labels: list[int], splits: dict[str, str], val_fraction: float, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Clip table and classes as the file itself has them."""
    check_clip_ids(names, str(source))
    if min(labels) < 0:
        raise ValueError(f"{source}: clip {names[labels.index(min(labels))]!r} has label {min(labels)}")
    ours = [splits.get(name, "") for name in names]
    if "val" not in ours:
        training = [name for name, part in zip(names, ours, strict=True) if part == "train"]
        order = sorted(training, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest())
        held_out = set(order[: round(val_fraction * len(order))])
        ours = ["val" if name in held_out else part for name, part in zip(names, ours, strict=True)]
    numbers = [str(k) for k in range(max(labels) + 1)]
    table = pd.DataFrame(
        {"clip_id": names, "label": labels, "split": ours, "subject": "", "camera": 0, "setup": 0, "repetition": 0}
    )
    return table, pd.DataFrame({"label": range(len(numbers)), "name": numbers, "prompt": numbers})


def _compare(
    source: Path,
    protocol: str,
    table: pd.DataFrame,
    names: list[str],
    labels: list[int],
    splits: dict[str, list[str]],
    wanted: str | None,
) -> None:
    """Refuse a file whose labels, or whose split of this protocol's name, say something else than the protocol."""
    for name, theirs, ours in zip(names, labels, table.label, strict=True):
        if theirs != ours:
            raise ValueError(f"{source}: clip {name!r} has label {theirs}, {protocol} says {ours}")
    group = wanted if wanted is not None else protocol.rsplit("-", 1)[-1]
    if wanted is None and f"{group}_train" not in splits:
        return
    theirs_by_clip = choose_split(splits, group)
    for name, split in zip(names, table.split, strict=True):
        theirs_split = theirs_by_clip.get(name, "")
        if split and theirs_split and (split == "test") != (theirs_split == "test"):
            raise ValueError(f"{source}: clip {name!r} is in {group} {theirs_split}, but in {split} of {protocol}")
