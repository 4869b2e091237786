"""The names of the streams, in the order in which they are shown."""

from __future__ import annotations

TOPOLOGY_STREAMS: tuple[str, ...] = ("hpj", "hpb", "hpjm", "hpbm")
"""Joint, bone, joint motion and bone motion of the pooled features."""
MULTIMODAL = "hpnet"
"""The stream that adds RGB frames and text."""
STREAMS: tuple[str, ...] = (*TOPOLOGY_STREAMS, MULTIMODAL)
