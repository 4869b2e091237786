"""hpnet: human action recognition in video by heatmap pooling (HP-Net, TPAMI 2025).

>>> import hpnet
>>> model = hpnet.load("actions")  # the folder of a trained project
>>> result = model("clip.mp4")
>>> result.windows[0].answers[0].action in result.names
True

The names below are imported when they are first used, so that ``import hpnet`` is quick and needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .predict.finding import VideoEvent
    from .predict.model import Embedding, Model, load
    from .predict.result import GroupAnswer, PersonTrack, Result, WindowResult

__all__ = ["Embedding", "GroupAnswer", "Model", "PersonTrack", "Result", "VideoEvent", "WindowResult", "load"]

_ROOMS = {
    "Embedding": "predict.model",
    "GroupAnswer": "predict.result",
    "Model": "predict.model",
    "PersonTrack": "predict.result",
    "Result": "predict.result",
    "VideoEvent": "predict.finding",
    "WindowResult": "predict.result",
    "__version__": "core.version",
    "load": "predict.model",
}


def __getattr__(name: str) -> Any:
    """A public name, from the module that holds it."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'hpnet' has no name {name!r}; it has {', '.join(__all__)}")
    import importlib

    return getattr(importlib.import_module(f"hpnet.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    """The public names, for completion."""
    return [*__all__, "__version__"]
