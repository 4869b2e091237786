"""What is installed, what is missing, and the command that mends it."""

from __future__ import annotations

import importlib
import importlib.metadata
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .artifacts import read_json
from .params import load_params

CARDS = {
    "mannequin-yolo": "mannequin-yolo.json",
    "mannequin-simcc": "mannequin-simcc.json",
    "mannequin-xclip": "mannequin-xclip/card.json",
}
"""Packaged weights and the cards beside them."""


@dataclass(frozen=True)
class Check:
    """One finding. ``needed``: the project cannot run without it."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
    needed: bool = True

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def examine(root: Path = Path()) -> list[Check]:
    """Every check, in the order a person would make them."""
    checks: list[Callable[[], Check]] = [_python, _torch, _gpu, _mmpose, _ultralytics, _transformers, _dvc, _video]
    return [*(check() for check in checks), *_packaged_weights(), *_project_weights(root), _disk(root)]


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("Python", (3, 10) <= sys.version_info[:2] <= (3, 12), version, "use Python 3.10, 3.11 or 3.12")


def _torch() -> Check:
    try:
        torch = importlib.import_module("torch")
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError) as error:
        remedy = "install torch and torchvision of one release: pip install -U torch torchvision"
        return Check("torch", False, str(error).splitlines()[0], remedy)
    total = float((torch.ones(64, 64) @ torch.ones(64, 64)).sum())
    found = f"{torch.__version__}, {torch.get_num_threads()} threads"
    return Check("torch", total == 64.0**3, found, "reinstall torch")


def _gpu() -> Check:
    torch = importlib.import_module("torch")
    if not torch.cuda.is_available():
        return Check("GPU", True, "none: everything runs on the CPU", needed=False)
    x = torch.ones(64, 64, device="cuda")
    works = float((x @ x).sum()) == 64.0**3
    bfloat16 = "with" if torch.cuda.is_bf16_supported() else "without"
    found = f"{torch.cuda.get_device_name(0)}, {bfloat16} bfloat16"
    return Check("GPU", works, found, "reinstall torch for this driver")


def _mmpose() -> Check:
    from .pose.mmpose_import import INSTALL, mmpose_classes

    try:
        mmpose_classes()
    except ModuleNotFoundError as error:
        return Check("mmpose", False, str(error).splitlines()[0], INSTALL)
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("mmpose", "mmengine", "mmcv-lite"))
    return Check("mmpose", True, versions)


def _package(name: str, remedy: str) -> Check:
    try:
        return Check(name, True, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Check(name, False, "not installed", remedy)


def _ultralytics() -> Check:
    return _package("ultralytics", "pip install ultralytics")


def _transformers() -> Check:
    return _package("transformers", "pip install transformers")


def _dvc() -> Check:
    return _package("dvc", "pip install dvc")


def _video() -> Check:
    from .video import VideoError, load_clip, write_video

    clip = np.zeros((4, 48, 64, 3), np.uint8)
    clip[..., 0] = 200
    with tempfile.TemporaryDirectory() as folder:
        try:
            write_video(Path(folder) / "x.mp4", clip, fps=10)
            back = load_clip(Path(folder) / "x.mp4")
        except (VideoError, OSError, ValueError) as error:
            return Check("video", False, str(error), "pip install -U av")
    same = back.shape == clip.shape and abs(int(back[0, 24, 32, 0]) - 200) < 20
    return Check("video", same, "H.264 written and read back", "pip install -U av")


def _packaged_weights() -> list[Check]:
    from .weights import ASSETS, digest

    remedy = "reinstall hpnet, or make them again with `hpnet pretrain`"
    found = []
    for name, card in CARDS.items():
        if not (ASSETS / card).is_file():
            found.append(Check(f"weights {name}", False, "missing", remedy))
            continue
        facts = read_json(ASSETS / card)
        file = (ASSETS / card).parent / facts["file"]
        whole = file.is_file() and digest(file) == facts["sha256"]
        text = f"{file.stat().st_size / 1e6:.1f} MB, whole" if whole else "missing, or not the file its card describes"
        found.append(Check(f"weights {name}", whole, text, remedy))
    return found


def _project_weights(root: Path) -> list[Check]:
    """What params.yaml of a project names beside the packaged weights."""
    from .weights_catalogue import by_hand, missing, needed

    if not (root / "params.yaml").is_file():
        return []
    found = []
    for entry in needed(load_params(root / "params.yaml")):
        absent = missing(entry)
        if not entry.packaged:
            remedy = by_hand(entry, absent[0]) if absent else ""
            found.append(Check(f"weights {entry.name}", not absent, "missing" if absent else "there", remedy))
    return found


def _disk(root: Path) -> Check:
    free = shutil.disk_usage(root).free / 1e9
    return Check("disk", free > 2, f"{free:.0f} GB free here", "make room: the built-in project needs 2 GB")
