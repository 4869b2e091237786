"""The names of the streams, in the order in which they are shown."""

from __future__ import annotations

TOPOLOGY_STREAMS: tuple[str, ...] = ("hpj", "hpb", "hpjm", "hpbm")
"""Joint, bone, joint motion and bone motion of the pooled features."""
MULTIMODAL = "multimodal"
"""The stream that adds RGB frames and text."""
STREAMS: tuple[str, ...] = (*TOPOLOGY_STREAMS, MULTIMODAL)

FORMER_MULTIMODAL = "hpnet"


def refuse_former_name(name: str, where: str) -> None:
    """The stream ``multimodal`` had the package's own name once.

    Raises:
        ValueError: ``name`` is that name; ``where`` it stands, and the word that is right now.
    """
    if name == FORMER_MULTIMODAL:
        raise ValueError(
            f"{where}: the stream {FORMER_MULTIMODAL!r} is called {MULTIMODAL!r} now: rename it, or make it again"
        )
