"""Late fusion. A new rule is a :class:`hpnet.fuse.rules.Rule` and an entry in :data:`RULES`."""

from __future__ import annotations

RULES: dict[str, str] = {
    "weighted": "hpnet.fuse.rules:WEIGHTED",
    "balanced": "hpnet.fuse.rules:BALANCED",
}
"""The rules of fusion: choices of ``fuse.rule``; `hpnet fuse` reports all of them."""
