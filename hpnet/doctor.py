"""What is installed, what is missing, and the command that mends it."""

from __future__ import annotations

import configparser
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

from .artifacts import Clips, read_json
from .params import Params, load_params
from .video import VIDEO_SUFFIXES

BUILT_IN_BYTES = 2_000_000_000
BASE_BYTES = 100_000_000
PEOPLE_PER_CLIP = 1.2
USUAL_FRAMES = 90.0

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
    """Every check, in the order a person would make them; those of a project where ``root`` has a params.yaml."""
    checks: list[Callable[[], Check]] = [_python, _torch, _mmpose, _ultralytics, _transformers, _dvc, _video]
    found = [check() for check in checks]
    if found[1].ok:
        found[2:2] = _devices()
    found += _packaged_weights()
    if not (root / "params.yaml").is_file():
        return [*found, _disk(root, BUILT_IN_BYTES, "the built-in project")]
    try:
        params = load_params(root / "params.yaml")
    except ValueError as error:
        return [*found, Check("params.yaml", False, str(error).splitlines()[0], "mend that line")]
    found += [Check("params.yaml", True, "every name and value is known"), *_data(root, params)]
    found += [*_project_weights(params), _cache_links(root)]
    return [*found, _disk(root, needed_bytes(root, params), "what params.yaml asks for")]


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


def _devices() -> list[Check]:
    """A small computation on the CPU and on every GPU, in every precision."""
    torch = importlib.import_module("torch")
    found = [_device("cpu", "CPU")]
    if not torch.cuda.is_available():
        return [*found, Check("GPU", True, "none: everything runs on the CPU", needed=False)]
    for number in range(torch.cuda.device_count()):
        found.append(_device(f"cuda:{number}", torch.cuda.get_device_name(number)))
    return found


def _device(name: str, called: str) -> Check:
    from .device import PRECISIONS, has_fast_bfloat16

    torch = importlib.import_module("torch")
    works: list[str] = []
    broken: list[str] = []
    for precision, dtype in PRECISIONS.items():
        try:
            x = torch.ones(8, 8, device=name, dtype=dtype)
            right = float((x @ x).float().sum()) == 8.0**3
        except RuntimeError:
            right = False
        (works if right else broken).append(precision)
    slow = "" if has_fast_bfloat16(torch.device(name)) else " (bfloat16 is slow here)"
    text = f"{called}: {', '.join(works) or 'nothing'} computed right{slow}"
    remedy = "reinstall torch for this driver, or use --device cpu"
    return Check(f"device {name}", "float32" in works, text + (f"; not {', '.join(broken)}" if broken else ""), remedy)


BREAKAGES = {
    "chumpy": "pip install --no-deps mmpose==1.1.0   (hpnet never imports chumpy)",
    "xtcocotools": "pip install -U hpnet   (it brings a stand-in for xtcocotools)",
    "mmcv._ext": "pip install mmcv-lite==2.1.0 && pip install --no-deps mmpose==1.1.0   (1.2 needs compiled ops)",
    "mmcv": "pip install mmcv-lite==2.1.0 mmengine==0.10.7",
    "mmengine": "pip install mmengine==0.10.7",
    "json_tricks": "pip install json-tricks munkres",
    "munkres": "pip install json-tricks munkres",
}
"""What an import of mmpose is known to stumble over -> the command that mends it; the first match counts."""


def mmpose_remedy(message: str, otherwise: str) -> str:
    """The command for an error message of mmpose's import."""
    return next((command for word, command in BREAKAGES.items() if word in message), otherwise)


def _mmpose() -> Check:
    from .pose.mmpose_import import INSTALL, mmpose_classes

    try:
        mmpose_classes()
    except (ImportError, AttributeError, AssertionError) as error:
        message = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return Check("mmpose", False, message, mmpose_remedy(str(error), INSTALL))
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


