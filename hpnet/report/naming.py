"""Names of streams, networks and clips on the page."""

from __future__ import annotations

import json
import re
from typing import Any

from ..core.streams import MULTIMODAL
from .collect import Collected, Run
from .results import feature_kind

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
    """Subject (or source, where there is no subject) of each clip and, where there are several, camera, as words."""
    assert collected.clips is not None
    cameras = collected.clips.table.camera.nunique() > 1
    words = {}
    for row in collected.clips.table[["clip_id", "subject", "source", "camera"]].to_dict("records"):
        subject, source, camera = (str(row[column]).strip() for column in ("subject", "source", "camera"))
        who = f"subject {subject}" if subject else f"source {source}" if source else ""
        parts = [who, f"camera {camera}" if cameras and camera not in ("", "-1") else ""]
        words[str(row["clip_id"])] = ", ".join(part for part in parts if part) + ("," if any(parts) else "")
    return words


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sorts names with numbers as people do: 2 before 10, 'person 2' before 'person 10'."""
    parts = re.split(r"(\d+)", text)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def json_for_script(value: Any) -> str:
    """JSON that cannot end the script element around it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("&", "\\u0026")
