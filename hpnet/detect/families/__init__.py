"""Families of detectors: patterns of ``detect.model``, and the module that reads such models, loaded on demand.

A module here has ``build(source, image_size=, confidence=, iou=, device=, precision=)``, which returns a
:class:`hpnet.detect.detector.Detector`, and ``files(source)``, the files that it reads. A new family is a module and an
entry. Where it also has ``graph(source)``, its networks can be in a bundle: the network as a module that reads frames,
the kind of what it gives (:mod:`hpnet.detect.exported`), and the number of its class person.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

FAMILIES: dict[str, str] = {
    "movenet-multipose": "hpnet.detect.families.movenet",
    "mannequin-yolo": "hpnet.detect.families.mannequin",
    "mannequin-yolo:*": "hpnet.detect.families.mannequin",
    "ultralytics:?*": "hpnet.detect.families.ultralytics",
    "rtdetr:?*": "hpnet.detect.families.rtdetr",
    "*.safetensors": "hpnet.detect.families.mannequin",
    "*.pt": "hpnet.detect.families.ultralytics",
    "yolo*": "hpnet.detect.families.ultralytics",
}
"""Pattern -> module; the first pattern that matches is used. The text after its colon is the source."""


def parse_model(model: str) -> tuple[str, str]:
    """``detect.model`` -> (module, source): ``yolo11n`` and ``a/b.pt`` as they are, SOURCE of ``rtdetr:SOURCE``.

    Raises:
        ValueError: no family reads it; lists the choices.
    """
    for pattern, module in FAMILIES.items():
        if fnmatchcase(model, pattern):
            return module, model.partition(":")[2] if ":" in pattern else model
    raise ValueError(
        f"detect.model: {model!r} is unknown; choose movenet-multipose, mannequin-yolo, an ultralytics name (yolo11n) "
        f"or a path, or one of these kinds: {', '.join(pattern.replace('?', '') for pattern in FAMILIES)}"
    )