def _project_weights(params: Params) -> list[Check]:
    """What params.yaml of a project names beside the packaged weights."""
    from .weights_catalogue import by_hand, missing, needed

    found = []
    for entry in needed(params):
        absent = missing(entry)
        if not entry.packaged:
            remedy = by_hand(entry, absent[0]) if absent else ""
            found.append(Check(f"weights {entry.name}", not absent, "missing" if absent else "there", remedy))
    return found


def _data(root: Path, params: Params) -> list[Check]:
    """Whether the videos are where params.yaml says."""
    if params.data.source != "folder" or not (root / "dvc.yaml").is_file() or not _reads_videos(root):
        return []
    folder = root / params.data.videos
    count = len(_videos(folder))
    return [Check("videos", count > 0, f"{count} in {folder}", "set data.videos to the folder of the videos")]


def _reads_videos(root: Path) -> bool:
    return "hpnet data" in (root / "dvc.yaml").read_text(encoding="utf-8")


def _videos(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES] if folder.is_dir() else []


def _cache_links(root: Path) -> Check:
    """How DVC puts cached files into the project: by links, or as second copies."""
    config = root / ".dvc" / "config"
    if not config.is_file():
        return Check("DVC cache", True, "no DVC project here", needed=False)
    parser = configparser.ConfigParser()
    parser.read_string(config.read_text(encoding="utf-8"))
    kinds = parser.get("cache", "type", fallback="reflink,copy").strip("\"' ")
    remedy = "dvc config cache.type reflink,hardlink,symlink,copy"
    if "link" not in kinds.replace("reflink", ""):
        return Check("DVC cache", False, f"cache.type {kinds}: files may be stored twice", remedy, needed=False)
    with tempfile.TemporaryDirectory(dir=config.parent) as folder:
        first, second = Path(folder) / "a", Path(folder) / "b"
        first.write_bytes(b"x")
        try:
            second.hardlink_to(first)
        except OSError:
            return Check("DVC cache", True, f"cache.type {kinds}; this disk makes no hard links", needed=False)
    return Check("DVC cache", True, f"cache.type {kinds}; hard links work here", needed=False)


def needed_bytes(root: Path, params: Params) -> int:
    """About how much room the stages of params.yaml take, from the number of clips and the cached windows.

    Clips and frames come from clips.csv where it is there, else from the folder of videos or the plan of the benchmark;
    channels from the estimate stage's own notes, else 96 as in the paper's network.
    """
    clips, frames = _clip_counts(root, params)
    joints, channels = 17, dict.fromkeys(params.estimate.taps, 96)
    meta = root / "artifacts" / "estimate" / "meta.json"
    if meta.is_file():
        stored = read_json(meta)
        joints = len(stored["skeleton"]["joints"])
        channels = {tap: stored["taps"].get(tap, [96])[0] for tap in params.estimate.taps}
    samples = frames * joints * params.estimate.window**2
    windows = samples * sum(channels.values()) * 2
    pooled = params.pool.frames * joints * max(channels.values(), default=3) * 2
    jpegs = (params.detect.frames or frames) * 20_000
    return round(clips * (windows + pooled + jpegs) * PEOPLE_PER_CLIP) + BASE_BYTES


def _clip_counts(root: Path, params: Params) -> tuple[int, float]:
    """Clips and mean frames per clip."""
    if (root / "artifacts" / "data" / "clips.csv").is_file():
        table = Clips.load(root / "artifacts" / "data").table
        return len(table), float(table.frames.mean()) if len(table) else 0.0
    if params.data.source == "folder":
        return len(_videos(root / params.data.videos)), USUAL_FRAMES
    section = params.data
    return section.subjects * section.cameras * section.repetitions * 18, float(section.frames)


def _disk(root: Path, need: int, what: str) -> Check:
    free = shutil.disk_usage(root).free
    text = f"{free / 1e9:.0f} GB free here, {what} takes about {need / 1e9:.1f} GB"
    return Check("disk", free > need, text, "make room, or lower estimate.window (1 takes least)")
