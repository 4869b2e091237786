"""The data sets, a module for each, with their lists of classes beside them.

A module of a data set has ``PROTOCOLS``: name of a protocol -> a :class:`~hpnet.data.grammar.Protocol` (or another
object of its methods), and ``PRESETS``: name of a project of ``hpnet init`` -> what it begins with
(:class:`~hpnet.data.preset.Preset`). Files that it reads begin with its own name: ``ntu_classes.csv`` belongs to
``ntu.py``.
"""

from __future__ import annotations

SETS: dict[str, str] = {
    "ntu60-xsub": "hpnet.data.sets.ntu",
    "ntu60-xview": "hpnet.data.sets.ntu",
    "ntu120-xsub": "hpnet.data.sets.ntu",
    "ntu120-xset": "hpnet.data.sets.ntu",
    "smarthome-cs": "hpnet.data.sets.smarthome",
    "smarthome-cv1": "hpnet.data.sets.smarthome",
    "smarthome-cv2": "hpnet.data.sets.smarthome",
    "uav-human-v1": "hpnet.data.sets.uav_human",
    "uav-human-v2": "hpnet.data.sets.uav_human",
    "nw-ucla": "hpnet.data.sets.nw_ucla",
    "utd-mhad": "hpnet.data.sets.utd_mhad",
    "sbu-fold1": "hpnet.data.sets.sbu",
    "sbu-fold2": "hpnet.data.sets.sbu",
    "sbu-fold3": "hpnet.data.sets.sbu",
    "sbu-fold4": "hpnet.data.sets.sbu",
    "sbu-fold5": "hpnet.data.sets.sbu",
    "mannequin-xsub": "hpnet.data.sets.mannequin",
    "mannequin-xview": "hpnet.data.sets.mannequin",
    "mannequin-xset": "hpnet.data.sets.mannequin",
    "folder": "hpnet.data.sets.folder",
}
"""Name of a protocol -> the module of its data set."""
