"""movenet-multipose: MoveNet MultiPose (Google, Apache-2.0) as a detector of people; its weights ship with hpnet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...core.device import resolve_device, resolve_precision
from ...models.movenet import BOX_HEADS, MULTI_HEADS, MoveNet, decode_boxes
from ...weights.checkpoint import in_float32, load_into, load_state
from ...weights.places import packaged
from ..detector import LOW_SCORE, Detection
from ..two_sizes import TwoSizeDetector

WEIGHTS = "movenet-multipose.safetensors"
WIDTH = 1.5
MOST_PEOPLE = 20
AT_ONCE = 1
"""Frames of one pass on a CPU; more are no faster, because their maps leave the caches, and need their memory."""


class BoxNetwork(nn.Module):
    """One frame (1, H, W, 3) uint8 RGB -> boxes (P, 4) xyxy in its pixels and the centres' scores (P,)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        dtype = next(self.network.parameters()).dtype
        # (1, H, W, 3) RGB -> (1, 3, H, W) RGB in -1..1
        return decode_boxes(self.network(frames.permute(0, 3, 1, 2).to(dtype) / 127.5 - 1), MOST_PEOPLE)[:2]


class MoveNetDetector(TwoSizeDetector):
    """MoveNet MultiPose at two sizes of the frame. A person's score is the centre's.

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
        self._device, self._dtype = resolve_device(device), resolve_precision(precision)
        self._network = load_network().to(self._device, self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        at_once = 0 if self._device.type == "cuda" else AT_ONCE
        super().__init__(self._heads, image_size=image_size, confidence=confidence, iou=iou, at_once=at_once)

    @torch.inference_mode()
    def _heads(self, padded: NDArray[np.uint8]) -> list[Detection]:
        # (N, H, W, 3) RGB -> (N, 3, H, W) RGB in -1..1, strides of channels_last
        images = torch.from_numpy(padded).to(self._device).permute(0, 3, 1, 2).to(self._dtype) / 127.5 - 1
        heads = self._network(images)
        found = []
        for index in range(len(padded)):
            one = {name: values[index : index + 1] for name, values in heads.items()}
            boxes, scores = (value.cpu().numpy() for value in decode_boxes(one, MOST_PEOPLE)[:2])
            found.append((boxes, scores))
        return found


def load_network() -> MoveNet:
    """The packaged network with its box heads, float32, in evaluation mode."""
    network = MoveNet(WIDTH, BOX_HEADS)
    path = packaged(WEIGHTS)
    of_joints = tuple(f"{head}." for head in MULTI_HEADS if head not in BOX_HEADS)
    state = {name: value for name, value in load_state(path).items() if not name.startswith(of_joints)}
    load_into(network, in_float32(state), str(path))
    network.eval()
    return network


def build(source: str, **options: Any) -> MoveNetDetector:
    """The packaged detector; ``source`` is its name. Options and errors as of :class:`MoveNetDetector`."""
    return MoveNetDetector(**options)


def files(source: str) -> tuple[Path, ...]:
    """The files that :func:`build` reads."""
    return (packaged(WEIGHTS),)


def graph(source: str) -> tuple[nn.Module, str, int]:
    """The network to write as a graph; see :mod:`hpnet.detect.families`."""
    return BoxNetwork(load_network()).eval(), "movenet", 0
