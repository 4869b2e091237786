"""The only module that imports mmpose: on demand, without warnings, and without xtcocotools.

mmpose imports xtcocotools at start-up for data sets and COCO metrics, which hpnet does not use. If it is not installed,
empty modules of that name replace it; a call into them fails with an AttributeError.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import types
import warnings
from typing import Any

INSTALL = "pip install 'hpnet[pose-networks]' && pip install --no-deps mmpose==1.1.0"


def mmpose_classes() -> dict[str, Any]:
    """The mmpose classes that networks are built from: HRNet, ResNet, SimCCHead, RTMCCHead, HeatmapHead.

    Raises:
        ModuleNotFoundError: mmpose, or something it needs, is missing; the message says how to install it.
    """
    if importlib.util.find_spec("xtcocotools") is None:
        _stand_in()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # mmcv-lite warns that it has no compiled operators, but none is used
            from mmpose.models.backbones import HRNet, ResNet
            from mmpose.models.heads import HeatmapHead, RTMCCHead, SimCCHead
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"pose networks need mmpose ({error.name} is missing): {INSTALL}", name=error.name
        ) from None
    return {cls.__name__: cls for cls in (HRNet, ResNet, HeatmapHead, RTMCCHead, SimCCHead)}


def _stand_in() -> None:
    package = types.ModuleType("xtcocotools", "Stand-in: mmpose imports it, hpnet never calls it.")
    package.__path__ = []
    package.__spec__ = importlib.machinery.ModuleSpec("xtcocotools", None, is_package=True)
    sys.modules["xtcocotools"] = package
    for name, attribute in (("coco", "COCO"), ("cocoeval", "COCOeval"), ("mask", None)):
        module = types.ModuleType(f"xtcocotools.{name}")
        if attribute is not None:
            setattr(module, attribute, type(attribute, (), {}))
        setattr(package, name, module)
        sys.modules[f"xtcocotools.{name}"] = module
