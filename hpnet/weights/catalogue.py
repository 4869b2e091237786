"""Which weights there are: of every network the files, their origin, size and digest, and where they go."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..estimate.networks import HUB, NETWORKS
from ..params import Params
from . import checkpoint as weights
from .hub_folder import find_folder

ULTRALYTICS = "https://github.com/ultralytics/assets/releases/download/v8.3.0/"
PAPER = ("yolov5mu", "hrnet-w48-simcc", "microsoft/xclip-base-patch16-kinetics-600")
DETECTORS = (
    ("yolov5mu", 51), ("yolov8n", 7), ("yolov8s", 23), ("yolov8m", 52), ("yolo11n", 6), ("yolo11s", 19),
    ("yolo11m", 41), ("yolo11l", 51), ("yolo11x", 114),
)  # fmt: skip
"""ultralytics' models and their sizes in MB."""
RTDETR = "rtdetr:"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
FILES = (".pt", ".pth", ".bin", ".safetensors")
BUILT_IN = ("mannequin-yolo", "mannequin-simcc", "mannequin-xclip")
PRESETS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        (
            "ntu60-xsub", "ntu60-xview", "ntu120-xsub", "ntu120-xset", "smarthome-cs", "smarthome-cv1",
            "smarthome-cv2", "uav-human-v1", "uav-human-v2",
        ),
        PAPER,
    ),
    "nw-ucla": (),
    "mannequin": BUILT_IN,
    "folder": BUILT_IN,
}  # fmt: skip
"""Preset of ``hpnet init`` -> the networks whose weights it needs; N-UCLA is imported as 3-D poses and needs none."""


@dataclass(frozen=True)
class WeightsFile:
    """One file.

    Attributes:
        path: where it goes below a weights folder.
        url: its address; empty where it has none of its own.
    """

    path: str
    url: str = ""

    @property
    def digest_start(self) -> str:
        """The first eight digits of its SHA-256 where OpenMMLab's naming gives them, else empty."""
        match = re.search(r"-([0-9a-f]{8})(?:_\d{8})?\.pth$", self.path)
        return match[1] if match else ""


@dataclass(frozen=True)
class Weights:
    """The weights of one network.

    Attributes:
        role: detector, pose or video.
        origin: in words, where the files come from.
        about_mb: size of all files together, from the network's parameters; 0 where unknown.
        packaged: they ship with hpnet.
    """

    name: str
    role: str
    files: tuple[WeightsFile, ...]
    origin: str
    about_mb: int = 0
    packaged: bool = False


def _pose() -> dict[str, Weights]:
    entries = {}
    for name, spec in NETWORKS.items():
        url = spec.weights_from if spec.weights_from.startswith("https://") else ""
        packaged = spec.weights_file == "mannequin-simcc.safetensors"
        file = WeightsFile(spec.weights_file, url)
        entries[name] = Weights(name, "pose", (file,), spec.weights_from, spec.weights_mb, packaged)
    return entries


def _ultralytics(name: str, about_mb: int) -> Weights:
    url = f"{ULTRALYTICS}{name}.pt"
    return Weights(name, "detector", (WeightsFile(f"{name}.pt", url),), url, about_mb)


def _xclip(name: str, about_mb: int) -> Weights:
    folder = name.rpartition("/")[2]
    parts = ("config.json", "tokenizer.json", "preprocessor_config.json", "pytorch_model.bin")
    files = tuple(WeightsFile(f"{folder}/{part}", f"{HUB}{name}/resolve/main/{part}") for part in parts)
    return Weights(name, "video", files, f"{HUB}{name}", about_mb)


def _rtdetr(name: str) -> Weights:
    folder = name.rpartition("/")[2]
    files = tuple(
        WeightsFile(f"{folder}/{part}", f"{HUB}{name}/resolve/main/{part}")
        for part in ("config.json", "model.safetensors")
    )
    return Weights(f"{RTDETR}{name}", "detector", files, f"{HUB}{name}")


def _built_in(name: str, role: str, path: str, about_mb: int) -> Weights:
    return Weights(name, role, (WeightsFile(path),), f"what `hpnet pretrain {role}` writes", about_mb, packaged=True)


