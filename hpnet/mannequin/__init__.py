"""The rendered benchmark. A new corruption of its test clips is a function and an entry in :data:`CORRUPTIONS`."""

from __future__ import annotations

CORRUPTIONS: dict[str, str] = {
    "none": "hpnet.mannequin.corruption:unchanged",
    "night": "hpnet.mannequin.corruption:night",
    "overexposure": "hpnet.mannequin.corruption:overexposure",
    "occlusion": "hpnet.mannequin.corruption:occlusion",
    "blur": "hpnet.mannequin.corruption:blur",
    "noise": "hpnet.mannequin.corruption:noise",
}
"""What ``data.corruption`` may be: functions (frames (T, H, W, 3) uint8, generator) -> frames."""
