"""What is installed, what is missing, and the command that fixes it."""

from __future__ import annotations

import configparser
import importlib
import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.reading import read_text
from .folder import Project

if TYPE_CHECKING:
    from ..params import Params

# Import other packages only where they are needed, because `hpnet doctor` must report missing packages, not crash.

MOST_CONFIG_BYTES = 1 << 20
BUILT_IN_BYTES = 2_000_000_000
BASE_BYTES = 100_000_000
PEOPLE_PER_CLIP = 1.2
USUAL_FRAMES = 90.0
JPEG_BYTES = 11_000
"""Of a person frame of 224 x 224 that a person fills."""
BUNDLED_CLIP = (8, 120, 160, 3)
"""Frames (T, H, W, 3) of the packaged clip, one second of a rendered person."""

CARDS = {
    "mannequin-yolo": "mannequin-yolo.json",
    "mannequin-simcc": "mannequin-simcc.json",
    "mannequin-xclip": "mannequin-xclip/card.json",
    "movenet-lightning": "movenet-lightning.json",
    "movenet-thunder": "movenet-thunder.json",
    "movenet-multipose": "movenet-multipose.json",
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
    """All checks, in a useful order; with the checks of a project if ``root`` has a params.yaml."""
    found = [_python()]
    found += _guarded("packages", lambda: [_requirements()])
    found += _guarded("torch", lambda: [_torch()])
    if found[-1].ok:
        found += _devices()
    checks = {
        "mmpose": _mmpose, "ultralytics": _ultralytics, "lap": _lap, "transformers": _transformers, "dvc": _dvc,
    }  # fmt: skip
    for name, check in (checks | {"video": _video}).items():
        found += _guarded(name, lambda check=check: [check()])  # type: ignore[misc]
    found += _guarded("weights", _packaged_weights)
    return [*found, *_guarded("params.yaml", lambda: _project(Project(root)))]


def _guarded(name: str, checks: Callable[[], list[Check]]) -> list[Check]:
    """The findings of ``checks``, or one that names the missing package."""
    try:
        return checks()
    except ImportError as error:
        module = (error.name or name).partition(".")[0]
        absent = isinstance(error, ModuleNotFoundError)
        remedy = f"pip install {PACKAGE_OF.get(module, module)}" if absent else f"pip install -U {name}"
        return [Check(name, False, _first_line(error), remedy)]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def _project(project: Project) -> list[Check]:
    """What a project needs; without params.yaml, what the built-in project needs."""
    if not project.params_file.is_file():
        return [_disk(project.root, BUILT_IN_BYTES, "the built-in project")]
    try:
        params = project.read_params()
    except (ValueError, OSError) as error:
        return [Check("params.yaml", False, _first_line(error), "fix that line")]
    found = [Check("params.yaml", True, "every name and value is known"), *_data(project, params)]
    found += [*_project_weights(params), *_suitability(project, params), _cache_links(project.root)]
    try:
        need = max(0, needed_bytes(project, params) - _made_bytes(project))
    except (ValueError, OSError) as error:
        return [*found, Check("artifacts", False, _first_line(error), "make it again, or `dvc checkout`")]
    return [*found, _disk(project.root, need, "the stages of params.yaml that did not run yet")]


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("Python", (3, 10) <= sys.version_info[:2] <= (3, 12), version, "use Python 3.10, 3.11 or 3.12")


PACKAGE_OF = {"cv2": "opencv-python", "sklearn": "scikit-learn", "yaml": "pyyaml"}
"""Modules with another name than their package."""


def _requirements() -> Check:
    """Whether every package that hpnet declares is installed in a usable version."""
    from packaging.requirements import Requirement

    wrong, packages = [], []
    for line in importlib.metadata.requires("hpnet") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": "pose-networks"}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        if not version or not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version or 'is missing'}")
            packages.append(f"'{requirement.name}{requirement.specifier}'")
    if wrong:
        return Check("packages", False, ", ".join(wrong), f"pip install {' '.join(packages)}")
    return Check("packages", True, "all packages that hpnet declares, in usable versions")


