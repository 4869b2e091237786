"""Where the clips of the stage data come from."""

from __future__ import annotations

SOURCES: dict[str, str] = {"mannequin": "hpnet.data.rendered", "folder": "hpnet.data.index"}
"""``data.source`` -> the module whose ``make(params, out, workers)`` gives the clips."""
