"""Names of streams, networks and clips on the page."""

from __future__ import annotations

import json
from typing import Any

from ..core.streams import MULTIMODAL
from .collect import Collected, Run
from .results import (
    feature_kind,
)

STREAM_TITLES = {
    "hpj": "Joint",
    "hpb": "Bone",
    "hpjm": "Joint motion",
    "hpbm": "Bone motion",
    MULTIMODAL: "HP + RGB + text",
}


def run_title(collected: Collected, run: Run) -> str:
    """'Bone' for a stream, 'Joint on 2-D pose' for the joint stream on other features."""
    if run.name in STREAM_TITLES:
        return STREAM_TITLES[run.name]
    features = feature_kind(collected, run).title(collected.params.pool.tap)
    return f"Joint on {features.replace('Pooled', 'pooled', 1)}"


def clip_places(collected: Collected) -> dict[str, str]:
    """Subject (or source, where there is no subject) and camera of each clip, as words."""
    assert collected.clips is not None
    words = {}
    for row in collected.clips.table[["clip_id", "subject", "source", "camera"]].to_dict("records"):
        subject, source, camera = (str(row[column]).strip() for column in ("subject", "source", "camera"))
        who = f"subject {subject}" if subject else f"source {source}" if source else ""
        parts = [who, f"camera {camera}" if camera and camera != "-1" else ""]
        words[str(row["clip_id"])] = ", ".join(part for part in parts if part) + ("," if any(parts) else "")
    return words


def json_for_script(value: Any) -> str:
    """JSON that cannot end the script element around it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("&", "\\u0026")
