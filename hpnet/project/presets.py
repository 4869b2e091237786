"""The projects that ``hpnet init`` can make: the presets of the data sets, and the graph of each."""

from __future__ import annotations

import importlib

from ..core.streams import MULTIMODAL, PACKAGED_VIDEO, TOPOLOGY_STREAMS, usual_streams
from ..data.preset import Preset, Values
from ..data.sets import SETS
from .graph import DATA, Kind

PRESETS: dict[str, Preset] = {
    name: preset
    for module in dict.fromkeys(SETS.values())
    for name, preset in importlib.import_module(module).PRESETS.items()
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


def kind(preset: Preset, values: Values, poses: str = "", untrimmed: bool = False) -> Kind:
    """What the graph of a preset's project depends on; RGB and text, and their stream, need videos.

    Args:
        values: the project's parameters: those of its preset, with the user's data.
        poses: the file or folder of a project of 3-D poses.
        untrimmed: the table is of events in untrimmed videos.
    """
    if preset.poses:
        options = f"--frames {preset.pose_frames} {preset.pose_options}".strip()
        command = f"hpnet import {preset.poses} {poses} --out {DATA} {options}"
        return Kind(poses=command, poses_from=poses, streams=TOPOLOGY_STREAMS)
    data, multimodal = values["data"], values.get("train", {}).get(MULTIMODAL, {})
    video = multimodal.get("video", PACKAGED_VIDEO)
    return Kind(
        videos=data.get("source") == "folder",
        table=bool(data.get("table")),
        weights=bool(values.get("estimate", {}).get("model")),
        streams=usual_streams(data.get("source", "mannequin"), video),
        takes=untrimmed or bool(data.get("takes") or data.get("training_takes")),
        variants=tuple(values.get("compare", {}).get("variants", {})),
    )
