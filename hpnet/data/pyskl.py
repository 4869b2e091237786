"""Annotation pickles of pyskl and mmaction2 -> pose features."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.clip_ids import check_clip_ids
from ..core.poses import people_seen, pose2d
from ..core.skeleton import COCO17, NTU25, Skeleton
from . import pose3d, protocols
from .corrections import AS_PUBLISHED, Corrections
from .feature_folder import ImportedClip, ImportSummary, nobody, pose_clip, pose_meta, write_feature_folder
from .kinect import AXES
from .pickles import load_pickle

SKELETONS: dict[tuple[int, int], Skeleton] = {(17, 2): COCO17, (25, 3): NTU25}
"""(joints, coordinates) -> skeleton."""
EXPECTED = "frame_dir, label, total_frames and keypoint (M, T, V, 2 or 3)"
LONGEST_NAME = 1024
MOST_CLASSES = 100_000


def read_annotations(source: Path, *, labelled: bool = True) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    """The annotations of a pickle, and its splits (empty where it has none).

    Args:
        labelled: whether every annotation must have a label.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, hostile, or has other content; names the clip and the problem.
    """
    content = load_pickle(source)
    splits: dict[str, list[str]] = {}
    if isinstance(content, dict):
        if not isinstance(content.get("annotations"), list):
            raise ValueError(f"{source} holds {_keys(content)}; expected split and annotations, a list")
        splits = _split_lists(source, content.get("split", {}))
        content = content["annotations"]
    if not isinstance(content, list) or not content:
        raise ValueError(f"{source} holds no list of annotations (each {EXPECTED})")
    for number, annotation in enumerate(content):
        if not isinstance(annotation, dict):
            raise ValueError(
                f"{source}: annotation {number} is a {type(annotation).__name__}; expected a dict with {EXPECTED}"
            )
        if not _is_name(annotation.get("frame_dir")):
            raise ValueError(
                f"{source}: annotation {number} has no frame_dir, text of at most {LONGEST_NAME} characters; expected "
                f"{EXPECTED}"
            )
        _check(source, annotation)
        if labelled:
            _check_label(source, annotation)
    return content, splits


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME


def _keys(content: Collection[Any]) -> str:
    """The first keys of a dict, for a message."""
    return f"{sorted(str(key)[:40] for key in content)[:8]}"


def _split_lists(source: Path, raw: Any) -> dict[str, list[str]]:
    """The lists of names under ``split``, checked."""
    if not isinstance(raw, dict):
        raise ValueError(f"{source}: split is a {type(raw).__name__}; expected a dict of lists of frame_dir")
    splits: dict[str, list[str]] = {}
    for name, clips in raw.items():
        listed = clips.tolist() if isinstance(clips, np.ndarray) else clips
        if not isinstance(listed, list | tuple | set | frozenset):
            raise ValueError(
                f"{source}: split {str(name)[:80]!r} is a {type(clips).__name__}; expected a list of frame_dir"
            )
        for clip in listed:
            if not _is_name(clip):
                raise ValueError(
                    f"{source}: split {str(name)[:80]!r} lists a {type(clip).__name__} that is no frame_dir; expected "
                    f"text of at most {LONGEST_NAME} characters"
                )
        splits[str(name)[:80]] = [str(clip) for clip in listed]
    return splits


def _check(source: Path, annotation: Mapping[str, Any]) -> None:
    clip = f"{source}: clip {annotation['frame_dir']!r}"
    keypoint = annotation.get("keypoint")
    if not isinstance(keypoint, np.ndarray) or keypoint.ndim != 4:
        found = f"an array {keypoint.shape}" if isinstance(keypoint, np.ndarray) else f"a {type(keypoint).__name__}"
        found = found if "keypoint" in annotation else _keys(annotation)
        raise ValueError(f"{clip} has no keypoint (M, T, V, 2 or 3) but {found}")
    if keypoint.shape[2:] not in SKELETONS:
        known = " or ".join(f"{joints} joints of {size} coordinates" for joints, size in SKELETONS)
        raise ValueError(f"{clip} has keypoints {keypoint.shape}; expected {known}")
    score = annotation.get("keypoint_score")
    if score is not None and (not isinstance(score, np.ndarray) or score.shape != keypoint.shape[:3]):
        found = f"{score.shape}" if isinstance(score, np.ndarray) else f"a {type(score).__name__}"
        raise ValueError(f"{clip}: keypoint_score is {found}, expected {keypoint.shape[:3]}")
    for key, values in (("keypoint", keypoint), ("keypoint_score", score)):
        if values is not None and values.dtype.kind not in "fiu":
            raise ValueError(f"{clip}: {key} is of {values.dtype}; expected numbers")
    if image_size_px(annotation) is None:
        raise ValueError(
            f"{clip}: img_shape is {_outline(annotation['img_shape'])}; expected (height, width) in pixels, or None"
        )


def _check_label(source: Path, annotation: Mapping[str, Any]) -> None:
    clip, label = f"{source}: clip {annotation['frame_dir']!r}", annotation.get("label")
    if label is None or not _is_whole(label):
        raise ValueError(f"{clip} has no label: expected {EXPECTED}")
    if label >= MOST_CLASSES:
        raise ValueError(f"{clip} has label {label}; expected fewer than {MOST_CLASSES}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def image_size_px(annotation: Mapping[str, Any]) -> tuple[int, int] | None:
    """Width and height of a clip's pictures: (0, 0) if the annotation has none, None if they are invalid."""
    shape = annotation.get("img_shape")
    if shape is None:
        return 0, 0
    sides = shape.tolist() if isinstance(shape, np.ndarray) else shape
    if not isinstance(sides, list | tuple) or len(sides) != 2 or not all(_is_whole(s) and s > 0 for s in sides):
        return None
    return int(sides[1]), int(sides[0])


