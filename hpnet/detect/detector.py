"""Frames -> person boxes, and boxes -> tracks. The only file that touches ultralytics (AGPL-3.0).

Another detector stands in by implementing :class:`Detector` and adding its constructor to ``DETECTORS``.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from safetensors.torch import save_file

from ..artifacts.files import writing
from ..core.device import resolve_device, resolve_precision
from ..weights.checkpoint import ASSETS, digest, find, load_into, load_state, packaged
from .tracking import Track
from .yolo_checkpoint import KINDS, read_checkpoint, require_layers

Detection = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Boxes (B, 4) xyxy in frame pixels and scores (B,) of one frame, best first."""

PACKAGED = "mannequin-yolo.safetensors"
PERSON = "person"
LOW_SCORE = 0.1
"""Detections down to this score may continue a track (ByteTrack's second association), never start one."""

MOST_SHARED_HEADS = 2
"""An RT-DETR may have so many times the numbers of its file, since heads can share theirs."""

_STRIDE_PX = 32
_GREY = 114


class Detector(Protocol):
    """Finds people in frames."""

    def detect(self, frames: NDArray[np.uint8]) -> list[Detection]:
        """Frames (N, H, W, 3) uint8 RGB -> per frame boxes (B, 4) xyxy float32 in frame pixels, scores (B,) float32."""


@dataclass(frozen=True)
class Ultralytics:
    """The parts of ultralytics that are used here."""

    DetectionModel: Any
    DetectionLoss: Any
    non_max_suppression: Callable[..., list[torch.Tensor]]
    BYTETracker: Any
    Boxes: Any
    defaults: Any


