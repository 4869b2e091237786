"""RT-DETR of transformers (Apache-2.0): a folder, or a name of the hub that `hpnet weights fetch` downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ...core.device import resolve_device, resolve_precision
from ...weights.checkpoint import in_float32, load_state
from ...weights.hub_folder import (
    CONFIG,
    find_folder,
    in_words,
    offline,
    plain_config,
    require_size,
    small_json,
    weights_in,
    without_words,
)
from ..detector import LOW_SCORE, PERSON, Detection, check_frames, in_frame

ROLE = "detect.model: RT-DETR"
MOST_SHARED_HEADS = 2
"""An RT-DETR may have this many times the numbers in its file, because heads can share weights."""


class RTDetrDetector:
    """RT-DETR of transformers (Apache-2.0), people only.

    Args:
        source: a folder written by ``save_pretrained``, or a hub name such as ``PekingU/rtdetr_r18vd`` that
            `hpnet weights fetch` downloaded.
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
        check_frames(frames)
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
            found.append(in_frame(image_boxes[order].numpy(), image_scores[order].numpy(), (width, height)))
        return found


def build(source: str, **options: Any) -> RTDetrDetector:
    """The detector of a folder or name of the hub; options and errors as of :class:`RTDetrDetector`."""
    return RTDetrDetector(source, **options)


def files(source: str) -> tuple[Path, ...]:
    """The files that :func:`build` reads."""
    folder = rtdetr_folder(source)
    return folder / CONFIG, weights_in(folder, ROLE)


def rtdetr_folder(source: str) -> Path:
    """The folder of an RT-DETR: a path, or a name of the hub, found in the weights folders or the hub's cache.

    Raises:
        FileNotFoundError: it is not on this machine; says how to fetch it.
    """
    folder = find_folder(source)
    if folder is None:
        raise FileNotFoundError(
            f"{ROLE} {source!r} is not here: `hpnet weights fetch rtdetr:OWNER/NAME`, or give its "
            "folder as rtdetr:FOLDER"
        )
    return folder


def load_rtdetr(folder: Path) -> Any:
    """transformers' RT-DETR from a folder, float32. Nothing is downloaded, whatever its config.json names.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the folder is broken, or its weights and its configuration do not fit.
    """
    from transformers import RTDetrConfig, RTDetrForObjectDetection

    file = weights_in(folder, ROLE)
    state = in_float32(load_state(file))
    config = plain_config(small_json(folder / CONFIG), RTDetrConfig, str(folder / CONFIG))
    held = sum(value.numel() for value in state.values())
    require_size(config, RTDetrForObjectDetection, MOST_SHARED_HEADS * held, str(folder / CONFIG))
    with offline(), without_words(), in_words(str(folder)):
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
    """Tensors without batch norm's counters, and without heads that older versions saved twice."""
    return {
        name: value
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
        and not (name.startswith(("class_embed.", "bbox_embed.")) and f"model.decoder.{name}" in state)
    }


def require_nothing_left(told: dict[str, Any], source: str) -> None:
    """Raise a ValueError if transformers' loading info has missing or unexpected keys, or other shapes."""
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