def _outline(value: Any) -> str:
    """A value for a message: a few numbers or words unchanged, anything else by its type."""
    if isinstance(value, int | float | str):
        return f"{value!r:.40}"
    if isinstance(value, list | tuple) and len(value) <= 4 and all(isinstance(v, int | float | str) for v in value):
        return f"({', '.join(map(_outline, value))})"
    return f"an array {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"


def choose_split(splits: Mapping[str, Sequence[str]], wanted: str | None) -> dict[str, str]:
    """Clip -> train, val or test, from lists such as xsub_train and xsub_val.

    These files report results on val. So val means test here, unless the group has a test list.

    Args:
        wanted: the group (xsub, xview, xset, or empty for plain train and val); None: the only one.

    Raises:
        ValueError: no such group, several to choose from, or a clip in two lists.
    """
    lists = lists_of(splits, wanted)
    result: dict[str, str] = {}
    for part, name in lists.items():
        ours = "test" if part == "val" and "test" not in lists else part
        for clip in splits[name]:
            if result.setdefault(clip, ours) != ours:
                raise ValueError(f"clip {clip!r} is in {result[clip]} and in {name}")
    return result


def lists_of(splits: Mapping[str, Sequence[str]], wanted: str | None) -> dict[str, str]:
    """Part (train, val, test) -> the name of its list in a group; see :func:`choose_split`."""
    groups: dict[str, dict[str, str]] = {}
    for name in splits:
        for part in ("train", "val", "test"):
            if part in name:
                group = name.replace(part, "").strip("_-")
                groups.setdefault(group, {})[part] = name
    if wanted is None and len(groups) > 1:
        raise ValueError(f"the file has splits {', '.join(map(repr, list(groups)[:10]))}: choose one with --split")
    if not groups:
        raise ValueError("the file has no splits: give training and test clips with --protocol")
    group = wanted if wanted is not None else next(iter(groups))
    if group not in groups:
        raise ValueError(f"the file has no split {group!r}; it has {', '.join(map(repr, list(groups)[:10]))}")
    return groups[group]


def match_names(source: Path, splits: Mapping[str, Sequence[str]], wanted: str | None, names: Sequence[str]) -> str:
    """A sentence about names in a group's lists that do not match clips of the file; empty if all match.

    Raises:
        ValueError: no name of a list is a clip; gives both counts.
    """
    clips = set(names)
    listed: set[str] = set()
    lists = lists_of(splits, wanted)
    fitting = {name: sum(clip in clips for clip in splits[name]) for name in lists.values()}
    for name, count in fitting.items():
        listed.update(splits[name])
        if splits[name] and not count:
            counts = ", ".join(f"{count} of {len(splits[name])} names in {name}" for name, count in fitting.items())
            raise ValueError(
                f"{source}: {counts} are among its {len(names)} clips: the lists have names such as "
                f"{splits[name][0]!r}, the clips frame_dir such as {names[0]!r}; expected the same names"
            )
    absent, unlisted = len(listed - clips), len(clips - listed)
    if not absent and not unlisted:
        return ""
    return (
        f"of {len(listed)} names in {', '.join(lists.values())}, {len(listed) - absent} are among the {len(names)} "
        f"clips of {source}: {absent} names have no clip, {unlisted} clips are in no list and neither train nor test"
    )


def person_order(valid: NDArray[np.bool_], scores: NDArray[np.floating]) -> list[int]:
    """People (M) of a clip by presence (T, M), then by the sum of their scores (T, M, V)."""
    return sorted(range(valid.shape[1]), key=lambda m: (-int(valid[:, m].sum()), -float(scores[:, m].sum())))


