"""A YOLO network of ultralytics as a detector of people: frames in, boxes out, in batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.device import resolve_device, resolve_precision
from .detector import LOW_SCORE, PERSON, Detection, check_frames, in_frame, letterbox
from .library import ultralytics


class UltralyticsDetector:
    """A YOLO network of ultralytics, batched, people only.

    Args:
        network: an ultralytics DetectionModel; it is fused and put in evaluation mode.
        image_size: longer side of the network's input, pixels.
        confidence: detections below this score are left out.
        iou: if two boxes overlap more than this, the one with the higher score is kept.

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
        self._person = person_of(network)
        self._device, self._dtype = resolve_device(device), resolve_precision(precision)
        fused: torch.nn.Module = network.fuse(verbose=False)  # type: ignore[operator]
        self._network = fused.eval().to(self._device, self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._image_size, self._confidence, self._iou = image_size, confidence, iou

    @torch.inference_mode()
    def detect(self, frames: NDArray[np.uint8]) -> list[Detection]:
        """See :meth:`Detector.detect`."""
        check_frames(frames)
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
            max_time_img=3600.0,  # no time limit, because results would then depend on the machine's speed
        )
        shift = torch.tensor([left, top, left, top], dtype=torch.float32)
        return [
            in_frame(((found[:, :4].cpu() - shift) / scale).numpy(), found[:, 4].cpu().numpy(), (width, height))
            for found in kept
        ]


class YoloNetwork(torch.nn.Module):
    """A fused network for a graph of any size of frames: (N, H, W, 3) uint8 RGB -> predictions (N, 4 + K, A)."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network.fuse(verbose=False).eval()  # type: ignore[operator]
        head: Any = list(self.network.children())[-1][-1]
        head.dynamic, head.export, head.format = True, True, "onnx"  # places of cells are computed for each size

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        # (N, H, W, 3) RGB -> (N, 3, H, W) RGB in 0..1
        found = self.network(frames.permute(0, 3, 1, 2).float() / 255)
        predictions: torch.Tensor = found[0] if isinstance(found, tuple | list) else found
        return predictions


def person_of(network: torch.nn.Module) -> int:
    """The number of the class person.

    Raises:
        ValueError: there is none.
    """
    names: dict[int, str] = dict(network.names)  # type: ignore[arg-type]
    people = [index for index, name in names.items() if name == PERSON]
    if not people:
        raise ValueError(f"detect.model: no class {PERSON!r} among {', '.join(list(names.values())[:5])}, ...")
    return people[0]