CATALOGUE: dict[str, Weights] = {
    entry.name: entry
    for entry in (
        _built_in("mannequin-yolo", "detector", "mannequin-yolo.safetensors", 1),
        *(_ultralytics(*item) for item in DETECTORS),
        *_pose().values(),
        _built_in("mannequin-xclip", "video", "mannequin-xclip/model.safetensors", 5),
        _xclip("microsoft/xclip-base-patch16-kinetics-600", 780),
        _xclip("microsoft/xclip-base-patch16", 780),
        _xclip("microsoft/xclip-base-patch32", 787),
    )
}
"""Every network with published weights, by the name that params.yaml gives it."""


def lookup(name: str) -> Weights:
    """The weights of a network; ``OWNER/NAME`` is an X-CLIP of the hub, ``rtdetr:OWNER/NAME`` an RT-DETR of the hub.

    Raises:
        ValueError: an unknown name; lists the choices.
    """
    short = name.removesuffix(".pt")
    if short in CATALOGUE:
        return CATALOGUE[short]
    if HUB_NAME.fullmatch(name.removeprefix(RTDETR)):
        return _rtdetr(name.removeprefix(RTDETR)) if name.startswith(RTDETR) else _xclip(name, 0)
    raise ValueError(
        f"no weights are known for {name!r}; choose from {', '.join(CATALOGUE)}, or name an X-CLIP (OWNER/NAME) or "
        f"RT-DETR ({RTDETR}OWNER/NAME) of the hub"
    )


def needed(params: Params) -> list[Weights]:
    """The weights that a project's parameters name, of those in the catalogue (a path of one's own is not)."""
    names = [params.estimate.model if params.estimate.weights is None else "", params.train.hpnet.video]
    if params.detect.enabled:
        names.insert(0, params.detect.model)
    known = [CATALOGUE[name.removesuffix(".pt")] for name in names if name.removesuffix(".pt") in CATALOGUE]
    return known + [lookup(name) for name in names if _of_hub(name) and find_folder(name.removeprefix(RTDETR)) is None]


def _of_hub(name: str) -> bool:
    return name not in CATALOGUE and not name.endswith(FILES) and bool(HUB_NAME.fullmatch(name.removeprefix(RTDETR)))


def of_preset(preset: str) -> list[Weights]:
    """The weights that a preset of ``hpnet init`` needs; an unknown name lists the choices."""
    if preset not in PRESETS:
        raise ValueError(f"preset {preset!r} is unknown; choose from {', '.join(PRESETS)}")
    return [CATALOGUE[name] for name in PRESETS[preset]]


def where(file: WeightsFile) -> Path | None:
    """The file in the first search folder that has it, the package's own of a packaged network; or None."""
    if weights.is_packaged(file.path):
        return weights.packaged(file.path) if (weights.ASSETS / file.path).is_file() else None
    places = (folder / file.path for folder in weights.search_folders())
    return next((place for place in places if place.is_file()), None)


def destination() -> Path:
    """Where fetched weights go: $HPNET_WEIGHTS, or ``weights/`` of the project."""
    return Path(os.environ.get("HPNET_WEIGHTS") or "weights")


def missing(entry: Weights) -> list[WeightsFile]:
    """The files of an entry that are in no search folder."""
    return [file for file in entry.files if where(file) is None]


def by_hand(entry: Weights, file: WeightsFile, into: Path | None = None) -> str:
    """One line: what to fetch by hand and where to put it."""
    place = (into or destination()) / file.path
    if entry.packaged:
        return f"{file.path} belongs to the package: reinstall hpnet, or make it with `hpnet pretrain`"
    return f"fetch {file.url or entry.origin} by hand and save it as {place}"


def require(entries: list[Weights]) -> None:
    """Stop before any work where weights are missing.

    Raises:
        FileNotFoundError: one line per network: what to fetch, how, and where to put it.
    """
    lines = []
    for entry in entries:
        files = missing(entry)
        if files:
            how = f"`hpnet weights fetch {entry.name}`, or " if files[0].url else ""
            more = f"; so too {', '.join(Path(file.path).name for file in files[1:])}" if files[1:] else ""
            lines.append(f"weights of {entry.name} are missing: {how}{by_hand(entry, files[0])}{more}")
    if lines:
        raise FileNotFoundError("\n".join(lines))
