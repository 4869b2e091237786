"""Clips that a step could not use: they are printed with their reasons, and too many of them are an error."""

from __future__ import annotations

from collections.abc import Mapping

from .console import note


def refuse_many(failed: Mapping[str, str], clips: int, most: float) -> None:
    """Print every failed clip.

    Args:
        failed: clip -> reason.
        clips: total number of clips.
        most: the share of clips that may fail, ``data.max_failed``.

    Raises:
        ValueError: more clips failed.
    """
    for clip_id, reason in failed.items():
        note(f"{clip_id}: {reason}")
    if len(failed) > most * clips:
        raise ValueError(
            f"{len(failed)} of {clips} clips failed, more than data.max_failed = {most:g}: fix or remove them, or "
            "raise data.max_failed"
        )
