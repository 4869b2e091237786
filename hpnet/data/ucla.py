"""Northwestern-UCLA's Kinect skeletons (20 joints in metres), collected in one .npz -> 3-D pose features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ..core.skeleton import UCLA20
from . import pose3d, protocols
from .corrections import AS_PUBLISHED, Corrections
from .feature_folder import ImportedClip, ImportSummary, pose_clip, pose_meta, write_feature_folder
from .pickles import load_arrays

AXES = pose3d.BodyAxes.of(UCLA20, "hip_centre", "shoulder_centre")
EXPECTED = "names (N,), offsets (N + 1,) and joints (frames, 20, 3)"


def import_ucla(
    source: Path,
    out: Path,
    protocol: str = "nw-ucla",
    *,
    frames: int = 64,
    align: bool = True,
    same_size: bool = False,
    val_fraction: float = 0.15,
    val_view: int | None = None,
    seed: int = 7,
    corrections: Corrections = AS_PUBLISHED,
    on_progress: Callable[[int], None] | None = None,
) -> ImportSummary:
    """Import names, offsets and joints of ``source`` into ``out``; see :func:`hpnet.data.pose3d.normalise`.

    Clip n has the frames offsets[n] to offsets[n + 1]. The test camera is not in the training clips, so ``align`` is
    the default. In the copy of the skeletons in benchmarks/nw-ucla.md, view 3 of two actions repeats view 2: see
    ``repeats`` of :class:`~hpnet.data.feature_folder.ImportSummary`.

    Args:
        val_fraction: share of the training clips held out for validation, by subject.
        val_view: a training camera that is held out instead, like the camera of the test split.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the arrays are missing, do not match or are not finite; a name does not match; or ``val_view`` is
            not a training camera, or the only one.
    """
    if not source.is_file():
        raise FileNotFoundError(f"{source} is missing: it must be an .npz with {EXPECTED}")
    arrays, _ = load_arrays(source, ("names", "offsets", "joints"))
    lacking = sorted({"names", "offsets", "joints"} - set(arrays))
    if lacking:
        raise ValueError(f"{source} cannot be read as an .npz with {EXPECTED} (no {lacking[0]})")
    names, offsets, joints = (arrays[key] for key in ("names", "offsets", "joints"))
    if (
        joints.dtype.kind not in "fiu"
        or offsets.dtype.kind not in "iu"
        or names.ndim != 1
        or joints.shape[1:] != (UCLA20.num_joints, 3)
        or offsets.shape != (len(names) + 1,)
        or not (np.diff(offsets) > 0).all()
        or (offsets[0], offsets[-1]) != (0, len(joints))
    ):
        raise ValueError(
            f"{source}: names {names.shape}, offsets {offsets.shape}, joints {joints.shape}; expected {EXPECTED}, "
            "offsets increasing from 0 to the number of frames"
        )
    fraction = val_fraction if val_view is None else 0.0
    table = protocols.label_and_split(protocol, [str(name) for name in names], fraction, seed)
    if val_view is not None:
        views = sorted(set(table.camera[table.split == "train"]))
        if val_view not in views or len(views) == 1:
            raise ValueError(f"view {val_view} cannot be held out: {protocol} trains on {views}")
        table.loc[(table.split == "train") & (table.camera == val_view), "split"] = "val"

    def clips() -> Iterator[ImportedClip]:
        for clip_id, start, stop in zip(table.clip_id, offsets[:-1], offsets[1:], strict=True):
            body = joints[start:stop, None]  # (T, 20, 3) -> (T, 1, 20, 3)
            if not np.isfinite(body).all():
                raise ValueError(f"{source}: clip {clip_id!r} has joints that are not finite")
            valid = np.asarray(body.any((2, 3)))  # (T, 1)
            yield pose_clip(clip_id, pose3d.normalise(body, valid, AXES, align, same_size), valid, frames)
            if on_progress:
                on_progress(1)

    described = table.assign(path=str(source))
    classes, meta = protocols.class_table(protocol, table), pose_meta("pose3d", UCLA20)
    return write_feature_folder(out, clips(), described, classes, meta, corrections)
