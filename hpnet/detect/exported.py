"""A detector whose network is a graph in a file. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..weights.graphs import Graph
from .detector import LOW_SCORE, Detection, Detector, check_frames, in_frame, letterbox, without_overlaps
from .params import DetectParams
from .two_sizes import TwoSizeDetector

Kind = Literal["movenet", "yolo"]
"""What the graph gives: boxes and scores of one frame; or predictions (N, 4 + K, A) of boxes as centre and size."""
Network = Callable[[NDArray[np.uint8]], list[NDArray[Any]]]
MOST_BOXES = 300
"""Of a frame; as in ultralytics."""


class YoloGraph:
    """YOLO's predictions of frames, as people.

    Args:
        network: frames (N, H, W, 3) uint8 RGB -> predictions (N, 4 + K, A).
        person: number of the class person.
        image_size, confidence, iou: see :class:`hpnet.detect.yolo.UltralyticsDetector`.
    """

    def __init__(
        self,
        network: Network,
        person: int,
        *,
        image_size: int,
        confidence: float,
        iou: float,
    ) -> None:
        self._network, self._person = network, person
        self._image_size, self._confidence, self._iou = image_size, confidence, iou

    def detect(self, frames: NDArray[np.uint8]) -> list[Detection]:
        """See :meth:`hpnet.detect.detector.Detector.detect`."""
        check_frames(frames)
        height, width = frames.shape[1:3]
        padded, scale, (left, top) = letterbox(frames, self._image_size)
        shift = np.array([left, top, left, top], np.float32)
        found = []
        for predictions in self._network(padded)[0]:
            boxes, scores = self._people(predictions)
            found.append(in_frame((boxes - shift) / np.float32(scale), scores, (width, height)))
        return found

    def _people(self, predictions: NDArray[np.float32]) -> Detection:
        """(4 + K, A) -> boxes (B, 4) xyxy and scores (B,), best first."""
        classes = predictions[4:]
        scores = classes[self._person]
        chosen = (scores > self._confidence) & (classes.argmax(0) == self._person)
        centre, half, scores = predictions[:2, chosen].T, predictions[2:4, chosen].T / 2, scores[chosen]
        boxes = np.concatenate([centre - half, centre + half], 1)
        kept = without_overlaps(boxes, scores, self._iou)[:MOST_BOXES]
        return boxes[kept], scores[kept]


def build_exported(graph: Graph, kind: Kind, person: int, params: DetectParams) -> Detector:
    """The detector of a graph, with the settings of section ``detect``.

    Args:
        person: number of the graph's class person.
    """
    options: dict[str, Any] = {
        "image_size": params.image_size, "confidence": min(LOW_SCORE, params.confidence), "iou": params.iou,
    }  # fmt: skip
    if kind == "yolo":
        return YoloGraph(graph, person, **options)

    def look(padded: NDArray[np.uint8]) -> list[Detection]:
        boxes, scores = graph(padded)
        return [(boxes, scores)]

    return TwoSizeDetector(look, **options, at_once=1)
