"""Feature extraction as the released code does it: one frame, one crop, float32, one after another.

Written from facts about that code, to be timed against; nothing else uses it.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..core.device import resolve_device
from ..core.geometry import released_crop_affine
from ..core.resampling import resample
from ..estimate import decode, networks
from ..estimate.specs import network_spec
from ..estimate.taps import TapReader, sample_windows
from ..models.movenet import decode_single


class PlainExtractor:
    """A pose network in float32 whose batch norms run in training mode, and a tap that is pooled at the joints.

    Args:
        model, weights: a network of :data:`hpnet.estimate.specs.SPECS` and its checkpoint.
        tap: the map that is pooled.
    """

    def __init__(self, model: str, weights: str | None, tap: str, device: str) -> None:
        self.spec = network_spec(model)
        self.device = resolve_device(device)
        self.network = networks.load(self.spec, weights)[0].to(self.device)
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train()
        self._tap, self._reader = tap, TapReader(self.network, [tap], self.spec.aliases)

    def extract(self, video: Path, max_frames: int, length: int = 64) -> tuple[NDArray[np.float32], int]:
        """Features (length, V, C) of the person who fills the frame, and how many frames were read."""
        capture = cv2.VideoCapture(str(video))
        rows: list[NDArray[np.float32]] = []
        while len(rows) < max_frames:
            decoded, frame_bgr = capture.read()
            if not decoded:
                break
            rows.append(self._frame(frame_bgr))
        capture.release()
        return resample(np.stack(rows), length), len(rows)

    @torch.no_grad()
    def _frame(self, frame_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """One frame -> (V, C)."""
        height, width = frame_bgr.shape[:2]
        affine = released_crop_affine([[0, 0, width, height]], (width, height), self.spec.input_size_px)[0]
        frame = cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2RGB)
        crop = cv2.warpAffine(frame, affine, self.spec.input_size_px, flags=cv2.INTER_LINEAR)
        normal = (crop / 255 - np.array(self.spec.mean)) / np.array(self.spec.sd)
        # (h, w, 3) -> (1, 3, h, w)
        inputs = torch.from_numpy(normal.astype(np.float32).transpose(2, 0, 1)[None]).to(self.device)
        output = self.network(inputs)
        if isinstance(output, Tensor):
            points, _ = decode.decode_heatmaps(output, self.spec.input_size_px)
        elif isinstance(output, dict):
            points, _ = decode_single(output)
        else:
            x, y = output
            points = decode.decode_simcc(x, y, self.spec.split_ratio)
        feature_map = self._reader.maps[self._tap]
        pooled = sample_windows(feature_map, points, self.spec.input_size_px, 1, released=True)
        return pooled[0, :, 0, 0].cpu().numpy()  # (1, V, 1, 1, C) -> (V, C)
