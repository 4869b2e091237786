"""What a project of ``hpnet init`` begins with; every data set has its own in :mod:`hpnet.data.sets`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Values = dict[str, Any]


@dataclass(frozen=True)
class Preset:
    """A kind of project.

    Attributes:
        title: what its report is called.
        values: parameters, section by section, that differ from the defaults of :mod:`hpnet.params`.
        data: what the user must bring, in one sentence.
        poses: format of ``hpnet import``, where the data are 3-D poses that are imported instead of videos.
        pose_frames: T of the imported poses.
        pose_options: further options of ``hpnet import``.
        paper: the paper has an experiment on it, so its recipes can be chosen (:mod:`hpnet.project.recipes`).
    """

    title: str
    values: Values
    data: str
    poses: str = ""
    pose_frames: int = 64
    pose_options: str = ""
    paper: bool = False


REGIONS: Values = {"pose2d": {"kind": "pose2d"}, "region3": {"region": 3}}
PAPER: Values = {
    "detect": {"model": "yolov5mu", "image_size": 640, "stride": 2},
    "estimate": {"model": "hrnet-w48-simcc", "window": 1},
    "pool": {"frames": 64},
    "train": {
        "refit": True,
        "validation_folds": 1,
        "topology": {"flip": 0.5},
        "multimodal": {"video": "microsoft/xclip-base-patch16-kinetics-600"},
    },
    "compare": {"variants": {"pose2d": {"kind": "pose2d"}}},
}
"""The paper's networks at the paper's size, and our choices where they differ: the recipe ``default``. ``window: 1``
keeps NTU RGB+D 120 at 40 GB instead of a terabyte. The fusion module has the released rate, 10,000 times ``lr``: on the
mannequins the released optimiser trains with it, and smaller ones are no better (``benchmarks/fusion-rate.md``)."""
SMALL: Values = {
    "detect": {"image_size": 256, "stride": 2, "frames": 4, "candidates": 1},
    "pool": {"frames": 16},
    "train": {
        "topology": {
            "graph": {"base_channels": 16, "blocks": 4},
            "epochs": 20,
            "batch_size": 16,
            "warmup_epochs": 2,
            "schedule": "cosine",
            "label_smoothing": 0.1,
            "flip": 0.5,
        },
        "multimodal": {
            "graph": {"base_channels": 16, "blocks": 4},
            "frames": 4,
            "epochs": 24,
            "lr": 1e-4,
            "message_scale": 5.0,
            "graph_scale": 300.0,
            "fusion_scale": 60.0,
            "adam_epsilon": 1e-8,
            "warmup_epochs": 1,
        },
    },
    "compare": {"variants": REGIONS},
}
"""The packaged networks at a size that two CPU cores finish in minutes. One candidate frame a segment: three are no
better here (docs/concepts.md)."""


REAL: Values = {
    "detect": {
        "model": "movenet-multipose",
        "image_size": 384,
        "confidence": 0.3,
        "stride": 6,
        "frames": 4,
    },
    "estimate": {
        "model": "movenet-lightning",
        "taps": ["blocks.9", "blocks.12", "blocks.9@1.5", "blocks.12@1.5"],
        "mirrored": True,
        "window": 3,
        "frames": 10,
    },
    "pool": {
        "kind": "both",
        "tap": "blocks.9+blocks.12+blocks.9@1.5+blocks.12@1.5",
        "region": 3,
        "mirrored": True,
        "frames": 10,
    },
    "train": {
        "topology": {
            "graph": {"model": "linear"},
            "linear": {
                "components": [100, 200, 400],
                "classifiers": ["logistic", "discriminant"],
                "distances": True,
                "people": ["all", "first"],
                "mirrored": [False, True],
            },
        }
    },
    "compare": {"variants": {"pose2d": {"kind": "pose2d"}, "pooled": {"kind": "pooled", "region": 3}}},
}
"""The packaged networks for real people, and classifiers for few clips. ``benchmarks/real.md`` has figures of these
maps and frames; its detector read larger pictures more often (512, every fourth). Here sixty clips take minutes."""


def merged(*parts: Values) -> Values:
    """Nested values, where a later part wins."""
    result: Values = {}
    for part in parts:
        for key, value in part.items():
            known = result.get(key)
            nested = isinstance(value, dict) and isinstance(known, dict)
            result[key] = merged(known, value) if nested and isinstance(known, dict) else value
    return result


def of_paper(title: str, protocol: str, data: str, **more: Values) -> Preset:
    """A benchmark of videos of the paper.

    Training ends on all training clips (``train.refit``), as in its protocol; a benchmark whose protocol has validation
    clips apart from the training clips turns that off.
    """
    start: Values = {"data": {"source": "folder", "protocol": protocol}, "report": {"title": title}}
    return Preset(title, merged(PAPER, start, more), data, paper=True)


FEW_POSES: Values = {
    "classifiers": ["discriminant"],
    "components": [1000],
    "strengths": [1.0, 3.0, 10.0, 30.0, 100.0, 300.0],
    "parts": [1, 2, 4],
}
"""A linear classifier of a few hundred 3-D poses; chosen by `benchmarks/skeletons.md`. All components are kept."""


def of_poses(title: str, poses: str, data: str, topology: Values, frames: int = 32, options: str = "") -> Preset:
    """A benchmark of 3-D poses, with the settings of section ``train.topology``.

    Args:
        frames: T of the imported poses.
        options: further ones of ``hpnet import``.
    """
    values: Values = {"train": {"topology": topology}, "report": {"title": title}}
    return Preset(title, values, data, poses, frames, options)