@functools.cache
def ultralytics() -> Ultralytics:
    """Import ultralytics so that it reaches no network, installs no packages and writes nothing into the home folder.

    Raises:
        ModuleNotFoundError: ultralytics, or lap, which its tracker needs, is missing.
        RuntimeError: ultralytics was imported earlier in this process with network or installing switched on.
    """
    for name in ("ultralytics", "lap"):
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"the detector needs {name}: pip install ultralytics lap")
    wanted = {
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_VERBOSE": "false",
        "ULTRALYTICS_SAFE_LOAD": "true",
    }
    if "ultralytics" not in sys.modules:
        os.environ.update(wanted)
        if "YOLO_CONFIG_DIR" not in os.environ:
            folder = tempfile.mkdtemp(prefix="hpnet-ultralytics-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            os.environ["YOLO_CONFIG_DIR"] = folder
    # Importing ultralytics sets OMP_NUM_THREADS=1, OpenCV's threads and numpy's printing for the whole process.
    threads, cv2_threads, printing = os.environ.get("OMP_NUM_THREADS"), cv2.getNumThreads(), np.get_printoptions()
    part = importlib.import_module
    utils = part("ultralytics.utils")
    if threads is None:
        os.environ.pop("OMP_NUM_THREADS", None)
    cv2.setNumThreads(cv2_threads)
    np.set_printoptions(**printing)
    if utils.ONLINE or utils.AUTOINSTALL:
        raise RuntimeError(
            "ultralytics was imported before hpnet and may use the network: set YOLO_OFFLINE=true and "
            "YOLO_AUTOINSTALL=false, or import hpnet.detect.detector and call ultralytics() first"
        )
    tasks = part("ultralytics.nn.tasks")
    return Ultralytics(
        DetectionModel=tasks.DetectionModel,
        DetectionLoss=part("ultralytics.utils.loss").v8DetectionLoss,
        non_max_suppression=part("ultralytics.utils.nms").non_max_suppression,
        BYTETracker=part("ultralytics.trackers.byte_tracker").BYTETracker,
        Boxes=part("ultralytics.engine.results").Boxes,
        defaults=utils.DEFAULT_CFG,
    )


# --- networks ---------------------------------------------------------------------------------------------------------


def packaged_config() -> dict[str, Any]:
    """The network of mannequin-yolo, as an ultralytics model description."""
    config: dict[str, Any] = yaml.safe_load((ASSETS / "mannequin-yolo.yaml").read_text(encoding="utf-8"))
    return config


def build_network(config: dict[str, Any]) -> torch.nn.Module:
    """An ultralytics DetectionModel with random weights and person as its one class."""
    network: torch.nn.Module = ultralytics().DetectionModel(dict(config), nc=1, verbose=False)
    network.names = {0: PERSON}  # type: ignore[assignment]
    network.args = ultralytics().defaults
    return network


def save_network(network: torch.nn.Module, file: Path) -> None:
    """Write the weights as float16 safetensors, without the counters of batch norm."""
    state = {
        name: value.detach().to("cpu", torch.float16).contiguous()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    with writing(file) as fresh:
        save_file(state, fresh)


def load_network(config: dict[str, Any], file: Path) -> torch.nn.Module:
    """A network of ``config`` with the weights of :func:`save_network`, float32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is broken, or its weights are of another network.
    """
    network = build_network(config)
    load_into(network, {name: value.float() for name, value in load_state(file).items()}, str(file))
    return network


def load_checkpoint(file: Path) -> torch.nn.Module:
    """The network of an ultralytics .pt file, float32: its tensors and class names in a network that is built here.

    Nothing that the file names is imported, called or fetched; see :mod:`hpnet.detect.yolo_checkpoint`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no detection checkpoint, damaged, or of a network that is not known here.
    """
    if not file.is_file():
        raise FileNotFoundError(f"detect.model: {file} is missing: put an ultralytics checkpoint there")
    try:
        checkpoint = read_checkpoint(file)
        network: torch.nn.Module = ultralytics().DetectionModel(
            _description(checkpoint.kind), nc=len(checkpoint.names), verbose=False
        )
        load_into(network, _float32(checkpoint.state), str(file))
        require_layers(network, checkpoint.modules, str(file))
    except ValueError as error:
        raise ValueError(f"detect.model: {error}") from None
    network.names = checkpoint.names  # type: ignore[assignment]
    network.args = ultralytics().defaults
    return network


def _float32(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


def _description(kind: str) -> dict[str, Any]:
    """A known network as an ultralytics model description: the packaged one, or ultralytics' own file."""
    known = KINDS[kind]
    if not known.description:
        return packaged_config()
    spec = importlib.util.find_spec("ultralytics")
    file = Path(str(spec.origin if spec else "")).parent / "cfg" / "models" / known.description
    config: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {**config, "scale": known.scale} if known.scale else config


def rtdetr_folder(source: str) -> Path:
    """The folder of an RT-DETR: a folder, or a hub's name among the weights folders or in the hub's cache.

    Raises:
        FileNotFoundError: it is not on this machine; says how to fetch it.
    """
    from ..weights.hub_folder import find_folder

    folder = find_folder(source)
    if folder is None:
        raise FileNotFoundError(
            f"detect.model: RT-DETR {source!r} is not here: `hpnet weights fetch rtdetr:OWNER/NAME`, or give its "
            "folder as rtdetr:FOLDER"
        )
    return folder


def load_rtdetr(folder: Path) -> Any:
    """transformers' RT-DETR from a folder, float32. No address is asked, whatever its config.json names.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the folder is broken, or its weights and its configuration do not fit.
    """
    from transformers import RTDetrConfig, RTDetrForObjectDetection

    from ..weights.hub_folder import CONFIG, in_words, offline, plain_config, require_size, small_json, weights_in

    file = weights_in(folder, "detect.model: RT-DETR")
    state = _float32(load_state(file))
    config = plain_config(small_json(folder / CONFIG), RTDetrConfig, str(folder / CONFIG))
    held = sum(value.numel() for value in state.values())
    require_size(config, RTDetrForObjectDetection, MOST_SHARED_HEADS * held, str(folder / CONFIG))
    with offline(), in_words(str(folder)):
        network, told = RTDetrForObjectDetection.from_pretrained(
            None,
            config=config,
            state_dict=_without_twins(state),
            dtype=torch.float32,
            local_files_only=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    require_nothing_left(told, str(file))
    return network


def _without_twins(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Without batch norm's counters, and without heads that older versions saved a second time."""
    return {
        name: value
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
        and not (name.startswith(("class_embed.", "bbox_embed.")) and f"model.decoder.{name}" in state)
    }


def require_nothing_left(told: dict[str, Any], source: str) -> None:
    """Raise a ValueError where transformers' loading info has keys that are missing, unexpected or of other shapes."""
    shapes = [f"{name} {tuple(theirs)} instead of {tuple(ours)}" for name, theirs, ours in told["mismatched_keys"]]
    problems = [
        f"{len(names)} {what} ({', '.join(str(name)[:200] for name in sorted(names)[:3])})"
        for names, what in (
            (shapes, "of another shape"),
            ([name for name in told["missing_keys"] if not name.endswith("num_batches_tracked")], "missing"),
            (told["unexpected_keys"], "unexpected"),
        )
        if names
    ]
    if problems:
        raise ValueError(f"{source} does not fit this network: tensors {'; '.join(problems)}")


# --- detectors --------------------------------------------------------------------------------------------------------


def letterbox(frames: NDArray[np.uint8], image_size: int) -> tuple[NDArray[np.uint8], float, tuple[int, int]]:
    """Scale frames (N, H, W, 3) so that the longer side is ``image_size`` and pad with grey to multiples of 32.

    Returns:
        The frames (N, H', W', 3), the scale, and the padding (left, top) in pixels of the new frames.
    """
    height, width = frames.shape[1:3]
    scale = image_size / max(height, width)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    outer = tuple(-(-side // _STRIDE_PX) * _STRIDE_PX for side in inner)
    left, top = (outer[0] - inner[0]) // 2, (outer[1] - inner[1]) // 2
    padded = np.full((len(frames), outer[1], outer[0], 3), _GREY, dtype=np.uint8)
    for target, frame in zip(padded, frames, strict=True):
        resized = frame if inner == (width, height) else cv2.resize(frame, inner, interpolation=cv2.INTER_LINEAR)
        target[top : top + inner[1], left : left + inner[0]] = resized
    return padded, scale, (left, top)


class UltralyticsDetector:
    """A YOLO network of ultralytics, batched, people only.

    Args:
        network: an ultralytics DetectionModel; it is fused and put in evaluation mode.
        image_size: longer side of the network's input, pixels.
        confidence: detections below this score are left out.
        iou: of two boxes that overlap more than this, the better one stays.

    Raises:
        ValueError: the network has no class called person.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        *,
        image_size: int = 320,
        confidence: float = LOW_SCORE,
        iou: float = 0.45,
        device: str = "cpu",
        precision: str = "float32",
    ) -> None:
        names: dict[int, str] = dict(network.names)  # type: ignore[arg-type]
        people = [index for index, name in names.items() if name == PERSON]
        if not people:
            raise ValueError(f"detect.model: no class {PERSON!r} among {', '.join(list(names.values())[:5])}, ...")
        self._person = people[0]
        self._device, self._dtype = resolve_device(device), resolve_precision(precision)
        fused: torch.nn.Module = network.fuse(verbose=False)  # type: ignore[operator]
        self._network = fused.eval().to(self._device, self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._image_size, self._confidence, self._iou = image_size, confidence, iou

    @torch.inference_mode()
    def detect(self, frames: NDArray[np.uint8]) -> list[Detection]:
        """See :meth:`Detector.detect`."""
        _check_frames(frames)
        height, width = frames.shape[1:3]
        padded, scale, (left, top) = letterbox(frames, self._image_size)
        # (N, H, W, 3) RGB -> (N, 3, H, W) RGB in 0..1, strides of channels_last
        images = torch.from_numpy(padded).to(self._device).permute(0, 3, 1, 2).to(self._dtype) / 255
        predictions = self._network(images)[0].float()
        kept = ultralytics().non_max_suppression(
            predictions,
            conf_thres=self._confidence,
            iou_thres=self._iou,
            classes=[self._person],
            max_time_img=3600.0,  # a limit in seconds would make results depend on the machine's speed
        )
        shift = torch.tensor([left, top, left, top], dtype=torch.float32)
        return [_in_frame((found[:, :4].cpu() - shift) / scale, found[:, 4].cpu(), width, height) for found in kept]


class RTDetrDetector:
    """RT-DETR of transformers (Apache-2.0), people only.

    Args:
        source: a folder written by ``save_pretrained``, or a hub name such as ``PekingU/rtdetr_r18vd`` that
            `hpnet weights fetch` brought here.
        image_size: side of the network's square input, pixels; the published networks expect 640.

    Raises:
        FileNotFoundError: neither a folder nor a name that was fetched.
        ValueError: the folder is broken or of another network, or the network has no class called person.
    """

    def __init__(
        self,
        source: str,
        *,
        image_size: int = 640,
        confidence: float = LOW_SCORE,
        iou: float = 0.45,
        device: str = "cpu",
        precision: str = "float32",
    ) -> None:
        network = load_rtdetr(rtdetr_folder(source))
        people = [int(index) for index, name in network.config.id2label.items() if name == PERSON]
        if not people:
            raise ValueError(f"detect.model: {source} has no class {PERSON!r}")
        self._person, self._confidence, self._image_size = people[0], confidence, image_size
        self._device, self._dtype = resolve_device(device), resolve_precision(precision)
        self._network = network.eval().to(self._device, self._dtype)

    @torch.inference_mode()
    def detect(self, frames: NDArray[np.uint8]) -> list[Detection]:
        """See :meth:`Detector.detect`."""
        _check_frames(frames)
        height, width = frames.shape[1:3]
        side = (self._image_size, self._image_size)
        resized = np.stack([cv2.resize(frame, side, interpolation=cv2.INTER_LINEAR) for frame in frames])
        # (N, S, S, 3) RGB -> (N, 3, S, S) RGB in 0..1
        images = torch.from_numpy(resized).to(self._device).permute(0, 3, 1, 2).to(self._dtype) / 255
        output = self._network(pixel_values=images)
        scores = output.logits[..., self._person].float().sigmoid().cpu()  # (N, Q)
        centre, sides = output.pred_boxes.float().cpu().split(2, dim=-1)  # (N, Q, 2) each, in 0..1
        boxes = torch.cat([centre - sides / 2, centre + sides / 2], -1) * torch.tensor([width, height, width, height])
        found = []
        for image_boxes, image_scores in zip(boxes, scores, strict=True):
            order = image_scores.argsort(descending=True, stable=True)
            order = order[image_scores[order] > self._confidence]
            found.append(_in_frame(image_boxes[order], image_scores[order], width, height))
        return found


def _check_frames(frames: NDArray[np.uint8]) -> None:
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"frames are {frames.dtype} {frames.shape}, expected uint8 (N, H, W, 3) RGB")


def _in_frame(boxes: torch.Tensor, scores: torch.Tensor, width: int, height: int) -> Detection:
    """Clip boxes (B, 4) to the frame and leave out what lies outside."""
    array = boxes.numpy().astype(np.float32)
    array[:, 0::2] = array[:, 0::2].clip(0, width)
    array[:, 1::2] = array[:, 1::2].clip(0, height)
    inside = (array[:, 2] > array[:, 0]) & (array[:, 3] > array[:, 1])
    return array[inside], scores.numpy().astype(np.float32)[inside]


def _packaged(source: str, **options: Any) -> Detector:
    return UltralyticsDetector(load_network(packaged_config(), mannequin_file(source)), **options)


def _checkpoint(source: str, **options: Any) -> Detector:
    return UltralyticsDetector(load_checkpoint(checkpoint_file(source)), **options)


def weights_digest(model: str) -> str:
    """A digest of the weights that ``detect.model`` names: of the very files that :func:`build_detector` reads.

    Raises:
        ValueError: an unknown name.
        FileNotFoundError: the weights are missing.
    """
    name, source = parse_model(model)
    if name == "mannequin-yolo":
        return digest(mannequin_file(source))
    if name == "ultralytics":
        return digest(checkpoint_file(source))
    from ..weights.hub_folder import CONFIG, weights_in

    folder = rtdetr_folder(source)
    return " ".join(digest(file) for file in (folder / CONFIG, weights_in(folder, "detect.model: RT-DETR")))


def mannequin_file(source: str) -> Path:
    """The file of mannequin-yolo: the packaged one, or ``source`` where that is a path.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: a weights folder holds another file of the packaged one's name.
    """
    if not source:
        return packaged(PACKAGED)
    if not Path(source).is_file():
        raise FileNotFoundError(f"detect.model: {source} is missing: `hpnet pretrain detector` writes such a file")
    return Path(source)


def checkpoint_file(source: str) -> Path:
    """The .pt file of an ultralytics name (``yolo11n``) or path; bare names are looked for among the weights folders.

    Raises:
        FileNotFoundError: it is not there; says what to fetch and where to put it.
    """
    file = Path(source if source.endswith(".pt") else f"{source}.pt")
    if file.is_file():
        return file
    if file.parent != Path():
        raise FileNotFoundError(f"detect.model: {file} is missing: put an ultralytics checkpoint there")
    return find(file.name, f"{file.name} from https://github.com/ultralytics/assets/releases")


DETECTORS: dict[str, Callable[..., Detector]] = {
    "mannequin-yolo": _packaged,
    "ultralytics": _checkpoint,
    "rtdetr": RTDetrDetector,
}
"""Name -> constructor(source, image_size=, confidence=, iou=, device=, precision=)."""


def parse_model(model: str) -> tuple[str, str]:
    """``detect.model`` -> (name in DETECTORS, source): ``mannequin-yolo``, ``yolo11n``, ``a/b.pt``, ``rtdetr:SOURCE``.

    A .safetensors path is a mannequin-yolo that `hpnet pretrain detector` wrote.

    Raises:
        ValueError: an unknown name; lists the choices.
    """
    name, _, source = model.partition(":")
    if name in DETECTORS and (source or name == "mannequin-yolo"):
        return name, source
    if model.endswith(".safetensors"):
        return "mannequin-yolo", model
    if model.endswith(".pt") or model.startswith("yolo"):
        return "ultralytics", model
    raise ValueError(
        f"detect.model: {model!r} is unknown; choose mannequin-yolo, an ultralytics name (yolo11n) or .pt path, "
        "or rtdetr:FOLDER-OR-HUB-NAME"
    )


def build_detector(
    model: str,
    *,
    image_size: int = 320,
    confidence: float = LOW_SCORE,
    iou: float = 0.45,
    device: str = "cpu",
    precision: str = "float32",
) -> Detector:
    """The detector that ``detect.model`` names.

    Raises:
        ValueError: an unknown name, device or precision.
        FileNotFoundError: its weights are missing; says what to fetch and where to put it.
    """
    name, source = parse_model(model)
    return DETECTORS[name](
        source, image_size=image_size, confidence=confidence, iou=iou, device=device, precision=precision
    )


# --- tracks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrackerOptions:
    """Arguments of ultralytics' BYTETracker."""

    track_high_thresh: float
    track_low_thresh: float
    new_track_thresh: float
    track_buffer: int
    match_thresh: float
    fuse_score: bool = True


def tracker_options(rate_fps: float, confidence: float) -> TrackerOptions:
    """Tracker settings for detections that come ``rate_fps`` times a second.

    A lost person is remembered for one second. Boxes one step apart overlap less at low rates: the tracker's limit on
    1 - IoU x score is its published 0.8 at 30 a second and above, and rises linearly towards 1 below that.
    """
    return TrackerOptions(
        track_high_thresh=confidence,
        track_low_thresh=min(LOW_SCORE, confidence),
        new_track_thresh=confidence,
        track_buffer=max(1, round(rate_fps)),
        match_thresh=1 - 0.2 * min(1.0, rate_fps / 30),
    )


def track(detections: Sequence[Detection], frames: Sequence[int], *, rate_fps: float, confidence: float) -> list[Track]:
    """Join the detections of one clip into tracks with ultralytics' BYTETracker.

    The boxes of a track are the detections themselves, not the filter's estimates, from its very first detection on.
    A track begun after the first step needs two detections in a row.

    Args:
        detections: one entry per step.
        frames: the frame index of each step, rising.
        rate_fps: steps per second.
        confidence: least score that starts a track; detections down to ``LOW_SCORE`` may continue one.

    Returns:
        Tracks in order of their first appearance, with gaps where the person was not detected.
    """
    parts = ultralytics()
    tracker = parts.BYTETracker(tracker_options(rate_fps, confidence))
    seen: dict[int, list[tuple[int, int]]] = {}  # track id -> (step, row of its detection)
    confirmed: set[int] = set()
    for step, (boxes, scores) in enumerate(detections):
        rows = np.concatenate([boxes, scores[:, None], np.zeros((len(boxes), 1), np.float32)], axis=1)  # (B, 6)
        tracker.update(parts.Boxes(rows.astype(np.float32).reshape(-1, 6), (1, 1)))
        for person in tracker.tracked_stracks:
            if person.frame_id == tracker.frame_id:
                seen.setdefault(person.track_id, []).append((step, int(person.idx)))
            if person.is_activated:
                confirmed.add(person.track_id)
    return [
        Track(
            frames=np.array([frames[step] for step, _ in where], dtype=np.int64),
            boxes_xyxy_px=np.stack([detections[step][0][row] for step, row in where]).astype(np.float32),
            scores=np.array([detections[step][1][row] for step, row in where], dtype=np.float32),
        )
        for identity, where in sorted(seen.items())
        if identity in confirmed
    ]
