"""The complete maps of the pose network for one crop, for display."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .params import EstimateParams

SCALES = ("h1s3", "h2s3", "h3s3")
Maps = Callable[[NDArray[np.uint8]], dict[str, NDArray[np.float32]]]
"""A person crop (H, W, 3) RGB at the network's input size -> tap name -> map (C, h, w)."""


def load_full_maps(params: EstimateParams, device: str) -> tuple[Maps | None, str]:
    """The pose network as crop -> its maps at the three scales, or None and the reason why it cannot run here.

    Networks without the paper's aliases give the cached taps instead.
    """
    try:
        from . import estimator
        from .taps import TapReader

        spec = params.spec()
        taps = tuple(tap for tap in SCALES if tap in spec.aliases) or params.taps
        running = estimator.PoseEstimator(params.model_copy(update={"taps": taps, "window": 1}), device)
    except (FileNotFoundError, ModuleNotFoundError) as error:
        return None, str(error)

    def full_maps(crop: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        with TapReader(running.network, taps, spec.aliases) as reader:
            running(crop[None])
            return {tap: tapped[0].float().cpu().numpy() for tap, tapped in reader.maps.items()}

    return full_maps, ""
