"""The names of the streams, in the order in which they are shown."""

from __future__ import annotations

TOPOLOGY_STREAMS: tuple[str, ...] = ("hpj", "hpb", "hpjm", "hpbm")
"""Joint, bone, joint motion and bone motion of the pooled features."""
STREAMS: tuple[str, ...] = (*TOPOLOGY_STREAMS, "hpnet")
"""And the stream that adds RGB frames and text."""
