"""Crops of training clips, by which a pose network is set to compute in 8-bit integers (``estimate.int8``)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..artifacts.calibration import CalibrationCrops
from ..artifacts.clips import Clips
from ..core import video
from ..work.console import progress
from .batches import ClipBoxes, ClipSource
from .estimator import PoseEstimator
from .params import EstimateParams
from .step import boxes_by_clip, listed_paths, listed_stretches


def training_crops(params: EstimateParams, data: Path, boxes: Path, count: int) -> CalibrationCrops:
    """Crops of people of the training clips, evenly over the clips and over the boxes of each.

    Clips of other splits are not read, and labels are not looked at.

    Args:
        data: the project's clip tables.
        boxes: a detect folder, or a boxes .parquet or .csv.
        count: number of crops; fewer where the clips have fewer boxes.

    Raises:
        FileNotFoundError: an input is missing.
        ValueError: no training clip has a person.
    """
    table = Clips.load(data).usable()
    of_clip, paths, parts = boxes_by_clip(boxes, 1), listed_paths(data), listed_stretches(data)
    named = [str(clip_id) for clip_id in table[table.split == "train"].clip_id]
    named = [clip_id for clip_id in named if clip_id in of_clip and clip_id in paths]
    if not named:
        raise ValueError(f"{data} and {boxes}: no training clip has a person: run `hpnet data` and `hpnet detect`")
    chosen = [named[n] for n in _spread(len(named), count)]
    each = -(-count // len(chosen))
    estimator = PoseEstimator(params.model_copy(update={"int8": None, "backend": "torch"}), "cpu", batch_size=1)
    found: list[NDArray[np.uint8]] = []
    with progress("cutting crops", len(chosen)) as advance:
        for clip_id in chosen:
            every = of_clip[clip_id]
            rows = _spread(len(every.frames), each)
            some = ClipBoxes(every.frames[rows], every.tracks[rows], every.boxes_xyxy_px[rows])
            path, part, last = paths[clip_id], parts.get(clip_id), int(some.frames.max()) + 1
            frames = partial(video.read_frames, path, last, None, part)
            found += estimator.cut(ClipSource(clip_id, frames, some))
            advance()
    return CalibrationCrops(params.model, np.stack(found[:count]))


def _spread(available: int, count: int) -> list[int]:
    """``count`` places out of ``available``, evenly; all where there are not more."""
    inside = (np.arange(count) + 0.5) * available / count
    return list(range(available)) if count >= available else inside.astype(int).tolist()
