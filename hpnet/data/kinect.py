"""NTU RGB+D's .skeleton files (Kinect 2, 25 joints in metres) -> 3-D pose features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.reading import read_bytes
from ..core.skeleton import NTU25
from . import pose3d
from .corrections import AS_PUBLISHED, Corrections
from .feature_folder import ImportSummary
from .grammar import Splitting
from .skeleton_files import Layout, import_files

AXES = pose3d.BodyAxes.of(NTU25, "spine_base", "spine_shoulder")
BODY_FIELDS = 10
JOINT_FIELDS = 12
MIN_FRAMES = 12
"""Bodies seen in fewer frames count as noise if a longer one exists."""
MOST_BYTES = 64 << 20
MOST_FRAMES = 20_000
"""The longest clip of NTU RGB+D has 300."""
REMEDY = "expected a .skeleton file of NTU RGB+D"
VIDEO = (1920, 1080, 30.0)


@dataclass(frozen=True)
class KinectBody:
    """One tracked body: the frames in which it was seen (T',) and its joints there (T', 25, 3), metres."""

    frames: NDArray[np.int64]
    joints_m: NDArray[np.float32]


def read_skeleton(path: Path) -> tuple[int, list[KinectBody]]:
    """Number of frames, and the bodies of a .skeleton file in the order of their appearance.

    A body without any position (all joints at the origin) in a frame was not seen there.

    Raises:
        ValueError: the file is truncated or not of this format; names it.
    """
    words = read_bytes(path, MOST_BYTES, REMEDY).decode("ascii", "replace").split()
    place = 0

    def take(count: int) -> list[str]:
        nonlocal place
        if place + count > len(words):
            raise ValueError(f"{path} ends in the middle of a body: it is truncated, download it again")
        place += count
        return words[place - count : place]

    seen: dict[str, tuple[list[int], list[NDArray[np.float32]]]] = {}
    try:
        frames = int(take(1)[0])
        if not 0 <= frames <= MOST_FRAMES:
            raise ValueError(f"it says {frames:,} frames, expected at most {MOST_FRAMES:,}")
        for frame in range(frames):
            for _ in range(int(take(1)[0])):
                body = take(BODY_FIELDS)[0]
                joints = int(take(1)[0])
                if joints != NTU25.num_joints:
                    raise ValueError(f"{path}: a body has {joints} joints, expected {NTU25.num_joints}")
                # (25 * 12,) -> (25, 12) -> x, y, z
                values = np.array(take(joints * JOINT_FIELDS), np.float32).reshape(joints, JOINT_FIELDS)[:, :3]
                if np.isfinite(values).all() and values.any():
                    where, positions = seen.setdefault(body, ([], []))
                    where.append(frame)
                    positions.append(values)
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path} is not a .skeleton file of NTU RGB+D ({error})") from None
    if place != len(words):
        raise ValueError(f"{path} has data after its {frames} frames: it is not a .skeleton file of NTU RGB+D")
    return frames, [KinectBody(np.array(f), np.stack(j)) for f, j in seen.values()]


def people(frames: int, bodies: list[KinectBody], persons: int = 2) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The most moving bodies as people (T, M, 25, 3) with mask (T, M).

    Bodies in few frames, and bodies as wide as high (furniture), are left out if another body remains. The rest are
    ranked by motion. Kinect gives a person a new number after losing track, so a body that shares no frame with a
    better-ranked one continues it.
    """
    bodies = [body for body in bodies if len(body.frames) >= MIN_FRAMES] or bodies
    bodies = [body for body in bodies if not pose3d.is_wide(body.joints_m)] or bodies
    ranked = sorted(bodies, key=lambda body: -pose3d.motion(body.joints_m))
    joints = np.zeros((frames, persons, NTU25.num_joints, 3), np.float32)
    valid = np.zeros((frames, persons), bool)
    for body in ranked:
        free = [slot for slot in range(persons) if not valid[body.frames, slot].any()]
        if free:
            joints[body.frames, free[0]] = body.joints_m
            valid[body.frames, free[0]] = True
    return joints, valid


def import_kinect(
    source: Path,
    out: Path,
    protocol: str,
    *,
    frames: int = 64,
    persons: int = 2,
    align: bool = False,
    same_size: bool = False,
    val_fraction: float = 0.15,
    seed: int = 7,
    corrections: Corrections = AS_PUBLISHED,
    on_progress: Callable[[int], None] | None = None,
) -> ImportSummary:
    """Import every .skeleton file below ``source`` into ``out``; see :func:`hpnet.data.pose3d.normalise` and, for the
    errors, :func:`hpnet.data.skeleton_files.import_files`.
    """
    layout = Layout(
        ".skeleton file",
        lambda file: file.suffix == ".skeleton",
        lambda file: people(*read_skeleton(file), persons),
        lambda joints, valid: pose3d.normalise(joints, valid, AXES, align, same_size),
        NTU25,
        VIDEO,
    )
    splitting = Splitting(val_fraction, seed)
    return import_files(
        layout,
        source,
        out,
        protocol,
        frames=frames,
        splitting=splitting,
        corrections=corrections,
        on_progress=on_progress,
    )
