"""The skeleton whose bones a stream takes and whose joints a network's graph connects."""

from __future__ import annotations

from ..core.skeleton import RELEASED17, Skeleton


def graph_skeleton(name: str, model: Skeleton) -> Skeleton:
    """``model``: the pose model's own skeleton; ``released``: the released bones and graph of COCO's 17 joints."""
    if name == "model":
        return model
    if model.joints != RELEASED17.joints:
        raise ValueError(
            f"graph.skeleton is 'released', which needs COCO's 17 joints; the features have {model.name!r}. Use 'model'"
        )
    return RELEASED17
