"""Windows -> features: Eq. (3) of the paper. Pure functions on arrays; axes (T, M, V, C)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..core.choices import load
from . import OPERATORS

Floats = NDArray[np.float32]


def pool_windows(window: NDArray[np.floating], region: int, operator: str = "mean") -> Floats:
    """Pool the central ``region`` x ``region`` samples of cached windows (Eq. 3).

    Args:
        window: (T, M, V, W, W, C).
        region: R, odd, in cells of the tapped map; 1 is the bilinear sample at the joint.
        operator: one of :data:`hpnet.pool.OPERATORS`.

    Returns:
        (T, M, V, C) float32.

    Raises:
        ValueError: the region is even, or larger than the cached window; names the parameter to change.
    """
    reduce = load(OPERATORS, operator, "pool.operator")
    size = window.shape[3]
    if region < 1 or region % 2 == 0:
        raise ValueError(f"pool.region is {region}; expected an odd number from 1")
    if region > size:
        raise ValueError(
            f"pool.region is {region}, but only windows of {size} were cached: set estimate.window to {region} or more "
            "and run `hpnet estimate` again"
        )
    low = (size - region) // 2
    centre = window[:, :, :, low : low + region, low : low + region].astype(np.float32)
    pooled: Floats = reduce(centre, axis=(3, 4))
    return pooled
