"""The projects that ``hpnet init`` can make: which parameters each begins with, and where its data comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..core.streams import STREAMS, TOPOLOGY_STREAMS
from .graph import DATA, Kind

Values = dict[str, Any]


@dataclass(frozen=True)
class Preset:
    """A kind of project.

    Attributes:
        title: what its report is called.
        values: parameters, section by section, that differ from the defaults of :mod:`hpnet.params`.
        data: what the user must bring, in one sentence.
        poses: True where the data are 3-D poses that are imported instead of videos.
        pose_frames: T of the imported poses.
    """

    title: str
    values: Values
    data: str
    poses: bool = False
    pose_frames: int = 64

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that are trained; RGB and text need videos."""
        return TOPOLOGY_STREAMS if self.poses else STREAMS

    def kind(self, values: Values, poses_file: str = "") -> Kind:
        """What its graph depends on.

        Args:
            values: the project's parameters: its preset's, with what the user brought.
            poses_file: the .npz of a project of 3-D poses.
        """
        if self.poses:
            command = f"hpnet import nw-ucla {poses_file} --out {DATA} --frames {self.pose_frames}"
            return Kind(poses=command, poses_from=poses_file, streams=self.streams)
        data = values["data"]
        return Kind(
            videos=data.get("source") == "folder",
            table=bool(data.get("table")),
            weights=bool(values.get("estimate", {}).get("model")),
            streams=self.streams,
            variants=tuple(values.get("compare", {}).get("variants", {})),
        )


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
"""The paper's networks and training settings; ``window: 1`` keeps NTU RGB+D 120 at 40 GB instead of a terabyte."""
SMALL: Values = {
    "detect": {"image_size": 256, "stride": 2},
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
"""The packaged networks at a size that two CPU cores finish in minutes."""


def _merged(*parts: Values) -> Values:
    result: Values = {}
    for part in parts:
        for key, value in part.items():
            known = result.get(key)
            nested = isinstance(value, dict) and isinstance(known, dict)
            result[key] = _merged(known, value) if nested and isinstance(known, dict) else value
    return result


def _paper(title: str, protocol: str, data: str, **more: Values) -> Preset:
    start: Values = {"data": {"source": "folder", "protocol": protocol}, "report": {"title": title}}
    return Preset(title, _merged(PAPER, start, more), data)


_NTU = "the RGB videos of {} (SsssCcccPpppRrrrAaaa_rgb.avi), in one folder or below it; ROSE Lab gives access"
_SMARTHOME = "the RGB videos of Toyota Smarthome (trimmed, Action_pSS_rRR_vVV_cCC.mp4); INRIA gives access"
_UAV = "the RGB videos of UAV-Human for action recognition; its authors give access"
_BALANCED: Values = {"rule": "balanced"}

PRESETS: dict[str, Preset] = {
    "ntu60-xsub": _paper("NTU RGB+D 60, cross-subject", "ntu60-xsub", _NTU.format("NTU RGB+D")),
    "ntu60-xview": _paper("NTU RGB+D 60, cross-view", "ntu60-xview", _NTU.format("NTU RGB+D")),
    "ntu120-xsub": _paper("NTU RGB+D 120, cross-subject", "ntu120-xsub", _NTU.format("NTU RGB+D 120")),
    "ntu120-xset": _paper("NTU RGB+D 120, cross-set", "ntu120-xset", _NTU.format("NTU RGB+D 120")),
    "smarthome-cs": _paper("Toyota Smarthome, cross-subject", "smarthome-cs", _SMARTHOME, fuse=_BALANCED),
    "smarthome-cv1": _paper("Toyota Smarthome, cross-view 1", "smarthome-cv1", _SMARTHOME, fuse=_BALANCED),
    "smarthome-cv2": _paper("Toyota Smarthome, cross-view 2", "smarthome-cv2", _SMARTHOME, fuse=_BALANCED),
    "uav-human-v1": _paper("UAV-Human, split 1", "uav-human-v1", _UAV),
    "uav-human-v2": _paper("UAV-Human, split 2", "uav-human-v2", _UAV),
    "nw-ucla": Preset(
        "Northwestern-UCLA",
        {
            "train": {
                "topology": {
                    "graph": {"base_channels": 32, "blocks": 6},
                    "epochs": 100,
                    "batch_size": 16,
                    "warmup_epochs": 3,
                    "schedule": "cosine",
                    "label_smoothing": 0.1,
                    "rotation": 17.0,
                    "scale": 0.2,
                    "behind": 0.5,
                    "crop": 0.5,
                    "places": "random",
                    "test_draws": 8,
                }
            },
            "report": {"title": "Northwestern-UCLA"},
        },
        "an .npz of names (N,), offsets (N + 1,) and joints (frames, 20, 3) in metres",
        poses=True,
        pose_frames=32,
    ),
    "folder": Preset(
        "my videos",
        _merged(
            SMALL,
            {"data": {"source": "folder", "protocol": "folder", "max_failed": 0.1}, "report": {"title": "my videos"}},
        ),
        "videos, one sub-folder per action, or anywhere below a folder with a CSV that names them",
    ),
    "mannequin": Preset(
        "mannequins",
        _merged(
            SMALL,
            {
                "data": {"subjects": 18, "frames": 16, "fps": 8},
                "train": {"topology": {"flip": 0.5}},
                "report": {"title": "mannequins"},
            },
        ),
        "nothing: the clips are rendered",
    ),
}
"""Name of a preset -> what it is."""


def get(name: str) -> Preset:
    """A preset by name.

    Raises:
        ValueError: no such preset; lists them.
    """
    if name not in PRESETS:
        raise ValueError(f"preset {name!r} is unknown; choose from {', '.join(PRESETS)}")
    return PRESETS[name]
