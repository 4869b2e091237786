"""Where annotated videos are written."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..core.video import VIDEO_SUFFIXES


def video_targets(save: Path, files: Sequence[Path]) -> dict[str, Path]:
    """Video -> the mp4 that is written for it: ``save`` itself, or a file below the folder ``save``.

    In a folder the targets have the same sub-folders as the videos below their common folder, so ``a/1.mp4`` and
    ``b/1.mp4`` have different targets. If only the suffixes of two videos differ, the suffix becomes part of the name.

    Raises:
        ValueError: one file for several videos, another format than mp4, or a target that is one of the videos.
    """
    suffix = save.suffix.lower()
    if suffix == ".mp4":
        if len(files) > 1:
            raise ValueError(f"{save} is one file for {len(files)} videos: give a folder")
        found = {str(files[0]): save}
    elif suffix in VIDEO_SUFFIXES:
        raise ValueError(f"{save}: only mp4 can be written, name it {save.with_suffix('.mp4').name}")
    else:
        shared = Path(os.path.commonpath([file.absolute().parent for file in files]))
        below = {file: file.absolute().relative_to(shared) for file in files}
        stems = Counter(place.with_suffix("") for place in below.values())
        found = {
            str(file): save / (place.with_suffix(".mp4") if stems[place.with_suffix("")] == 1 else f"{place}.mp4")
            for file, place in below.items()
        }
    inputs = {file.resolve() for file in files if file.exists()}
    for target in found.values():
        if target.resolve() in inputs:
            raise ValueError(f"{save} would overwrite the video {target}: give another file or folder")
    return found
