"""A pose network with its taps whose graph is in a file. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..artifacts.poses import PoseMeta
from ..weights.graphs import Graph
from .batches import CropPoses, Estimator
from .params import EstimateParams

BATCH = 4
"""Crops of a pass."""


class ExportedEstimator(Estimator):
    """A graph that reads crops (N, S, h, w, 3) uint8 and gives ``joints``, ``scores``, the window of each tap
    under its name, and ``vectors`` where they are read.

    Args:
        widths, meta: see :class:`Estimator`.
        batch: crops of a pass.
    """

    def __init__(
        self, graph: Graph, params: EstimateParams, widths: Sequence[float], meta: PoseMeta, batch: int = BATCH
    ) -> None:
        self.params, self.widths, self.meta = params, tuple(widths), meta
        self.batch_size = batch
        self.graph = graph

    def submit(self, crop_batch: NDArray[np.uint8]) -> Callable[[], CropPoses]:
        """See :meth:`Estimator.submit`; the result is ready at once."""
        raw = crop_batch if crop_batch.ndim == 5 else crop_batch[:, None]
        if raw.shape[1] != len(self.widths):
            raise ValueError(f"crops of {raw.shape[1]} widths, expected {len(self.widths)} ({self.widths})")
        named = dict(zip(self.graph.outputs, self.graph(raw), strict=True))
        windows = {tap: named[tap].astype(np.float16) for tap in self.meta.taps}
        vectors = named["vectors"].astype(np.float16) if self.meta.vectors else None
        found = CropPoses(named["joints"], named["scores"], windows, vectors)
        return lambda: found
