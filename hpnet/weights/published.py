"""Addresses of published detectors and X-CLIPs: plain data that does not affect results.

A pose network's files are named in its own description (:mod:`hpnet.estimate.specs`).
"""

from __future__ import annotations

from .files import Weights, WeightsFile

HUB = "https://huggingface.co/"
ULTRALYTICS = "https://github.com/ultralytics/assets/releases/download/"
RTDETR = "rtdetr:"
YOLO_MB = {
    "yolov5mu": 51, "yolov8n": 7, "yolov8s": 23, "yolov8m": 52, "yolo11n": 6, "yolo11s": 19, "yolo11m": 41,
    "yolo11l": 51, "yolo11x": 114, "yolo26n": 5, "yolo26s": 20, "yolo26m": 44, "yolo26l": 53, "yolo26x": 119,
}  # fmt: skip
"""ultralytics' detectors -> size in MB."""
YOLO_RELEASES = {"yolo26": "v8.4.0", "yolo": "v8.3.0"}
"""Beginning of a detector's name -> the release of ultralytics' files that has it; the first that fits counts."""
XCLIP_MB = {
    "microsoft/xclip-base-patch16-kinetics-600": 780,
    "microsoft/xclip-base-patch16": 780,
    "microsoft/xclip-base-patch32": 787,
}
"""X-CLIPs of the hub -> size in MB."""
XCLIP_FILES = ("config.json", "tokenizer.json", "preprocessor_config.json", "pytorch_model.bin")
RTDETR_FILES = ("config.json", "model.safetensors")


def yolo(name: str) -> Weights:
    """The weights of a detector of ultralytics."""
    release = next(release for start, release in YOLO_RELEASES.items() if name.startswith(start))
    url = f"{ULTRALYTICS}{release}/{name}.pt"
    return Weights(name, "detector", (WeightsFile(f"{name}.pt", url),), url, YOLO_MB.get(name, 0))


def xclip(name: str) -> Weights:
    """The weights of an X-CLIP of the hub, ``OWNER/NAME``."""
    return Weights(name, "video", _of_hub(name, XCLIP_FILES), f"{HUB}{name}", XCLIP_MB.get(name, 0))


def rtdetr(name: str) -> Weights:
    """The weights of an RT-DETR of the hub, ``OWNER/NAME``."""
    return Weights(f"{RTDETR}{name}", "detector", _of_hub(name, RTDETR_FILES), f"{HUB}{name}")


def _of_hub(name: str, parts: tuple[str, ...]) -> tuple[WeightsFile, ...]:
    folder = name.rpartition("/")[2]
    return tuple(WeightsFile(f"{folder}/{part}", f"{HUB}{name}/resolve/main/{part}") for part in parts)
