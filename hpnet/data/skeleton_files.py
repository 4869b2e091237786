"""Folders with one file of 3-D joints per clip -> 3-D pose features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.skeleton import Skeleton
from . import protocols
from .corrections import AS_PUBLISHED, Corrections
from .feature_folder import ImportedClip, ImportSummary, nobody, pose_clip, pose_meta, write_feature_folder
from .grammar import Splitting
from .walk import walk

People = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""Joints (T, M, V, 3) in metres and who is there (T, M)."""
FARTHEST_M = 100.0
"""Joints that are farther from the clip's origin were never seen by a depth camera."""


@dataclass(frozen=True)
class Layout:
    """How a data set keeps its joints.

    Attributes:
        what: a file of it in words, for error messages.
        wanted: whether a file is one.
        read: the people of a file; ValueError, with the file's name, where it is broken.
        place: what moves and turns the people of a clip (see :func:`hpnet.data.pose3d.normalise`).
        skeleton: the joints.
        video: width, height and fps of the video that the joints were found in.
        own_axes: ``place`` gives each person axes of their own.
    """

    what: str
    wanted: Callable[[Path], bool]
    read: Callable[[Path], People]
    place: Callable[[NDArray[np.float32], NDArray[np.bool_]], NDArray[np.float32]]
    skeleton: Skeleton
    video: tuple[int, int, float] = (0, 0, 0.0)
    own_axes: bool = False


def import_files(
    layout: Layout,
    source: Path,
    out: Path,
    protocol: str,
    *,
    frames: int,
    splitting: Splitting,
    corrections: Corrections = AS_PUBLISHED,
    on_progress: Callable[[int], None] | None = None,
) -> ImportSummary:
    """Import every file of ``layout`` below ``source`` into ``out``.

    A file that cannot be read keeps its row, with the reason; one without a person is a clip without people.

    Raises:
        FileNotFoundError: ``source`` has no such file.
        ValueError: a name that the protocol does not know, or that occurs twice.
    """
    found = walk(source, layout.wanted) if source.is_dir() else None
    if found is None or not (found.files or found.unusable):
        raise FileNotFoundError(f"folder {source} is missing or has no {layout.what}: give the unpacked folder")
    found.refuse_unusable()
    names = [str(file.relative_to(source)) for file in found.files]
    table = protocols.label_and_split(protocol, names, splitting.val_fraction, splitting.seed)

    def clips() -> Iterator[ImportedClip]:
        for clip_id, file in zip(table.clip_id, found.files, strict=True):
            try:
                joints, valid = layout.read(file)
                poses = layout.place(joints, valid)
                if np.abs(poses).max(initial=0) > FARTHEST_M:
                    raise ValueError(
                        f"{file}: joints are {np.abs(poses).max():.3g} m apart: it is damaged, fetch it again"
                    )
                clip = pose_clip(clip_id, poses, valid, frames, layout.video)
            except ValueError as error:
                size = (frames, layout.skeleton.num_joints, 3)
                clip = nobody(clip_id, size, video=layout.video, error=str(error))
            yield clip
            if on_progress:
                on_progress(1)

    described = table.assign(path=[str(file) for file in found.files])
    classes = protocols.class_table(protocol, table)
    meta = replace(pose_meta("pose3d", layout.skeleton), own_axes=layout.own_axes)
    return write_feature_folder(out, clips(), described, classes, meta, corrections)