def _torch() -> Check:
    try:
        torch = importlib.import_module("torch")
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError) as error:
        remedy = "install torch and torchvision of one release: pip install -U torch torchvision"
        return Check("torch", False, _first_line(error), remedy)
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
    from ..core.device import PRECISIONS, has_fast_bfloat16

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
"""Known errors of an import of mmpose -> the command that fixes it; the first match is used."""


def mmpose_remedy(message: str, otherwise: str) -> str:
    """The command for an error message of mmpose's import."""
    return next((command for word, command in BREAKAGES.items() if word in message), otherwise)


def _mmpose() -> Check:
    from ..estimate.mmpose_import import INSTALL, mmpose_classes

    try:
        mmpose_classes()
    except (ImportError, AttributeError, AssertionError) as error:
        return Check("mmpose", False, _first_line(error), mmpose_remedy(str(error), INSTALL))
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("mmpose", "mmengine", "mmcv-lite"))
    return Check("mmpose", True, versions)


def _package(name: str, use: Callable[[], object]) -> Check:
    """Whether a package is installed, and the parts that hpnet uses can be imported."""
    try:
        version = importlib.metadata.version(name)
        use()
    except importlib.metadata.PackageNotFoundError:
        return Check(name, False, "not installed", f"pip install {name}")
    except (ImportError, AttributeError, RuntimeError, OSError) as error:
        return Check(name, False, f"cannot be used: {_first_line(error)}", f"pip install --force-reinstall {name}")
    return Check(name, True, version)


def _ultralytics() -> Check:
    def use() -> object:
        from ..detect.library import ultralytics

        return ultralytics()  # no other module may import it: see the docstring of that module

    return _package("ultralytics", use)


def _lap() -> Check:
    return _package("lap", lambda: importlib.import_module("hpnet.detect.bytetrack"))


def _transformers() -> Check:
    return _package("transformers", lambda: importlib.import_module("transformers.models.x_clip.modeling_x_clip"))


def _dvc() -> Check:
    return _package("dvc", lambda: importlib.import_module("dvc.repo"))


def _video() -> Check:
    import numpy as np

    from ..core.video import VideoError, load_clip, write_video
    from ..weights.places import ASSETS

    clip = np.zeros((4, 48, 64, 3), np.uint8)
    clip[..., 0] = 200
    with tempfile.TemporaryDirectory() as folder:
        try:
            bundled = load_clip(ASSETS / "clip.mp4")
            write_video(Path(folder) / "x.mp4", clip, fps=10)
            back = load_clip(Path(folder) / "x.mp4")
        except (VideoError, OSError, ValueError) as error:
            return Check("video", False, str(error), "pip install -U av")
    whole = bundled.shape == BUNDLED_CLIP and bundled.std() > 10
    same = back.shape == clip.shape and abs(int(back[0, 24, 32, 0]) - 200) < 20
    return Check("video", whole and same, "the packaged clip read, H.264 written and read back", "pip install -U av")


def _packaged_weights() -> list[Check]:
    from ..artifacts.files import read_object
    from ..weights.places import ASSETS, digest

    remedy = "reinstall hpnet, or make them again with `hpnet pretrain`"
    found = []
    for name, card in CARDS.items():
        if not (ASSETS / card).is_file():
            found.append(Check(f"weights {name}", False, "missing", remedy))
            continue
        facts = read_object(ASSETS / card)
        file = (ASSETS / card).parent / facts["file"]
        whole = file.is_file() and digest(file) == facts["sha256"]
        text = f"{file.stat().st_size / 1e6:.1f} MB, whole" if whole else "missing, or not the file in its card"
        found.append(Check(f"weights {name}", whole, text, remedy))
    return found


def _project_weights(params: Params) -> list[Check]:
    """Whether the other weights in params.yaml exist and, as far as it can be checked, are complete."""
    from ..weights.fetch import problem
    from ..weights.files import by_hand, where
    from .weights import needed

    found = []
    for entry in needed(params):
        if entry.packaged:
            continue
        check = Check(f"weights {entry.name}", True, "there and whole")
        for file in entry.files:
            path = where(file)
            if path is None:
                command = f"hpnet weights fetch {entry.name}, or " if file.url else ""
                check = Check(check.name, False, f"{file.path} is missing", command + by_hand(entry, file))
                break
            wrong = problem(path, file.digest_start)
            if wrong:
                remedy = f"remove it, then hpnet weights fetch {entry.name}, or {by_hand(entry, file)}"
                check = Check(check.name, False, f"{path} {wrong}", remedy)
                break
        found.append(check)
    return [*found, *_own_weights(params)]


