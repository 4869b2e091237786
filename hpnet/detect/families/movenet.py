"""movenet-multipose: MoveNet MultiPose (Google, Apache-2.0) as a detector of people; its weights ship with hpnet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...core.device import resolve_device, resolve_precision
from ...models.movenet import BOX_HEADS, MULTI_HEADS, MoveNet, decode_boxes
from ...weights.checkpoint import in_float32, load_into, load_state
from ...weights.places import packaged
from ..detector import LOW_SCORE, STRIDE_PX, Detection, check_frames, in_frame, letterbox, without_overlaps

WEIGHTS = "movenet-multipose.safetensors"
WIDTH = 1.5
MOST_PEOPLE = 20
AT_ONCE = 1
"""Frames of one pass on a CPU; more are no faster, because their maps leave the caches, and need their memory."""
SCALES = (0.5, 1.0)
"""Sizes of the input, as shares of ``image_size``: two, because the network finds nobody who is very large or small."""
LARGEST_PX = 192
"""Longer side of a person in the input, up to which the larger size is believed; beyond, it sees parts of people."""


class MoveNetDetector:
    """MoveNet MultiPose at two sizes of the frame: the smaller finds large people, the larger small ones.

    A person's score is the centre's. Each size answers for people of a size that it was trained on (Singh and Davis,
    CVPR 2018); of two boxes that overlap the better one stays.

    Args:
        image_size: longer side of the network's largest input, pixels.
    """

    def __init__(
        self,
        *,
        image_size: int = 384,
        confidence: float = LOW_SCORE,
        iou: float = 0.45,
        device: str = "cpu",
        precision: str = "float32",
    ) -> None:
        network = MoveNet(WIDTH, BOX_HEADS)
        path = packaged(WEIGHTS)
        of_joints = tuple(f"{head}." for head in MULTI_HEADS if head not in BOX_HEADS)
        state = {name: value for name, value in load_state(path).items() if not name.startswith(of_joints)}
        load_into(network, in_float32(state), str(path))
        self._device, self._dtype = resolve_device(device), resolve_precision(precision)
        self._network = network.eval().to(self._device, self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._sizes = tuple(max(STRIDE_PX, round(image_size * scale)) for scale in SCALES)
        self._confidence, self._iou = confidence, iou

    @torch.inference_mode()
    def detect(self, frames: NDArray[np.uint8]) -> list[Detection]:
        """See :meth:`hpnet.detect.detector.Detector.detect`."""
        check_frames(frames)
        height, width = frames.shape[1:3]
        at_once = len(frames) if self._device.type == "cuda" else AT_ONCE
        found: list[Detection] = []
        for start in range(0, len(frames), at_once):
            part = frames[start : start + at_once]
            by_size = [self._at_size(part, size, size == self._sizes[0]) for size in self._sizes]
            for detections in zip(*by_size, strict=True):
                boxes, scores = (torch.cat(parts).numpy() for parts in zip(*detections, strict=True))
                kept = without_overlaps(boxes, scores, self._iou)
                found.append(in_frame(boxes[kept], scores[kept], (width, height)))
        return found

    def _at_size(self, frames: NDArray[np.uint8], size: int, large: bool) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Per frame boxes (B, 4) xyxy in frame pixels and scores (B,), on the host.

        Args:
            large: whether people beyond :data:`LARGEST_PX` count.
        """
        padded, scale, (left, top) = letterbox(frames, size)
        # (N, H, W, 3) RGB -> (N, 3, H, W) RGB in -1..1, strides of channels_last
        images = torch.from_numpy(padded).to(self._device).permute(0, 3, 1, 2).to(self._dtype) / 127.5 - 1
        heads = self._network(images)
        shift = torch.tensor([left, top, left, top], dtype=torch.float32)
        people = []
        for index in range(len(frames)):
            one = {name: values[index : index + 1] for name, values in heads.items()}
            boxes, scores = (found.cpu() for found in decode_boxes(one, MOST_PEOPLE)[:2])
            seen = scores > self._confidence
            if not large:
                seen &= (boxes[:, 2:] - boxes[:, :2]).amax(1) <= LARGEST_PX
            people.append((((boxes - shift) / scale)[seen], scores[seen]))
        return people


def build(source: str, **options: Any) -> MoveNetDetector:
    """The packaged detector; ``source`` is its name. Options and errors as of :class:`MoveNetDetector`."""
    return MoveNetDetector(**options)


def files(source: str) -> tuple[Path, ...]:
    """The files that :func:`build` reads."""
    return (packaged(WEIGHTS),)
