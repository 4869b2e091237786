"""The names of the streams, in display order."""

from __future__ import annotations

TOPOLOGY_STREAMS: tuple[str, ...] = ("hpj", "hpb", "hpjm", "hpbm")
"""Joint, bone, joint motion and bone motion of the pooled features."""
MULTIMODAL = "multimodal"
"""The stream that adds RGB frames and text."""
STREAMS: tuple[str, ...] = (*TOPOLOGY_STREAMS, MULTIMODAL)

FORMER_MULTIMODAL = "hpnet"


def refuse_former_name(name: str, where: str) -> None:
    """Refuse the former name of the stream ``multimodal``.

    Raises:
        ValueError: ``name`` is the former name; the message has ``where`` it is, and the new name.
    """
    if name == FORMER_MULTIMODAL:
        raise ValueError(
            f"{where}: the stream {FORMER_MULTIMODAL!r} is called {MULTIMODAL!r} now: rename it, or make it again"
        )


PACKAGED_VIDEO = "mannequin-xclip"
"""The vision network that ships with hpnet. It knows mannequins alone."""


def usual_streams(source: str, video: str, pictures: bool = True) -> tuple[str, ...]:
    """The streams that a project trains: not the multimodal one on real people with the packaged network.

    Args:
        source: data.source, ``mannequin`` or ``folder``.
        video: train.multimodal.video.
        pictures: False: a project of imported poses, which has no person frames.
    """
    return TOPOLOGY_STREAMS if not pictures or (source == "folder" and video == PACKAGED_VIDEO) else STREAMS