def _suitability(project: Project, params: Params) -> list[Check]:
    """Whether the networks suit the people of the project, as far as the stages that ran can tell."""
    from ..artifacts.files import read_object
    from ..weights.suitability import compare

    found = []
    for stage, model in (("detect", params.detect.rated_model), ("estimate", params.estimate.rated_model)):
        file = project.metrics / f"{stage}.json"
        comparison = compare(stage, model, read_object(file)) if file.is_file() else None
        if comparison is not None:
            name = f"people of {stage}"
            found.append(Check(name, comparison.suits, comparison.found, comparison.remedy, needed=False))
    return found


def _own_weights(params: Params) -> list[Check]:
    """Checkpoints given by a path, or not in the catalogue."""
    from ..detect.detector import weights_files
    from .weights import needed

    found = []
    if params.estimate.weights:
        file = Path(params.estimate.weights)
        text = f"{file} is {'there' if file.is_file() else 'missing'}"
        found.append(
            Check("estimate.weights", file.is_file(), text, "set it to the checkpoint's path, or leave it empty")
        )
    listed = {entry.name for entry in needed(params)}
    if params.detect.enabled and not {params.detect.model, params.detect.model.removesuffix(".pt")} & listed:
        try:
            text = ", ".join(map(str, weights_files(params.detect.model)))
        except (FileNotFoundError, ValueError) as error:
            return [*found, Check("detect.model", False, _first_line(error), "put it there, or choose another model")]
        found.append(Check("detect.model", True, text))
    return found


def _data(project: Project, params: Params) -> list[Check]:
    """Whether the videos, their table, the texts or the poses are at the places in params.yaml and dvc.yaml."""
    from ..train import TEXTS

    if not project.graph_file.is_file():
        return []
    try:
        stages = project.read_stages()
    except ValueError as error:
        return [Check("dvc.yaml", False, _first_line(error), "fix that line")]
    if "data" not in stages:
        read = stages["import"].deps[:1] if "import" in stages else ()
        return [_there("poses", project.root, file, "restore it, or change its path in dvc.yaml") for file in read]
    if params.data.source != "folder":
        return []
    folder = project.root / params.data.videos
    count = len(_videos(folder))
    checks = [Check("videos", count > 0, f"{count} in {folder}", "set data.videos to the folder of the videos")]
    if params.data.table:
        remedy = "set data.table to the CSV of actions, or leave it empty"
        checks.append(_there("table", project.root, params.data.table, remedy))
    text = params.train.multimodal.text
    if text not in TEXTS:
        remedy = f"set train.multimodal.text to the file of descriptions, or to {' or '.join(TEXTS)}"
        checks.append(_there("texts", project.root, text, remedy))
    return checks


def _there(name: str, root: Path, file: str, remedy: str) -> Check:
    there = (root / file).exists()
    return Check(name, there, f"{file} {'is there' if there else 'is missing'}", remedy)


def _videos(folder: Path) -> list[Path]:
    from ..data.walk import find_videos

    try:
        return find_videos(folder).files
    except FileNotFoundError:
        return []


