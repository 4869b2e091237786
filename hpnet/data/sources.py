"""Origin of clips: the sources of the stage data, and the formats of ``hpnet import`` with features."""

from __future__ import annotations

SOURCES: dict[str, str] = {"mannequin": "hpnet.data.rendered", "folder": "hpnet.data.index"}
"""``data.source`` -> the module whose ``make(params, out, workers)`` gives the clips."""
IMPORTS: dict[str, str] = {
    "features-hpnet": "hpnet.data.released:import_features",
    "pyskl": "hpnet.data.pyskl:import_pyskl",
    "kinect": "hpnet.data.kinect:import_kinect",
    "nw-ucla": "hpnet.data.ucla:import_ucla",
    "utd-mhad": "hpnet.data.utd:import_utd_mhad",
    "sbu": "hpnet.data.sbu:import_sbu",
}
"""Format of poses or features -> what imports it as a feature folder."""
