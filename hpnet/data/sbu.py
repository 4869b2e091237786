"""SBU Kinect interactions' skeletons (two people of 15 joints), a text file per clip -> 3-D pose features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..artifacts.clips import Clips
from ..core.csv_text import write_csv
from ..core.skeleton import OPENNI15
from . import pose3d
from .corrections import AS_PUBLISHED, Corrections
from .feature_folder import ImportSummary
from .grammar import Splitting
from .skeleton_files import Layout, People, import_files

FILE = "skeleton_pos.txt"
PERSONS = 2
VIDEO = (640, 480, 15.0)
MAX_BYTES = 1 << 20
"""Of a file: thirty times the largest of the data set."""
TORSO = OPENNI15.joints.index("torso")


def in_metres(published: NDArray[np.floating]) -> NDArray[np.float32]:
    """Published coordinates (..., 3), shares of a picture and of a range, in metres: x left, y up, z away.

    The data set's own formula is X = 1280 - 2560 x, Y = 960 - 1920 y, Z = 10000 z / 7.8125, in millimetres. (With it
    the bones of a clip keep their lengths to 1 %, with other proportions of the axes they do not.)
    """
    x, y, z = np.moveaxis(np.asarray(published, np.float64), -1, 0)
    millimetres = np.stack([1280 - 2560 * x, 960 - 1920 * y, z * 10000 / 7.8125], -1)
    return (millimetres / 1000).astype(np.float32)


def read_skeletons(path: Path) -> People:
    """The two people of a file: joints (T, 2, 15, 3) in metres, and where they were seen (T, 2).

    Raises:
        ValueError: the file is damaged, too large or of another kind; names it and the line.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path} has {size:,} bytes, expected at most {MAX_BYTES:,}: it is no {FILE} of SBU")
    fields = 1 + PERSONS * OPENNI15.num_joints * 3
    rows = []
    for number, line in enumerate(path.read_text(encoding="ascii", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        cells = line.rstrip(", \t").split(",")
        try:
            row = np.array(cells, np.float64)
        except ValueError:
            row = np.zeros(0)
        if len(row) != fields or not np.isfinite(row).all():
            raise ValueError(
                f"{path}, line {number}: expected a frame number and {fields - 1} numbers, two people of "
                f"{OPENNI15.num_joints} joints, found {len(cells)} values such as {cells[-1][:20]!r}: fetch it again"
            )
        rows.append(row[1:])
    if not rows:
        raise ValueError(f"{path} holds no frame: fetch it again")
    # (T, 90) -> (T, 2, 15, 3)
    published = np.stack(rows).reshape(-1, PERSONS, OPENNI15.num_joints, 3)
    return in_metres(published), np.asarray(published.any((2, 3)))


def import_sbu(
    source: Path,
    out: Path,
    protocol: str = "sbu-fold1",
    *,
    frames: int = 64,
    align: bool = True,
    val_fraction: float = 0.15,
    seed: int = 7,
    corrections: Corrections = AS_PUBLISHED,
    on_progress: Callable[[int], None] | None = None,
) -> ImportSummary:
    """Import every ``sXXsYY/CLASS/TRIAL/skeleton_pos.txt`` below ``source`` into ``out``, and the folds into folds.csv.

    See :func:`hpnet.data.pose3d.towards_each_other` and, for the errors,
    :func:`hpnet.data.skeleton_files.import_files`.
    """
    layout = Layout(
        f"file sXXsYY/CLASS/TRIAL/{FILE}",
        lambda file: file.name == FILE,
        read_skeletons,
        lambda joints, valid: pose3d.towards_each_other(joints, valid, TORSO, align),
        OPENNI15,
        VIDEO,
        own_axes=align,
    )
    splitting = Splitting(val_fraction, seed)
    summary = import_files(
        layout,
        source,
        out,
        protocol,
        frames=frames,
        splitting=splitting,
        corrections=corrections,
        on_progress=on_progress,
    )
    clips = Clips.load(out).table
    write_csv(pd.DataFrame({"video": clips.clip_id, "fold": clips.setup}), out / "folds.csv")
    return summary