def _cache_links(root: Path) -> Check:
    """How DVC puts cached files into the project: by links from its cache, or as second copies."""
    config = root / ".dvc" / "config"
    if not config.is_file():
        return Check("DVC cache", True, "no DVC project here", needed=False)
    parser = configparser.ConfigParser(interpolation=None)
    try:
        for file in (config, config.with_name("config.local")):  # the second adds to the first, and is in no repository
            if file.is_file():
                parser.read_string(read_text(file, MOST_CONFIG_BYTES), str(file))
    except (configparser.Error, ValueError) as error:
        return Check("DVC cache", False, _first_line(error), "restore that file", needed=False)
    kinds = parser.get("cache", "type", fallback="reflink,copy").strip("\"' ")
    remedy = "dvc config cache.type reflink,hardlink,symlink,copy"
    if "link" not in kinds.replace("reflink", ""):
        return Check("DVC cache", False, f"cache.type {kinds}: files may be stored twice", remedy, needed=False)
    place = config.parent / parser.get("cache", "dir", fallback="cache").strip("\"' ")
    there = next(folder for folder in (place, *place.parents) if folder.is_dir())
    try:
        linked = _hard_link(there, root)
    except OSError as error:
        said = f"{there} cannot be written ({error.strerror})"
        return Check("DVC cache", False, said, "change its permissions, or `dvc cache dir`", needed=False)
    if linked:
        return Check("DVC cache", True, f"cache.type {kinds}; hard links from {there} work", needed=False)
    if "symlink" in kinds:
        return Check("DVC cache", True, f"cache.type {kinds}; {there} is on another disk: symlinks", needed=False)
    said = f"cache.type {kinds}; no hard links from {there}, which is on another disk: files are stored twice"
    return Check("DVC cache", False, said, remedy, needed=False)


def _hard_link(cache: Path, root: Path) -> bool:
    """Whether a file of the cache can be linked into the project.

    Raises:
        OSError: no file can be made in the cache.
    """
    with tempfile.NamedTemporaryFile(dir=cache) as kept, tempfile.TemporaryDirectory(dir=root / ".dvc") as folder:
        try:
            (Path(folder) / "link").hardlink_to(kept.name)
        except OSError:
            return False
    return True


def needed_bytes(project: Project, params: Params) -> int:
    """Estimated disk space of the stages of params.yaml, from the number of clips and the cached windows.

    Clips and frames come from clips.csv if it exists, else from the folder of videos or the parameters of the
    benchmark; channels come from the estimate stage's meta.json, else 96 as in the paper's network.
    """
    from ..artifacts.files import load_meta
    from ..artifacts.poses import PoseMeta

    clips, frames = _clip_counts(project, params)
    joints, channels = 17, dict.fromkeys(params.estimate.taps, 96)
    meta = project.estimate / "meta.json"
    if meta.is_file():
        stored = load_meta(meta, PoseMeta.from_json)
        joints = stored.skeleton.num_joints
        channels = {tap: stored.taps.get(tap, (96, 0, 0))[0] for tap in params.estimate.taps}
    seen = min(frames, params.estimate.frames or frames)
    readings = 2 if params.estimate.mirrored else 1
    windows = seen * joints * params.estimate.window**2 * sum(channels.values()) * readings * 2
    maps = sum(channels.get(tap, 96) for tap in params.pool.maps) * (2 if params.pool.mirrored else 1)
    pooled = params.pool.frames * joints * max(maps, 3) * 2
    kept = params.detect.frames * params.detect.candidates
    jpegs = (min(kept, frames) if kept else frames) * JPEG_BYTES
    return round(clips * (windows + pooled + jpegs) * PEOPLE_PER_CLIP) + BASE_BYTES


def _clip_counts(project: Project, params: Params) -> tuple[int, float]:
    """Clips and mean frames per clip."""
    from ..artifacts.clips import Clips

    if (project.data / "clips.csv").is_file():
        table = Clips.load(project.data).table
        return len(table), float(table.frames.mean()) if len(table) else 0.0
    if params.data.source == "folder":
        return len(_videos(project.root / params.data.videos)), USUAL_FRAMES
    section = params.data
    return section.subjects * section.cameras * section.repetitions * 18, float(section.frames)


def _made_bytes(project: Project) -> int:
    """Space of existing outputs of the stages."""
    return sum(file.stat().st_size for file in project.artifacts.rglob("*") if file.is_file())


def _disk(root: Path, need: int, what: str) -> Check:
    if not os.access(root, os.W_OK):
        return Check("disk", False, f"{root.resolve()} cannot be written to", "use another folder")
    free = shutil.disk_usage(root).free
    text = f"{free / 1e9:.0f} GB free here, {what} need about {need / 1e9:.1f} GB"
    return Check("disk", free > need, text, "free disk space, or lower estimate.window (1 needs least)")
