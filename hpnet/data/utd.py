"""UTD-MHAD's Kinect skeletons (20 joints in metres), a MATLAB file per clip -> 3-D pose features."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.skeleton import UCLA20
from . import pose3d
from .corrections import AS_PUBLISHED, Corrections
from .feature_folder import ImportSummary
from .grammar import Splitting
from .skeleton_files import Layout, People, import_files

AXES = pose3d.BodyAxes.of(UCLA20, "hip_centre", "shoulder_centre")
ENDING = "_skeleton.mat"
VIDEO = (640, 480, 30.0)
MAX_BYTES = 1 << 18
"""Of a file: eight times the largest of the data set. Packed, so much can hold 270 MB at most."""
VARIABLE = "d_skel"
ORDER = (3, 2, 1, 0, *range(4, 20))
"""Where UCLA20's joints stand: the files count the spine from the head down."""

_BROKEN = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError, OverflowError, MemoryError,
    EOFError, OSError, struct.error, zlib.error,
)  # fmt: skip
"""What scipy raises on damaged .mat files."""


def read_skeleton(path: Path) -> People:
    """The person of a file: joints (T, 1, 20, 3) in metres in the order of UCLA20, and where they were seen (T, 1).

    Raises:
        ValueError: the file is damaged, too large or holds something else; names it.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path} has {size:,} bytes, expected at most {MAX_BYTES:,}: it is no skeleton of UTD-MHAD")
    expected = f"{VARIABLE} ({UCLA20.num_joints}, 3, T)"
    found = _load(path)
    if found is None or found.ndim != 3 or found.shape[:2] != (UCLA20.num_joints, 3) or found.dtype.kind not in "fiu":
        holds = "no such" if found is None else f"{found.shape} of {found.dtype}"
        raise ValueError(f"{path} is no skeleton of UTD-MHAD: expected {expected}, it has {holds}")
    with np.errstate(all="ignore"):  # of damaged numbers, which are refused below
        # (V, 3, T) -> (T, V, 3) -> (T, 1, V, 3)
        joints = found.transpose(2, 0, 1)[:, ORDER][:, None].astype(np.float32)
    if not len(joints) or not np.isfinite(joints).all():
        raise ValueError(f"{path}: {'no frames' if not len(joints) else 'joints that are not finite'}; fetch it again")
    return joints, np.asarray(joints.any((2, 3)))


def _load(path: Path) -> NDArray[np.generic] | None:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        found = loadmat(io.BytesIO(path.read_bytes()), variable_names=[VARIABLE]).get(VARIABLE)
    except (*_BROKEN, MatReadError) as error:
        raise ValueError(f"{path} cannot be read as a MATLAB file ({error}): fetch it again") from None
    return found if isinstance(found, np.ndarray) else None


def import_utd_mhad(
    source: Path,
    out: Path,
    protocol: str = "utd-mhad",
    *,
    frames: int = 64,
    align: bool = True,
    same_size: bool = False,
    val_fraction: float = 0.15,
    seed: int = 7,
    corrections: Corrections = AS_PUBLISHED,
    on_progress: Callable[[int], None] | None = None,
) -> ImportSummary:
    """Import every ``aA_sS_tT_skeleton.mat`` below ``source`` into ``out``.

    See :func:`hpnet.data.pose3d.normalise` and, for the errors, :func:`hpnet.data.skeleton_files.import_files`.
    """
    layout = Layout(
        f"file aA_sS_tT{ENDING}",
        lambda file: file.name.endswith(ENDING),
        read_skeleton,
        lambda joints, valid: pose3d.normalise(joints, valid, AXES, align, same_size),
        UCLA20,
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