def annotation_poses(annotation: Mapping[str, Any], persons: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """One annotation -> normalised poses (T, M, V, 3) and mask (T, M).

    2-D keypoints become x, y, score with :func:`hpnet.core.poses.pose2d`, like hpnet's own estimates; 3-D keypoints are
    centred by :func:`hpnet.data.pose3d.normalise`. A person is missing in a frame if all joints are zero. A 2-D joint
    was not seen if its score is 0, or if it is at exactly (0, 0), where pose networks put joints that they leave out. A
    person is missing in a frame if no joint was seen.
    """
    return annotation_people(annotation, persons)[1:]


def annotation_people(
    annotation: Mapping[str, Any], persons: int
) -> tuple[list[int], NDArray[np.float32], NDArray[np.bool_]]:
    """The numbers of the people that are kept, at most ``persons``, and what :func:`annotation_poses` gives."""
    # (M, T, V, 2 or 3) -> (T, M, V, 2 or 3)
    joints = np.asarray(annotation["keypoint"], np.float32).swapaxes(0, 1)
    raw = annotation.get("keypoint_score")
    scores = np.ones(joints.shape[:3], np.float32) if raw is None else np.asarray(raw, np.float32).swapaxes(0, 1)
    valid = np.asarray(joints.any((2, 3)))
    if joints.shape[-1] == 2:
        scores = np.where(joints.any(-1), scores, 0)
        joints = np.where(scores[..., None] == 0, 0, joints)  # any value there, also NaN
        valid = people_seen(scores, valid)
    if not np.isfinite(joints).all() or not np.isfinite(scores).all():
        raise ValueError(f"clip {annotation['frame_dir']!r} has keypoints or scores that are not finite")
    kept = person_order(valid, scores)[:persons]
    joints, scores, valid = joints[:, kept], scores[:, kept], valid[:, kept]
    if joints.shape[-1] == 3:
        return kept, pose3d.normalise(joints, valid, AXES), valid
    return kept, pose2d(joints, scores, valid, SKELETONS[joints.shape[2], 2]), valid


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

    With a protocol, labels, class names and splits are the protocol's, and labels must agree with the file's. Without a
    protocol, labels and splits are the file's, classes are numbers, and validation clips are taken from the training
    clips in a seeded order.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is broken, its labels or splits contradict the protocol, its lists name other clips than it
            has, or it mixes skeletons.
    """
    annotations, splits = read_annotations(source)
    shapes = {annotation["keypoint"].shape[2:] for annotation in annotations}
    if len(shapes) > 1:
        raise ValueError(f"{source} mixes keypoints of {sorted(shapes)} (joints, coordinates): import them separately")
    joints, size = shapes.pop()
    names = [str(annotation["frame_dir"]) for annotation in annotations]
    labels = [int(annotation["label"]) for annotation in annotations]
    notes: tuple[str, ...] = ()
    if protocol is None:
        note = match_names(source, splits, split, names)
        notes = (note,) if note else ()
        table, classes = _own_table(source, names, labels, choose_split(splits, split), val_fraction, seed)
    else:
        table = protocols.label_and_split(protocol, names, val_fraction, seed)
        classes = protocols.class_table(protocol, table)
        _compare(source, protocol, table, names, labels, splits, split)

    def clips() -> Iterator[ImportedClip]:
        for clip_id, annotation in zip(table.clip_id, annotations, strict=True):
            width, height = image_size_px(annotation) or (0, 0)
            video = (width, height, 0.0)
            try:
                poses, valid = annotation_poses(annotation, persons)
                clip = pose_clip(str(clip_id), poses, valid, frames, video)
            except ValueError as error:
                clip = nobody(str(clip_id), (frames, joints, 3), video=video, error=str(error))
            yield clip
            if on_progress:
                on_progress(1)

    meta = pose_meta("pose2d" if size == 2 else "pose3d", SKELETONS[joints, size])
    summary = write_feature_folder(out, clips(), table.assign(path=names), classes, meta, corrections)
    return replace(summary, notes=notes)


def _own_table(
    source: Path, names: list[str], labels: list[int], splits: dict[str, str], val_fraction: float, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Clip table and classes from the file itself."""
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
    unknown = {"subject": "", "source": "", "camera": 0, "setup": 0, "repetition": 0}
    table = pd.DataFrame({"clip_id": names, "label": labels, "split": ours, **unknown})
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
    """Refuse a file with labels, or a split of this protocol's name, that differ from the protocol."""
    for name, theirs, ours in zip(names, labels, table.label, strict=True):
        if theirs != ours:
            raise ValueError(f"{source}: clip {name!r} has label {theirs}, {protocol} says {ours}")
    group = wanted if wanted is not None else protocol.rsplit("-", 1)[-1]
    if wanted is None and f"{group}_train" not in splits:
        return
    theirs_by_clip = choose_split(splits, group)
    match_names(source, splits, group, names)
    for name, split in zip(names, table.split, strict=True):
        theirs_split = theirs_by_clip.get(name, "")
        if split and theirs_split and (split == "test") != (theirs_split == "test"):
            raise ValueError(f"{source}: clip {name!r} is in {group} {theirs_split}, but in {split} of {protocol}")
