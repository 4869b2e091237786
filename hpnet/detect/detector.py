"""The interface of a detector of people (frames -> boxes and scores), and the detector that ``detect.model`` names."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ..core.allocator import tune_allocator
from ..core.choices import load
from ..core.metrics import iou_matrix
from ..weights.places import digest
from .backends import BACKENDS
from .families import parse_model
from .params import DetectParams

Detection = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Boxes (B, 4) xyxy in frame pixels and scores (B,) of one frame, best first."""

Rows = NDArray[np.int64]
PERSON = "person"
STRIDE_PX = 32
"""Sides of a network's input are multiples of this."""
GREY = 114
"""Brightness of what is added to a frame."""
LOW_SCORE = 0.1
"""Detections down to this score may continue a track (ByteTrack's second association), never start one."""


class Detector(Protocol):
    """Finds people in frames."""

    def detect(self, frames: NDArray[np.uint8]) -> list[Detection]:
        """Frames (N, H, W, 3) uint8 RGB -> per frame boxes (B, 4) xyxy float32 in frame pixels, scores (B,) float32."""


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

    Args:
        image_size: longer side of the network's input, pixels.
        confidence: detections below this score are left out.
        iou: if two boxes overlap more than this, the one with the higher score is kept.

    Raises:
        ValueError: an unknown name, device or precision, or broken weights.
        FileNotFoundError: its weights are missing; says what to download and where to put it.
    """
    family, source = _family(model)
    built: Detector = family.build(
        source, image_size=image_size, confidence=confidence, iou=iou, device=device, precision=precision
    )
    return built


def open_detector(params: DetectParams, device: str, precision: str, graphs: Path) -> Detector | None:
    """The detector of section ``detect``, as the stage and `hpnet predict` use it; None where it is switched off.

    Args:
        graphs: folder of the networks that were written as graphs, for other backends than torch.

    Raises:
        ModuleNotFoundError: the package of the backend is not installed; says how to install it.
        ValueError, FileNotFoundError: as of :func:`build_detector`.
    """
    if not params.enabled:
        return None
    built: Detector = load(BACKENDS, params.backend, "detect.backend")(params, device, precision, graphs)
    return built


def build_for(params: DetectParams, device: str, precision: str, graphs: Path) -> Detector:
    """The detector of section ``detect``, run by torch."""
    tune_allocator()
    return build_detector(
        params.model,
        image_size=params.image_size,
        confidence=min(LOW_SCORE, params.confidence),
        iou=params.iou,
        device=device,
        precision=precision,
    )


def weights_files(model: str) -> tuple[Path, ...]:
    """The files that :func:`build_detector` reads.

    Raises:
        ValueError: an unknown name.
        FileNotFoundError: one is missing; says what to download and where to put it.
    """
    family, source = _family(model)
    found: tuple[Path, ...] = family.files(source)
    return found


def weights_digest(model: str) -> str:
    """A digest of the weights that ``detect.model`` names; errors as of :func:`weights_files`."""
    return " ".join(digest(file) for file in weights_files(model))


def _family(model: str) -> tuple[Any, str]:
    module, source = parse_model(model)
    return importlib.import_module(module), source


# --- for families -----------------------------------------------------------------------------------------------------


def check_frames(frames: NDArray[np.uint8]) -> None:
    """Raise a ValueError if frames are not (N, H, W, 3) uint8."""
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"frames are {frames.dtype} {frames.shape}, expected uint8 (N, H, W, 3) RGB")


def in_frame(
    boxes_xyxy_px: NDArray[np.floating[Any]], scores: NDArray[np.floating[Any]], frame_size_px: tuple[int, int]
) -> Detection:
    """Clip boxes (B, 4) to a frame of (width, height) and leave out what lies outside."""
    boxes = boxes_xyxy_px.astype(np.float32)
    width, height = frame_size_px
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
    inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return boxes[inside], scores.astype(np.float32)[inside]


def without_overlaps(boxes_xyxy_px: NDArray[np.floating[Any]], scores: NDArray[np.floating[Any]], most: float) -> Rows:
    """Which boxes (B, 4) stay, best first, where of two that overlap by more than ``most`` the better one does."""
    order = np.argsort(-scores, kind="stable")
    overlapping = iou_matrix(boxes_xyxy_px[order], boxes_xyxy_px[order]) > most
    kept = np.ones(len(order), bool)
    for place in range(len(order)):
        if kept[place]:
            kept[place + 1 :] &= ~overlapping[place, place + 1 :]
    return np.asarray(order[kept], np.int64)


def letterbox(frames: NDArray[np.uint8], image_size: int) -> tuple[NDArray[np.uint8], float, tuple[int, int]]:
    """Scale frames (N, H, W, 3) so that the longer side is ``image_size`` and pad with grey to multiples of 32.

    Returns:
        The frames (N, H', W', 3), the scale, and the padding (left, top) in pixels of the new frames.
    """
    height, width = frames.shape[1:3]
    scale = image_size / max(height, width)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    outer = tuple(-(-side // STRIDE_PX) * STRIDE_PX for side in inner)
    left, top = (outer[0] - inner[0]) // 2, (outer[1] - inner[1]) // 2
    padded = np.full((len(frames), outer[1], outer[0], 3), GREY, dtype=np.uint8)
    for target, frame in zip(padded, frames, strict=True):
        resized = frame if inner == (width, height) else cv2.resize(frame, inner, interpolation=cv2.INTER_LINEAR)
        target[top : top + inner[1], left : left + inner[0]] = resized
    return padded, scale, (left, top)
